//! Log groups against an installation in memory.

use policy::{AccountId, Region};
use serde_json::{Value, json};
use service::{Caller, Cx, Host, Identity, Need, Result, Scope, Timestamp, Tx, testing::Records};

use super::{OPERATIONS, log_group};

const ACCOUNT: &str = "111122223333";

struct Counting(u8);

impl Host for Counting {
    fn random(&mut self, out: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
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

struct World {
    records: Records,
    host: Counting,
}

impl World {
    fn new() -> Self {
        Self { records: Records::default(), host: Counting(0) }
    }

    fn call(&mut self, name: &str, params: Value) -> Result<Value> {
        let entry = OPERATIONS.iter().flat_map(|list| list.iter()).find(|entry| entry.name == name).unwrap();
        let caller = Caller {
            account: AccountId::try_from(ACCOUNT).unwrap(),
            identity: Identity::Root,
            access_key_id: "AKIA".into(),
            session: None,
        };
        let region = Region::try_from("us-east-1").unwrap();
        let mut tx = Tx::new(&mut self.records);
        let mut cx = Cx {
            caller: &caller,
            region: &region,
            now: Timestamp::from_ms(1_764_037_614_250),
            request_id: "r",
            endpoint: "http://127.0.0.1:4566",
            host: &mut self.host,
        };
        entry.needs(&params, Need::new("logs:X", "*", ACCOUNT), &mut cx, &mut tx)?;
        let output = entry.apply(&params, &mut cx, &mut tx)?;
        let changes = tx.into_changes();
        self.records.apply(changes);
        Ok(output)
    }

    fn code(&mut self, name: &str, params: Value) -> String {
        self.call(name, params).unwrap_err().code.to_string()
    }

    fn group(&mut self, name: &str) -> log_group::LogGroup {
        log_group::find(&mut Tx::new(&mut self.records), &scope(), name).unwrap()
    }

    fn names(&mut self, params: Value, after: Option<&str>) -> (Vec<String>, Option<String>) {
        let input = serde_json::from_value(params).unwrap();
        let (groups, next) = log_group::describe(&input, after, &scope(), &mut Tx::new(&mut self.records)).unwrap();
        (groups.into_iter().map(|group| group.log_group_name).collect(), next)
    }
}

fn scope() -> Scope {
    Scope::regional(ACCOUNT, "us-east-1")
}

#[test]
fn a_group_made_again_is_another_incarnation() {
    let mut world = World::new();
    world.call("CreateLogGroup", json!({"logGroupName": "/g", "tags": {"a": "b"}})).unwrap();
    assert_eq!(world.code("CreateLogGroup", json!({"logGroupName": "/g"})), "ResourceAlreadyExistsException");
    let first = world.group("/g");
    world.call("DeleteLogGroup", json!({"logGroupName": "/g"})).unwrap();
    assert_eq!(world.code("DeleteLogGroup", json!({"logGroupName": "/g"})), "ResourceNotFoundException");
    world.call("CreateLogGroup", json!({"logGroupName": "/g"})).unwrap();
    assert_ne!(first.incarnation, world.group("/g").incarnation);
}

#[test]
fn what_is_not_enforced_is_refused() {
    let mut world = World::new();
    for extra in [json!({"logGroupClass": "INFREQUENT_ACCESS"}), json!({"deletionProtectionEnabled": true})] {
        let mut params = extra;
        params["logGroupName"] = "/g".into();
        assert_eq!(world.code("CreateLogGroup", params), "InvalidParameterException");
    }
    assert_eq!(world.code("CreateLogGroup", json!({"logGroupName": "a b"})), "InvalidParameterException");
    assert_eq!(world.code("CreateLogGroup", json!({"logGroupName": "a".repeat(513)})), "InvalidParameterException");
}

#[test]
fn retention_is_of_the_fixed_set() {
    let mut world = World::new();
    world.call("CreateLogGroup", json!({"logGroupName": "/g"})).unwrap();
    let put = |days: i64| json!({"logGroupName": "/g", "retentionInDays": days});
    world.call("PutRetentionPolicy", put(7)).unwrap();
    assert_eq!(world.group("/g").retention_in_days, Some(7));
    for days in [0, 2, -1, 3654, i64::MAX] {
        assert_eq!(world.code("PutRetentionPolicy", put(days)), "InvalidParameterException", "{days}");
    }
    world.call("DeleteRetentionPolicy", json!({"logGroupName": "/g"})).unwrap();
    assert_eq!(world.group("/g").retention_in_days, None);
}

#[test]
fn tags_by_arn_and_by_name_are_the_same_tags() {
    let mut world = World::new();
    world.call("CreateLogGroup", json!({"logGroupName": "/g"})).unwrap();
    let arn = "arn:aws:logs:us-east-1:111122223333:log-group:/g";
    world.call("TagResource", json!({"resourceArn": arn, "tags": {"a": "1", "b": "2"}})).unwrap();
    world.call("TagLogGroup", json!({"logGroupName": "/g", "tags": {"c": "3"}})).unwrap();
    world.call("UntagResource", json!({"resourceArn": format!("{arn}:*"), "tagKeys": ["a"]})).unwrap();
    world.call("UntagLogGroup", json!({"logGroupName": "/g", "tags": ["b"]})).unwrap();
    let tags = json!({"tags": {"c": "3"}});
    assert_eq!(world.call("ListTagsForResource", json!({"resourceArn": arn})).unwrap(), tags);
    assert_eq!(world.call("ListTagsLogGroup", json!({"logGroupName": "/g"})).unwrap(), tags);
    for foreign in
        ["arn:aws:logs:us-east-1:444455556666:log-group:/g", "arn:aws:logs:eu-west-1:111122223333:log-group:/g", "x"]
    {
        assert_eq!(world.code("ListTagsForResource", json!({"resourceArn": foreign})), "ResourceNotFoundException");
    }
    let tag = |key: &str| json!({"resourceArn": arn, "tags": {key: "x"}});
    assert_eq!(world.code("TagResource", tag("aws:x")), "InvalidParameterException");
    let many: serde_json::Map<String, Value> = (0..51).map(|at| (format!("k{at}"), "v".into())).collect();
    assert_eq!(world.code("TagResource", json!({"resourceArn": arn, "tags": many})), "TooManyTagsException");
}

#[test]
fn groups_are_paged_by_prefix_and_pattern() {
    let mut world = World::new();
    for name in ["/aws/lambda/a", "/aws/lambda/b", "/aws/x", "Zed", "a.b"] {
        world.call("CreateLogGroup", json!({"logGroupName": name})).unwrap();
    }
    let prefixed = json!({"logGroupNamePrefix": "/aws/lambda/"});
    assert_eq!(world.names(prefixed.clone(), None).0, ["/aws/lambda/a", "/aws/lambda/b"]);
    assert_eq!(world.names(prefixed, Some("/aws/lambda/a")).0, ["/aws/lambda/b"]);
    assert_eq!(world.names(json!({"logGroupNamePattern": "ZE"}), None).0, ["Zed"]);
    let (names, next) = world.names(json!({"limit": 2}), None);
    assert_eq!((names.len(), next.as_deref()), (2, Some("/aws/lambda/b")));
    assert_eq!(
        world.names(json!({"limit": 3}), next.as_deref()),
        (vec!["/aws/x".into(), "Zed".into(), "a.b".into()], None)
    );
    let input = serde_json::from_value(json!({"logGroupNamePrefix": "a", "logGroupNamePattern": "b"})).unwrap();
    let refused = log_group::describe(&input, None, &scope(), &mut Tx::new(&mut world.records)).unwrap_err();
    assert_eq!(refused.message, "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.");
}
