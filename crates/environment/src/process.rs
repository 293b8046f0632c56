//! One environment in use: whoever holds it writes and reads its sockets itself.
//!
//! An environment is used by one task at a time, on whatever runtime that task runs: [`Environment::attach`] moves its
//! sockets there. How far an exchange has come lies in the environment, so a future that is dropped midway costs
//! nothing but the waiting: [`Environment::resume`] goes on where it stopped.

mod descriptor;
mod frames;
mod http;
mod inbox;
mod outbox;
mod rights;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use lambda::invoke::{Revision, StreamPart, StreamSink};
use rustix::io::Errno;
use tokio::time::Instant;

use self::{descriptor::Descriptor, frames::Frames, http::Http};
use crate::{
    clock::Monotonic,
    frame::{self, RESULT_BYTES_MAX, STREAM_BYTES_MAX},
    launch::{Exit, Freezer, Launched, Process},
    log::{Batch, Log},
    state::EnvironmentId,
};

/// How long an answer is waited for before the process and its output are looked at too. Most answers come sooner, and
/// looking costs more than they do; output that fills its pipe holds the function up no longer than this.
const QUICK: Duration = Duration::from_millis(2);
/// How long a reader of a streamed answer may take for what is left of it after its function has ended.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// How much output is read at a time, bytes. A pipe holds half of it unless it has been enlarged, so all that was written
/// before an answer is in it.
const OUTPUT_BYTES: usize = 128 * 1_024;
/// For how long output is left in its pipe once some was read, while a function is at work. Who writes without end is held up
/// by it, though far above the rate that a log takes ([`log`](crate::log)); the thread that reads it is there for others
/// meanwhile.
const OUTPUT_RESTS: Duration = Duration::from_millis(2);
/// How often a running function's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(50);
/// From when on a function that is at work, or loading, lets others go before it: an account whose functions take long, or
/// which has many, costs another whose functions answer soon no more than the switch from the one to the other. Most
/// answers come sooner, even when cores are short.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(10);
/// How long a process may take to exit after it has closed its socket.
const EXIT_GRACE: Duration = Duration::from_millis(200);

/// What one exchange with a runtime ended in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Hello,
    Ready,
    /// Empty as well when the result has been streamed.
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

/// What a look at the sockets came to.
enum Step {
    Ending(Ending),
    Part(StreamPart),
    /// The other end is gone.
    Closed,
    /// Nothing until one of them is ready.
    Wait,
    /// There is more to do, but others have waited long enough.
    More,
}

/// What a runtime is told of an invocation besides the event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) id: &'a str,
    /// End of the function's time, milliseconds since the epoch.
    pub(crate) deadline_ms: u64,
    /// As the caller qualified it.
    pub(crate) arn: &'a str,
    pub(crate) trace: Option<&'a str>,
    /// Decoded client context, JSON.
    pub(crate) client_context: Option<&'a str>,
}

impl Call<'_> {
    /// The document in front of an event in a frame.
    fn to_json(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut field = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            // A string can always be written.
            let _ = serde_json::to_writer(&mut out, value);
        };
        field("{\"id\":", self.id);
        field(",\"arn\":", self.arn);
        if let Some(trace) = self.trace {
            field(",\"trace\":", trace);
        }
        if let Some(context) = self.client_context {
            field(",\"clientContext\":", context);
        }
        out.extend_from_slice(format!(",\"deadline\":{}}}", self.deadline_ms).as_bytes());
        out
    }
}

/// The document of a result that is longer than AWS takes.
pub(crate) fn too_large() -> Bytes {
    Bytes::from(format!(
        "{{\"errorMessage\":\"Response payload size exceeded maximum allowed payload size ({RESULT_BYTES_MAX} \
         bytes).\",\"errorType\":\"Function.ResponseSizeTooLarge\"}}"
    ))
}

/// Takes batches of log lines.
pub(crate) type Sink = Box<dyn Fn(Batch) + Send + Sync>;

/// How a runtime talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Our bootstraps: frames.
    Frames,
    /// Custom runtimes: the HTTP Runtime API.
    Http,
    /// Whichever it uses first: a wrapper may start our bootstrap or another client.
    Either,
}

/// An exchange that is under way.
struct Exchange {
    deadline: Instant,
    /// When memory is looked at next; `None` while the answer is still expected soon.
    look: Option<Instant>,
    /// Until when it is expected soon.
    quick: Instant,
    /// Until when output is not looked at.
    output_rests: Option<Instant>,
    /// Whether others go before it by now.
    gives_way: bool,
    /// What it ended in, once that is known; parts of a stream may still be on their way.
    ending: Option<Ending>,
}

/// An answer that comes in parts.
#[derive(Default)]
struct Stream {
    sink: Option<Box<dyn StreamSink>>,
    /// Nobody reads any more.
    abandoned: bool,
    /// Received and not handed on, in order; never more than two.
    parts: VecDeque<StreamPart>,
    started: bool,
    bytes: u64,
    /// The answer for a caller who takes no parts.
    whole: Vec<u8>,
}

/// An environment: its process, its sockets, its log.
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
    frames: Frames,
    http: Option<Box<Http>>,
    speaks: Speaks,
    greeted: bool,
    exchange: Option<Exchange>,
    stream: Stream,
    unused_sink: Option<Box<dyn StreamSink>>,
    output: Descriptor,
    output_open: bool,
    exit: Descriptor,
    exited: bool,
    /// Whether it goes after others until it has answered.
    goes_last: bool,
    process: Arc<dyn Process>,
    clock: Monotonic,
    memory_read_ms: u64,
}

impl Environment {
    /// Takes over a started process.
    ///
    /// # Errors
    /// When the host has no descriptors left, or a runtime is to speak HTTP and nobody listens for it.
    pub(crate) fn new(
        id: EnvironmentId,
        revision: Arc<Revision>,
        launched: Launched,
        speaks: Speaks,
        log: Log,
        clock: Monotonic,
        lives_ms: u64,
    ) -> io::Result<(Environment, Arc<dyn Process>)> {
        let process: Arc<dyn Process> = Arc::from(launched.process);
        rustix::io::ioctl_fionbio(&launched.output, true)?;
        let http = match (speaks, launched.listeners) {
            (Speaks::Frames, _) => None,
            (_, Some(listeners)) => Some(Box::new(Http::new(listeners.runtime_api)?)),
            (_, None) => return Err(io::Error::other("there is no Runtime API for this environment")),
        };
        let environment = Environment {
            id,
            revision,
            log,
            init_us: None,
            peak_bytes: 0,
            lives_ms,
            sink: None,
            frames: Frames::new(launched.socket)?,
            http,
            speaks,
            greeted: speaks == Speaks::Http,
            exchange: None,
            stream: Stream::default(),
            unused_sink: None,
            output: Descriptor::new(launched.output),
            output_open: true,
            exit: Descriptor::new(process.watch()?),
            exited: false,
            goes_last: false,
            process: Arc::clone(&process),
            clock,
            memory_read_ms: 0,
        };
        Ok((environment, process))
    }

    /// Makes a standby the environment of a function.
    pub(crate) fn assign(&mut self, revision: Arc<Revision>, log: Log, lives_ms: u64) {
        (self.revision, self.log, self.lives_ms) = (revision, log, lives_ms);
    }

    /// Puts it behind others from now on, until it has answered or is put back.
    pub(crate) fn go_last(&mut self, last: bool) {
        if std::mem::replace(&mut self.goes_last, last) != last {
            self.process.give_way(last);
        }
    }

    /// Moves the sockets to the current runtime; costs nothing when they are there.
    ///
    /// # Errors
    /// Outside a runtime, or when the host has no room; the environment must then be killed.
    pub(crate) fn attach(&mut self) -> io::Result<()> {
        if self.speaks != Speaks::Http {
            self.frames.attach()?;
        }
        if let Some(http) = &mut self.http {
            http.attach()?;
        }
        if self.exchange.as_ref().is_some_and(|exchange| exchange.look.is_some()) {
            self.watch()?;
        }
        Ok(())
    }

    /// Has the process and its output looked at by the current runtime as well.
    fn watch(&mut self) -> io::Result<()> {
        self.exit.attach(false)?;
        self.output.attach(false)
    }

    /// Whether the process is there and, if it speaks frames, has said nothing since its last answer.
    pub(crate) fn is_usable(&self) -> bool {
        let silent = self.speaks == Speaks::Http || self.frames.is_silent();
        silent && self.exchange.is_none() && self.output_open && !self.exited && self.process.exited().is_none()
    }

    /// Whether it may be used now, having been let run again if it was frozen.
    pub(crate) fn is_fit(&self) -> bool {
        self.process.thaw().is_ok() && self.is_usable()
    }

    /// Whether it may be frozen after so long unused, milliseconds: the host can, and the runtime has done what it does
    /// after an answer. One that speaks HTTP shows that by asking for the next event, or has had its function's time.
    pub(crate) fn may_freeze(&mut self, unused_ms: u64) -> bool {
        let works = self.process.freezer().is_some_and(Freezer::works);
        let timeout_ms = u64::from(self.revision.timeout_s).saturating_mul(1_000);
        works && (unused_ms >= timeout_ms || self.http.as_mut().is_none_or(|http| http.asks_for_event()))
    }

    /// Whether an exchange has begun and not ended: its future was dropped.
    pub(crate) fn is_busy(&self) -> bool {
        self.exchange.is_some()
    }

    /// Whether the runtime has heard of the last invocation. One that speaks HTTP may end between answering and asking
    /// for the next event; an invocation it never heard of can be given to another.
    pub(crate) fn was_heard(&self) -> bool {
        self.http.as_ref().is_none_or(|http| http.has_delivered())
    }

    /// What the runtime called the error that kept it from loading, when it told so in a header.
    pub(crate) fn init_error_type(&self) -> Option<&str> {
        self.http.as_ref().and_then(|http| http.init_error_type.as_deref())
    }

    /// The sink of an invocation the runtime never heard of.
    pub(crate) fn unused_sink(&mut self) -> Option<Box<dyn StreamSink>> {
        self.unused_sink.take()
    }

    /// Waits until the bootstrap runs: [`Ending::Hello`]. Afterwards a standby may wait for its function.
    pub(crate) async fn greet(&mut self, deadline: Instant) -> Ending {
        if self.greeted {
            return Ending::Hello;
        }
        self.begin(deadline);
        match self.run().await {
            Ending::Hello => {
                self.greeted = true;
                Ending::Hello
            }
            Ending::Ready | Ending::Result(_) | Ending::Failed { .. } => Ending::Broken(frame::Error::Body),
            other => other,
        }
    }

    /// Sends LOAD, unless the runtime speaks HTTP and knows by its variables, and waits until the function is loaded,
    /// at most until `deadline`.
    pub(crate) async fn load(&mut self, document: &[u8], deadline: Instant) -> Ending {
        if self.speaks != Speaks::Http && !self.frames.begin_load(document) {
            return Ending::Broken(frame::Error::Body);
        }
        loop {
            self.begin(deadline);
            match self.run().await {
                Ending::Hello if !self.greeted => self.greeted = true,
                Ending::Ready if self.greeted => return Ending::Ready,
                Ending::Hello | Ending::Ready | Ending::Result(_) | Ending::Failed { .. } => {
                    return Ending::Broken(frame::Error::Body);
                }
                other => return other,
            }
        }
    }

    /// Sends one invocation and waits for its answer, at most until `deadline`. With a `sink`, an answer is handed on
    /// in parts, and the ending's result is empty.
    pub(crate) async fn invoke(
        &mut self,
        call: &Call<'_>,
        event: &Bytes,
        deadline: Instant,
        sink: Option<Box<dyn StreamSink>>,
    ) -> Ending {
        match &mut self.http {
            Some(http) => http.begin_invoke(call, event),
            None => {
                if !self.frames.begin_invoke(call, event) {
                    return Ending::Broken(frame::Error::Body);
                }
            }
        }
        self.begin(deadline);
        self.stream = Stream { sink, ..Stream::default() };
        match self.run().await {
            Ending::Hello | Ending::Ready | Ending::InitError(_) => Ending::Broken(frame::Error::Body),
            other => other,
        }
    }

    fn begin(&mut self, deadline: Instant) {
        let quick = Instant::now() + QUICK;
        let gives_way = self.goes_last;
        self.exchange = Some(Exchange { deadline, look: None, quick, output_rests: None, gives_way, ending: None });
    }

    /// Goes on with the exchange that has begun, on the current runtime, and ends it. The way to an answer whose first
    /// reader has gone away.
    pub(crate) async fn resume(&mut self) -> Ending {
        // Who was dropped may have been woken already.
        self.woken();
        self.drain_output();
        self.run().await
    }

    async fn run(&mut self) -> Ending {
        let ending = match self.attach() {
            Ok(()) => self.proceed().await,
            Err(error) => self.lost(&error),
        };
        if let Some(exchange) = self.exchange.take() {
            if exchange.look.is_some() {
                self.output.detach();
                self.exit.detach();
            }
            // What is about to end may take all the time others leave it: of many processes each takes long to die.
            let answered = matches!(ending, Ending::Result(_) | Ending::Failed { .. });
            self.goes_last &= !answered;
            let goes_on = answered || matches!(ending, Ending::Hello | Ending::Ready);
            if exchange.gives_way && goes_on && !self.goes_last {
                self.process.give_way(false);
            }
        }
        let stream = std::mem::take(&mut self.stream);
        self.unused_sink = if self.was_heard() { None } else { stream.sink };
        self.drain_output();
        ending
    }

    /// The host cannot carry on with it.
    fn lost(&mut self, error: &io::Error) -> Ending {
        tracing::error!(%error, "an environment cannot be watched and is given up");
        self.process.kill();
        Ending::Exited(Exit::Signal(9))
    }

    fn woken(&mut self) {
        self.frames.woken();
        if let Some(http) = &mut self.http {
            http.woken();
        }
    }

    async fn proceed(&mut self) -> Ending {
        loop {
            if !self.stream.parts.is_empty() {
                match self.hand_on().await {
                    Some(ending) => return ending,
                    None => continue,
                }
            }
            let Some(exchange) = &mut self.exchange else { return Ending::Broken(frame::Error::Body) };
            if let Some(ending) = exchange.ending.take() {
                return ending;
            }
            let deadline = exchange.deadline;
            match self.advance() {
                Step::Ending(ending) => self.ended(ending),
                Step::Part(part) => {
                    self.part(part);
                    tokio::task::consume_budget().await;
                    if Instant::now() >= deadline {
                        return Ending::TimedOut;
                    }
                }
                Step::More => {
                    tokio::task::yield_now().await;
                    if Instant::now() >= deadline {
                        return Ending::TimedOut;
                    }
                }
                Step::Closed => return self.exit_status().await,
                Step::Wait if self.exited => return self.exit_status().await,
                Step::Wait => {
                    if let Some(ending) = self.wait().await {
                        return ending;
                    }
                }
            }
        }
    }

    /// Writes and reads what goes at once, by whichever way the runtime talks.
    fn advance(&mut self) -> Step {
        if self.speaks != Speaks::Http {
            match (self.frames.advance(), self.speaks) {
                (Step::Wait, Speaks::Either) => {}
                // A wrapper may well close what it does not know.
                (Step::Closed, Speaks::Either) => self.speaks = Speaks::Http,
                (step, Speaks::Either) => {
                    self.speaks = Speaks::Frames;
                    self.http = None;
                    return step;
                }
                (step, _) => return step,
            }
        }
        let Some(http) = &mut self.http else { return Step::Closed };
        let step = http.advance();
        if matches!(step, Step::Ending(Ending::Ready)) {
            self.speaks = Speaks::Http;
            self.greeted = true;
        }
        step
    }

    /// Waits until a socket is ready or something else must be looked at; an ending when that is one.
    async fn wait(&mut self) -> Option<Ending> {
        let Environment { frames, http, speaks, output, output_open, exit, exited, exchange, .. } = self;
        let exchange = exchange.as_ref()?;
        let deadline = exchange.deadline;
        let (watching, rests) = (exchange.look.is_some(), exchange.output_rests);
        let next = exchange.look.unwrap_or(exchange.quick).min(deadline);
        let mut timer = pin!(tokio::time::sleep_until(rests.map_or(next, |rests| rests.min(next))));
        let mut output_ready = false;
        let woken = poll_fn(|cx| {
            let mut woken = false;
            if *speaks != Speaks::Http && frames.poll(cx).is_ready() {
                frames.woken();
                woken = true;
            }
            if let Some(http) = http.as_mut() {
                woken |= http.poll(cx).is_ready();
            }
            if watching && !*exited && matches!(exit.poll(cx), Poll::Ready(Ok(()))) {
                *exited = true;
                woken = true;
            }
            if watching && *output_open && rests.is_none() && matches!(output.poll(cx), Poll::Ready(Ok(()))) {
                output_ready = true;
                woken = true;
            }
            if woken { Poll::Ready(true) } else { timer.as_mut().poll(cx).map(|()| false) }
        })
        .await;
        if *exited {
            // Its last words may still lie in a socket.
            self.woken();
        }
        if woken && !watching {
            return None;
        }
        if output_ready {
            self.drain_output();
        }
        let now = Instant::now();
        if let Some(exchange) = &mut self.exchange {
            let rests = exchange.output_rests.filter(|rests| now < *rests);
            exchange.output_rests = if output_ready { Some(now + OUTPUT_RESTS) } else { rests };
        }
        if now >= deadline {
            return (!woken).then_some(Ending::TimedOut);
        }
        self.look_around(now)
    }

    /// Looks at what needs no answer to be looked at: the process, its output, its memory.
    fn look_around(&mut self, now: Instant) -> Option<Ending> {
        let exchange = self.exchange.as_mut()?;
        match exchange.look {
            Some(look) if now < look => None,
            Some(_) => {
                exchange.look = Some(now + MEMORY_EVERY);
                if !std::mem::replace(&mut exchange.gives_way, true) {
                    self.process.give_way(true);
                }
                self.look_at_memory().then_some(Ending::OutOfMemory)
            }
            None => {
                exchange.look = Some(now + GIVES_WAY_AFTER.saturating_sub(QUICK));
                self.watch().err().map(|error| self.lost(&error))
            }
        }
    }

    /// Takes a part of a streamed answer.
    fn part(&mut self, part: StreamPart) {
        let stream = &mut self.stream;
        match &part {
            StreamPart::Start { .. } => stream.started = true,
            StreamPart::Chunk(chunk) if chunk.is_empty() => return,
            StreamPart::Chunk(chunk) => {
                stream.bytes = stream.bytes.saturating_add(chunk.len() as u64);
                if stream.bytes > STREAM_BYTES_MAX {
                    self.ended(Ending::Failed { document: too_large(), exiting: true });
                    return;
                }
            }
        }
        if stream.sink.is_some() {
            stream.parts.push_back(part);
        } else if let StreamPart::Chunk(chunk) = &part
            && !stream.abandoned
            && stream.whole.len() <= RESULT_BYTES_MAX
        {
            stream.whole.extend_from_slice(chunk);
        }
    }

    /// Takes the end of an exchange, and makes the answer what its reader wants: parts or one whole.
    fn ended(&mut self, ending: Ending) {
        let stream = &mut self.stream;
        let ending = match ending {
            Ending::Result(_) if stream.started && stream.whole.len() > RESULT_BYTES_MAX => {
                Ending::Failed { document: too_large(), exiting: false }
            }
            Ending::Result(_) if stream.started => Ending::Result(Bytes::from(std::mem::take(&mut stream.whole))),
            Ending::Result(payload) if stream.sink.is_some() && payload.len() <= RESULT_BYTES_MAX => {
                stream.parts.push_back(StreamPart::Start { content_type: "application/json".into() });
                if !payload.is_empty() {
                    stream.parts.push_back(StreamPart::Chunk(payload));
                }
                Ending::Result(Bytes::new())
            }
            other => other,
        };
        if let Some(exchange) = &mut self.exchange {
            if !stream.parts.is_empty() {
                exchange.deadline = exchange.deadline.max(Instant::now() + READER_PATIENCE);
            }
            exchange.ending = Some(ending);
        }
    }

    /// Hands the oldest part on at the reader's pace, looking around meanwhile.
    async fn hand_on(&mut self) -> Option<Ending> {
        let exchange = self.exchange.as_ref()?;
        let (deadline, ended) = (exchange.deadline, exchange.ending.is_some());
        let until = deadline.min(Instant::now() + MEMORY_EVERY);
        let part = self.stream.parts.front().cloned()?;
        let taken = match &mut self.stream.sink {
            Some(sink) => tokio::time::timeout_at(until, sink.take(part)).await,
            None => Ok(Ok(())),
        };
        match taken {
            Ok(Ok(())) => {
                self.stream.parts.pop_front();
                return None;
            }
            Ok(Err(_)) => self.abandon(),
            Err(_) if Instant::now() >= deadline && ended => self.abandon(),
            Err(_) if Instant::now() >= deadline => return Some(Ending::TimedOut),
            Err(_) => {
                self.drain_output();
                if !ended && self.look_at_memory() {
                    return Some(Ending::OutOfMemory);
                }
            }
        }
        None
    }

    /// Nobody reads any more; the function goes on to its end all the same.
    fn abandon(&mut self) {
        self.stream.sink = None;
        self.stream.abandoned = true;
        self.stream.parts.clear();
    }

    /// How a process that has closed its socket ended; one that only closed it is killed.
    async fn exit_status(&mut self) -> Ending {
        for patient in [true, false] {
            if self.exited || self.process.exited().is_some() {
                break;
            }
            if !patient {
                self.process.kill();
            }
            if let Err(error) = self.exit.attach(false) {
                return self.lost(&error);
            }
            let gone = poll_fn(|cx| self.exit.poll(cx));
            self.exited = tokio::time::timeout(EXIT_GRACE, gone).await.is_ok();
        }
        self.exit.detach();
        self.exited = true;
        self.drain_output();
        if self.process.out_of_memory() {
            return Ending::OutOfMemory;
        }
        Ending::Exited(self.process.exited().unwrap_or(Exit::Unknown))
    }

    fn feed(&mut self, chunk: &[u8]) {
        self.log.feed(chunk, self.clock.now_ms());
        if let Some(sink) = &self.sink
            && let Some(batch) = self.log.take(false)
        {
            sink(batch);
        }
    }

    /// Reads once; gives how many bytes came, or `None` when there is nothing more now.
    fn read_output(&mut self) -> Option<usize> {
        let mut chunk = [0u8; 16 * 1_024];
        let Ok(output) = self.output.fd() else {
            self.output_open = false;
            return None;
        };
        match rustix::io::retry_on_intr(|| rustix::io::read(output, &mut chunk)) {
            Ok(read) if read > 0 => {
                self.feed(chunk.get(..read).unwrap_or_default());
                Some(read)
            }
            Err(Errno::AGAIN) => None,
            // An environment without a log serves nobody any more.
            _ => {
                self.output_open = false;
                None
            }
        }
    }

    /// Takes what is in the pipe now, and no more, for somebody may keep writing. All a runtime wrote before its answer is
    /// there when the answer is.
    pub(crate) fn drain_output(&mut self) {
        let mut taken = 0;
        while taken < OUTPUT_BYTES
            && let Some(read) = self.read_output()
        {
            taken += read;
        }
    }

    /// Reads the memory in use; `true` when it is over the function's limit, or the host has found it so.
    pub(crate) fn look_at_memory(&mut self) -> bool {
        self.memory_read_ms = self.clock.now_ms();
        let killed = self.process.out_of_memory();
        let Some(memory) = self.process.memory() else { return killed };
        self.peak_bytes = self.peak_bytes.max(memory.peak);
        killed || memory.now > u64::from(self.revision.memory_mb) * 1_024 * 1_024
    }

    /// Whether memory was last read so long ago that a report should read it again.
    pub(crate) fn memory_is_stale(&self) -> bool {
        self.peak_bytes == 0 || self.clock.now_ms().saturating_sub(self.memory_read_ms) >= 1_000
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if let Some((socket, held)) = self.frames.remains() {
            rights::bury(Arc::clone(&self.process), socket, held);
        }
    }
}
