//! Tables of the matching rules, and the wildcard matcher against a recursive one.

use proptest::prelude::*;

use super::naive::{Tok, like};
use crate::wildcard::Pattern;
use crate::{action_matches, arn_like, resource_matches, string_like};

const METHOD: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5";

#[test]
fn resources_match_part_by_part() {
    let table = [
        ("*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/", true),
        ("*", "*", true),
        ("arn:aws:execute-api:*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", true),
        ("arn:aws:execute-api:*:*:*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", true),
        ("arn:aws:exec*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", true),
        ("arn:*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", true),
        ("arn:aws:execute-api", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", false),
        ("arn:aws:execute-api:us-east-1:111122223333", "arn:aws:execute-api:us-east-1:111122223333:a", false),
        ("arn:aws:lambda:*", "arn:aws:execute-api:us-east-1:111122223333:a/Dev/GET/x", false),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a:b:c", true),
        ("arn:aws:*:111122223333:x", "arn:aws:a:b:111122223333:x", false),
        ("arn:AWS:s3:::b", "arn:aws:s3:::b", false),
        ("arn:aws:s3:::b", "*", false),
        ("arn:aws:s3:::?", "arn:aws:s3:::\u{e9}", true),
    ];
    for (pattern, value, expected) in table {
        assert_eq!(resource_matches(pattern, value), expected, "{pattern} on {value}");
    }
    let table = [
        ("GET/pets/*", "GET/pets/1", true),
        ("GET/pets/*", "GET/pets/1/x", true),
        ("GET/pets/*", "GET/pets", false),
        ("GET/*", "GET/", true),
        ("GET/pets/4?", "GET/pets/42", true),
        ("GET/pets/4?", "GET/pets/4", false),
        ("GET/pets/4?", "GET/pets/421", false),
        ("GET/files/*", "GET/files/2021-08-01T00:00:00Z", true),
    ];
    for (pattern, value, expected) in table {
        let (pattern, value) = (format!("{METHOD}/Dev/{pattern}"), format!("{METHOD}/Dev/{value}"));
        assert_eq!(resource_matches(&pattern, &value), expected, "{pattern} on {value}");
    }
    assert!(resource_matches(&format!("{METHOD}/*/*/pets"), &format!("{METHOD}/Dev/POST/pets")));
}

#[test]
fn source_arns_admit_authorizers_and_integrations_as_listed() {
    let authorizer = format!("{METHOD}/authorizers/9vb60i");
    let integration = format!("{METHOD}/Dev/GET/pets");
    let table = [
        ("/authorizers/9vb60i", true, false),
        ("/authorizers/*", true, false),
        ("/*", true, true),
        ("/*/*", true, true),
        ("/*/*/*", false, true),
        ("/Dev/*", false, true),
        ("/*/GET/pets", false, true),
        ("/authorizers/AUTHORIZER_ID", false, false),
    ];
    for (tail, of_authorizer, of_integration) in table {
        let pattern = format!("{METHOD}{tail}");
        assert_eq!(arn_like(&pattern, &authorizer), of_authorizer, "{pattern}");
        assert_eq!(arn_like(&pattern, &integration), of_integration, "{pattern}");
    }
    assert!(!arn_like("arn:aws:execute-api:us-east-1:999999999999:a1b2c3d4e5/*", &authorizer));
    assert!(!arn_like("arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/*", &authorizer));
    assert!(!arn_like("*", &authorizer), "a lone star is no ARN");
    assert!(!arn_like("*:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/*", &authorizer), "must start with arn:");
    assert!(!arn_like("arn:*:*:*:*:*", "brn:aws:a:b:c:d"));
}

#[test]
fn actions_ignore_case() {
    assert!(action_matches("Execute-API:invoke", "execute-api:Invoke"));
    assert!(action_matches("*", "execute-api:Invoke"));
    assert!(action_matches("execute-api:In*", "EXECUTE-API:INVOKE"));
    assert!(action_matches("s3:Get?bject", "s3:GetObject"));
    assert!(!action_matches("execute-api:InvalidateCache", "execute-api:Invoke"));
    assert!(!action_matches("execute-api", "execute-api:Invoke"));
}

#[test]
fn wildcards_take_characters_not_bytes() {
    assert!(string_like("?", "\u{1f980}"));
    assert!(!string_like("??", "\u{1f980}"));
    assert!(string_like("*?\u{e9}*", "a\u{e9}"));
    assert!(!string_like("*?\u{e9}*", "\u{e9}"));
    assert!(string_like("", ""));
    assert!(string_like("***", ""));
    assert!(!string_like("?*", ""));
    assert!(!string_like("ab*ba", "aba"), "head and tail may not share characters");
}

fn tokens(pattern: &str) -> Vec<Tok> {
    let token = |c| match c {
        '*' => Tok::Run,
        '?' => Tok::One,
        c => Tok::Char(c),
    };
    pattern.chars().map(token).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn matcher_agrees_with_recursion(pattern in "[ab\u{e9}*?]{0,9}", value in "[ab\u{e9}]{0,12}") {
        let value_chars: Vec<char> = value.chars().collect();
        prop_assert_eq!(string_like(&pattern, &value), like(&tokens(&pattern), &value_chars));
    }

    /// Segments longer than one machine word, found behind noise that nearly matches.
    #[test]
    fn long_segments_agree_with_recursion(
        segment in "[ab?]{60,140}", before in "[ab]{0,80}", after in "[ab]{0,5}", flip in any::<prop::sample::Index>(),
        broken in any::<bool>(),
    ) {
        let mut middle: Vec<char> = segment.chars().map(|c| if c == '?' { 'b' } else { c }).collect();
        let at = flip.index(middle.len());
        if broken {
            middle[at] = if middle[at] == 'a' { 'b' } else { 'a' };
        }
        let value = format!("{before}{}{after}", middle.iter().collect::<String>());
        let pattern = format!("*{segment}*");
        let chars: Vec<char> = value.chars().collect();
        prop_assert_eq!(string_like(&pattern, &value), contains(&tokens(&segment), &chars));
    }

    #[test]
    fn literal_text_matches_itself_only(text in "[^*?]{0,40}", other in "[^*?]{0,40}") {
        prop_assert!(string_like(&text, &text));
        prop_assert_eq!(string_like(&text, &other), text == other);
    }

    /// No pattern makes the matcher back up: characters read, times the words of the longest segment, bound the work.
    #[test]
    fn steps_are_bounded(pattern in "([ab?]{0,90}[*]{0,2}){0,6}", value in "[ab]{0,400}") {
        let mut steps = 0;
        let _ = Pattern::wildcards(&pattern).matches_counted(&value, &mut steps);
        let words = pattern.split('*').map(str::len).max().unwrap_or(0).div_ceil(64).max(1);
        prop_assert!(steps <= (value.len() + 1) * words + 2 * pattern.len(), "{} steps", steps);
    }
}

fn contains(segment: &[Tok], value: &[char]) -> bool {
    value.windows(segment.len()).any(|window| like(segment, window))
}
