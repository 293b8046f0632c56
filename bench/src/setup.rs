//! The scene, set through the API as any client would: two accounts, a central authorizer, three methods.

use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::call::{self, Aws};
use crate::load::Target;

const API_ACCOUNT: &str = "111111111111";
const SECURITY_ACCOUNT: &str = "222222222222";
const STAGE: &str = "bench";
/// How often a new deployment or function is asked before it counts as broken, ten times a second.
const TRIES_MAX: usize = 200;

const AUTHORIZER: &str = "exports.handler = async (event) => ({
  principalId: 'user',
  policyDocument: { Version: '2012-10-17', Statement: [
    { Action: 'execute-api:Invoke', Effect: event.authorizationToken === 'allow' ? 'Allow' : 'Deny',
      Resource: event.methodArn.split('/', 2).join('/') + '/*' } ] },
  context: { tenant: 'a' },
});";
const BACKEND: &str = "exports.handler = async () => ({ statusCode: 200, body: '{\"ok\":true}' });";
const TRUST: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22lambda.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D";

/// The requests to measure.
pub struct Ready {
    pub mock: Target,
    pub cached: Target,
    pub proxied: Target,
}

/// Sets everything up on a running server.
///
/// # Errors
/// When a call is refused, or a target does not come to answer 200.
pub fn run(binary: &Path, data_dir: &Path, address: SocketAddr) -> Result<Ready> {
    let (api_key, api_secret) = account(binary, data_dir, API_ACCOUNT, "api")?;
    let (security_key, security_secret) = account(binary, data_dir, SECURITY_ACCOUNT, "security")?;
    let api = Aws { address, access_key_id: &api_key, secret_access_key: &api_secret };
    let security = Aws { address, access_key_id: &security_key, secret_access_key: &security_secret };
    let authorizer_arn = function(&security, SECURITY_ACCOUNT, "authorizer", AUTHORIZER)?;
    let backend_arn = function(&api, API_ACCOUNT, "backend", BACKEND)?;

    let call = |method: &str, path: &str, body: Value| api.json("apigateway", method, path, &body);
    let made = call("POST", "/restapis", json!({"name": "bench", "endpointConfiguration": {"types": ["REGIONAL"]}}))?;
    let id = text(&made, "id")?;
    let listed = call("GET", &format!("/restapis/{id}/resources"), json!({}))?;
    let root = listed["item"].as_array().and_then(|items| items.first()).or(Some(&listed["item"])).context("root")?;
    let root = text(root, "id")?;
    let authorizer = call(
        "POST",
        &format!("/restapis/{id}/authorizers"),
        json!({
            "name": "central",
            "type": "TOKEN",
            "authorizerUri": uri(&authorizer_arn),
            "identitySource": "method.request.header.Authorization",
            "authorizerResultTtlInSeconds": 3600,
        }),
    )?;
    let authorizer = text(&authorizer, "id")?;
    permit(&security, "authorizer", &format!("{id}/authorizers/{authorizer}"))?;
    permit(&api, "backend", &format!("{id}/*/GET/proxied"))?;

    for (part, authorized, integration) in [
        ("mock", false, mock()),
        ("cached", true, mock()),
        ("proxied", false, json!({"type": "AWS_PROXY", "httpMethod": "POST", "uri": uri(&backend_arn)})),
    ] {
        let resource = call("POST", &format!("/restapis/{id}/resources/{root}"), json!({"pathPart": part}))?;
        let method = format!("/restapis/{id}/resources/{}/methods/GET", text(&resource, "id")?);
        let authorization = if authorized {
            json!({"authorizationType": "CUSTOM", "authorizerId": authorizer})
        } else {
            json!({"authorizationType": "NONE"})
        };
        call("PUT", &method, authorization)?;
        call("PUT", &format!("{method}/integration"), integration.clone())?;
        if integration["type"] == "MOCK" {
            call("PUT", &format!("{method}/responses/200"), json!({}))?;
            let templates = json!({"responseTemplates": {"application/json": "{\"ok\":true}"}});
            call("PUT", &format!("{method}/integration/responses/200"), templates)?;
        }
    }
    call("POST", &format!("/restapis/{id}/deployments"), json!({"stageName": STAGE}))?;

    let target = |name, part: &str| Target {
        name,
        request: format!(
            "GET /{STAGE}/{part} HTTP/1.1\r\nHost: {id}.execute-api.us-east-1.localhost:{}\r\nAuthorization: allow\r\n\
             Accept: */*\r\nUser-Agent: bench\r\n\r\n",
            address.port()
        ),
    };
    let ready = Ready {
        mock: target("mock", "mock"),
        cached: target("mock, cached authorizer", "cached"),
        proxied: target("AWS_PROXY, Node function", "proxied"),
    };
    for target in [&ready.mock, &ready.cached, &ready.proxied] {
        eventually(|| call::sizes(address, target).map(|_| ()))?;
    }
    Ok(ready)
}

fn mock() -> Value {
    json!({"type": "MOCK", "requestTemplates": {"application/json": "{\"statusCode\": 200}"}})
}

/// An account's root keys, made by the binary beside the running server.
fn account(binary: &Path, data_dir: &Path, id: &str, name: &str) -> Result<(String, String)> {
    let done = Command::new(binary)
        .args(["account", "create", "--id", id, "--name", name, "--output", "json", "--data-dir"])
        .arg(data_dir)
        .output()
        .context("account create")?;
    if !done.status.success() {
        bail!("account create: {}", String::from_utf8_lossy(&done.stderr));
    }
    let made: Value = serde_json::from_slice(&done.stdout)?;
    Ok((text(&made, "AccessKeyId")?, text(&made, "SecretAccessKey")?))
}

/// Creates a Node function and its role; gives the function's ARN.
fn function(aws: &Aws<'_>, account: &str, name: &str, source: &str) -> Result<String> {
    let version = "Version=2010-05-08";
    aws.form("iam", &format!("Action=CreateRole&{version}&RoleName=function&AssumeRolePolicyDocument={TRUST}"))?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("index.js", SimpleFileOptions::default().unix_permissions(0o644))?;
    archive.write_all(source.as_bytes())?;
    let code = BASE64_STANDARD.encode(archive.finish()?.into_inner());
    let made = aws.json(
        "lambda",
        "POST",
        "/2015-03-31/functions",
        &json!({
            "FunctionName": name,
            "Runtime": "nodejs20.x",
            "Role": format!("arn:aws:iam::{account}:role/function"),
            "Handler": "index.handler",
            "Code": {"ZipFile": code},
            "Timeout": 10,
        }),
    )?;
    text(&made, "FunctionArn")
}

fn permit(aws: &Aws<'_>, function: &str, source: &str) -> Result<()> {
    let permission = json!({
        "StatementId": "bench",
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": format!("arn:aws:execute-api:us-east-1:{API_ACCOUNT}:{source}"),
    });
    aws.json("lambda", "POST", &format!("/2015-03-31/functions/{function}/policy"), &permission).map(|_| ())
}

fn uri(function_arn: &str) -> String {
    format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function_arn}/invocations")
}

fn text(value: &Value, member: &str) -> Result<String> {
    value[member].as_str().map(str::to_owned).with_context(|| format!("no {member} in {value}"))
}

fn eventually(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let mut last = attempt();
    for _ in 0..TRIES_MAX {
        if last.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        last = attempt();
    }
    last
}
