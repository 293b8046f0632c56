//! Errors on the wire.

use serde_json::{Map, Value};

use super::xml::Writer;
use super::{Encoded, content_type, push_header, request_id_header};
use crate::table::{Protocol, Service};
use crate::{MessageMember, ServiceError};

/// Writes an error as the service's protocol spells it.
///
/// restJson: the code in `x-amzn-ErrorType`, the fields in their order and then the text in the body. awsJson: the code
/// in `__type`, and 400 for every fault of the caller. awsQuery: `<ErrorResponse>`. s3: a bare `<Error>`. The cause never
/// leaves.
#[must_use]
pub fn encode_error(service: &Service, error: &ServiceError, request_id: &str) -> Encoded {
    let mut encoded = Encoded { status: error.status, headers: Vec::new(), body: Vec::new() };
    request_id_header(&mut encoded, service, request_id);
    match service.protocol {
        Protocol::RestJson => {
            push_header(&mut encoded, "x-amzn-ErrorType", &error.code);
            encoded.body = json(error, None, error.message_member);
            content_type(&mut encoded, "application/json");
        }
        Protocol::AwsJson => {
            if error.is_client_fault() {
                encoded.status = 400;
            }
            let organizations = service.name == "organizations";
            let member = if organizations { MessageMember::Upper } else { error.message_member };
            encoded.body = json(error, Some(&error.code), member);
            content_type(&mut encoded, "application/x-amz-json-1.1");
        }
        Protocol::AwsQuery => {
            encoded.body = query(service, error, request_id);
            content_type(&mut encoded, "text/xml");
        }
        Protocol::RestXml => {
            encoded.body = s3(error, request_id);
            content_type(&mut encoded, "application/xml");
        }
    }
    if let Some(seconds) = error.retry_after_s {
        push_header(&mut encoded, "Retry-After", &seconds.to_string());
    }
    encoded
}

fn json(error: &ServiceError, kind: Option<&str>, member: MessageMember) -> Vec<u8> {
    let mut body = Map::new();
    if let Some(kind) = kind {
        body.insert("__type".to_owned(), Value::from(kind));
    }
    for (name, value) in &error.fields {
        body.insert((*name).to_owned(), value.clone());
    }
    if !error.message.is_empty() {
        let name = match member {
            MessageMember::Lower => "message",
            MessageMember::Upper => "Message",
        };
        body.insert(name.to_owned(), Value::from(error.message.as_str()));
    }
    // Displaying a `Value` cannot fail.
    Value::Object(body).to_string().into_bytes()
}

fn fields(xml: &mut Writer, error: &ServiceError) {
    for (name, value) in &error.fields {
        match value {
            Value::String(text) => xml.leaf(name, text),
            other => xml.leaf(name, &other.to_string()),
        }
    }
}

fn query(service: &Service, error: &ServiceError, request_id: &str) -> Vec<u8> {
    let mut xml = Writer::default();
    xml.open_in("ErrorResponse", service.xml_namespace);
    xml.open("Error");
    xml.leaf("Type", if error.is_client_fault() { "Sender" } else { "Receiver" });
    xml.leaf("Code", &error.code);
    xml.leaf("Message", &error.message);
    fields(&mut xml, error);
    xml.close("Error");
    xml.leaf("RequestId", request_id);
    xml.close("ErrorResponse");
    xml.finish()
}

fn s3(error: &ServiceError, request_id: &str) -> Vec<u8> {
    let mut xml = Writer::default();
    xml.declaration();
    xml.open("Error");
    xml.leaf("Code", &error.code);
    xml.leaf("Message", &error.message);
    fields(&mut xml, error);
    xml.leaf("RequestId", request_id);
    xml.leaf("HostId", request_id);
    xml.close("Error");
    xml.finish()
}
