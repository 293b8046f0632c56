//! Conditions beyond the replayed cases.

use serde_json::{Value, json};

use super::{context, effect_of, policy};
use crate::{Context, Effect, Kind, ParseError, Policy};

fn holds(condition: &Value, keys: &Value) -> bool {
    holds_in("2012-10-17", condition, keys)
}

fn holds_in(version: &str, condition: &Value, keys: &Value) -> bool {
    let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition });
    let document = json!({ "Version": version, "Statement": statement });
    effect_of(&policy(&document, Kind::Session), "a:B", "*", &context(keys)).is_some()
}

fn fault(condition: &Value) -> ParseError {
    let statement = json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    Policy::from_value(&document, Kind::Identity).expect_err("must be refused")
}

#[test]
fn operators_compare_as_documented() {
    let table = [
        ("NumericEquals", json!("10"), "10.000", true),
        ("NumericEquals", json!(10), "1e1", true),
        ("NumericEquals", json!(0), "-0.0", true),
        ("NumericNotEquals", json!(10), "10.0", false),
        ("NumericNotEquals", json!(10), "no number", true),
        ("NumericLessThan", json!("-1"), "-1.5", true),
        ("NumericLessThan", json!("-1.5"), "-1", false),
        ("NumericGreaterThan", json!("99999999999999999999999"), "100000000000000000000000", true),
        ("NumericGreaterThanEquals", json!("0.001"), "0.0011", true),
        ("NumericLessThanEquals", json!("0.001"), "0.0011", false),
        ("NumericLessThan", json!("10"), "9", true),
        ("DateEquals", json!("2026-01-02T03:04:05Z"), "2026-01-02T05:04:05+02:00", true),
        ("DateEquals", json!("2026"), "2026-01-01T00:00:00Z", true),
        ("DateEquals", json!("2026-02"), "2026-02-01", true),
        ("DateNotEquals", json!(0), "1970-01-01T00:00Z", false),
        ("DateLessThan", json!(1_780_272_000), "2026-05-31T23:59:59.999Z", true),
        ("DateLessThanEquals", json!("1780272000"), "2026-06-01T00:00:00Z", true),
        ("DateGreaterThan", json!("2026-06-01T00:00:00Z"), "1780272000.5", true),
        ("DateLessThan", json!("1970"), "-1", true),
        ("DateLessThan", json!("1970"), "-1.5", false),
        ("DateGreaterThanEquals", json!("2026-06-01T00:00:00Z"), "yesterday", false),
        ("Bool", json!(true), "true", true),
        ("Bool", json!("True"), "true", true),
        ("Bool", json!(true), "yes", false),
        ("BinaryEquals", json!("QmluYXJ5"), "QmluYXJ5", true),
        ("BinaryEquals", json!("QmluYXJ5"), "QmluYXJ6", false),
        ("IpAddress", json!("203.0.113.77/24"), "203.0.113.1", true),
        ("IpAddress", json!("203.0.113.0/24"), "::ffff:203.0.113.1", true),
        ("IpAddress", json!("::ffff:203.0.113.0/120"), "203.0.113.1", true),
        ("IpAddress", json!("0.0.0.0/0"), "198.51.100.1", true),
        ("IpAddress", json!("0.0.0.0/0"), "2001:db8::1", false),
        ("IpAddress", json!("::/0"), "2001:db8::1", true),
        ("IpAddress", json!("2001:db8::1"), "2001:db8::2", false),
        ("NotIpAddress", json!("203.0.113.0/24"), "not an address", true),
        ("StringNotLike", json!("a*"), "abc", false),
        ("StringEquals", json!("a*"), "a*", true),
        ("StringEquals", json!("a*"), "ab", false),
        ("StringEqualsIgnoreCase", json!("Stra\u{df}e"), "STRA\u{df}E", true),
        ("stringequals", json!("a"), "a", true),
        ("ArnNotLike", json!("arn:aws:s3:::b*"), "arn:aws:s3:::bucket", false),
        ("ArnNotEquals", json!("bucket"), "arn:aws:s3:::bucket", true),
    ];
    for (operator, value, given, expected) in table {
        let outcome = holds(&json!({ operator: { "aws:K": value } }), &json!({ "aws:K": given }));
        assert_eq!(outcome, expected, "{operator} {value} on {given}");
    }
}

#[test]
fn several_operators_and_keys_all_count() {
    let condition = json!({ "StringEquals": { "a:x": "1", "a:y": ["1", "2"] }, "Bool": { "a:z": true } });
    assert!(holds(&condition, &json!({ "A:X": "1", "a:y": "2", "a:z": "true" })));
    assert!(!holds(&condition, &json!({ "a:x": "1", "a:y": "3", "a:z": "true" })));
    assert!(!holds(&condition, &json!({ "a:x": "1", "a:y": "2", "a:z": "false" })));
    assert!(holds(&json!({}), &json!({})), "no condition at all");
}

#[test]
fn quantifiers_treat_absence_as_documented() {
    let table = [
        ("ForAllValues:StringNotEquals", json!({ "a:k": ["x", "y"] }), true),
        ("ForAllValues:StringNotEquals", json!({ "a:k": ["x", "v"] }), false),
        ("ForAnyValue:StringNotEquals", json!({ "a:k": ["x", "v"] }), true),
        ("ForAnyValue:StringNotEquals", json!({ "a:k": ["v"] }), false),
        ("ForAnyValue:StringNotEquals", json!({}), false),
        ("ForAllValues:StringEquals", json!({ "a:k": [] }), true),
        ("ForAllValues:StringEquals", json!({ "a:k": "" }), true),
        ("ForAnyValue:StringLike", json!({ "a:k": "" }), false),
        ("ForAnyValue:StringEqualsIfExists", json!({}), true),
        ("forallvalues:stringequalsifexists", json!({ "a:k": ["v", "v"] }), true),
        ("StringNotEquals", json!({ "a:k": ["x", "v"] }), false),
        ("StringEquals", json!({ "a:k": ["x", "v"] }), true),
    ];
    for (operator, keys, expected) in table {
        assert_eq!(holds(&json!({ operator: { "a:k": "v" } }), &keys), expected, "{operator} on {keys}");
    }
    assert!(holds(&json!({ "Null": { "a:k": "true" } }), &json!({ "a:k": [] })), "an empty list is an absent key");
    assert!(holds(&json!({ "Null": { "a:k": [true, false] } }), &json!({ "a:k": "x" })));
}

#[test]
fn variables_are_filled_in_only_in_the_new_version() {
    let condition = json!({ "StringLike": { "s3:prefix": "home/${AWS:UserName}/*" } });
    let keys = json!({ "aws:username": "ann", "s3:prefix": "home/ann/x" });
    assert!(holds(&condition, &keys));
    assert!(!holds_in("2008-10-17", &condition, &keys));
    assert!(holds_in("2008-10-17", &condition, &json!({ "s3:prefix": "home/${AWS:UserName}/x" })));
    let table = [
        ("StringEquals", "${aws:missing, 'dflt'}", "dflt", true),
        ("StringEquals", "${aws:missing,'with, comma'}", "with, comma", true),
        ("StringEquals", "${aws:username, 'dflt'}", "ann", true),
        ("StringEquals", "${aws:missing}", "", false),
        ("StringNotEquals", "${aws:missing}", "x", true),
        ("StringNotLike", "${aws:missing}*", "x", true),
        ("StringLike", "a${*}c", "a*c", true),
        ("StringLike", "a${*}c", "abc", false),
        ("StringEquals", "${?}${$}{", "?${", true),
        ("StringLike", "${aws:star}", "anything", false),
        ("StringLike", "${aws:star}", "*", true),
        ("StringEqualsIgnoreCase", "X${aws:username}", "xANN", true),
        ("StringEquals", "${aws:tagkeys}", "a", false),
        ("ArnLike", "arn:aws:iam::${aws:account}:user/${aws:username}", "arn:aws:iam::1:user/ann", true),
        ("ArnLike", "arn:aws:iam::${aws:account}:user/*", "arn:aws:iam::2:user/ann", false),
        ("ArnLike", "arn:aws:s3:::${aws:missing}*", "arn:aws:s3:::x", false),
    ];
    for (operator, value, given, expected) in table {
        let keys = json!({
            "aws:username": "ann", "aws:star": "*", "aws:tagkeys": ["a"], "aws:account": "1", "aws:K": given,
        });
        assert_eq!(holds(&json!({ operator: { "aws:K": value } }), &keys), expected, "{operator} {value} on {given}");
    }
}

#[test]
fn variables_stand_in_the_last_part_of_a_resource() {
    let document = |effect: &str, element: &str, resource: &str| {
        let statement = json!({ "Effect": effect, "Action": "*", element: resource });
        policy(&json!({ "Version": "2012-10-17", "Statement": [statement] }), Kind::Identity)
    };
    let ann = context(&json!({ "aws:username": "ann" }));
    let home = document("Allow", "Resource", "arn:aws:s3:::b/${aws:username}/*");
    assert!(effect_of(&home, "a:B", "arn:aws:s3:::b/ann/x", &ann).is_some());
    assert!(effect_of(&home, "a:B", "arn:aws:s3:::b/bob/x", &ann).is_none());
    assert!(effect_of(&home, "a:B", "arn:aws:s3:::b//x", &Context::new()).is_none(), "not to be resolved");
    // An exception that cannot be resolved neither widens an allow nor narrows a deny.
    for (effect, expected) in [("Allow", None), ("Deny", Some(Effect::Deny))] {
        let except = document(effect, "NotResource", "arn:aws:s3:::b/${aws:username}/*");
        assert_eq!(effect_of(&except, "a:B", "arn:aws:s3:::b/bob/x", &Context::new()), expected);
    }
}

#[test]
fn what_is_not_understood_refuses_the_document() {
    let cases = [
        (json!({ "StringMatches": { "a:k": "v" } }), "unknown operator"),
        (json!({ "StringMatches": {} }), "unknown operator without keys"),
        (json!({ "NullIfExists": { "a:k": "true" } }), "Null has no IfExists"),
        (json!({ "ForAllValues:Null": { "a:k": "true" } }), "nor a quantifier"),
        (json!({ "ForSomeValues:StringEquals": { "a:k": "v" } }), "unknown quantifier"),
        (json!({ "StringEqualsIfExistsIfExists": { "a:k": "v" } }), "doubled suffix"),
        (json!({ "StringEquals": { "k": "v" } }), "key without service"),
        (json!({ "StringEquals": { "a:k": null } }), "null"),
        (json!({ "StringEquals": { "a:k": [["v"]] } }), "nested list"),
        (json!({ "StringEquals": { "a:k": { "v": 1 } } }), "object"),
        (json!({ "StringEquals": "v" }), "no keys"),
        (json!({ "NumericEquals": { "a:k": "ten" } }), "no number"),
        (json!({ "NumericEquals": { "a:k": "NaN" } }), "no number"),
        (json!({ "NumericEquals": { "a:k": "${aws:x}" } }), "variables are for strings and ARNs"),
        (json!({ "DateLessThan": { "a:k": "2026-13-01" } }), "no month"),
        (json!({ "DateLessThan": { "a:k": "2026-01-01T00:00:00" } }), "no zone"),
        (json!({ "Bool": { "a:k": "yes" } }), "no boolean"),
        (json!({ "Null": { "a:k": 1 } }), "no boolean"),
        (json!({ "BinaryEquals": { "a:k": "%%" } }), "no base64"),
        (json!({ "IpAddress": { "a:k": "203.0.113.0/33" } }), "prefix too long"),
        (json!({ "IpAddress": { "a:k": "203.0.113.0/+8" } }), "prefix with sign"),
        (json!({ "NotIpAddress": { "a:k": "203.0.113.*" } }), "no address"),
        (json!({ "StringEquals": { "a:k": "${aws:x" } }), "variable not closed"),
        (json!({ "StringEquals": { "a:k": "${}" } }), "variable without name"),
        (json!({ "StringEquals": { "a:k": "${aws:x, default}" } }), "default without quotes"),
    ];
    for (condition, why) in cases {
        assert_eq!(fault(&condition).message(), "Syntax errors in policy.", "{why}");
    }
}
