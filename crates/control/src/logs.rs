//! Log events on their way into the store of logs: a bounded queue, one thread that empties it, and the sweeping of what
//! is too old or belongs to nobody.
//!
//! Producers (the data plane, the functions) never wait and never fail. What finds no room is dropped and counted; the
//! count is told in the server's log and in the stream itself.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use platform::logs::log_group::{self, LogGroup};
use service::{Scope, ServiceError, Tx};
use store::{
    Store,
    logs::{Append, Group, LogStore},
};

use crate::{
    Clock,
    commit::{self, ATTEMPTS_MAX},
    reader::SnapshotReader,
    vault::Vault,
};

#[cfg(test)]
mod tests;

/// One event holds at most so many bytes; what is longer is cut. Source: CloudWatch Logs User Guide, "CloudWatch Logs
/// quotas".
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;
/// What waits to be written, bytes.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// What waits of one account, bytes, so that nobody takes the whole queue.
const QUEUE_SHARE_BYTES_MAX: usize = QUEUE_BYTES_MAX / 4;
/// What an event costs the queue beyond its message.
const EVENT_COST: usize = 64;
/// Streams whose drops are counted apart; those of more are counted together.
const DROPPED_STREAMS_MAX: usize = 1_000;
/// Between two writes, so that a busy server writes few and large batches.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two warnings of dropped events.
const WARNING_EVERY: Duration = Duration::from_secs(1);
/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Steps of deletion one sweep spends on a group, so that it never keeps the queue waiting for long.
const SWEEP_STEPS_MAX: usize = 20;
/// Groups looked at by one read of a sweep.
const SWEEP_PAGE: usize = 500;
/// Streams without events are forgotten after so long, or after the retention of their group if that is shorter.
const IDLE_STREAM_DAYS: u32 = 30;
const DAY_MS: i64 = 86_400_000;

/// Where a stream is: account, region, group, stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    account: String,
    region: String,
    group: String,
    stream: String,
}

struct Batch {
    place: Place,
    events: Vec<(i64, String)>,
    create_group: bool,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Bytes by account.
    shares: HashMap<String, usize>,
    /// Events dropped since they were last told of.
    dropped: HashMap<Place, u64>,
    dropped_elsewhere: u64,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// The producers' end. Cheap to clone; when the last clone goes, what waits is written and the thread ends.
#[derive(Clone)]
pub struct LogWriter {
    end: Arc<End>,
}

struct End {
    queue: Arc<Queue>,
    logs: Arc<dyn LogStore>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.wake.notify_all();
    }
}

impl LogWriter {
    /// Starts the thread that writes to `logs`. `store` holds the records of log groups.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        logs: Arc<dyn LogStore>,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let worker =
            Worker { queue: Arc::clone(&queue), groups: Groups { store, vault }, clock, logs: Arc::clone(&logs) };
        thread::Builder::new().name("logs".into()).spawn(move || worker.run())?;
        Ok(Self { end: Arc::new(End { queue, logs }) })
    }

    /// Takes events (milliseconds since 1970, text) of one stream. Never blocks on the disk and never fails: without
    /// room the events are dropped and counted. With `create_group` a missing group is made, otherwise its events are
    /// dropped; a missing stream is always made. Empty messages are left out, as AWS stores none.
    pub fn put(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        mut events: Vec<(i64, String)>,
        create_group: bool,
    ) {
        events.retain(|(_, message)| !message.is_empty());
        if events.is_empty() {
            return;
        }
        for (_, message) in &mut events {
            cut(message);
        }
        let bytes: usize = events.iter().map(|(_, message)| message.len().saturating_add(EVENT_COST)).sum();
        let place =
            Place { account: account.into(), region: region.into(), group: group.into(), stream: stream.into() };
        let mut waiting = self.end.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.admit(account, bytes) {
            waiting.drop_events(place, events.len() as u64);
            return;
        }
        waiting.batches.push_back(Batch { place, events, create_group });
        drop(waiting);
        self.end.queue.wake.notify_one();
    }

    /// What holds the events, for reading them.
    pub(crate) fn store(&self) -> &dyn LogStore {
        &*self.end.logs
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogWriter")
    }
}

impl gateway::LogSink for LogWriter {
    fn put(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        events: Vec<(i64, String)>,
        create_group: bool,
    ) {
        Self::put(self, account, region, group, stream, events, create_group);
    }
}

impl environment::LogSink for LogWriter {
    fn write(&self, account: &str, region: &str, group: &str, stream: &str, lines: Vec<(u64, String)>) {
        let events = lines.into_iter().map(|(ms, line)| (i64::try_from(ms).unwrap_or(i64::MAX), line)).collect();
        self.put(account, region, group, stream, events, true);
    }
}

/// Cuts a message to what an event may hold, between two characters.
fn cut(message: &mut String) {
    if message.len() > EVENT_BYTES_MAX {
        let mut end = EVENT_BYTES_MAX;
        while !message.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        message.truncate(end);
    }
}

impl Waiting {
    /// Whether there is room for so much more of an account, which then counts.
    fn admit(&mut self, account: &str, bytes: usize) -> bool {
        let share = self.shares.get(account).map_or(0, |held| *held).saturating_add(bytes);
        let all = self.bytes.saturating_add(bytes);
        if all > QUEUE_BYTES_MAX || share > QUEUE_SHARE_BYTES_MAX {
            return false;
        }
        self.bytes = all;
        self.shares.insert(account.to_owned(), share);
        true
    }

    fn drop_events(&mut self, place: Place, count: u64) {
        if self.dropped.len() < DROPPED_STREAMS_MAX || self.dropped.contains_key(&place) {
            let dropped = self.dropped.entry(place).or_default();
            *dropped = dropped.saturating_add(count);
        } else {
            self.dropped_elsewhere = self.dropped_elsewhere.saturating_add(count);
        }
    }
}

/// The records of log groups, as the writer reads and makes them.
struct Groups {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
}

impl Groups {
    fn find(&self, scope: &Scope, name: &str) -> Result<Option<LogGroup>, ServiceError> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        Tx::new(&mut reader).get::<LogGroup>(scope, "", name)
    }

    /// Makes the group, unless somebody did meanwhile.
    fn ensure(&self, scope: &Scope, name: &str, clock: &dyn Clock) -> Result<LogGroup, ServiceError> {
        for attempt in 0..ATTEMPTS_MAX {
            let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
            let mut tx = Tx::new(&mut reader);
            let id = uuid::Uuid::new_v4().to_string();
            let group = log_group::ensure(&mut tx, scope, name, id, clock.now())?;
            let changes = tx.into_changes();
            if changes.is_empty() {
                return Ok(group);
            }
            let commit = commit::prepare(&*self.store, &self.vault, changes, reader, Vec::new())?;
            match self.store.commit(commit) {
                Ok(_) => return Ok(group),
                Err(store::Error::Conflict) => thread::sleep(Duration::from_millis(1 << attempt.min(6))),
                Err(error) => return Err(crate::reader::unavailable(&error)),
            }
        }
        Err(ServiceError::internal("a log group could not be made: it kept changing"))
    }
}

/// Where a group's events are stored.
pub(crate) fn stored_group(scope: &Scope, group: &LogGroup) -> Group {
    Group {
        incarnation: group.incarnation.clone(),
        account: scope.account.clone(),
        region: scope.region.clone(),
        name: group.log_group_name.clone(),
    }
}

struct Worker {
    queue: Arc<Queue>,
    groups: Groups,
    clock: Arc<dyn Clock>,
    logs: Arc<dyn LogStore>,
}

/// What one look at the queue took.
struct Taken {
    batches: VecDeque<Batch>,
    dropped: HashMap<Place, u64>,
    dropped_elsewhere: u64,
    closed: bool,
}

impl Worker {
    fn run(self) {
        let mut swept = Instant::now();
        let mut warned: Option<Instant> = None;
        let mut lost = 0u64;
        loop {
            let taken = self.take(SWEEP_EVERY.saturating_sub(swept.elapsed()));
            let closed = taken.closed;
            lost = lost.saturating_add(self.write(taken));
            if lost > 0 && (closed || warned.is_none_or(|at| at.elapsed() >= WARNING_EVERY)) {
                tracing::warn!(
                    events = lost,
                    "log events were dropped: no room in the queue, no log group, or no store"
                );
                (warned, lost) = (Some(Instant::now()), 0);
            }
            if closed {
                return;
            }
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                if let Err(error) = self.sweep() {
                    tracing::error!(%error, "old log events could not be removed");
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// Everything that waits, once there is something or the time is over.
    fn take(&self, patience: Duration) -> Taken {
        let waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |waiting: &mut Waiting| waiting.batches.is_empty() && waiting.dropped.is_empty() && !waiting.closed;
        let (mut waiting, _) =
            self.queue.wake.wait_timeout_while(waiting, patience, idle).unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        waiting.shares.clear();
        Taken {
            batches: std::mem::take(&mut waiting.batches),
            dropped: std::mem::take(&mut waiting.dropped),
            dropped_elsewhere: std::mem::take(&mut waiting.dropped_elsewhere),
            closed: waiting.closed,
        }
    }

    /// Writes what was taken in one transaction and gives how many events were lost.
    fn write(&self, taken: Taken) -> u64 {
        let now_ms = self.clock.now().ms();
        let mut lost = taken.dropped_elsewhere;
        // One append per stream, events in the order they came.
        let mut streams: BTreeMap<Place, (Vec<(i64, String)>, bool)> = BTreeMap::new();
        for batch in taken.batches {
            let (events, create) = streams.entry(batch.place).or_default();
            events.extend(batch.events);
            *create |= batch.create_group;
        }
        for (place, count) in taken.dropped {
            lost = lost.saturating_add(count);
            let (events, _) = streams.entry(place).or_default();
            events.push((now_ms, format!("{count} events were dropped")));
        }
        let mut known: HashMap<(String, String, String), Option<LogGroup>> = HashMap::new();
        let mut appends = Vec::with_capacity(streams.len());
        for (place, (events, create)) in streams {
            let scope = Scope::regional(place.account.clone(), place.region.clone());
            let key = (place.account, place.region, place.group);
            let group = known.entry(key).or_insert_with_key(|(_, _, name)| self.group(&scope, name, create));
            match group {
                Some(group) => appends.push(Append {
                    group: stored_group(&scope, group),
                    stream: place.stream,
                    events,
                    create_stream: true,
                }),
                None => lost = lost.saturating_add(events.len() as u64),
            }
        }
        if appends.is_empty() {
            return lost;
        }
        if let Err(error) = self.logs.append(&appends, now_ms) {
            let count: usize = appends.iter().map(|append| append.events.len()).sum();
            tracing::error!(%error, events = count, "log events could not be written");
            lost = lost.saturating_add(count as u64);
        }
        lost
    }

    fn group(&self, scope: &Scope, name: &str, create: bool) -> Option<LogGroup> {
        let found = match self.groups.find(scope, name) {
            Ok(None) if create => self.groups.ensure(scope, name, &*self.clock).map(Some),
            found => found,
        };
        found.unwrap_or_else(|error| {
            tracing::error!(group = name, cause = ?error.cause, "a log group cannot be used: {}", error.message);
            None
        })
    }

    /// Removes what is older than its group's retention, and what belongs to groups that were deleted.
    fn sweep(&self) -> Result<(), store::Error> {
        let now_ms = self.clock.now().ms();
        let mut after = String::new();
        loop {
            let groups = self.logs.groups(&after, SWEEP_PAGE)?;
            let Some(last) = groups.last() else { return Ok(()) };
            after.clone_from(&last.incarnation);
            for group in groups {
                let scope = Scope::regional(group.account.clone(), group.region.clone());
                let record = match self.groups.find(&scope, &group.name) {
                    Ok(record) => record.filter(|record| record.incarnation == group.incarnation),
                    Err(error) => {
                        tracing::error!(cause = ?error.cause, "a log group cannot be read: {}", error.message);
                        continue;
                    }
                };
                match record {
                    Some(record) => self.sweep_group(&record, now_ms)?,
                    None => self.logs.delete_group(&group.incarnation)?,
                }
            }
        }
    }

    fn sweep_group(&self, group: &LogGroup, now_ms: i64) -> Result<(), store::Error> {
        let before = |days: u32| now_ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
        if let Some(days) = group.retention_in_days {
            for _ in 0..SWEEP_STEPS_MAX {
                if self.logs.expire(&group.incarnation, before(days))? == 0 {
                    break;
                }
            }
        }
        let idle_days = group.retention_in_days.unwrap_or(IDLE_STREAM_DAYS).min(IDLE_STREAM_DAYS);
        self.logs.forget_idle_streams(&group.incarnation, before(idle_days)).map(|_| ())
    }
}
