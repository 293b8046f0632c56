//! The yardstick: hyper with nothing behind it, on the runtime the server's data threads use.

use std::convert::Infallible;
use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// What hyper writes around the padding: status line, `content-type`, `content-length`, `date` and the name of the
/// padding itself, for a body of 10 to 99 bytes.
const HEAD_BYTES_MIN: usize = 125;

/// `responder <head bytes> <body bytes>`: answers every request with as many bytes.
pub fn run(arguments: &[String]) -> Result<()> {
    let [head, body] = arguments else { bail!("usage: responder <head bytes> <body bytes>") };
    let (head, body): (usize, usize) = (head.parse()?, body.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(head, body))
}

async fn serve(head: usize, body: usize) -> Result<()> {
    let padding = HeaderValue::from_str(&"x".repeat(head.saturating_sub(HEAD_BYTES_MIN).max(1)))?;
    let body = Bytes::from(vec![b'x'; body]);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}\nReady.", listener.local_addr()?).context("saying where")?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (padding, body) = (padding.clone(), body.clone());
        tokio::task::spawn_local(async move {
            let service = service_fn(move |_: hyper::Request<Incoming>| {
                let mut response = Response::new(Full::new(body.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response.headers_mut().insert("x-padding", padding.clone());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no failure of the yardstick.
            let _ = connection.await;
        });
    }
}
