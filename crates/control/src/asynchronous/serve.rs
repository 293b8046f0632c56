//! One try of one event: what it goes by, the run, and what follows from how it ended.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use lambda::invoke::{FunctionError, Invocation, Outcome, RunError};
use service::{Result, Timestamp};
use store::queue::Lane;

use super::{
    EVENT_BYTES_MAX, HOPS_MAX,
    event::{Head, Last, NewEvent},
    queue::{EventQueue, Settled, Taken},
    record::Told,
    schedule::{self, Condition, Next, Rules, Tried},
};
use crate::invoker::Attribution;

/// Wait before the store is asked again for what a try must know or keep at its end.
const SETTLE_RETRY: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(1) };

/// What a function's configuration says of its events.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub rules: Rules,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
}

/// A function that is there.
pub(crate) struct Found<T> {
    pub target: T,
    /// Its execution role.
    pub role_arn: String,
    /// Whether its reserved concurrency is 0.
    pub is_stopped: bool,
}

/// What a try asks of the rest of the control plane.
pub(crate) trait Backend: Send + Sync {
    /// A function as a run needs it.
    type Target: Send;

    /// What an invocation through this qualifier goes by now.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    fn configured(&self, lane: &Lane, qualifier: &str) -> impl Future<Output = Result<Configured>> + Send;
    /// What the qualifier leads to now; `None` once that is known to be nothing.
    ///
    /// # Errors
    /// 5xx when that cannot be found out.
    fn find(&self, lane: &Lane, qualifier: &str) -> impl Future<Output = Result<Option<Found<Self::Target>>>> + Send;
    /// Runs it and records the data event.
    fn run(
        &self,
        lane: &Lane,
        found: Found<Self::Target>,
        attribution: Attribution,
        invocation: Invocation,
    ) -> impl Future<Output = std::result::Result<Outcome, RunError>> + Send;
    /// Whether `role_arn`, the execution role of `function`, may invoke a destination; who its records name then.
    ///
    /// The inner error is why not, for the log.
    ///
    /// # Errors
    /// 5xx when that cannot be found out.
    fn permit(
        &self,
        function: &Lane,
        role_arn: &str,
        destination_arn: &str,
    ) -> impl Future<Output = Result<std::result::Result<Attribution, String>>> + Send;
    /// A new request id.
    fn uuid(&self) -> String;
}

/// Serves an event whose turn it is, to the end of this try. However it ends, the event is settled.
pub(super) async fn serve<B: Backend>(queue: &Arc<EventQueue>, backend: &B, taken: Taken) {
    let mut turn = Turn { queue, lane: taken.lane.clone(), sequence: taken.sequence, is_over: false };
    let settled = attempt(queue, backend, &taken).await;
    let (taken, settled) = (Arc::new(taken), Arc::new(settled));
    loop {
        let (own, event, outcome) = (Arc::clone(queue), Arc::clone(&taken), Arc::clone(&settled));
        let done = tokio::task::spawn_blocking(move || own.settle(&event, &outcome)).await;
        let error = match done {
            Ok(Ok(())) => {
                turn.is_over = true;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // Kept until the store takes it: forgotten here, the event would have no turn before a restart.
        tracing::error!(error, request_id = taken.head.request_id, "the end of a try cannot be kept; trying again");
        tokio::time::sleep(SETTLE_RETRY).await;
    }
}

/// Gives an event its next turn if this one ends without being settled: a panic, most of all.
struct Turn<'a> {
    queue: &'a EventQueue,
    lane: Lane,
    sequence: u64,
    is_over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.abandon(&self.lane, self.sequence);
        }
    }
}

async fn attempt<B: Backend>(queue: &Arc<EventQueue>, backend: &B, taken: &Taken) -> Settled {
    let head = &taken.head;
    let fault = |error: &str| {
        tracing::error!(error, request_id = head.request_id, function = head.invoked_arn, "an event cannot be run now");
        again(head.clone(), Rules { retries_max: 0, age_ms_max: i64::MAX }, 500, queue.now_ms())
    };
    let configured = match backend.configured(&taken.lane, &head.qualifier).await {
        Ok(configured) => configured,
        Err(error) => return fault(error.cause.as_deref().unwrap_or(&error.message)),
    };
    let (request_id, function) = (&head.request_id, &head.invoked_arn);
    let found = match backend.find(&taken.lane, &head.qualifier).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            tracing::warn!(request_id, function, "an event is dropped: the function is not there any more");
            return Settled::Ended(None);
        }
        Err(error) => return fault(error.cause.as_deref().unwrap_or(&error.message)),
    };
    let is_expired = schedule::is_expired(configured.rules, head.accepted_ms, queue.now_ms());
    let payload = match payload(queue, taken).await {
        Ok(payload) => payload,
        // What cannot be read cannot be told to a destination either.
        Err(error) if is_expired => {
            tracing::error!(request_id, function, error, "an event is given up");
            return Settled::Ended(None);
        }
        Err(error) => return fault(&error),
    };
    let role_arn = found.role_arn.clone();
    let mut end =
        End { queue, backend, taken, configured: &configured, role_arn, payload, head: head.clone(), answer: None };
    if is_expired {
        return end.ended(Condition::EventAgeExceeded).await;
    }
    if found.is_stopped {
        return end.ended(Condition::ZeroReservedConcurrency).await;
    }
    let ran = backend.run(&taken.lane, found, head.attribution.clone(), end.invocation()).await;
    end.tried(ran).await
}

/// A try that came to no run.
fn again(mut head: Head, rules: Rules, status_code: u16, now_ms: i64) -> Settled {
    head.faults = head.faults.saturating_add(1);
    head.last = Some(Last { status_code, executed_version: None, function_error: None });
    let due_ms = match schedule::next(rules, head.progress(), Tried::Faulted, now_ms) {
        Next::Again { due_ms } => due_ms,
        // A fault never ends an event.
        Next::Ended(_) => now_ms,
    };
    Settled::Again { head, due_ms, throttled: status_code == 429 }
}

async fn payload(queue: &Arc<EventQueue>, taken: &Taken) -> std::result::Result<Bytes, String> {
    let (own, sequence) = (Arc::clone(queue), taken.sequence);
    let sealed = tokio::task::spawn_blocking(move || own.store().queue_body(sequence)).await;
    let sealed = sealed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let sealed = sealed.ok_or("its payload is missing")?;
    taken
        .head
        .open_payload(queue.vault(), &taken.lane, &sealed)
        .ok_or_else(|| "its payload does not open with this installation's secret.key".to_owned())
}

/// A try on its way to its end.
struct End<'a, B> {
    queue: &'a Arc<EventQueue>,
    backend: &'a B,
    taken: &'a Taken,
    configured: &'a Configured,
    role_arn: String,
    payload: Bytes,
    /// As it will be when this try is over.
    head: Head,
    answer: Option<Bytes>,
}

impl<B: Backend> End<'_, B> {
    fn invocation(&self) -> Invocation {
        Invocation {
            request_id: self.head.request_id.clone(),
            invoked_arn: self.head.invoked_arn.clone(),
            payload: self.payload.clone(),
            trace_id: None,
            client_context: self.head.client_context.clone(),
            log_tail: false,
        }
    }

    async fn tried(mut self, ran: std::result::Result<Outcome, RunError>) -> Settled {
        let now_ms = self.queue.now_ms();
        let tried = match ran {
            Ok(outcome) => self.answered(outcome),
            Err(RunError::Throttled { .. }) => return again(self.head, self.configured.rules, 429, now_ms),
            // Nothing a later try could mend: it counts as the function's failure.
            Err(RunError::TooLarge) => {
                self.ran(Last { status_code: 413, executed_version: None, function_error: None });
                Tried::Failed
            }
            Err(why) => {
                let (request_id, function) = (&self.head.request_id, &self.head.invoked_arn);
                tracing::warn!(request_id, function, %why, "an event could not be run and waits");
                return again(self.head, self.configured.rules, 500, now_ms);
            }
        };
        match schedule::next(self.configured.rules, self.head.progress(), tried, now_ms) {
            Next::Again { due_ms } => Settled::Again { head: self.head, due_ms, throttled: false },
            Next::Ended(condition) => self.ended(condition).await,
        }
    }

    fn ran(&mut self, last: Last) {
        self.head.tries = self.head.tries.saturating_add(1);
        self.head.faults = 0;
        self.head.last = Some(last);
    }

    fn answered(&mut self, outcome: Outcome) -> Tried {
        let error = outcome.function_error.map(|error| match error {
            FunctionError::Handled => "Handled".to_owned(),
            FunctionError::Unhandled => "Unhandled".to_owned(),
        });
        let tried = if error.is_some() { Tried::Failed } else { Tried::Succeeded };
        let executed_version = Some(outcome.executed_version);
        self.ran(Last { status_code: 200, executed_version, function_error: error });
        self.answer = Some(outcome.payload);
        tried
    }

    /// The event is at its end: its destination hears of it, if it has one that may.
    async fn ended(&mut self, condition: Condition) -> Settled {
        let (head, lane) = (&self.head, &self.taken.lane);
        let (request_id, function) = (&head.request_id, &head.invoked_arn);
        if condition != Condition::Success {
            let condition = condition.text();
            tracing::warn!(request_id, function, condition, tries = head.tries, "an event is given up");
        }
        let destination = match condition {
            Condition::Success => &self.configured.on_success,
            _ => &self.configured.on_failure,
        };
        let Some(destination) = destination else { return Settled::Ended(None) };
        let permitted = loop {
            match self.backend.permit(lane, &self.role_arn, destination).await {
                Ok(permitted) => break permitted,
                // The function has run, so the end of its event is not put off but waited for.
                Err(error) => tracing::error!(request_id, cause = ?error.cause, "a destination cannot be looked up"),
            }
            tokio::time::sleep(SETTLE_RETRY).await;
        };
        let told = permitted.and_then(|attribution| self.destined(destination, attribution, condition));
        match told {
            Ok(event) => Settled::Ended(Some(event)),
            Err(why) => {
                tracing::warn!(request_id, function, destination, "a destination is not told: {why}");
                Settled::Ended(None)
            }
        }
    }

    /// The event a destination gets.
    fn destined(
        &self,
        destination: &str,
        attribution: Attribution,
        condition: Condition,
    ) -> std::result::Result<NewEvent, String> {
        let (head, lane) = (&self.head, &self.taken.lane);
        let key = lambda::directory::QualifierKey::parse(destination).ok_or("it is no ARN of a function")?;
        if head.hops >= HOPS_MAX {
            return Err(format!("{HOPS_MAX} destinations led to each other; that is a loop"));
        }
        let qualifier = if head.qualifier.is_empty() { lambda::name::LATEST } else { &head.qualifier };
        let function_arn =
            format!("arn:aws:lambda:{}:{}:function:{}:{qualifier}", lane.region, lane.account, lane.name);
        let told = Told {
            now: Timestamp::from_ms(self.queue.now_ms()),
            request_id: &head.request_id,
            function_arn: &function_arn,
            condition,
            tries: head.tries,
            event: &self.payload,
            last: head.last.as_ref(),
            answer: self.answer.as_deref(),
        };
        let payload = told.encode().ok_or("its record does not encode")?;
        if payload.len() > EVENT_BYTES_MAX {
            return Err(format!("its record of {} bytes is larger than an event may be", payload.len()));
        }
        Ok(NewEvent {
            lane: Lane { account: key.account, region: key.region, name: key.function },
            request_id: self.backend.uuid(),
            invoked_arn: destination.to_owned(),
            qualifier: key.qualifier,
            client_context: None,
            attribution,
            payload,
            hops: head.hops.saturating_add(1),
        })
    }
}
