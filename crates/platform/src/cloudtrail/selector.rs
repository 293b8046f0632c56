//! What a trail selects.
