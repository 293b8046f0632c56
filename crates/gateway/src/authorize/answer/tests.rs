use lambda::invoke::{FunctionError, Outcome};
use serde_json::{Value, json};

use super::{Grant, read};
use crate::authorize::cache::Refusal;

fn outcome(payload: &str, error: Option<FunctionError>) -> Outcome {
    Outcome {
        payload: payload.to_owned().into(),
        function_error: error,
        executed_version: "1".to_owned(),
        log_tail: None,
        duration_us: 0,
    }
}

fn answer(extra: Value) -> String {
    let mut answer = json!({
        "principalId": "user",
        "policyDocument": {"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]}
    });
    for (name, value) in extra.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer.to_string()
}

fn accepted(payload: &str) -> Grant {
    read(&outcome(payload, None)).unwrap_or_else(|refusal| panic!("{payload}: {refusal:?}"))
}

fn reason(payload: &str) -> String {
    match read(&outcome(payload, None)) {
        Err(Refusal::BadAnswer(reason)) => reason.into_owned(),
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn context_values_become_the_text_of_their_json() {
    let payload = r#"{"policyDocument":{"Statement":[]},"context":
        {"s":"a\"b","n":123,"f":1.50,"e":1e3,"b":true,"none":null,"s":"last"}}"#;
    let grant = accepted(payload);
    let seen: Vec<(&str, &str)> = grant.context().collect();
    assert_eq!(seen, [("s", "last"), ("n", "123"), ("f", "1.50"), ("e", "1e3"), ("b", "true")]);
    assert_eq!(grant.principal_id(), None);
}

#[test]
fn principal_and_context_may_be_missing_empty_or_null() {
    for extra in [
        json!({}),
        json!({"principalId": ""}),
        json!({"principalId": null}),
        json!({"context": null}),
        json!({"context": {}}),
        json!({"usageIdentifierKey": "k"}),
        json!({"usageIdentifierKey": null}),
    ] {
        accepted(&answer(extra));
    }
}

#[test]
fn answers_that_are_not_to_the_letter_are_refused_in_the_words_of_the_log() {
    let array = "Invalid JSON in response: Can not deserialize instance of java.lang.String out of START_ARRAY token";
    let object = "Invalid JSON in response: Can not deserialize instance of java.lang.String out of START_OBJECT token";
    let unknown =
        |name: &str| format!("Invalid JSON in response: Unrecognized field \"{name}\" , not marked as ignorable");
    for (payload, expected) in [
        (answer(json!({"context": {"a": [1]}})), array.to_owned()),
        (answer(json!({"context": {"a": {}}})), object.to_owned()),
        (answer(json!({"context": [1]})), array.to_owned()),
        (answer(json!({"context": {"claims": "x"}})), unknown("claims")),
        (answer(json!({"principalId": {}})), object.to_owned()),
        (answer(json!({"usageIdentifierKey": []})), array.to_owned()),
        (answer(json!({"extra": 1})), unknown("extra")),
        (json!({"statusCode": 200, "body": ""}).to_string(), unknown("statusCode")),
        (json!({"errorMessage": "Unauthorized"}).to_string(), unknown("errorMessage")),
    ] {
        assert_eq!(reason(&payload), expected, "{payload}");
    }
    for payload in ["", "null", "\"Unauthorized\"", "[]", "1", "{", "{}{}", "\u{0}"] {
        assert!(reason(payload).contains("not a JSON object"), "{payload}");
    }
    let twice = r#"{"policyDocument":{"Statement":[]},"policyDocument":{"Statement":[]}}"#;
    assert!(reason(twice).contains("Duplicate field"), "{twice}");
}

#[test]
fn policies_out_of_form_or_size_are_refused() {
    let long = "x".repeat(500);
    let statement = |resource: &str| json!([{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}]);
    let many: Vec<Value> = (0..20).map(|_| statement(&format!("arn:aws:execute-api:*:*:{long}"))[0].clone()).collect();
    for document in [
        json!(null),
        json!("text"),
        json!([]),
        json!({"Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]}),
        json!({"Statement": statement(&format!("arn:aws:execute-api:us-east-1:111122223333:{long}"))}),
        json!({"Statement": many}),
    ] {
        let text = reason(&answer(json!({"policyDocument": document})));
        assert!(text.starts_with("Could not parse policy: "), "{text}");
    }
    assert!(reason(r#"{"principalId":"user"}"#).contains("there is no policyDocument"));
}

#[test]
fn only_an_error_saying_exactly_unauthorized_is_a_401() {
    for payload in [
        r#"{"errorMessage":"Unauthorized"}"#,
        r#"{"errorType":"Error","errorMessage":"Unauthorized","trace":[]}"#,
        r#"{"errorMessage":"Unauthorized","errorType":"Exception","requestId":"x","stackTrace":[]}"#,
        r#"{"errorMessage":"Unauthor\u0069zed"}"#,
    ] {
        for error in [FunctionError::Handled, FunctionError::Unhandled] {
            assert_eq!(read(&outcome(payload, Some(error))).err(), Some(Refusal::Unauthorized), "{payload}");
        }
    }
    for payload in [
        r#"{"errorMessage":"Unauthorized: expired"}"#,
        r#"{"errorMessage":"unauthorized"}"#,
        r#"{"errorMessage":" Unauthorized"}"#,
        r#"{"errorMessage":{"x":"Unauthorized"}}"#,
        "\"Unauthorized\"",
        "",
    ] {
        let refused = read(&outcome(payload, Some(FunctionError::Unhandled))).err();
        assert!(matches!(refused, Some(Refusal::BadAnswer(_))), "{payload}");
    }
}

#[test]
fn conditions_are_looked_for_however_they_are_written() {
    assert!(!accepted(&answer(json!({}))).conditional);
    for document in [
        r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","\u0043ondition":{"Bool":{"aws:SecureTransport":"true"}}}]}"#,
    ] {
        assert!(accepted(&format!("{{\"policyDocument\":{document}}}")).conditional, "{document}");
    }
}
