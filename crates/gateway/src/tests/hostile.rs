//! Whatever arrives and whatever a function answers, there is an answer, and it is never too kind.

use bytes::Bytes;
use lambda::invoke::InvokeError;
use proptest::prelude::*;

use super::harness::{HOST, Reply, World, allow_all, authorizer, mock, proxy, request};
use crate::{Answer, Arrived, Body, Gateway, Headers};

const LAMBDA: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";

fn world() -> World {
    let mut world = World::new();
    world.snapshot.authorizers.push(authorizer("REQUEST", Some("method.request.querystring.q"), None));
    world.method("GET", "/", "CUSTOM", mock("{}"));
    world.method("ANY", "/{v}/x", "CUSTOM", mock("$context.authorizer.k"));
    world.method("ANY", "/{g+}", "NONE", proxy(LAMBDA));
    world.permit(LAMBDA);
    world.deploy();
    world
}

fn handle(world: &World, arrived: Arrived) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = runtime.block_on(world.gateway.handle(arrived));
    assert!((100..=599).contains(&answer.status));
    for (name, value) in &answer.headers {
        assert!(http::HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name:?}");
        assert!(http::HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{name:?}: {value:?}");
    }
    answer
}

/// Text of the bytes that matter here, and of any others.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        "[/.%{}+a-zA-Z0-9:?&=\\\\$#\"' -]{0,40}",
        ".{0,20}",
        Just("Dev".to_owned()),
        Just("/Dev/a/x".to_owned()),
    ]
}

fn json_like() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"principalId\"",
        "\"policyDocument\"",
        "\"context\"",
        "\"Statement\"",
        "\"Effect\"",
        "\"Allow\"",
        "\"Action\"",
        "\"Resource\"",
        "\"*\"",
        "\"statusCode\"",
        "200",
        "\"body\"",
        "null",
        "1e999",
        "\"\\u0000\"",
        "\"errorMessage\"",
        "\"Unauthorized\"",
        "true",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..24).prop_map(|words| words.concat()),
        ".{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_head_gets_an_answer(
        host in odd(),
        path in odd(),
        query in prop::option::of(odd()),
        fields in prop::collection::vec(("[A-Za-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..12)), 0..6),
        verb in prop::sample::select(vec!["GET", "PUT", "TRACE", "X"]),
        form in 0_u8..4,
    ) {
        let (host, path) = match form {
            0 => (host, format!("/{path}")),
            1 => (HOST.to_owned(), path),
            2 => (HOST.to_owned(), format!("/Dev/{path}")),
            _ => (host, format!("/_aws/execute-api/a1b2c3d4e5/Dev{path}")),
        };
        let Some(target) = Gateway::target(&host, &path) else { return Ok(()) };
        let mut headers = Headers::default();
        headers.push("host", host.as_bytes());
        for (name, value) in &fields {
            headers.push(name, value);
        }
        let mut arrived = request(verb, HOST, "/Dev", &[]);
        (arrived.target, arrived.raw_path, arrived.raw_query, arrived.headers) = (target, path, query, headers);
        handle(&world(), arrived);
    }

    #[test]
    fn any_answer_of_an_authorizer_is_judged(answer in json_like(), failed in any::<bool>()) {
        let world = world();
        let bytes = Bytes::from(answer.clone());
        world.functions.reply(Some(match failed {
            true => Reply::Throws(serde_json::Value::String(answer.clone())),
            false => Reply::Raw(bytes),
        }));
        let answer_status = handle(&world, request("GET", HOST, "/Dev?q=1", &[])).status;
        prop_assert!(matches!(answer_status, 401 | 403 | 500), "{answer}: {answer_status}");
    }

    #[test]
    fn any_answer_of_an_integration_is_passed_on_or_refused(answer in json_like(), body in any::<Vec<u8>>()) {
        let world = world();
        world.functions.reply(Some(Reply::Raw(Bytes::from(answer))));
        let mut arrived = request("POST", HOST, "/Dev/one", &[]);
        arrived.body = Body::Full(Bytes::from(body));
        handle(&world, arrived);
    }

    #[test]
    fn no_value_of_a_context_breaks_the_answer(key in ".{0,8}", value in any::<String>()) {
        let world = world();
        let mut answer = allow_all();
        answer["context"] = serde_json::json!({ "k": value.as_str(), key.as_str(): value.as_str() });
        world.functions.reply(Some(Reply::Returns(answer)));
        let answer = handle(&world, request("GET", HOST, "/Dev/a/x?q=1", &[]));
        prop_assert!(matches!(answer.status, 200 | 500));
        world.functions.reply(Some(Reply::Fails(InvokeError::TimedOut)));
    }
}
