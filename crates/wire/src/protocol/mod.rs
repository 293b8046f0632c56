//! The four protocols: bytes to one value, and back.
