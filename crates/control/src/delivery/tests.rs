//! Deliveries over a store in memory, and what `aws cloudtrail validate-logs` would say about them.

use std::{
    collections::BTreeSet,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use platform::{
    cloudtrail::{
        digest::string_to_sign,
        logging::{TrailState, Window},
        public_key::PublicKey,
        trail::{Homes, Trail},
    },
    s3::{
        bucket::{self, Bucket},
        object::{self, Object},
    },
};
use serde_json::{Value, json};
use service::{Parent, Scope, Timestamp, Tx};
use sha2::{Digest as _, Sha256};
use store::{Event, Memory};

use super::{Delivery, file};
use crate::{Clock, reader::SnapshotReader, vault::Vault};

const ACCOUNT: &str = "444455556666";
const BUCKET: &str = "trail-logs";
const START_MS: i64 = 1_764_037_614_000;

struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

struct World {
    delivery: Delivery,
    clock: Arc<FakeClock>,
    _data: tempfile::TempDir,
}

fn trail() -> Trail {
    Trail {
        name: "audit".into(),
        account: ACCOUNT.into(),
        home_region: "us-east-1".into(),
        s3_bucket_name: BUCKET.into(),
        s3_key_prefix: Some("p".into()),
        include_global_service_events: true,
        is_multi_region_trail: true,
        validates_since: Some(Timestamp::from_ms(START_MS)),
        selectors: serde_json::from_value(json!({ "Basic": [{
            "ReadWriteType": "All",
            "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": ["arn:aws:lambda"] }]
        }] }))
        .unwrap(),
        tags: Vec::new(),
        windows: vec![Window { from: Timestamp::from_ms(START_MS), to: None }],
    }
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock(AtomicI64::new(START_MS)));
        let vault = Arc::new(Vault::open(data.path()).unwrap());
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let delivery = Delivery { store: Arc::new(Memory::new()), vault, clock: shared, digest_s: 3600 };
        let world = Self { delivery, clock, _data: data };
        world.set_bucket(true);
        let homes = Homes { regions: [("us-east-1".to_owned(), BTreeSet::from(["audit".to_owned()]))].into() };
        world.change(|tx| tx.put(&Scope::installation(), "", ACCOUNT, &homes));
        world.set_trail(&trail());
        world
    }

    fn change(&self, change: impl Fn(&mut Tx<'_>) -> service::Result<()>) {
        self.delivery.transact(change).unwrap().unwrap();
    }

    fn set_trail(&self, trail: &Trail) {
        self.change(|tx| tx.put(&trail.scope(), "", &trail.name, trail));
    }

    fn set_bucket(&self, open: bool) {
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": if open { "Allow" } else { "Deny" },
            "Principal": { "Service": "cloudtrail.amazonaws.com" },
            "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{BUCKET}/p/AWSLogs/{ACCOUNT}/*")
        }] });
        let bucket: Bucket = serde_json::from_value(json!({
            "Name": BUCKET, "Account": ACCOUNT, "Region": "us-east-1", "CreationDate": 0, "Policy": policy.to_string(),
        }))
        .unwrap();
        self.change(|tx| tx.put(&Scope::installation(), "", BUCKET, &bucket));
    }

    fn read<T>(&self, read: impl FnOnce(&mut Tx<'_>) -> service::Result<T>) -> T {
        let mut reader = SnapshotReader::new(&*self.delivery.store, &self.delivery.vault).unwrap();
        read(&mut Tx::new(&mut reader)).unwrap()
    }

    fn state(&self) -> TrailState {
        self.read(|tx| TrailState::load(tx, &trail()))
    }

    /// Every object of the bucket whose key has this in it, by key.
    fn objects(&self, part: &str) -> Vec<Object> {
        let objects = self.read(|tx| tx.list::<Object>(&Scope::installation(), &Parent::Exact(BUCKET)));
        objects.into_iter().filter(|object| object.key.contains(part)).collect()
    }

    fn plain(&self, object: &Object) -> Vec<u8> {
        let packed = self.delivery.store.get_blob(&object.blob).unwrap().expect("the blob");
        assert_eq!(packed.len() as u64, object.size);
        let mut plain = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
        plain
    }

    /// Ids of all delivered events, in the order of keys, and the region each lies under.
    fn delivered(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for object in self.objects("/CloudTrail/") {
            let region = object.key.split('/').nth(4).unwrap().to_owned();
            let file: Value = serde_json::from_slice(&self.plain(&object)).unwrap();
            let records = file["Records"].as_array().unwrap();
            all.extend(records.iter().map(|record| (region.clone(), record["eventID"].as_str().unwrap().to_owned())));
        }
        all
    }

    fn happens(&self, id: &str, region: &str, data: bool) {
        let time_ms = self.clock.now().ms();
        let resources =
            vec![("AWS::Lambda::Function".to_owned(), format!("arn:aws:lambda:{region}:{ACCOUNT}:function:f"))];
        let event = Event {
            event_id: id.to_owned(),
            account: ACCOUNT.into(),
            region: region.to_owned(),
            time_ms,
            data,
            name: "Invoke".into(),
            source: "lambda.amazonaws.com".into(),
            username: None,
            access_key_id: None,
            read_only: false,
            resources,
            record: json!({ "eventID": id }).to_string().into_bytes(),
        };
        self.delivery.store.append_events(vec![event]).unwrap();
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
        self.delivery.run();
    }
}

fn ids(delivered: &[(String, String)]) -> Vec<&str> {
    let mut ids: Vec<_> = delivered.iter().map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn each_event_is_delivered_once_under_its_own_region() {
    let world = World::new();
    world.clock.0.fetch_sub(10_000, Ordering::SeqCst);
    world.happens("before", "us-east-1", false);
    world.clock.0.fetch_add(10_000, Ordering::SeqCst);
    world.happens("a", "us-east-1", false);
    world.happens("b", "us-east-1", true);
    world.happens("c", "eu-west-1", true);
    world.pass(300);
    world.pass(300);
    let mut delivered = world.delivered();
    delivered.sort();
    let of = |region: &str, id: &str| (region.to_owned(), id.to_owned());
    assert_eq!(delivered, [of("eu-west-1", "c"), of("us-east-1", "a"), of("us-east-1", "b")]);
    let objects = world.objects("/CloudTrail/us-east-1/");
    assert!(objects[0].key.starts_with(&format!(
        "p/AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/2025/11/25/{ACCOUNT}_CloudTrail_us-east-1_20251125T0231Z_"
    )));
    assert_eq!(objects[0].content_encoding.as_deref(), Some("gzip"));
    world.happens("d", "us-east-1", false);
    world.pass(300);
    assert_eq!(ids(&world.delivered()), ["a", "b", "c", "d"]);
    assert_eq!(world.state().latest_delivery, Some(world.clock.now()));
    assert!(world.state().latest_error.is_none());
}

#[test]
fn many_events_are_read_in_pages_and_none_is_lost() {
    let world = World::new();
    let expected: Vec<String> = (0..700).map(|at| format!("e{at:04}")).collect();
    for id in &expected {
        world.happens(id, "us-east-1", false);
    }
    world.pass(300);
    assert_eq!(ids(&world.delivered()), expected);
}

#[test]
fn a_bucket_that_refuses_keeps_events_waiting_and_the_status_tells() {
    let world = World::new();
    world.set_bucket(false);
    world.happens("a", "us-east-1", false);
    world.pass(300);
    assert!(world.delivered().is_empty());
    assert_eq!(world.state().latest_error.as_deref(), Some(file::ACCESS_DENIED));
    world.change(|tx| {
        tx.delete::<Bucket>(&Scope::installation(), "", BUCKET);
        Ok(())
    });
    world.pass(300);
    assert_eq!(world.state().latest_error.as_deref(), Some(file::NO_SUCH_BUCKET));
    world.set_bucket(true);
    world.pass(300);
    assert_eq!(ids(&world.delivered()), ["a"]);
    assert_eq!(world.state().latest_error, None);
}

#[test]
fn a_stopped_trail_delivers_what_happened_before_and_nothing_after() {
    let world = World::new();
    world.happens("a", "us-east-1", false);
    world.clock.0.fetch_add(5_000, Ordering::SeqCst);
    let stopped = world.clock.now();
    world.set_trail(&Trail {
        windows: vec![Window { from: Timestamp::from_ms(START_MS), to: Some(stopped) }],
        ..trail()
    });
    world.happens("b", "us-east-1", false);
    world.pass(300);
    assert_eq!(ids(&world.delivered()), ["a"]);
    world.happens("c", "us-east-1", false);
    world.pass(300);
    assert_eq!(ids(&world.delivered()), ["a"]);
    assert_eq!(world.objects("/CloudTrail-Digest/us-east-1/").len(), 1, "the last digest of the chain");
}

#[test]
fn three_digests_form_a_chain_that_validates() {
    let world = World::new();
    for at in 0..3 {
        world.happens(&format!("e{at}"), "us-east-1", true);
        world.pass(1800);
        world.pass(1800);
    }
    assert_eq!(world.objects("/CloudTrail-Digest/us-east-1/").len(), 3);
    assert_eq!(validate(&world, "us-east-1"), Ok((3, 3)));
}

#[test]
fn digests_of_a_few_seconds_validate_and_another_region_has_its_own_chain_and_key() {
    let mut world = World::new();
    world.delivery.digest_s = 2;
    world.happens("a", "us-east-1", true);
    world.happens("b", "eu-west-1", true);
    for _ in 0..4 {
        world.pass(2);
    }
    assert_eq!(validate(&world, "us-east-1"), Ok((4, 1)));
    assert_eq!(validate(&world, "eu-west-1"), Ok((4, 1)));
    let fingerprint = |region: &str| keys(&world, region).remove(0).fingerprint;
    assert_ne!(fingerprint("us-east-1"), fingerprint("eu-west-1"));
}

#[test]
fn a_changed_log_file_a_changed_digest_and_a_missing_one_are_found() {
    let world = World::new();
    for at in 0..3 {
        world.happens(&format!("e{at}"), "us-east-1", true);
        world.pass(3600);
    }
    let log = world.objects("/CloudTrail/").remove(0);
    let digests = world.objects("/CloudTrail-Digest/");
    let put = |object: &Object, plain: &[u8]| {
        world.change(|tx| {
            let bucket = bucket::find(tx, BUCKET)?.expect("the bucket");
            file::put_object(tx, &bucket, &object.key, plain, object.metadata.clone(), world.clock.now())
        });
    };
    let before = world.plain(&log);
    put(&log, br#"{"Records":[]}"#);
    assert_eq!(validate(&world, "us-east-1"), Err("log file: hash value doesn't match"));
    put(&log, &before);
    assert_eq!(validate(&world, "us-east-1"), Ok((3, 3)));
    let body = world.plain(&digests[1]);
    let text = String::from_utf8(body.clone()).unwrap().replacen("\"hashValue\":\"", "\"hashValue\":\"0", 1);
    put(&digests[1], text.as_bytes());
    assert_eq!(validate(&world, "us-east-1"), Err("previous digest: hash value doesn't match"));
    put(&digests[1], &body);
    world.change(|tx| {
        let bucket = bucket::find(tx, BUCKET)?.expect("the bucket");
        object::delete(tx, &bucket, &digests[0].key);
        Ok(())
    });
    assert_eq!(validate(&world, "us-east-1"), Err("digest: not found"));
}

fn keys(world: &World, region: &str) -> Vec<PublicKey> {
    world.read(|tx| tx.list::<PublicKey>(&Scope::regional("installation", region), &Parent::Exact("")))
}

/// What `aws cloudtrail validate-logs` checks, in its order, and the hash of the previous digest beside it. Gives the
/// numbers of valid digests and valid log files.
fn validate(world: &World, region: &str) -> Result<(usize, usize), &'static str> {
    let of_region = world.objects(&format!("p/AWSLogs/{ACCOUNT}/CloudTrail-Digest/{region}/"));
    let pattern = format!("{ACCOUNT}_CloudTrail-Digest_{region}_audit_us-east-1_");
    let mut next = of_region.iter().map(|object| object.key.clone()).filter(|key| key.contains(&pattern)).max();
    let (mut digests, mut logs) = (0, 0);
    let mut expected_hash: Option<String> = None;
    while let Some(key) = next {
        let object = of_region.iter().find(|object| object.key == key).ok_or("digest: not found")?;
        let plain = world.plain(object);
        let hash = hex::encode(Sha256::digest(&plain));
        if expected_hash.is_some_and(|expected| expected != hash) {
            return Err("previous digest: hash value doesn't match");
        }
        let digest: Value = serde_json::from_slice(&plain).map_err(|_| "digest: invalid format")?;
        let text = |name: &str| digest[name].as_str();
        if (text("digestS3Bucket"), text("digestS3Object")) != (Some(BUCKET), Some(&*key)) {
            return Err("digest: has been moved");
        }
        let fingerprint = text("digestPublicKeyFingerprint");
        let public = keys(world, region).into_iter().find(|key| Some(&*key.fingerprint) == fingerprint);
        let public = STANDARD.decode(public.ok_or("digest: public key not found")?.value).unwrap();
        let end = text("digestEndTime").ok_or("digest: invalid format")?;
        let stamp: String = end.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        assert_eq!(key[key.len() - 24..key.len() - 8], stamp);
        assert!(text("digestStartTime").unwrap() < end);
        let signed = string_to_sign(end, BUCKET, &key, &hash, text("previousDigestSignature"));
        assert_eq!(object.metadata["signature-algorithm"], "SHA256withRSA");
        let signature =
            hex::decode(&object.metadata["signature"]).map_err(|_| "digest: signature verification failed")?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "digest: signature verification failed")?;
        for log in digest["logFiles"].as_array().unwrap() {
            let found = world.objects("/CloudTrail/").into_iter().find(|object| log["s3Object"] == *object.key);
            let found = found.ok_or("log file: not found")?;
            if log["hashValue"] != hex::encode(Sha256::digest(world.plain(&found))) {
                return Err("log file: hash value doesn't match");
            }
            logs += 1;
        }
        digests += 1;
        expected_hash = text("previousDigestHashValue").map(str::to_owned);
        next = text("previousDigestS3Object").map(str::to_owned);
    }
    Ok((digests, logs))
}
