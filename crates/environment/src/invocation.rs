//! One invocation from request to outcome, on the runtime of whoever asked.
//!
//! The caller's own task takes an environment, writes and reads its socket and gives it back: no other thread takes
//! part, for waking one costs more than all the rest. How far an invocation has come lies in [`Work`], so when the
//! caller goes away in the middle, the rest is done by a task of the supervisor's runtime.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lambda::invoke::{FunctionError, Invocation, Outcome, Revision, RunError, StreamSink};
use tokio::time::Instant;

use crate::{
    clock::{epoch_ms, iso},
    frame::{EVENT_BYTES_MAX, RESULT_BYTES_MAX},
    launch::Exit,
    log::{Event, Report},
    pool::{Failed, Failure, Grant, INIT_MS_MAX, Shared, Waiting},
    process::{Call, Ending, Environment, too_large},
    state::Refused,
};

/// How long a request waits for an environment beyond what loading one may take, milliseconds: the gateway's own limit.
const PATIENCE_MS: u64 = 29_000;

/// How many environments may end without having heard of an invocation before that is its outcome.
const UNHEARD_MAX: u32 = 4;

/// How far an invocation has come.
enum Stage {
    New,
    Waiting(Waiting),
    Running { environment: Box<Environment>, begun: Instant },
    Done,
}

/// An invocation with all that is needed to bring it to its end.
pub(crate) struct Work {
    shared: Arc<Shared>,
    revision: Arc<Revision>,
    invocation: Invocation,
    sink: Option<Box<dyn StreamSink>>,
    stage: Stage,
    /// Environments that ended without having heard of it.
    unheard: u32,
}

impl Work {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        revision: Arc<Revision>,
        invocation: Invocation,
        sink: Option<Box<dyn StreamSink>>,
    ) -> Work {
        Work { shared: Arc::clone(shared), revision, invocation, sink, stage: Stage::New, unheard: 0 }
    }

    /// Brings it to its end. A future dropped midway loses nothing: another one goes on from there.
    async fn drive(&mut self) -> Result<Outcome, RunError> {
        loop {
            if let Some(outcome) = self.attempt().await {
                return outcome;
            }
        }
    }

    /// `None` when the environment ended without having heard of it, so that another must be found.
    async fn attempt(&mut self) -> Option<Result<Outcome, RunError>> {
        if let Err(outcome) = self.find().await {
            return Some(outcome);
        }
        let ending = self.exchange().await;
        let Stage::Running { mut environment, begun } = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Some(Err(RunError::Unavailable("the invocation has ended already".into())));
        };
        let gone = matches!(ending, Ending::Exited(_) | Ending::OutOfMemory);
        if gone && !environment.was_heard() && self.unheard < UNHEARD_MAX {
            self.unheard += 1;
            self.sink = environment.unused_sink();
            self.give_back(environment, false);
            self.stage = Stage::New;
            return None;
        }
        Some(Ok(self.finish(environment, begun, ending)))
    }

    /// Gets an environment, unless it has one; the outcome when there is none to be had.
    async fn find(&mut self) -> Result<(), Result<Outcome, RunError>> {
        if matches!(self.stage, Stage::New) {
            if self.invocation.payload.len() > EVENT_BYTES_MAX {
                self.stage = Stage::Done;
                return Err(Err(RunError::TooLarge));
            }
            let patience_ms = PATIENCE_MS.max(INIT_MS_MAX + u64::from(self.revision.timeout_s) * 1_000) + 1_000;
            self.stage = match self.shared.ask(&self.revision, Duration::from_millis(patience_ms)) {
                Ok(environment) => self.begin(environment),
                Err(waiting) => Stage::Waiting(waiting),
            };
        }
        if let Stage::Waiting(waiting) = &mut self.stage {
            let grant = self.shared.wait(waiting).await;
            self.stage = Stage::Done;
            match grant {
                Grant::Environment(environment) => self.stage = self.begin(environment),
                Grant::Failed(failed) => return Err(unstarted(failed, &self.revision, &self.invocation)),
                Grant::Refused(Refused::Account | Refused::Waiters) => {
                    return Err(Err(RunError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }));
                }
                Grant::Refused(Refused::Closing) => {
                    return Err(Err(RunError::Unavailable("the server is shutting down".into())));
                }
            }
        }
        Ok(())
    }

    /// The environment is this invocation's from now on.
    fn begin(&self, mut environment: Box<Environment>) -> Stage {
        // What was said while idle belongs to no invocation's tail.
        environment.drain_output();
        environment.log.begin();
        let (request_id, version) = (&self.invocation.request_id, &self.revision.version);
        environment.log.event(&Event::Start { request_id, version });
        Stage::Running { environment, begun: Instant::now() }
    }

    /// Has the function answer.
    async fn exchange(&mut self) -> Ending {
        let Stage::Running { environment, begun } = &mut self.stage else {
            return Ending::Exited(Exit::Unknown);
        };
        if environment.is_busy() {
            return environment.resume().await;
        }
        let timeout = Duration::from_secs(u64::from(self.revision.timeout_s));
        let left = timeout.saturating_sub(begun.elapsed());
        let call = Call {
            id: &self.invocation.request_id,
            deadline_ms: epoch_ms().saturating_add(left.as_millis() as u64),
            arn: &self.invocation.invoked_arn,
            trace: self.invocation.trace_id.as_deref(),
            client_context: self.invocation.client_context.as_deref(),
        };
        environment.invoke(&call, &self.invocation.payload, *begun + timeout, self.sink.take()).await
    }

    /// Ends the log of it, gives the environment back and tells what came of it.
    fn finish(&self, mut environment: Box<Environment>, begun: Instant, ending: Ending) -> Outcome {
        let (revision, invocation) = (&*self.revision, &self.invocation);
        let duration_us = begun.elapsed().as_micros() as u64;
        let (payload, function_error, healthy, trouble) = conclude(ending, revision, invocation);
        if let Some(trouble) = &trouble {
            environment.log.line(trouble.line.clone());
        }
        if healthy && environment.memory_is_stale() {
            environment.look_at_memory();
        }
        // An error that the function itself answered with is an answer; whether its runtime names it changes nothing.
        let status = trouble.as_ref().map(|trouble| trouble.status);
        environment.log.event(&Event::End { request_id: &invocation.request_id, status, duration_us });
        let report = Report {
            request_id: &invocation.request_id,
            duration_us,
            memory_mb: revision.memory_mb,
            peak_bytes: environment.peak_bytes,
            init_us: environment.init_us.take(),
            status,
            error_type: trouble.as_ref().and_then(|trouble| trouble.error_type),
            unisolated: self.shared.options.unisolated_banner,
        };
        environment.log.event(&Event::Report(&report));
        let log_tail = invocation.log_tail.then(|| environment.log.tail());
        self.give_back(environment, healthy);
        let executed_version = revision.version.clone();
        Outcome { payload, function_error, executed_version, log_tail, duration_us }
    }

    /// Gives the environment back and what it has logged away.
    fn give_back(&self, mut environment: Box<Environment>, healthy: bool) {
        let revision = &*self.revision;
        let batch = environment.log.take(true);
        let place = batch.map(|batch| (environment.log.group.clone(), environment.log.stream.clone(), batch.lines));
        // Given back first, so that whoever calls again on getting the answer finds it warm.
        self.shared.release(environment, healthy);
        if let Some((group, stream, lines)) = place {
            self.shared.logs.write(&revision.account, &revision.region, &group, &stream, lines);
        }
    }
}

impl Drop for Work {
    /// Whatever is left when even the supervisor's runtime gives it up.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::New | Stage::Done => {}
            Stage::Waiting(mut waiting) => self.shared.give_up(&mut waiting),
            Stage::Running { environment, .. } => self.shared.release(environment, false),
        }
    }
}

/// Work that somebody waits for; when nobody does any more, it goes on by itself.
pub(crate) struct Attended(Option<Work>);

impl Attended {
    pub(crate) fn new(work: Work) -> Attended {
        Attended(Some(work))
    }

    pub(crate) async fn drive(mut self) -> Result<Outcome, RunError> {
        match &mut self.0 {
            Some(work) => work.drive().await,
            None => Err(RunError::Unavailable("the invocation has ended already".into())),
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        let Some(mut work) = self.0.take() else { return };
        if matches!(work.stage, Stage::Waiting(_) | Stage::Running { .. }) {
            let runtime = work.shared.runtime.clone();
            runtime.spawn(async move {
                let _ = work.drive().await;
            });
        }
    }
}

/// What the log tells of an invocation that ended other than by an answer.
struct Trouble {
    line: String,
    status: &'static str,
    error_type: Option<&'static str>,
}

/// The payload of an ending, whether it is an error, whether the environment may live, and what the log says.
fn conclude(
    ending: Ending,
    revision: &Revision,
    invocation: &Invocation,
) -> (Bytes, Option<FunctionError>, bool, Option<Trouble>) {
    let id = &invocation.request_id;
    let error = Some(FunctionError::Unhandled);
    match ending {
        Ending::Result(payload) if payload.len() <= RESULT_BYTES_MAX => (payload, None, true, None),
        Ending::Result(_) => (too_large(), error, true, None),
        Ending::Failed { document, .. } if document.len() > RESULT_BYTES_MAX => (too_large(), error, false, None),
        Ending::Failed { document, exiting } => (document, error, !exiting, None),
        Ending::TimedOut => {
            let text = timed_out(revision);
            let trouble =
                Trouble { line: format!("{} {id} {text}", iso(epoch_ms())), status: "timeout", error_type: None };
            (document("Sandbox.Timedout", id, &text), error, false, Some(trouble))
        }
        Ending::OutOfMemory => crashed("Runtime.OutOfMemory", id, Exit::Signal(9)),
        Ending::Exited(exit) => crashed("Runtime.ExitError", id, exit),
        Ending::Broken(problem) => {
            let (function, account) = (&revision.function, &revision.account);
            tracing::warn!(function, account, %problem, "a runtime broke the protocol");
            crashed("Runtime.ExitError", id, Exit::Signal(9))
        }
        Ending::Hello | Ending::Ready | Ending::InitError(_) => crashed("Runtime.ExitError", id, Exit::Unknown),
    }
}

fn crashed(kind: &'static str, id: &str, exit: Exit) -> (Bytes, Option<FunctionError>, bool, Option<Trouble>) {
    let text = exit_text(exit);
    let line = format!("RequestId: {id} Error: {text}\n{kind}");
    let trouble = Trouble { line, status: "error", error_type: Some(kind) };
    (document(kind, id, &text), Some(FunctionError::Unhandled), false, Some(trouble))
}

/// The outcome of an invocation whose environment could not be had.
fn unstarted(failed: Failed, revision: &Revision, invocation: &Invocation) -> Result<Outcome, RunError> {
    let id = &invocation.request_id;
    let payload = match failed.failure {
        Failure::Unavailable(text) => return Err(RunError::Unavailable(text)),
        Failure::Reported(document) => document,
        Failure::Exited(exit) => document("Runtime.ExitError", id, &exit_text(exit)),
        Failure::Entrypoint(text) => document("Runtime.InvalidEntrypoint", id, &text),
        Failure::OutOfMemory => document("Runtime.OutOfMemory", id, &exit_text(Exit::Signal(9))),
        Failure::TimedOut => document("Sandbox.Timedout", id, &timed_out(revision)),
    };
    let log_tail = invocation.log_tail.then_some(failed.log);
    Ok(Outcome {
        payload,
        function_error: Some(FunctionError::Unhandled),
        executed_version: revision.version.clone(),
        log_tail,
        duration_us: 0,
    })
}

fn timed_out(revision: &Revision) -> String {
    format!("Task timed out after {}.00 seconds", revision.timeout_s)
}

fn document(kind: &str, request_id: &str, text: &str) -> Bytes {
    let message = format!("RequestId: {request_id} Error: {text}");
    Bytes::from(serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string())
}

/// How a process ended, in AWS's words.
pub(crate) fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(0) | Exit::Unknown | Exit::NotExecuted(_) => "Runtime exited without providing a reason".to_owned(),
        Exit::Code(code) => format!("Runtime exited with error: exit status {code}"),
        Exit::Signal(signal) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
    }
}

/// Signals as AWS's supervisor, a Go program, names them.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
