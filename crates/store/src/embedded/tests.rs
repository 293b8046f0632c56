//! What only an engine with a disk can get wrong: locks, damage, room, death.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::suite::{event, exact, key, put, query};
use crate::{EventAttribute, Parent, Range};

fn open(dir: &TempDir) -> Result<Embedded, Error> {
    Embedded::open(dir.path(), Options::default())
}

fn document(store: &dyn Store, id: &str) -> Option<Vec<u8>> {
    store.snapshot().unwrap().get(&key("api", id)).unwrap().map(|row| row.document)
}

#[track_caller]
fn assert_corrupt(dir: &TempDir, what: &str) {
    let database = dir.path().join(DATABASE);
    let before = fs::read(&database).ok();
    match open(dir).err() {
        Some(Error::Corrupt(message)) => assert!(message.contains(what), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&database).ok(), before, "a damaged file is left as it is");
}

#[test]
fn a_second_opener_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).unwrap();
    let error = open(&dir).err().unwrap();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())));
    drop(first);
    open(&dir).unwrap();
}

#[test]
fn a_folder_is_made_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b");
    let store = Embedded::open(&inner, Options::default()).unwrap();
    store.commit(put(key("api", "a"), "x")).unwrap();
    let hash = store.put_blob(b"secret").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("blobs")), 0o700);
    for file in ["lock", "store.db", "store.db-wal"] {
        assert_eq!(mode(&inner.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&store.blob_path(&hash).unwrap()), 0o600);
}

#[test]
fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let rev = store.commit(Commit { events: vec![event("a", 1)], ..put(key("api", "a"), "one") }).unwrap();
    let hash = store.put_blob(b"bytes").unwrap();
    drop(store);
    assert!(!dir.path().join("store.db-wal").exists(), "closing folds the log into the file");
    let store = open(&dir).unwrap();
    assert_eq!(store.snapshot().unwrap().rev(), rev);
    assert_eq!(document(&store, "a").unwrap(), b"one");
    assert_eq!(store.lookup_events(&query()).unwrap().len(), 1);
    assert_eq!(store.get_blob(&hash).unwrap().unwrap(), b"bytes");
    assert_eq!(store.commit(put(key("api", "b"), "two")).unwrap(), rev + 1);
}

fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    for id in 0..200 {
        store.commit(put(key("api", &id.to_string()), &"x".repeat(1000))).unwrap();
    }
    drop(store);
    dir
}

fn overwrite(dir: &TempDir, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(dir.path().join(DATABASE)).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn cut(dir: &TempDir, bytes: u64) {
    OpenOptions::new().write(true).open(dir.path().join(DATABASE)).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_damaged_database_is_refused_and_left_alone() {
    let dir = filled();
    let bytes = fs::metadata(dir.path().join(DATABASE)).unwrap().len();
    assert!(bytes > 10 * schema::PAGE_BYTES);
    cut(&dir, bytes - 1);
    assert_corrupt(&dir, "cut short");
    cut(&dir, 50);
    assert_corrupt(&dir, "too short");
    cut(&dir, 0);
    assert_corrupt(&dir, "too short");

    let dir = filled();
    overwrite(&dir, 0, b"garbage");
    assert_corrupt(&dir, "does not begin");

    let dir = filled();
    overwrite(&dir, 68, &[0, 0, 0, 0]);
    assert_corrupt(&dir, "another program");

    let dir = filled();
    overwrite(&dir, 5 * schema::PAGE_BYTES, &[0xA5; 64]);
    match open(&dir).err() {
        Some(Error::Corrupt(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_database_is_not_made_anew() {
    let dir = filled();
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    assert_corrupt(&dir, "missing");
    assert!(!dir.path().join(DATABASE).exists());
}

#[test]
fn an_interrupted_first_start_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.db.new"), b"half a database").unwrap();
    fs::write(dir.path().join("store.db.new-journal"), b"and its journal").unwrap();
    open(&dir).unwrap().commit(put(key("api", "a"), "x")).unwrap();
    assert!(!dir.path().join("store.db.new").exists());
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let dir = filled();
    Connection::open(dir.path().join(DATABASE)).unwrap().pragma_update(None, "user_version", 9999).unwrap();
    assert!(matches!(open(&dir).err(), Some(Error::Invalid(message)) if message.contains("newer")));
}

#[test]
fn a_full_store_refuses_writes_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: Some(1 << 20), ..Options::default() };
    let store = Embedded::open(dir.path(), options).unwrap();
    let mut kept = 0;
    let refusal = loop {
        let commit = Commit {
            events: vec![event(&kept.to_string(), 1)],
            ..put(key("api", &kept.to_string()), &"x".repeat(50_000))
        };
        match store.commit(commit) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, Error::Full), "{refusal}");
    assert!(kept > 5);
    let mut snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.list(&exact("api")).unwrap().len(), kept);
    assert_eq!(snapshot.rev(), kept as u64);
    assert_eq!(store.lookup_events(&query()).unwrap().len(), kept);
    drop(snapshot);
    // Deleting makes room.
    store.commit(Commit { deletes: vec![key("api", "0"), key("api", "1")], ..Commit::default() }).unwrap();
    store.commit(put(key("api", "new"), &"y".repeat(50_000))).unwrap();
}

#[test]
fn one_commit_too_big_does_not_fail_those_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: Some(2 << 20), ..Options::default() };
    let store = Embedded::open(dir.path(), options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for at in 0..10 {
                    if thread == 0 {
                        let refusal = store.commit(put(key("big", "x"), &"x".repeat(4 << 20)));
                        assert!(matches!(refusal, Err(Error::Full)), "{refusal:?}");
                    } else {
                        store.commit(put(key("api", &format!("{thread}-{at}")), "small")).unwrap();
                    }
                }
            });
        }
    });
    let mut snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.list(&exact("api")).unwrap().len(), 70);
    assert_eq!(snapshot.rev(), 70);
}

/// A file system of three megabytes for as long as it lives. Only root may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_is_survived() {
    let root = rustix::process::geteuid().is_root();
    let Some(disk) = SmallDisk::mount() else {
        // An ordinary user cannot mount; the store's own size limit is tested for everybody.
        assert!(!root || std::env::consts::OS != "linux" || in_container(), "root could not mount a small file system");
        return;
    };
    let dir = disk.0.path().join("store");
    let filler = dir.with_file_name("filler");
    let mut acknowledged = 0;
    for round in 0..3 {
        let store = Embedded::open(&dir, Options::default()).unwrap();
        loop {
            let id = acknowledged.to_string();
            let commit = Commit { events: vec![event(&id, 1)], ..put(key("api", &id), &"x".repeat(20_000)) };
            match store.commit(commit) {
                Ok(_) => acknowledged += 1,
                Err(Error::Full) => break,
                Err(error) => panic!("round {round}: {error}"),
            }
            if round == 0 && acknowledged == 10 {
                // From here on room is scarce; it comes back in the next round.
                fs::write(&filler, vec![0; 800_000]).unwrap();
            }
        }
        assert!(matches!(store.put_blob(&vec![1; 3 << 20]), Err(Error::Full)));
        assert_eq!(fs::read_dir(dir.join("blobs/unborn")).unwrap().count(), 0);
        let mut snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.list(&exact("api")).unwrap().len(), acknowledged);
        assert_eq!(snapshot.rev(), acknowledged as u64);
        drop(snapshot);
        if round == 0 {
            fs::remove_file(&filler).unwrap();
            let id = acknowledged.to_string();
            store.commit(Commit { events: vec![event(&id, 1)], ..put(key("api", &id), "room again") }).unwrap();
            acknowledged += 1;
        }
        drop(store);
        check_whole_file(&dir);
    }
    assert!(acknowledged > 10);
}

/// A container's root usually may not mount.
fn in_container() -> bool {
    Path::new("/.dockerenv").exists() || std::env::var_os("container").is_some()
}

fn check_whole_file(dir: &Path) {
    let connection = Connection::open(dir.join(DATABASE)).unwrap();
    schema::check_whole(&connection).unwrap();
}

#[test]
fn more_snapshots_are_open_at_once_than_connections_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    store.commit(put(key("api", "a"), "x")).unwrap();
    let held: Vec<_> = (0..20).map(|_| store.snapshot().unwrap()).collect();
    assert!(held.iter().all(|snapshot| snapshot.rev() == 1));
    drop(held);
    assert_eq!(store.snapshot().unwrap().rev(), 1);
}

#[test]
fn a_snapshot_too_many_is_refused_until_one_is_given_back() {
    let dir = filled();
    let readers = Readers::new(dir.path().join(DATABASE), 1).narrow(2, Duration::ZERO);
    let first = readers.snapshot().unwrap();
    let second = readers.snapshot().unwrap();
    assert!(matches!(readers.snapshot().err(), Some(Error::Busy)));
    drop(first);
    let third = readers.snapshot().unwrap();
    assert!(matches!(readers.snapshot().err(), Some(Error::Busy)));
    drop((second, third));
    let _both = (readers.snapshot().unwrap(), readers.snapshot().unwrap());
}

#[test]
fn a_rotten_blob_is_not_given_and_is_healed_by_putting_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let hash = store.put_blob(b"bytes").unwrap();
    let path = store.blob_path(&hash).unwrap();
    assert!(path.ends_with(format!("blobs/{}/{hash}", &hash[..2])));
    fs::write(&path, b"rotte").unwrap();
    assert!(matches!(store.get_blob(&hash), Err(Error::Corrupt(_))));
    assert!(matches!(store.backup(&dir.path().join("backup")), Err(Error::Corrupt(_))));
    store.put_blob(b"bytes").unwrap();
    assert_eq!(store.get_blob(&hash).unwrap().unwrap(), b"bytes");
}

#[test]
fn leftovers_of_interrupted_blob_writes_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let leftover = dir.path().join("blobs/unborn/half");
    fs::write(&leftover, b"half").unwrap();
    open(&dir).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_backup_opens_as_the_store_it_was_taken_from() {
    let dir = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    store.commit(Commit { events: vec![event("a", 1)], ..put(key("api", "a"), "one") }).unwrap();
    let hash = store.put_blob(b"bytes").unwrap();
    store.backup(&to.path().join("copy")).unwrap();
    store.commit(put(key("api", "a"), "two")).unwrap();
    let copy = Embedded::open(&to.path().join("copy"), Options::default()).unwrap();
    assert_eq!(copy.snapshot().unwrap().rev(), 1);
    assert_eq!(document(&copy, "a").unwrap(), b"one");
    assert_eq!(copy.lookup_events(&query()).unwrap().len(), 1);
    assert_eq!(copy.get_blob(&hash).unwrap().unwrap(), b"bytes");
    assert!(matches!(store.backup(&to.path().join("copy")), Err(Error::Locked { .. })));
    drop(copy);
    assert!(matches!(store.backup(&to.path().join("copy")), Err(Error::Invalid(_))));
}

#[test]
fn a_backup_broken_off_is_refused() {
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(to.path().join("blobs")).unwrap();
    fs::write(to.path().join("store.db.new"), b"not finished").unwrap();
    assert_corrupt(&to, "missing");
}

#[test]
fn a_backup_is_one_revision_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for at in 0..200 {
                let mut commit = put(key("api", "a"), &at.to_string());
                commit.puts.push((key("api", "b"), at.to_string().into_bytes()));
                store.commit(commit).unwrap();
            }
        });
        for copy in 0..3 {
            store.backup(&to.path().join(copy.to_string())).unwrap();
        }
        writer.join().unwrap();
    });
    for copy in 0..3 {
        let copy = Embedded::open(&to.path().join(copy.to_string()), Options::default()).unwrap();
        assert_eq!(document(&copy, "a"), document(&copy, "b"));
    }
}

/// Holds every statement to its index: no scan of a table, no sort, account first.
#[test]
fn no_read_costs_more_than_it_gives() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    let attributes = [
        EventAttribute::EventId,
        EventAttribute::EventName,
        EventAttribute::ReadOnly,
        EventAttribute::Username,
        EventAttribute::ResourceType,
        EventAttribute::ResourceName,
        EventAttribute::EventSource,
        EventAttribute::AccessKeyId,
    ];
    let mut statements = Vec::new();
    for attribute in attributes.map(Some).into_iter().chain([None]) {
        for include_data in [true, false] {
            let attribute = attribute.map(|attribute| (attribute, "true".to_owned()));
            let query = EventQuery { attribute, include_data, ..query() };
            statements.push((event::lookup_statement(&query).unwrap().0, query.attribute.map(|(name, _)| name)));
        }
    }
    statements.push((event::after_statement(), None));
    let after = Some(("a".to_owned(), "b".to_owned()));
    for parent in [Parent::Exact("a".to_owned()), Parent::Prefix("a".to_owned()), Parent::Prefix(String::new())] {
        for after in [None, after.clone()] {
            let range = Range { parent: parent.clone(), after, ..exact("a") };
            statements.extend(object::range_statements(&range).into_iter().map(|sql| (sql, None)));
        }
    }
    for (sql, attribute) in statements {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = plan.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        let by_id = attribute == Some(EventAttribute::EventId);
        assert!(steps[0].starts_with("SEARCH"), "{sql}: {steps:?}");
        assert!(by_id || steps[0].contains("(account=?"), "{sql}: {steps:?}");
        assert!(by_id || !steps.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {steps:?}");
        assert!(!steps.iter().any(|step| step.contains("SCAN")), "{sql}: {steps:?}");
        if sql.contains("time_ms, ") && sql.contains(") < (") && !by_id {
            assert!(steps[0].contains("time_ms"), "{sql}: {steps:?}");
        }
    }
}

/// The same for the queue, whose lanes are found by one seek each.
#[test]
fn the_queue_is_read_along_its_index() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    for sql in [queue::NEXT_LANE, queue::WAITING] {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = plan.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        assert!(steps.len() == 1 && steps[0].starts_with("SEARCH message USING"), "{sql}: {steps:?}");
    }
}

/// Names the folder of the victim below; without it that test is nobody's child and does nothing.
const VICTIM_DIR: &str = "STORE_TEST_VICTIM_DIR";
const VICTIM_THREADS: usize = 4;
const ROUNDS: usize = 10;

/// Run by `no_acknowledged_write_is_lost_to_kill_nine` in a process of its own: writes without end and says on standard
/// error what was acknowledged.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM_DIR) else { return };
    let store = Embedded::open(Path::new(&dir), Options::default()).unwrap();
    let round = store.snapshot().unwrap().rev();
    std::thread::scope(|scope| {
        for thread in 0..VICTIM_THREADS {
            let store = &store;
            scope.spawn(move || {
                for at in 0.. {
                    let id = format!("{round}-{thread}-{at}");
                    let hash = if at % 16 == 0 { store.put_blob(id.as_bytes()).unwrap() } else { String::new() };
                    let commit = Commit { events: vec![event(&id, 1)], ..put(key("api", &id), &hash) };
                    let rev = store.commit(commit).unwrap();
                    // One write call each, so that a line is whole or ends without its line feed.
                    std::io::stderr().write_all(format!("ack {rev} {id}\n").as_bytes()).unwrap();
                }
            });
        }
    });
}

fn spawn_victim(dir: &TempDir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::victim", "--nocapture"])
        .env(VICTIM_DIR, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn no_acknowledged_write_is_lost_to_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let mut victim = spawn_victim(&dir);
        let mut lines = BufReader::new(victim.stderr.take().unwrap());
        // Dies after a different number of acknowledgements each round, at whatever it is then doing.
        let enough = acknowledged.len() + 1 + (round * 37) % 200;
        let mut line = String::new();
        let mut killed = false;
        while lines.read_line(&mut line).unwrap() > 0 {
            let mut words = line.strip_suffix('\n').unwrap_or_default().split(' ');
            if let (Some("ack"), Some(rev), Some(id)) = (words.next(), words.next(), words.next()) {
                acknowledged.push((rev.parse().unwrap(), id.to_owned()));
            } else if line.ends_with('\n') {
                assert!(killed, "the victim said {line:?}");
            }
            if !killed && acknowledged.len() >= enough {
                std::thread::sleep(Duration::from_micros(round as u64 * 300));
                victim.kill().unwrap();
                killed = true;
            }
            line.clear();
        }
        victim.wait().unwrap();
        assert!(killed, "the victim died of itself");
        check_survivors(&open(&dir).unwrap(), &acknowledged);
    }
}

fn check_survivors(store: &Embedded, acknowledged: &[(u64, String)]) {
    let mut snapshot = store.snapshot().unwrap();
    for (rev, id) in acknowledged {
        let row = snapshot.get(&key("api", id)).unwrap().unwrap_or_else(|| panic!("{id} is lost"));
        assert_eq!(row.rev, *rev);
        if !row.document.is_empty() {
            let hash = str::from_utf8(&row.document).unwrap();
            assert_eq!(store.get_blob(hash).unwrap().unwrap(), id.as_bytes());
        }
    }
    // Nothing by halves: as many events as records, as many records as revisions.
    let rows = snapshot.list(&exact("api")).unwrap();
    assert_eq!(rows.len() as u64, snapshot.rev());
    let mut events = 0;
    let mut sequence = 0;
    while let Some(last) =
        store.events_after("111111111111", sequence, 1000).unwrap().iter().inspect(|_| events += 1).last()
    {
        sequence = last.sequence;
    }
    assert_eq!(events, rows.len());
}
