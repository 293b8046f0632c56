//! Calls as the AWS CLI makes them: from the operation table, signed, with the answer in the model's names and order.

use anyhow::{anyhow, bail};
use bytes::Bytes;
use control::accounts::CreatedAccount;
use serde_json::{Map, Value};
use wire::{
    sigv4::Credentials,
    table::{self, Kind, Location, Operation, Protocol, Shape},
};

use crate::client::{Answer, Client, Outgoing};

/// The region of the walk-through.
pub const REGION: &str = "us-east-1";

/// What the AWS CLI would run.
#[derive(Debug)]
pub struct Call {
    pub operation: &'static Operation,
    /// By the model's names, in the order in which they are to be shown.
    pub params: Map<String, Value>,
}

/// A refusal by the service.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub operation: &'static str,
}

impl std::fmt::Display for Refusal {
    /// In the words of the AWS CLI.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, message, operation } = self;
        write!(f, "An error occurred ({code}) when calling the {operation} operation: {message}")
    }
}

impl Call {
    /// A call of that operation.
    ///
    /// # Errors
    /// When the operation is in no table or the parameters are no object.
    pub fn new(service: &str, operation: &str, params: Value) -> anyhow::Result<Self> {
        let found = table::service(service).and_then(|service| service.operation(operation));
        let operation = found.ok_or_else(|| anyhow!("there is no operation {service}:{operation}"))?;
        let Value::Object(params) = params else { bail!("{operation:?} takes an object") };
        Ok(Self { operation, params })
    }

    /// Sends it as that account's root identity.
    ///
    /// # Errors
    /// When there is no answer. A refusal is an answer.
    pub async fn send(
        &self,
        client: &Client,
        host: &str,
        by: &CreatedAccount,
    ) -> anyhow::Result<Result<Value, Refusal>> {
        let (target, content_type, body) = self.encode()?;
        let mut headers = vec![("content-type", content_type.to_owned())];
        let service = self.operation.service;
        if service.protocol == Protocol::AwsJson {
            headers.push(("x-amz-target", format!("{}.{}", service.target_prefix, self.operation.name)));
        }
        let method = self.operation.method;
        let outgoing = Outgoing { method, target: &target, host, headers, body: Bytes::from(body) };
        let credentials = Credentials {
            access_key_id: &by.access_key_id,
            secret_access_key: &by.secret_access_key,
            session_token: None,
        };
        let answer = client.send_signed(outgoing, &credentials, REGION, service.signing_name).await?;
        if answer.status >= 300 {
            return Ok(Err(self.refusal(&answer)));
        }
        self.decode(&answer).map(Ok)
    }

    /// Target, content type and body.
    fn encode(&self) -> anyhow::Result<(String, &'static str, Vec<u8>)> {
        let structure = self.operation.input.and_then(Shape::structure);
        let service = self.operation.service;
        match service.protocol {
            Protocol::RestJson => {
                let mut target = self.operation.uri.to_owned();
                let mut body = Map::new();
                for (name, value) in &self.params {
                    let member = structure.and_then(|structure| structure.member(name));
                    let member = member.ok_or_else(|| anyhow!("{:?} has no member {name}", self.operation))?;
                    match (member.location, value.as_str()) {
                        (Location::Body, _) => {
                            body.insert(member.wire.to_owned(), value.clone());
                        }
                        (Location::Uri, Some(text)) => {
                            target = target.replace(&format!("{{{}}}", member.wire), &percent_encoded(text));
                        }
                        _ => bail!("{name} of {:?} cannot be sent", self.operation),
                    }
                }
                Ok((target, "application/json", serde_json::to_vec(&body)?))
            }
            Protocol::AwsJson => Ok(("/".to_owned(), "application/x-amz-json-1.1", serde_json::to_vec(&self.params)?)),
            Protocol::AwsQuery => {
                let mut form = format!("Action={}&Version={}", self.operation.name, service.api_version);
                for (name, value) in &self.params {
                    let text = value.as_str().ok_or_else(|| anyhow!("{name} is no text"))?;
                    form.push_str(&format!("&{name}={}", percent_encoded(text)));
                }
                Ok(("/".to_owned(), "application/x-www-form-urlencoded; charset=utf-8", form.into_bytes()))
            }
            Protocol::RestXml => bail!("{:?} is not called by the demo", self.operation),
        }
    }

    fn decode(&self, answer: &Answer) -> anyhow::Result<Value> {
        let Some(shape) = self.operation.output else { return Ok(Value::Null) };
        if self.operation.service.protocol == Protocol::AwsQuery {
            let text = answer.text();
            return Ok(
                element(&text, self.operation.result_wrapper).map_or(Value::Null, |inner| read_xml(shape, inner))
            );
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let value: Value = serde_json::from_slice(&answer.body)?;
        Ok(in_model_order(shape, &value))
    }

    fn refusal(&self, answer: &Answer) -> Refusal {
        let text = answer.text();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let of_body = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let of_header = answer.header("x-amzn-errortype").map(str::to_owned);
        let code = of_header.or_else(|| of_body("__type")).or_else(|| element(&text, "Code").map(str::to_owned));
        let code = code.unwrap_or_else(|| answer.status.to_string());
        let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
        let message =
            of_body("message").or_else(|| of_body("Message")).or_else(|| element(&text, "Message").map(str::to_owned));
        Refusal { code, message: message.unwrap_or_default(), operation: self.operation.name }
    }
}

/// The same document with the model's names in the model's order, which is what botocore makes of an answer.
fn in_model_order(shape: &'static Shape, value: &Value) -> Value {
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(map)) => {
            let members = structure.members.iter().filter_map(|member| {
                let value = map.get(member.wire).filter(|value| !value.is_null())?;
                Some((member.name.to_owned(), in_model_order(member.shape, value)))
            });
            Value::Object(members.collect())
        }
        (Kind::List { member, .. }, Value::Array(elements)) => {
            Value::Array(elements.iter().map(|element| in_model_order(member, element)).collect())
        }
        (Kind::Map { value: shape, .. }, Value::Object(map)) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), in_model_order(shape, value))).collect())
        }
        _ => value.clone(),
    }
}

/// Structures and texts of an awsQuery answer; the demo reads nothing else from one.
fn read_xml(shape: &'static Shape, text: &str) -> Value {
    let Some(structure) = shape.structure() else { return Value::from(text) };
    let members = structure.members.iter().filter_map(|member| {
        let inner = element(text, member.wire)?;
        matches!(member.shape.kind, Kind::Structure(_) | Kind::String { .. } | Kind::Timestamp { .. })
            .then(|| (member.name.to_owned(), read_xml(member.shape, inner)))
    });
    Value::Object(members.collect())
}

/// What stands in the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Answer { status, headers, body: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn labels_are_encoded_and_the_rest_is_the_body() {
        let arn = "arn:aws:lambda:us-east-1:222222222222:function:f";
        let call = Call::new("lambda", "AddPermission", json!({ "FunctionName": arn, "StatementId": "s" })).unwrap();
        let (target, _, body) = call.encode().unwrap();
        assert_eq!(target, "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A222222222222%3Afunction%3Af/policy");
        assert_eq!(body, br#"{"StatementId":"s"}"#);
        assert!(Call::new("lambda", "AddPermission", json!({ "Nonsense": 1 })).unwrap().encode().is_err());
        assert!(Call::new("lambda", "NoSuchOperation", json!({})).is_err());
    }

    #[test]
    fn answers_bear_the_names_and_the_order_of_the_model() {
        let call = Call::new("apigateway", "GetAuthorizers", json!({ "restApiId": "a" })).unwrap();
        let got = call.decode(&answer(200, &[], r#"{"item":[{"type":"TOKEN","name":"n","id":"i","x":1}]}"#)).unwrap();
        assert_eq!(got.to_string(), r#"{"items":[{"id":"i","name":"n","type":"TOKEN"}]}"#);
        let call = Call::new("iam", "CreateRole", json!({})).unwrap();
        let xml =
            "<CreateRoleResponse><CreateRoleResult><Role><Arn>a</Arn></Role></CreateRoleResult></CreateRoleResponse>";
        assert_eq!(call.decode(&answer(200, &[], xml)).unwrap()["Role"]["Arn"], "a");
    }

    #[test]
    fn refusals_read_like_those_of_the_cli() {
        let call = Call::new("lambda", "AddPermission", json!({})).unwrap();
        let refusal =
            call.refusal(&answer(403, &[("x-amzn-errortype", "AccessDeniedException:x")], r#"{"Message":"no"}"#));
        assert_eq!(
            refusal.to_string(),
            "An error occurred (AccessDeniedException) when calling the AddPermission operation: no"
        );
        let xml = "<ErrorResponse><Error><Code>C</Code><Message>m</Message></Error></ErrorResponse>";
        assert_eq!(call.refusal(&answer(400, &[], xml)).code, "C");
        assert_eq!(call.refusal(&answer(502, &[], "")).code, "502");
    }
}
