//! Patterns against values: the linear matcher and everything built on it agree with a plain table.
//!
//! Input: pattern, value.

use policy::{Arn, Context, Kind, Policy, Principal, Request};
use serde_json::{Value, json};

/// The longest pattern or value compared in full: the table is their product.
const CHARS_MAX: usize = 500;

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut parts = crate::parts(input);
    let (pattern, value) = (crate::text(&mut parts), crate::text(&mut parts));
    names_are_whole(&pattern);
    names_are_whole(&value);
    if pattern.chars().count() > CHARS_MAX || value.chars().count() > CHARS_MAX {
        // Nothing to compare with; it still has to come to an end.
        let _ = (policy::string_like(&pattern, &value), policy::resource_matches(&pattern, &value));
        return;
    }
    let like = table(&pattern, &value);
    assert_eq!(policy::string_like(&pattern, &value), like);
    assert_eq!(policy::action_matches(&pattern, &value), table(&lower(&pattern), &lower(&value)));
    let as_arn =
        by_parts(&pattern, &value).unwrap_or(false) && pattern.starts_with("arn:") && value.starts_with("arn:");
    assert_eq!(policy::arn_like(&pattern, &value), as_arn);
    let as_resource = pattern == "*" || by_parts(&pattern, &value).unwrap_or_else(|| short(&pattern, &value));
    assert_eq!(policy::resource_matches(&pattern, &value), as_resource);
    documents_agree(&pattern, &value, like, as_arn, as_resource);
}

/// Whether a pattern matches, by the table of all their beginnings.
fn table(pattern: &str, value: &str) -> bool {
    let value: Vec<char> = value.chars().collect();
    // Whether the pattern read so far matches the first `n` characters.
    let mut row = vec![false; value.len() + 1];
    row[0] = true;
    for want in pattern.chars() {
        let mut next = vec![false; value.len() + 1];
        next[0] = want == '*' && row[0];
        for (at, have) in value.iter().enumerate() {
            next[at + 1] = match want {
                '*' => row[at + 1] || next[at],
                '?' => row[at],
                want => row[at] && want == *have,
            };
        }
        row = next;
    }
    row[value.len()]
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// Six parts against six; `None` if the pattern has fewer.
fn by_parts(pattern: &str, value: &str) -> Option<bool> {
    let pattern: Vec<&str> = pattern.splitn(6, ':').collect();
    let value: Vec<&str> = value.splitn(6, ':').collect();
    (pattern.len() == 6).then(|| value.len() == 6 && pattern.iter().zip(&value).all(|(p, v)| table(p, v)))
}

/// A pattern of fewer than six parts: only with a `*` at its end, which swallows the rest.
fn short(pattern: &str, value: &str) -> bool {
    let wanted: Vec<&str> = pattern.split(':').collect();
    let parts: Vec<&str> = value.splitn(wanted.len(), ':').collect();
    pattern.ends_with('*') && parts.len() == wanted.len() && wanted.iter().zip(&parts).all(|(p, v)| table(p, v))
}

/// A text that is an ARN is its parts and nothing else, and reads again as itself.
fn names_are_whole(text: &str) {
    let Ok(arn) = Arn::parse(text) else { return };
    assert_eq!(arn.to_string(), text);
    assert_eq!(Arn::parse(&arn.to_string()).as_ref(), Ok(&arn));
    let parts = [arn.partition(), arn.service(), arn.region(), arn.account(), arn.resource()];
    assert_eq!(format!("arn:{}", parts.join(":")), text);
}

/// The same pattern inside documents, where an index stands before the matcher.
fn documents_agree(pattern: &str, value: &str, like: bool, as_arn: bool, as_resource: bool) {
    let any = json!("*");
    let condition = |operator: &str| json!({ operator: { "a:k": pattern } });
    let statements = [
        (json!({ "Effect": "Allow", "Action": any, "Resource": pattern }), as_resource),
        (json!({ "Effect": "Allow", "Action": any, "NotResource": pattern }), !as_resource),
        (json!({ "Effect": "Allow", "Action": any, "Resource": any, "Condition": condition("StringLike") }), like),
        (json!({ "Effect": "Allow", "Action": any, "Resource": any, "Condition": condition("StringNotLike") }), !like),
        (json!({ "Effect": "Allow", "Action": any, "Resource": any, "Condition": condition("ArnLike") }), as_arn),
        (
            json!({ "Effect": "Allow", "Action": any, "Resource": any, "Condition": condition("StringEquals") }),
            pattern == value,
        ),
    ];
    for (statement, expected) in statements {
        // The old version has no variables, so the whole text is pattern.
        let document = json!({ "Version": "2008-10-17", "Statement": [statement] });
        assert_eq!(allows(&document, value), Some(expected), "{document} {value}");
    }
    let among = json!(["arn:aws:s3:::other", pattern, "arn:aws:s3:::others/*"]);
    let alone = as_resource
        || ["arn:aws:s3:::other", "arn:aws:s3:::others/*"].iter().any(|p| policy::resource_matches(p, value));
    let document = json!({ "Statement": { "Effect": "Allow", "Action": any, "Resource": among } });
    assert_eq!(allows(&document, value), Some(alone), "{document} {value}");
}

/// Whether the document allows anything on the resource `value`; `None` if it is refused.
fn allows(document: &Value, value: &str) -> Option<bool> {
    let policy = Policy::from_value(document, Kind::Authorizer).ok()?;
    let mut context = Context::new();
    context.insert("a:k", value);
    let request = Request { action: "s:Get", resource: value, principal: &Principal::Anonymous, context: &context };
    Some(policy.evaluate(&request).is_allow())
}
