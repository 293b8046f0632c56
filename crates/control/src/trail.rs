//! A control-plane call as CloudTrail keeps it: parameters in CloudTrail's spelling, secrets left out.

use platform::cloudtrail::record::{Management, UserIdentity};
use serde_json::{Map, Value};
use service::{Caller, Timestamp};
use store::Event;
use wire::table::{Kind, Location, Operation, Shape};

/// What stands in a record for a value the model calls sensitive.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// `requestParameters` of a call. API Gateway's path and query members stand beside one `{operation}Input` that holds
/// the body; everywhere else the members are listed as they are, with a lower-case first letter.
#[must_use]
pub fn request_parameters(op: &Operation, params: &Value) -> Value {
    let shaped = spell(op.input, params);
    let Value::Object(members) = shaped else { return shaped };
    if op.service.name != "apigateway" {
        return if members.is_empty() { Value::Null } else { Value::Object(members) };
    }
    let (mut outside, mut inside) = (Map::new(), Map::new());
    for (name, value) in members {
        if in_body(op, &name) {
            inside.insert(name, value)
        } else {
            outside.insert(name, value)
        };
    }
    if !inside.is_empty() {
        outside.insert(format!("{}Input", lower_first(op.name)), Value::Object(inside));
    }
    outside.insert("template".into(), Value::Bool(false));
    Value::Object(outside)
}

/// `responseElements` of a call that changed something; `null` for reads.
#[must_use]
pub fn response_elements(op: &Operation, output: &Value) -> Value {
    if op.read_only {
        return Value::Null;
    }
    match spell(op.output, output) {
        Value::Object(members) if members.is_empty() => Value::Null,
        shaped => shaped,
    }
}

fn in_body(op: &Operation, name: &str) -> bool {
    op.input
        .and_then(Shape::structure)
        .and_then(|structure| structure.members.iter().find(|member| member.name == name))
        .is_some_and(|member| member.location == Location::Body)
}

/// Lower-cases the first letter of structure members, leaves map keys alone, hides what the model calls sensitive.
fn spell(shape: Option<&'static Shape>, value: &Value) -> Value {
    let Some(shape) = shape else { return value.clone() };
    if shape.sensitive {
        return HIDDEN.into();
    }
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(members)) => members
            .iter()
            .map(|(name, value)| {
                let member = structure.members.iter().find(|member| member.name == name);
                (lower_first(name), spell(member.map(|member| member.shape), value))
            })
            .collect::<Map<_, _>>()
            .into(),
        (Kind::List { member, .. }, Value::Array(items)) => {
            items.iter().map(|item| spell(Some(member), item)).collect()
        }
        (Kind::Map { value: shape, .. }, Value::Object(members)) => {
            members.iter().map(|(name, value)| (name.clone(), spell(Some(shape), value))).collect::<Map<_, _>>().into()
        }
        _ => value.clone(),
    }
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// The circumstances every record of one call shares.
pub struct Circumstances<'a> {
    pub request_id: &'a str,
    pub now: Timestamp,
    pub region: &'a str,
    pub source_ip: &'a str,
    pub user_agent: Option<&'a str>,
    pub op: &'static Operation,
}

/// How a call ended.
pub struct Ending<'a> {
    /// Code and sentence of a refusal.
    pub error: Option<(&'a str, &'a str)>,
    pub request_parameters: Value,
    pub response_elements: Value,
}

/// The record for the caller's account and, when something of another account was acted on, one for that account, both
/// with one `sharedEventID`. Source: CloudTrail User Guide, "CloudTrail userIdentity element", on shared event ids.
#[must_use]
pub fn events(
    at: &Circumstances<'_>,
    caller: &Caller,
    foreign: Option<&str>,
    ending: &Ending<'_>,
    mut uuid: impl FnMut() -> String,
) -> Vec<Event> {
    let shared = foreign.map(|_| uuid());
    let mut all = vec![event(
        at,
        UserIdentity::Caller(caller),
        caller,
        caller.account.as_str(),
        shared.as_deref(),
        ending,
        uuid(),
    )];
    if let Some(account) = foreign {
        all.push(event(at, UserIdentity::ForeignAccount(caller), caller, account, shared.as_deref(), ending, uuid()));
    }
    all
}

fn event(
    at: &Circumstances<'_>,
    identity: UserIdentity<'_>,
    caller: &Caller,
    recipient: &str,
    shared: Option<&str>,
    ending: &Ending<'_>,
    event_id: String,
) -> Event {
    let record = Management {
        event_id: &event_id,
        request_id: at.request_id,
        now: at.now,
        event_source: at.op.service.event_source,
        event_name: at.op.trail_name,
        region: at.region,
        source_ip: at.source_ip,
        user_agent: at.user_agent,
        identity,
        error: ending.error,
        request_parameters: ending.request_parameters.clone(),
        response_elements: ending.response_elements.clone(),
        read_only: at.op.read_only,
        resources: &[],
        recipient_account: recipient,
        shared_event_id: shared,
        host: None,
    };
    Event {
        account: recipient.to_owned(),
        region: at.region.to_owned(),
        time_ms: at.now.ms(),
        data: false,
        name: at.op.trail_name.to_owned(),
        source: at.op.service.event_source.to_owned(),
        username: Some(caller.username().to_owned()),
        access_key_id: Some(caller.access_key_id.clone()),
        read_only: at.op.read_only,
        resources: resources(&ending.request_parameters),
        record: record.to_value().to_string().into_bytes(),
        event_id,
    }
}

/// A record of what no proven caller did: an anonymous call, or one whose signature was refused.
pub struct Bare<'a> {
    pub request_id: &'a str,
    pub now: Timestamp,
    pub region: &'a str,
    pub source_ip: &'a str,
    pub user_agent: Option<&'a str>,
    /// Such as `s3.amazonaws.com`.
    pub source: &'a str,
    /// CloudTrail's `eventName`.
    pub name: &'a str,
    /// The account whose record it is.
    pub recipient: &'a str,
    /// The key that was named.
    pub access_key_id: Option<&'a str>,
    pub read_only: bool,
}

impl Bare<'_> {
    /// The event, in the store's form.
    #[must_use]
    pub fn event(&self, identity: UserIdentity<'_>, ending: &Ending<'_>, event_id: String) -> Event {
        let record = Management {
            event_id: &event_id,
            request_id: self.request_id,
            now: self.now,
            event_source: self.source,
            event_name: self.name,
            region: self.region,
            source_ip: self.source_ip,
            user_agent: self.user_agent,
            identity,
            error: ending.error,
            request_parameters: ending.request_parameters.clone(),
            response_elements: ending.response_elements.clone(),
            read_only: self.read_only,
            resources: &[],
            recipient_account: self.recipient,
            shared_event_id: None,
            host: None,
        };
        Event {
            account: self.recipient.to_owned(),
            region: self.region.to_owned(),
            time_ms: self.now.ms(),
            data: false,
            name: self.name.to_owned(),
            source: self.source.to_owned(),
            username: None,
            access_key_id: self.access_key_id.map(str::to_owned),
            read_only: self.read_only,
            resources: Vec::new(),
            record: record.to_value().to_string().into_bytes(),
            event_id,
        }
    }
}

/// What LookupEvents finds a call by as `ResourceName`, from the parameters that name things.
fn resources(parameters: &Value) -> Vec<(String, String)> {
    const NAMES: [(&str, &str); 9] = [
        ("functionName", "AWS::Lambda::Function"),
        ("restApiId", "AWS::ApiGateway::RestApi"),
        ("authorizerId", "AWS::ApiGateway::Authorizer"),
        ("stageName", "AWS::ApiGateway::Stage"),
        ("roleName", "AWS::IAM::Role"),
        ("roleArn", "AWS::IAM::Role"),
        ("userName", "AWS::IAM::User"),
        ("policyArn", "AWS::IAM::Policy"),
        ("bucketName", "AWS::S3::Bucket"),
    ];
    NAMES
        .iter()
        .filter_map(|(name, kind)| Some(((*kind).to_owned(), parameters.get(name)?.as_str()?.to_owned())))
        .collect()
}
