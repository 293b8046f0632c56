//! Who a resource-based policy reaches.

use serde_json::{Value, json};

use super::{policy, session, user};
use crate::{AwsPrincipal, Context, Effect, Kind, ParseError, Policy, Principal, Request};

fn document(element: &str, principal: &Value, effect: &str) -> Value {
    let statement = json!({ "Effect": effect, element: principal, "Action": "lambda:InvokeFunction", "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

fn reaches(element: &str, principal: &Value, caller: &Principal) -> bool {
    let policy = policy(&document(element, principal, "Deny"), Kind::Resource);
    let context = Context::new();
    let request = Request { action: "lambda:InvokeFunction", resource: "*", principal: caller, context: &context };
    policy.evaluate(&request).effect == Some(Effect::Deny)
}

#[test]
fn principals_match_by_kind() {
    let gateway = Principal::Service("apigateway.amazonaws.com".to_owned());
    let other = Principal::Aws(AwsPrincipal {
        account: "444455556666".parse().expect("an account"),
        arn: "arn:aws:iam::444455556666:root".to_owned(),
        role_arn: None,
        unique_id: None,
    });
    let ann = user("ann");
    let run = session("Run", "one");
    let anonymous = Principal::Anonymous;
    let everyone = [&gateway, &other, &ann, &run, &anonymous];
    let table: [(Value, &[&Principal]); 13] = [
        (json!("*"), &everyone),
        (json!({ "AWS": "*" }), &everyone),
        (json!({ "AWS": ["*"] }), &everyone),
        (json!({ "AWS": "111122223333" }), &[&ann, &run]),
        (json!({ "AWS": "arn:aws:iam::111122223333:root" }), &[&ann, &run]),
        (json!({ "AWS": ["arn:aws:iam::111122223333:user/ann", "444455556666"] }), &[&ann, &other]),
        (json!({ "AWS": "arn:aws:iam::111122223333:role/path/Run" }), &[&run]),
        (json!({ "AWS": "arn:aws:sts::111122223333:assumed-role/Run/one" }), &[&run]),
        (json!({ "AWS": "arn:aws:sts::111122223333:assumed-role/Run/two" }), &[]),
        (json!({ "AWS": "AIDAUSERUSERUSER1" }), &[&ann]),
        (json!({ "Service": "apigateway.amazonaws.com" }), &[&gateway]),
        (
            json!({ "Service": ["s3.amazonaws.com", "apigateway.amazonaws.com"], "AWS": "444455556666" }),
            &[&gateway, &other],
        ),
        (json!({ "Federated": "cognito-identity.amazonaws.com", "CanonicalUser": "79a5" }), &[]),
    ];
    for (principal, admitted) in table {
        for caller in everyone {
            let expected = admitted.contains(&caller);
            assert_eq!(reaches("Principal", &principal, caller), expected, "{principal} on {caller:?}");
            assert_eq!(reaches("NotPrincipal", &principal, caller), !expected, "not {principal} on {caller:?}");
        }
    }
}

#[test]
fn impossible_principals_are_refused() {
    let cases = [
        json!({ "AWS": "arn:aws:iam::111122223333:user/*" }),
        json!({ "AWS": "arn:aws:iam::111122223333:user/" }),
        json!({ "AWS": "arn:aws:iam::1111:root" }),
        json!({ "AWS": "arn:aws:iam::111122223333:group/g" }),
        json!({ "AWS": "arn:aws:lambda:us-east-1:111122223333:function:f" }),
        json!({ "AWS": "ann" }),
        json!({ "Service": "*" }),
        json!({ "Service": "apigateway" }),
        json!({ "Anyone": "x" }),
        json!("arn:aws:iam::111122223333:root"),
    ];
    for principal in cases {
        let fault =
            Policy::from_value(&document("Principal", &principal, "Allow"), Kind::Resource).expect_err("refused");
        assert!(matches!(fault, ParseError::InvalidPrincipal(_)), "{principal}: {fault}");
    }
    for principal in [json!({}), json!({ "AWS": [] }), json!({ "AWS": 111_122_223_333_u64 }), json!(null), json!([])] {
        let fault =
            Policy::from_value(&document("Principal", &principal, "Allow"), Kind::Resource).expect_err("refused");
        assert!(matches!(fault, ParseError::Syntax(_)), "{principal}: {fault}");
    }
    let fault = Policy::from_value(&document("Principal", &json!({ "AWS": "ann" }), "Allow"), Kind::Resource);
    assert_eq!(fault.expect_err("refused").message(), "Invalid principal in policy: \"AWS\":\"ann\"");
}

#[test]
fn a_bound_grant_does_not_pass_to_a_namesake() {
    let principal = json!({ "AWS": ["arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:role/path/Run"] });
    let loose = policy(&document("Principal", &principal, "Allow"), Kind::Resource);
    let named: Vec<&str> = loose.identity_principals().collect();
    assert_eq!(named, ["arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:role/path/Run"]);
    let resolve =
        |arn: &str| Some(if arn.contains(":user/") { "AIDAUSERUSERUSER1" } else { "AROAROLEROLEROLE1" }.to_owned());
    let bound = loose.clone().bind_principals(resolve).expect("both exist");
    let context = Context::new();
    let admits = |policy: &Policy, caller: &Principal| {
        let request = Request { action: "lambda:InvokeFunction", resource: "*", principal: caller, context: &context };
        policy.evaluate(&request).effect.is_some()
    };
    assert!(admits(&bound, &user("ann")));
    assert!(admits(&bound, &session("Run", "any")));
    for id in [None, Some("AIDASOMEONEELSE12".to_owned())] {
        let Principal::Aws(mut recreated) = user("ann") else { panic!("a user") };
        recreated.unique_id = id;
        assert!(!admits(&bound, &Principal::Aws(recreated.clone())));
        assert!(admits(&loose, &Principal::Aws(recreated)));
    }
    let fault = loose.bind_principals(|_| None).expect_err("nobody exists");
    assert_eq!(fault.message(), "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:user/ann\"");
}
