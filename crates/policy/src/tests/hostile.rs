//! Input made to harm: the parser must refuse or accept it, never fall, and evaluation must stay cheap.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{effect_of, policy};
use crate::arn_pattern::Cut;
use crate::index::{Entry, Headed, Index};
use crate::statement::Prepared;
use crate::wildcard::{Pattern, comparisons};
use crate::{Context, Effect, Kind, Policy, Principal, Request, parse_json};

const KINDS: [Kind; 6] = [Kind::Identity, Kind::Resource, Kind::Trust, Kind::Boundary, Kind::Session, Kind::Authorizer];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(WORDS.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let name = prop_oneof![prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), "\\PC{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Words that get generated input past the first checks.
const WORDS: [&str; 28] = [
    "Version",
    "2012-10-17",
    "Id",
    "Statement",
    "Sid",
    "Effect",
    "Allow",
    "Deny",
    "Principal",
    "NotPrincipal",
    "AWS",
    "Service",
    "Action",
    "NotAction",
    "a:B",
    "*",
    "Resource",
    "NotResource",
    "arn:aws:s3:::b",
    "Condition",
    "Bool",
    "StringLike",
    "a:k",
    "${a:k}",
    "${",
    "IpAddress",
    "ForAllValues:",
    "sts:AssumeRole",
];

fn near_statement() -> impl Strategy<Value = Value> {
    (any_json(), any_json(), any_json(), any_json(), any::<u8>()).prop_map(|(a, b, c, d, which)| {
        let mut statement = json!({ "Effect": "Allow", "Action": "a:B", "Resource": "*" });
        let members = [("Action", a), ("Resource", b), ("Condition", c), ("Principal", d)];
        for (bit, (name, value)) in members.into_iter().enumerate() {
            if which & (1 << bit) != 0 {
                statement[name] = value;
            }
        }
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    })
}

fn ask(policy: &Policy, text: &str) {
    let mut context = Context::new();
    context.insert("a:k", text);
    context.insert_list("a:l", [text, ""]);
    for principal in [Principal::Anonymous, Principal::Service(text.to_owned())] {
        for resource in ["arn:aws:s3:::b", text, "*"] {
            let request = Request { action: text, resource, principal: &principal, context: &context };
            let _ = policy.evaluate(&request);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        for kind in KINDS {
            let _ = Policy::parse(&text, kind);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json(), text in "\\PC{0,30}") {
        for kind in KINDS {
            let of_value = Policy::from_value(&value, kind);
            let of_text = Policy::parse(&value.to_string(), kind);
            prop_assert_eq!(of_value.is_ok(), of_text.is_ok());
            if let Ok(policy) = of_value {
                ask(&policy, &text);
            }
        }
    }

    #[test]
    fn nearly_right_documents_are_read_or_refused(value in near_statement(), text in "\\PC{0,30}") {
        for kind in KINDS {
            if let Ok(policy) = Policy::from_value(&value, kind) {
                ask(&policy, &text);
            }
        }
    }

    #[test]
    fn strict_reading_agrees_with_the_usual_reader(value in any_json()) {
        let text = value.to_string();
        let usual: Value = serde_json::from_str(&text).expect("written by the same library");
        prop_assert_eq!(parse_json(&text).expect("no member twice, not deep"), usual);
    }

    #[test]
    fn any_condition_text_is_compared_without_falling(policy in "\\PC{0,20}", value in "\\PC{0,20}") {
        let operators = [
            "StringEqualsIgnoreCase", "StringLike", "ArnLike", "NumericLessThan", "DateLessThan", "Bool", "BinaryEquals",
            "IpAddress", "Null",
        ];
        for operator in operators {
            for (policy, value) in [(policy.as_str(), value.as_str()), ("1", value.as_str())] {
                let condition = json!({ operator: { "a:k": policy } });
                let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition });
                let document = json!({ "Version": "2012-10-17", "Statement": statement });
                if let Ok(policy) = Policy::from_value(&document, Kind::Session) {
                    ask(&policy, value);
                }
            }
        }
    }

    #[test]
    fn decimals_order_as_numbers(
        a in "[-+]?(0{0,2}[0-9]{1,4}([.][0-9]{0,4})?|[.][0-9]{1,5})(e[-+]?[0-9])?",
        b in "[-+]?(0{0,2}[0-9]{1,4}([.][0-9]{0,4})?|[.][0-9]{1,5})(E[-+]?[0-9])?",
    ) {
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let decimal = |text| crate::values::Decimal::parse(text).expect("a number");
        let shifted = format!("{a}0");
        for other in [b.as_str(), a.as_str(), shifted.as_str()] {
            prop_assert_eq!(Some(decimal(&a).order(&decimal(other))), number(&a).partial_cmp(&number(other)));
        }
    }

    #[test]
    fn numbers_and_dates_read_only_their_forms(text in "[0-9TZ:+.eE-]{0,26}") {
        let _ = crate::values::Moment::parse(&text);
        let ours = crate::values::Decimal::parse(&text).is_some();
        prop_assert!(!ours || text.parse::<f64>().is_ok(), "{}", text);
    }
}

#[test]
fn patterns_made_to_back_up_stay_linear() {
    let value = "a".repeat(10_000);
    let hostile = [
        format!("{}b", "*a".repeat(250)),
        format!("{}b", "a*".repeat(250)),
        format!("*{}b*", "a".repeat(500)),
        format!("*{}b*", "a?".repeat(250)),
        format!("*{}b*", "?".repeat(500)),
        "*a?b".repeat(120),
        format!("{}*b", "*?".repeat(250)),
    ];
    for pattern in hostile {
        let mut steps = 0;
        assert!(!Pattern::wildcards(&pattern).matches_counted(&value, &mut steps), "{pattern}");
        // At most eight words of state for each character, once.
        assert!(steps <= 8 * value.len() + 2 * pattern.len(), "{steps} steps for {pattern}");
    }
}

#[test]
fn a_segment_longer_than_the_stack_is_found() {
    let segment = format!("{}?{}", "a".repeat(700), "b".repeat(10));
    let pattern = Pattern::wildcards(&format!("*{segment}*"));
    let value = format!("{}{}c{}", "b".repeat(30), "a".repeat(750), "b".repeat(10));
    assert!(pattern.matches(&value));
    assert!(!pattern.matches(&value.replace('c', "cc")));
    assert!(!pattern.matches("a"));
}

/// How many entries a request makes the index hand out.
fn looked_at(index: &Index, action: &str, resource: &str) -> usize {
    let context = Context::new();
    let request = Request { action, resource, principal: &Principal::Anonymous, context: &context };
    index.candidates(&Prepared { request: &request, action, resource: Cut::new(resource) }).count()
}

fn headed(heads: impl Iterator<Item = String>) -> Vec<Headed> {
    let head = |(at, head): (usize, String)| Headed { head: head.into(), weight: 1, entry: Entry::pattern(at, 0) };
    heads.enumerate().map(head).collect()
}

#[test]
fn a_decision_looks_at_few_of_many_statements() {
    let resources = || headed((0..1000).map(|n| format!("arn:aws:s:r:1:a/{n}/")));
    let one_action = || headed((0..1000).map(|_| "s:get".to_owned()));
    let index = Index::build(one_action(), resources());
    assert_eq!(looked_at(&index, "s:get", "arn:aws:s:r:1:a/77/x"), 1);
    assert_eq!(looked_at(&index, "s:get", "arn:aws:s:r:1:b"), 0);
    let actions = headed((0..1000).map(|n| format!("s:get{n}:")));
    let index = Index::build(actions, headed((0..1000).map(|_| String::new())));
    assert_eq!(looked_at(&index, "s:get77:x", "*"), 1);
    // Heads inside one another are all handed out, those that only share a beginning are not.
    let nested = headed(["", "a", "aa", "ab", "aab", "aabb", "b"].into_iter().map(str::to_owned));
    let index = Index::build(headed((0..7).map(|_| String::new())), nested);
    assert_eq!(looked_at(&index, "", "aabc"), 4);
    assert_eq!(looked_at(&index, "", "ab"), 3);
    assert_eq!(looked_at(&index, "", ""), 1);
}

#[test]
fn many_statements_still_decide_right() {
    let statements: Vec<Value> = (0..400)
        .map(|n| {
            let effect = if n % 7 == 0 { "Deny" } else { "Allow" };
            json!({ "Effect": effect, "Action": "s:Get", "Resource": [format!("arn:aws:s:r:1:a/{n}"), "arn:aws:s:r:1:z"] })
        })
        .collect();
    let policy = policy(&json!({ "Version": "2012-10-17", "Statement": statements }), Kind::Identity);
    let context = Context::new();
    for n in 0..400 {
        let expected = if n % 7 == 0 { Effect::Deny } else { Effect::Allow };
        assert_eq!(effect_of(&policy, "s:Get", &format!("arn:aws:s:r:1:a/{n}"), &context), Some(expected));
    }
    assert_eq!(effect_of(&policy, "s:Get", "arn:aws:s:r:1:a/400", &context), None);
    assert_eq!(effect_of(&policy, "s:Get", "arn:aws:s:r:1:z", &context), Some(Effect::Deny));
    let long_action = format!("s:{}", "Get".repeat(100));
    assert_eq!(effect_of(&policy, &long_action, "arn:aws:s:r:1:z", &context), None);
}

/// Documents near the limit of 128 KiB whose lists would multiply if statements were asked for each pattern that fits.
#[test]
fn no_document_makes_a_decision_compare_more_than_it_has_patterns() {
    let nested = |count: usize| (1..count).map(|n| format!("arn:aws:s:r:1:{}*", "a".repeat(n))).collect::<Vec<_>>();
    let actions = |count: usize| (0..count).map(|n| format!("s:{n:x}")).collect::<Vec<_>>();
    let same_head = (0..2000).map(|n| format!("arn:*{n}*")).collect::<Vec<_>>();
    let statement = |actions: &[String], resources: &[String]| json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
    let documents = [
        vec![statement(&actions(6000), &nested(300))],
        vec![statement(&actions(3000), &same_head)],
        (0..18).map(|_| statement(&actions(300), &nested(70))).collect(),
        (0..900).map(|_| statement(&actions(2), &nested(3))).collect(),
        vec![statement(&nested(2).iter().map(|_| "s:*".to_owned()).collect::<Vec<_>>(), &nested(420))],
    ];
    let context = Context::new();
    for statements in documents {
        let lists = statements.iter().flat_map(|s| [&s["Action"], &s["Resource"]]);
        let patterns: usize = lists.map(|list| list.as_array().map_or(0, Vec::len)).sum();
        let document = json!({ "Version": "2012-10-17", "Statement": statements });
        assert!((40_000..131_072).contains(&document.to_string().len()));
        let policy = policy(&document, Kind::Session);
        let resource = format!("arn:aws:s:r:1:{}", "a".repeat(1000));
        for (action, resource) in [("s:none", resource.as_str()), ("s:1", resource.as_str()), ("s:none", "0123456789")]
        {
            let made = comparisons::made_by(|| {
                let _ = effect_of(&policy, action, resource, &context);
            });
            assert!(made <= 2 * patterns, "{made} comparisons for {patterns} patterns");
        }
    }
}
