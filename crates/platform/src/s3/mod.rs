//! S3, to the extent trails and tools need it.

pub mod bucket;
pub mod object;
