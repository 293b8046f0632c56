//! Asynchronous invocation: an event is kept, answered for, and run until it succeeds or is given up.
//!
//! ```text
//! Invoke, type Event -> accept (durable, then 202) -> its turn (lanes.rs) -> a try (serve.rs)
//!     -> ended: its destination hears of it, in the same commit that forgets it
//!     -> again: put off (schedule.rs)
//! ```
//!
//! An event stays in the store until it has ended, so one that was accepted runs after a crash; a crash in the middle of a
//! try lets it run twice, as AWS may. Events wait encrypted. Whoever called is allowed once, when the event is accepted;
//! that the function is still there, and what its execution role may tell its destinations, is asked at each turn.
//!
//! Sources: Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation", "Capturing
//! records of Lambda asynchronous invocations".

mod backend;
mod event;
mod lanes;
mod queue;
mod record;
mod schedule;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

pub(crate) use event::NewEvent;
pub(crate) use queue::{EventQueue, Refused};

use crate::Inner;

/// Largest event of an asynchronous Invoke. Source: Lambda Developer Guide, "Lambda quotas": 1 MB.
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;
/// Largest event of InvokeAsync, whose limit never grew.
pub(crate) const LEGACY_EVENT_BYTES_MAX: usize = 256 << 10;
/// Destinations that may lead to each other before the chain is taken for a loop. Source: Lambda Developer Guide, "Use
/// Lambda recursive loop detection": about 16 times.
const HOPS_MAX: u32 = 16;

/// Longest sleep between two looks at the queue: how long a control plane that was dropped is not noticed.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Shortest, so that clocks that disagree do not spin.
const SLEEP_MIN: Duration = Duration::from_millis(2);

/// Runs waiting events on the current runtime until the control plane is gone.
pub(crate) fn start(inner: &Arc<Inner>) {
    let wake = inner.events.wake();
    let control = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            // Nothing but the wake-up is held while it sleeps, so that a control plane that is dropped lets go of its store.
            let Some(sleep) = round(&control).await else { return };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    });
}

/// Begins everything whose turn it is, and says how long nothing else will be due.
async fn round(control: &Weak<Inner>) -> Option<Duration> {
    let inner = control.upgrade()?;
    let (queue, limits) = (Arc::clone(&inner.events), Arc::clone(&inner));
    let taken = tokio::task::spawn_blocking(move || queue.take(|lane| backend::limit(&limits, lane))).await;
    let (taken, next_ms) = taken.unwrap_or_else(|error| {
        tracing::error!(%error, "a look at the queue of events panicked");
        (Vec::new(), None)
    });
    for event in taken {
        let (queue, backend) = (Arc::clone(&inner.events), backend::Control(Arc::clone(&inner)));
        tokio::spawn(async move { serve::serve(&queue, &backend, event).await });
    }
    let wait_ms = next_ms.map(|next_ms| next_ms.saturating_sub(inner.clock.now().ms()));
    let wait = wait_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
    Some(wait.unwrap_or(SLEEP_MAX).clamp(SLEEP_MIN, SLEEP_MAX))
}
