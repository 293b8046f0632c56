//! The CloudTrail record: its members in AWS's order.
//!
//! Source: CloudTrail User Guide, "CloudTrail record contents", "CloudTrail userIdentity element"; the walk-through's
//! printed record for the cross-account Invoke.

use serde_json::{Map, Value, json};
use service::{Caller, Identity, Timestamp};

/// The version of the record's form; later minor versions only add members.
pub const EVENT_VERSION: &str = "1.08";
/// How the gateway names itself in records of the calls it makes.
pub const GATEWAY_INVOKED_BY: &str = "apimanager.amazonaws.com";
/// `errorMessage` and `userAgent` are cut at so many bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// `requestParameters` and `responseElements` beyond this are left out.
const PARAMETERS_BYTES_MAX: usize = 100 * 1024;

/// A control-plane call as CloudTrail keeps it.
#[derive(Debug, Clone)]
pub struct Management<'a> {
    pub event_id: &'a str,
    pub request_id: &'a str,
    pub now: Timestamp,
    /// `lambda.amazonaws.com`.
    pub event_source: &'a str,
    /// Such as `AddPermission20150331v2`.
    pub event_name: &'a str,
    pub region: &'a str,
    pub source_ip: &'a str,
    pub user_agent: Option<&'a str>,
    /// Who called.
    pub identity: UserIdentity<'a>,
    /// Code without namespace, and the sentence the client read.
    pub error: Option<(&'a str, &'a str)>,
    pub request_parameters: Value,
    /// `null` for reads and refusals.
    pub response_elements: Value,
    pub read_only: bool,
    /// Type and ARN of what was acted on.
    pub resources: &'a [(String, String)],
    /// The account this copy of the record is for.
    pub recipient_account: &'a str,
    /// Set when more than one account gets the event.
    pub shared_event_id: Option<&'a str>,
    /// `Host` as the client sent it.
    pub host: Option<&'a str>,
}

/// Who a record names.
#[derive(Debug, Clone)]
pub enum UserIdentity<'a> {
    /// A verified caller.
    Caller(&'a Caller),
    /// The other account, in the owner's copy of a cross-account call.
    ForeignAccount(&'a Caller),
    /// Somebody who named this key of this account and did not prove to hold it.
    Unproven { account: &'a str, access_key_id: &'a str },
    /// An AWS service acting for an account.
    Service { invoked_by: &'a str },
    /// A caller of which nothing is known, such as an anonymous request.
    Anonymous,
}

impl UserIdentity<'_> {
    /// The `userIdentity` element.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Caller(caller) => caller_identity(caller),
            Self::ForeignAccount(caller) => json!({
                "type": "AWSAccount",
                "principalId": caller.user_id(),
                "accountId": caller.account.as_str(),
            }),
            Self::Unproven { account, access_key_id } => json!({
                "type": "Unknown",
                "accountId": account,
                "accessKeyId": access_key_id,
            }),
            Self::Service { invoked_by } => json!({ "type": "AWSService", "invokedBy": invoked_by }),
            Self::Anonymous => json!({ "type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL" }),
        }
    }
}

fn caller_identity(caller: &Caller) -> Value {
    let account = caller.account.as_str();
    match &caller.identity {
        Identity::Root => json!({
            "type": "Root",
            "principalId": account,
            "arn": caller.arn(),
            "accountId": account,
            "accessKeyId": caller.access_key_id,
        }),
        Identity::User { name, id, .. } => {
            let mut identity = json!({
                "type": "IAMUser",
                "principalId": id,
                "arn": caller.arn(),
                "accountId": account,
                "accessKeyId": caller.access_key_id,
                "userName": name,
            });
            if let (Some(session), Some(members)) = (&caller.session, identity.as_object_mut()) {
                let attributes =
                    json!({ "attributes": { "creationDate": session.issued_at.iso_s(), "mfaAuthenticated": "false" } });
                members.insert("sessionContext".into(), attributes);
            }
            identity
        }
        Identity::Role { name, id, .. } => {
            let issued = caller.session.as_ref().map(|session| session.issued_at.iso_s()).unwrap_or_default();
            json!({
                "type": "AssumedRole",
                "principalId": caller.user_id(),
                "arn": caller.arn(),
                "accountId": account,
                "accessKeyId": caller.access_key_id,
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": id,
                        "arn": caller.role_arn(),
                        "accountId": account,
                        "userName": name,
                    },
                    "webIdFederationData": {},
                    "attributes": { "creationDate": issued, "mfaAuthenticated": "false" },
                },
            })
        }
    }
}

impl Management<'_> {
    /// The record, members in AWS's order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut record = Map::new();
        let mut put = |name: &str, value: Value| {
            record.insert(name.to_owned(), value);
        };
        put("eventVersion", EVENT_VERSION.into());
        put("userIdentity", self.identity.to_value());
        put("eventTime", self.now.iso_s().into());
        put("eventSource", self.event_source.into());
        put("eventName", self.event_name.into());
        put("awsRegion", self.region.into());
        put("sourceIPAddress", self.source_ip.into());
        if let Some(agent) = self.user_agent {
            put("userAgent", cut(agent).into());
        }
        if let Some((code, message)) = self.error {
            put("errorCode", code.into());
            put("errorMessage", cut(message).into());
        }
        put("requestParameters", bounded(&self.request_parameters));
        put("responseElements", bounded(&self.response_elements));
        put("requestID", self.request_id.into());
        put("eventID", self.event_id.into());
        put("readOnly", self.read_only.into());
        if !self.resources.is_empty() {
            let resources = self.resources.iter().map(|(kind, arn)| {
                json!({
                    "accountId": self.recipient_account, "type": kind, "ARN": arn,
                })
            });
            put("resources", resources.collect());
        }
        put("eventType", "AwsApiCall".into());
        put("managementEvent", true.into());
        put("recipientAccountId", self.recipient_account.into());
        if let Some(shared) = self.shared_event_id {
            put("sharedEventID", shared.into());
        }
        put("eventCategory", "Management".into());
        if let Some(host) = self.host {
            put("tlsDetails", json!({ "clientProvidedHostHeader": host }));
        }
        Value::Object(record)
    }
}

/// An invocation of a function: a data event in the function's account.
#[derive(Debug, Clone)]
pub struct LambdaInvoke {
    pub event_id: String,
    /// The id in the function's log.
    pub request_id: String,
    pub now: Timestamp,
    pub region: String,
    /// `userIdentity`, already in its wire form: the caller may be gone when the record is read.
    pub identity: Value,
    pub source_ip: String,
    pub user_agent: String,
    /// The function's ARN as it was called, with its qualifier.
    pub function_name: String,
    /// What the gateway presented; absent for other callers.
    pub source_arn: Option<String>,
    /// Unqualified ARN of the function.
    pub function_arn: String,
    /// `$LATEST` or a number: what ran.
    pub executed_version: String,
    /// The function's owner.
    pub account: String,
    /// Present when the caller is not of the function's account.
    pub shared_event_id: Option<String>,
    /// Who is looked up by `Username`, for signed callers.
    pub username: Option<String>,
    pub access_key_id: Option<String>,
}

impl LambdaInvoke {
    /// The record, members in AWS's order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut parameters = json!({ "functionName": self.function_name });
        if let Some(members) = parameters.as_object_mut() {
            if let Some(source) = &self.source_arn {
                members.insert("sourceArn".into(), source.as_str().into());
            }
            members.insert("contentType".into(), "application/json".into());
        }
        let mut record = json!({
            "eventVersion": EVENT_VERSION,
            "userIdentity": self.identity,
            "eventTime": self.now.iso_s(),
            "eventSource": "lambda.amazonaws.com",
            "eventName": "Invoke",
            "awsRegion": self.region,
            "sourceIPAddress": self.source_ip,
            "userAgent": cut(&self.user_agent),
            "requestParameters": parameters,
            "responseElements": null,
            "additionalEventData": { "functionVersion": format!("{}:{}", self.function_arn, self.executed_version) },
            "requestID": self.request_id,
            "eventID": self.event_id,
            "readOnly": false,
            "resources": [{ "accountId": self.account, "type": "AWS::Lambda::Function", "ARN": self.function_arn }],
            "eventType": "AwsApiCall",
            "managementEvent": false,
            "recipientAccountId": self.account,
        });
        if let Some(members) = record.as_object_mut() {
            if let Some(shared) = &self.shared_event_id {
                members.insert("sharedEventID".into(), shared.as_str().into());
            }
            members.insert("eventCategory".into(), "Data".into());
        }
        record
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn bounded(value: &Value) -> Value {
    match serde_json::to_vec(value) {
        Ok(text) if text.len() <= PARAMETERS_BYTES_MAX => value.clone(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cross_account_invoke_has_the_members_of_the_walk_through_in_their_order() {
        let arn = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";
        let record = LambdaInvoke {
            event_id: "e".into(),
            request_id: "r".into(),
            now: Timestamp::from_ms(1_527_624_555_000),
            region: "us-east-1".into(),
            identity: UserIdentity::Service { invoked_by: GATEWAY_INVOKED_BY }.to_value(),
            source_ip: GATEWAY_INVOKED_BY.into(),
            user_agent: GATEWAY_INVOKED_BY.into(),
            function_name: arn.into(),
            source_arn: Some("arn:aws:execute-api:us-east-1:111122223333:jrp5uzygs0/authorizers/9vb60i".into()),
            function_arn: arn.into(),
            executed_version: "$LATEST".into(),
            account: "444455556666".into(),
            shared_event_id: Some("s".into()),
            username: None,
            access_key_id: None,
        }
        .to_value();
        let names: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "eventVersion userIdentity eventTime eventSource eventName awsRegion sourceIPAddress userAgent \
                        requestParameters responseElements additionalEventData requestID eventID readOnly resources \
                        eventType managementEvent recipientAccountId sharedEventID eventCategory";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert_eq!(record["eventTime"], "2018-05-29T20:09:15Z");
        assert_eq!(record["userIdentity"], json!({ "type": "AWSService", "invokedBy": "apimanager.amazonaws.com" }));
        assert_eq!(record["additionalEventData"]["functionVersion"], format!("{arn}:$LATEST"));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "é".repeat(600);
        assert_eq!(cut(&text).len(), 1024);
        assert_eq!(bounded(&Value::String("x".repeat(200_000))), Value::Null);
    }
}
