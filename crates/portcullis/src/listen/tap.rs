//! The socket below hyper: keeps the bytes of the head being read, and ends connections that wait too long.
//!
//! hyper lower-cases header names and hides what the client typed, but functions index names as typed. So what is
//! read is copied aside while a head is awaited, and parsed once more when the request is there.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Method, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// How long a head may take from its first byte, or from the connection's beginning, to its end.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may rest between two requests. Longer than the 60 s of AWS's load balancers, so that their
/// kind never meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client that does not keep up may take for each so many bytes of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_BYTES_MIN: usize = 64 << 10;
/// Fields of a head, as many as hyper takes.
pub(super) const FIELDS_MAX: usize = 100;
/// Bytes kept aside: one head and what may have been read beyond it.
const KEPT_BYTES_MAX: usize = 2 * super::HEAD_BYTES_MAX;

/// A connection's socket under observation.
pub(super) struct Tap {
    socket: TcpStream,
    recorder: Rc<RefCell<Recorder>>,
    patience: Pin<Box<Sleep>>,
    /// Set while the client is behind, with the bytes it has taken since.
    stalled: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Tap {
    pub(super) fn new(socket: TcpStream, recorder: Rc<RefCell<Recorder>>) -> Self {
        Self { socket, recorder, patience: Box::pin(tokio::time::sleep(HEAD_TIMEOUT)), stalled: None }
    }

    /// Whether the client has been waited for long enough; if not, the task is woken when that is so.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.recorder.borrow().deadline() else { return false };
        // The timer is moved only when it would ring too late or has rung: a busy connection never touches it.
        if self.patience.deadline() > deadline {
            self.patience.as_mut().reset(deadline);
        }
        while self.patience.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.patience.as_mut().reset(deadline);
        }
        false
    }

    /// Lets writing to a client that does not keep up end in an error.
    fn watch_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                let caught_up = self.stalled.as_mut().is_some_and(|(_, taken)| {
                    *taken += bytes;
                    *taken >= WRITE_BYTES_MIN
                });
                if caught_up {
                    self.stalled = None;
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                let (until, _) = self.stalled.get_or_insert_with(|| (Box::pin(tokio::time::sleep(WRITE_TIMEOUT)), 0));
                match until.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let fresh = buf.filled().get(before..).unwrap_or_default();
                self.recorder.borrow_mut().feed(fresh);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.is_late(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            other => other,
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes once it has written all it had.
        self.stalled = None;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// What the connection is doing, as far as patience goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests since then.
    Idle(Instant),
    /// A head is on its way since then.
    Head(Instant),
    /// A request is being answered; its body has its own patience.
    Request,
}

/// What lies between the end of the head last parsed and the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// So many bytes of body.
    Bytes(u64),
    /// A body whose end is not tracked: nothing is kept until the answer has been given.
    Unknown,
}

/// Bytes read from a connection that no request has accounted for yet.
#[derive(Debug)]
pub(super) struct Recorder {
    bytes: Vec<u8>,
    skip: Skip,
    phase: Phase,
    /// Whether bytes may have been missed, so that a head must be held against hyper's value by value.
    doubtful: bool,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), skip: Skip::Bytes(0), phase: Phase::Head(Instant::now()), doubtful: false }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(since) => Some(since + IDLE_TIMEOUT),
            Phase::Head(since) => Some(since + HEAD_TIMEOUT),
            Phase::Request => None,
        }
    }

    fn feed(&mut self, mut fresh: &[u8]) {
        match &mut self.skip {
            Skip::Unknown => return,
            Skip::Bytes(left) => {
                let skipped = fresh.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= skipped as u64;
                fresh = fresh.get(skipped..).unwrap_or_default();
            }
        }
        if fresh.is_empty() {
            return;
        }
        if let Phase::Idle(_) = self.phase {
            self.phase = Phase::Head(Instant::now());
        }
        if self.bytes.len() + fresh.len() > KEPT_BYTES_MAX {
            self.lose();
        } else {
            self.bytes.extend_from_slice(fresh);
        }
    }

    fn lose(&mut self) {
        self.bytes.clear();
        self.skip = Skip::Unknown;
        self.doubtful = true;
    }

    /// A request has been read: gives its target and hands each field, spelled as sent, to `each`.
    ///
    /// `None`, with nothing handed over, when the bytes kept are not this request's.
    pub(super) fn begin<T>(
        &mut self,
        method: &Method,
        target: &str,
        fields: &HeaderMap,
        read: impl FnOnce(&str, &[httparse::Header<'_>]) -> T,
    ) -> Option<T> {
        self.phase = Phase::Request;
        let mut slots = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut slots);
        let parsed = head.parse(&self.bytes);
        let agrees = head.method == Some(method.as_str())
            && head.path.is_some_and(|path| same_target(path, target))
            && head.headers.len() == fields.len()
            && (!self.doubtful || same_fields(head.headers, fields));
        let (Ok(httparse::Status::Complete(head_bytes)), Some(path), true) = (parsed, head.path, agrees) else {
            self.lose();
            return None;
        };
        let result = read(path, head.headers);
        match body_bytes(fields) {
            Some(announced) => {
                let kept = self.bytes.len() - head_bytes;
                let skipped = kept.min(usize::try_from(announced).unwrap_or(usize::MAX));
                self.bytes.drain(..head_bytes + skipped);
                self.skip = Skip::Bytes(announced - skipped as u64);
            }
            None => self.lose(),
        }
        Some(result)
    }

    /// The answer has been handed to hyper: the next head is awaited.
    pub(super) fn answered(&mut self) {
        if self.skip == Skip::Unknown {
            self.skip = Skip::Bytes(0);
            self.bytes.clear();
        }
        let now = Instant::now();
        self.phase = if self.bytes.is_empty() { Phase::Idle(now) } else { Phase::Head(now) };
        if self.bytes.is_empty() {
            self.bytes.shrink_to(4_096);
        }
    }
}

/// Length of the body that follows a head; `None` if only reading it tells.
fn body_bytes(fields: &HeaderMap) -> Option<u64> {
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    match fields.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.trim().parse().ok(),
        None => Some(0),
    }
}

/// Whether the target as sent is the one hyper understood: equal, or absolute with a fragment or authority beside it.
fn same_target(sent: &str, understood: &str) -> bool {
    sent == understood || origin_form(sent) == understood
}

fn same_fields(sent: &[httparse::Header<'_>], understood: &HeaderMap) -> bool {
    sent.iter().all(|field| understood.get_all(field.name).iter().any(|value| value.as_bytes() == field.value))
}

/// Path and query of a target, which may be absolute (`http://host/path`), without a fragment.
pub(super) fn origin_form(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') {
        return target;
    }
    let Some((_, rest)) = target.split_once("://") else { return target };
    match rest.find(['/', '?']) {
        Some(start) => rest.get(start..).unwrap_or_default(),
        None => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect()
    }

    fn names(recorder: &mut Recorder, method: Method, target: &str, understood: &HeaderMap) -> Option<Vec<String>> {
        recorder.begin(&method, target, understood, |_, sent| sent.iter().map(|f| f.name.to_owned()).collect())
    }

    #[tokio::test]
    async fn spelling_is_kept_across_pipelined_requests_and_bodies() {
        let mut recorder = Recorder::new();
        recorder.feed(b"POST /a HTTP/1.1\r\nHOST: x\r\nContent-length: 4\r\n\r\nbo");
        let first = fields(&[("host", "x"), ("content-length", "4")]);
        assert_eq!(names(&mut recorder, Method::POST, "/a", &first).unwrap(), ["HOST", "Content-length"]);
        recorder.feed(b"dyGET /b HTTP/1.1\r\nhOsT: y\r\n");
        recorder.answered();
        recorder.feed(b"\r\n");
        assert_eq!(names(&mut recorder, Method::GET, "/b", &fields(&[("host", "y")])).unwrap(), ["hOsT"]);
        recorder.answered();
        assert!(matches!(recorder.phase, Phase::Idle(_)));
    }

    #[tokio::test]
    async fn bytes_of_another_request_are_never_taken_for_this_one() {
        let mut recorder = Recorder::new();
        recorder.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(names(&mut recorder, Method::GET, "/b", &fields(&[("host", "x")])), None);
        recorder.answered();
        // From here on values are compared too.
        recorder.feed(b"GET /b HTTP/1.1\r\nHost: evil\r\n\r\n");
        assert_eq!(names(&mut recorder, Method::GET, "/b", &fields(&[("host", "x")])), None);
        recorder.answered();
        recorder.feed(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(names(&mut recorder, Method::GET, "/b", &fields(&[("host", "x")])).unwrap(), ["Host"]);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let mut recorder = Recorder::new();
        for _ in 0..100 {
            recorder.feed(&[b'a'; 16 * 1_024]);
            assert!(recorder.bytes.len() <= KEPT_BYTES_MAX);
        }
    }

    #[test]
    fn targets_lose_scheme_authority_and_fragment_only() {
        for (sent, expected) in [
            ("/a//b%2F?x=1", "/a//b%2F?x=1"),
            ("http://h:1/a?b", "/a?b"),
            ("http://h", "/"),
            ("http://h?x", "?x"),
            ("/a#f", "/a"),
            ("*", "*"),
        ] {
            assert_eq!(origin_form(sent), expected);
        }
    }
}
