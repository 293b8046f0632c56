//! One environment in use: whoever holds it writes and reads its socket itself.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use lambda::invoke::Revision;
use rustix::io::Errno;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
    time::Instant,
};

use crate::{
    clock::Monotonic,
    frame::{self, Answer, Order},
    launch::{Exit, Launched, Process, on_reactor},
    log::{Batch, Log},
    state::EnvironmentId,
};

/// How often a running function's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(50);
/// How long a process may take to exit after it has closed its socket.
const EXIT_GRACE: Duration = Duration::from_millis(200);
/// Buffers that have grown beyond this are given back after use, bytes.
const BUFFER_BYTES_KEPT: usize = 64 * 1_024;

/// What one exchange with a runtime ended in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Hello,
    Ready,
    Result(Bytes),
    Failed {
        document: Bytes,
        exiting: bool,
    },
    InitError(Bytes),
    TimedOut,
    Exited(Exit),
    OutOfMemory,
    /// Broke the protocol.
    Broken(frame::Error),
}

/// Takes batches of log lines.
pub(crate) type Sink = Box<dyn Fn(Batch) + Send + Sync>;

/// An environment: its process, its socket, its log.
pub(crate) struct Environment {
    pub(crate) id: EnvironmentId,
    pub(crate) revision: Arc<Revision>,
    pub(crate) log: Log,
    /// Taken by the first report.
    pub(crate) init_us: Option<u64>,
    pub(crate) peak_bytes: u64,
    pub(crate) lives_ms: u64,
    /// Where lines go while an invocation is running, so that a talkative one does not fill memory.
    pub(crate) sink: Option<Sink>,
    socket: UnixStream,
    output: pipe::Receiver,
    exit: AsyncFd<std::os::fd::OwnedFd>,
    process: Arc<dyn Process>,
    clock: Monotonic,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sequence: u64,
    memory_read_ms: u64,
}

impl Environment {
    /// Takes over a started process. Must be called inside a runtime.
    pub(crate) fn new(
        id: EnvironmentId,
        revision: Arc<Revision>,
        launched: Launched,
        log: Log,
        clock: Monotonic,
        lives_ms: u64,
    ) -> io::Result<(Environment, Arc<dyn Process>)> {
        launched.socket.set_nonblocking(true)?;
        let process: Arc<dyn Process> = Arc::from(launched.process);
        let environment = Environment {
            id,
            revision,
            log,
            init_us: None,
            peak_bytes: 0,
            lives_ms,
            sink: None,
            socket: UnixStream::from_std(launched.socket)?,
            output: pipe::Receiver::from_owned_fd(launched.output)?,
            exit: on_reactor(process.watch()?)?,
            process: Arc::clone(&process),
            clock,
            inbox: Vec::new(),
            outbox: Vec::new(),
            sequence: 0,
            memory_read_ms: 0,
        };
        Ok((environment, process))
    }

    /// Whether the process is there and has said nothing since its last answer.
    pub(crate) fn is_usable(&self) -> bool {
        // Asked of the descriptor itself: the reactor may not have heard of the latest yet.
        let silent = matches!(rustix::io::read(&self.socket, &mut [0u8; 1]), Err(Errno::AGAIN | Errno::INTR));
        silent && self.inbox.is_empty() && self.process.exited().is_none()
    }

    /// Sends LOAD and waits until the function is loaded, at most until `deadline`.
    pub(crate) async fn load(&mut self, document: &[u8], deadline: Instant) -> Ending {
        self.outbox.clear();
        if !frame::encode(self.sequence, Order::Load(document), &mut self.outbox) {
            return Ending::Broken(frame::Error::Body);
        }
        match self.exchange(deadline).await {
            Ending::Hello => {}
            Ending::Ready | Ending::Result(_) | Ending::Failed { .. } => return Ending::Broken(frame::Error::Body),
            other => return other,
        }
        match self.exchange(deadline).await {
            Ending::Hello | Ending::Result(_) | Ending::Failed { .. } => Ending::Broken(frame::Error::Body),
            other => other,
        }
    }

    /// Sends one invocation and waits for its answer, at most until `deadline`.
    pub(crate) async fn invoke(&mut self, about: &[u8], event: &[u8], deadline: Instant) -> Ending {
        self.sequence = self.sequence.wrapping_add(1);
        self.outbox.clear();
        if !frame::encode(self.sequence, Order::Invoke { about, event }, &mut self.outbox) {
            return Ending::Broken(frame::Error::Body);
        }
        let ending = match self.exchange(deadline).await {
            Ending::Hello | Ending::Ready | Ending::InitError(_) => Ending::Broken(frame::Error::Body),
            other => other,
        };
        self.drain_output();
        for buffer in [&mut self.inbox, &mut self.outbox] {
            if buffer.capacity() > BUFFER_BYTES_KEPT && buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
        ending
    }

    /// Writes what is in the outbox while reading until one whole frame, the end of the process, or the deadline.
    async fn exchange(&mut self, deadline: Instant) -> Ending {
        let mut sent = 0;
        let mut look = Instant::now() + MEMORY_EVERY;
        loop {
            if let Err(ending) = self.transfer(&mut sent) {
                return match ending {
                    Some(ending) => ending,
                    None => self.exit_status().await,
                };
            }
            match self.received() {
                Ok(None) => {}
                Ok(Some(ending)) => {
                    self.outbox.clear();
                    return ending;
                }
                Err(error) => return Ending::Broken(error),
            }
            let now = Instant::now();
            if now >= deadline {
                return Ending::TimedOut;
            }
            if now >= look {
                look = now + MEMORY_EVERY;
                if self.look_at_memory() {
                    return Ending::OutOfMemory;
                }
            }
            let interest =
                if sent < self.outbox.len() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            tokio::select! {
                biased;
                _ = self.socket.ready(interest) => {}
                _ = self.exit.readable() => {
                    // Its last words may still lie in the socket.
                    self.read_raw();
                    return match self.received() {
                        Ok(Some(ending)) => ending,
                        Ok(None) => self.exit_status().await,
                        Err(error) => Ending::Broken(error),
                    };
                }
                () = tokio::time::sleep_until(deadline.min(look)) => {}
                _ = self.output.readable() => self.read_output(),
            }
        }
    }

    /// Writes and reads what can be at once. `Err(None)`: the other end is closed.
    fn transfer(&mut self, sent: &mut usize) -> Result<(), Option<Ending>> {
        while let Some(rest) = self.outbox.get(*sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.try_write(rest) {
                Ok(0) => break,
                Ok(written) => *sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It may have answered before it closed.
                Err(_) => *sent = self.outbox.len(),
            }
        }
        loop {
            let wanted = frame::expected(&self.inbox).unwrap_or(0).saturating_sub(self.inbox.len());
            self.inbox.reserve(wanted.max(4 * 1_024));
            match self.socket.try_read_buf(&mut self.inbox) {
                Ok(0) => {
                    return Err(match self.received() {
                        Ok(Some(ending)) => Some(ending),
                        Ok(None) => None,
                        Err(error) => Some(Ending::Broken(error)),
                    });
                }
                Ok(_) if frame::expected(&self.inbox).is_none_or(|whole| self.inbox.len() >= whole) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(None),
            }
        }
    }

    /// Reads what a dead process has left, past the reactor, up to one frame.
    fn read_raw(&mut self) {
        let mut chunk = [0u8; 16 * 1_024];
        while self.inbox.len() <= frame::FRAME_BYTES_MAX + 4 {
            match rustix::io::read(&self.socket, &mut chunk) {
                Ok(read) if read > 0 => self.inbox.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    fn received(&mut self) -> Result<Option<Ending>, frame::Error> {
        let Some(found) = frame::decode(&self.inbox, self.sequence)? else { return Ok(None) };
        let ending = match found.answer {
            Answer::Hello => Ending::Hello,
            Answer::Ready => Ending::Ready,
            Answer::Result(payload) => Ending::Result(Bytes::copy_from_slice(payload)),
            Answer::Error { document, exiting } => {
                Ending::Failed { document: Bytes::copy_from_slice(document), exiting }
            }
            Answer::InitError(document) => Ending::InitError(Bytes::copy_from_slice(document)),
        };
        self.inbox.drain(..found.consumed);
        Ok(Some(ending))
    }

    /// How a process that has closed its socket ended; one that only closed it is killed.
    async fn exit_status(&mut self) -> Ending {
        if tokio::time::timeout(EXIT_GRACE, self.exit.readable()).await.is_err() {
            self.process.kill();
            let _ = tokio::time::timeout(EXIT_GRACE, self.exit.readable()).await;
        }
        self.drain_output();
        Ending::Exited(self.process.exited().unwrap_or(Exit::Unknown))
    }

    fn read_output(&mut self) {
        let mut chunk = [0u8; 16 * 1_024];
        let read = self.output.try_read(&mut chunk).unwrap_or(0);
        self.feed(chunk.get(..read).unwrap_or_default());
    }

    fn feed(&mut self, chunk: &[u8]) {
        self.log.feed(chunk, self.clock.now_ms());
        if let Some(sink) = &self.sink
            && let Some(batch) = self.log.take(false)
        {
            sink(batch);
        }
    }

    /// Takes what is in the pipe now. All a runtime wrote before its answer is there when the answer is.
    pub(crate) fn drain_output(&mut self) {
        let mut chunk = [0u8; 16 * 1_024];
        // A pipe holds 64 KiB unless enlarged; somebody who keeps writing is not waited for.
        for _ in 0..64 {
            match rustix::io::read(&self.output, &mut chunk) {
                Ok(read) if read > 0 => {
                    self.feed(chunk.get(..read).unwrap_or_default());
                }
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
    }

    /// Reads the memory in use; `true` when it is over the function's limit.
    pub(crate) fn look_at_memory(&mut self) -> bool {
        self.memory_read_ms = self.clock.now_ms();
        let Some(memory) = self.process.memory() else { return false };
        self.peak_bytes = self.peak_bytes.max(memory.peak);
        memory.now > u64::from(self.revision.memory_mb) * 1_024 * 1_024
    }

    /// Whether memory was last read so long ago that a report should read it again.
    pub(crate) fn memory_is_stale(&self) -> bool {
        self.peak_bytes == 0 || self.clock.now_ms().saturating_sub(self.memory_read_ms) >= 1_000
    }
}
