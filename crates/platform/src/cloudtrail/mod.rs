//! CloudTrail: records, look-up, trails and their digests.

pub mod record;
