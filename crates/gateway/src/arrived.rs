//! `Arrived`: one request as the listener hands it over, and the limits it must keep before anything looks at it.

use std::{net::IpAddr, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, combinators::BoxBody};

use crate::{
    Options,
    reject::{Rejection, ResponseType},
    slots::PackedId,
    texts,
};

/// What may go wrong while a body is read; only the fact matters here.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// One request to an API, before anything was decided about it.
pub struct Arrived {
    /// Which API, and where in the path its stage begins; from [`crate::Gateway::target`].
    pub target: Target,
    /// The request's verb.
    pub method: http::Method,
    /// The path as received, percent-encoding and double slashes kept, without the query.
    pub raw_path: String,
    /// What follows the first `?`, as received.
    pub raw_query: Option<String>,
    /// All header fields, `Host` included, spelled and ordered as the client sent them.
    pub headers: Headers,
    /// Address of the caller.
    pub client: IpAddr,
    /// Port the client connected to.
    pub port: u16,
    /// Whether the client used TLS.
    pub secure: bool,
    /// The body; read only when an integration needs it.
    pub body: Body,
}

/// A request body that may not have been received yet.
#[derive(Default)]
pub enum Body {
    /// None was announced.
    #[default]
    Empty,
    /// Already here.
    Full(Bytes),
    /// Still to be read.
    Stream(BoxBody<Bytes, BodyError>),
}

/// Header fields in order of arrival, names as the client spelled them.
///
/// All text lies in one buffer, so that a request costs two allocations here and not two per field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// End of the name and end of the value of each field; a name begins where the value before it ended.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// No fields, with room for so many fields and bytes.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(fields) }
    }

    /// Appends a field. Values that are not UTF-8 are taken as ISO-8859-1.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.text.push_str(name);
        let name_end = self.text.len();
        match std::str::from_utf8(value) {
            Ok(value) => self.text.push_str(value),
            Err(_) => self.text.extend(value.iter().copied().map(char::from)),
        }
        self.ends.push((name_end, self.text.len()));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let field = (&self.text[start..name_end], &self.text[name_end..value_end]);
            start = value_end;
            field
        })
    }

    /// Values of one field in order of arrival; the name compares without case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value sent last under that name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&str> {
        self.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).last()
    }

    /// Bytes of all values together.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.iter().map(|(_, value)| value.len()).sum()
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Where a request is addressed to: the API, and which form of address named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// `None` when what stands in the API's place can be no id; such a request is answered like any unknown API.
    pub(crate) api: Option<PackedId>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `{api}.execute-api.…`: the path begins with the stage.
    Host,
    /// `/_aws/execute-api/{api}/{stage}/…`
    Aws,
    /// `/restapis/{api}/{stage}/_user_request_/…`
    UserRequest,
}

const AWS_PREFIX: &str = "/_aws/execute-api/";
const RESTAPIS_PREFIX: &str = "/restapis/";
const USER_REQUEST: &str = "_user_request_";

impl Target {
    /// See [`crate::Gateway::target`].
    pub(crate) fn find(host: &str, raw_path: &str) -> Option<Self> {
        let mut labels = without_port(host).split('.');
        let (first, second, third) = (labels.next()?, labels.next(), labels.next());
        if second.is_some_and(|label| label.eq_ignore_ascii_case("execute-api")) && third.is_some_and(|l| !l.is_empty())
        {
            return Some(Self { api: PackedId::parse(first), form: Form::Host });
        }
        if let Some(rest) = raw_path.strip_prefix(AWS_PREFIX) {
            let api = rest.split('/').next().unwrap_or(rest);
            return Some(Self { api: PackedId::parse(api), form: Form::Aws });
        }
        let mut segments = raw_path.strip_prefix(RESTAPIS_PREFIX)?.split('/');
        let api = segments.next()?;
        (segments.nth(1)? == USER_REQUEST).then(|| Self { api: PackedId::parse(api), form: Form::UserRequest })
    }

    /// The stage's name and the path below it as received (empty or beginning with a slash).
    pub(crate) fn split<'a>(&self, raw_path: &'a str) -> Option<(&'a str, &'a str)> {
        match self.form {
            Form::Host => split_first(raw_path.trim_start_matches('/')),
            Form::Aws => {
                let (_, below) = split_first(raw_path.strip_prefix(AWS_PREFIX)?)?;
                split_first(below.trim_start_matches('/'))
            }
            Form::UserRequest => {
                let (_, below) = split_first(raw_path.strip_prefix(RESTAPIS_PREFIX)?)?;
                let (stage, below) = split_first(below.strip_prefix('/')?)?;
                let (marker, below) = split_first(below.strip_prefix('/')?)?;
                (marker == USER_REQUEST).then_some((stage, below))
            }
        }
    }

    /// Whether the API was named by the host, so that the host is its domain name.
    pub(crate) fn by_host(&self) -> bool {
        self.form == Form::Host
    }
}

/// A first segment that is not empty, and what follows it from its slash on.
fn split_first(path: &str) -> Option<(&str, &str)> {
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    (!first.is_empty()).then_some((first, rest))
}

/// A `Host` value without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses what exceeds the limits that hold for every request, before anything is looked up.
///
/// Source: API Gateway Developer Guide, "Amazon API Gateway quotas and important notes".
///
/// # Errors
/// 413 for an announced body over `body_bytes_max`, 414 for a target over `url_bytes_max`, 431 for header values
/// over `header_bytes_max`.
pub(crate) fn admit(arrived: &Arrived, options: &Options) -> Result<(), Rejection> {
    let url = arrived.raw_path.len() + arrived.raw_query.as_ref().map_or(0, |query| query.len() + 1);
    if url > options.url_bytes_max {
        return Err(Rejection::uri_too_long());
    }
    if arrived.headers.value_bytes() > options.header_bytes_max {
        return Err(Rejection::headers_too_large());
    }
    let announced = arrived.headers.last("Content-Length").and_then(|value| value.trim().parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > options.body_bytes_max as u64) {
        return Err(too_large(options));
    }
    Ok(())
}

fn too_large(options: &Options) -> Rejection {
    Rejection::of(ResponseType::RequestTooLarge).with_message(texts::content_too_long(options.body_bytes_max))
}

/// Reads a body to its end, within the size and time the options allow.
///
/// # Errors
/// 413 when it is larger than `body_bytes_max`, 400 when it breaks off or does not arrive in time.
pub(crate) async fn read(body: Body, options: &Options) -> Result<Bytes, Rejection> {
    let stream = match body {
        Body::Empty => return Ok(Bytes::new()),
        Body::Full(bytes) if bytes.len() > options.body_bytes_max => return Err(too_large(options)),
        Body::Full(bytes) => return Ok(bytes),
        Body::Stream(stream) => stream,
    };
    let deadline = Duration::from_millis(options.body_timeout_ms);
    match tokio::time::timeout(deadline, collect(stream, options)).await {
        Ok(read) => read,
        Err(_) => Err(Rejection::of(ResponseType::BadRequestBody).because(texts::BODY_LATE)),
    }
}

async fn collect(stream: BoxBody<Bytes, BodyError>, options: &Options) -> Result<Bytes, Rejection> {
    let mut stream = pin!(stream);
    let mut whole = BytesMut::new();
    while let Some(frame) = stream.frame().await {
        let frame = frame.map_err(|_| Rejection::of(ResponseType::BadRequestBody).because(texts::BODY_BROKEN))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > options.body_bytes_max {
            return Err(too_large(options));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::{Headers, Target};

    fn check(host: &str, path: &str, expected: Option<(&str, Option<(&str, &str)>)>) {
        let found = Target::find(host, path)
            .map(|target| (target.api.map(|api| api.to_string()).unwrap_or_default(), target.split(path)));
        let expected = expected.map(|(api, split)| (api.to_owned(), split));
        assert_eq!(found, expected, "{host} {path}");
    }

    #[test]
    fn every_form_of_address_names_api_stage_and_path() {
        let id = "a1b2c3d4e5";
        for host in [
            "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "A1B2C3D4E5.execute-api.localhost:4566",
            "a1b2c3d4e5.Execute-API.us-east-1.localhost.localstack.cloud:4566",
        ] {
            check(host, "/Dev/pets", Some((id, Some(("Dev", "/pets")))));
        }
        let host = "a1b2c3d4e5.execute-api.localhost";
        check(host, "//Dev//pets/", Some((id, Some(("Dev", "//pets/")))));
        check(host, "/Dev", Some((id, Some(("Dev", "")))));
        check(host, "/", Some((id, None)));
        check("localhost:4566", "/_aws/execute-api/a1b2c3d4e5/Dev/x", Some((id, Some(("Dev", "/x")))));
        check("localhost:4566", "/_aws/execute-api/a1b2c3d4e5", Some((id, None)));
        check("127.0.0.1:4566", "/restapis/A1b2c3d4e5/Dev/_user_request_/x/y", Some((id, Some(("Dev", "/x/y")))));
        check("127.0.0.1:4566", "/restapis/a1b2c3d4e5/Dev/_user_request_", Some((id, Some(("Dev", "")))));
    }

    #[test]
    fn other_addresses_are_not_ours_and_odd_ids_are_unknown_apis() {
        check("localhost", "/restapis/a1b2c3d4e5/resources", None);
        check("localhost", "/restapis", None);
        check("a1b2c3d4e5.execute-api", "/Dev", None);
        check("bucket.s3.localhost", "/Dev", None);
        check("no-such_id.execute-api.localhost", "/Dev", Some(("", Some(("Dev", "")))));
        check("", "", None);
    }

    #[test]
    fn headers_keep_spelling_and_order_and_give_the_last_value() {
        let mut headers = Headers::default();
        headers.push("Accept", b"a");
        headers.push("X-Odd", &[b'n', 0xE9]);
        headers.push("aCCEPT", b"b");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("Accept", "a"), ("X-Odd", "n\u{e9}"), ("aCCEPT", "b")]);
        assert_eq!(headers.last("accept"), Some("b"));
        assert_eq!(headers.last("none"), None);
    }
}
