//! Keeping CloudTrail's records: management events durably, data events in a ring and, where a trail selects them,
//! durably too.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use platform::cloudtrail::{record::LambdaInvoke, trail::Selection};
use store::{Event, Store};
use tokio::sync::mpsc;

/// Data events kept in memory for each account, newest last. Lost at restart.
pub const RING_EVENTS_MAX: usize = 10_000;
/// Data events on their way to the disk; beyond this they are counted as dropped.
const QUEUE_EVENTS_MAX: usize = 65_536;
/// Events of one write.
const BATCH_EVENTS_MAX: usize = 1_000;

/// The newest data events by account.
type Rings = HashMap<String, VecDeque<Arc<LambdaInvoke>>>;
/// What the logging trails of each account select.
type Selections = HashMap<String, Vec<Selection>>;

/// Where records go.
pub struct Audit {
    store: Arc<dyn Store>,
    rings: Mutex<Rings>,
    selections: ArcSwap<Selections>,
    queue: mpsc::Sender<Arc<LambdaInvoke>>,
    dropped: AtomicU64,
}

impl Audit {
    /// Starts the writer of selected data events on the current runtime.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Arc<Self> {
        let (queue, events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let audit = Arc::new(Self {
            store: Arc::clone(&store),
            rings: Mutex::default(),
            selections: ArcSwap::default(),
            queue,
            dropped: AtomicU64::new(0),
        });
        tokio::spawn(write(store, events));
        audit
    }

    /// A data event of an invocation that was authorized.
    pub fn invoked(&self, event: LambdaInvoke) {
        let event = Arc::new(event);
        let selections = self.selections.load();
        let selected = selections
            .get(&event.account)
            .is_some_and(|trails| trails.iter().any(|trail| trail.selects_invoke(&event.function_arn, &event.region)));
        if selected {
            // What is stored is looked up there; kept here as well it would be counted twice.
            if self.queue.try_send(Arc::clone(&event)).is_ok() {
                return;
            }
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            tracing::error!(
                dropped,
                account = event.account,
                "a selected data event could not be kept: the queue to the disk is full"
            );
        }
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match rings.get_mut(&event.account) {
            Some(ring) => ring,
            None => rings.entry(event.account.clone()).or_default(),
        };
        if ring.len() >= RING_EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// The newest data events of an account and region, newest first.
    #[must_use]
    pub fn recent(&self, account: &str, region: &str) -> Vec<Arc<LambdaInvoke>> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings
            .get(account)
            .map(|ring| ring.iter().rev().filter(|event| event.region == region).cloned().collect())
            .unwrap_or_default()
    }

    /// What the logging trails of an account select from now on.
    pub fn select(&self, account: &str, trails: Vec<Selection>) {
        self.selections.rcu(|old| {
            let mut new = Selections::clone(old);
            if trails.is_empty() {
                new.remove(account);
            } else {
                new.insert(account.to_owned(), trails.clone());
            }
            new
        });
    }

    /// Keeps management events that belong to no commit; durable when it returns. Blocks.
    ///
    /// # Errors
    /// When the store cannot take them: the call must be refused then, since it could not be recorded.
    pub fn keep(&self, events: Vec<Event>) -> Result<(), store::Error> {
        self.store.append_events(events)
    }
}

/// A data event in the store's form.
#[must_use]
pub fn stored(event: &LambdaInvoke) -> Event {
    Event {
        event_id: event.event_id.clone(),
        account: event.account.clone(),
        region: event.region.clone(),
        time_ms: event.now.ms(),
        data: true,
        name: "Invoke".into(),
        source: "lambda.amazonaws.com".into(),
        username: event.username.clone(),
        access_key_id: event.access_key_id.clone(),
        read_only: false,
        resources: vec![("AWS::Lambda::Function".into(), event.function_arn.clone())],
        record: event.to_value().to_string().into_bytes(),
    }
}

async fn write(store: Arc<dyn Store>, mut events: mpsc::Receiver<Arc<LambdaInvoke>>) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
    while events.recv_many(&mut batch, BATCH_EVENTS_MAX).await > 0 {
        let records: Vec<Event> = batch.drain(..).map(|event| stored(&event)).collect();
        let count = records.len();
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || store.append_events(records)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, count, "selected data events could not be kept"),
            Err(error) => tracing::error!(%error, count, "selected data events could not be kept"),
        }
    }
}

/// Records of calls whose signer is unproven are bounded: whoever knows a key id could otherwise fill an account's
/// history. AWS keeps none of them; an auditor wants to see that somebody tried.
const UNPROVEN_EACH_MINUTE: u32 = 60;
/// Accounts counted at once.
const UNPROVEN_ACCOUNTS_MAX: usize = 10_000;

/// How many such records each account has had in the current minute.
#[derive(Default)]
pub struct Allowance {
    minute: i64,
    by_account: HashMap<String, u32>,
}

impl Allowance {
    /// Whether one more may be kept for this account.
    pub fn take(&mut self, account: &str, now_ms: i64) -> bool {
        let minute = now_ms.div_euclid(60_000);
        if minute != self.minute {
            self.minute = minute;
            self.by_account.clear();
        }
        if let Some(count) = self.by_account.get_mut(account) {
            *count = count.saturating_add(1);
            return *count <= UNPROVEN_EACH_MINUTE;
        }
        let room = self.by_account.len() < UNPROVEN_ACCOUNTS_MAX;
        if room {
            self.by_account.insert(account.to_owned(), 1);
        }
        room
    }
}
