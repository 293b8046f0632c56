//! A store in memory and a caller, for tests of operations.

use policy::Region;
use serde_json::Value;
use service::{Caller, Changes, Cx, Entry, Host, Identity, Need, Record, Result, Scope};
use service::{ServiceError, Timestamp, Tx, testing::Records};

/// The caller's account unless a test says otherwise.
pub(crate) const ACCOUNT: &str = "111111111111";
const NOW_MS: i64 = 1_764_037_614_007;
/// The same moment as answers show it.
pub(crate) const NOW_S: i64 = 1_764_037_614;

/// The role tests log as.
pub(crate) const LOG_ROLE: &str = "arn:aws:iam::111111111111:role/logs";

/// A user or role as IAM stores it, with all members that anything here reads.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored(Value);

impl Record for Stored {
    const NOUN: &'static str = "iam/Role";
}

/// Random bytes that are the same in every run, and a seal that hides nothing.
struct Counting(u64);

impl Host for Counting {
    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 33) as u8;
        }
    }

    fn seal(&mut self, purpose: &str, plain: &[u8]) -> String {
        format!("{purpose}:{}", String::from_utf8_lossy(plain))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        sealed.strip_prefix(&format!("{purpose}:")).map(|plain| plain.as_bytes().to_vec())
    }

    fn runtime(&self, identifier: &str) -> std::result::Result<Option<String>, String> {
        Err(identifier.to_owned())
    }
}

/// Everything there is, and who calls.
pub(crate) struct World {
    memory: Records,
    host: Counting,
    pub(crate) account: &'static str,
    pub(crate) region: &'static str,
    pub(crate) now_ms: i64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { memory: Records::default(), host: Counting(7), account: ACCOUNT, region: "us-east-1", now_ms: NOW_MS }
    }

    /// Runs something with a context and a transaction, and gives what it changed.
    pub(crate) fn with<T>(&mut self, run: impl FnOnce(&mut Cx<'_>, &mut Tx<'_>) -> Result<T>) -> Result<(T, Changes)> {
        let caller = Caller {
            account: self.account.parse().expect("an account"),
            identity: Identity::Root,
            access_key_id: "AKIA".into(),
            session: None,
        };
        let region: Region = self.region.parse().expect("a region");
        let mut cx = Cx {
            caller: &caller,
            region: &region,
            now: Timestamp::from_ms(self.now_ms),
            request_id: "r",
            endpoint: "http://127.0.0.1:4566",
            host: &mut self.host,
        };
        let mut tx = Tx::new(&mut self.memory);
        let output = run(&mut cx, &mut tx)?;
        Ok((output, tx.into_changes()))
    }

    /// Calls an operation and commits what it changed.
    pub(crate) fn call(&mut self, name: &str, params: Value) -> Result<Value> {
        let entry = entry(name);
        let (output, changes) = self.with(|cx, tx| entry.apply(&params, cx, tx))?;
        self.memory.apply(changes);
        Ok(output)
    }

    /// Calls an operation that must succeed.
    #[track_caller]
    pub(crate) fn ok(&mut self, name: &str, params: Value) -> Value {
        match self.call(name, params.clone()) {
            Ok(output) => output,
            Err(error) => panic!("{name} {params}: {} {}", error.code, error.message),
        }
    }

    /// Calls an operation that must be refused: its code without `Exception`, its status and its text.
    #[track_caller]
    pub(crate) fn refused(&mut self, name: &str, params: Value) -> (String, u16, String) {
        match self.call(name, params.clone()) {
            Ok(output) => panic!("{name} {params} succeeded: {output}"),
            Err(ServiceError { code, status, message, .. }) => (code.replace("Exception", ""), status, message),
        }
    }

    /// Checks a refusal, as `BadRequest 400 the text`.
    #[track_caller]
    pub(crate) fn refuses(&mut self, name: &str, params: Value, expected: &str) {
        let (code, status, message) = self.refused(name, params.clone());
        assert_eq!(format!("{code} {status} {message}"), expected, "{name} {params}");
    }

    /// Stores the role [`LOG_ROLE`] with a trust policy.
    pub(crate) fn log_role(&mut self, trust: &str) {
        let role = serde_json::json!({
            "RoleName": "logs", "Path": "/", "RoleId": "AROALOGS", "AssumeRolePolicyDocument": trust
        });
        let scope = Scope::global(ACCOUNT);
        let (_, changes) = self.with(|_, tx| tx.put(&scope, "", "logs", &Stored(role))).expect("a put");
        self.memory.apply(changes);
    }

    /// Names [`LOG_ROLE`] as the role logs are written as.
    pub(crate) fn may_log(&mut self) {
        self.log_role(
            r#"{"Statement": {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"},
                "Action": "sts:AssumeRole"}}"#,
        );
        self.ok("UpdateAccount", patch("replace", "/cloudwatchRoleArn", Some(LOG_ROLE)));
    }

    /// The permissions a call needs beside its default one.
    pub(crate) fn needs(&mut self, name: &str, params: Value) -> Result<Vec<Need>> {
        let default = Need::new("apigateway:POST", "*", self.account);
        let entry = entry(name);
        let (mut needs, _) = self.with(|cx, tx| entry.needs(&params, default.clone(), cx, tx))?;
        assert_eq!(needs.remove(0), default);
        Ok(needs)
    }

    /// Reads what operations cannot show.
    pub(crate) fn read<T>(&mut self, run: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> T {
        self.with(|_, tx| run(tx)).expect("a read").0
    }

    /// A stored record.
    pub(crate) fn record<R: Record>(&mut self, scope: &Scope, parent: &str, id: &str) -> Option<R> {
        self.with(|_, tx| tx.get(scope, parent, id)).expect("a record that decodes").0
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::regional(self.account, self.region)
    }

    pub(crate) fn blob(&self, hash: &str) -> Value {
        serde_json::from_slice(&self.memory.blobs[hash]).expect("JSON")
    }

    /// Nouns, parents and ids of everything stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.memory.documents.keys().map(|key| format!("{} {}/{}", key.noun, key.parent, key.id)).collect()
    }

    /// Rows read since this was asked last.
    pub(crate) fn rows_read(&mut self) -> usize {
        std::mem::take(&mut self.memory.rows_read)
    }

    /// A new API: its id and its root resource's.
    pub(crate) fn api(&mut self) -> (String, String) {
        let api = self.ok("CreateRestApi", serde_json::json!({"name": "pets"}));
        (text(&api, "id"), text(&api, "rootResourceId"))
    }

    /// A method on a resource that a MOCK integration answers with 200.
    pub(crate) fn mock(&mut self, api: &str, resource: &str, verb: &str) {
        let own = serde_json::json!({"restApiId": api, "resourceId": resource, "httpMethod": verb});
        self.ok("PutMethod", merge(&own, serde_json::json!({"authorizationType": "NONE"})));
        self.ok(
            "PutIntegration",
            merge(
                &own,
                serde_json::json!({"type": "MOCK", "requestTemplates": {"application/json": "{\"statusCode\": 200}"}}),
            ),
        );
    }
}

pub(crate) fn entry(name: &str) -> Entry {
    let found = crate::OPERATIONS.iter().flat_map(|noun| noun.iter()).find(|entry| entry.name == name);
    *found.unwrap_or_else(|| panic!("no operation {name}"))
}

pub(crate) fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {value}")).to_owned()
}

/// Both objects in one; the second wins.
pub(crate) fn merge(one: &Value, two: Value) -> Value {
    let mut merged = one.as_object().expect("an object").clone();
    merged.extend(two.as_object().expect("an object").clone());
    Value::Object(merged)
}

/// A `patchOperations` of one step; the value `null` leaves it out.
pub(crate) fn patch(op: &str, path: &str, value: Option<&str>) -> Value {
    let mut step = serde_json::json!({"op": op, "path": path});
    if let Some(value) = value {
        step["value"] = value.into();
    }
    serde_json::json!({"patchOperations": [step]})
}
