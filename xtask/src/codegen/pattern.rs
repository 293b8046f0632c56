//! Java's regular expressions in the dialect of the `regex` crate.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

/// Binds an expression to the whole value, as AWS's validation does. Nothing stays nothing.
pub(super) fn whole(regex: &str) -> String {
    if regex.is_empty() { String::new() } else { format!(r"\A(?:{regex})\z") }
}

/// Translates what differs: Java's `\d`, `\w` and `\s` know ASCII only, its `\uXXXX` has four digits and writes the
/// planes above the first as surrogates. Look-around has no counterpart and is refused.
pub(super) fn translate(java: &str) -> Result<String> {
    let java = java.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\x{10000}-\x{10FFFF}");
    let mut out = String::new();
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().context("a lone backslash")? {
                'd' => out.push_str("[0-9]"),
                'D' => out.push_str("[^0-9]"),
                'w' => out.push_str("[0-9A-Za-z_]"),
                'W' => out.push_str("[^0-9A-Za-z_]"),
                's' => out.push_str(r"[ \t\n\x0B\f\r]"),
                'S' => out.push_str(r"[^ \t\n\x0B\f\r]"),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).context("four hexadecimal digits after \\u")?;
                    if char::from_u32(code).is_none() {
                        bail!("a surrogate outside the range of all of them");
                    }
                    let _ = write!(out, r"\x{{{digits}}}");
                }
                other => {
                    out.push('\\');
                    out.push(other);
                }
            },
            '(' if chars.peek() == Some(&'?') => {
                let rest: String = chars.clone().take(3).collect();
                if ["?=", "?!", "?<=", "?<!"].iter().any(|look| rest.starts_with(look)) {
                    bail!("look-around: write it by hand in corrections.toml");
                }
                out.push('(');
            }
            other => out.push(other),
        }
    }
    Ok(out)
}
