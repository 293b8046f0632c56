//! Tests of the crate as a whole; what concerns one file alone stands there.

mod cases;
mod combination;
mod conditions;
mod documents;
mod hostile;
mod matching;
mod model;
mod naive;
mod nearest;
mod principals;

use serde_json::Value;

use crate::{AwsPrincipal, Context, Effect, Kind, Policy, Principal, Request};

/// A context from `{"key": "value", "key": ["several", "values"]}`.
fn context(keys: &Value) -> Context {
    let mut context = Context::new();
    for (key, value) in keys.as_object().expect("an object of keys") {
        match value {
            Value::Array(values) => {
                context.insert_list(key, values.iter().map(|v| v.as_str().expect("a string").to_owned()));
            }
            value => context.insert(key, value.as_str().expect("a string")),
        }
    }
    context
}

fn policy(document: &Value, kind: Kind) -> Policy {
    Policy::from_value(document, kind).unwrap_or_else(|error| panic!("{error}: {document}"))
}

fn user(name: &str) -> Principal {
    Principal::Aws(AwsPrincipal {
        account: "111122223333".parse().expect("an account"),
        arn: format!("arn:aws:iam::111122223333:user/{name}"),
        role_arn: None,
        unique_id: Some("AIDAUSERUSERUSER1".to_owned()),
    })
}

fn session(role: &str, name: &str) -> Principal {
    Principal::Aws(AwsPrincipal {
        account: "111122223333".parse().expect("an account"),
        arn: format!("arn:aws:sts::111122223333:assumed-role/{role}/{name}"),
        role_arn: Some(format!("arn:aws:iam::111122223333:role/path/{role}")),
        unique_id: Some("AROAROLEROLEROLE1".to_owned()),
    })
}

fn effect_of(policy: &Policy, action: &str, resource: &str, context: &Context) -> Option<Effect> {
    policy.evaluate(&Request { action, resource, principal: &Principal::Anonymous, context }).effect
}
