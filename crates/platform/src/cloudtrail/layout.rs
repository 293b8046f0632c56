//! Where deliveries stand in a bucket.
//!
//! Source: CloudTrail User Guide, "CloudTrail log file examples" (file names) and "CloudTrail digest file structure".

use service::Timestamp;

use super::trail::Trail;

/// Characters of the part that keeps two files of one minute apart.
pub const UNIQUE_CHARS: usize = 16;

/// `[prefix/]AWSLogs/ACCT/CloudTrail/REGION/YYYY/MM/DD/ACCT_CloudTrail_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz`, by the
/// time of delivery. `unique` is [`UNIQUE_CHARS`] letters and digits.
#[must_use]
pub fn log_key(trail: &Trail, region: &str, now: Timestamp, unique: &str) -> String {
    let (account, day, minute) = (&trail.account, now.format("%Y/%m/%d"), now.format("%Y%m%dT%H%MZ"));
    under(
        trail,
        &format!("AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{minute}_{unique}.json.gz"),
    )
}

/// `[prefix/]AWSLogs/ACCT/CloudTrail-Digest/REGION/YYYY/MM/DD/ACCT_CloudTrail-Digest_REGION_TRAIL_HOME_STAMP.json.gz`.
/// The stamp is the 16 characters `YYYYMMDDTHHMMSSZ` right before `.json.gz`, where `aws cloudtrail validate-logs` reads
/// it, and is `end`.
#[must_use]
pub fn digest_key(trail: &Trail, region: &str, end: Timestamp) -> String {
    let Trail { account, name, home_region, .. } = trail;
    let (day, stamp) = (end.format("%Y/%m/%d"), end.format("%Y%m%dT%H%M%SZ"));
    under(
        trail,
        &format!(
            "AWSLogs/{account}/CloudTrail-Digest/{region}/{day}/{account}_CloudTrail-Digest_{region}_{name}_{home_region}_{stamp}.json.gz"
        ),
    )
}

fn under(trail: &Trail, key: &str) -> String {
    match &trail.s3_key_prefix {
        Some(prefix) => format!("{prefix}/{key}"),
        None => key.to_owned(),
    }
}
