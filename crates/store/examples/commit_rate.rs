//! Prints how fast the embedded store commits, reads and appends on the disk of the folder given (or a temporary one):
//! `cargo run --release -p store --example commit_rate [folder]`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use store::{Commit, Embedded, Event, EventAttribute, EventQuery, Key, Options, Parent, Range, Store};

const COMMITS: usize = 4000;
const EVENTS: usize = 50_000;
const EVENTS_AT_ONCE: usize = 500;
const DOCUMENT_BYTES: usize = 1024;
const RECORD_BYTES: usize = 1100;
const APIS: usize = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("store"), PathBuf::from);
    let mut out = std::io::stdout().lock();
    {
        let store = Embedded::open(&dir, Options::default())?;
        for threads in [1, 4, 16, 64] {
            let (wall, mut each) = commits(&store, threads);
            each.sort_unstable();
            let rate = COMMITS as f64 / wall.as_secs_f64();
            let (p50, p99) = (each[each.len() / 2], each[each.len() * 99 / 100]);
            writeln!(out, "1 KiB put + event, {threads:2} writers: {rate:6.0} commits/s, p50 {p50:?}, p99 {p99:?}")?;
        }
        reads(&store, &mut out)?;
        events(&store, &mut out)?;
    }
    let bytes = std::fs::metadata(dir.join("store.db"))?.len();
    let start = Instant::now();
    drop(Embedded::open(&dir, Options::default())?);
    writeln!(out, "open and close of {} MB with the whole check: {:?}", bytes >> 20, start.elapsed())?;
    remove(temporary.path());
    Ok(())
}

fn remove(dir: &Path) {
    // Left to the system if it fails: the folder is a temporary one.
    let _ = std::fs::remove_dir_all(dir);
}

fn key(at: usize) -> Key {
    Key {
        account: "111111111111".to_owned(),
        region: "eu-west-1".to_owned(),
        noun: "method".to_owned(),
        parent: format!("api{:07}", at % APIS),
        id: format!("resource{at:07}/GET"),
    }
}

fn event(id: &str, at: usize) -> Event {
    Event {
        event_id: id.to_owned(),
        account: "111111111111".to_owned(),
        region: "eu-west-1".to_owned(),
        time_ms: at as i64,
        data: at.is_multiple_of(2),
        name: format!("Operation{}", at % 50),
        source: "lambda.amazonaws.com".to_owned(),
        username: Some(format!("user{}", at % 20)),
        access_key_id: Some(format!("AKIA{}", at % 20)),
        read_only: at.is_multiple_of(3),
        resources: vec![("AWS::Lambda::Function".to_owned(), format!("function{}", at % 100))],
        record: vec![b'x'; RECORD_BYTES],
    }
}

fn commits(store: &Embedded, threads: usize) -> (Duration, Vec<Duration>) {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let each = std::thread::scope(|scope| {
        let writer = || {
            let mut each = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= COMMITS {
                    return each;
                }
                let commit = Commit {
                    puts: vec![(key(at), vec![b'x'; DOCUMENT_BYTES])],
                    events: vec![event(&format!("{threads}-{at}"), at)],
                    ..Commit::default()
                };
                let start = Instant::now();
                store.commit(commit).expect("the commit");
                each.push(start.elapsed());
            }
        };
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(writer)).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    (start.elapsed(), each)
}

fn reads(store: &Embedded, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    const READS: usize = 10_000;
    let start = Instant::now();
    for _ in 0..READS {
        store.snapshot()?;
    }
    writeln!(out, "snapshot: {:?}", start.elapsed() / READS as u32)?;
    let mut snapshot = store.snapshot()?;
    let start = Instant::now();
    for at in 0..READS {
        snapshot.get(&key(at * 7 % COMMITS))?;
    }
    writeln!(out, "point read: {:?}", start.elapsed() / READS as u32)?;
    let Key { account, region, noun, parent, .. } = key(0);
    let range = Range { account, region, noun, parent: Parent::Exact(parent), after: None, limit: 1000 };
    let rows = snapshot.list(&range)?.len();
    let start = Instant::now();
    for _ in 0..READS {
        snapshot.list(&range)?;
    }
    writeln!(out, "list of {rows}: {:?}", start.elapsed() / READS as u32)?;
    let start = Instant::now();
    for _ in 0..READS {
        snapshot.fingerprint(&range)?;
    }
    writeln!(out, "fingerprint of {rows}: {:?}", start.elapsed() / READS as u32)?;
    Ok(())
}

fn events(store: &Embedded, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    for group in 0..EVENTS / EVENTS_AT_ONCE {
        let at = group * EVENTS_AT_ONCE;
        store.append_events((at..at + EVENTS_AT_ONCE).map(|at| event(&format!("event-{at:08}"), at)).collect())?;
    }
    let rate = EVENTS as f64 / start.elapsed().as_secs_f64();
    writeln!(out, "{EVENTS_AT_ONCE} events a sync: {rate:.0} events/s")?;
    let attributes = [
        None,
        Some((EventAttribute::EventName, "Operation7".to_owned())),
        Some((EventAttribute::ResourceName, "function7".to_owned())),
    ];
    for attribute in attributes {
        let query = EventQuery {
            account: "111111111111".to_owned(),
            region: "eu-west-1".to_owned(),
            attribute,
            from_ms: None,
            to_ms: None,
            include_data: false,
            before: None,
            limit: 50,
        };
        const LOOKUPS: u32 = 200;
        let start = Instant::now();
        for _ in 0..LOOKUPS {
            store.lookup_events(&query)?;
        }
        let by = query.attribute.map_or("nothing".to_owned(), |(attribute, _)| format!("{attribute:?}"));
        writeln!(out, "newest 50 management events by {by}: {:?}", start.elapsed() / LOOKUPS)?;
    }
    let start = Instant::now();
    let pruned = store.prune_events(EVENTS as i64 / 10)?;
    writeln!(out, "pruned {pruned} events: {:?}", start.elapsed())?;
    Ok(())
}
