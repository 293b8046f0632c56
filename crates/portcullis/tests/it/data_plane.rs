//! What a function sees of a request: names as the client spelled them, and who the client is.

use std::io::{Cursor, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::running::{Running, body, fresh};

pub const ACCOUNT: &str = "111111111111";
const CODE: &str = "exports.handler = async (event) => ({ statusCode: 200, body: JSON.stringify(event) });";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// One call in development mode, where a key id alone is enough: the whole answer.
pub fn ask(server: &Running, service: &str, line: &str, kind: &str, body_sent: &str) -> String {
    let length = body_sent.len();
    let signature = "0".repeat(64);
    server.exchange(
        format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={ACCOUNT}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature={signature}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: \
             close\r\n\r\n{body_sent}"
        )
        .as_bytes(),
    )
}

/// One that must succeed.
fn call(server: &Running, service: &str, line: &str, kind: &str, body_sent: &str) -> Value {
    let answer = ask(server, service, line, kind, body_sent);
    assert!(answer.starts_with("HTTP/1.1 2"), "{line}: {answer}");
    serde_json::from_str(body(&answer)).unwrap_or_default()
}

pub fn json_call(server: &Running, service: &str, line: &str, document: &Value) -> Value {
    call(server, service, line, "application/json", &document.to_string())
}

/// Makes the role that functions have here.
pub fn make_role(server: &Running) {
    let trust: String = TRUST.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = format!("Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument={trust}");
    call(server, "iam", "POST /", "application/x-www-form-urlencoded", &form);
}

/// A package of one file that may be executed, as the API takes it.
pub fn package(name: &str, text: &str) -> String {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    zip.write_all(text.as_bytes()).unwrap();
    STANDARD.encode(zip.finish().unwrap().into_inner())
}

/// Deploys an API whose every method goes to a function that answers with its event; gives the API's id.
fn deploy(server: &Running) -> String {
    let code = package("index.js", CODE);
    make_role(server);
    let function = json_call(
        server,
        "lambda",
        "POST /2015-03-31/functions",
        &json!({
            "FunctionName": "echo", "Runtime": "nodejs18.x", "Handler": "index.handler", "Timeout": 20,
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/r"), "Code": { "ZipFile": code },
        }),
    );
    let arn = function["FunctionArn"].as_str().unwrap();
    json_call(
        server,
        "lambda",
        "POST /2015-03-31/functions/echo/policy",
        &json!({
            "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
        }),
    );
    let api = json_call(server, "apigateway", "POST /restapis", &json!({ "name": "echo" }));
    let (id, root) = (api["id"].as_str().unwrap(), api["rootResourceId"].as_str().unwrap());
    let method = format!("PUT /restapis/{id}/resources/{root}/methods/ANY");
    json_call(server, "apigateway", &method, &json!({ "authorizationType": "NONE" }));
    let uri = format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations");
    let integration = json!({ "type": "AWS_PROXY", "httpMethod": "POST", "uri": uri });
    json_call(server, "apigateway", &format!("{method}/integration"), &integration);
    json_call(server, "apigateway", &format!("POST /restapis/{id}/deployments"), &json!({ "stageName": "Dev" }));
    id.to_owned()
}

/// The last of the events that functions answered with.
fn last_event(answers: &str) -> Value {
    serde_json::from_str(answers.rsplit("\r\n\r\n").next().unwrap()).unwrap_or_else(|_| panic!("{answers}"))
}

#[test]
fn functions_see_names_as_spelled_and_clients_behind_trusted_proxies() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &["--dev-credentials", "--trusted-proxy", "127.0.0.0/8"]);
    let host = format!("{}.execute-api.us-east-1.localhost", deploy(&server));
    let odd = "tOKEN: t\r\nx-Api-KEY: k\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.9";
    let end = "Connection: close\r\n\r\n";
    let event =
        last_event(&server.exchange(format!("GET /Dev/ HTTP/1.1\r\nHost: {host}\r\n{odd}\r\n{end}").as_bytes()));
    assert_eq!(event["headers"]["tOKEN"], "t", "{event}");
    assert_eq!(event["headers"]["x-Api-KEY"], "k", "{event}");
    assert_eq!(event["requestContext"]["identity"]["sourceIp"], "203.0.113.9", "{event}");

    // Pipelined behind a request with a body, and behind one whose body's end only reading it tells.
    let first = format!("POST /Dev/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc");
    let chunked =
        format!("POST /Dev/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let last = format!("GET /Dev/ HTTP/1.1\r\nhOST: {host}\r\nx-oDD: 1\r\n{end}");
    let event = last_event(&server.exchange(format!("{first}{last}").as_bytes()));
    assert_eq!(event["headers"]["x-oDD"], "1", "{event}");
    let event = last_event(&server.exchange(format!("{chunked}{last}").as_bytes()));
    assert_eq!(event["headers"]["X-Odd"], "1", "{event}");
}
