//! A small signing HTTP client, for the demo: one connection a request, everything bounded.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use wire::sigv4::{Credentials, RequestHead, SignPayload, sign};

/// Longest answer taken.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long connecting, sending and the whole answer may take together. An integration may take 29 seconds.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Talks to one server.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

/// A request as it is to be sent. The body's length is added.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub target: &'a str,
    pub host: &'a str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text, with a mark in place of what is none.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, if there is one and it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// A client of the server at `address`. Nothing is sent yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Signs and sends a request of the control plane.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_signed(
        &self,
        mut outgoing: Outgoing<'_>,
        credentials: &Credentials<'_>,
        region: &str,
        service: &str,
    ) -> anyhow::Result<Answer> {
        let (path, query) = match outgoing.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (outgoing.target, None),
        };
        let mut headers: Vec<(&str, &[u8])> = vec![("host", outgoing.host.as_bytes())];
        headers.extend(outgoing.headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let head = RequestHead { method: outgoing.method, raw_path: path, raw_query: query, headers: &headers };
        let now_s = jiff::Timestamp::now().as_second();
        let added = sign(&head, SignPayload::Bytes(&outgoing.body), credentials, region, service, now_s);
        outgoing.headers.extend(added);
        self.send(outgoing).await
    }

    /// Sends a request as it is and gives the answer, whatever its status.
    ///
    /// # Errors
    /// When there is no whole answer within the limits of time and size.
    pub async fn send(&self, outgoing: Outgoing<'_>) -> anyhow::Result<Answer> {
        let what = format!("{} {}", outgoing.method, outgoing.target);
        match timeout(TIMEOUT, self.exchange(outgoing)).await {
            Ok(answer) => answer.with_context(|| format!("no answer to {what}")),
            Err(_) => bail!("no answer to {what} within {} s", TIMEOUT.as_secs()),
        }
    }

    async fn exchange(&self, outgoing: Outgoing<'_>) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(outgoing.method)
            .uri(outgoing.target)
            .header("host", outgoing.host)
            .header("user-agent", concat!("portcullis-demo/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &outgoing.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(outgoing.body))?;
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
        // Its end, good or bad, shows in the answer.
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!("the answer's body: {error}"))?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}
