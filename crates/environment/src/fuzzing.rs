//! What a function can say to the Runtime API, for fuzz targets alone. The sockets of `process::http` are left out:
//! what they bring comes as bytes in pieces.

use bytes::Bytes;

use crate::{
    process::Call,
    runtime_api::{
        Machine, Route,
        body::{Body, Piece, Trailers},
        delivery, error_type,
        head::{self, Length},
        without_cause,
    },
};

/// The request an event is delivered for whenever a runtime asks for one.
pub const REQUEST_ID: &str = "id";

/// What a connection came to, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A request: its method, its path, how its body is told from what follows (`None`: in chunks), and whether it is
    /// one for the next event (`Some(true)`), an answer (`Some(false)`) or refused or a ping (`None`).
    Request {
        /// As sent.
        method: String,
        /// Without scheme, host and query.
        path: String,
        /// Bytes, where they were told.
        body_bytes: Option<u64>,
        /// What was made of it.
        asks_for_event: Option<bool>,
    },
    /// All of a body, and what its trailers called an error.
    Body(Vec<u8>, Option<String>, Option<String>),
    /// The connection is of no further use.
    Malformed,
}

/// Reads all of `wire` as one connection on which `sizes` says how many bytes come at once, over and over. Gives also
/// how many bytes have been searched for ends, and how many were left unused.
#[must_use]
pub fn connection(wire: &[u8], sizes: &[u8]) -> (Vec<Said>, usize, usize) {
    head::LOOKED_AT.set(0);
    let (mut reader, mut buffer, mut rest) = (Reader::default(), Vec::new(), wire);
    let mut sizes = sizes.iter().map(|size| usize::from(*size).max(1)).cycle();
    loop {
        while let Some(used) = reader.step(&buffer) {
            buffer.drain(..used);
        }
        if rest.is_empty() || reader.said.last() == Some(&Said::Malformed) {
            return (reader.said, head::LOOKED_AT.get(), buffer.len());
        }
        let (now, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
    }
}

/// How far a connection has been read, as `process::http` does it.
#[derive(Default)]
struct Reader {
    said: Vec<Said>,
    machine: Option<Machine>,
    searched: usize,
    body: Option<(Body, Option<Route>, Vec<u8>)>,
}

impl Reader {
    /// How much is used of what has come; `None` when more must come.
    fn step(&mut self, buffer: &[u8]) -> Option<usize> {
        if self.said.last() == Some(&Said::Malformed) {
            return None;
        }
        match self.body.take() {
            None => self.head(buffer),
            Some((mut body, route, mut collected)) => {
                let piece = body.next(buffer);
                let used = match piece {
                    Err(head::Malformed) => {
                        self.said.push(Said::Malformed);
                        return None;
                    }
                    Ok(Piece::End { used, trailers }) => {
                        self.end(route, collected, trailers);
                        return Some(used);
                    }
                    Ok(Piece::More { used }) => (used > 0).then_some(used),
                    Ok(Piece::Data { skip, bytes }) => {
                        let end = skip.saturating_add(bytes);
                        collected.extend_from_slice(buffer.get(skip..end).unwrap_or_default());
                        Some(end)
                    }
                };
                self.body = Some((body, route, collected));
                used
            }
        }
    }

    fn head(&mut self, buffer: &[u8]) -> Option<usize> {
        let Some(end) = head::end(buffer, self.searched) else {
            self.searched = buffer.len();
            return None;
        };
        self.searched = 0;
        let Ok(head) = head::parse(buffer.get(..end).unwrap_or_default()) else {
            self.said.push(Said::Malformed);
            return None;
        };
        if head.length != Length::Exact(0) && head.method != "POST" {
            self.said.push(Said::Malformed);
            return None;
        }
        let route = self.machine.get_or_insert_with(Machine::new).route(&head).ok();
        let body_bytes = match head.length {
            Length::Exact(bytes) => Some(bytes),
            Length::Chunked => None,
        };
        let asks_for_event = match route {
            None | Some(Route::Ping) => None,
            Some(route) => Some(route == Route::Next),
        };
        self.said.push(Said::Request { method: head.method, path: head.path, body_bytes, asks_for_event });
        self.body = Some((Body::new(head.length), route, Vec::new()));
        Some(end)
    }

    fn end(&mut self, route: Option<Route>, collected: Vec<u8>, trailers: Trailers) {
        self.said.push(Said::Body(collected, trailers.error_type, trailers.error_body));
        let Some(machine) = &mut self.machine else { return };
        match route {
            Some(Route::Next) => machine.delivered(REQUEST_ID),
            Some(Route::Response { .. } | Route::Error | Route::InitError) => machine.answered(),
            None | Some(Route::Ping) => {}
        }
    }
}

/// The head an event of two bytes is delivered with, whatever its caller put into trace and client context.
#[must_use]
pub fn delivered(trace: &str, client_context: &str) -> Vec<u8> {
    let (trace, client_context) = (Some(trace), Some(client_context));
    let call = Call { id: REQUEST_ID, deadline_ms: 7, arn: "arn", trace, client_context };
    let mut out = Vec::new();
    delivery(&call, 2, true, &mut out);
    out
}

/// What is kept of the type a runtime gives its error.
#[must_use]
pub fn kept_error_type(given: &str) -> String {
    error_type(Some(given))
}

/// What a caller gets of a document that a runtime posted with a cause for tracing.
#[must_use]
pub fn told_of_error(document: &[u8]) -> Bytes {
    without_cause(Some("application/vnd.aws.lambda.error.cause+json"), Bytes::copy_from_slice(document))
}
