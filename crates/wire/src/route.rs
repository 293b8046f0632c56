//! Which operation a request names.
