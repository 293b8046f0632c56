//! The canonical request, from the target and headers as received.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::RequestHead;
use super::key::sha256;

/// Everything but RFC 3986's unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same for a whole path.
const STRICT_PATH: &AsciiSet = &STRICT.remove(b'/');

/// The digest of the canonical request in lower-case hexadecimal digits, or `None` if a signed header is absent.
pub(super) fn digest(
    head: &RequestHead<'_>,
    signed_headers: &str,
    payload_hash: &str,
    path_as_sent: bool,
) -> Option<String> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(head.method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path(head.raw_path, path_as_sent).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query(head.raw_query).as_bytes());
    text.push(b'\n');
    for name in signed_headers.split(';') {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        push_values(&mut text, head, name)?;
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload_hash.as_bytes());
    Some(hex::encode(sha256(&text)))
}

/// Joins a header's values with commas, each without its outer blanks and with inner runs of spaces made one.
fn push_values(text: &mut Vec<u8>, head: &RequestHead<'_>, name: &str) -> Option<()> {
    let mut found = false;
    for value in head.values(name) {
        if found {
            text.push(b',');
        }
        found = true;
        let mut after_space = false;
        for &byte in trim(value) {
            if byte != b' ' || !after_space {
                text.push(byte);
            }
            after_space = byte == b' ';
        }
    }
    found.then_some(())
}

/// Strips blanks as HTTP knows them (space and tab) from both ends.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// S3 signs the path as sent; every other service normalises it and encodes the encoded path once more.
pub(super) fn path(raw: &str, as_sent: bool) -> Cow<'_, str> {
    if raw.is_empty() {
        return Cow::Borrowed("/");
    }
    if as_sent {
        return Cow::Borrowed(raw);
    }
    percent_encode(normalise(raw).as_bytes(), STRICT_PATH).to_string().into()
}

/// Removes `.`, `..` and empty segments. A closing slash stays, but one standing for a closing dot segment does not
/// appear: `/a/.` becomes `/a`, as botocore and the SDK for JavaScript have it.
fn normalise(raw: &str) -> Cow<'_, str> {
    if raw.starts_with('/') && !raw.contains("//") && !raw.contains("/.") {
        return Cow::Borrowed(raw);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut path = String::with_capacity(raw.len() + 1);
    for segment in &segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() || raw.ends_with('/') {
        path.push('/');
    }
    Cow::Owned(path)
}

/// Pairs of a raw query, empty pieces left out; a name without `=` has the empty value.
pub(super) fn pairs(raw: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    raw.unwrap_or_default()
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// Decodes one name or value of a query. A plus sign is a space: the protocols read it so, and a signature must cover
/// what is read.
pub(super) fn decode(raw: &str) -> Cow<'_, [u8]> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(raw.as_bytes()).into()
}

/// Encodes one name or value strictly: upper-case digits, `%20` for a space.
pub(super) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, STRICT).to_string()
}

fn query(raw: Option<&str>) -> String {
    let mut sorted: Vec<(String, String)> = pairs(raw)
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    sorted.sort_unstable();
    let mut text = String::with_capacity(raw.map_or(0, str::len) + 16);
    for (name, value) in &sorted {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// The string to sign for a canonical request's digest.
pub(super) fn string_to_sign(date: &str, scope: &str, canonical_digest: &str) -> String {
    format!("{}\n{date}\n{scope}\n{canonical_digest}", super::ALGORITHM)
}
