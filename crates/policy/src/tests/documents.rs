//! What is a document of which kind.

use serde_json::{Value, json};

use super::{effect_of, policy};
use crate::{AccountId, Arn, Context, Kind, NESTING_MAX, ParseError, Policy, Region, Version};

const KINDS: [Kind; 6] = [Kind::Identity, Kind::Resource, Kind::Trust, Kind::Boundary, Kind::Session, Kind::Authorizer];

/// A document right for its kind.
fn right(kind: Kind) -> Value {
    let statement = match kind {
        Kind::Resource => json!({ "Effect": "Allow", "Principal": "*", "Action": "a:B", "Resource": "*" }),
        Kind::Trust => json!({ "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole" }),
        _ => json!({ "Effect": "Allow", "Action": "a:B", "Resource": "*" }),
    };
    json!({ "Version": "2012-10-17", "Id": "x", "Statement": [statement] })
}

fn with(kind: Kind, member: &str, value: Value) -> Value {
    let mut document = right(kind);
    document["Statement"][0][member] = value;
    document
}

fn without(kind: Kind, member: &str) -> Value {
    let mut document = right(kind);
    document["Statement"][0].as_object_mut().expect("a statement").remove(member);
    document
}

fn message(document: &Value, kind: Kind) -> String {
    match Policy::parse(&document.to_string(), kind) {
        Ok(_) => panic!("accepted as {kind:?}: {document}"),
        Err(fault) => fault.message(),
    }
}

#[test]
fn every_kind_accepts_its_form() {
    for kind in KINDS {
        let document = right(kind);
        let parsed = policy(&document, kind);
        assert_eq!((parsed.statements_len(), parsed.kind(), parsed.version()), (1, kind, Version::V2012));
        let mut single = document.clone();
        single["Statement"] = document["Statement"][0].clone();
        assert_eq!(policy(&single, kind).statements_len(), 1, "{kind:?}: one statement needs no list");
    }
}

#[test]
fn faults_are_told_in_the_words_of_aws() {
    const SYNTAX: &str = "Syntax errors in policy.";
    let table = [
        (
            Kind::Identity,
            with(Kind::Identity, "Principal", json!("*")),
            "Policy document should not specify a principal.",
        ),
        (
            Kind::Session,
            with(Kind::Session, "NotPrincipal", json!("*")),
            "Policy document should not specify a principal.",
        ),
        (Kind::Resource, without(Kind::Resource, "Principal"), "Missing required field Principal"),
        (Kind::Trust, without(Kind::Trust, "Principal"), "Missing required field Principal"),
        (Kind::Trust, with(Kind::Trust, "Resource", json!("*")), "Has prohibited field Resource"),
        (
            Kind::Trust,
            with(Kind::Trust, "Action", json!("s3:GetObject")),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (Kind::Identity, without(Kind::Identity, "Action"), "Policy statement must contain actions."),
        (Kind::Identity, with(Kind::Identity, "Action", json!([])), "Policy statement must contain actions."),
        (Kind::Identity, without(Kind::Identity, "Resource"), "Policy statement must contain resources."),
        (Kind::Boundary, with(Kind::Boundary, "Resource", json!([])), "Policy statement must contain resources."),
        (
            Kind::Identity,
            with(Kind::Identity, "Resource", json!("bucket")),
            "Resource bucket must be in ARN format or \"*\".",
        ),
        (
            Kind::Identity,
            with(Kind::Identity, "Action", json!("GetObject")),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            Kind::Identity,
            with(Kind::Identity, "Action", json!("a:b:c")),
            "Actions/Condition can contain only one colon.",
        ),
        (Kind::Identity, with(Kind::Identity, "Action", json!("s 3:x")), "Vendor s 3 is not valid"),
        (Kind::Identity, with(Kind::Identity, "Effect", json!("allow")), SYNTAX),
        (Kind::Identity, without(Kind::Identity, "Effect"), SYNTAX),
        (Kind::Identity, with(Kind::Identity, "NotAction", json!("a:B")), SYNTAX),
        (Kind::Identity, with(Kind::Identity, "Actions", json!("a:B")), SYNTAX),
        (Kind::Identity, with(Kind::Identity, "Action", json!(1)), SYNTAX),
        (Kind::Identity, with(Kind::Identity, "Sid", json!(1)), SYNTAX),
        (Kind::Identity, with(Kind::Identity, "Condition", json!([])), SYNTAX),
        (Kind::Identity, json!({ "Version": "2012-10-17" }), SYNTAX),
        (Kind::Identity, json!({ "Version": "2012-10-17", "Statement": [] }), SYNTAX),
        (Kind::Identity, json!({ "Version": "2013-10-17", "Statement": right(Kind::Identity)["Statement"] }), SYNTAX),
        (Kind::Identity, json!({ "Version": "2012-10-17", "Statement": "x" }), SYNTAX),
        (Kind::Identity, json!([]), SYNTAX),
        (
            Kind::Identity,
            with(Kind::Identity, "Resource", json!("arn:aws:iam::${aws:PrincipalAccount}:user/x")),
            SYNTAX,
        ),
    ];
    for (kind, document, expected) in table {
        assert_eq!(message(&document, kind), expected, "{kind:?} {document}");
    }
    let mut twice = right(Kind::Identity);
    twice["Statement"][0]["Sid"] = json!("one");
    let statement = twice["Statement"][0].clone();
    twice["Statement"].as_array_mut().expect("a list").push(statement);
    assert_eq!(message(&twice, Kind::Identity), "Statement IDs (SID) in a single policy must be unique.");
    for version in [json!("2008-10-17"), Value::Null] {
        let mut old = right(Kind::Identity);
        if version.is_null() {
            old.as_object_mut().expect("an object").remove("Version");
        } else {
            old["Version"] = version;
        }
        assert_eq!(message(&old, Kind::Identity), "Policy document must be version 2012-10-17 or greater.");
        assert_eq!(policy(&old, Kind::Session).version(), Version::V2008);
    }
    for text in ["", "{", "{} x", "{'Version':1}", "\u{0}", "nonsense"] {
        let fault = Policy::parse(text, Kind::Identity).expect_err("refused");
        assert_eq!(fault.message(), "This policy contains invalid Json", "{text}");
    }
}

#[test]
fn a_member_may_not_stand_twice() {
    let texts = [
        r#"{"Version":"2012-10-17","Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:B","Resource":"*"}}"#,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Effect":"Allow","Action":"a:B","Resource":"*"}}"#,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:B","Resource":"*",
            "Condition":{"Bool":{"a:k":"true","a:k":"false"}}}}"#,
    ];
    for text in texts {
        let fault = Policy::parse(text, Kind::Authorizer).expect_err("refused");
        assert!(matches!(fault, ParseError::DuplicateMember(_)), "{fault}");
        assert_eq!(fault.message(), "Syntax errors in policy.");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("{}{}", "[".repeat(NESTING_MAX + 1), "]".repeat(NESTING_MAX + 1));
    assert_eq!(Policy::parse(&deep, Kind::Identity).expect_err("refused"), ParseError::TooDeep);
    let deeper = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(Policy::parse(&deeper, Kind::Identity).expect_err("refused"), ParseError::TooDeep);
    let mut value = Value::Null;
    for _ in 0..=NESTING_MAX {
        value = json!([value]);
    }
    assert_eq!(Policy::from_value(&value, Kind::Identity).expect_err("refused"), ParseError::TooDeep);
    let long = with(Kind::Authorizer, "Sid", json!("x".repeat(8192)));
    assert_eq!(Policy::from_value(&long, Kind::Authorizer).expect_err("refused"), ParseError::TooLong(8192));
    assert_eq!(Policy::parse(&long.to_string(), Kind::Authorizer).expect_err("refused"), ParseError::TooLong(8192));
    let blank = " ".repeat(131_073);
    assert_eq!(Policy::parse(&blank, Kind::Session).expect_err("refused"), ParseError::TooLong(131_072));
    let resource = |chars: usize| with(Kind::Authorizer, "Resource", json!("\u{e9}".repeat(chars)));
    assert!(Policy::from_value(&resource(512), Kind::Authorizer).is_ok());
    let fault = Policy::from_value(&resource(513), Kind::Authorizer).expect_err("refused");
    assert_eq!(fault, ParseError::ResourceTooLong(512));
}

#[test]
fn an_authorizer_may_be_careless() {
    let document = json!({ "Statement": [
        { "Sid": "no matter", "Effect": "Allow", "Principal": { "Any": 1 }, "Action": "a:*", "Resource": [] },
        { "Sid": "no matter", "Effect": "Allow", "Action": ["A:b"], "Resource": ["arn:aws:x:::y", "z"] },
    ]});
    let parsed = policy(&document, Kind::Authorizer);
    let context = Context::new();
    assert!(effect_of(&parsed, "a:B", "arn:aws:x:::y", &context).is_some());
    assert!(effect_of(&parsed, "a:B", "arn:aws:x:::other", &context).is_none());
    assert_eq!(policy(&json!({ "Statement": [] }), Kind::Authorizer).statements_len(), 0);
    let nothing = policy(&json!({ "Statement": [] }), Kind::Authorizer);
    assert!(effect_of(&nothing, "a:B", "*", &context).is_none());
    for element in ["NotAction", "NotResource"] {
        let mut document = without(Kind::Authorizer, &element[3..]);
        document["Statement"][0][element] = json!([]);
        assert!(Policy::from_value(&document, Kind::Authorizer).is_err(), "everything but nothing");
    }
    assert!(Policy::from_value(&without(Kind::Authorizer, "Resource"), Kind::Authorizer).is_err());
    assert!(Policy::from_value(&with(Kind::Authorizer, "Effect", json!("ALLOW")), Kind::Authorizer).is_err());
}

#[test]
fn names_are_read_whole_or_not_at_all() {
    for text in ["", "11112222333", "1111222233334", "11112222333a", "\u{661}11122223333", "-11122223333"] {
        assert!(text.parse::<AccountId>().is_err(), "{text}");
    }
    let account: AccountId = "012345678901".parse().expect("an account");
    assert_eq!((account.as_str(), account.to_string().as_str()), ("012345678901", "012345678901"));
    assert_eq!(serde_json::to_string(&account).expect("JSON"), "\"012345678901\"");
    assert_eq!(serde_json::from_str::<AccountId>("\"012345678901\"").expect("JSON"), account);
    assert!(serde_json::from_str::<AccountId>("12345678901").is_err());
    for text in ["", "US-EAST-1", "us east", "a".repeat(33).as_str()] {
        assert!(text.parse::<Region>().is_err(), "{text}");
    }
    let arn = Arn::parse("arn:aws:lambda:us-east-1:111122223333:function:f:live").expect("an ARN");
    assert_eq!(
        (arn.partition(), arn.service(), arn.region(), arn.account(), arn.resource()),
        ("aws", "lambda", "us-east-1", "111122223333", "function:f:live")
    );
    for text in ["", "arn", "arn:aws:s3:::", "arn::s3:::b", "arn:aws:::: b", "brn:aws:s3:::b", "arn:aws:s3::b"] {
        assert!(Arn::parse(text).is_err(), "{text}");
    }
    assert!(Arn::parse(&format!("arn:aws:s3:::{}", "x".repeat(2048))).is_err());
}
