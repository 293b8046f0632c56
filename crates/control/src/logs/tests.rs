use std::{sync::Arc, time::Duration};

use service::{Scope, Timestamp, Tx};
use store::{
    Memory,
    logs::{Embedded, LogStore, Options, Query, Scope as Where},
};

use super::{LogWriter, QUEUE_BYTES_MAX, cut};
use crate::{Clock, commit, reader::SnapshotReader, vault::Vault};
use platform::logs::log_group::{self, LogGroup};

const ACCOUNT: &str = "111122223333";

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(1_000)
    }
}

struct World {
    store: Arc<Memory>,
    vault: Arc<Vault>,
    logs: Arc<Embedded>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::open(dir.path()).unwrap());
        let logs = Arc::new(Embedded::open(dir.path(), &Options::default()).unwrap());
        Self { store: Arc::new(Memory::default()), vault, logs, _dir: dir }
    }

    fn writer(&self) -> LogWriter {
        let (store, vault, logs) = (Arc::clone(&self.store), Arc::clone(&self.vault), Arc::clone(&self.logs));
        LogWriter::start(store, vault, Arc::new(Still), logs).unwrap()
    }

    fn group(&self, name: &str) -> Option<LogGroup> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault).unwrap();
        Tx::new(&mut reader).get(&scope(), "", name).unwrap()
    }

    /// What the group holds once the writer, being dropped, has written everything.
    fn messages(&self, writer: LogWriter, name: &str) -> Vec<String> {
        drop(writer);
        while Arc::strong_count(&self.logs) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let Some(group) = self.group(name) else { return Vec::new() };
        let scope = Where::Group(group.incarnation);
        let query = Query { scope, from_ms: 0, to_ms: i64::MAX, past: None, backward: false, limit: 1_000 };
        self.logs.events(&query).unwrap().into_iter().map(|event| event.message).collect()
    }
}

fn scope() -> Scope {
    Scope::regional(ACCOUNT, "us-east-1")
}

#[test]
fn a_group_is_made_on_first_use_only_where_wanted() {
    let world = World::new();
    let writer = world.writer();
    writer.put(ACCOUNT, "us-east-1", "/own", "s", vec![(1, "a".into()), (2, String::new())], true);
    writer.put(ACCOUNT, "us-east-1", "/own", "t", vec![(2, "b".into())], false);
    writer.put(ACCOUNT, "us-east-1", "/theirs", "s", vec![(1, "lost".into())], false);
    writer.put(ACCOUNT, "us-east-1", "not a name", "s", vec![(1, "lost".into())], true);
    assert_eq!(world.messages(writer, "/own"), ["a", "b"]);
    assert!(world.group("/theirs").is_none());
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_in_its_stream() {
    let world = World::new();
    let writer = world.writer();
    let big = "x".repeat(super::EVENT_BYTES_MAX);
    let many = vec![(1, big); QUEUE_BYTES_MAX / super::EVENT_BYTES_MAX + 1];
    writer.put(ACCOUNT, "us-east-1", "/g", "s", vec![(1, "kept".into())], true);
    writer.put(ACCOUNT, "us-east-1", "/g", "s", many, true);
    assert_eq!(world.messages(writer, "/g"), ["kept", "33 events were dropped"]);
}

#[test]
fn no_account_takes_the_whole_queue() {
    let mut waiting = super::Waiting::default();
    assert!(waiting.admit("1", QUEUE_BYTES_MAX / 4));
    assert!(!waiting.admit("1", 1));
    assert!(waiting.admit("2", QUEUE_BYTES_MAX / 4) && waiting.admit("3", QUEUE_BYTES_MAX / 4));
    assert!(waiting.admit("4", QUEUE_BYTES_MAX / 4) && !waiting.admit("5", 1), "all of them together are bounded");
}

#[test]
fn long_messages_are_cut_between_characters() {
    let mut message = "é".repeat(super::EVENT_BYTES_MAX / 2 + 10);
    message.insert(0, 'a');
    cut(&mut message);
    assert_eq!(message.len(), super::EVENT_BYTES_MAX - 1);
}

#[test]
fn a_sweep_forgets_what_is_old_and_what_belongs_to_nobody() {
    let world = World::new();
    let writer = world.writer();
    writer.put(ACCOUNT, "us-east-1", "/kept", "s", vec![(1, "a".into())], true);
    writer.put(ACCOUNT, "us-east-1", "/gone", "s", vec![(1, "b".into())], true);
    assert_eq!(world.messages(writer, "/kept"), ["a"]);
    let gone = world.group("/gone").unwrap();
    let mut reader = SnapshotReader::new(&*world.store, &world.vault).unwrap();
    let mut tx = Tx::new(&mut reader);
    tx.delete::<LogGroup>(&scope(), "", "/gone");
    let mut kept = log_group::find(&mut tx, &scope(), "/kept").unwrap();
    kept.retention_in_days = Some(1);
    tx.put(&scope(), "", "/kept", &kept).unwrap();
    let changes = tx.into_changes();
    let commit = commit::prepare(&*world.store, &world.vault, changes, reader, Vec::new()).unwrap();
    store::Store::commit(&*world.store, commit).unwrap();

    let worker = |now_ms| super::Worker {
        queue: Arc::default(),
        groups: super::Groups { store: Arc::clone(&world.store) as _, vault: Arc::clone(&world.vault) },
        clock: Arc::new(At(now_ms)),
        logs: Arc::clone(&world.logs) as _,
    };
    worker(2_000).sweep().unwrap();
    assert_eq!(world.logs.bytes(&gone.incarnation).unwrap(), 0);
    assert_eq!(world.logs.bytes(&kept.incarnation).unwrap(), 27);
    worker(super::DAY_MS + 2_000).sweep().unwrap();
    assert_eq!(world.logs.bytes(&kept.incarnation).unwrap(), 0);
    assert!(world.logs.stream(&kept.incarnation, "s").unwrap().is_none());
}

struct At(i64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0)
    }
}
