//! The store without a disk, for tests of other crates: the same answers, nothing kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::{self, Change, Lane, Message, Waiting};
use crate::{
    Check, Commit, Error, Event, EventAttribute, EventQuery, Fingerprint, Key, Parent, Range, Row, Snapshot, Store,
    StoredEvent, limits,
};

/// An in-memory [`Store`]. Snapshots share the records until a commit changes them.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rev: u64,
    rows: Arc<Rows>,
    sequence: u64,
    events: BTreeMap<u64, Event>,
    event_ids: BTreeSet<String>,
    blobs: BTreeMap<String, Vec<u8>>,
    messages: BTreeMap<u64, Queued>,
    last_message: u64,
}

#[derive(Debug)]
struct Queued {
    message: Message,
    /// As it was when it was added.
    bytes: u64,
}

#[derive(Debug, Clone)]
struct Stored {
    rev: u64,
    document: Arc<[u8]>,
}

type Rows = BTreeMap<Key, Stored>;

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Checks come before any change, so a panic elsewhere cannot have left a half-made one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row(key: &Key, stored: &Stored) -> Row {
    Row { key: key.clone(), version: stored.rev, rev: stored.rev, document: stored.document.to_vec() }
}

/// The records of a range from `after` on, whatever its limit.
fn scan<'a>(
    rows: &'a Rows,
    range: &'a Range,
    after: Option<&(String, String)>,
) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
    let key = |parent: &str, id: &str| Key {
        account: range.account.clone(),
        region: range.region.clone(),
        noun: range.noun.clone(),
        parent: parent.to_owned(),
        id: id.to_owned(),
    };
    let (Parent::Exact(first) | Parent::Prefix(first)) = &range.parent;
    let first = Bound::Included(key(first, ""));
    let after = after.map(|(parent, id)| Bound::Excluded(key(parent, id)));
    let from = match (first, after) {
        (Bound::Included(first), Some(Bound::Excluded(after))) if after >= first => Bound::Excluded(after),
        (first, _) => first,
    };
    rows.range((from, Bound::Unbounded)).take_while(|(key, _)| {
        key.account == range.account
            && key.region == range.region
            && key.noun == range.noun
            && range.parent.contains(&key.parent)
    })
}

fn fingerprint(rows: &Rows, range: &Range) -> Fingerprint {
    scan(rows, range, None).fold(Fingerprint { count: 0, rev_max: 0 }, |sum, (_, stored)| Fingerprint {
        count: sum.count + 1,
        rev_max: sum.rev_max.max(stored.rev),
    })
}

struct MemorySnapshot {
    rev: u64,
    rows: Arc<Rows>,
}

impl Snapshot for MemorySnapshot {
    fn get(&mut self, key: &Key) -> Result<Option<Row>, Error> {
        limits::check_key(key)?;
        Ok(self.rows.get(key).map(|stored| row(key, stored)))
    }

    fn list(&mut self, range: &Range) -> Result<Vec<Row>, Error> {
        limits::check_range(range)?;
        let rows = scan(&self.rows, range, range.after.as_ref()).take(range.limit);
        Ok(rows.map(|(key, stored)| row(key, stored)).collect())
    }

    fn fingerprint(&mut self, range: &Range) -> Result<Fingerprint, Error> {
        limits::check_range(range)?;
        Ok(fingerprint(&self.rows, range))
    }

    fn rev(&self) -> u64 {
        self.rev
    }
}

impl State {
    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Version { key, version } => self.rows.get(key).map(|stored| stored.rev) == *version,
            Check::Range { range, fingerprint: expected } => fingerprint(&self.rows, range) == *expected,
        }
    }

    /// Whether an account's messages stay within the quota of `change`.
    fn fits(&self, change: &Change) -> bool {
        let removed = |sequence: &u64| change.remove.contains(sequence);
        change.add.iter().all(|wanted| {
            let account = &wanted.lane.account;
            let kept = self.messages.iter().filter(|(sequence, _)| !removed(sequence)).map(|(_, queued)| queued);
            let kept = kept.filter(|queued| queued.message.lane.account == *account).map(|queued| queued.bytes);
            let added = change.add.iter().filter(|message| message.lane.account == *account).map(queue::size);
            let (messages, bytes) = kept
                .chain(added)
                .fold((0u64, 0u64), |(messages, bytes), size| (messages.saturating_add(1), bytes.saturating_add(size)));
            messages <= change.quota.messages_max && bytes <= change.quota.bytes_max
        })
    }

    fn append(&mut self, events: Vec<Event>) {
        for event in events {
            if self.event_ids.insert(event.event_id.clone()) {
                self.sequence += 1;
                self.events.insert(self.sequence, event);
            }
        }
    }
}

fn matches(event: &Event, query: &EventQuery) -> bool {
    let attribute = query.attribute.as_ref().is_none_or(|(attribute, value)| match attribute {
        EventAttribute::EventId => event.event_id == *value,
        EventAttribute::EventName => event.name == *value,
        EventAttribute::ReadOnly => *value == event.read_only.to_string(),
        EventAttribute::Username => event.username.as_ref() == Some(value),
        EventAttribute::ResourceType => event.resources.iter().any(|(kind, _)| kind == value),
        EventAttribute::ResourceName => event.resources.iter().any(|(_, name)| name == value),
        EventAttribute::EventSource => event.source == *value,
        EventAttribute::AccessKeyId => event.access_key_id.as_ref() == Some(value),
    });
    attribute
        && event.account == query.account
        && event.region == query.region
        && (query.include_data || !event.data)
        && query.from_ms.is_none_or(|from_ms| event.time_ms >= from_ms)
        && query.to_ms.is_none_or(|to_ms| event.time_ms <= to_ms)
}

/// The events up to the bytes one answer carries.
fn page(events: impl Iterator<Item = StoredEvent>) -> Vec<StoredEvent> {
    let mut bytes = 0;
    let fits = |stored: &StoredEvent| {
        let fits = bytes < limits::EVENTS_PAGE_BYTES_MAX;
        bytes += stored.event.record.len();
        fits
    };
    events.take_while(fits).collect()
}

impl Store for Memory {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, Error> {
        let state = self.state();
        Ok(Box::new(MemorySnapshot { rev: state.rev, rows: Arc::clone(&state.rows) }))
    }

    fn commit(&self, commit: Commit) -> Result<u64, Error> {
        limits::check_commit(&commit)?;
        let mut state = self.state();
        if !commit.checks.iter().all(|check| state.holds(check)) {
            return Err(Error::Conflict);
        }
        state.rev += 1;
        let rev = state.rev;
        let rows = Arc::make_mut(&mut state.rows);
        for range in &commit.delete_ranges {
            let doomed: Vec<Key> = scan(rows, range, None).map(|(key, _)| key.clone()).collect();
            doomed.iter().for_each(|key| drop(rows.remove(key)));
        }
        commit.deletes.iter().for_each(|key| drop(rows.remove(key)));
        for (key, document) in commit.puts {
            rows.insert(key, Stored { rev, document: document.into() });
        }
        state.append(commit.events);
        Ok(rev)
    }

    fn append_events(&self, events: Vec<Event>) -> Result<(), Error> {
        limits::check_events(&events)?;
        self.state().append(events);
        Ok(())
    }

    fn lookup_events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
        limits::check_query(query)?;
        let state = self.state();
        let mut found: Vec<(i64, u64)> = state
            .events
            .iter()
            .filter(|(_, event)| matches(event, query))
            .map(|(sequence, event)| (event.time_ms, *sequence))
            .filter(|place| query.before.is_none_or(|before| *place < before))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let stored = found
            .into_iter()
            .take(query.limit)
            .filter_map(|(_, sequence)| Some(StoredEvent { sequence, event: state.events.get(&sequence)?.clone() }));
        Ok(page(stored))
    }

    fn events_after(&self, account: &str, sequence: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        limits::check_page(limit)?;
        let state = self.state();
        let later = state.events.range((Bound::Excluded(sequence), Bound::Unbounded));
        let own = later.filter(|(_, event)| event.account == account).take(limit);
        Ok(page(own.map(|(sequence, event)| StoredEvent { sequence: *sequence, event: event.clone() })))
    }

    fn prune_events(&self, before_ms: i64) -> Result<u64, Error> {
        let mut state = self.state();
        let State { events, event_ids, .. } = &mut *state;
        let before = events.len();
        events.retain(|_, event| {
            let keep = event.time_ms >= before_ms;
            if !keep {
                event_ids.remove(&event.event_id);
            }
            keep
        });
        Ok((before - events.len()) as u64)
    }

    fn change_queue(&self, change: Change) -> Result<(), Error> {
        queue::check(&change)?;
        let mut state = self.state();
        if !state.fits(&change) {
            return Err(Error::Crowded);
        }
        change.remove.iter().for_each(|sequence| drop(state.messages.remove(sequence)));
        for delay in change.delay {
            if let Some(queued) = state.messages.get_mut(&delay.sequence) {
                queued.message.due_ms = delay.due_ms;
                queued.message.head = delay.head;
            }
        }
        for message in change.add {
            state.last_message += 1;
            let (sequence, bytes) = (state.last_message, queue::size(&message));
            state.messages.insert(sequence, Queued { message, bytes });
        }
        Ok(())
    }

    fn queue_lanes(&self, after: Option<&Lane>, limit: usize) -> Result<Vec<(Lane, i64)>, Error> {
        queue::check_page(limit)?;
        let state = self.state();
        let mut lanes: BTreeMap<&Lane, i64> = BTreeMap::new();
        for Queued { message, .. } in state.messages.values() {
            let first = lanes.entry(&message.lane).or_insert(message.due_ms);
            *first = message.due_ms.min(*first);
        }
        let later = lanes.into_iter().filter(|(lane, _)| after.is_none_or(|after| *lane > after));
        Ok(later.take(limit).map(|(lane, due_ms)| (lane.clone(), due_ms)).collect())
    }

    fn queue_waiting(&self, lane: &Lane, limit: usize) -> Result<Vec<Waiting>, Error> {
        queue::check_page(limit)?;
        queue::check_lane(lane)?;
        let state = self.state();
        let own = state.messages.iter().filter(|(_, queued)| queued.message.lane == *lane);
        let mut waiting: Vec<Waiting> = own
            .map(|(sequence, Queued { message, .. })| Waiting {
                sequence: *sequence,
                due_ms: message.due_ms,
                head: message.head.clone(),
            })
            .collect();
        waiting.sort_by_key(|waiting| (waiting.due_ms, waiting.sequence));
        waiting.truncate(limit);
        Ok(waiting)
    }

    fn queue_body(&self, sequence: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().messages.get(&sequence).map(|queued| queued.message.body.clone()))
    }

    fn queue_count(&self) -> Result<u64, Error> {
        Ok(self.state().messages.len() as u64)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<String, Error> {
        let hash = crate::hash(bytes);
        self.state().blobs.insert(hash.clone(), bytes.to_vec());
        Ok(hash)
    }

    fn get_blob(&self, hash: &str) -> Result<Option<Vec<u8>>, Error> {
        limits::check_hash(hash)?;
        Ok(self.state().blobs.get(hash).cloned())
    }

    fn blob_path(&self, _hash: &str) -> Option<PathBuf> {
        None
    }

    fn delete_blob(&self, hash: &str) -> Result<bool, Error> {
        limits::check_hash(hash)?;
        Ok(self.state().blobs.remove(hash).is_some())
    }

    fn backup(&self, _to: &Path) -> Result<(), Error> {
        Err(Error::Invalid("a store in memory has nothing to back up".to_owned()))
    }
}
