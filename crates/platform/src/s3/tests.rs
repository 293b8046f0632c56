//! The nouns over records in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use service::{Result, ServiceError, Timestamp, Tx, testing::Records};

use super::bucket::{self, Bucket};
use super::list::{self, Listing, Query};
use super::object::{self, Conditions, Headers, Object, Tags};
use super::{policy, upload};

const ACCOUNT: &str = "111111111111";
const NOW: Timestamp = Timestamp::from_ms(1_764_037_614_007);

#[derive(Default)]
struct Memory(Records);

impl Memory {
    fn run<T>(&mut self, act: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let mut tx = Tx::new(&mut self.0);
        let output = act(&mut tx)?;
        let changes = tx.into_changes();
        self.0.apply(changes);
        Ok(output)
    }

    fn with_bucket() -> (Self, Bucket) {
        let mut memory = Self::default();
        let bucket = memory.run(|tx| bucket::create(tx, "logs", ACCOUNT, "us-east-1", None, NOW)).expect("a bucket");
        (memory, bucket)
    }

    fn with_keys<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> (Self, Bucket) {
        let (mut memory, bucket) = Self::with_bucket();
        let put =
            |tx: &mut Tx<'_>| keys.into_iter().try_for_each(|key| object::save(tx, &bucket, &an_object(key.as_ref())));
        memory.run(put).expect("objects");
        (memory, bucket)
    }

    fn list(&mut self, bucket: &Bucket, query: Query<'_>) -> Listing {
        self.run(|tx| list::objects(tx, bucket, &query)).expect("a listing")
    }
}

fn an_object(key: &str) -> Object {
    Object {
        key: key.into(),
        blob: "b".into(),
        size: 1,
        md5_hex: "tag".into(),
        content_type: None,
        content_encoding: None,
        headers: Headers::default(),
        metadata: BTreeMap::new(),
        checksum: None,
        last_modified: NOW,
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error: ServiceError = result.expect_err("a refusal");
    error.code.into_owned()
}

#[test]
fn names_follow_the_rules() {
    let good = ["abc", "a-b.c", "123", &"a".repeat(63), "1.2.3"];
    let bad = [
        "ab",
        &"a".repeat(64),
        "Abc",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "a..b",
        "192.168.0.1",
        "xn--a",
        "sthree-a",
        "a-s3alias",
        "a--ol-s3",
        "a.mrap",
        "a--x-s3",
        "a b",
        "",
    ];
    for name in good {
        assert!(bucket::is_name(name), "{name}");
    }
    for name in bad {
        assert!(!bucket::is_name(name), "{name}");
    }
}

#[test]
fn a_name_is_taken_once_and_for_all_accounts() {
    let (mut memory, _) = Memory::with_bucket();
    let mut create = |account: &str, signed: &str, constraint: Option<&str>| {
        memory.run(|tx| bucket::create(tx, "logs", account, signed, constraint, NOW))
    };
    assert!(create(ACCOUNT, "us-east-1", None).is_ok(), "the owner re-creates it in us-east-1");
    assert_eq!(code(create(ACCOUNT, "eu-west-1", Some("eu-west-1"))), "BucketAlreadyOwnedByYou");
    assert_eq!(code(create("222222222222", "us-east-1", None)), "BucketAlreadyExists");
}

#[test]
fn the_name_that_stands_for_a_directory_is_nobodys() {
    let mut memory = Memory::default();
    let made = memory.run(|tx| bucket::create(tx, "hot-reload", ACCOUNT, "us-east-1", None, NOW));
    assert_eq!(code(made), "InvalidBucketName");
}

#[test]
fn the_location_constraint_must_fit_the_region_signed_for() {
    let cases = [
        ("us-east-1", None, Ok("us-east-1")),
        ("us-east-1", Some("eu-west-1"), Ok("eu-west-1")),
        ("us-east-1", Some("EU"), Ok("eu-west-1")),
        ("eu-west-1", Some("eu-west-1"), Ok("eu-west-1")),
        ("eu-west-1", None, Err("IllegalLocationConstraintException")),
        ("eu-west-1", Some("us-west-2"), Err("IllegalLocationConstraintException")),
        ("us-east-1", Some("us-east-1"), Err("InvalidLocationConstraint")),
        ("us-east-1", Some("nowhere"), Err("InvalidLocationConstraint")),
    ];
    for (signed, constraint, expected) in cases {
        let mut memory = Memory::default();
        let made = memory.run(|tx| bucket::create(tx, "logs", ACCOUNT, signed, constraint, NOW));
        let found = made.as_ref().map(|bucket| bucket.region.as_str()).map_err(|error| error.code.as_ref());
        assert_eq!(found, expected, "{signed} {constraint:?}");
    }
}

#[test]
fn only_an_empty_bucket_is_deleted_and_its_name_is_free_again() {
    let (mut memory, bucket) = Memory::with_keys(["a"]);
    assert_eq!(code(memory.run(|tx| bucket::delete(tx, &bucket))), "BucketNotEmpty");
    memory
        .run(|tx| {
            object::delete(tx, &bucket, "a");
            Ok(())
        })
        .unwrap();
    memory.run(|tx| policy::put(tx, &bucket, &document("arn:aws:s3:::logs/*", "\"*\""))).unwrap();
    let bucket = memory.run(|tx| bucket::load(tx, "logs")).unwrap();
    memory.run(|tx| bucket::delete(tx, &bucket)).unwrap();
    assert!(memory.0.documents.is_empty(), "{:?}", memory.0.documents.keys());
    assert!(memory.run(|tx| bucket::create(tx, "logs", "222222222222", "us-east-1", None, NOW)).is_ok());
}

#[test]
fn owned_buckets_are_those_of_the_account_alone() {
    let mut memory = Memory::default();
    for (name, account) in [("bbb", ACCOUNT), ("aaa", ACCOUNT), ("ccc", "222222222222")] {
        memory.run(|tx| bucket::create(tx, name, account, "us-east-1", None, NOW)).unwrap();
    }
    let names = |buckets: Vec<Bucket>| buckets.into_iter().map(|bucket| bucket.name).collect::<Vec<_>>();
    assert_eq!(names(memory.run(|tx| bucket::owned(tx, ACCOUNT, None, 10)).unwrap()), ["aaa", "bbb"]);
    assert_eq!(names(memory.run(|tx| bucket::owned(tx, ACCOUNT, Some("aaa"), 10)).unwrap()), ["bbb"]);
}

fn document(resource: &str, principal: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject","Resource":"{resource}"}}]}}"#
    )
}

#[test]
fn a_policy_speaks_of_its_bucket_and_of_s3_alone() {
    let good = ["arn:aws:s3:::logs", "arn:aws:s3:::logs/*", "arn:aws:s3:::lo*", "arn:aws:s3:::*"];
    for resource in good {
        let (mut memory, bucket) = Memory::with_bucket();
        memory
            .run(|tx| policy::put(tx, &bucket, &document(resource, "\"*\"")))
            .unwrap_or_else(|e| panic!("{resource}: {e:?}"));
        let kept = memory.run(|tx| bucket::load(tx, "logs")).unwrap();
        assert_eq!(policy::get(&kept).unwrap(), document(resource, "\"*\""));
    }
    let other_action = document("arn:aws:s3:::logs", "\"*\"").replace("s3:GetObject", "lambda:InvokeFunction");
    let no_principal = document("arn:aws:s3:::logs", "\"*\"").replace("Principal", "principal");
    let unknown_user = document("arn:aws:s3:::logs", r#"{"AWS":"arn:aws:iam::111111111111:user/nobody"}"#);
    let long =
        document("arn:aws:s3:::logs", "\"*\"").replace("\"Version\"", &format!("{}\"Version\"", " ".repeat(20_480)));
    let bad = [
        document("arn:aws:s3:::other/*", "\"*\""),
        document("arn:aws:s3:::logs2", "\"*\""),
        document("*", "\"*\""),
        other_action,
        no_principal,
        unknown_user,
        long,
        "{".into(),
        String::new(),
    ];
    for text in bad {
        let (mut memory, bucket) = Memory::with_bucket();
        assert_eq!(code(memory.run(|tx| policy::put(tx, &bucket, &text))), "MalformedPolicy", "{text}");
    }
}

#[test]
fn no_policy_is_said_to_be_none_and_deleting_none_is_no_error() {
    let (mut memory, bucket) = Memory::with_bucket();
    assert_eq!(code(policy::get(&bucket)), "NoSuchBucketPolicy");
    memory.run(|tx| policy::delete(tx, &bucket)).unwrap();
    memory.run(|tx| policy::put(tx, &bucket, &document("arn:aws:s3:::logs", "\"*\""))).unwrap();
    let bucket = memory.run(|tx| bucket::load(tx, "logs")).unwrap();
    assert!(memory.run(|tx| policy::effective(tx, &bucket)).unwrap().is_some());
    memory.run(|tx| policy::delete(tx, &bucket)).unwrap();
    let bucket = memory.run(|tx| bucket::load(tx, "logs")).unwrap();
    assert_eq!(memory.run(|tx| policy::effective(tx, &bucket)).unwrap(), None);
}

#[test]
fn public_is_a_grant_to_everyone_that_nothing_narrows() {
    let plain = document("arn:aws:s3:::logs/*", "\"*\"");
    let with = |condition: &str| plain.replace("\"Action\"", &format!("\"Condition\":{condition},\"Action\""));
    let cases = [
        (plain.clone(), true),
        (document("arn:aws:s3:::logs/*", r#"{"AWS":["*"]}"#), true),
        (document("arn:aws:s3:::logs/*", r#"{"AWS":"111111111111"}"#), false),
        (plain.replace("Allow", "Deny"), false),
        (with(r#"{"StringEquals":{"aws:SourceAccount":"111111111111"}}"#), false),
        (with(r#"{"StringLike":{"aws:SourceArn":"arn:aws:sns:*:*:*"}}"#), true),
        (with(r#"{"StringNotEquals":{"aws:SourceAccount":"111111111111"}}"#), true),
        (with(r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#), true),
        (with(r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#), false),
        (with(r#"{"Bool":{"aws:SecureTransport":"true"}}"#), true),
    ];
    for (text, public) in cases {
        assert_eq!(policy::is_public(&text), public, "{text}");
    }
}

#[test]
fn keys_are_rolled_up_at_the_delimiter() {
    let (mut memory, bucket) = Memory::with_keys(["a", "b/1", "b/2", "b/c/3", "c", "d/1"]);
    let listing = memory.list(&bucket, Query { delimiter: "/", limit: 1000, ..Query::default() });
    assert_eq!(listing.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(listing.common_prefixes, ["b/", "d/"]);
    assert_eq!(listing.next, None);
    let under = memory.list(&bucket, Query { prefix: "b/", delimiter: "/", limit: 1000, ..Query::default() });
    assert_eq!(under.common_prefixes, ["b/c/"]);
    assert_eq!(under.objects.len(), 2);
}

#[test]
fn a_page_that_ends_with_a_common_prefix_goes_on_after_it() {
    let (mut memory, bucket) = Memory::with_keys(["a/1", "a/2", "b"]);
    let first = memory.list(&bucket, Query { delimiter: "/", limit: 1, ..Query::default() });
    assert_eq!((first.common_prefixes, first.next.as_deref()), (vec!["a/".to_owned()], Some("a/")));
    let second = memory.list(&bucket, Query { delimiter: "/", limit: 1, after: Some("a/"), ..Query::default() });
    assert_eq!(second.objects[0].key, "b");
    assert_eq!(second.next, None);
}

#[test]
fn what_is_rolled_up_is_not_read() {
    let (mut memory, bucket) = Memory::with_keys((0..5000).map(|n| format!("a/{n:04}")).chain(["b".to_owned()]));
    memory.0.rows_read = 0;
    let listing = memory.list(&bucket, Query { delimiter: "/", limit: 1000, ..Query::default() });
    assert_eq!((listing.common_prefixes.len(), listing.objects.len()), (1, 1));
    assert!(memory.0.rows_read < 300, "{} rows", memory.0.rows_read);
}

#[test]
fn no_limit_lists_nothing_and_a_large_one_is_cut() {
    let (mut memory, bucket) = Memory::with_keys((0..1001).map(|n| format!("{n:04}")));
    assert_eq!(memory.list(&bucket, Query::default()), Listing::default());
    let page = memory.list(&bucket, Query { limit: 5000, ..Query::default() });
    assert_eq!((page.objects.len(), page.next.as_deref()), (1000, Some("0999")));
}

/// What listing means, said plainly.
fn plainly(keys: &[String], query: &Query<'_>) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let at = if query.delimiter.is_empty() { None } else { rest.find(query.delimiter) };
        let entry = match at {
            Some(at) => key[..query.prefix.len() + at + query.delimiter.len()].to_owned(),
            None => key.clone(),
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

proptest! {
    #[test]
    fn pages_together_are_the_whole_listing(
        keys in prop::collection::btree_set("[ab/\u{d7ff}\u{10ffff}]{1,4}", 0..40),
        prefix in "[ab/\u{10ffff}]{0,2}",
        delimiter in prop::sample::select(vec!["", "/", "a", "//"]),
        limit in 1usize..5,
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let (mut memory, bucket) = Memory::with_keys(&keys);
        let whole = plainly(&keys, &Query { prefix: &prefix, delimiter, ..Query::default() });
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = memory.list(&bucket, Query { prefix: &prefix, delimiter, after: after.as_deref(), limit });
            let mut entries: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
            entries.extend(page.common_prefixes);
            entries.sort();
            prop_assert!(entries.len() <= limit);
            found.extend(entries);
            after = page.next;
            if after.is_none() { break }
            prop_assert!(found.len() <= whole.len());
        }
        prop_assert_eq!(found, whole);
    }
}

#[test]
fn conditions_weigh_as_http_says() {
    let object = an_object("k");
    let before = Some(Timestamp::from_ms(NOW.ms() - 5000));
    let same_second = Some(Timestamp::from_ms(NOW.s() * 1000));
    let (hit, miss) = (Some(Tags::One("tag")), Some(Tags::One("other")));
    let cases = [
        (Conditions::default(), None),
        (Conditions { if_match: hit, if_unmodified_since: before, ..Conditions::default() }, None),
        (Conditions { if_match: Some(Tags::Any), ..Conditions::default() }, None),
        (Conditions { if_match: miss, ..Conditions::default() }, Some(412)),
        (Conditions { if_unmodified_since: before, ..Conditions::default() }, Some(412)),
        (Conditions { if_unmodified_since: same_second, ..Conditions::default() }, None),
        (Conditions { if_none_match: hit, ..Conditions::default() }, Some(304)),
        (Conditions { if_none_match: miss, if_modified_since: same_second, ..Conditions::default() }, None),
        (Conditions { if_modified_since: same_second, ..Conditions::default() }, Some(304)),
        (Conditions { if_modified_since: before, ..Conditions::default() }, None),
    ];
    for (conditions, status) in cases {
        assert_eq!(conditions.check_read(&object).err().map(|error| error.status), status, "{conditions:?}");
        let of_copy = status.map(|_| 412);
        assert_eq!(conditions.check_copy(&object).err().map(|error| error.status), of_copy, "{conditions:?}");
    }
}

#[test]
fn conditional_writes_keep_or_refuse() {
    let object = an_object("k");
    let check =
        |current: Option<&Object>, tags, none| object::check_write(current, "k", tags, none).err().map(|e| e.status);
    assert_eq!(check(None, None, true), None);
    assert_eq!(check(Some(&object), None, true), Some(412));
    assert_eq!(check(Some(&object), Some(Tags::One("tag")), false), None);
    assert_eq!(check(Some(&object), Some(Tags::One("other")), false), Some(412));
    assert_eq!(check(None, Some(Tags::One("tag")), false), Some(404));
}

#[test]
fn keys_and_metadata_are_bounded() {
    let (mut memory, bucket) = Memory::with_bucket();
    let mut save = |object: Object| memory.run(|tx| object::save(tx, &bucket, &object));
    assert!(save(an_object(&"k".repeat(1024))).is_ok());
    assert_eq!(code(save(an_object(&"k".repeat(1025)))), "KeyTooLongError");
    assert_eq!(code(save(an_object(""))), "InvalidArgument");
    let metadata = BTreeMap::from([("n".to_owned(), "v".repeat(2048))]);
    assert_eq!(code(save(Object { metadata, ..an_object("k") })), "MetadataTooLarge");
}

fn an_upload(key: &str) -> upload::Upload {
    upload::Upload {
        key: key.into(),
        id: "id-1".into(),
        content_type: None,
        content_encoding: None,
        headers: Headers::default(),
        metadata: BTreeMap::new(),
        checksum_algorithm: "CRC64NVME".into(),
        full_object: true,
        initiated: NOW,
    }
}

fn a_part(number: u32, size: u64) -> upload::Part {
    let md5_hex = format!("tag{number}");
    upload::Part { number, blob: "b".into(), size, md5_hex, checksum: None, last_modified: NOW }
}

#[test]
fn an_upload_is_completed_from_its_parts_in_order() {
    let (mut memory, bucket) = Memory::with_bucket();
    let upload = an_upload("k");
    let min = upload::PART_BYTES_MIN;
    memory
        .run(|tx| {
            upload::start(tx, &bucket, &upload)?;
            for (number, size) in [(1, min), (2, 1), (3, min), (4, 64 << 20)] {
                upload::put_part(tx, &bucket, &upload, &a_part(number, size))?;
            }
            Ok(())
        })
        .unwrap();
    let mut choose = |named: &[(u32, &str)]| {
        let named: Vec<_> = named.iter().map(|(number, md5_hex)| upload::Named { number: *number, md5_hex }).collect();
        memory.run(|tx| upload::chosen(tx, &bucket, &upload, &named))
    };
    assert_eq!(choose(&[(1, "tag1"), (2, "tag2")]).unwrap().len(), 2);
    assert_eq!(choose(&[(2, "tag2")]).unwrap().len(), 1);
    assert_eq!(code(choose(&[])), "MalformedXML");
    assert_eq!(code(choose(&[(2, "tag2"), (1, "tag1")])), "InvalidPartOrder");
    assert_eq!(code(choose(&[(1, "tag1"), (1, "tag1")])), "InvalidPartOrder");
    assert_eq!(code(choose(&[(1, "other")])), "InvalidPart");
    assert_eq!(code(choose(&[(9, "tag9")])), "InvalidPart");
    assert_eq!(code(choose(&[(1, "tag1"), (2, "tag2"), (3, "tag3")])), "EntityTooSmall");
    assert_eq!(code(choose(&[(3, "tag3"), (4, "tag4")])), "EntityTooLarge");
}

#[test]
fn an_upload_belongs_to_its_key_and_leaves_nothing_behind() {
    let (mut memory, bucket) = Memory::with_bucket();
    let before = memory.0.documents.len();
    let upload = an_upload("k");
    memory
        .run(|tx| {
            upload::start(tx, &bucket, &upload)?;
            upload::put_part(tx, &bucket, &upload, &a_part(1, 1))
        })
        .unwrap();
    let ids = ["id-2", "", "id\n1", &"x".repeat(5000)];
    for id in ids {
        assert_eq!(code(memory.run(|tx| upload::load(tx, &bucket, "k", id))), "NoSuchUpload");
    }
    assert_eq!(code(memory.run(|tx| upload::load(tx, &bucket, "other", "id-1"))), "NoSuchUpload");
    memory.run(|tx| upload::end(tx, &bucket, &upload)).unwrap();
    assert_eq!(memory.0.documents.len(), before);
    for number in [0, -1, 10_001] {
        assert_eq!(code(upload::check_number(number)), "InvalidArgument");
    }
}

#[test]
fn url_encoding_leaves_slashes_alone() {
    assert_eq!(super::url_encoded("a/b c+é&<"), "a/b%20c%2B%C3%A9%26%3C");
}
