//! Trails against an installation in memory; calls go through `needs` and `apply` as `control` makes them.

mod digests;
mod selectors;
mod trails;

use policy::{AccountId, Region};
use serde_json::{Value, json};
use service::{Caller, Cx, Host, Identity, Need, Result, Scope, ServiceError, Timestamp, Tx, testing::Records};

use super::{OPERATIONS, trail::Trail};
use crate::s3::bucket::Bucket;

pub(super) const ACCOUNT: &str = "444455556666";
pub(super) const OTHER: &str = "111122223333";
pub(super) const BUCKET: &str = "trail-logs";
pub(super) const NOW_MS: i64 = 1_764_037_614_250;

struct FixedHost;

impl Host for FixedHost {
    fn random(&mut self, out: &mut [u8]) {
        out.fill(7);
    }

    fn seal(&mut self, _purpose: &str, _plain: &[u8]) -> String {
        String::new()
    }

    fn open(&self, _purpose: &str, _sealed: &str) -> Option<Vec<u8>> {
        None
    }

    fn runtime(&self, _identifier: &str) -> std::result::Result<Option<String>, String> {
        Ok(None)
    }
}

/// An installation with one bucket that trails may use.
pub(super) struct World {
    pub(super) records: Records,
    pub(super) region: &'static str,
    pub(super) now_ms: i64,
}

/// The policy of the User Guide, with its conditions.
pub(super) fn bucket_policy(prefix: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AWSCloudTrailAclCheck20150319", "Effect": "Allow",
                "Principal": { "Service": "cloudtrail.amazonaws.com" },
                "Action": "s3:GetBucketAcl", "Resource": format!("arn:aws:s3:::{BUCKET}"),
                "Condition": { "StringEquals": { "aws:SourceArn": "arn:aws:cloudtrail:us-east-1:444455556666:trail/audit" } }
            },
            {
                "Sid": "AWSCloudTrailWrite20150319", "Effect": "Allow",
                "Principal": { "Service": "cloudtrail.amazonaws.com" },
                "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{BUCKET}/{prefix}AWSLogs/{ACCOUNT}/*"),
                "Condition": { "StringEquals": {
                    "s3:x-amz-acl": "bucket-owner-full-control",
                    "aws:SourceArn": "arn:aws:cloudtrail:us-east-1:444455556666:trail/audit"
                } }
            }
        ]
    })
}

/// Lets CloudTrail do what it needs for any trail.
pub(super) fn open_policy() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" },
        "Action": ["s3:GetBucketAcl", "s3:PutObject"],
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")]
    }] })
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self { records: Records::default(), region: "us-east-1", now_ms: NOW_MS };
        world.set_bucket(Some(open_policy()));
        world
    }

    /// Makes the bucket with this policy. The document is spelled by hand so that the bucket may gain members.
    pub(super) fn set_bucket(&mut self, policy: Option<Value>) {
        let bucket: Bucket = serde_json::from_value(json!({
            "Name": BUCKET, "Account": ACCOUNT, "Region": "us-east-1", "CreationDate": 0,
            "Policy": policy.map(|policy| policy.to_string()),
        }))
        .unwrap();
        self.with(|tx| tx.put(&Scope::installation(), "", BUCKET, &bucket)).unwrap();
    }

    /// Runs `change` and keeps what it changed if it succeeds.
    pub(super) fn with<T>(&mut self, change: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let mut tx = Tx::new(&mut self.records);
        let output = change(&mut tx)?;
        let changes = tx.into_changes();
        self.records.apply(changes);
        Ok(output)
    }

    pub(super) fn call_as(&mut self, account: &str, name: &str, params: &Value) -> Result<Value> {
        let entry = OPERATIONS.iter().flat_map(|list| list.iter()).find(|entry| entry.name == name).expect("known");
        let account: AccountId = account.parse().unwrap();
        let caller =
            Caller { account, identity: Identity::Root, access_key_id: "AKIAEXAMPLE".to_owned(), session: None };
        let region = Region::try_from(self.region).unwrap();
        let (now, mut host) = (Timestamp::from_ms(self.now_ms), FixedHost);
        self.with(|tx| {
            let mut cx = Cx {
                caller: &caller,
                region: &region,
                now,
                request_id: "r",
                endpoint: "http://127.0.0.1:4566",
                host: &mut host,
            };
            let default = Need::new(format!("cloudtrail:{name}"), "*", caller.account.as_str());
            entry.needs(params, default, &mut cx, tx)?;
            entry.apply(params, &mut cx, tx)
        })
    }

    pub(super) fn call(&mut self, name: &str, params: &Value) -> Result<Value> {
        self.call_as(ACCOUNT, name, params)
    }

    pub(super) fn ok(&mut self, name: &str, params: &Value) -> Value {
        self.call(name, params).unwrap_or_else(|error| panic!("{name}: {} {}", error.code, error.message))
    }

    pub(super) fn refused(&mut self, name: &str, params: &Value) -> (String, String) {
        let before = self.records.documents.clone();
        let error: ServiceError = self.call(name, params).expect_err(name);
        assert_eq!(error.status, 400);
        assert_eq!(self.records.documents, before, "a refusal changes nothing");
        (error.code.into_owned(), error.message)
    }

    pub(super) fn trail(&mut self) -> Trail {
        let scope = Scope::regional(ACCOUNT, "us-east-1");
        self.with(|tx| tx.get::<Trail>(&scope, "", "audit")).unwrap().expect("the trail")
    }
}
