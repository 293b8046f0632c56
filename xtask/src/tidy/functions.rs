//! How long functions are.

use super::rust::is_word;

/// The functions with a body, as (name, lines from `fn` to the closing brace); `code` is without comments and literals.
pub fn lengths(code: &str) -> Vec<(String, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && is_word(bytes[at - 1]) {
            continue;
        }
        let name: String =
            code[at + 3..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // Without a name it is the type of a function pointer.
        if !name.is_empty()
            && let Some(end) = body_end(bytes, at)
        {
            found.push((name, bytes[at..end].iter().filter(|byte| **byte == b'\n').count() + 1));
        }
    }
    found
}

/// The end of the body of the function declared at `at`; `None` where it has none.
fn body_end(bytes: &[u8], at: usize) -> Option<usize> {
    // Brackets of the signature may hold `;` (array types) and braces (constants).
    let (mut brackets, mut braces) = (0i32, 0i32);
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_measured_and_declarations_are_not() {
        let code = "trait T { fn no(&self) -> [u8; 4]; }\nfn one() -> [u8; 2] { [0; 2] }\nfn three() {\n  if x { y }\n}\n\
                    type F = fn (u8);\nconst fn outer() {\n  fn inner() {\n  }\n}";
        let expected = [("one", 1), ("three", 3), ("outer", 4), ("inner", 2)];
        let found = lengths(code);
        assert_eq!(found.iter().map(|(name, lines)| (name.as_str(), *lines)).collect::<Vec<_>>(), expected);
    }
}
