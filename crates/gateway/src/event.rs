//! Events for functions, written straight into a buffer: no tree of values is built.
//!
//! Sources: API Gateway Developer Guide, "Input to an Amazon API Gateway Lambda authorizer", "Set up Lambda proxy
//! integrations in API Gateway"; events recorded on AWS.

use std::borrow::Cow;

use hashbrown::HashMap;
use percent_encoding::percent_decode_str;

use crate::{
    arrived::Headers,
    authorize::{Granted, IamCaller},
    context::{Scope, domain_prefix},
    envelope::Envelope,
    route::Matched,
};

/// How a map without members is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// `{}`, in events of authorizers.
    Object,
    /// `null`, in events of integrations.
    Null,
}

/// Writes JSON objects member by member.
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn open(&mut self) {
        self.out.push(b'{');
    }

    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Begins a member; a comma goes before it unless it is the first of its object.
    pub(crate) fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.string(name);
        self.out.push(b':');
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    /// A string or null.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut clean = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.out.extend_from_slice(&text.as_bytes()[clean..at]);
            clean = at + 1;
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                _ => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
        self.out.extend_from_slice(&text.as_bytes()[clean..]);
        self.out.push(b'"');
    }

    /// A flat map of strings; later members of the same name must have been sorted out before.
    fn map<'a>(&mut self, name: &str, members: impl Iterator<Item = (&'a str, &'a str)>, empty: Empty) {
        let mut members = members.peekable();
        if members.peek().is_none() {
            return self.raw(name, empty.json());
        }
        self.name(name);
        self.open();
        for (name, value) in members {
            self.text(name, value);
        }
        self.close();
    }

    /// The single-value and the multi-value form of a map, the first with the last values.
    fn maps(&mut self, single: &str, multi: &str, groups: &[Group<'_>], empty: Empty) {
        self.map(single, groups.iter().map(|group| (group.name.as_ref(), group.last())), empty);
        if groups.is_empty() {
            return self.raw(multi, empty.json());
        }
        self.name(multi);
        self.open();
        for group in groups {
            self.name(&group.name);
            for (place, value) in group.values.iter().enumerate() {
                self.out.push(if place == 0 { b'[' } else { b',' });
                self.string(value);
            }
            self.out.push(b']');
        }
        self.close();
    }
}

impl Empty {
    fn json(self) -> &'static str {
        match self {
            Self::Object => "{}",
            Self::Null => "null",
        }
    }
}

/// Values of one name, in order of arrival.
struct Group<'a> {
    name: Cow<'a, str>,
    values: Vec<Cow<'a, str>>,
}

impl Group<'_> {
    fn last(&self) -> &str {
        self.values.last().map(Cow::as_ref).unwrap_or_default()
    }
}

/// Groups pairs by name, names in order of their first coming and spelled as they came last. `fold` says under which
/// key two spellings are one name.
fn group<'a>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    fold: impl Fn(&str) -> String,
) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut places = HashMap::<String, usize, foldhash::fast::RandomState>::default();
    for (name, value) in pairs {
        let place = *places.entry(fold(&name)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.name = name;
                group.values.push(value);
            }
            None => groups.push(Group { name, values: vec![value] }),
        }
    }
    groups
}

/// The pairs of a query string, decoded; what is not UTF-8 after decoding is replaced.
pub(crate) fn query(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8_lossy();
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// `resource` to `stageVariables`: the members authorizers and integrations have in common.
pub(crate) fn request_members(out: &mut Writer, matched: &Matched, envelope: &Envelope, empty: Empty) {
    let arrived = matched.arrived();
    out.text("resource", &matched.method().resource_path);
    out.text("path", matched.path());
    out.text("httpMethod", matched.verb());
    let headers = headers(matched, envelope, empty);
    out.maps("headers", "multiValueHeaders", &headers, empty);
    let pairs = group(query(arrived.raw_query.as_deref().unwrap_or_default()), str::to_owned);
    out.maps("queryStringParameters", "multiValueQueryStringParameters", &pairs, empty);
    out.map("pathParameters", matched.parameters(), empty);
    let variables = matched.program().variables().iter();
    out.map("stageVariables", variables.map(|(name, value)| (name.as_str(), value.as_str())), empty);
}

/// Fields that end at the gateway and are told to no function.
const HOP_BY_HOP: [&str; 12] = [
    "Connection",
    "Content-Length",
    "Content-MD5",
    "Expect",
    "Max-Forwards",
    "Proxy-Authenticate",
    "Server",
    "TE",
    "Transfer-Encoding",
    "Trailer",
    "Upgrade",
    "WWW-Authenticate",
];

/// Fields the gateway writes itself.
const OWN: [&str; 4] = ["X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Amzn-Trace-Id"];

/// Fields of the edge, which a client cannot set on an edge-optimized API.
const EDGE: [&str; 10] = [
    "Via",
    "X-Amz-Cf-Id",
    "CloudFront-Forwarded-Proto",
    "CloudFront-Is-Desktop-Viewer",
    "CloudFront-Is-Mobile-Viewer",
    "CloudFront-Is-SmartTV-Viewer",
    "CloudFront-Is-Tablet-Viewer",
    "CloudFront-Viewer-Country",
    "CloudFront-Viewer-ASN",
    "CloudFront-Viewer-Address",
];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// The fields as functions see them: the client's in its spelling, then those of edge and gateway.
fn headers<'a>(matched: &'a Matched, envelope: &Envelope, empty: Empty) -> Vec<Group<'a>> {
    let (arrived, edge) = (matched.arrived(), matched.program().edge());
    let sent = arrived
        .headers
        .iter()
        .filter(|(name, _)| !(is_one_of(name, &HOP_BY_HOP) || is_one_of(name, &OWN) || edge && is_one_of(name, &EDGE)));
    let sent = sent.map(|(name, value)| (Cow::Borrowed(spelling(name, empty)), Cow::Borrowed(value)));
    let mut added: Vec<(&'static str, String)> = Vec::new();
    let proto = if arrived.secure { "https" } else { "http" };
    if edge {
        added.extend([
            ("Via", format!("1.1 {}.cloudfront.net (CloudFront)", matched.program().api_id())),
            ("X-Amz-Cf-Id", envelope.edge_id()),
            ("CloudFront-Forwarded-Proto", proto.to_owned()),
            ("CloudFront-Is-Desktop-Viewer", "true".to_owned()),
            ("CloudFront-Is-Mobile-Viewer", "false".to_owned()),
            ("CloudFront-Is-SmartTV-Viewer", "false".to_owned()),
            ("CloudFront-Is-Tablet-Viewer", "false".to_owned()),
            // Nobody here knows where an address is: the codes ISO 3166 and IANA set aside for that.
            ("CloudFront-Viewer-Country", "ZZ".to_owned()),
            ("CloudFront-Viewer-ASN", "0".to_owned()),
        ]);
    }
    added.push(("X-Amzn-Trace-Id", trace_id(&arrived.headers, envelope)));
    let mut forwarded: Vec<&str> = arrived.headers.all("X-Forwarded-For").filter(|value| !value.is_empty()).collect();
    let client = arrived.client.to_string();
    forwarded.push(&client);
    added.push(("X-Forwarded-For", forwarded.join(", ")));
    added.push(("X-Forwarded-Port", arrived.port.to_string()));
    added.push(("X-Forwarded-Proto", proto.to_owned()));
    let added = added.into_iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(value)));
    group(sent.chain(added), str::to_ascii_lowercase)
}

/// Integrations get these two in title case whatever the client wrote.
fn spelling(name: &str, empty: Empty) -> &str {
    if empty == Empty::Null {
        for own in ["Authorization", "User-Agent"] {
            if name.eq_ignore_ascii_case(own) {
                return own;
            }
        }
    }
    name
}

/// The client's trace header if it has a root, else a new one.
pub(crate) fn trace_id(headers: &Headers, envelope: &Envelope) -> String {
    match headers.last("X-Amzn-Trace-Id") {
        Some(value) if value.contains("Root=") => value.to_owned(),
        _ => envelope.trace_root(),
    }
}

/// `requestContext`, with the authorizer's part where there is one.
pub(crate) fn request_context(out: &mut Writer, scope: &Scope<'_>) {
    let Scope { matched, envelope, granted, caller, .. } = *scope;
    let (program, method) = (matched.program(), matched.method());
    out.name("requestContext");
    out.open();
    out.text("resourceId", &method.resource_id);
    if let Some(granted) = granted {
        authorizer(out, granted);
    }
    out.text("resourcePath", &method.resource_path);
    out.text("httpMethod", matched.verb());
    if let Some(name) = &method.operation_name {
        out.text("operationName", name);
    }
    out.text("extendedRequestId", envelope.extended_id());
    out.text("requestTime", &envelope.time_clf());
    out.text("path", &matched.stage_path());
    out.text("accountId", program.account());
    out.text("protocol", "HTTP/1.1");
    out.text("stage", program.stage());
    out.text("domainPrefix", domain_prefix(matched.domain()));
    out.raw("requestTimeEpoch", &envelope.time_ms.to_string());
    out.text("requestId", envelope.request_id());
    identity(out, matched, caller);
    out.text("domainName", matched.domain());
    out.text("deploymentId", program.deployment_id());
    out.text("apiId", program.api_id());
    out.close();
}

fn authorizer(out: &mut Writer, granted: &Granted) {
    out.name("authorizer");
    out.open();
    if let Some(principal) = granted.principal() {
        out.text("principalId", principal);
    }
    out.raw("integrationLatency", &granted.latency_ms().to_string());
    for (key, value) in granted.context() {
        // These two names are the gateway's; a function cannot pass for another principal by its context.
        if key != "principalId" && key != "integrationLatency" {
            out.text(key, value);
        }
    }
    out.close();
}

fn identity(out: &mut Writer, matched: &Matched, caller: Option<&IamCaller>) {
    let arrived = matched.arrived();
    out.name("identity");
    out.open();
    out.raw("cognitoIdentityPoolId", "null");
    out.optional("accountId", caller.map(|caller| caller.account.as_str()));
    out.raw("cognitoIdentityId", "null");
    if let Some(key) = arrived.headers.last("x-api-key").filter(|key| !key.is_empty()) {
        out.text("apiKey", key);
    }
    out.optional("caller", caller.map(|caller| caller.user_id.as_str()));
    out.text("sourceIp", &arrived.client.to_string());
    out.raw("principalOrgId", "null");
    out.optional("accessKey", caller.map(|caller| caller.access_key_id.as_str()));
    out.raw("cognitoAuthenticationType", "null");
    out.raw("cognitoAuthenticationProvider", "null");
    out.optional("userArn", caller.map(|caller| caller.arn.as_str()));
    out.optional("userAgent", arrived.headers.last("User-Agent"));
    out.optional("user", caller.map(|caller| caller.user_id.as_str()));
    out.close();
}

#[cfg(test)]
mod tests {
    use super::{Writer, group, query};

    #[test]
    fn strings_are_escaped_as_json_wants() {
        for text in ["", "a\"b\\c", "\u{0}\u{1f}\n\r\t", "h\u{e9}\u{1f600}", "\u{7f}\u{2028}"] {
            let mut out = Writer::with_capacity(16);
            out.open();
            out.text("k", text);
            out.close();
            let read: serde_json::Value = serde_json::from_slice(&out.finish()).unwrap();
            assert_eq!(read["k"], text);
        }
    }

    #[test]
    fn query_pairs_are_decoded_and_grouped() {
        let groups = group(query("a=1&b=%20x+y&a=2&&c&d=%ff&e=f=g"), str::to_owned);
        let read: Vec<(String, Vec<String>)> = groups
            .iter()
            .map(|group| (group.name.to_string(), group.values.iter().map(ToString::to_string).collect()))
            .collect();
        let owned = |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(ToString::to_string).collect());
        let expected = [
            owned("a", &["1", "2"]),
            owned("b", &[" x y"]),
            owned("c", &[""]),
            owned("d", &["\u{fffd}"]),
            owned("e", &["f=g"]),
        ];
        assert_eq!(read, expected);
        assert_eq!(groups[0].last(), "2");
    }
}
