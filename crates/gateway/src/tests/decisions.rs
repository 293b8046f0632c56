//! What a decision tells, and to whom.

use std::sync::Arc;

use apigateway::gateway_response::GatewayResponse;
use policy::{AccountId, AwsPrincipal, Kind, Policy, Principal};
use serde_json::{Value, json};

use super::harness::{ACCOUNT, API, AUTHORIZER, Reply, World, allow_all, authorizer, body, mock};
use crate::{Answer, DecisionId, IamCaller, Options, Viewer};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";
const SECURITY: &str = "444455556666";

fn guarded(ttl: u32) -> World {
    let mut world = World::with(Options::default());
    world.snapshot.authorizers.push(authorizer("TOKEN", Some("method.request.header.Auth"), Some(ttl)));
    world.method("GET", "/pets", "CUSTOM", mock("{}"));
    world
}

fn view(world: &World, answer: &Answer, viewer: Viewer<'_>) -> Option<Value> {
    let id = DecisionId::parse(answer.header("x-portcullis-decision").expect("a decision")).expect("an id");
    world.gateway.decision(id).expect("kept").view(id, viewer)
}

fn step<'a>(view: &'a Value, name: &str) -> &'a Value {
    let steps = view["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {view}"))
}

#[tokio::test]
async fn a_missing_permission_is_told_to_both_sides_each_its_own_part() {
    let world = guarded(300);
    world.deploy();
    let answer = world.get("/pets", &[("Auth", "secret-token")]).await;
    assert_eq!(answer.status, 500);
    let own = view(&world, &answer, Viewer::Account(ACCOUNT)).expect("the API's account sees it");
    assert_eq!(own["methodArn"], format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{API}/Dev/GET/pets"));
    let authorizer = step(&own, "authorizer");
    assert_eq!((authorizer["invoked"].clone(), authorizer["detail"].clone()), (json!(false), Value::Null));
    assert_eq!(
        authorizer["sourceArn"],
        format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{API}/authorizers/{AUTHORIZER}")
    );
    let command = own["repair"][0].as_str().expect("a command");
    assert!(
        command.starts_with("aws lambda add-permission --function-name") && command.contains(AUTHORIZER),
        "{command}"
    );

    let theirs = view(&world, &answer, Viewer::Account(SECURITY)).expect("the function's account sees its part");
    assert_eq!(step(&theirs, "authorizer")["detail"], "statement other came nearest");
    for member in ["path", "methodArn", "rule", "log"] {
        assert_eq!(theirs[member], Value::Null, "{member}");
    }
    assert_eq!(view(&world, &answer, Viewer::Account("999999999999")), None);
    let whole = view(&world, &answer, Viewer::Operator).expect("all of it").to_string();
    assert!(!whole.contains("secret-token"));
}

#[tokio::test]
async fn steps_follow_the_request_from_identity_to_policy() {
    let world = guarded(300);
    world.permit(FUNCTION);
    world.functions.reply(Some(Reply::Returns(allow_all())));
    world.deploy();
    let names = |view: &Value| -> Vec<String> {
        view["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.get("/pets", &[("Auth", "a")]).await;
    let first = view(&world, &first, Viewer::Operator).unwrap();
    assert_eq!(names(&first), ["identity", "authorizer", "authorizerPolicy"]);
    assert_eq!(first["rule"], "allowed");
    world.clock.advance_s(10);
    let second = world.get("/pets", &[("Auth", "a")]).await;
    let second = view(&world, &second, Viewer::Operator).unwrap();
    assert_eq!(names(&second), ["identity", "cache", "authorizerPolicy"]);
    assert_eq!(step(&second, "cache")["ageMs"], 10_000);
    assert_eq!(step(&first, "identity")["identity"], step(&second, "identity")["identity"]);
    let none = world.get("/pets", &[]).await;
    let none = view(&world, &none, Viewer::Operator).unwrap();
    assert_eq!(step(&none, "identity")["source"], "method.request.header.Auth");
    let nowhere = world.get("/nope", &[]).await;
    let nowhere = view(&world, &nowhere, Viewer::Account(ACCOUNT)).unwrap();
    assert!(nowhere["rule"].as_str().unwrap().starts_with("MISSING_AUTHENTICATION_TOKEN: no resource"));
}

#[tokio::test]
async fn a_silent_policy_names_the_statement_that_came_nearest() {
    let world = guarded(0);
    world.permit(FUNCTION);
    let statement = json!({"Sid": "Orders", "Effect": "Allow", "Action": "execute-api:Invoke",
        "Resource": format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{API}/Dev/GET/orders")});
    world.functions.reply(Some(Reply::Returns(json!({
        "principalId": "u", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}
    }))));
    world.deploy();
    let answer = world.get("/pets", &[("Auth", "a")]).await;
    assert_eq!(answer.status, 403);
    let view = view(&world, &answer, Viewer::Account(ACCOUNT)).unwrap();
    let text = step(&view, "authorizerPolicy")["text"].as_str().unwrap();
    assert!(text.contains("Orders") && text.contains("GET/orders"), "{text}");
}

fn signer(account: &str, policy: &str) -> Arc<IamCaller> {
    let arn = format!("arn:aws:iam::{account}:user/u");
    Arc::new(IamCaller {
        account: account.to_owned(),
        arn: arn.clone(),
        user_id: "AIDAU".to_owned(),
        access_key_id: "AKIAU".to_owned(),
        principal: Principal::Aws(AwsPrincipal {
            account: AccountId::try_from(account).unwrap(),
            arn,
            role_arn: None,
            unique_id: Some("AIDAU".to_owned()),
        }),
        is_root: false,
        identity: vec![Arc::new(Policy::parse(policy, Kind::Identity).unwrap())],
        boundary: None,
        session: None,
        keys: Vec::new(),
    })
}

const ALLOW: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"execute-api:*","Resource":"*"}}"#;
const SILENT: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
const DENY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
const OTHER: &str = "999988887777";

fn resource_policy(effect: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": {"Effect": effect, "Principal": "*", "Action": "execute-api:Invoke",
        "Resource": "*"}})
    .to_string()
}

#[tokio::test]
async fn signed_calls_are_decided_by_both_tables() {
    let (allow, deny) = (Some("Allow"), Some("Deny"));
    let elsewhere = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*",
        "Action": "execute-api:InvalidateCache", "Resource": "*"}});
    for (account, own, resource, status) in [
        (ACCOUNT, ALLOW, None, 200),
        (ACCOUNT, SILENT, None, 403),
        (ACCOUNT, DENY, allow, 403),
        (ACCOUNT, ALLOW, allow, 200),
        (ACCOUNT, ALLOW, Some("silent"), 200),
        (ACCOUNT, ALLOW, deny, 403),
        (ACCOUNT, SILENT, allow, 200),
        (ACCOUNT, SILENT, Some("silent"), 403),
        (OTHER, ALLOW, None, 403),
        (OTHER, ALLOW, allow, 200),
        (OTHER, ALLOW, Some("silent"), 403),
        (OTHER, ALLOW, deny, 403),
        (OTHER, SILENT, allow, 403),
        (OTHER, DENY, allow, 403),
    ] {
        let mut world = World::new();
        world.method("GET", "/pets", "AWS_IAM", mock("{}"));
        world.snapshot.rest_api.policy = resource.map(|effect| match effect {
            "silent" => elsewhere.to_string(),
            effect => resource_policy(effect),
        });
        world.signers.0.lock().unwrap().insert("signed".to_owned(), signer(account, own));
        world.deploy();
        let answer = world.get("/pets", &[("Authorization", "signed")]).await;
        assert_eq!(answer.status, status, "{account} {own} {resource:?}: {:?}", answer.body);
        let unsigned = world.get("/pets", &[]).await;
        assert_eq!(unsigned.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
        let forged = world.get("/pets", &[("Authorization", "forged")]).await;
        assert_eq!((forged.status, forged.header("x-amzn-errortype")), (403, Some("UnrecognizedClientException")));
    }
}

#[tokio::test]
async fn open_methods_need_an_allow_of_the_policy_where_there_is_one() {
    for (policy, status) in [(None, 200), (Some(resource_policy("Allow")), 200), (Some(resource_policy("Deny")), 403)] {
        let mut world = World::new();
        world.method("GET", "/open", "NONE", mock("{}"));
        world.snapshot.rest_api.policy = policy;
        world.deploy();
        assert_eq!(world.get("/open", &[]).await.status, status);
    }
    let mut world = World::new();
    world.method("GET", "/open", "NONE", mock("{}"));
    world.snapshot.rest_api.policy = Some(resource_policy("Allow").replace("execute-api:Invoke", "execute-api:Other"));
    world.deploy();
    let answer = world.get("/open", &[]).await;
    let expected = format!(
        "User: anonymous is not authorized to perform: execute-api:Invoke on resource: \
         arn:aws:execute-api:us-east-1:********3333:{API}/Dev/GET/open because no resource-based policy allows the \
         execute-api:Invoke action"
    );
    assert_eq!(body(&answer), json!({ "Message": expected }));
    world.snapshot.rest_api.policy = Some("{".to_owned());
    world.deploy();
    assert_eq!(world.get("/open", &[]).await.status, 500, "a policy that does not parse lets nobody in");
}

#[tokio::test]
async fn gateway_responses_show_what_the_authorizer_said_of_a_denied_caller() {
    let mut world = guarded(0);
    world.permit(FUNCTION);
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    world.snapshot.gateway_responses.push(GatewayResponse {
        response_type: "ACCESS_DENIED".to_owned(),
        status_code: None,
        response_parameters: map(&[
            ("gatewayresponse.header.X-Reason", "context.authorizer.reason"),
            ("gatewayresponse.header.X-Path", "method.request.header.X-In"),
            ("gatewayresponse.header.X-Fixed", "'a b'"),
        ]),
        response_templates: map(&[("text/plain", "$context.error.responseType:$context.authorizer.reason")]),
    });
    world.functions.reply(Some(Reply::Returns(json!({
        "principalId": "u", "context": {"reason": "no licence"},
        "policyDocument": {"Version": "2012-10-17", "Statement": []}
    }))));
    world.deploy();
    let answer = world.get("/pets", &[("Auth", "a"), ("X-In", "in")]).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (403, Some("text/plain")));
    assert_eq!(answer.body, "ACCESS_DENIED:no licence");
    let seen = ["X-Reason", "X-Path", "X-Fixed"].map(|name| answer.header(name).unwrap_or_default());
    assert_eq!(seen, ["no licence", "in", "a b"]);
}

#[tokio::test]
async fn logs_hold_every_step_and_no_secret() {
    let mut world = guarded(0);
    world.permit(FUNCTION);
    world.functions.reply(Some(Reply::Returns(allow_all())));
    let all = apigateway::stage::MethodSetting {
        logging_level: Some("INFO".to_owned()),
        data_trace_enabled: Some(true),
        ..apigateway::stage::MethodSetting::default()
    };
    world.stage.method_settings.insert("*/*".to_owned(), all);
    world.stage.access_log_settings = Some(apigateway::stage::AccessLogSettings {
        destination_arn: format!("arn:aws:logs:us-east-1:{ACCOUNT}:log-group:access"),
        format: "$context.requestId $context.status $context.error.responseType:$context.error.message \
                 $context.authorizer.principalId"
            .to_owned(),
    });
    world.deploy();
    assert_eq!(world.get("/pets", &[("Auth", "Bearer top-secret-token")]).await.status, 200);
    let lines = world.lines.0.lock().unwrap().clone();
    let of = |wanted: &str| lines.iter().any(|(_, text)| text.contains(wanted));
    for wanted in [
        "Extended Request Id: ",
        "Starting authorizer: 9vb60i for request: ",
        "Incoming identity: *****************-token",
        "Endpoint request body after transformations: {\"type\":\"TOKEN\",\"methodArn\":",
        "\"authorizationToken\":\"*****************-token\"",
        "Authorizer result body before parsing: {",
        "Sending request to https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/",
        "Using valid authorizer policy for principal: ****",
        "Successfully completed authorizer execution",
        "does not require API Key",
        "Starting execution for request: ",
        "HTTP Method: GET, Resource Path: /pets",
        "Method completed with status: 200",
    ] {
        assert!(of(wanted), "{wanted} in {lines:?}");
    }
    assert!(!of("top-secret"), "{lines:?}");
    world.lines.0.lock().unwrap().clear();
    assert_eq!(world.get("/pets", &[]).await.status, 401);
    let refused = world.lines.0.lock().unwrap().clone();
    let count = |wanted: &str| refused.iter().filter(|(_, text)| text.contains(wanted)).count();
    assert_eq!((count("Unauthorized request: "), count(" 401 UNAUTHORIZED:Unauthorized -")), (1, 1), "{refused:?}");
    let group = format!("API-Gateway-Execution-Logs_{API}/Dev");
    assert!(lines.iter().all(|(name, _)| *name == group || name == "access"));
    let access: Vec<&str> = lines.iter().filter(|(name, _)| name == "access").map(|(_, text)| text.as_str()).collect();
    assert_eq!(access, ["00000000-0000-4000-8000-000000000000 200 -:- user"]);
}

#[tokio::test]
async fn a_signature_binds_path_and_verb() {
    let mut world = World::new();
    world.method("GET", "/pub/x", "AWS_IAM", mock("{}"));
    world.method("DELETE", "/pub/x", "AWS_IAM", mock("{}"));
    world.method("ANY", "/admin/{proxy+}", "AWS_IAM", mock("{}"));
    for value in ["signed", "signed SignedHeaders=host;x-http-method-override,"] {
        world.signers.0.lock().unwrap().insert(value.to_owned(), signer(ACCOUNT, ALLOW));
    }
    world.deploy();
    let signed = ("Authorization", "signed");
    assert_eq!(world.get("/pub/x", &[signed]).await.status, 200);
    for path in ["/admin/../pub/x", "/admin/%2e%2E/pub/x", "/admin//x", "/admin/./x", "/admin/x/."] {
        let answer = world.get(path, &[signed]).await;
        assert_eq!(answer.header("x-amzn-errortype"), Some("InvalidSignatureException"), "{path}");
    }
    let unsigned = world.get("/pub/x", &[signed, ("X-HTTP-Method-Override", "DELETE")]).await;
    assert_eq!(unsigned.header("x-amzn-errortype"), Some("InvalidSignatureException"));
    let listed = ("Authorization", "signed SignedHeaders=host;x-http-method-override,");
    assert_eq!(world.get("/pub/x", &[listed, ("X-HTTP-Method-Override", "DELETE")]).await.status, 200);
}

#[tokio::test]
async fn templates_cannot_multiply_what_they_are_given() {
    let mut world = guarded(0);
    world.permit(FUNCTION);
    world.method("GET", "/big", "CUSTOM", mock(&"$context.authorizer.k ".repeat(100)));
    world.snapshot.gateway_responses.push(GatewayResponse {
        response_type: "MISSING_AUTHENTICATION_TOKEN".to_owned(),
        status_code: None,
        response_parameters: std::collections::BTreeMap::new(),
        response_templates: [("application/json".to_owned(), "$method.request.header.B".repeat(12_000))].into(),
    });
    let answer_of = |bytes: usize| {
        let mut value = allow_all();
        value["context"] = json!({ "k": "k".repeat(bytes) });
        Some(Reply::Returns(value))
    };
    world.functions.reply(answer_of(60_000));
    world.deploy();
    assert_eq!(world.get("/pets", &[("Auth", "a")]).await.status, 200);
    assert_eq!(world.get("/big", &[("Auth", "a")]).await.status, 500);
    world.functions.reply(answer_of(70_000));
    let refused = world.get("/pets", &[("Auth", "a")]).await;
    assert_eq!(refused.header("x-amzn-errortype"), Some("AuthorizerConfigurationException"));
    let nowhere = world.get("/nope", &[("B", &"b".repeat(9_000))]).await;
    assert_eq!((nowhere.status, nowhere.body.len()), (403, 42), "the built-in body");
}
