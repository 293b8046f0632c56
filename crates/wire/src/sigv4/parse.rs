//! Reading a signature out of a request: presence and syntax, nothing else.

use std::borrow::Cow;

use super::canonical::{decode, pairs, trim};
use super::failure::{Failure, Malformed, Unsupported};
use super::time::AmzDate;
use super::{ALGORITHM, MAX_PRESIGNED_S, RequestHead, Signed, TERMINATOR};

/// Bounds, above everything a client sends and below everything that costs.
const MAX_HEADERS: usize = 256;
const MAX_QUERY_PAIRS: usize = 2048;
const MAX_TARGET: usize = 64 * 1024;
const MAX_AUTHORIZATION: usize = 8 * 1024;
const MAX_SIGNED_HEADERS: usize = 128;
const MAX_TOKEN: usize = 16 * 1024;

/// Finds the signature of a request, in its `Authorization` header or in its query.
///
/// Gives `None` when nothing is signed at all, which S3 may serve and the others answer with [`Failure::Missing`].
/// Never reads the body.
///
/// # Errors
/// [`Failure::Incomplete`] for what does not parse, [`Failure::Unsupported`] for Signature Version 2, the asymmetric
/// Version 4A, two signatures at once, and heads beyond the bounds of this file.
pub fn parse<'a>(head: &RequestHead<'a>) -> Result<Option<Signed<'a>>, Failure> {
    let oversized = head.headers.len() > MAX_HEADERS
        || head.raw_path.len().saturating_add(head.raw_query.map_or(0, str::len)) > MAX_TARGET
        || pairs(head.raw_query).nth(MAX_QUERY_PAIRS).is_some();
    if oversized {
        return Err(Failure::Unsupported(Unsupported::TooLarge));
    }
    let query = Query::read(head)?;
    let mut authorizations = head.values("authorization");
    let authorization = authorizations.next();
    if authorizations.next().is_some() || (authorization.is_some() && query.is_some()) {
        return Err(Failure::Unsupported(Unsupported::TwoSignatures));
    }
    match (authorization, query) {
        (Some(sent), _) => from_header(head, sent).map(Some),
        (None, Some(query)) => from_query(head, query).map(Some),
        (None, None) => Ok(None),
    }
}

fn from_header<'a>(head: &RequestHead<'a>, sent: &'a [u8]) -> Result<Signed<'a>, Failure> {
    if sent.len() > MAX_AUTHORIZATION {
        return Err(Failure::Unsupported(Unsupported::TooLarge));
    }
    let Ok(sent) = std::str::from_utf8(trim(sent)) else {
        return Err(Malformed::header("Authorization header is not valid UTF-8.").into());
    };
    let (algorithm, rest) = sent.split_once(' ').unwrap_or(("", sent));
    match algorithm {
        "AWS4-ECDSA-P256-SHA256" => return Err(Failure::Unsupported(Unsupported::Asymmetric)),
        "AWS" => return Err(Failure::Unsupported(Unsupported::VersionTwo)),
        _ => {}
    }
    let parts = Parts::read(sent, rest)?;
    let date = request_date(head)?;
    let (Some(credential), Some(signature), Some(signed_headers), Some(date)) =
        (parts.credential, parts.signature, parts.signed_headers, date)
    else {
        return Err(Malformed::missing(sent, parts, date.is_some()).into());
    };
    if algorithm != ALGORITHM {
        return Err(Malformed::scheme(sent).into());
    }
    let [access_key_id, day, region, service] =
        credential_parts(Cow::Borrowed(credential)).ok_or_else(|| Malformed::credential(credential, false))?;
    check_signed_headers(signed_headers)?;
    Ok(Signed {
        access_key_id,
        date: day,
        region,
        service,
        signed_headers: Cow::Borrowed(signed_headers),
        signature: Cow::Borrowed(signature),
        session_token: header_token(head)?.map(Cow::Borrowed),
        at: parse_date(date)?,
        expires_s: None,
    })
}

/// The three parameters of an `Authorization` header.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'a> {
    pub credential: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub signed_headers: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(sent: &str, parameters: &'a str) -> Result<Self, Failure> {
        let mut parts = Self::default();
        for token in parameters.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            let Some((name, value)) = token.split_once('=') else {
                return Err(Malformed::not_a_pair(token, sent).into());
            };
            let slot = match name {
                "Credential" => &mut parts.credential,
                "Signature" => &mut parts.signature,
                "SignedHeaders" => &mut parts.signed_headers,
                _ => continue,
            };
            // Two values for one parameter leave open which of them was signed for.
            if slot.replace(value).is_some() {
                return Err(Malformed::repeated(name).into());
            }
        }
        Ok(parts)
    }
}

/// The sent date: `X-Amz-Date`, else `Date`. The flag tells which.
fn request_date<'a>(head: &RequestHead<'a>) -> Result<Option<(&'a [u8], bool)>, Failure> {
    for (name, amz) in [("x-amz-date", true), ("date", false)] {
        let mut values = head.values(name);
        if let Some(value) = values.next() {
            if values.next().is_some() {
                return Err(Malformed::repeated(name).into());
            }
            return Ok(Some((value, amz)));
        }
    }
    Ok(None)
}

fn parse_date((value, amz): (&[u8], bool)) -> Result<AmzDate, Failure> {
    let text = std::str::from_utf8(trim(value)).ok().filter(|text| text.len() <= 64);
    let date = text.and_then(|text| if amz { AmzDate::basic(text) } else { AmzDate::date_header(text) });
    date.ok_or_else(|| Malformed::date(&String::from_utf8_lossy(value), false).into())
}

/// The token of `X-Amz-Security-Token`, at most one and of bounded length.
fn header_token<'a>(head: &RequestHead<'a>) -> Result<Option<&'a str>, Failure> {
    let mut values = head.values("x-amz-security-token");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed::repeated("X-Amz-Security-Token").into());
    }
    if value.len() > MAX_TOKEN {
        return Err(Failure::Unsupported(Unsupported::TooLarge));
    }
    match std::str::from_utf8(trim(value)) {
        Ok(token) => Ok(Some(token)),
        Err(_) => Err(Malformed::header("X-Amz-Security-Token header is not valid UTF-8.").into()),
    }
}

/// Splits `AKID/date/region/service/aws4_request` from the right: an id may contain slashes, the rest may not.
fn credential_parts(credential: Cow<'_, str>) -> Option<[Cow<'_, str>; 4]> {
    fn split(text: &str) -> Option<[&str; 4]> {
        let mut parts = text.rsplitn(5, '/');
        let (terminator, service, region, date, id) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sound = terminator == TERMINATOR
            && date.len() == 8
            && date.bytes().all(|b| b.is_ascii_digit())
            && !id.is_empty()
            && id.len() <= 128
            && id.bytes().all(|b| b.is_ascii_graphic())
            && service.len() <= 64
            && region.len() <= 64;
        sound.then_some([id, date, region, service])
    }
    match credential {
        Cow::Borrowed(text) => split(text).map(|parts| parts.map(Cow::Borrowed)),
        Cow::Owned(text) => split(&text).map(|parts| parts.map(|part| Cow::Owned(part.to_owned()))),
    }
}

fn check_signed_headers(list: &str) -> Result<(), Failure> {
    if list.split(';').nth(MAX_SIGNED_HEADERS).is_some() {
        return Err(Failure::Unsupported(Unsupported::TooLarge));
    }
    Ok(())
}

/// The parameters of a presigned request, decoded.
#[derive(Default)]
struct Query<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// `None` when the query claims no signature.
    fn read(head: &RequestHead<'a>) -> Result<Option<Self>, Failure> {
        let mut query = Self::default();
        let mut version_two = 0;
        for (name, value) in pairs(head.raw_query) {
            let name = decode(name);
            let slot = match name.as_ref() {
                b"X-Amz-Algorithm" => &mut query.algorithm,
                b"X-Amz-Credential" => &mut query.credential,
                b"X-Amz-Date" => &mut query.date,
                b"X-Amz-Expires" => &mut query.expires,
                b"X-Amz-SignedHeaders" => &mut query.signed_headers,
                b"X-Amz-Signature" => &mut query.signature,
                b"X-Amz-Security-Token" => &mut query.token,
                b"AWSAccessKeyId" | b"Signature" => {
                    version_two += 1;
                    continue;
                }
                _ => continue,
            };
            let name = String::from_utf8_lossy(&name);
            let Some(value) = utf8(decode(value)) else {
                return Err(Malformed::query(format!("Query-string parameter '{name}' is not valid UTF-8.")).into());
            };
            if value.len() > MAX_TOKEN {
                return Err(Failure::Unsupported(Unsupported::TooLarge));
            }
            if slot.replace(value).is_some() {
                return Err(Malformed::query(format!("Query-string parameter '{name}' must not be repeated.")).into());
            }
        }
        if version_two >= 2 {
            return Err(Failure::Unsupported(Unsupported::VersionTwo));
        }
        let claimed = query.algorithm.is_some() || query.credential.is_some() || query.signature.is_some();
        Ok(claimed.then_some(query))
    }
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

fn from_query<'a>(head: &RequestHead<'a>, query: Query<'a>) -> Result<Signed<'a>, Failure> {
    match query.algorithm.as_deref() {
        None | Some(ALGORITHM) => {}
        Some("AWS4-ECDSA-P256-SHA256") => return Err(Failure::Unsupported(Unsupported::Asymmetric)),
        Some(_) => return Err(Malformed::algorithm().into()),
    }
    let present = [
        ("X-Amz-Algorithm", query.algorithm.is_some()),
        ("X-Amz-Credential", query.credential.is_some()),
        ("X-Amz-Signature", query.signature.is_some()),
        ("X-Amz-SignedHeaders", query.signed_headers.is_some()),
        ("X-Amz-Date", query.date.is_some()),
        ("X-Amz-Expires", query.expires.is_some()),
    ];
    let (Some(_), Some(credential), Some(date), Some(expires), Some(signed_headers), Some(signature)) =
        (query.algorithm, query.credential, query.date, query.expires, query.signed_headers, query.signature)
    else {
        return Err(Malformed::missing_in_query(&present).into());
    };
    let expires_s = expires_seconds(&expires)?;
    let at = AmzDate::basic(&date).ok_or_else(|| Malformed::date(&date, true))?;
    let Some([access_key_id, day, region, service]) = credential_parts(credential.clone()) else {
        return Err(Malformed::credential(&credential, true).into());
    };
    check_signed_headers(&signed_headers)?;
    Ok(Signed {
        access_key_id,
        date: day,
        region,
        service,
        signed_headers,
        signature,
        session_token: match query.token {
            Some(token) => Some(token),
            None => header_token(head)?.map(Cow::Borrowed),
        },
        at,
        expires_s: Some(expires_s),
    })
}

fn expires_seconds(text: &str) -> Result<u32, Failure> {
    if text.starts_with('-') {
        return Err(Malformed::query("X-Amz-Expires must be non-negative").into());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed::query("X-Amz-Expires should be a number").into());
    }
    match text.parse::<u32>() {
        Ok(0) => Err(Malformed::query("X-Amz-Expires must be at least one second").into()),
        Ok(seconds) if seconds <= MAX_PRESIGNED_S => Ok(seconds),
        _ => Err(Malformed::query("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds").into()),
    }
}
