//! Percent-encoding and `key=value` lists: queries, forms, path labels.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What stays as it is in a label of a resource path: unreserved characters and sub-delimiters. Everything else,
/// the `/` and `:` of an ARN above all, is encoded, as AWS's policy examples for tags have it.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'!')
    .remove(b'\'')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'@')
    .remove(b'&')
    .remove(b'+');

/// Decodes one path label; `None` if it is not UTF-8.
pub(crate) fn decode_label(raw: &str) -> Option<Cow<'_, str>> {
    percent_decode(raw.as_bytes()).decode_utf8().ok()
}

/// Encodes a label so that one value has one spelling.
pub(crate) fn encode_label(value: &str) -> String {
    utf8_percent_encode(value, LABEL).to_string()
}

/// Decodes one part of a query or form, where `+` is a space; `None` if it is not UTF-8.
pub(crate) fn decode_part(raw: &[u8]) -> Option<Cow<'_, str>> {
    if raw.contains(&b'+') {
        let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return Some(Cow::Owned(percent_decode(&spaced).decode_utf8().ok()?.into_owned()));
    }
    percent_decode(raw).decode_utf8().ok()
}

/// The undecoded pairs of a query or form. A part without `=` is a key with an empty value; empty parts are skipped.
pub(crate) fn raw_pairs(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    raw.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).map(|part| {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    })
}

/// The decoded pairs that are UTF-8; for choosing a route, where a pair that is not can be nothing known.
pub(crate) fn pairs(raw: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(raw).filter_map(|(key, value)| Some((decode_part(key)?, decode_part(value)?)))
}

/// The first value of a key.
pub(crate) fn first<'a>(raw: &'a [u8], key: &str) -> Option<Cow<'a, str>> {
    pairs(raw).find(|(found, _)| found == key).map(|(_, value)| value)
}
