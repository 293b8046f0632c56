//! The steps of the post, each with what it must give.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use control::accounts::CreatedAccount;
use serde_json::{Value, json};
use wire::sigv4::Credentials;

use super::{
    aws::{Call, REGION, Refusal},
    runtime::Chosen,
    show::{self, Screen, Who},
    words,
};
use crate::client::{Client, Outgoing};

pub const FUNCTION_NAME: &str = "LambdaAuthorizer";
const AUTHORIZER_NAME: &str = "SecurityTeamAuthorizer";
pub const STAGE: &str = "Dev";
pub const STATEMENT_ID: &str = "APIblogpost-SecurityTeamAuthorizer";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const EXPLICIT_DENY: &str =
    r#"{"Message":"User is not authorized to access this resource with an explicit deny in an identity-based policy"}"#;
const UNAUTHORIZED: &str = r#"{"message":"Unauthorized"}"#;
/// What AWS, and this server, says when an authorizer cannot be used.
pub const NULL_MESSAGE: &str = r#"{"message":null}"#;

/// How long to wait for something that happens in the background, and how often to look.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// The server under the walk, and its two accounts.
pub struct Walk {
    pub screen: Screen,
    pub client: Client,
    /// Port of the server, for addresses to show.
    pub port: u16,
    /// Where the AWS CLI is pointed.
    pub host: String,
    pub api: CreatedAccount,
    pub security: CreatedAccount,
    pub chosen: Chosen,
}

/// What the walk found, for the summary.
pub struct Found {
    pub url: String,
    pub api_id: String,
    /// Token, status and body of the calls after the permission.
    pub calls: Vec<(Option<&'static str>, u16, String)>,
    /// The CloudTrail record of the last invocation.
    pub record: Value,
}

/// How much of an answer the command asks for.
enum Shown {
    All,
    /// `--query` with this expression and `--output text`; the function does what the expression says.
    Text(&'static str, fn(&Value) -> String),
    /// `--query` with this expression.
    Json(&'static str, fn(&Value) -> Value),
}

/// What a call of the API gave.
struct Called {
    status: u16,
    body: String,
    /// The decision it names.
    decision: String,
}

/// What was created on the way.
struct Api {
    id: String,
    root: String,
}

impl Walk {
    /// Does everything the post does. Stops at the first step that gives something else than it must.
    ///
    /// # Errors
    /// What was expected and what came instead.
    pub async fn run(&self) -> anyhow::Result<Found> {
        let function_arn = self.create_authorizer_function().await?;
        let api = self.create_api().await?;
        let authorizer = self.create_authorizer(&api, &function_arn).await?;
        self.protect_and_deploy(&api, &authorizer).await?;
        let url = format!("http://{}/{STAGE}", self.data_host(&api.id));
        let source_arn =
            format!("arn:aws:execute-api:{REGION}:{}:{}/authorizers/{authorizer}", self.api.account_id, api.id);
        self.try_without_permission(&api, &function_arn, &source_arn).await?;
        self.add_permission(&function_arn, &source_arn).await?;
        let calls = self.test_with_curl(&api).await?;
        let record = self.look_up(&function_arn, &source_arn).await?;
        Ok(Found { url, api_id: api.id, calls, record })
    }

    async fn create_authorizer_function(&self) -> anyhow::Result<String> {
        self.screen.heading("Create the Lambda authorizer")?;
        self.screen.note(self.chosen.remark)?;
        let params = json!({ "RoleName": "LambdaAuthorizer-role", "AssumeRolePolicyDocument": TRUST });
        let role = self.done(
            Who::Security,
            "iam",
            "CreateRole",
            params,
            Shown::Text("Role.Arn", |role| text(role, "/Role/Arn")),
        );
        let role = text(&role.await?, "/Role/Arn");
        let expected = format!("arn:aws:iam::{}:role/LambdaAuthorizer-role", self.security.account_id);
        check("the role's ARN", &expected, &role)?;
        let params = json!({
            "FunctionName": FUNCTION_NAME,
            "Runtime": self.chosen.runtime,
            "Role": role,
            "Handler": self.chosen.handler,
            "Code": { "ZipFile": self.chosen.package_base64()? },
        });
        let shown = Shown::Text("FunctionArn", |function| text(function, "/FunctionArn"));
        let made = self.done(Who::Security, "lambda", "CreateFunction", params, shown).await?;
        let arn = text(&made, "/FunctionArn");
        let expected = format!("arn:aws:lambda:{REGION}:{}:function:{FUNCTION_NAME}", self.security.account_id);
        check("the function's ARN", &expected, &arn)?;
        self.wait_until_active().await?;
        Ok(arn)
    }

    async fn wait_until_active(&self) -> anyhow::Result<()> {
        let words = format!("aws lambda wait function-active-v2 --function-name {FUNCTION_NAME}");
        self.screen.command(Who::Security, &[words])?;
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let call = Call::new("lambda", "GetFunctionConfiguration", json!({ "FunctionName": FUNCTION_NAME }))?;
            let got = call.send(&self.client, &self.host, &self.security).await?.map_err(anyhow::Error::msg)?;
            match text(&got, "/State").as_str() {
                "Active" => return Ok(()),
                "Pending" if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                state => bail!("the function's state must become `Active`, but is `{state}`"),
            }
        }
    }

    async fn create_api(&self) -> anyhow::Result<Api> {
        self.screen.heading("Create an API")?;
        let params = json!({ "name": "APIblogpost", "endpointConfiguration": { "types": ["EDGE"] } });
        let shown = Shown::Json(
            "{id: id, rootResourceId: rootResourceId}",
            |api| json!({ "id": text(api, "/id"), "rootResourceId": text(api, "/rootResourceId") }),
        );
        let made = self.done(Who::Api, "apigateway", "CreateRestApi", params, shown).await?;
        check(
            "the endpoint type",
            r#"["EDGE"]"#,
            &made.pointer("/endpointConfiguration/types").unwrap_or(&Value::Null).to_string(),
        )?;
        let api = Api { id: text(&made, "/id"), root: text(&made, "/rootResourceId") };
        let method = |more: Value| {
            let mut params = json!({ "restApiId": api.id, "resourceId": api.root, "httpMethod": "GET" });
            if let (Value::Object(params), Value::Object(more)) = (&mut params, more) {
                params.extend(more);
            }
            params
        };
        let steps = [
            ("PutMethod", json!({ "authorizationType": "NONE" }), ("/authorizationType", "NONE")),
            (
                "PutIntegration",
                json!({ "type": "MOCK", "requestTemplates": { "application/json": "{\"statusCode\": 200}" } }),
                ("/type", "MOCK"),
            ),
            ("PutMethodResponse", json!({ "statusCode": "200" }), ("/statusCode", "200")),
            (
                "PutIntegrationResponse",
                json!({ "statusCode": "200", "responseTemplates": { "application/json": "{\"message\": \"hello\"}" } }),
                ("/statusCode", "200"),
            ),
        ];
        for (operation, more, (member, expected)) in steps {
            let answer = self.done(Who::Api, "apigateway", operation, method(more), Shown::All).await?;
            check(operation, expected, &text(&answer, member))?;
        }
        Ok(api)
    }

    async fn create_authorizer(&self, api: &Api, function_arn: &str) -> anyhow::Result<String> {
        self.screen.note("The authorizer is a function of the other account, named by its ARN.")?;
        let uri = format!("arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations");
        let source = "method.request.header.Authorizer";
        let params = json!({
            "restApiId": api.id,
            "name": AUTHORIZER_NAME,
            "type": "TOKEN",
            "authorizerUri": uri,
            "identitySource": source,
        });
        let shown = Shown::Text("id", |authorizer| text(authorizer, "/id"));
        let made = self.done(Who::Api, "apigateway", "CreateAuthorizer", params, shown).await?;
        let id = text(&made, "/id");
        let params = json!({ "restApiId": api.id });
        let listed = self.done(Who::Api, "apigateway", "GetAuthorizers", params, Shown::All).await?;
        let expected = json!({ "items": [{
            "id": id,
            "name": AUTHORIZER_NAME,
            "type": "TOKEN",
            "authType": "custom",
            "authorizerUri": uri,
            "identitySource": source,
        }] });
        check("the authorizers", &expected.to_string(), &listed.to_string())?;
        Ok(id)
    }

    async fn protect_and_deploy(&self, api: &Api, authorizer: &str) -> anyhow::Result<()> {
        self.screen.heading("Protect the API with the authorizer")?;
        let params = json!({
            "restApiId": api.id,
            "resourceId": api.root,
            "httpMethod": "GET",
            "patchOperations": [
                { "op": "replace", "path": "/authorizationType", "value": "CUSTOM" },
                { "op": "replace", "path": "/authorizerId", "value": authorizer },
            ],
        });
        let shown = Shown::Json(
            "{authorizationType: authorizationType, authorizerId: authorizerId}",
            |method| json!({ "authorizationType": text(method, "/authorizationType"), "authorizerId": text(method, "/authorizerId") }),
        );
        let method = self.done(Who::Api, "apigateway", "UpdateMethod", params, shown).await?;
        check("the authorization", "CUSTOM", &text(&method, "/authorizationType"))?;
        check("the method's authorizer", authorizer, &text(&method, "/authorizerId"))?;
        let params = json!({ "restApiId": api.id, "stageName": STAGE });
        let deployment = self.done(Who::Api, "apigateway", "CreateDeployment", params, Shown::All).await?;
        if text(&deployment, "/id").is_empty() {
            bail!("a deployment must have an id, but the answer is {deployment}");
        }
        Ok(())
    }

    async fn try_without_permission(&self, api: &Api, function_arn: &str, source_arn: &str) -> anyhow::Result<()> {
        self.screen.heading("Before the permission")?;
        let Called { status, body, decision } = self.curl(api, Some("allow")).await?;
        check("the answer", &format!("500 {NULL_MESSAGE}"), &format!("{status} {body}"))?;
        self.screen
            .met("Refused: no statement of the function's policy lets this authorizer invoke it, so it did not run.")?;
        self.explain(&decision, function_arn, source_arn).await?;
        self.screen.note("The API account cannot help itself: the function belongs to the other account.")?;
        let refusal = self.refused(Who::Api, permission(function_arn, source_arn)).await?;
        check("the error", "AccessDeniedException", &refusal.code)?;
        let expected = format!(
            "User: arn:aws:iam::{}:root is not authorized to perform: lambda:AddPermission",
            self.api.account_id
        );
        if !refusal.message.starts_with(&expected) {
            bail!("the refusal must begin with `{expected}`, but is `{}`", refusal.message);
        }
        self.screen.met("Refused: only the function's own account may grant the use of it.")
    }

    async fn add_permission(&self, function_arn: &str, source_arn: &str) -> anyhow::Result<()> {
        self.screen.heading("Allow API Gateway to invoke the Lambda authorizer")?;
        let params = permission(function_arn, source_arn);
        let added = self.done(Who::Security, "lambda", "AddPermission", params, Shown::All).await?;
        let statement = format!(
            r#"{{"Sid":"{STATEMENT_ID}","Effect":"Allow","Principal":{{"Service":"apigateway.amazonaws.com"}},"Action":"lambda:InvokeFunction","Resource":"{function_arn}","Condition":{{"ArnLike":{{"AWS:SourceArn":"{source_arn}"}}}}}}"#
        );
        check("the statement", &statement, &text(&added, "/Statement"))?;
        let params = json!({ "FunctionName": FUNCTION_NAME });
        let policy = self.done(Who::Security, "lambda", "GetPolicy", params, Shown::All).await?;
        let expected = format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}"#);
        check("the function's policy", &expected, &text(&policy, "/Policy"))
    }

    async fn test_with_curl(&self, api: &Api) -> anyhow::Result<Vec<(Option<&'static str>, u16, String)>> {
        self.screen.heading("Test the API with cURL")?;
        let mut calls = Vec::new();
        for (token, status, body, remark) in [
            (
                Some("allow"),
                200,
                r#"{"message": "hello"}"#,
                "Allowed: the function returned a policy that allows this method.",
            ),
            (Some("deny"), 403, EXPLICIT_DENY, "Denied by the policy the function returned."),
            (None, 401, UNAUTHORIZED, "No token: the function was not asked."),
            (Some("allow"), 200, r#"{"message": "hello"}"#, "Allowed from the cache: the policy is kept for 300 s."),
        ] {
            let got = self.curl(api, token).await?;
            check("the answer", &format!("{status} {body}"), &format!("{} {}", got.status, got.body))?;
            self.screen.met(remark)?;
            calls.push((token, got.status, got.body));
        }
        Ok(calls)
    }

    async fn look_up(&self, function_arn: &str, source_arn: &str) -> anyhow::Result<Value> {
        self.screen.heading("CloudTrail of the Security account")?;
        let call = Call::new("cloudtrail", "LookupEvents", invokes())?;
        let deadline = tokio::time::Instant::now() + WAIT;
        let events = loop {
            let got = call.send(&self.client, &self.host, &self.security).await?.map_err(anyhow::Error::msg)?;
            if number_of_events(&got) >= 2 || tokio::time::Instant::now() >= deadline {
                break got;
            }
            tokio::time::sleep(LOOK).await;
        };
        let count = number_of_events(&events);
        let query = words_of(&call, "--query 'length(Events)'");
        self.screen.command(Who::Security, &query)?;
        self.screen.answer(&count.to_string())?;
        check("the number of Invoke events", "2", &count.to_string())?;
        self.screen
            .met("Two for five calls: before the permission, without a token and from the cache it did not run.")?;
        let record: Value = serde_json::from_str(&text(&events, "/Events/0/CloudTrailEvent"))
            .context("the record of the newest event must be JSON")?;
        let mut words = words_of(&call, "--query 'Events[0].CloudTrailEvent'");
        words.extend(["--output text".to_owned(), "| python3 -m json.tool".to_owned()]);
        self.screen.command(Who::Security, &words)?;
        self.screen.answer(&show::json(&record))?;
        check_record(&record, &self.security.account_id, function_arn, source_arn)?;
        self.screen.met("The Security account sees the call that the API of the other account caused.")?;
        Ok(record)
    }

    /// Runs a call that must succeed; shows the command and what of the answer it asks for.
    async fn done(
        &self,
        who: Who,
        service: &str,
        operation: &str,
        params: Value,
        shown: Shown,
    ) -> anyhow::Result<Value> {
        let call = Call::new(service, operation, params)?;
        let mut words = words::command(&call);
        match shown {
            Shown::All => {}
            Shown::Text(query, _) => words.push(format!("--query {query} --output text")),
            Shown::Json(query, _) => words.push(format!("--query '{query}'")),
        }
        self.screen.command(who, &words)?;
        match call.send(&self.client, &self.host, self.account(who)).await? {
            Ok(answer) => {
                self.screen.answer(&match shown {
                    Shown::All => show::json(&answer),
                    Shown::Text(_, pick) => pick(&answer),
                    Shown::Json(_, pick) => show::json(&pick(&answer)),
                })?;
                Ok(answer)
            }
            Err(refusal) => {
                self.screen.answer(&refusal.to_string())?;
                bail!("{operation} must succeed, but was refused with {}", refusal.code)
            }
        }
    }

    /// Runs AddPermission, which must be refused.
    async fn refused(&self, who: Who, params: Value) -> anyhow::Result<Refusal> {
        let call = Call::new("lambda", "AddPermission", params)?;
        self.screen.command(who, &words::command(&call))?;
        match call.send(&self.client, &self.host, self.account(who)).await? {
            Ok(answer) => {
                self.screen.answer(&show::json(&answer))?;
                bail!("AddPermission by the account {} must be refused, but succeeded", self.account(who).account_id)
            }
            Err(refusal) => {
                self.screen.answer(&refusal.to_string())?;
                Ok(refusal)
            }
        }
    }

    /// Asks the gateway why; the API's account gets the command that the other account is to run.
    async fn explain(&self, decision: &str, function_arn: &str, source_arn: &str) -> anyhow::Result<()> {
        self.screen.note("The answer names its decision (x-portcullis-decision), and the gateway can say why.")?;
        let target = format!("/_portcullis/decisions/{decision}");
        let words = [
            format!("curl -s --aws-sigv4 aws:amz:{REGION}:portcullis"),
            r#"--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY""#.to_owned(),
            format!("http://{}{target}", self.host),
            "| jq -r '.steps[].text, .repair[]'".to_owned(),
        ];
        self.screen.command(Who::Api, &words)?;
        let credentials = Credentials {
            access_key_id: &self.api.access_key_id,
            secret_access_key: &self.api.secret_access_key,
            session_token: None,
        };
        let outgoing =
            Outgoing { method: "GET", target: &target, host: &self.host, headers: Vec::new(), body: Bytes::new() };
        let answer = self.client.send_signed(outgoing, &credentials, REGION, "portcullis").await?;
        check("the status of the decision", "200", &answer.status.to_string())?;
        let told: Value = serde_json::from_slice(&answer.body).context("a decision must be JSON")?;
        let list = |pointer: &str| told.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut lines: Vec<String> = list("/steps").iter().map(|step| text(step, "/text")).collect();
        lines.extend(list("/repair").iter().filter_map(Value::as_str).map(str::to_owned));
        self.screen.answer(&lines.join("\n"))?;
        let command = text(&told, "/repair/0");
        for part in ["aws lambda add-permission", function_arn, source_arn] {
            if !command.contains(part) {
                bail!("the repair must contain `{part}`, but is `{command}`");
            }
        }
        self.screen.met("The reason, and the one command that changes it.")
    }

    /// Calls the API as a client does.
    async fn curl(&self, api: &Api, token: Option<&'static str>) -> anyhow::Result<Called> {
        let host = self.data_host(&api.id);
        let form = r#"-s -w "\n%{http_code}\n""#;
        let mut words = vec!["curl".to_owned(), form.to_owned(), format!("http://{host}/{STAGE}")];
        if let Some(token) = token {
            words.push(format!("--header \"Authorizer: {token}\""));
        }
        self.screen.command(Who::Anyone, &words)?;
        let headers = token.map(|token| ("Authorizer", token.to_owned())).into_iter().collect();
        let target = format!("/{STAGE}");
        let outgoing = Outgoing { method: "GET", target: &target, host: &host, headers, body: Bytes::new() };
        let answer = self.client.send(outgoing).await?;
        let (status, body) = (answer.status, answer.text());
        self.screen.answer(&format!("{body}\n{status}"))?;
        let decision = answer.header("x-portcullis-decision").unwrap_or_default().to_owned();
        Ok(Called { status, body, decision })
    }

    /// Host of the deployed API. Names below `localhost` are this machine, to curl and to browsers.
    fn data_host(&self, api: &str) -> String {
        format!("{api}.execute-api.{REGION}.localhost:{}", self.port)
    }

    fn account(&self, who: Who) -> &CreatedAccount {
        if who == Who::Security { &self.security } else { &self.api }
    }
}

/// The arguments in the order of the console's dialog, which the post copies.
fn permission(function_arn: &str, source_arn: &str) -> Value {
    json!({
        "FunctionName": function_arn,
        "SourceArn": source_arn,
        "Principal": "apigateway.amazonaws.com",
        "StatementId": STATEMENT_ID,
        "Action": "lambda:InvokeFunction",
    })
}

fn invokes() -> Value {
    json!({ "LookupAttributes": [{ "AttributeKey": "EventName", "AttributeValue": "Invoke" }] })
}

fn words_of(call: &Call, more: &str) -> Vec<String> {
    let mut words = words::command(call);
    words.push(more.to_owned());
    words
}

fn number_of_events(answer: &Value) -> usize {
    answer.get("Events").and_then(Value::as_array).map_or(0, Vec::len)
}

/// The text at a JSON pointer; empty if there is none.
fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn check(what: &str, expected: &str, got: &str) -> anyhow::Result<()> {
    if expected != got {
        bail!("{what} must be `{expected}`, but is `{got}`");
    }
    Ok(())
}

/// Every field of the record that the post shows.
fn check_record(record: &Value, security: &str, function_arn: &str, source_arn: &str) -> anyhow::Result<()> {
    let service = "apimanager.amazonaws.com";
    let expected = [
        ("userIdentity", json!({ "type": "AWSService", "invokedBy": service })),
        ("eventSource", json!("lambda.amazonaws.com")),
        ("eventName", json!("Invoke")),
        ("awsRegion", json!(REGION)),
        ("sourceIPAddress", json!(service)),
        ("userAgent", json!(service)),
        (
            "requestParameters",
            json!({ "functionName": function_arn, "sourceArn": source_arn, "contentType": "application/json" }),
        ),
        ("responseElements", Value::Null),
        ("additionalEventData", json!({ "functionVersion": format!("{function_arn}:$LATEST") })),
        ("readOnly", json!(false)),
        ("resources", json!([{ "accountId": security, "type": "AWS::Lambda::Function", "ARN": function_arn }])),
        ("eventType", json!("AwsApiCall")),
        ("managementEvent", json!(false)),
        ("recipientAccountId", json!(security)),
    ];
    for (member, expected) in expected {
        let got = record.get(member).map_or_else(|| "absent".to_owned(), Value::to_string);
        check(&format!("the record's {member}"), &expected.to_string(), &got)?;
    }
    for member in ["eventVersion", "eventTime", "requestID", "eventID", "sharedEventID"] {
        if record.get(member).and_then(Value::as_str).is_none_or(str::is_empty) {
            bail!("the record must have a {member}, but is {record}");
        }
    }
    Ok(())
}
