//! An installation in memory for the tests of this crate: calls go through `needs` and `apply` as `control` makes them.

use policy::{AccountId, Region};
use serde_json::{Value, json};
use service::{
    Caller, Cx, Entry, Host, Identity, Key, Need, Result, Scope, ServiceError, Timestamp, Tx, testing::Records,
};

pub(crate) const OWNER: &str = "444455556666";
pub(crate) const OTHER: &str = "111122223333";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const CODE_SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// Deterministic surroundings.
pub(crate) struct FakeHost {
    drawn: u8,
    isolates: bool,
}

impl Host for FakeHost {
    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            self.drawn = self.drawn.wrapping_mul(29).wrapping_add(17);
            *byte = self.drawn;
        }
    }

    fn seal(&mut self, purpose: &str, plain: &[u8]) -> String {
        format!("{purpose}.{}", plain.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let hex = sealed.strip_prefix(purpose)?.strip_prefix('.')?;
        (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
    }

    fn sizes_tmp(&self) -> bool {
        self.isolates
    }

    fn runtime(&self, identifier: &str) -> std::result::Result<Option<String>, String> {
        match identifier {
            "nodejs22.x" | "python3.13" => Ok(None),
            "nodejs6.10" => Ok(Some("nodejs6.10 is retired".to_owned())),
            other => Err(format!(
                "Value {other} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs22.x, \
                 python3.13] or be a valid ARN"
            )),
        }
    }
}

/// An installation.
pub(crate) struct World {
    records: Records,
    host: FakeHost,
    /// Epoch milliseconds of the next call.
    pub(crate) now_ms: i64,
    /// Whether what a call leaves outstanding is done before the next one, as a server with nothing else to do has it.
    pub(crate) settles: bool,
}

/// The root of an account.
pub(crate) fn root(account: &str) -> Caller {
    let account: AccountId = account.parse().expect("an account");
    Caller { account, identity: Identity::Root, access_key_id: "AKIAEXAMPLE".to_owned(), session: None }
}

pub(crate) fn entry(name: &str) -> Entry {
    let entries = crate::OPERATIONS.iter().flat_map(|noun| noun.iter());
    *entries.into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("no operation {name}"))
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            records: Records::default(),
            host: FakeHost { drawn: 0, isolates: true },
            now_ms: 1_764_037_614_000,
            settles: true,
        }
    }

    /// An installation with the function `f` of [`OWNER`].
    pub(crate) fn with_function() -> Self {
        let mut world = Self::new();
        world.call("CreateFunction", create("f"));
        world
    }

    fn with<T>(&mut self, caller: &Caller, run: impl FnOnce(&mut Cx<'_>, &mut Tx<'_>) -> Result<T>) -> Result<T> {
        let region: Region = REGION.parse().expect("a region");
        let mut cx = Cx {
            caller,
            region: &region,
            now: Timestamp::from_ms(self.now_ms),
            request_id: "request",
            endpoint: "http://127.0.0.1:4566",
            host: &mut self.host,
        };
        let mut tx = Tx::new(&mut self.records);
        let output = run(&mut cx, &mut tx)?;
        let changes = tx.into_changes();
        self.records.apply(changes);
        Ok(output)
    }

    /// From now on functions run unisolated.
    pub(crate) fn without_isolation(&mut self) {
        self.host.isolates = false;
    }

    /// What the call needs to be allowed.
    pub(crate) fn needs_as(&mut self, caller: &Caller, name: &str, params: &Value) -> Result<Vec<Need>> {
        let entry = entry(name);
        let default = Need::new(format!("lambda:{name}"), "default", caller.account.as_str());
        self.with(caller, |cx, tx| entry.needs(params, default, cx, tx))
    }

    /// The call itself, as if it were allowed.
    pub(crate) fn try_as(&mut self, caller: &Caller, name: &str, params: Value) -> Result<Value> {
        let entry = entry(name);
        self.needs_as(caller, name, &params)?;
        let output = self.with(caller, |cx, tx| entry.apply(&params, cx, tx))?;
        assert_eq!(encoded(name, &output), output, "{name}: what is answered is what AWS's model has room for");
        if self.settles {
            self.settle(&Ok(()));
        }
        Ok(output)
    }

    /// A call of the owner.
    pub(crate) fn attempt(&mut self, name: &str, params: Value) -> Result<Value> {
        self.try_as(&root(OWNER), name, params)
    }

    /// A call of the owner that succeeds.
    pub(crate) fn call(&mut self, name: &str, params: Value) -> Value {
        self.attempt(name, params).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    /// A call of the owner that is refused.
    pub(crate) fn refused(&mut self, name: &str, params: Value) -> ServiceError {
        match self.attempt(name, params) {
            Err(error) => error,
            Ok(output) => panic!("{name} succeeded: {output}"),
        }
    }

    /// The directory's entries of a function.
    pub(crate) fn targets(
        &mut self,
        function: &str,
    ) -> Vec<(crate::directory::QualifierKey, crate::directory::Target)> {
        self.loaded(function).targets
    }

    /// The directory's view of a function.
    pub(crate) fn loaded(&mut self, function: &str) -> crate::directory::Loaded {
        let scope = Scope::regional(OWNER, REGION);
        self.with(&root(OWNER), |_, tx| {
            crate::directory::load(&scope, function, tx, |blob| format!("/blobs/{blob}").into())
        })
        .expect("records decode")
    }

    /// Ends everything outstanding, as the server does once packages are unpacked or refused.
    pub(crate) fn settle(&mut self, outcome: &std::result::Result<(), crate::life::Reason>) {
        let scope = Scope::regional(OWNER, REGION);
        let outstanding = self.with(&root(OWNER), |_, tx| crate::life::outstanding(tx)).expect("records decode");
        for crate::life::Preparation { function, .. } in outstanding {
            for revision in self.loaded(&function).unprepared {
                self.with(&root(OWNER), |_, tx| {
                    crate::life::settle(&scope, &function, &revision.revision_id, outcome, tx)
                })
                .expect("records decode");
            }
        }
    }

    /// IAM's record of a user (or role) of that path, name and unique id, as IAM stores it.
    pub(crate) fn identity(&mut self, account: &str, kind: &'static str, path: &str, name: &str, id: &str) {
        let (noun, record) = match kind {
            "user" => ("iam/User", json!({ "UserName": name, "Path": path, "UserId": id })),
            _ => ("iam/Role", json!({ "RoleName": name, "Path": path, "RoleId": id })),
        };
        let key = Key { scope: Scope::global(account), noun, parent: String::new(), id: name.to_lowercase() };
        let document = json!({ "schema": 1, "record": record }).to_string().into_bytes();
        self.records.documents.insert(key, document);
    }

    /// The surroundings.
    pub(crate) fn with_host(&self, run: impl FnOnce(&dyn Host)) {
        run(&self.host);
    }

    /// Number of stored records.
    pub(crate) fn len(&self) -> usize {
        self.records.documents.len()
    }
}

/// A stored upload.
pub(crate) fn zip(blob: &str) -> Value {
    json!({ "Blob": blob, "CodeSha256": format!("{blob}{CODE_SHA256}"), "CodeSize": 321 })
}

/// Input of CreateFunction with nothing but what must be there.
pub(crate) fn create(name: &str) -> Value {
    json!({
        "FunctionName": name,
        "Runtime": "nodejs6.10",
        "Role": format!("arn:aws:iam::{OWNER}:role/lambda"),
        "Handler": "index.handler",
        "Code": { "ZipFile": zip("aa") },
    })
}

/// `base` with some members set.
pub(crate) fn with(mut base: Value, members: Value) -> Value {
    let (Some(base_members), Value::Object(members)) = (base.as_object_mut(), members) else {
        panic!("objects only");
    };
    base_members.extend(members);
    base
}

/// The answer as it goes over the wire; an empty one is `{}`.
fn encoded(name: &str, output: &Value) -> Value {
    let service = wire::table::service("lambda").expect("lambda has a table");
    let encoded = wire::protocol::encode(service.operation(name).expect("an operation"), output, "request");
    if encoded.body.is_empty() { json!({}) } else { serde_json::from_slice(&encoded.body).expect("JSON") }
}

/// The body of an error as it goes over the wire.
pub(crate) fn body(error: &ServiceError) -> String {
    let service = wire::table::service("lambda").expect("lambda has a table");
    let encoded = wire::protocol::encode_error(service, error, "request");
    let kind = encoded.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amzn-ErrorType"));
    assert_eq!(kind.map(|(_, value)| value.as_str()), Some(error.code.as_ref()));
    String::from_utf8(encoded.body).expect("JSON is UTF-8")
}
