//! Signature Version 4: checking what clients signed, and signing.
