//! The queue of events over the store: acceptance, turns, and how a try changed things.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambda::event_invoke_config::EVENT_AGE_S_DEFAULT;
use store::{
    Store,
    queue::{Change, Delay, Lane, Message, PAGE_MAX, Quota, Waiting},
};
use tokio::sync::Notify;

use super::{
    event::{self, Head, NewEvent},
    lanes::{Grant, Lanes},
};
use crate::{Clock, vault::Vault};

/// What one account's waiting events may take.
pub(crate) const QUOTA: Quota = Quota { messages_max: 100_000, bytes_max: 1 << 30 };
/// Events that are run at once. The processes they run in are shared with synchronous invocations, which come first.
const SLOTS: usize = 48;
/// How long a lane that cannot be read has no turn, and one whose function was throttled.
const PAUSE_MS: i64 = 1_000;
/// When an event has its next turn whose try broke off.
const ABANDONED_MS: i64 = 60_000;
/// How long an event is put off that does not open: with the right key it will.
const UNREADABLE_MS: i64 = 3_600_000;
/// How long an event is kept that does not open: as long as any may be. With the right key it would be too old by then.
const UNREADABLE_MS_MAX: i64 = EVENT_AGE_S_DEFAULT as i64 * 1_000;

/// Events that wait, and whose turn it is.
pub(crate) struct EventQueue {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    quota: Quota,
    lanes: Mutex<Lanes>,
    wake: Arc<Notify>,
}

/// Why an event is not accepted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The account has too many waiting.
    Crowded,
    /// The store cannot take it.
    Unavailable(store::Error),
}

/// An event whose turn it is. It is nobody else's until it is settled.
pub(crate) struct Taken {
    pub lane: Lane,
    pub sequence: u64,
    pub head: Head,
}

/// What a try came to.
pub(crate) enum Settled {
    /// The event is forgotten, and another one accepted in the same commit.
    Ended(Option<NewEvent>),
    /// It waits again.
    Again { head: Head, due_ms: i64, throttled: bool },
}

impl EventQueue {
    /// The queue of a store, with whatever waits there already. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn open(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Result<Self, store::Error> {
        Self::with(store, vault, clock, QUOTA, SLOTS)
    }

    pub(super) fn with(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        quota: Quota,
        slots: usize,
    ) -> Result<Self, store::Error> {
        let mut lanes = Lanes::new(slots);
        let mut after: Option<Lane> = None;
        loop {
            let page = store.queue_lanes(after.as_ref(), PAGE_MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            page.iter().for_each(|(lane, due_ms)| lanes.arrived(lane, *due_ms));
        }
        Ok(Self { store, vault, clock, quota, lanes: Mutex::new(lanes), wake: Arc::new(Notify::new()) })
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().ms()
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event; it is durable when this returns. Blocks.
    ///
    /// # Errors
    /// [`Refused`]; the event will not run then.
    pub(crate) fn accept(&self, event: &NewEvent) -> Result<(), Refused> {
        let message = self.message(event).ok_or_else(|| {
            Refused::Unavailable(store::Error::Invalid("the head of an event does not encode".to_owned()))
        })?;
        let due_ms = message.due_ms;
        let change = Change { add: vec![message], quota: self.quota, ..Change::default() };
        self.store.change_queue(change).map_err(|error| match error {
            store::Error::Crowded => Refused::Crowded,
            error => Refused::Unavailable(error),
        })?;
        self.lanes().arrived(&event.lane, due_ms);
        self.wake.notify_one();
        Ok(())
    }

    fn message(&self, event: &NewEvent) -> Option<Message> {
        let now = self.clock.now();
        let head = event.head(uuid::Uuid::new_v4().to_string(), now);
        let body = head.seal_payload(&self.vault, &event.lane, &event.payload);
        let head = head.seal(&self.vault, &event.lane)?;
        Some(Message { lane: event.lane.clone(), due_ms: now.ms(), head, body })
    }

    /// The events whose turn it is, and when the next may be due. `limit` is what a function may have at once. Blocks.
    pub(super) fn take(&self, limit: impl Fn(&Lane) -> Option<usize>) -> (Vec<Taken>, Option<i64>) {
        let now_ms = self.now_ms();
        let mut taken = Vec::new();
        loop {
            let plan = self.lanes().plan(now_ms, &limit);
            if plan.is_empty() {
                return (taken, self.lanes().next_ms(now_ms));
            }
            plan.iter().for_each(|grant| self.begin(grant, now_ms, &mut taken));
        }
    }

    /// Takes what a grant allows. Whatever happens, the lane is not ready for the same messages again.
    fn begin(&self, grant: &Grant, now_ms: i64, taken: &mut Vec<Taken>) {
        let page = grant.held.len().saturating_add(grant.count).saturating_add(1).min(PAGE_MAX);
        let waiting = match self.store.queue_waiting(&grant.lane, page) {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, function = grant.lane.name, "waiting events cannot be read");
                self.lanes().pause(&grant.lane, now_ms.saturating_add(PAUSE_MS));
                return;
            }
        };
        let mut free = waiting.into_iter().filter(|waiting| !grant.held.contains(&waiting.sequence));
        let (mut begun, mut next_due_ms) = (Vec::new(), None);
        for waiting in &mut free {
            if waiting.due_ms > now_ms || begun.len() >= grant.count {
                next_due_ms = Some(waiting.due_ms);
                break;
            }
            begun.push(waiting);
        }
        let sequences: Vec<u64> = begun.iter().map(|waiting| waiting.sequence).collect();
        self.lanes().began(grant, &sequences, next_due_ms);
        for waiting in begun {
            match Head::open(&self.vault, &grant.lane, &waiting.head) {
                Some(head) => taken.push(Taken { lane: grant.lane.clone(), sequence: waiting.sequence, head }),
                None => self.put_off_unreadable(&grant.lane, waiting, now_ms),
            }
        }
    }

    /// An event that does not open waits for the right key, and then is given up. Its request id and its destination are
    /// sealed with it, so the log has its number and nobody else hears of it.
    fn put_off_unreadable(&self, lane: &Lane, waiting: Waiting, now_ms: i64) {
        let Lane { account, region, name: function } = lane;
        let event = waiting.sequence;
        let (since_ms, head) = event::note_unopened(waiting.head, now_ms);
        let given_up_ms = since_ms.saturating_add(UNREADABLE_MS_MAX);
        let is_given_up = now_ms >= given_up_ms;
        let due_ms = now_ms.saturating_add(UNREADABLE_MS).min(given_up_ms);
        let change = if is_given_up {
            tracing::warn!(
                account,
                region,
                function,
                event,
                "an event is given up: for 6 hours it has not opened with this installation's secret.key, which its request id needs too"
            );
            Change { remove: vec![event], ..Change::default() }
        } else {
            tracing::error!(
                account,
                region,
                function,
                event,
                "a waiting event does not open with this installation's secret.key: it is given up 6 hours after this was first seen, unless the key it was sealed with is put back and the server restarted"
            );
            Change { delay: vec![Delay { sequence: event, due_ms, head }], ..Change::default() }
        };
        let kept = self.store.change_queue(change);
        if let Err(error) = &kept {
            tracing::error!(%error, account, region, function, event, "a waiting event can be neither put off nor given up; trying again");
        }
        let again_ms =
            if kept.is_err() { Some(now_ms.saturating_add(UNREADABLE_MS)) } else { (!is_given_up).then_some(due_ms) };
        self.lanes().ended(lane, event, again_ms);
    }

    /// How many events wait or are being run, of all accounts. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn count(&self) -> Result<u64, store::Error> {
        self.store.queue_count()
    }

    /// A try broke off and nothing is known of it: the event waits a while and is tried again.
    pub(super) fn abandon(&self, lane: &Lane, sequence: u64) {
        let again_ms = self.now_ms().saturating_add(ABANDONED_MS);
        let mut lanes = self.lanes();
        lanes.pause(lane, again_ms);
        lanes.ended(lane, sequence, Some(again_ms));
        drop(lanes);
        tracing::error!(function = lane.name, "a try of an event broke off; it will be tried again");
        self.wake.notify_one();
    }

    /// Makes true what a try came to. Blocks.
    ///
    /// # Errors
    /// When the store cannot take it: the event is still this try's.
    pub(super) fn settle(&self, taken: &Taken, settled: &Settled) -> Result<(), store::Error> {
        match settled {
            Settled::Ended(None) => {
                self.remove(taken)?;
                self.lanes().ended(&taken.lane, taken.sequence, None);
            }
            Settled::Ended(Some(next)) => {
                self.exchange(taken, next)?;
                self.lanes().ended(&taken.lane, taken.sequence, None);
            }
            Settled::Again { head, due_ms, throttled } => {
                let sealed = head
                    .seal(&self.vault, &taken.lane)
                    .ok_or_else(|| store::Error::Invalid("the head of an event does not encode".to_owned()))?;
                let delay = vec![Delay { sequence: taken.sequence, due_ms: *due_ms, head: sealed }];
                self.store.change_queue(Change { delay, ..Change::default() })?;
                let mut lanes = self.lanes();
                if *throttled {
                    // The function has no room: the rest of its events need not all be told so one by one.
                    lanes.pause(&taken.lane, self.clock.now().ms().saturating_add(PAUSE_MS));
                }
                lanes.ended(&taken.lane, taken.sequence, Some(*due_ms));
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    fn remove(&self, taken: &Taken) -> Result<(), store::Error> {
        self.store.change_queue(Change { remove: vec![taken.sequence], ..Change::default() })
    }

    /// Ends an event and accepts the one its destination gets. That the destination's account has no room is its loss.
    fn exchange(&self, taken: &Taken, next: &NewEvent) -> Result<(), store::Error> {
        let message = self.message(next);
        let due_ms = message.as_ref().map(|message| message.due_ms);
        let add = message.into_iter().collect();
        let change = Change { remove: vec![taken.sequence], add, quota: self.quota, ..Change::default() };
        match self.store.change_queue(change) {
            Ok(()) => {
                if let Some(due_ms) = due_ms {
                    self.lanes().arrived(&next.lane, due_ms);
                }
                Ok(())
            }
            Err(store::Error::Crowded) => {
                let (function, destination) = (&taken.head.invoked_arn, &next.invoked_arn);
                tracing::warn!(function, destination, "a destination is not told: too many events of its account wait");
                self.remove(taken)
            }
            Err(error) => Err(error),
        }
    }
}
