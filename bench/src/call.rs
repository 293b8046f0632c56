//! HTTP/1.1 as little as is needed: one answer read whole, and AWS calls signed by the product's own signer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use wire::sigv4::{Credentials, RequestHead, SignPayload, sign};

use crate::load::Target;

const TIMEOUT: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";

/// How many bytes an answer has.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub head: usize,
    pub body: usize,
}

impl Sizes {
    /// Head and body.
    pub fn total(&self) -> usize {
        self.head + self.body
    }
}

/// The length of the answer that begins here, once it is whole. Answers carry a `content-length`.
///
/// # Errors
/// When it has none.
pub fn whole(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let length = content_length(&bytes[..head])
        .with_context(|| format!("an answer without content-length: {}", String::from_utf8_lossy(bytes)))?;
    Ok((bytes.len() >= head + length).then_some(head + length))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', &head[at..]) {
        let line = &head[at..at + end];
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            return std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok();
        }
        at += end + 1;
    }
    None
}

/// Sends one request; gives status, head and body sizes, and the body.
fn exchange(address: SocketAddr, request: &[u8]) -> Result<(u16, Sizes, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    let length = loop {
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(&part[..read]);
        if let Some(length) = whole(&answer)? {
            break length;
        }
        if read == 0 {
            bail!("the connection was closed before the answer was whole");
        }
    };
    let head = memchr::memmem::find(&answer, b"\r\n\r\n").map_or(length, |at| at + 4);
    let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default())?.parse().context("status")?;
    let body = String::from_utf8_lossy(&answer[head..length]).into_owned();
    Ok((status, Sizes { head, body: length - head }, body))
}

/// The sizes of what a target answers.
///
/// # Errors
/// When it does not answer 200.
pub fn sizes(address: SocketAddr, target: &Target) -> Result<Sizes> {
    match exchange(address, target.request.as_bytes())? {
        (200, sizes, _) => Ok(sizes),
        (status, _, body) => bail!("{}: {status} {body}", target.name),
    }
}

/// An identity at the server's control plane.
pub struct Aws<'a> {
    pub address: SocketAddr,
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
}

impl Aws<'_> {
    /// A call with a JSON body (restJson1).
    ///
    /// # Errors
    /// When it is refused.
    pub fn json(&self, service: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = self.send(service, method, path, "application/json", body.to_string().as_bytes())?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// A call with a form body (awsQuery); gives the XML.
    ///
    /// # Errors
    /// When it is refused.
    pub fn form(&self, service: &str, body: &str) -> Result<String> {
        self.send(service, "POST", "/", "application/x-www-form-urlencoded", body.as_bytes())
    }

    fn send(&self, service: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let host = self.address.to_string();
        let headers: [(&str, &[u8]); 3] =
            [("host", host.as_bytes()), ("content-type", kind.as_bytes()), ("accept", b"application/json")];
        let head = RequestHead { method, raw_path: path, raw_query: None, headers: &headers };
        let credentials = Credentials {
            access_key_id: self.access_key_id,
            secret_access_key: self.secret_access_key,
            session_token: None,
        };
        let now_s = jiff::Timestamp::now().as_second();
        let added = sign(&head, SignPayload::Bytes(body), &credentials, REGION, service, now_s);
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        let given = headers.iter().map(|(name, value)| (*name, String::from_utf8_lossy(value).into_owned()));
        for (name, value) in given.chain(added) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let request = [request.as_bytes(), body].concat();
        match exchange(self.address, &request)? {
            (200..=299, _, body) => Ok(body),
            (status, _, body) => bail!("{service} {method} {path}: {status} {body}"),
        }
    }
}
