//! Signed requests against a store in memory, from bytes to bytes.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use environment::{LogSink, NoCredentials, Supervisor};
use serde_json::Value;
use service::Timestamp;
use store::{EventQuery, Memory, Store};
use wire::sigv4::{self, RequestHead, SignPayload};

use super::handle;
use crate::{Clock, Control, Options, Request, Response, accounts::CreatedAccount, vault::Vault};

const NOW_MS: i64 = 1_764_037_614_007;
const OWNER: &str = "111111111111";
const OTHER: &str = "222222222222";

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(NOW_MS)
    }
}

struct Quiet;

impl LogSink for Quiet {
    fn write(&self, _: &str, _: &str, _group: &str, _stream: &str, _lines: Vec<(u64, String)>) {}
}

struct World {
    control: Control,
    store: Arc<dyn Store>,
    owner: CreatedAccount,
    other: CreatedAccount,
    _dir: tempfile::TempDir,
}

/// A request to be signed.
#[derive(Clone, Default)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
    host: Option<&'a str>,
    region: Option<&'a str>,
}

fn ask<'a>(method: &'a str, target: &'a str) -> Ask<'a> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Ask { method, path, query, ..Ask::default() }
}

impl<'a> Ask<'a> {
    fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn request(&self, signer: Option<&CreatedAccount>) -> Request {
        let mut headers: Vec<(String, Vec<u8>)> = vec![
            ("Host".into(), self.host.unwrap_or("127.0.0.1:4566").into()),
            ("User-Agent".into(), b"test".to_vec()),
        ];
        headers.extend(self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
        if let Some(signer) = signer {
            let borrowed: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            let head =
                RequestHead { method: self.method, raw_path: self.path, raw_query: self.query, headers: &borrowed };
            let credentials = sigv4::Credentials {
                access_key_id: &signer.access_key_id,
                secret_access_key: &signer.secret_access_key,
                session_token: None,
            };
            let region = self.region.unwrap_or("us-east-1");
            let added =
                sigv4::sign(&head, SignPayload::Bytes(&self.body), &credentials, region, "s3", NOW_MS.div_euclid(1000));
            headers.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())));
        }
        Request {
            method: self.method.to_owned(),
            raw_path: self.path.to_owned(),
            raw_query: self.query.map(str::to_owned),
            headers,
            body: Bytes::from(self.body.clone()),
            client: IpAddr::from([127, 0, 0, 1]),
            secure: false,
        }
    }
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let vault = Arc::new(Vault::open(dir.path()).unwrap());
        let settings =
            environment::Options { data_dir: dir.path().join("functions"), ..environment::Options::default() };
        let runtime = tokio::runtime::Handle::current();
        let runner = Supervisor::start(settings, runtime, Arc::new(NoCredentials), Arc::new(Quiet)).unwrap();
        let events = Arc::new(store::logs::Embedded::open(dir.path(), &store::logs::Options::default()).unwrap());
        let logs = crate::LogWriter::start(Arc::clone(&store), Arc::clone(&vault), Arc::new(Still), events).unwrap();
        let control = Control::start(
            options,
            Arc::clone(&store),
            vault,
            Arc::new(Still),
            runner,
            logs,
            gateway::Options::default(),
        )
        .unwrap();
        let owner = control.create_account(OWNER, "owner").unwrap();
        let other = control.create_account(OTHER, "other").unwrap();
        Self { control, store, owner, other, _dir: dir }
    }

    async fn with_bucket() -> Self {
        let world = Self::new();
        world.ok(ask("PUT", "/logs")).await;
        world
    }

    async fn send(&self, request: Request) -> Response {
        handle(&self.control.inner, request).await
    }

    async fn as_owner(&self, ask: Ask<'_>) -> Response {
        self.send(ask.request(Some(&self.owner))).await
    }

    async fn as_other(&self, ask: Ask<'_>) -> Response {
        self.send(ask.request(Some(&self.other))).await
    }

    async fn as_nobody(&self, ask: Ask<'_>) -> Response {
        self.send(ask.request(None)).await
    }

    async fn ok(&self, ask: Ask<'_>) -> Response {
        let what = format!("{} {}", ask.method, ask.path);
        let response = self.as_owner(ask).await;
        assert!(response.status < 300, "{what}: {} {}", response.status, text(&response));
        response
    }

    async fn put(&self, path: &str, body: &str) -> Response {
        self.ok(ask("PUT", path).body(body)).await
    }

    fn events(&self, account: &str) -> Vec<Value> {
        let query = EventQuery {
            account: account.into(),
            region: "us-east-1".into(),
            attribute: None,
            from_ms: None,
            to_ms: None,
            include_data: true,
            before: None,
            limit: 100,
        };
        let mut stored = self.store.lookup_events(&query).unwrap();
        stored.sort_by_key(|stored| stored.sequence);
        stored.iter().map(|stored| serde_json::from_slice(&stored.event.record).unwrap()).collect()
    }
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, element(&text(response), "Code").unwrap_or_default().to_owned())
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn allow(principal: &str, action: &str, resource: &str) -> String {
    policy(&format!(
        r#"{{"Effect":"Allow","Principal":{principal},"Action":"{action}","Resource":"arn:aws:s3:::{resource}"}}"#
    ))
}

#[tokio::test]
async fn a_bucket_lives_from_creation_to_deletion() {
    let world = World::new();
    let created = world.ok(ask("PUT", "/logs")).await;
    assert_eq!(header(&created, "location"), Some("/logs"));
    assert!(header(&created, "x-amz-request-id").is_some());
    let head = world.ok(ask("HEAD", "/logs")).await;
    assert_eq!(header(&head, "x-amz-bucket-region"), Some("us-east-1"));
    let listed = text(&world.ok(ask("GET", "/")).await);
    assert_eq!(element(&listed, "Name"), Some("logs"), "{listed}");
    let location = text(&world.ok(ask("GET", "/logs?location")).await);
    assert!(location.contains("LocationConstraint"), "{location}");
    world.put("/logs/a", "x").await;
    assert_eq!(refused(&world.as_owner(ask("DELETE", "/logs")).await), refusal(409, "BucketNotEmpty"));
    assert_eq!(world.ok(ask("DELETE", "/logs/a")).await.status, 204);
    assert_eq!(world.ok(ask("DELETE", "/logs")).await.status, 204);
    assert_eq!(refused(&world.as_owner(ask("GET", "/logs")).await), refusal(404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_bucket_elsewhere_says_where_it_is() {
    let world = World::new();
    let body = r#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"#;
    world.ok(Ask { region: Some("eu-west-1"), ..ask("PUT", "/logs").body(body) }).await;
    let location = text(&world.ok(ask("GET", "/logs?location")).await);
    assert!(location.contains(">eu-west-1</LocationConstraint>"), "{location}");
}

#[tokio::test]
async fn names_are_one_for_all_accounts() {
    let world = World::with_bucket().await;
    assert_eq!(refused(&world.as_other(ask("PUT", "/logs")).await), refusal(409, "BucketAlreadyExists"));
    assert_eq!(world.as_owner(ask("PUT", "/logs")).await.status, 200, "re-created by its owner in us-east-1");
    assert_eq!(refused(&world.as_owner(ask("PUT", "/Bad_Name")).await), refusal(400, "InvalidBucketName"));
    assert_eq!(refused(&world.as_owner(ask("PUT", "/xn--name")).await), refusal(400, "InvalidBucketName"));
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let world = World::with_bucket().await;
    let put = ask("PUT", "/logs/a%20b/c%2Bd")
        .header("Content-Type", "text/plain")
        .header("Cache-Control", "no-cache")
        .header("Content-Encoding", "gzip,aws-chunked")
        .header("x-amz-meta-Colour", "green")
        .body("hello world");
    let put = world.ok(put).await;
    assert_eq!(header(&put, "etag"), Some("\"5eb63bbbe01eeed093cb22bb8f5acdc3\""));
    let got = world.ok(ask("GET", "/logs/a%20b/c%2Bd")).await;
    assert_eq!(text(&got), "hello world");
    let expected = [
        ("content-type", "text/plain"),
        ("cache-control", "no-cache"),
        ("content-encoding", "gzip"),
        ("x-amz-meta-colour", "green"),
        ("etag", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\""),
        ("accept-ranges", "bytes"),
        ("last-modified", "Tue, 25 Nov 2025 02:26:54 GMT"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&got, name), Some(value), "{name}");
    }
    let head = world.ok(ask("HEAD", "/logs/a%20b/c%2Bd")).await;
    assert_eq!((header(&head, "content-length"), head.body.len()), (Some("11"), 0));
    assert_eq!(header(&got, "content-length"), None, "left to the listener");
    let listed = text(&world.ok(ask("GET", "/logs?list-type=2&encoding-type=url")).await);
    assert_eq!(element(&listed, "Key"), Some("a%20b/c%2Bd"));
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_http() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "0123456789").await;
    let get = |name: &'static str, value: &'static str| ask("GET", "/logs/a").header(name, value);
    let part = world.as_owner(get("Range", "bytes=2-4")).await;
    assert_eq!((part.status, text(&part)), (206, "234".to_owned()));
    assert_eq!(header(&part, "content-range"), Some("bytes 2-4/10"));
    assert_eq!(text(&world.as_owner(get("Range", "bytes=-3")).await), "789");
    assert_eq!(text(&world.as_owner(get("Range", "bytes=8-99")).await), "89");
    assert_eq!(world.as_owner(get("Range", "nonsense")).await.status, 200);
    assert_eq!(refused(&world.as_owner(get("Range", "bytes=10-")).await), refusal(416, "InvalidRange"));
    let tag = "\"781e5e245d69b566979b86e28d23f2c7\"";
    assert_eq!(world.as_owner(get("If-Match", tag)).await.status, 200);
    assert_eq!(refused(&world.as_owner(get("If-Match", "\"x\"")).await), refusal(412, "PreconditionFailed"));
    let unchanged = world.as_owner(get("If-None-Match", tag)).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let put = ask("PUT", "/logs/a").header("If-None-Match", "*");
    assert_eq!(refused(&world.as_owner(put).await), refusal(412, "PreconditionFailed"));
}

#[tokio::test]
async fn what_is_not_there_is_said_so_to_those_who_may_list() {
    let world = World::with_bucket().await;
    assert_eq!(refused(&world.as_owner(ask("GET", "/logs/none")).await), refusal(404, "NoSuchKey"));
    let head = world.as_owner(ask("HEAD", "/logs/none")).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(world.ok(ask("DELETE", "/logs/none")).await.status, 204, "deleting nothing is no error");
    world.ok(ask("PUT", "/logs?policy").body(allow("\"*\"", "s3:GetObject", "logs/*"))).await;
    assert_eq!(refused(&world.as_nobody(ask("GET", "/logs/none")).await), refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn checksums_that_do_not_match_store_nothing() {
    let world = World::with_bucket().await;
    let good = [
        ("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww=="),
        ("x-amz-checksum-crc32", "DUoRhQ=="),
        ("x-amz-checksum-crc32c", "yZRlqg=="),
        ("x-amz-checksum-sha1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
        ("x-amz-checksum-sha256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
    ];
    for (name, value) in good {
        let put = world.ok(ask("PUT", "/logs/good").header(name, value).body("hello world")).await;
        if name != "Content-MD5" {
            assert_eq!(header(&put, name), Some(value));
        }
    }
    let kept = world.ok(ask("GET", "/logs/good").header("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!(header(&kept, "x-amz-checksum-sha256"), Some(good[4].1));
    let bad = [
        ("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNwg==", "BadDigest"),
        ("Content-MD5", "nonsense", "InvalidDigest"),
        ("x-amz-checksum-crc32", "DUoRhA==", "BadDigest"),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=", "BadDigest"),
        ("x-amz-checksum-sha256", "AAAA", "InvalidRequest"),
        ("x-amz-sdk-checksum-algorithm", "CRC32", "InvalidRequest"),
    ];
    for (name, value, code) in bad {
        let put = world.as_owner(ask("PUT", "/logs/bad").header(name, value).body("hello world")).await;
        assert_eq!(refused(&put), refusal(400, code), "{name}");
    }
    assert_eq!(world.as_owner(ask("HEAD", "/logs/bad")).await.status, 404);
}

#[tokio::test]
async fn another_account_needs_both_its_own_leave_and_the_buckets() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "x").await;
    assert_eq!(refused(&world.as_other(ask("GET", "/logs/a")).await), refusal(403, "AccessDenied"));
    assert_eq!(refused(&world.as_other(ask("GET", "/logs?list-type=2")).await), refusal(403, "AccessDenied"));
    let document = allow(&format!(r#"{{"AWS":"{OTHER}"}}"#), "s3:GetObject", "logs/*");
    assert_eq!(world.ok(ask("PUT", "/logs?policy").body(document.as_str())).await.status, 204);
    assert_eq!(world.as_other(ask("GET", "/logs/a")).await.status, 200);
    assert_eq!(refused(&world.as_other(ask("PUT", "/logs/a").body("y")).await), refusal(403, "AccessDenied"));
    assert_eq!(refused(&world.as_other(ask("GET", "/logs?policy")).await), refusal(403, "AccessDenied"));
    assert_eq!(text(&world.ok(ask("GET", "/logs?policy")).await), document);
    let status = text(&world.ok(ask("GET", "/logs?policyStatus")).await);
    assert_eq!(element(&status, "IsPublic").map(str::to_ascii_lowercase).as_deref(), Some("false"));
    assert_eq!(world.ok(ask("DELETE", "/logs?policy")).await.status, 204);
    assert_eq!(refused(&world.as_owner(ask("GET", "/logs?policy")).await), refusal(404, "NoSuchBucketPolicy"));
    assert_eq!(refused(&world.as_other(ask("GET", "/logs/a")).await), refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn the_owners_root_cannot_be_locked_out_of_the_policy() {
    let world = World::with_bucket().await;
    let deny = policy(
        r#"{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"]}"#,
    );
    world.ok(ask("PUT", "/logs?policy").body(deny)).await;
    assert_eq!(refused(&world.as_owner(ask("GET", "/logs")).await), refusal(403, "AccessDenied"));
    assert_eq!(world.ok(ask("DELETE", "/logs?policy")).await.status, 204);
    assert_eq!(world.ok(ask("GET", "/logs")).await.status, 200);
}

#[tokio::test]
async fn nobody_may_do_what_the_policy_says_and_nothing_else() {
    let world = World::with_bucket().await;
    world.put("/logs/public/a", "x").await;
    world.put("/logs/private", "y").await;
    assert_eq!(refused(&world.as_nobody(ask("GET", "/logs/public/a")).await), refusal(403, "AccessDenied"));
    world.ok(ask("PUT", "/logs?policy").body(allow("\"*\"", "s3:GetObject", "logs/public/*"))).await;
    assert_eq!(text(&world.as_nobody(ask("GET", "/logs/public/a")).await), "x");
    let denied = [
        ask("GET", "/logs/private"),
        ask("PUT", "/logs/public/b").body("z"),
        ask("GET", "/logs"),
        ask("GET", "/"),
        ask("PUT", "/mine"),
        ask("DELETE", "/logs"),
        ask("DELETE", "/logs/public/a"),
        ask("PUT", "/logs?policy").body("{}"),
    ];
    for ask in denied {
        let what = format!("{} {}", ask.method, ask.path);
        assert_eq!(refused(&world.as_nobody(ask).await), refusal(403, "AccessDenied"), "{what}");
    }
    let overridden = world.as_nobody(ask("GET", "/logs/public/a?response-content-type=text/html")).await;
    assert_eq!(refused(&overridden), refusal(400, "InvalidRequest"));
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_and_recorded() {
    let world = World::with_bucket().await;
    let wrong = CreatedAccount { secret_access_key: "x".repeat(40), ..world.owner.clone() };
    let request = ask("GET", "/logs").request(Some(&wrong));
    assert_eq!(refused(&world.send(request).await), refusal(403, "SignatureDoesNotMatch"));
    let unknown = CreatedAccount { access_key_id: "AKIAAAAAAAAAAAAAAAAA".into(), ..world.owner.clone() };
    assert_eq!(
        refused(&world.send(ask("GET", "/logs").request(Some(&unknown))).await),
        refusal(403, "InvalidAccessKeyId")
    );
    let mut tampered = ask("PUT", "/logs/a").body("good").request(Some(&world.owner));
    tampered.body = Bytes::from_static(b"evil");
    assert_eq!(world.send(tampered).await.status, 400, "XAmzContentSHA256Mismatch");
    assert_eq!(world.as_owner(ask("HEAD", "/logs/a")).await.status, 404);
    let names: Vec<_> = world.events(OWNER).iter().map(|e| e["eventName"].as_str().unwrap().to_owned()).collect();
    assert!(names.contains(&"SignatureRefused".to_owned()), "{names:?}");
}

#[tokio::test]
async fn bucket_calls_are_recorded_and_object_calls_are_not() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "x").await;
    world.ok(ask("GET", "/logs?list-type=2")).await;
    world
        .ok(ask("PUT", "/logs?policy").body(allow(&format!(r#"{{"AWS":"{OTHER}"}}"#), "s3:GetObject", "logs/*")))
        .await;
    world.as_other(ask("DELETE", "/logs")).await;
    let events = world.events(OWNER);
    let names: Vec<_> = events.iter().map(|event| event["eventName"].as_str().unwrap()).collect();
    assert_eq!(names, ["CreateBucket", "PutBucketPolicy", "DeleteBucket"]);
    assert_eq!(events[1]["eventSource"], "s3.amazonaws.com");
    assert_eq!(events[1]["requestParameters"]["bucketName"], "logs");
    assert_eq!(events[1]["requestParameters"]["bucketPolicy"]["Version"], "2012-10-17");
    assert_eq!(events[2]["errorCode"], "AccessDenied");
    let others = world.events(OTHER);
    assert_eq!(others.len(), 1);
    assert_eq!(others[0]["sharedEventID"], events[2]["sharedEventID"]);
}

#[tokio::test]
async fn listing_goes_on_where_it_stopped() {
    let world = World::with_bucket().await;
    for key in ["a", "b/1", "b/2", "c"] {
        world.put(&format!("/logs/{key}"), "x").await;
    }
    let first = text(&world.ok(ask("GET", "/logs?list-type=2&delimiter=%2F&max-keys=2")).await);
    assert_eq!((element(&first, "KeyCount"), element(&first, "IsTruncated")), (Some("2"), Some("true")), "{first}");
    let token = element(&first, "NextContinuationToken").unwrap();
    let target = format!("/logs?list-type=2&delimiter=%2F&max-keys=2&continuation-token={token}");
    let second = text(&world.ok(ask("GET", &target)).await);
    assert_eq!((element(&second, "Key"), element(&second, "IsTruncated")), (Some("c"), Some("false")));
    let made_up = world.as_owner(ask("GET", "/logs?list-type=2&continuation-token=nonsense")).await;
    assert_eq!(refused(&made_up), refusal(400, "InvalidArgument"));
    let old = text(&world.ok(ask("GET", "/logs?prefix=b%2F&marker=b%2F1")).await);
    assert_eq!((element(&old, "Key"), element(&old, "Marker")), (Some("b/2"), Some("b/1")));
    let versions = text(&world.ok(ask("GET", "/logs?versions")).await);
    assert_eq!(versions.matches("<VersionId>null</VersionId>").count(), 4, "{versions}");
    assert_eq!(refused(&world.as_owner(ask("GET", "/logs?max-keys=-1")).await), refusal(400, "InvalidArgument"));
}

fn md5_header(body: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(super::checksum::md5(body.as_bytes()))
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "x").await;
    world.put("/logs/b", "x").await;
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>";
    let without = world.as_owner(ask("POST", "/logs?delete").body(body)).await;
    assert_eq!(refused(&without), refusal(400, "InvalidRequest"));
    let answer = world.ok(ask("POST", "/logs?delete").header("Content-MD5", md5_header(body)).body(body)).await;
    assert_eq!(text(&answer).matches("<Deleted>").count(), 2, "{}", text(&answer));
    assert_eq!(world.as_owner(ask("HEAD", "/logs/a")).await.status, 404);
    let denied = world.as_other(ask("POST", "/logs?delete").header("Content-MD5", md5_header(body)).body(body)).await;
    assert_eq!((denied.status, text(&denied).matches("AccessDenied").count()), (200, 2));
    assert_eq!(world.as_owner(ask("HEAD", "/logs/b")).await.status, 200);
}

#[tokio::test]
async fn a_copy_reads_one_bucket_and_writes_the_other() {
    let world = World::with_bucket().await;
    world.ok(ask("PUT", "/archive")).await;
    world.ok(ask("PUT", "/logs/a%20b").header("x-amz-meta-n", "v").body("x")).await;
    let copy = |to: &'static str| ask("PUT", to).header("x-amz-copy-source", "/logs/a%20b");
    let copied = world.ok(copy("/archive/c")).await;
    assert!(text(&copied).contains("<CopyObjectResult"), "{}", text(&copied));
    let got = world.ok(ask("GET", "/archive/c")).await;
    assert_eq!((text(&got).as_str(), header(&got, "x-amz-meta-n")), ("x", Some("v")));
    assert_eq!(refused(&world.as_owner(copy("/logs/a%20b")).await), refusal(400, "InvalidRequest"));
    let replaced = copy("/logs/a%20b").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-n", "w");
    world.ok(replaced).await;
    assert_eq!(header(&world.ok(ask("HEAD", "/logs/a%20b")).await, "x-amz-meta-n"), Some("w"));
    world.as_other(ask("PUT", "/stolen")).await;
    assert_eq!(refused(&world.as_other(copy("/stolen/a")).await), refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn an_object_arrives_in_parts() {
    let world = World::with_bucket().await;
    let started = text(&world.ok(ask("POST", "/logs/big?uploads").header("x-amz-meta-n", "v")).await);
    let id = element(&started, "UploadId").unwrap().to_owned();
    let mut tags = Vec::new();
    for (number, body) in [(1, vec![b'a'; 5 << 20]), (2, b"end".to_vec())] {
        let target = format!("/logs/big?partNumber={number}&uploadId={id}");
        let response = world.ok(ask("PUT", &target).body(body)).await;
        tags.push(header(&response, "etag").unwrap().to_owned());
    }
    let parts = text(&world.ok(ask("GET", &format!("/logs/big?uploadId={id}"))).await);
    assert_eq!(parts.matches("<Part>").count(), 2, "{parts}");
    let uploads = text(&world.ok(ask("GET", "/logs?uploads")).await);
    assert_eq!(element(&uploads, "UploadId"), Some(id.as_str()));
    let named = |order: &[usize]| {
        let parts: String = order
            .iter()
            .map(|n| {
                format!("<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>", tags[n - 1].replace('"', "&quot;"))
            })
            .collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    let target = format!("/logs/big?uploadId={id}");
    let wrong = world.as_owner(ask("POST", &target).body(named(&[2, 1]))).await;
    assert_eq!(refused(&wrong), refusal(400, "InvalidPartOrder"));
    let done = text(&world.ok(ask("POST", &target).body(named(&[1, 2]))).await);
    assert!(element(&done, "ETag").is_some_and(|tag| tag.contains("-2")), "{done}");
    let got = world.ok(ask("GET", "/logs/big")).await;
    assert_eq!((got.body.len(), header(&got, "x-amz-meta-n")), ((5 << 20) + 3, Some("v")));
    let again = world.as_owner(ask("POST", &target).body(named(&[1, 2]))).await;
    assert_eq!(refused(&again), refusal(404, "NoSuchUpload"));
}

#[tokio::test]
async fn virtual_hosts_name_the_bucket() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "x").await;
    for host in
        ["logs.s3.localhost:4566", "logs.s3.us-east-1.example.com", "logs.s3-eu-west-1.example.com", "logs.localhost"]
    {
        let got = world.as_owner(Ask { host: Some(host), ..ask("GET", "/a") }).await;
        assert_eq!((got.status, text(&got)), (200, "x".into()), "{host}");
        let listed = world.as_owner(Ask { host: Some(host), ..ask("GET", "/") }).await;
        assert!(text(&listed).contains("<ListBucketResult"), "{host}: {}", text(&listed));
    }
    for host in ["s3.localhost:4566", "s3.us-east-1.localhost", "s3-us-west-2.example.com", "localhost", "[::1]:4566"] {
        let got = world.as_owner(Ask { host: Some(host), ..ask("GET", "/logs/a") }).await;
        assert_eq!((got.status, text(&got)), (200, "x".into()), "{host}");
    }
}

#[tokio::test]
async fn what_was_never_configured_has_its_own_answer() {
    let world = World::with_bucket().await;
    let none = [
        ("tagging", "NoSuchTagSet"),
        ("cors", "NoSuchCORSConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "OwnershipControlsNotFoundError"),
    ];
    for (part, code) in none {
        let target = format!("/logs?{part}");
        assert_eq!(refused(&world.as_owner(ask("GET", &target)).await), refusal(404, code), "{part}");
        assert_eq!(refused(&world.as_other(ask("GET", &target)).await), refusal(403, "AccessDenied"), "{part}");
    }
    let fixed = [
        ("versioning", "VersioningConfiguration"),
        ("accelerate", "AccelerateConfiguration"),
        ("logging", "BucketLoggingStatus"),
        ("notification", "NotificationConfiguration"),
        ("requestPayment", "BucketOwner"),
        ("acl", "FULL_CONTROL"),
    ];
    for (part, contained) in fixed {
        let answer = text(&world.ok(ask("GET", &format!("/logs?{part}"))).await);
        assert!(answer.contains(contained), "{part}: {answer}");
    }
}

#[tokio::test]
async fn what_is_not_enforced_is_refused() {
    let world = World::with_bucket().await;
    let headers = [
        ("x-amz-server-side-encryption", "AES256", 501, "NotImplemented"),
        ("x-amz-server-side-encryption", "aws:kms", 501, "NotImplemented"),
        ("x-amz-tagging", "a=b", 501, "NotImplemented"),
        ("x-amz-storage-class", "GLACIER", 501, "NotImplemented"),
        ("x-amz-object-lock-mode", "COMPLIANCE", 501, "NotImplemented"),
        ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
        ("x-amz-grant-read", "id=x", 400, "AccessControlListNotSupported"),
    ];
    for (name, value, status, code) in headers {
        let put = world.as_owner(ask("PUT", "/logs/a").header(name, value).body("x")).await;
        assert_eq!(refused(&put), refusal(status, code), "{name}: {value}");
    }
    let calls = [
        ("PUT", "/logs?versioning", "PutBucketVersioning"),
        ("PUT", "/logs?encryption", "PutBucketEncryption"),
        ("PUT", "/logs/a?tagging", "PutObjectTagging"),
        ("GET", "/logs?analytics&id=x", "GetBucketAnalyticsConfiguration"),
    ];
    for (method, target, name) in calls {
        let answer = world.as_owner(ask(method, target).body("<a/>")).await;
        assert_eq!(refused(&answer), refusal(501, "NotImplemented"), "{target}");
        assert!(text(&answer).contains(name), "{}", text(&answer));
    }
    let old = world.as_nobody(ask("GET", "/logs/a?AWSAccessKeyId=x&Signature=y&Expires=1")).await;
    assert_eq!(refused(&old), refusal(400, "InvalidRequest"));
    let form = ask("POST", "/logs").header("Content-Type", "multipart/form-data; boundary=x").body("x");
    assert_eq!(refused(&world.as_nobody(form).await), refusal(501, "NotImplemented"));
}

#[tokio::test]
async fn the_expected_owner_is_enforced() {
    let world = World::with_bucket().await;
    let expecting = |account: &str| ask("GET", "/logs").header("x-amz-expected-bucket-owner", account);
    assert_eq!(world.as_owner(expecting(OWNER)).await.status, 200);
    assert_eq!(refused(&world.as_owner(expecting(OTHER)).await), refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn a_body_too_large_is_refused() {
    let world = World::with_bucket().await;
    let put = ask("PUT", "/logs/a").body(vec![0; (64 << 20) + 1]);
    assert_eq!(refused(&world.as_owner(put).await), refusal(400, "EntityTooLarge"));
}

#[tokio::test]
async fn chunked_bodies_of_development_keys_are_unwrapped() {
    let world = World::with(Options { development_credentials: true, ..Options::default() });
    let key = |id: &str| CreatedAccount { access_key_id: id.into(), ..world.owner.clone() };
    world.send(ask("PUT", "/logs").request(Some(&key("111111111111")))).await;
    let framed = "5;chunk-signature=x\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    let mut request = ask("PUT", "/logs/a")
        .header("x-amz-decoded-content-length", "11")
        .header("Content-Encoding", "aws-chunked")
        .body(framed)
        .request(Some(&key("111111111111")));
    request.headers.retain(|(name, _)| name != "x-amz-content-sha256");
    request.headers.push(("x-amz-content-sha256".into(), b"STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_vec()));
    let put = world.send(request.clone()).await;
    assert_eq!((put.status, header(&put, "x-amz-checksum-crc32")), (200, Some("DUoRhQ==")), "{}", text(&put));
    let got = world.send(ask("GET", "/logs/a").request(Some(&key("111111111111")))).await;
    assert_eq!((text(&got).as_str(), header(&got, "content-encoding")), ("hello world", None));
    // A function is nobody's root, whatever number it writes down.
    let mut of_a_function = ask("GET", "/logs/a").request(Some(&key("111111111111")));
    of_a_function.client = crate::FUNCTION_CLIENT;
    assert_eq!(refused(&world.send(of_a_function).await), refusal(403, "InvalidAccessKeyId"));
    for cut in 0..framed.len() - 40 {
        request.body = Bytes::copy_from_slice(&framed.as_bytes()[..cut]);
        assert_eq!(world.send(request.clone()).await.status, 400, "{cut}");
    }
}

#[tokio::test]
async fn presigned_requests_need_no_headers() {
    let world = World::with_bucket().await;
    world.put("/logs/a", "x").await;
    let credentials = sigv4::Credentials {
        access_key_id: &world.owner.access_key_id,
        secret_access_key: &world.owner.secret_access_key,
        session_token: None,
    };
    let host: &[(&str, &[u8])] = &[("Host", b"127.0.0.1:4566")];
    let head = RequestHead { method: "GET", raw_path: "/logs/a", raw_query: None, headers: host };
    let target = sigv4::presign(&head, &credentials, "us-east-1", "s3", NOW_MS.div_euclid(1000), 60);
    let mut request = ask("GET", &target).request(None);
    assert_eq!(text(&world.send(request.clone()).await), "x");
    request.raw_path = "/logs/b".into();
    assert_eq!(refused(&world.send(request).await), refusal(403, "SignatureDoesNotMatch"));
}

#[test]
fn every_operation_served_is_in_the_table() {
    let service = wire::table::service("s3").unwrap();
    for name in super::operations::NAMES {
        assert!(service.operation(name).is_some_and(|op| op.iam_action.is_some()), "{name}");
    }
}
