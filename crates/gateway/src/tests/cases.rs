//! Replays the cases the conformance suite replays over the wire.

use apigateway::{authorizer::Authorizer, gateway_response::GatewayResponse};
use serde_json::{Value, json};

use super::harness::{
    ACCOUNT, API, AUTHORIZER, ECHO, HOST, REGION, Reply, STAGE, World, authorizer, body, mock, proxy, request,
};

const CASES: &str = include_str!("../../../../conformance/data/authorizers-cases.json");

#[tokio::test]
async fn every_case_is_decided_as_on_aws() {
    let document: Value = serde_json::from_str(CASES).unwrap();
    let (mut failures, mut run) = (Vec::new(), 0);
    for case in document["cases"].as_array().unwrap() {
        let faults = replay(case, &document["environment"]).await;
        run += 1;
        if !faults.is_empty() {
            failures.push(format!("{}: {}", case["name"], faults.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{} of {run} cases differ:\n{}", failures.len(), failures.join("\n"));
    assert!(run >= 130, "only {run} cases were found");
}

fn function_arn(case: &Value) -> String {
    let account = case["environment"]["function_account"].as_str().unwrap_or("444455556666");
    format!("arn:aws:lambda:{REGION}:{account}:function:LambdaAuthorizer")
}

fn fill(value: &Value, case: &Value) -> Value {
    let text = value
        .to_string()
        .replace("${API_ARN}", &format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}"))
        .replace("${REGION}", REGION)
        .replace("${API_ACCOUNT}", ACCOUNT)
        .replace("${API_ACCOUNT_LAST4}", &ACCOUNT[8..])
        .replace("${FN_ACCOUNT}", "444455556666")
        .replace("${API_ID}", API)
        .replace("${AUTHORIZER_ID}", AUTHORIZER)
        .replace("${STAGE}", STAGE)
        .replace("${FN_ARN}", &function_arn(case));
    serde_json::from_str(&text).unwrap()
}

async fn replay(raw: &Value, environment: &Value) -> Vec<String> {
    let case = fill(raw, raw);
    let mut world = World::new();
    let exposes = raw.to_string().contains("integration_authorizer");
    world.snapshot.authorizers.push(record(&case["authorizer"]));
    for method in environment["methods"].as_array().unwrap() {
        let text = |member: &str| method[member].as_str().unwrap();
        let integration = if exposes { proxy(ECHO) } else { mock(r#"{"ok":true}"#) };
        world.method(text("method"), text("resource"), text("authorization"), integration);
        world.last_method().api_key_required = method["api_key_required"] == true;
    }
    if let Some(policy) = case["resource_policy"].as_object() {
        let text = Value::from(policy.clone()).to_string();
        // The control plane expands these when the policy is saved.
        let whole = format!("\"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/");
        world.snapshot.rest_api.policy = Some(text.replace("\"execute-api:/", &whole));
    }
    if let Some(source) = case["api_key_source"].as_str() {
        world.snapshot.rest_api.api_key_source = source.to_owned();
    }
    for (kind, response) in case["gateway_responses"].as_object().into_iter().flatten() {
        let strings = |member: &str| {
            let members = response[member].as_object().into_iter().flatten();
            members.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
        };
        world.snapshot.gateway_responses.push(GatewayResponse {
            response_type: kind.clone(),
            status_code: response["statusCode"].as_str().map(str::to_owned),
            response_parameters: strings("responseParameters"),
            response_templates: strings("responseTemplates"),
        });
    }
    for key in environment["api_keys"].as_array().into_iter().flatten() {
        world.key(key.as_str().or(key["value"].as_str()).unwrap());
    }
    world.log();
    for (name, value) in case["stage_variables"].as_object().into_iter().flatten() {
        world.stage.variables.insert(name.clone(), value.as_str().unwrap().to_owned());
    }
    for (name, role) in case["roles"].as_object().into_iter().flatten() {
        world.functions.roles.lock().unwrap().insert(name.clone(), role.clone());
    }
    world.permit(ECHO);
    grant(&world, &case, &case["permission"]);
    world.deploy();
    let mut faults = Vec::new();
    match case["steps"].as_array() {
        Some(steps) => {
            for (place, step) in steps.iter().enumerate() {
                prepare(&mut world, &case, step);
                let found = step_faults(&world, step).await;
                faults.extend(found.into_iter().map(|fault| format!("step {}: {fault}", place + 1)));
            }
        }
        None => faults = step_faults(&world, &case).await,
    }
    faults
}

fn record(given: &Value) -> Authorizer {
    let text = |member: &str| given[member].as_str().map(str::to_owned);
    let ttl = given["authorizerResultTtlInSeconds"].as_u64().map(|ttl| u32::try_from(ttl).unwrap());
    Authorizer {
        authorizer_uri: text("authorizerUri").unwrap(),
        authorizer_credentials: text("authorizerCredentials"),
        identity_validation_expression: text("identityValidationExpression"),
        ..authorizer(given["type"].as_str().unwrap(), given["identitySource"].as_str(), ttl)
    }
}

/// AddPermission, as far as the gateway's call is concerned.
fn grant(world: &World, case: &Value, permission: &Value) {
    let one = [permission.clone()];
    let given = permission["statements"].as_array().map_or(&one[..], Vec::as_slice);
    let mut statements = world.functions.statements.lock().unwrap();
    statements.retain(|function, _| function == ECHO);
    for given in given.iter().filter(|given| given.is_object()) {
        let mut function = function_arn(case);
        if let Some(qualifier) = given["Qualifier"].as_str() {
            function = format!("{function}:{qualifier}");
        }
        let principal = given["Principal"].as_str().unwrap();
        let principal = match principal {
            "*" => json!("*"),
            name if name.contains(".amazonaws.com") => json!({"Service": name}),
            account if account.len() == 12 => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
            arn => json!({"AWS": arn}),
        };
        let mut statement = json!({
            "Sid": given["StatementId"], "Effect": "Allow", "Principal": principal, "Action": given["Action"],
            "Resource": function
        });
        if let Some(source) = given["SourceArn"].as_str() {
            statement["Condition"]["ArnLike"]["AWS:SourceArn"] = json!(source);
        }
        if let Some(account) = given["SourceAccount"].as_str() {
            statement["Condition"]["StringEquals"]["AWS:SourceAccount"] = json!(account);
        }
        statements.entry(function).or_default().push(statement);
    }
}

fn prepare(world: &mut World, case: &Value, step: &Value) {
    if let Some(seconds) = step["advance_seconds"].as_i64() {
        world.clock.advance_s(seconds);
    }
    if step["admin"] == "flush_stage_authorizers_cache" {
        world.stage.authorizers_epoch += 1;
        world.deploy();
    }
    if let Some(permission) = step["admin"].get("set_permission") {
        grant(world, case, permission);
    }
}

async fn step_faults(world: &World, step: &Value) -> Vec<String> {
    let reply = if let Some(value) = step.get("function_returns") {
        Some(Reply::Returns(value.clone()))
    } else if let Some(value) = step.get("function_throws") {
        Some(Reply::Throws(value.clone()))
    } else if step["function_times_out"] == true {
        Some(Reply::Throws(json!({"errorMessage": "2025-11-25T02:26:54.007Z 0 Task timed out after 3.00 seconds"})))
    } else {
        None
    };
    world.functions.reply(reply);
    let runs = world.functions.runs();
    let sent = &step["request"];
    let mut path = format!("/{STAGE}{}", sent["path"].as_str().unwrap());
    if let Some(query) = sent["query"].as_str() {
        path = format!("{path}?{query}");
    }
    let headers: Vec<(&str, &str)> = sent["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let mut arrived = request(sent["method"].as_str().unwrap(), HOST, &path, &headers);
    if let Some(ip) = sent["source_ip"].as_str() {
        arrived.client = ip.parse().unwrap();
    }
    let answer = world.gateway.handle(arrived).await;
    let ran = world.functions.runs() > runs;
    faults(world, &step["expect"], &answer, ran)
}

fn faults(world: &World, expect: &Value, answer: &crate::Answer, ran: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |what: &str, seen: Value, wanted: &Value| {
        if seen != *wanted {
            faults.push(format!("{what} is {seen}, not {wanted}"));
        }
    };
    for (member, wanted) in expect.as_object().unwrap() {
        match member.as_str() {
            "status" => check("status", json!(answer.status), wanted),
            "errortype" => check("error type", json!(answer.header("x-amzn-errortype")), wanted),
            "body" => check("body", body(answer), wanted),
            "body_message_prefix" => {
                let seen = body(answer);
                let text = seen["message"].as_str().or(seen["Message"].as_str()).unwrap_or_default();
                check("message begins as said", json!(text.starts_with(wanted.as_str().unwrap())), &json!(true));
            }
            "authorizer_invoked" if wanted.is_null() => {}
            "authorizer_invoked" => check("whether the function ran", json!(ran), wanted),
            "event" => {
                let seen = world.functions.last_event(false).unwrap_or_default();
                check("event", common(&seen, wanted), wanted);
            }
            "event_exact" => check("event", world.functions.last_event(false).unwrap_or_default(), wanted),
            "integration_authorizer" => {
                let seen = world.functions.last_event(true).unwrap_or_default();
                check("authorizer", common(&seen["requestContext"]["authorizer"], wanted), wanted);
            }
            "log_contains" => {
                for line in wanted.as_array().unwrap() {
                    let lines = world.lines.0.lock().unwrap();
                    let found = lines.iter().any(|(_, text)| text.contains(line.as_str().unwrap()));
                    check(&format!("log line {line} among {lines:?}"), json!(found), &json!(true));
                }
            }
            other => check("known expectation", json!(other), &Value::Null),
        }
    }
    faults
}

/// The part of `seen` that `wanted` speaks of.
fn common(seen: &Value, wanted: &Value) -> Value {
    match wanted.as_object() {
        Some(members) if !members.is_empty() => {
            members.iter().map(|(name, wanted)| (name.clone(), common(&seen[name], wanted))).collect()
        }
        _ => seen.clone(),
    }
}
