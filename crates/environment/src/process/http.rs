//! The sockets of the HTTP Runtime API of one environment. Whoever holds the environment serves them; while nobody
//! does, what the runtime asks waits in the kernel, as it would for an event.

use std::{
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lambda::invoke::StreamPart;
use rustix::{
    io::Errno,
    net::{RecvFlags, SocketFlags, accept_with, recv, sockopt},
};

use super::{
    Call, Ending, Step,
    descriptor::Descriptor,
    inbox::{Inbox, Read},
    outbox::Outbox,
    too_large,
};
use crate::{
    frame::RESULT_BYTES_MAX,
    runtime_api::{
        Machine, Reply, Route,
        body::{Body, Piece, Trailers},
        delivery, error_type,
        head::{self, Head, Length},
        without_cause,
    },
};

/// Connections a runtime may have at once; more wait until one is closed.
const CONNECTIONS_MAX: usize = 32;
/// Received and not yet used on all connections of one environment together, and what waits to be written there, bytes.
/// One whole answer, and the longest head there is on two more connections; a function that wants more loses the
/// connection it wants it on.
const HELD_BYTES_MAX: usize = RESULT_BYTES_MAX + 2 * head::HEAD_BYTES_MAX;
/// How a request for an event begins.
const ASKS: &[u8] = b"GET /2018-06-01/runtime/invocation/next";
/// Reads and requests dealt with before others get the processor.
const WORK_MAX: usize = 256;

/// An invocation that has not been answered.
struct Due {
    id: String,
    deadline_ms: u64,
    arn: String,
    trace: Option<String>,
    client_context: Option<String>,
    event: Bytes,
}

/// The Runtime API of one environment.
pub(crate) struct Http {
    listener: Descriptor,
    acceptable: bool,
    connections: Vec<Connection>,
    created: u64,
    machine: Machine,
    /// Whether it has asked for an event for the first time, which ends its start.
    started: bool,
    /// The connection that waits for an event.
    waiting: Option<u64>,
    due: Option<Due>,
    /// Whether the last event has been handed to it.
    delivered: bool,
    /// What the runtime called the error that kept it from loading, as far as AWS lets that stand.
    pub(crate) init_error_type: Option<String>,
}

struct Connection {
    id: u64,
    socket: Descriptor,
    inbox: Inbox,
    outbox: Outbox,
    /// How much of the inbox has been searched for the end of a head.
    searched: usize,
    request: Option<Request>,
    readable: bool,
    /// It carries an event whose answer has not come.
    delivering: bool,
    /// Whether it may carry more requests after the one that waits for an event.
    keeps: bool,
    /// To be closed once everything is written.
    closes: bool,
}

/// A request whose body is coming.
struct Request {
    asks: Result<Route, Reply>,
    body: Body,
    /// A body of known length is taken whole.
    whole: Option<usize>,
    collected: Vec<u8>,
    bytes: u64,
    too_large: bool,
    keeps: bool,
    content_type: Option<String>,
    error_type: Option<String>,
    /// It is streamed, and its first part has been handed on.
    began: bool,
}

/// What one connection came to.
enum Drive {
    Step(Step),
    Idle,
    Gone,
}

impl Http {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Http> {
        listener.set_nonblocking(true)?;
        Ok(Http {
            listener: Descriptor::new(listener),
            acceptable: true,
            connections: Vec::new(),
            created: 0,
            machine: Machine::new(),
            started: false,
            waiting: None,
            due: None,
            delivered: false,
            init_error_type: None,
        })
    }

    pub(crate) fn attach(&mut self) -> io::Result<()> {
        self.listener.attach(false)?;
        // One that cannot be registered is found lost when it is read.
        self.connections.retain_mut(|connection| connection.attach().is_ok());
        Ok(())
    }

    /// Whether the runtime has been given the event of the last invocation, or some of it.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered
    }

    /// Whether the runtime waits for an event, as far as is seen without reading: a few system calls for each of its
    /// connections.
    pub(crate) fn asks_for_event(&mut self) -> bool {
        if self.waiting.is_some() {
            return true;
        }
        // Accepted one after the other, as many as there may be: whoever connects without end is not waited for.
        self.acceptable = true;
        while self.acceptable && self.connections.len() < CONNECTIONS_MAX && self.accept_one().is_ok() {}
        self.connections.iter().any(Connection::asks_for_event)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut poll = Poll::Pending;
        if self.listener.poll(cx).is_ready() {
            self.acceptable = true;
            poll = Poll::Ready(());
        }
        for connection in &mut self.connections {
            if connection.socket.poll(cx).is_ready() {
                connection.readable = true;
                poll = Poll::Ready(());
            }
        }
        poll
    }

    /// Told when any of the sockets may have become ready.
    pub(crate) fn woken(&mut self) {
        self.acceptable = true;
        self.connections.iter_mut().for_each(|connection| connection.readable = true);
    }

    pub(crate) fn begin_invoke(&mut self, call: &Call<'_>, event: &Bytes) {
        self.delivered = false;
        self.due = Some(Due {
            id: call.id.to_owned(),
            deadline_ms: call.deadline_ms,
            arn: call.arn.to_owned(),
            trace: call.trace.map(str::to_owned),
            client_context: call.client_context.map(str::to_owned),
            event: event.clone(),
        });
        // Between invocations nobody has looked: it has asked for an event by now, or it has gone away.
        self.connections.iter_mut().for_each(|connection| connection.readable = true);
    }

    /// Accepts, reads, decides and writes what goes at once.
    pub(crate) fn advance(&mut self) -> Step {
        let mut work = 0;
        loop {
            let Ok(full) = self.accept() else { return Step::Closed };
            let mut idle = true;
            let mut at = 0;
            while let Some(connection) = self.connections.get(at) {
                let id = connection.id;
                match self.drive(at, &mut work) {
                    Drive::Step(step) => return step,
                    Drive::Idle => at = at.saturating_add(1),
                    Drive::Gone => {
                        idle = false;
                        if let Some(step) = self.lost(at, id) {
                            return step;
                        }
                    }
                }
            }
            if idle && (full || !self.acceptable) {
                return Step::Wait;
            }
            work = usize::saturating_add(work, 1);
            if work > WORK_MAX {
                return Step::More;
            }
        }
    }

    /// `true` when there is no room for another connection, though one may want in.
    fn accept(&mut self) -> io::Result<bool> {
        while self.acceptable {
            if self.connections.len() >= CONNECTIONS_MAX {
                let unused = |connection: &Connection| {
                    connection.request.is_none()
                        && connection.inbox.is_empty()
                        && connection.outbox.is_done()
                        && Some(connection.id) != self.waiting
                        && !connection.delivering
                };
                match self.connections.iter().position(unused) {
                    Some(at) => drop(self.connections.remove(at)),
                    // All of them are in use; the next wake-up of any tries again.
                    None => return Ok(true),
                }
            }
            self.accept_one()?;
        }
        Ok(false)
    }

    /// Takes one connection more, or finds that there is none.
    fn accept_one(&mut self) -> io::Result<()> {
        match accept_with(self.listener.fd()?, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => {
                self.created = self.created.wrapping_add(1);
                // One that cannot be registered is dropped, which its other end sees.
                if let Ok(connection) = Connection::new(self.created, socket) {
                    self.connections.push(connection);
                }
            }
            Err(Errno::AGAIN) => self.acceptable = false,
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            // Too many descriptors now is not too many for ever.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => self.acceptable = false,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Deals with one connection until it has nothing more to give.
    fn drive(&mut self, at: usize, work: &mut usize) -> Drive {
        loop {
            *work = work.saturating_add(1);
            if *work > WORK_MAX {
                return Drive::Step(Step::More);
            }
            self.deliver(at);
            let Some(connection) = self.connections.get_mut(at) else { return Drive::Gone };
            match connection.write() {
                Err(_) => return Drive::Gone,
                // Nothing further is read from whoever does not read.
                Ok(false) => return Drive::Idle,
                Ok(true) if connection.closes => return Drive::Gone,
                Ok(true) => {}
            }
            let outcome = if connection.request.is_some() { self.read_body(at) } else { self.read_head(at) };
            match outcome {
                Ok(Some(step)) => {
                    // What was answered must be under way before the caller turns to other things.
                    if let Some(connection) = self.connections.get_mut(at) {
                        let _ = connection.write();
                    }
                    return Drive::Step(step);
                }
                Ok(None) => {}
                Err(Need::More(wanted)) => {
                    if !self.has_room(at, wanted) {
                        return Drive::Gone;
                    }
                    let Some(connection) = self.connections.get_mut(at) else { return Drive::Gone };
                    match connection.read(wanted) {
                        Ok(Read::Some) => {}
                        Ok(Read::Nothing) => return Drive::Idle,
                        Ok(Read::End) | Err(_) => return Drive::Gone,
                    }
                }
                Err(Need::Nothing) => {}
            }
        }
    }

    /// Whether a connection may read `wanted` bytes more.
    fn has_room(&self, at: usize, wanted: usize) -> bool {
        let Some(inbox) = self.connections.get(at).map(|connection| &connection.inbox) else { return false };
        let grows = inbox.room(wanted).saturating_sub(inbox.held_bytes());
        grows == 0 || self.held_bytes().saturating_add(grows) <= HELD_BYTES_MAX
    }

    /// Memory that all connections take, bytes.
    fn held_bytes(&self) -> usize {
        self.connections.iter().fold(0, |sum, connection| sum.saturating_add(connection.held_bytes()))
    }

    /// Hands the event over if this connection waits for one.
    fn deliver(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        if self.waiting != Some(connection.id) {
            return;
        }
        let Some(due) = &self.due else { return };
        // It may have gone away while nobody looked; what is written to it then would be lost.
        if connection.readable && !matches!(connection.read(0), Ok(Read::Nothing | Read::Some)) {
            return;
        }
        let call = Call {
            id: &due.id,
            deadline_ms: due.deadline_ms,
            arn: &due.arn,
            trace: due.trace.as_deref(),
            client_context: due.client_context.as_deref(),
        };
        delivery(&call, due.event.len(), connection.keeps, connection.outbox.begin());
        connection.outbox.body(&due.event);
        connection.closes = !connection.keeps;
        connection.delivering = true;
        self.machine.delivered(&due.id);
        self.delivered = true;
        self.waiting = None;
    }

    /// Forgets a connection that has ended.
    fn lost(&mut self, at: usize, id: u64) -> Option<Step> {
        let connection = self.connections.remove(at);
        if self.waiting == Some(id) {
            self.waiting = None;
        }
        if connection.delivering && !connection.outbox.is_done() && self.due.is_some() {
            // Not all of the event has reached it: whoever asks next gets it.
            self.machine.returned();
        }
        let request = connection.request?;
        let Ok(route) = request.asks else { return None };
        if request.began {
            self.machine.answered();
            self.due = None;
            let document = Bytes::from_static(
                b"{\"errorMessage\":\"Response stream was truncated\",\"errorType\":\"Runtime.TruncatedResponse\"}",
            );
            return Some(Step::Ending(Ending::Failed { document, exiting: false }));
        }
        if matches!(route, Route::Response { .. } | Route::Error | Route::InitError) {
            self.machine.broke_off();
        }
        None
    }

    fn read_head(&mut self, at: usize) -> Result<Option<Step>, Need> {
        let Some(connection) = self.connections.get_mut(at) else { return Err(Need::Nothing) };
        let unread = connection.inbox.unread();
        let Some(end) = head::end(unread, connection.searched) else {
            connection.searched = unread.len();
            if unread.len() > head::HEAD_BYTES_MAX {
                connection.reply(&Reply::malformed(), false);
                return Ok(None);
            }
            return Err(Need::More(0));
        };
        connection.searched = 0;
        let parsed = head::parse(unread.get(..end).unwrap_or_default());
        connection.inbox.consume(end);
        let Ok(head) = parsed else {
            connection.reply(&Reply::malformed(), false);
            return Ok(None);
        };
        if head.length != Length::Exact(0) && head.method != "POST" {
            // Nothing that is asked for so has a body. What comes is not read: it has no place to go to.
            connection.reply(&Reply::malformed(), false);
            return Ok(None);
        }
        let asks = self.machine.route(&head);
        let Some(connection) = self.connections.get_mut(at) else { return Err(Need::Nothing) };
        if head.expects && head.length != Length::Exact(0) {
            connection.outbox.begin().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let content_type = head.content_type.clone();
        let mut request = Request::new(asks, head);
        let started = request.asks == Ok(Route::Response { streams: true });
        request.began = started;
        connection.request = Some(request);
        if !started {
            return Ok(None);
        }
        let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        Ok(Some(Step::Part(StreamPart::Start { content_type })))
    }

    fn read_body(&mut self, at: usize) -> Result<Option<Step>, Need> {
        let Some(connection) = self.connections.get_mut(at) else { return Err(Need::Nothing) };
        let Connection { inbox, request, .. } = connection;
        let Some(received) = request.as_mut() else { return Err(Need::Nothing) };
        if let Some(whole) = received.whole {
            let have = inbox.unread().len();
            if have < whole {
                return Err(Need::More(whole.saturating_sub(have)));
            }
            let body = inbox.take(0, whole);
            return Ok(self.complete(at, body, Trailers::default()));
        }
        match received.body.next(inbox.unread()) {
            Ok(Piece::More { used }) => {
                inbox.consume(used);
                Err(Need::More(0))
            }
            Ok(Piece::Data { skip, bytes }) => {
                let piece = inbox.take(skip, bytes);
                Ok(received.piece(piece).map(Step::Part))
            }
            Ok(Piece::End { used, trailers }) => {
                inbox.consume(used);
                let body = Bytes::from(std::mem::take(&mut received.collected));
                Ok(self.complete(at, body, trailers))
            }
            Err(head::Malformed) => {
                let reply = if received.asks.is_ok() { Reply::truncated() } else { Reply::malformed() };
                connection.reply(&reply, false);
                // Closing it tells the rest: the answer counts as broken off.
                Ok(None)
            }
        }
    }

    /// Does what a request asks for, now that its body is there.
    fn complete(&mut self, at: usize, body: Bytes, trailers: Trailers) -> Option<Step> {
        let connection = self.connections.get_mut(at)?;
        let request = connection.request.take()?;
        let keeps = request.keeps;
        let (reply, ending) = match &request.asks {
            Err(reply) => (reply.clone(), None),
            Ok(Route::Ping) => (Reply::pong(), None),
            Ok(Route::Next) => {
                connection.keeps = keeps;
                return self.wait_for_event(at);
            }
            Ok(Route::Response { .. }) if request.too_large => {
                let ending = Ending::Failed { document: too_large(), exiting: false };
                (Reply::too_large(), Some(ending))
            }
            Ok(Route::Response { streams: true }) => {
                (Reply::accepted(), Some(Http::end_of_stream(&request, &trailers)))
            }
            Ok(Route::Response { streams: false }) => (Reply::accepted(), Some(Ending::Result(body))),
            Ok(Route::Error) if request.too_large => {
                (Reply::too_large(), Some(Ending::Failed { document: too_large(), exiting: false }))
            }
            Ok(Route::Error) => {
                let document = without_cause(request.content_type.as_deref(), body);
                (Reply::accepted(), Some(Ending::Failed { document, exiting: false }))
            }
            Ok(Route::InitError) => {
                self.init_error_type = Some(error_type(request.error_type.as_deref()));
                let document = without_cause(request.content_type.as_deref(), body);
                (Reply::accepted(), Some(Ending::InitError(document)))
            }
        };
        if ending.is_some() {
            self.machine.answered();
            self.due = None;
            self.connections.iter_mut().for_each(Connection::forget_event);
        }
        self.connections.get_mut(at)?.reply(&reply, keeps);
        ending.map(Step::Ending)
    }

    fn end_of_stream(request: &Request, trailers: &Trailers) -> Ending {
        if trailers.error_type.is_none() && trailers.error_body.is_none() {
            return Ending::Result(Bytes::new());
        }
        let kind = error_type(trailers.error_type.as_deref().or(request.error_type.as_deref()));
        let document = trailers.error_body.as_deref().and_then(|body| STANDARD.decode(body).ok());
        let document = document
            .unwrap_or_else(|| serde_json::json!({ "errorType": kind, "errorMessage": "" }).to_string().into_bytes());
        Ending::Failed { document: document.into(), exiting: false }
    }

    fn wait_for_event(&mut self, at: usize) -> Option<Step> {
        let id = self.connections.get(at)?.id;
        // Of two that wait the later one is the live one.
        if let Some(earlier) = self.waiting.replace(id)
            && let Some(earlier) = self.connections.iter().position(|connection| connection.id == earlier)
            && earlier != at
            && let Some(earlier) = self.connections.get_mut(earlier)
        {
            earlier.closes = true;
            earlier.readable = true;
        }
        if std::mem::replace(&mut self.started, true) { None } else { Some(Step::Ending(Ending::Ready)) }
    }
}

/// What a connection lacks.
enum Need {
    /// More bytes, about this many.
    More(usize),
    Nothing,
}

impl Connection {
    fn new(id: u64, socket: OwnedFd) -> io::Result<Connection> {
        // A kept connection asks for its next event in a packet of its own, behind an answer that is not acknowledged.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        let mut connection = Connection {
            id,
            socket: Descriptor::new(socket),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            searched: 0,
            request: None,
            readable: true,
            delivering: false,
            keeps: true,
            closes: false,
        };
        connection.attach()?;
        Ok(connection)
    }

    fn attach(&mut self) -> io::Result<()> {
        self.socket.attach(!self.outbox.is_done())
    }

    /// The event has been answered. Whoever has not read it whole by then will not.
    fn forget_event(&mut self) {
        if std::mem::replace(&mut self.delivering, false) && !self.outbox.is_done() {
            self.outbox.begin();
            self.closes = true;
        }
    }

    /// Whether the next request on it is seen to ask for an event.
    fn asks_for_event(&self) -> bool {
        if self.request.is_some() {
            return false;
        }
        let mut ahead = [0; ASKS.len()];
        let seen = match self.socket.fd() {
            Ok(socket) if self.inbox.is_empty() => {
                let peeked = recv(socket, &mut ahead[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
                peeked.map_or(0, |(_, seen)| seen)
            }
            _ => 0,
        };
        self.inbox.unread().starts_with(ASKS) || ahead.get(..seen) == Some(ASKS)
    }

    /// Memory it takes, bytes.
    fn held_bytes(&self) -> usize {
        let collected = self.request.as_ref().map_or(0, |request| request.collected.capacity());
        self.inbox.held_bytes().saturating_add(self.outbox.held_bytes()).saturating_add(collected)
    }

    fn reply(&mut self, reply: &Reply, keeps: bool) {
        reply.write(keeps, self.outbox.begin());
        self.closes = !keeps || reply.closes;
    }

    /// `false` when not everything could be written.
    fn write(&mut self) -> io::Result<bool> {
        if self.outbox.is_done() {
            return Ok(true);
        }
        self.outbox.write(self.socket.fd()?)?;
        if !self.outbox.is_done() {
            self.socket.attach(true)?;
            return Ok(false);
        }
        Ok(true)
    }

    fn read(&mut self, wanted: usize) -> io::Result<Read> {
        if !self.readable {
            return Ok(Read::Nothing);
        }
        let read = self.inbox.read(self.socket.fd()?, wanted)?;
        if read == Read::Nothing {
            self.readable = false;
        }
        Ok(read)
    }
}

impl Request {
    fn new(asks: Result<Route, Reply>, head: Head) -> Request {
        let streams = asks == Ok(Route::Response { streams: true });
        let whole = match head.length {
            Length::Exact(bytes) if asks.is_ok() && !streams => {
                usize::try_from(bytes).ok().filter(|bytes| *bytes <= RESULT_BYTES_MAX)
            }
            _ => None,
        };
        Request {
            body: Body::new(head.length),
            whole,
            collected: Vec::new(),
            bytes: 0,
            too_large: false,
            keeps: head.keeps,
            content_type: head.content_type,
            error_type: head.error_type,
            began: false,
            asks,
        }
    }

    /// Takes a piece of the body; a part to hand on when the answer is streamed.
    fn piece(&mut self, piece: Bytes) -> Option<StreamPart> {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.began {
            return Some(StreamPart::Chunk(piece));
        }
        // More than the limit is read to its end, so that the runtime gets to read why it is refused, and not kept.
        if self.asks.is_err() || self.bytes > RESULT_BYTES_MAX as u64 {
            self.too_large = self.asks.is_ok();
            self.collected = Vec::new();
        } else {
            let (have, all) = (self.collected.capacity(), self.collected.len().saturating_add(piece.len()));
            if all > have {
                // Twice as much each time, but never more than the longest answer takes.
                let room = have.saturating_mul(2).clamp(all, RESULT_BYTES_MAX.max(all));
                self.collected.reserve_exact(room.saturating_sub(self.collected.len()));
            }
            self.collected.extend_from_slice(&piece);
        }
        None
    }
}

#[cfg(test)]
mod tests;
