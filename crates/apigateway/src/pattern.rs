//! Regular expressions of clients: selection patterns and token expressions.

use regex::{Regex, RegexBuilder};
use service::Result;

use crate::error::bad_request;

/// Memory of one compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles an expression so that it matches whole values only, within bounded memory and, whatever the value, in time
/// linear in its length.
///
/// AWS uses Java's dialect: digits, words and blanks are those of ASCII. What Java has beyond this (look-around, back
/// references, possessive quantifiers, quoting with `\Q`) does not compile here.
///
/// # Errors
/// The compiler's reason.
pub fn compile(pattern: &str) -> std::result::Result<Regex, regex::Error> {
    let pattern = ascii_classes(pattern);
    let build = |pattern: &str| RegexBuilder::new(pattern).crlf(true).size_limit(COMPILED_BYTES_MAX).build();
    // On its own first: `a)|(b` would compile inside the group, and then match more than whole values.
    build(&pattern)?;
    build(&format!("^(?:{pattern})$"))
}

/// Spells `\d`, `\w`, `\s`, their opposites and `\b` as the ASCII ones, which is what they are in Java. Otherwise a
/// digit of any script would pass for one that the expression's author had in mind.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut depth = 0usize;
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            match c {
                '[' => depth = depth.saturating_add(1),
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            out.push(c);
            continue;
        }
        let class = match characters.next() {
            Some('d') => "[:digit:]",
            Some('D') => "[:^digit:]",
            Some('w') => "[:word:]",
            Some('W') => "[:^word:]",
            Some('s') => "[:space:]",
            Some('S') => "[:^space:]",
            Some('b') if depth == 0 => {
                out.push_str("(?-u:\\b)");
                continue;
            }
            other => {
                out.push('\\');
                out.extend(other);
                continue;
            }
        };
        if depth == 0 {
            out.push('[');
            out.push_str(class);
            out.push(']');
        } else {
            out.push_str(class);
        }
    }
    out
}

pub(crate) fn check(member: &str, pattern: &str) -> Result<()> {
    compile(pattern).map(drop).map_err(|_| {
        bad_request(format!(
            "Invalid {member} specified: it is no regular expression, or one that this version of Portcullis does not \
             support (look-around, back references, possessive quantifiers)."
        ))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::compile;

    #[test]
    fn expressions_match_whole_values() {
        for (pattern, value, matches) in [
            ("^x-[a-z]+$", "x-abc", true),
            ("^x-[a-z]+$", "y-x-abc", false),
            ("a|ab", "ab", true),
            ("a|b", "xb", false),
            ("200", "2001", false),
            ("2\\d\\d", "204", true),
            ("^Bearer [-0-9a-zA-Z\\._]*$", "Bearer a.b-c", true),
            ("(?s).*", "a\nb", true),
            (".*", "a\nb", false),
            (".*", "a\rb", false),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(value), matches, "{pattern} {value}");
        }
    }

    #[test]
    fn classes_are_those_of_ascii_as_in_java() {
        for (pattern, value, matches) in [
            ("\\d+", "12", true),
            ("\\d", "\u{0663}", false),
            ("[\\d]", "\u{0663}", false),
            ("\\D", "\u{0663}", true),
            ("[^\\d]", "\u{0663}", true),
            ("\\w+", "a_1", true),
            ("\\w", "é", false),
            ("[\\w-]+", "a-b", true),
            ("[\\W]", "é", true),
            ("a\\sb", "a b", true),
            ("a\\sb", "a\u{a0}b", false),
            ("a\\b b", "a b", true),
            ("\\\\d", "\\d", true),
            ("[[a-c]&&\\w]", "b", true),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(value), matches, "{pattern} {value}");
        }
    }

    #[test]
    fn what_is_not_understood_does_not_compile() {
        for pattern in ["(", "a)|(b", "(?=x)y", "(a)\\1", "a{1000}{1000}{1000}", "[z-a]", "\\Qa\\E", "\\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(pattern in "[\\\\dwsb\\[\\]()^$*+?{}|.,a&-]{0,24}") {
            if let Ok(regex) = compile(&pattern) {
                // A match is always of the whole value.
                let value = "ad w\\[s";
                prop_assert!(regex.find(value).is_none_or(|found| found.as_str() == value));
            }
        }
    }
}
