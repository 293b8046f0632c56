//! Regular expressions of clients: selection patterns and token expressions.

use regex::{Regex, RegexBuilder};
use service::Result;

use crate::error::bad_request;

/// Memory of one compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles an expression so that it matches whole values only, within bounded memory and, whatever the value, in time
/// linear in its length.
///
/// AWS uses Java's dialect. What it has beyond this one (look-around, back references, possessive quantifiers) does not
/// compile here.
///
/// # Errors
/// The compiler's reason.
pub fn compile(pattern: &str) -> std::result::Result<Regex, regex::Error> {
    // On its own first: `a)|(b` would compile inside the group, and then match more than whole values.
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build()?;
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(COMPILED_BYTES_MAX).build()
}

pub(crate) fn check(member: &str, pattern: &str) -> Result<()> {
    compile(pattern).map(drop).map_err(|_| {
        bad_request(format!(
            "Invalid {member} specified: it is no regular expression, or one that this version of Portcullis does not support \
             (look-around, back references, possessive quantifiers)."
        ))
    })
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(value), matches, "{pattern} {value}");
        }
    }

    #[test]
    fn what_is_not_understood_does_not_compile() {
        for pattern in ["(", "a)|(b", "(?=x)y", "(a)\\1", "a{1000}{1000}{1000}", "[z-a]"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
