//! An installation in memory: what `control` does around an operation, without a store, clock or socket.

use std::collections::BTreeMap;

use policy::{AccountId, Context, Decide, Decision, Kind, Policy, Region, Request, decide};
use serde_json::{Value, json};
use service::{
    Caller, Cx, Entry, Host, Identity, Need, Result, Scope, ServiceError, Session, Timestamp, Tx, testing::Records,
};

use super::access_key::AccessKey;
use super::principal::{documents, role_identity, user_identity};
use crate::account::Account;
use crate::sts::token::{PURPOSE, Token};

/// The API account of the walk-through.
pub(crate) const API: &str = "111122223333";
/// The Security account.
pub(crate) const SECURITY: &str = "444455556666";
/// 2025-11-25T02:26:54Z.
pub(crate) const NOW: Timestamp = Timestamp::from_ms(1_764_037_614_000);

/// Records, and everything else an operation is lent.
#[derive(Default)]
pub(crate) struct Bench {
    rows: Records,
    host: Dice,
}

#[derive(Default)]
struct Dice(u64);

impl Host for Dice {
    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }

    fn seal(&mut self, purpose: &str, plain: &[u8]) -> String {
        format!("{purpose}.{}", hex::encode(plain))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        hex::decode(sealed.strip_prefix(purpose)?.strip_prefix('.')?).ok()
    }

    fn runtime(&self, _identifier: &str) -> std::result::Result<Option<String>, String> {
        Ok(None)
    }
}

/// Every operation of the two services.
pub(crate) fn entries() -> impl Iterator<Item = (&'static str, &'static Entry)> {
    let of = |service: &'static str, nouns: &'static [&'static [Entry]]| {
        nouns.iter().flat_map(|entries| entries.iter()).map(move |entry| (service, entry))
    };
    of("iam", super::OPERATIONS).chain(of("sts", crate::sts::OPERATIONS))
}

fn entry(name: &str) -> (&'static str, &'static Entry) {
    entries().find(|(_, entry)| entry.name == name).expect("an operation of IAM or STS")
}

impl Bench {
    /// Two accounts without anything.
    pub(crate) fn new() -> Bench {
        let mut bench = Bench::default();
        for id in [API, SECURITY] {
            let account =
                Account { id: id.into(), name: id.into(), created_date: NOW, root_access_key_ids: Vec::new() };
            bench.write(|tx| tx.put(&Scope::installation(), "", id, &account));
        }
        bench
    }

    /// Writes with a transaction.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Tx<'_>) -> Result<()>) {
        let mut tx = Tx::new(&mut self.rows);
        write(&mut tx).unwrap();
        let changes = tx.into_changes();
        self.commit(changes);
    }

    fn commit(&mut self, changes: service::Changes) {
        self.rows.apply(changes);
    }

    /// Reads with a transaction.
    pub(crate) fn read<T>(&mut self, read: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> T {
        read(&mut Tx::new(&mut self.rows)).unwrap()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.documents.len()
    }

    fn with<T>(&mut self, caller: &Caller, run: impl FnOnce(&mut Cx<'_>, &mut Tx<'_>) -> Result<T>) -> Result<T> {
        let region: Region = "us-east-1".parse().unwrap();
        let mut cx = Cx {
            caller,
            region: &region,
            now: NOW,
            request_id: "r",
            endpoint: "http://127.0.0.1:4566",
            host: &mut self.host,
        };
        let mut tx = Tx::new(&mut self.rows);
        let outcome = run(&mut cx, &mut tx)?;
        let changes = tx.into_changes();
        self.commit(changes);
        Ok(outcome)
    }

    /// What a call needs.
    pub(crate) fn needs(&mut self, caller: &Caller, name: &str, params: &Value) -> Result<Vec<Need>> {
        let (service, entry) = entry(name);
        let operation = wire::table::service(service).unwrap().operation(name).unwrap();
        let account = caller.account.as_str();
        let resource = operation.resource_arn(params, "/", account, "us-east-1");
        let default = Need::new(operation.iam_action.unwrap_or_default(), resource, account);
        self.with(caller, |cx, tx| entry.needs(params, default, cx, tx))
    }

    /// Runs a call without asking whether it is allowed, as root would.
    pub(crate) fn force(&mut self, caller: &Caller, name: &str, params: Value) -> Result<Value> {
        let (_, entry) = entry(name);
        self.needs(caller, name, &params)?;
        self.with(caller, |cx, tx| entry.apply(&params, cx, tx))
    }

    /// Runs an operation on an input that no table has looked at.
    pub(crate) fn force_raw(&mut self, entry: &Entry, params: &Value) -> Result<Value> {
        self.with(&root(API), |cx, tx| entry.apply(params, cx, tx))
    }

    /// Runs a call if the caller's documents and the resource's allow it.
    pub(crate) fn call(&mut self, caller: &Caller, name: &str, params: Value) -> Result<Value> {
        for need in self.needs(caller, name, &params)? {
            if !self.allows(caller, &need) {
                let refusal = ServiceError::new("AccessDenied", 403, format!("{} {}", need.action, need.resource));
                return Err(need.refusal.map_or(refusal, |refusal| *refusal));
            }
        }
        self.force(caller, name, params)
    }

    /// Whether the documents in force allow what is needed.
    pub(crate) fn allows(&mut self, caller: &Caller, need: &Need) -> bool {
        let found = self.read(|tx| documents(tx, caller));
        let parse = |text: &String, kind| Policy::parse(text, kind).unwrap();
        let identity: Vec<Policy> = found.identity.iter().map(|text| parse(text, Kind::Identity)).collect();
        let boundary = found.boundary.as_ref().map(|text| parse(text, Kind::Boundary));
        let given = caller.session.as_ref().map(|session| session.policies.clone()).unwrap_or_default();
        let session: Vec<Policy> = given.iter().map(|text| parse(text, Kind::Session)).collect();
        let kind = if need.trust { Kind::Trust } else { Kind::Resource };
        let resource = need.resource_policy.as_ref().map(|text| parse(text, kind));
        let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (key, value) in &need.context {
            keys.entry(key).or_default().push(value.clone());
        }
        let mut context = Context::new();
        for (key, values) in keys {
            match values.as_slice() {
                [value] if key != "aws:TagKeys" => context.insert(key, value.as_str()),
                _ => context.insert_list(key, values),
            }
        }
        let session: Vec<&Policy> = session.iter().collect();
        let decision = decide(&Decide {
            identity: &identity.iter().collect::<Vec<_>>(),
            boundary: boundary.as_ref(),
            session: if session.is_empty() { None } else { Some(&session) },
            resource: resource.as_ref(),
            same_account: need.account == caller.account.as_str(),
            is_root: caller.is_root(),
            request: &Request {
                action: &need.action,
                resource: &need.resource,
                principal: &caller.principal(),
                context: &context,
            },
        });
        decision == Decision::Allowed
    }

    /// The trail's view of an answer.
    pub(crate) fn trailed(name: &str, output: &Value) -> Value {
        entry(name).1.trail_response(output)
    }

    /// The caller behind a long-term key, as a verifier finds it; `None` for a key that does not sign any more.
    pub(crate) fn caller(&mut self, access_key_id: &str) -> Option<Caller> {
        let key = self.read(|tx| tx.get::<AccessKey>(&Scope::installation(), "", access_key_id))?;
        if key.status != "Active" {
            return None;
        }
        let identity = match &key.user_name {
            Some(name) => self.read(|tx| user_identity(tx, &key.account, name))?,
            None => Identity::Root,
        };
        let account: AccountId = key.account.parse().unwrap();
        Some(Caller { account, identity, access_key_id: access_key_id.into(), session: None })
    }

    /// The caller behind the `Credentials` of an answer.
    pub(crate) fn session(&self, answer: &Value) -> Caller {
        let sealed = answer["Credentials"]["SessionToken"].as_str().unwrap();
        let token = Token::from_bytes(&self.host.open(PURPOSE, sealed).unwrap()).unwrap();
        assert_eq!(token.access_key_id, answer["Credentials"]["AccessKeyId"]);
        assert_eq!(token.secret_access_key, answer["Credentials"]["SecretAccessKey"]);
        Caller {
            account: token.account.parse().unwrap(),
            identity: token.identity,
            access_key_id: token.access_key_id,
            session: Some(token.session),
        }
    }

    /// A user with a key and one inline policy, ready to call.
    pub(crate) fn user(&mut self, account: &str, name: &str, policy: Option<&Value>) -> Caller {
        let root = root(account);
        self.force(&root, "CreateUser", json!({ "UserName": name })).unwrap();
        if let Some(policy) = policy {
            let params = json!({ "UserName": name, "PolicyName": "p", "PolicyDocument": policy.to_string() });
            self.force(&root, "PutUserPolicy", params).unwrap();
        }
        let key = self.force(&root, "CreateAccessKey", json!({ "UserName": name })).unwrap();
        self.caller(key["AccessKey"]["AccessKeyId"].as_str().unwrap()).unwrap()
    }

    /// A session of a role as AssumeRole would make it, without asking.
    pub(crate) fn role_caller(&mut self, account: &str, role: &str, session_name: &str) -> Caller {
        let identity = self.read(|tx| role_identity(tx, account, role, session_name)).unwrap();
        Caller {
            account: account.parse().unwrap(),
            identity,
            access_key_id: "ASIAXXXXXXXXXXXXXXXX".into(),
            session: Some(Session {
                issued_at: NOW,
                expires_at: NOW.plus_s(3600),
                policies: Vec::new(),
                source_identity: None,
            }),
        }
    }
}

/// The root identity of an account.
pub(crate) fn root(account: &str) -> Caller {
    Caller {
        account: account.parse().unwrap(),
        identity: Identity::Root,
        access_key_id: "AKIAXXXXXXXXXXXXXXXX".into(),
        session: None,
    }
}

/// A document that allows these actions on everything.
pub(crate) fn allow(actions: &[&str]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }] })
}

/// A trust policy for one AWS principal.
pub(crate) fn trust(principal: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "sts:AssumeRole" }],
    })
    .to_string()
}

/// Code, status and text of a refusal.
pub(crate) fn refused(outcome: Result<Value>) -> (String, u16, String) {
    let error = outcome.expect_err("a refusal");
    (error.code.into_owned(), error.status, error.message)
}
