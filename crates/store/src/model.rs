//! Two engines, one history: whatever is asked of them in whatever order, the embedded engine answers as the one in
//! memory does, also after it was closed and opened again.

use proptest::prelude::*;

use crate::suite::{event, query};
use crate::{
    Check, Commit, Embedded, Error, Event, EventAttribute, EventQuery, Fingerprint, Key, Memory, Options, Parent,
    Range, Store,
};

#[derive(Debug, Clone)]
enum Step {
    /// A commit whose checks name what was really seen when the flag says so, and something stale otherwise.
    Commit {
        commit: Commit,
        guard_keys: Vec<Key>,
        guard_ranges: Vec<Range>,
        honest: bool,
    },
    Append(Vec<Event>),
    Read(Key),
    List(Range),
    /// A page after so many events of the whole answer.
    Lookup(EventQuery, usize),
    After(usize, usize),
    Prune(i64),
    Reopen,
}

// Small alphabets, so that keys meet each other; the awkward characters of ordering and of patterns are among them.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "a/", "ab", "b", "%", "é", "\u{10FFFF}", "\0"]).prop_map(str::to_owned)
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = Key> {
    (word(&["1", "2"]), word(&["", "r"]), word(&["api", "stage"]), name(), name())
        .prop_map(|(account, region, noun, parent, id)| Key { account, region, noun, parent, id })
}

fn range() -> impl Strategy<Value = Range> {
    let parent = prop_oneof![name().prop_map(Parent::Exact), name().prop_map(Parent::Prefix)];
    (key(), parent, prop::option::of((name(), name())), prop_oneof![0..4usize, Just(usize::MAX)]).prop_map(
        |(Key { account, region, noun, .. }, parent, after, limit)| Range {
            account,
            region,
            noun,
            parent,
            after,
            limit,
        },
    )
}

fn some_event() -> impl Strategy<Value = Event> {
    let resource = (word(&["t", "u"]), word(&["n", "m", "t"]));
    let who = prop::option::of(word(&["alice", "bob"]));
    let flags = (any::<bool>(), any::<bool>());
    (0..40u32, 0..6i64, word(&["1", "2"]), flags, who, word(&["x", "y"]), prop::collection::vec(resource, 0..3))
        .prop_map(|(id, time_ms, account, (data, read_only), username, name, resources)| Event {
            account,
            data,
            read_only,
            access_key_id: username.clone(),
            username,
            name,
            resources,
            ..event(&id.to_string(), time_ms)
        })
}

fn some_query() -> impl Strategy<Value = EventQuery> {
    let attribute = prop::sample::select(vec![
        EventAttribute::EventId,
        EventAttribute::EventName,
        EventAttribute::ReadOnly,
        EventAttribute::Username,
        EventAttribute::ResourceType,
        EventAttribute::ResourceName,
        EventAttribute::EventSource,
        EventAttribute::AccessKeyId,
    ]);
    let value = word(&["1", "x", "true", "false", "alice", "t", "n", "apigateway.amazonaws.com"]);
    let time = || prop::option::of(0..6i64);
    (word(&["1", "2"]), prop::option::of((attribute, value)), time(), time(), any::<bool>(), 0..5usize).prop_map(
        |(account, attribute, from_ms, to_ms, include_data, limit)| EventQuery {
            account,
            attribute,
            from_ms,
            to_ms,
            include_data,
            limit,
            ..query()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let few = 0..3usize;
    let document = prop::collection::vec(any::<u8>(), 0..20);
    let commit = (
        prop::collection::vec((key(), document), 0..5),
        prop::collection::vec(key(), few.clone()),
        prop::collection::vec(range(), 0..2),
        prop::collection::vec(some_event(), few.clone()),
    )
        .prop_map(|(puts, deletes, delete_ranges, events)| Commit {
            checks: Vec::new(),
            puts,
            deletes,
            delete_ranges,
            events,
        });
    let guards = (prop::collection::vec(key(), few.clone()), prop::collection::vec(range(), few.clone()));
    prop_oneof![
        6 => (commit, guards, prop::bool::weighted(0.7)).prop_map(|(commit, (guard_keys, guard_ranges), honest)| {
            Step::Commit { commit, guard_keys, guard_ranges, honest }
        }),
        2 => prop::collection::vec(some_event(), few).prop_map(Step::Append),
        2 => key().prop_map(Step::Read),
        4 => range().prop_map(Step::List),
        4 => (some_query(), 0..10usize).prop_map(|(query, seen)| Step::Lookup(query, seen)),
        1 => (0..10usize, 0..5usize).prop_map(|(sequence, limit)| Step::After(sequence, limit)),
        1 => (0..6i64).prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

fn guard(store: &dyn Store, keys: &[Key], ranges: &[Range], honest: bool) -> Vec<Check> {
    let mut snapshot = store.snapshot().unwrap();
    let mut checks = Vec::new();
    for key in keys {
        let version = snapshot.get(key).unwrap().map(|row| row.version);
        let version = if honest { version } else { version.map_or(Some(1), |version| version.checked_sub(1)) };
        checks.push(Check::Version { key: key.clone(), version });
    }
    for range in ranges {
        let Fingerprint { count, rev_max } = snapshot.fingerprint(range).unwrap();
        let count = if honest { count } else { count + 1 };
        checks.push(Check::Range { range: range.clone(), fingerprint: Fingerprint { count, rev_max } });
    }
    checks
}

/// What a store answers, in a form that can be compared.
fn answer(store: &dyn Store, step: &Step) -> String {
    match step.clone() {
        Step::Commit { mut commit, guard_keys, guard_ranges, honest } => {
            commit.checks = guard(store, &guard_keys, &guard_ranges, honest);
            match store.commit(commit) {
                Ok(rev) => format!("revision {rev}"),
                Err(Error::Conflict) => "conflict".to_owned(),
                Err(error) => panic!("{error}"),
            }
        }
        Step::Append(events) => format!("{:?}", store.append_events(events).unwrap()),
        Step::Read(key) => format!("{:?}", store.snapshot().unwrap().get(&key).unwrap()),
        Step::List(range) => {
            let mut snapshot = store.snapshot().unwrap();
            let fingerprint = snapshot.fingerprint(&range).unwrap();
            format!("{} {fingerprint:?} {:?}", snapshot.rev(), snapshot.list(&range).unwrap())
        }
        // Sequences may have gaps that differ between engines. The events and their order may not, so a step names a
        // place in the answer and each engine turns it into its own cursor.
        Step::Lookup(query, seen) => {
            let all = store.lookup_events(&EventQuery { limit: 1000, ..query.clone() }).unwrap();
            let before = all.iter().take(seen).next_back().map(|stored| (stored.event.time_ms, stored.sequence));
            let page = store.lookup_events(&EventQuery { before, ..query }).unwrap();
            format!("{:?}", page.into_iter().map(|stored| stored.event).collect::<Vec<_>>())
        }
        Step::After(seen, limit) => {
            let all = store.events_after("1", 0, 1000).unwrap();
            let sequence = all.iter().take(seen).next_back().map_or(0, |stored| stored.sequence);
            let events = store.events_after("1", sequence, limit).unwrap();
            format!("{:?}", events.into_iter().map(|stored| stored.event).collect::<Vec<_>>())
        }
        Step::Prune(before_ms) => format!("{}", store.prune_events(before_ms).unwrap()),
        Step::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_engine_answers_as_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new();
        let mut embedded = Some(Embedded::open(dir.path(), Options::default()).unwrap());
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(embedded.take());
                embedded = Some(Embedded::open(dir.path(), Options::default()).unwrap());
            }
            let expected = answer(&memory, step);
            let actual = answer(embedded.as_ref().unwrap(), step);
            prop_assert_eq!(actual, expected, "after {:?}", step);
        }
    }
}
