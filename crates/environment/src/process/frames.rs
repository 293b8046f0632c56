//! The frame socket of one environment: the fast way to talk to our own bootstraps.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    task::Poll,
};

use bytes::Bytes;
use lambda::invoke::StreamPart;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{
    Call, Ending, Step,
    descriptor::Descriptor,
    inbox::{Inbox, Read},
    outbox::Outbox,
};
use crate::frame::{self, Answer, Order};

/// One end of a frame socket, and how far the exchange on it has come.
pub(crate) struct Frames {
    socket: Descriptor,
    inbox: Inbox,
    outbox: Outbox,
    sequence: u64,
    streaming: bool,
    /// Whether the socket may hold something: nothing is read in vain right after writing.
    readable: bool,
    /// Whether the host lets nobody send descriptors to us.
    refuses: bool,
    /// Those that came where it does.
    held: Vec<OwnedFd>,
}

impl Frames {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Frames> {
        socket.set_nonblocking(true)?;
        let refuses = sandbox::refuses_descriptors(&socket);
        Ok(Frames {
            socket: Descriptor::new(socket),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            sequence: 0,
            streaming: false,
            readable: true,
            refuses,
            held: Vec::new(),
        })
    }

    pub(crate) fn attach(&mut self) -> io::Result<()> {
        self.socket.attach(!self.outbox.is_done())
    }

    pub(crate) fn poll(&self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll(cx)
    }

    /// Told when the socket has become ready, or may have.
    pub(crate) fn woken(&mut self) {
        self.readable = true;
    }

    /// Whether nothing has been said since the last answer, and the other end is open. Asked of the descriptor
    /// itself: the reactor may not have heard of the latest yet.
    pub(crate) fn is_silent(&self) -> bool {
        let Ok(socket) = self.socket.fd() else { return false };
        // Looked at and left where it is: to take it out is to take what may come with it.
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.inbox.is_empty() && matches!(recv(socket, &mut [0u8; 1], flags), Err(Errno::AGAIN | Errno::INTR))
    }

    /// What must not be closed before the other end is dead: the socket, and what was sent over it. `None` where
    /// nothing can have been.
    pub(crate) fn remains(&mut self) -> Option<(Option<OwnedFd>, Vec<OwnedFd>)> {
        (!self.refuses).then(|| (self.socket.take(), std::mem::take(&mut self.held)))
    }

    /// Gets LOAD ready to be written; `false` when it is too long.
    pub(crate) fn begin_load(&mut self, document: &[u8]) -> bool {
        frame::encode(self.sequence, Order::Load(document), self.outbox.begin())
    }

    /// Gets an invocation ready to be written; `false` when it is too long.
    pub(crate) fn begin_invoke(&mut self, call: &Call<'_>, event: &Bytes) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        self.streaming = false;
        self.readable = !self.inbox.is_empty();
        let about = call.to_json();
        if !frame::encode_head(self.sequence, &about, event.len(), self.outbox.begin()) {
            return false;
        }
        self.outbox.body(event);
        true
    }

    /// Writes and reads what goes at once.
    pub(crate) fn advance(&mut self) -> Step {
        if !self.outbox.is_done() {
            // An error is no end yet: it may have answered before it closed.
            if self.write().is_err() {
                self.readable = true;
            }
            if !self.outbox.is_done() && self.socket.attach(true).is_err() {
                return Step::Closed;
            }
        }
        loop {
            match self.received() {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(error) => return Step::Ending(Ending::Broken(error)),
            }
            if !self.readable {
                return Step::Wait;
            }
            let wanted = frame::expected(self.inbox.unread()).unwrap_or(0).saturating_sub(self.inbox.unread().len());
            let Ok(socket) = self.socket.fd() else { return Step::Closed };
            let read = if self.refuses {
                self.inbox.read(socket, wanted)
            } else {
                self.inbox.receive(socket, wanted, &mut self.held)
            };
            if !self.held.is_empty() {
                return Step::Ending(Ending::Broken(frame::Error::Descriptors));
            }
            match read {
                Ok(Read::Some) => {}
                Ok(Read::Nothing) => self.readable = false,
                Ok(Read::End) | Err(_) => return Step::Closed,
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let socket = self.socket.fd()?;
        self.outbox.write(socket)
    }

    fn received(&mut self) -> Result<Option<Step>, frame::Error> {
        let Some(found) = frame::decode(self.inbox.unread(), self.sequence)? else { return Ok(None) };
        let body = found.consumed.saturating_sub(frame::HEADER_BYTES);
        let streaming = self.streaming;
        let expected = match found.answer {
            Answer::StreamStart(_) => !streaming,
            Answer::StreamChunk(_) | Answer::StreamEnd(_) => streaming,
            Answer::Error { exiting, .. } => exiting || !streaming,
            _ => !streaming,
        };
        if !expected {
            return Err(frame::Error::Body);
        }
        let step = match found.answer {
            Answer::Hello => self.bare(body, Ending::Hello),
            Answer::Ready => self.bare(body, Ending::Ready),
            Answer::Result(_) => Step::Ending(Ending::Result(self.inbox.take(frame::HEADER_BYTES, body))),
            Answer::Error { exiting, .. } => {
                let document = self.inbox.take(frame::HEADER_BYTES + 1, body.saturating_sub(1));
                Step::Ending(Ending::Failed { document, exiting })
            }
            Answer::InitError(_) => Step::Ending(Ending::InitError(self.inbox.take(frame::HEADER_BYTES, body))),
            Answer::StreamStart(_) => {
                self.streaming = true;
                let content_type = self.inbox.take(frame::HEADER_BYTES, body);
                let content_type = String::from_utf8_lossy(&content_type).into_owned();
                Step::Part(StreamPart::Start { content_type })
            }
            Answer::StreamChunk(_) => Step::Part(StreamPart::Chunk(self.inbox.take(frame::HEADER_BYTES, body))),
            Answer::StreamEnd(_) => {
                self.streaming = false;
                let document = self.inbox.take(frame::HEADER_BYTES, body);
                Step::Ending(if document.is_empty() {
                    Ending::Result(Bytes::new())
                } else {
                    Ending::Failed { document, exiting: false }
                })
            }
        };
        Ok(Some(step))
    }

    fn bare(&mut self, body: usize, ending: Ending) -> Step {
        self.inbox.consume(frame::HEADER_BYTES.saturating_add(body));
        Step::Ending(ending)
    }
}
