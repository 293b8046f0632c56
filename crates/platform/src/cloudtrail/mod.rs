//! CloudTrail: records, look-up, trails and their digests.
