//! Usual spellings of header names, for requests whose own spelling is not known.

use std::borrow::Cow;

/// Names that are not usually written with each word capitalised.
const USUAL: &[(&str, &str)] = &[
    ("dnt", "DNT"),
    ("etag", "ETag"),
    ("content-md5", "Content-MD5"),
    ("te", "TE"),
    ("www-authenticate", "WWW-Authenticate"),
    ("x-api-key", "x-api-key"),
    ("x-ua-compatible", "X-UA-Compatible"),
    ("x-xss-protection", "X-XSS-Protection"),
    ("sec-gpc", "Sec-GPC"),
];

/// Beginnings of names usually written in lower case throughout.
const LOWER_CASE: &[&str] = &["x-amz", "x-amzn", "sec-ch-ua"];

/// The usual spelling of a lower-case header name.
pub(super) fn usual(name: &str) -> Cow<'static, str> {
    if let Some((_, usual)) = USUAL.iter().find(|(lower, _)| *lower == name) {
        return Cow::Borrowed(usual);
    }
    if LOWER_CASE.iter().any(|start| name.starts_with(start)) {
        return Cow::Owned(name.to_owned());
    }
    let mut begins = true;
    let titled = name.chars().map(|c| {
        let spelled = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        spelled
    });
    Cow::Owned(titled.collect())
}

#[cfg(test)]
mod tests {
    use super::usual;

    #[test]
    fn names_get_their_usual_spelling() {
        for (name, expected) in [
            ("authorization", "Authorization"),
            ("x-api-key", "x-api-key"),
            ("content-type", "Content-Type"),
            ("x-amz-date", "x-amz-date"),
            ("etag", "ETag"),
            ("x--y", "X--Y"),
            ("", ""),
        ] {
            assert_eq!(usual(name), expected);
        }
    }
}
