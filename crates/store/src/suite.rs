//! One behavioural suite for every engine. A new engine adds one line to `engines!`.

use std::collections::BTreeSet;
use std::sync::Barrier;

use crate::{
    Check, Commit, Embedded, Error, Event, EventAttribute, EventQuery, Fingerprint, Key, Memory, Options, Parent,
    Range, Store, limits,
};

/// Each behaviour as a test of every engine; the caller has `Memory`, `Embedded` and `Options` in scope.
macro_rules! engines {
    ($($behaviour:ident)*) => {
        mod memory {
            $(#[test] fn $behaviour() { super::$behaviour(&super::Memory::new()); })*
        }
        mod embedded {
            $(#[test] fn $behaviour() {
                let dir = tempfile::tempdir().unwrap();
                super::$behaviour(&super::Embedded::open(dir.path(), super::Options::default()).unwrap());
            })*
        }
    };
}
pub(crate) use engines;

engines! {
    a_put_is_read_back_with_its_version
    a_stale_version_conflicts_and_changes_nothing
    must_not_exist_is_checked
    a_version_is_not_used_again_after_deletion
    a_snapshot_stays_at_its_revision
    fingerprints_notice_every_change_of_a_range
    a_phantom_conflicts
    lists_are_ordered_by_parent_and_id
    pages_are_stable_while_records_come_and_go
    prefixes_end_where_they_should
    accounts_and_regions_do_not_see_each_other
    cascades_delete_the_range_and_no_more
    a_put_survives_a_deletion_of_the_same_commit
    limits_are_held
    many_writers_lose_no_update
    events_of_a_refused_commit_are_not_stored
    events_are_found_by_every_attribute
    events_are_paged_newest_first
    event_times_are_inclusive
    data_events_are_given_only_when_asked_for
    an_event_is_stored_once
    events_are_delivered_in_the_order_of_arrival
    a_page_of_huge_events_ends_early_and_loses_none
    old_events_are_forgotten
    blobs_are_named_by_their_hash
}

pub(crate) fn key(parent: &str, id: &str) -> Key {
    Key {
        account: "111111111111".to_owned(),
        region: "eu-west-1".to_owned(),
        noun: "authorizer".to_owned(),
        parent: parent.to_owned(),
        id: id.to_owned(),
    }
}

pub(crate) fn range(parent: Parent) -> Range {
    let Key { account, region, noun, .. } = key("", "");
    Range { account, region, noun, parent, after: None, limit: usize::MAX }
}

pub(crate) fn exact(parent: &str) -> Range {
    range(Parent::Exact(parent.to_owned()))
}

fn prefix(parent: &str) -> Range {
    range(Parent::Prefix(parent.to_owned()))
}

pub(crate) fn put(key: Key, document: &str) -> Commit {
    Commit { puts: vec![(key, document.into())], ..Commit::default() }
}

fn delete(key: Key) -> Commit {
    Commit { deletes: vec![key], ..Commit::default() }
}

fn only_if(version: Option<u64>, mut commit: Commit) -> Commit {
    let keys = commit.puts.iter().map(|(key, _)| key).chain(&commit.deletes);
    commit.checks.extend(keys.map(|key| Check::Version { key: key.clone(), version }));
    commit
}

fn names(store: &dyn Store, range: &Range) -> Vec<String> {
    let rows = store.snapshot().unwrap().list(range).unwrap();
    rows.into_iter().map(|row| format!("{}/{}", row.key.parent, row.key.id)).collect()
}

fn fingerprint(store: &dyn Store, range: &Range) -> Fingerprint {
    store.snapshot().unwrap().fingerprint(range).unwrap()
}

fn is_conflict<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict))
}

fn a_put_is_read_back_with_its_version(store: &dyn Store) {
    assert_eq!(store.snapshot().unwrap().get(&key("api", "a")).unwrap(), None);
    let first = store.commit(put(key("api", "a"), "one")).unwrap();
    let row = store.snapshot().unwrap().get(&key("api", "a")).unwrap().unwrap();
    assert_eq!((row.rev, row.document.as_slice()), (first, b"one".as_slice()));
    let second = store.commit(only_if(Some(row.version), put(key("api", "a"), "two"))).unwrap();
    assert!(second > first);
    let mut snapshot = store.snapshot().unwrap();
    let newer = snapshot.get(&key("api", "a")).unwrap().unwrap();
    assert_eq!((newer.rev, newer.document.as_slice()), (second, b"two".as_slice()));
    assert!(newer.version > row.version);
    assert_eq!(snapshot.rev(), second);
    assert_eq!(snapshot.list(&exact("api")).unwrap(), [newer]);
}

fn a_stale_version_conflicts_and_changes_nothing(store: &dyn Store) {
    store.commit(put(key("api", "a"), "one")).unwrap();
    let stale = store.snapshot().unwrap().get(&key("api", "a")).unwrap().unwrap();
    let rev = store.commit(put(key("api", "a"), "two")).unwrap();
    let mut commit = only_if(Some(stale.version), put(key("api", "a"), "three"));
    commit.puts.push((key("api", "b"), b"new".to_vec()));
    commit.delete_ranges.push(exact("api"));
    assert!(is_conflict(&store.commit(commit)));
    assert!(is_conflict(&store.commit(only_if(Some(stale.version), delete(key("api", "a"))))));
    let mut snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.rev(), rev);
    assert_eq!(snapshot.get(&key("api", "a")).unwrap().unwrap().document, b"two");
    assert_eq!(snapshot.get(&key("api", "b")).unwrap(), None);
}

fn must_not_exist_is_checked(store: &dyn Store) {
    store.commit(only_if(None, put(key("api", "a"), "one"))).unwrap();
    assert!(is_conflict(&store.commit(only_if(None, put(key("api", "a"), "two")))));
    store.commit(delete(key("api", "a"))).unwrap();
    store.commit(delete(key("api", "a"))).unwrap();
    store.commit(only_if(None, put(key("api", "a"), "three"))).unwrap();
}

fn a_version_is_not_used_again_after_deletion(store: &dyn Store) {
    store.commit(put(key("api", "a"), "one")).unwrap();
    let old = store.snapshot().unwrap().get(&key("api", "a")).unwrap().unwrap();
    store.commit(delete(key("api", "a"))).unwrap();
    store.commit(put(key("api", "a"), "two")).unwrap();
    assert!(is_conflict(&store.commit(only_if(Some(old.version), put(key("api", "a"), "three")))));
}

fn a_snapshot_stays_at_its_revision(store: &dyn Store) {
    let rev = store.commit(put(key("api", "a"), "one")).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    store.commit(put(key("api", "a"), "two")).unwrap();
    store.commit(put(key("api", "b"), "new")).unwrap();
    let mut newer = store.snapshot().unwrap();
    assert_eq!(newer.list(&exact("api")).unwrap().len(), 2);
    assert_eq!(snapshot.rev(), rev);
    assert_eq!(snapshot.get(&key("api", "a")).unwrap().unwrap().document, b"one");
    assert_eq!(snapshot.list(&exact("api")).unwrap().len(), 1);
    assert_eq!(snapshot.fingerprint(&exact("api")).unwrap(), Fingerprint { count: 1, rev_max: rev });
}

fn fingerprints_notice_every_change_of_a_range(store: &dyn Store) {
    let range = exact("api");
    let mut seen = vec![fingerprint(store, &range)];
    assert_eq!(seen[0], Fingerprint { count: 0, rev_max: 0 });
    let both = Commit { deletes: vec![key("api", "b")], ..put(key("api", "c"), "one") };
    let changes = [
        put(key("api", "a"), "one"),
        put(key("api", "b"), "one"),
        put(key("api", "a"), "two"),
        both,
        delete(key("api", "a")),
    ];
    for change in changes {
        store.commit(change).unwrap();
        let now = fingerprint(store, &range);
        assert!(!seen.contains(&now), "{now:?} was seen before");
        seen.push(now);
        store.commit(put(key("other", "a"), "elsewhere")).unwrap();
        let paged = Range { after: Some(("api".to_owned(), "z".to_owned())), limit: 0, ..range.clone() };
        assert_eq!(fingerprint(store, &paged), now);
    }
}

fn a_phantom_conflicts(store: &dyn Store) {
    store.commit(put(key("api", "a"), "one")).unwrap();
    let range = exact("api");
    let check = Check::Range { range: range.clone(), fingerprint: fingerprint(store, &range) };
    let guarded = Commit { checks: vec![check], ..put(key("", "summary"), "one authorizer") };
    store.commit(guarded.clone()).unwrap();
    store.commit(put(key("api", "b"), "two")).unwrap();
    assert!(is_conflict(&store.commit(guarded)));
}

fn lists_are_ordered_by_parent_and_id(store: &dyn Store) {
    // By bytes, and so by code points, in every engine.
    let ordered = ["/", "/a", "/é", "a/", "a/B", "a/a", "a/é", "a/\u{FFFF}", "a/\u{1F600}", "ab/a", "é/a"];
    for name in ordered.iter().rev() {
        let (parent, id) = name.split_once('/').unwrap();
        store.commit(put(key(parent, id), "x")).unwrap();
    }
    assert_eq!(names(store, &prefix("")), ordered);
    assert_eq!(names(store, &prefix("a")), ordered[3..10]);
    assert_eq!(names(store, &exact("a")), ordered[3..9]);
    assert_eq!(names(store, &exact("")), ordered[..3]);
}

fn pages_are_stable_while_records_come_and_go(store: &dyn Store) {
    for parent in ["p", "pq", "q"] {
        for id in 0..10 {
            store.commit(put(key(parent, &format!("{id}")), "x")).unwrap();
        }
    }
    for (parent, expected) in
        [(Parent::Exact("p".into()), 10), (Parent::Prefix("p".into()), 20), (Parent::Prefix(String::new()), 30)]
    {
        let mut seen = Vec::new();
        let mut page = Range { limit: 3, ..range(parent) };
        loop {
            let rows = store.snapshot().unwrap().list(&page).unwrap();
            let Some(last) = rows.last() else { break };
            page.after = Some((last.key.parent.clone(), last.key.id.clone()));
            // The record the page ended with goes and comes back, and another appears before it.
            let last = last.key.clone();
            store.commit(delete(last.clone())).unwrap();
            seen.extend(rows.into_iter().map(|row| row.key));
            store.commit(put(key("p", "!"), "behind")).unwrap();
            assert!(store.snapshot().unwrap().list(&page).unwrap().iter().all(|row| row.key > last));
            store.commit(put(last, "again")).unwrap();
            store.commit(delete(key("p", "!"))).unwrap();
        }
        assert_eq!(seen.len(), expected);
        assert!(seen.is_sorted());
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), expected);
    }
    let beyond = |parent: &str| Range { after: Some((parent.to_owned(), String::new())), ..exact("pq") };
    assert_eq!(names(store, &beyond("a")).len(), 10);
    assert_eq!(names(store, &beyond("q")).len(), 0);
    assert_eq!(names(store, &Range { limit: 0, ..exact("p") }).len(), 0);
}

fn prefixes_end_where_they_should(store: &dyn Store) {
    let parents = ["a", "a%", "a_", "aa", "a\u{D7FF}b", "a\u{E000}", "a\u{10FFFF}", "a\u{10FFFF}z", "b", "\u{10FFFF}"];
    for parent in parents {
        store.commit(put(key(parent, "x"), "x")).unwrap();
    }
    for prefix_of in ["", "a", "a%", "a_", "a\u{D7FF}", "a\u{10FFFF}", "\u{10FFFF}", "\u{10FFFF}\u{10FFFF}", "c"] {
        // The list above is in order already.
        let expected: Vec<String> =
            parents.iter().filter(|parent| parent.starts_with(prefix_of)).map(|parent| format!("{parent}/x")).collect();
        assert_eq!(names(store, &prefix(prefix_of)), expected, "prefix {prefix_of:?}");
    }
}

fn accounts_and_regions_do_not_see_each_other(store: &dyn Store) {
    let mine = key("api", "a");
    let others = [
        Key { account: "222222222222".to_owned(), ..mine.clone() },
        Key { region: "us-east-1".to_owned(), ..mine.clone() },
        Key { region: String::new(), ..mine.clone() },
        Key { noun: "method".to_owned(), ..mine.clone() },
    ];
    store.commit(put(mine.clone(), "mine")).unwrap();
    let before = fingerprint(store, &exact("api"));
    for other in &others {
        assert_eq!(store.snapshot().unwrap().get(other).unwrap(), None);
        store.commit(only_if(None, put(other.clone(), "other"))).unwrap();
    }
    assert_eq!(fingerprint(store, &exact("api")), before);
    assert_eq!(names(store, &prefix("")), ["api/a"]);
    store.commit(Commit { delete_ranges: vec![prefix("")], ..Commit::default() }).unwrap();
    assert_eq!(store.snapshot().unwrap().get(&mine).unwrap(), None);
    for other in &others {
        assert_eq!(store.snapshot().unwrap().get(other).unwrap().unwrap().document, b"other");
    }
    let nobody = Key { account: String::new(), ..mine };
    assert!(matches!(store.snapshot().unwrap().get(&nobody), Err(Error::Invalid(_))));
    assert!(matches!(store.commit(put(nobody, "x")), Err(Error::Invalid(_))));
}

fn cascades_delete_the_range_and_no_more(store: &dyn Store) {
    for name in ["api", "api/r1", "api/r1/m", "api/r2", "api2"] {
        store.commit(put(key(name, "x"), "x")).unwrap();
    }
    let cascade = |range: Range| Commit {
        delete_ranges: vec![Range { after: Some(("z".to_owned(), "z".to_owned())), limit: 0, ..range }],
        ..Commit::default()
    };
    store.commit(cascade(exact("api/r2"))).unwrap();
    assert_eq!(names(store, &prefix("")), ["api/x", "api/r1/x", "api/r1/m/x", "api2/x"]);
    store.commit(cascade(prefix("api/"))).unwrap();
    assert_eq!(names(store, &prefix("")), ["api/x", "api2/x"]);
}

fn a_put_survives_a_deletion_of_the_same_commit(store: &dyn Store) {
    store.commit(put(key("api", "old"), "old")).unwrap();
    let mut commit = Commit { delete_ranges: vec![exact("api")], ..put(key("api", "new"), "first") };
    commit.puts.push((key("api", "new"), b"second".to_vec()));
    commit.deletes = vec![key("api", "new")];
    store.commit(commit).unwrap();
    assert_eq!(names(store, &exact("api")), ["api/new"]);
    assert_eq!(store.snapshot().unwrap().get(&key("api", "new")).unwrap().unwrap().document, b"second");
}

fn limits_are_held(store: &dyn Store) {
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    let many = Commit { deletes: vec![key("a", "b"); limits::COMMIT_ITEMS_MAX + 1], ..Commit::default() };
    let document = Commit { puts: vec![(key("a", "b"), vec![0; limits::DOCUMENT_BYTES_MAX + 1])], ..Commit::default() };
    for commit in [put(key(&long, "a"), ""), put(key("a", &long), ""), delete(key("a", &long)), many, document] {
        assert!(matches!(store.commit(commit), Err(Error::Invalid(_))));
    }
    let record = Event { record: vec![b' '; limits::EVENT_BYTES_MAX + 1], ..event("1", 1) };
    let resources = vec![(String::new(), String::new()); limits::EVENT_RESOURCES_MAX + 1];
    let wrong = [
        record,
        Event { resources, ..event("1", 1) },
        Event { time_ms: -1, ..event("1", 1) },
        Event { event_id: String::new(), ..event("1", 1) },
        Event { name: "x".repeat(limits::EVENT_TEXT_BYTES_MAX + 1), ..event("1", 1) },
    ];
    for wrong in wrong {
        assert!(matches!(store.append_events(vec![event("0", 1), wrong]), Err(Error::Invalid(_))));
    }
    assert!(store.lookup_events(&query()).unwrap().is_empty());
    let page = EventQuery { limit: limits::EVENTS_PAGE_MAX + 1, ..query() };
    assert!(matches!(store.lookup_events(&page), Err(Error::Invalid(_))));
    assert_eq!(store.snapshot().unwrap().rev(), 0);
}

/// Each thread adds one to a common counter by read, check and commit, and appends an event in the same commit.
fn many_writers_lose_no_update(store: &dyn Store) {
    const WRITERS: usize = 8;
    const UPDATES: usize = 25;
    let counter = key("", "counter");
    let start = Barrier::new(WRITERS);
    let update = |writer: usize| {
        start.wait();
        let mut revs = Vec::new();
        while revs.len() < UPDATES {
            let row = store.snapshot().unwrap().get(&counter).unwrap();
            let count: usize = row.as_ref().map_or(0, |row| str::from_utf8(&row.document).unwrap().parse().unwrap());
            let mut commit = only_if(row.map(|row| row.version), put(counter.clone(), &(count + 1).to_string()));
            let own = (key("own", &writer.to_string()), revs.len().to_string().into_bytes());
            commit.puts.push(own);
            commit.events.push(event(&format!("{writer}-{}", revs.len()), 1));
            match store.commit(commit) {
                Ok(rev) => revs.push(rev),
                Err(Error::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
        revs
    };
    let all: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let update = &update;
        let threads: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || update(writer))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let total = WRITERS * UPDATES;
    assert!(all.iter().all(|revs| revs.is_sorted_by(|a, b| a < b)));
    let revs: BTreeSet<u64> = all.into_iter().flatten().collect();
    assert_eq!(revs, (1..=total as u64).collect());
    let mut snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.rev(), total as u64);
    assert_eq!(snapshot.get(&counter).unwrap().unwrap().document, total.to_string().into_bytes());
    assert_eq!(snapshot.list(&exact("own")).unwrap().len(), WRITERS);
    assert_eq!(store.events_after("111111111111", 0, limits::EVENTS_PAGE_MAX).unwrap().len(), total);
}

pub(crate) fn event(event_id: &str, time_ms: i64) -> Event {
    Event {
        event_id: event_id.to_owned(),
        account: "111111111111".to_owned(),
        region: "eu-west-1".to_owned(),
        time_ms,
        data: false,
        name: "CreateRestApi".to_owned(),
        source: "apigateway.amazonaws.com".to_owned(),
        username: None,
        access_key_id: None,
        read_only: false,
        resources: Vec::new(),
        record: format!("{{\"eventID\":\"{event_id}\"}}").into_bytes(),
    }
}

pub(crate) fn query() -> EventQuery {
    let Event { account, region, .. } = event("", 0);
    EventQuery {
        account,
        region,
        attribute: None,
        from_ms: None,
        to_ms: None,
        include_data: true,
        before: None,
        limit: 1000,
    }
}

fn ids(store: &dyn Store, query: &EventQuery) -> Vec<String> {
    store.lookup_events(query).unwrap().into_iter().map(|stored| stored.event.event_id).collect()
}

fn events_of_a_refused_commit_are_not_stored(store: &dyn Store) {
    let with_event = |id: &str| Commit { events: vec![event(id, 1)], ..only_if(None, put(key("api", "a"), "x")) };
    store.commit(with_event("first")).unwrap();
    assert!(is_conflict(&store.commit(with_event("second"))));
    assert_eq!(ids(store, &query()), ["first"]);
}

fn events_are_found_by_every_attribute(store: &dyn Store) {
    use EventAttribute::{
        AccessKeyId, EventId, EventName, EventSource, ReadOnly, ResourceName, ResourceType, Username,
    };
    let function = |name: &str| ("AWS::Lambda::Function".to_owned(), name.to_owned());
    let first = Event {
        name: "Invoke".to_owned(),
        source: "lambda.amazonaws.com".to_owned(),
        username: Some("alice".to_owned()),
        access_key_id: Some("AKIA1".to_owned()),
        read_only: true,
        resources: vec![function("f"), function("g"), ("AWS::IAM::Role".to_owned(), "f".to_owned())],
        ..event("first", 1)
    };
    let second = Event { username: Some("bob".to_owned()), resources: vec![function("g")], ..event("second", 2) };
    let foreign = Event { account: "222222222222".to_owned(), event_id: "foreign".to_owned(), ..first.clone() };
    let elsewhere = Event { region: "us-east-1".to_owned(), event_id: "elsewhere".to_owned(), ..first.clone() };
    store.append_events(vec![first.clone(), foreign, elsewhere]).unwrap();
    store.append_events(vec![second]).unwrap();
    let table: &[(EventAttribute, &str, &[&str])] = &[
        (EventId, "first", &["first"]),
        (EventId, "foreign", &[]),
        (EventId, "elsewhere", &[]),
        (EventName, "Invoke", &["first"]),
        (EventName, "invoke", &[]),
        (EventSource, "lambda.amazonaws.com", &["first"]),
        (EventSource, "apigateway.amazonaws.com", &["second"]),
        (Username, "alice", &["first"]),
        (Username, "", &[]),
        (AccessKeyId, "AKIA1", &["first"]),
        (AccessKeyId, "AKIA2", &[]),
        (ReadOnly, "true", &["first"]),
        (ReadOnly, "false", &["second"]),
        (ReadOnly, "1", &[]),
        (ResourceType, "AWS::Lambda::Function", &["second", "first"]),
        (ResourceType, "AWS::IAM::Role", &["first"]),
        (ResourceType, "f", &[]),
        (ResourceName, "f", &["first"]),
        (ResourceName, "g", &["second", "first"]),
        (ResourceName, "AWS::IAM::Role", &[]),
    ];
    for (attribute, value, expected) in table {
        let by = EventQuery { attribute: Some((*attribute, (*value).to_owned())), ..query() };
        assert_eq!(ids(store, &by), *expected, "{attribute:?} {value}");
    }
    let by_name = EventQuery { attribute: Some((EventName, "Invoke".to_owned())), ..query() };
    assert_eq!(store.lookup_events(&by_name).unwrap()[0].event, first);
}

fn every_attribute() -> Vec<Option<(EventAttribute, String)>> {
    use EventAttribute::{EventName, EventSource, ReadOnly, ResourceName, ResourceType, Username};
    let some = |attribute, value: &str| Some((attribute, value.to_owned()));
    vec![
        None,
        some(EventName, "CreateRestApi"),
        some(EventSource, "apigateway.amazonaws.com"),
        some(ReadOnly, "false"),
        some(Username, "alice"),
        some(ResourceType, "type"),
        some(ResourceName, "name"),
    ]
}

fn full_event(event_id: &str, time_ms: i64) -> Event {
    Event {
        username: Some("alice".to_owned()),
        resources: vec![("type".to_owned(), "name".to_owned()), ("type".to_owned(), "other".to_owned())],
        ..event(event_id, time_ms)
    }
}

fn events_are_paged_newest_first(store: &dyn Store) {
    // Out of order, and several in one millisecond: among those the later arrival is the newer.
    let times = [5, 1, 9, 5, 5, 2, 9, 7];
    let events = times.iter().enumerate().map(|(at, time_ms)| full_event(&at.to_string(), *time_ms));
    store.append_events(events.collect()).unwrap();
    for attribute in every_attribute() {
        let mut page = EventQuery { attribute, limit: 3, ..query() };
        let mut seen = Vec::new();
        loop {
            let events = store.lookup_events(&page).unwrap();
            let Some(last) = events.last() else { break };
            page.before = Some((last.event.time_ms, last.sequence));
            seen.extend(events.into_iter().map(|stored| stored.event.event_id));
        }
        assert_eq!(seen, ["6", "2", "7", "4", "3", "0", "5", "1"], "{:?}", page.attribute);
    }
}

fn event_times_are_inclusive(store: &dyn Store) {
    store.append_events((1..=9).map(|time_ms| full_event(&time_ms.to_string(), time_ms)).collect()).unwrap();
    for attribute in every_attribute() {
        let between = |from_ms, to_ms| EventQuery { attribute: attribute.clone(), from_ms, to_ms, ..query() };
        assert_eq!(ids(store, &between(Some(4), Some(6))), ["6", "5", "4"]);
        assert_eq!(ids(store, &between(Some(8), None)), ["9", "8"]);
        assert_eq!(ids(store, &between(None, Some(1))), ["1"]);
        assert_eq!(ids(store, &between(Some(i64::MIN), Some(i64::MAX))).len(), 9);
        assert!(ids(store, &between(Some(6), Some(4))).is_empty());
    }
}

fn data_events_are_given_only_when_asked_for(store: &dyn Store) {
    store.append_events(vec![full_event("management", 1), Event { data: true, ..full_event("data", 2) }]).unwrap();
    for attribute in every_attribute() {
        let all = EventQuery { attribute, ..query() };
        assert_eq!(ids(store, &all), ["data", "management"]);
        assert_eq!(ids(store, &EventQuery { include_data: false, ..all }), ["management"]);
    }
}

fn an_event_is_stored_once(store: &dyn Store) {
    store.append_events(vec![event("a", 1), event("a", 2)]).unwrap();
    store.append_events(vec![event("a", 3), event("b", 4)]).unwrap();
    store.commit(Commit { events: vec![event("b", 5)], ..Commit::default() }).unwrap();
    let stored = store.lookup_events(&query()).unwrap();
    let times: Vec<i64> = stored.iter().map(|stored| stored.event.time_ms).collect();
    assert_eq!(times, [4, 1]);
}

fn events_are_delivered_in_the_order_of_arrival(store: &dyn Store) {
    let other = Event { account: "222222222222".to_owned(), ..event("other", 1) };
    let elsewhere = Event { region: "us-east-1".to_owned(), ..event("elsewhere", 1) };
    store.append_events(vec![event("a", 9), other, elsewhere, event("b", 5)]).unwrap();
    let first = store.events_after("111111111111", 0, 2).unwrap();
    let rest = store.events_after("111111111111", first[1].sequence, 10).unwrap();
    let delivered: Vec<_> = first.iter().chain(&rest).map(|stored| stored.event.event_id.as_str()).collect();
    assert_eq!(delivered, ["a", "elsewhere", "b"]);
    let last = rest[0].sequence;
    assert!(store.events_after("111111111111", last, 10).unwrap().is_empty());
    // A cursor stays good when what it named is forgotten and new events come.
    store.prune_events(limits::TIME_MS_MAX).unwrap();
    store.append_events(vec![event("c", 1)]).unwrap();
    let new = store.events_after("111111111111", last, 10).unwrap();
    assert_eq!(new[0].event.event_id, "c");
}

fn a_page_of_huge_events_ends_early_and_loses_none(store: &dyn Store) {
    let full = limits::EVENTS_PAGE_BYTES_MAX / limits::EVENT_BYTES_MAX;
    let huge = |at: usize| Event { record: vec![b' '; limits::EVENT_BYTES_MAX], ..event(&at.to_string(), at as i64) };
    for half in [0..full / 2, full / 2..full + 3] {
        store.append_events(half.map(huge).collect()).unwrap();
    }
    let first = store.events_after("111111111111", 0, 1000).unwrap();
    assert_eq!(first.len(), full);
    let rest = store.events_after("111111111111", first[full - 1].sequence, 1000).unwrap();
    assert_eq!(rest.len(), 3);
    assert_eq!(store.lookup_events(&query()).unwrap().len(), full);
}

fn old_events_are_forgotten(store: &dyn Store) {
    for account in ["111111111111", "222222222222"] {
        for region in ["eu-west-1", "us-east-1"] {
            let events = (0..300).map(|at| Event {
                account: account.to_owned(),
                region: region.to_owned(),
                ..full_event(&format!("{account} {region} {at}"), at)
            });
            store.append_events(events.collect()).unwrap();
        }
    }
    assert_eq!(store.prune_events(0).unwrap(), 0);
    assert_eq!(store.prune_events(290).unwrap(), 4 * 290);
    assert_eq!(store.prune_events(290).unwrap(), 0);
    for attribute in every_attribute() {
        assert_eq!(ids(store, &EventQuery { attribute, ..query() }).len(), 10);
    }
    // An id is free again once its event is forgotten.
    store.append_events(vec![event("111111111111 eu-west-1 0", 1000)]).unwrap();
    assert_eq!(ids(store, &query()).len(), 11);
}

fn blobs_are_named_by_their_hash(store: &dyn Store) {
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(store.get_blob(ABC).unwrap(), None);
    assert!(!store.delete_blob(ABC).unwrap());
    assert_eq!(store.put_blob(b"abc").unwrap(), ABC);
    assert_eq!(store.put_blob(b"abc").unwrap(), ABC);
    assert_eq!(store.get_blob(ABC).unwrap().unwrap(), b"abc");
    if let Some(path) = store.blob_path(ABC) {
        assert_eq!(std::fs::read(path).unwrap(), b"abc");
    }
    let empty = store.put_blob(b"").unwrap();
    assert_eq!(store.get_blob(&empty).unwrap().unwrap(), b"");
    assert!(store.delete_blob(ABC).unwrap());
    assert_eq!(store.get_blob(ABC).unwrap(), None);
    assert_eq!(store.blob_path(ABC), None);
    for wrong in ["", "..", "../../etc/passwd", &ABC.to_uppercase(), &ABC[1..], &format!("{}/", &ABC[1..])] {
        assert!(matches!(store.get_blob(wrong), Err(Error::Invalid(_))), "{wrong}");
        assert!(matches!(store.delete_blob(wrong), Err(Error::Invalid(_))), "{wrong}");
        assert_eq!(store.blob_path(wrong), None);
    }
}
