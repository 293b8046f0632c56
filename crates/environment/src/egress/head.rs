//! What a function asks the proxy for: the head of its request, read and written anew. Pure.

use super::policy::plain_name;

/// Longest head.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most fields of a head.
const FIELDS_MAX: usize = 100;

/// Fields between two neighbours only. Source: RFC 9110, "Connection"; RFC 9112.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "keep-alive",
    "te",
    "upgrade",
    "host",
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// A name in lower case, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the other end gets first: nothing for a tunnel, the head for a forwarded request.
    pub(super) forward: Option<Vec<u8>>,
    /// Bytes of the head; what was read beyond it belongs to the other end.
    pub(super) length: usize,
}

/// A sentence for whoever asked.
pub(super) type Malformed = &'static str;

/// Reads a head. `None`: it is not all there yet.
///
/// # Errors
/// Why it cannot be served.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Asked>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("this is no HTTP request"),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err("this is no HTTP request");
    };
    if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        return Ok(Some(Asked { host, port, forward: None, length }));
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err("this is a proxy: it takes CONNECT and targets that begin with http://");
    };
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("targets other than http:// are reached with CONNECT");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (named, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (host, port) = authority(named, Some(80))?;
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    check_framing(request.headers)?;
    let mut forward = Vec::with_capacity(length);
    forward.extend_from_slice(format!("{method} {slash}{path} HTTP/1.{version}\r\nHost: {named}\r\n").as_bytes());
    let listed: Vec<&str> = request
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .filter_map(|field| std::str::from_utf8(field.value).ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    for field in request.headers.iter() {
        let is = |name: &&str| field.name.eq_ignore_ascii_case(name);
        // How the body is framed is said to the other end, whatever a field may call it.
        let frames = is(&"content-length") || is(&"transfer-encoding");
        if !frames && (HOP_BY_HOP.iter().any(is) || listed.iter().any(is)) {
            continue;
        }
        forward.extend_from_slice(field.name.as_bytes());
        forward.extend_from_slice(b": ");
        forward.extend_from_slice(field.value);
        forward.extend_from_slice(b"\r\n");
    }
    // One request a connection: whatever follows it cannot be meant for somebody else.
    forward.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(Some(Asked { host, port, forward: Some(forward), length }))
}

/// A body framed in two ways could be read as two requests.
fn check_framing(fields: &[httparse::Header<'_>]) -> Result<(), Malformed> {
    let count = |name: &str| fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    match (count("content-length"), count("transfer-encoding")) {
        (0 | 1, 0) | (0, 1) => Ok(()),
        _ => Err("a request says once how its body ends"),
    }
}

/// Host and port of `host:port`.
fn authority(text: &str, port_default: Option<u16>) -> Result<(String, u16), Malformed> {
    const WRONG: Malformed = "the target names no host and port, such as example.com:443";
    if text.contains('@') {
        return Err("a target holds no user or password");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(WRONG)?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(WRONG);
            }
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(WRONG)?) };
            (host.to_owned(), port)
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            (plain_name(host).ok_or(WRONG)?, port)
        }
    };
    let port = match port {
        None | Some("") => port_default.ok_or(WRONG)?,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number from 1 to 65535")?
        }
        Some(_) => return Err(WRONG),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(text: &str) -> Result<(String, u16, Option<String>), Malformed> {
        let asked = parse(text.as_bytes())?.expect("a whole head");
        let forward = asked.forward.map(|bytes| String::from_utf8(bytes).unwrap());
        Ok((asked.host, asked.port, forward))
    }

    #[test]
    fn tunnels_name_a_host_and_a_port() {
        for (target, host, port) in [
            ("example.com:443", "example.com", 443),
            ("EXAMPLE.com.:8443", "example.com", 8443),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[fd00::1]:65535", "fd00::1", 65535),
        ] {
            let found = asked(&format!("CONNECT {target} HTTP/1.1\r\nHost: other\r\n\r\n"));
            assert_eq!(found, Ok((host.to_owned(), port, None)));
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for target in [
            "example.com",
            "example.com:0",
            "example.com:65536",
            "example.com:+1",
            "example.com:",
            ":443",
            "a b:443",
            "user@example.com:443",
            "[::1",
            "[::1]443",
            "[example.com]:443",
            "::1:443",
            "a..b:1",
            "http://example.com:443",
        ] {
            assert!(asked(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).is_err(), "{target}");
        }
        for target in
            ["/", "*", "https://example.com/", "ftp://example.com/", "http:///x", "http://u:p@h/", "http://h:x/"]
        {
            assert!(asked(&format!("GET {target} HTTP/1.1\r\n\r\n")).is_err(), "{target}");
        }
    }

    #[test]
    fn a_forwarded_head_keeps_what_is_for_the_other_end_alone() {
        let head = "POST http://Example.com:8080/a?b=c#d HTTP/1.1\r\nHost: elsewhere\r\nProxy-Authorization: Basic x\r\n\
                    Connection: keep-alive, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nAuthorization: token\r\n\
                    Content-Length: 3\r\n\r\nabc";
        let (host, port, forward) = asked(head).unwrap();
        assert_eq!((host.as_str(), port), ("example.com", 8080));
        assert_eq!(
            forward.unwrap(),
            "POST /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nAuthorization: token\r\nContent-Length: 3\r\n\
             Connection: close\r\n\r\n"
        );
        let (_, port, forward) = asked("GET http://h?q HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!((port, forward.as_deref()), (80, Some("GET /?q HTTP/1.0\r\nHost: h\r\nConnection: close\r\n\r\n")));
    }

    #[test]
    fn a_body_is_framed_once() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        ] {
            assert!(asked(&format!("POST http://h/ HTTP/1.1\r\n{fields}\r\n")).is_err(), "{fields}");
        }
        // Naming them in Connection does not take them away.
        let (_, _, forward) =
            asked("POST http://h/ HTTP/1.1\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\n").unwrap();
        assert!(forward.unwrap().contains("Content-Length: 1\r\n"));
    }

    #[test]
    fn a_head_is_waited_for() {
        assert_eq!(parse(b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_forwarded_head_is_one_head(target in "[ -~]{0,40}", field in "[ -~]{0,40}") {
            let head = format!("GET http://{target} HTTP/1.1\r\nx: {field}\r\n\r\n");
            if let Ok(Some(Asked { forward: Some(forward), .. })) = parse(head.as_bytes()) {
                let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
                let mut request = httparse::Request::new(&mut fields);
                let length = forward.len();
                prop_assert_eq!(request.parse(&forward), Ok(httparse::Status::Complete(length)));
            }
        }
    }
}
