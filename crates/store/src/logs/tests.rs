use super::{Append, Embedded, Group, LogStore as _, Options, Query, Scope, StreamQuery};

fn group(incarnation: &str) -> Group {
    Group {
        incarnation: incarnation.into(),
        account: "111122223333".into(),
        region: "us-east-1".into(),
        name: "/g".into(),
    }
}

fn append(incarnation: &str, stream: &str, events: &[(i64, &str)]) -> Append {
    let events = events.iter().map(|(time_ms, text)| (*time_ms, (*text).to_owned())).collect();
    Append { group: group(incarnation), stream: stream.into(), events, create_stream: true }
}

fn all(scope: Scope) -> Query {
    Query { scope, from_ms: 0, to_ms: i64::MAX, past: None, backward: false, limit: 100 }
}

fn messages(logs: &Embedded, query: &Query) -> Vec<String> {
    logs.events(query).unwrap().into_iter().map(|event| event.message).collect()
}

#[test]
fn events_of_a_group_come_by_time_over_all_streams_and_survive_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    let done = logs.append(&[append("i", "a", &[(1, "one"), (3, "three")]), append("i", "b", &[(2, "two")])], 9);
    assert_eq!(done.unwrap(), [true, true]);
    drop(logs);
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    assert_eq!(messages(&logs, &all(Scope::Group("i".into()))), ["one", "two", "three"]);
    let stream = logs.stream("i", "a").unwrap().unwrap();
    assert_eq!((stream.first_ms, stream.last_ms, stream.ingested_ms), (Some(1), Some(3), Some(9)));
    assert_eq!(messages(&logs, &all(Scope::Stream(stream.id))), ["one", "three"]);
    let backward = Query { backward: true, limit: 2, ..all(Scope::Group("i".into())) };
    assert_eq!(messages(&logs, &backward), ["three", "two"]);
    let first = logs.events(&all(Scope::Group("i".into()))).unwrap().remove(0);
    let rest = Query { past: Some((first.time_ms, first.sequence)), to_ms: 2, ..all(Scope::Group("i".into())) };
    assert_eq!(messages(&logs, &rest), ["two"]);
    assert_eq!(logs.bytes("i").unwrap(), 11 + 3 * 26);
}

#[test]
fn another_incarnation_shows_nothing_of_the_first_and_a_missing_stream_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    logs.append(&[append("old", "s", &[(1, "old")])], 1).unwrap();
    assert!(messages(&logs, &all(Scope::Group("new".into()))).is_empty());
    let without = Append { create_stream: false, ..append("new", "s", &[(1, "x")]) };
    assert_eq!(logs.append(&[without], 1).unwrap(), [false]);
    assert!(logs.create_stream(&group("new"), "s", 1).unwrap());
    assert!(!logs.create_stream(&group("new"), "s", 1).unwrap());
    logs.delete_group("old").unwrap();
    assert_eq!(logs.groups("", 10).unwrap(), [group("new")]);
    assert!(logs.delete_stream("new", "s").unwrap());
    assert!(!logs.delete_stream("new", "s").unwrap());
}

#[test]
fn old_events_and_idle_streams_go() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    logs.append(&[append("i", "old", &[(1, "a")]), append("i", "new", &[(10, "b")])], 1).unwrap();
    assert_eq!(logs.expire("i", 5).unwrap(), 1);
    assert_eq!(logs.expire("i", 5).unwrap(), 0);
    assert_eq!(messages(&logs, &all(Scope::Group("i".into()))), ["b"]);
    assert_eq!(logs.forget_idle_streams("i", 1).unwrap(), 0);
    assert_eq!(logs.forget_idle_streams("i", 2).unwrap(), 1);
    assert!(logs.stream("i", "new").unwrap().is_some());
}

#[test]
fn the_oldest_make_room_beyond_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options { bytes_max: 1 << 20 }).unwrap();
    let text = "x".repeat(1_000);
    for round in 0..10 {
        let events: Vec<_> = (0..1_000).map(|at| (round * 1_000 + at, text.as_str())).collect();
        logs.append(&[append("i", "s", &events)], round).unwrap();
    }
    let query = Query { limit: 10_000, ..all(Scope::Group("i".into())) };
    let kept = logs.events(&query).unwrap();
    assert!(!kept.is_empty() && kept.len() < 6_000, "{}", kept.len());
    assert_eq!(kept.last().unwrap().time_ms, 9_999);
    assert!(std::fs::metadata(dir.path().join("logs.db")).unwrap().len() < 12 << 20);
}

#[test]
fn who_writes_most_makes_room_and_the_logs_of_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options { bytes_max: 1 << 20 }).unwrap();
    let of = |account: &str, append: Append| {
        let group = Group { account: account.into(), incarnation: account.into(), ..append.group };
        Append { group, ..append }
    };
    let text = "x".repeat(1_000);
    let few: Vec<_> = (0..100).map(|at| (at, text.as_str())).collect();
    logs.append(&[of("quiet", append("i", "s", &few))], 1).unwrap();
    for round in 0..100 {
        let events: Vec<_> = (0..100).map(|at| (round * 100 + at, text.as_str())).collect();
        logs.append(&[of("loud", append("i", "s", &events))], round).unwrap();
    }
    let kept = |account: &str| logs.events(&Query { limit: 10_000, ..all(Scope::Group(account.into())) }).unwrap();
    assert_eq!(kept("quiet").len(), 100);
    let loud = kept("loud");
    assert!((300..1_200).contains(&loud.len()), "{}", loud.len());
    assert_eq!(loud.last().unwrap().time_ms, 9_999);
    assert!(std::fs::metadata(dir.path().join("logs.db")).unwrap().len() < 3 << 20);
}

#[test]
fn what_an_account_holds_is_counted_through_every_way_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    let held = || {
        let connection = rusqlite::Connection::open(dir.path().join("logs.db")).unwrap();
        connection.query_row("SELECT bytes FROM account", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    logs.append(&[append("i", "a", &[(1, "one"), (9, "nine")]), append("i", "b", &[(1, "x")])], 1).unwrap();
    let (stream, row) = (202, 96);
    assert_eq!(held(), 2 * stream + 3 * row + 8);
    logs.expire("i", 5).unwrap();
    assert_eq!(held(), 2 * stream + row + 4);
    logs.delete_stream("i", "a").unwrap();
    assert_eq!(held(), stream);
    logs.delete_group("i").unwrap();
    assert_eq!(held(), 0);
}

#[test]
fn a_file_of_the_first_version_is_counted_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    logs.append(&[append("i", "a", &[(1, "one"), (9, "nine")]), append("i", "b", &[(1, "x")])], 1).unwrap();
    drop(logs);
    let connection = rusqlite::Connection::open(dir.path().join("logs.db")).unwrap();
    let first = "DROP TABLE account; DROP INDEX grp_account; DROP TRIGGER stream_made; DROP TRIGGER stream_gone;
                 PRAGMA user_version = 1;";
    connection.execute_batch(first).unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    let held: i64 = connection.query_row("SELECT bytes FROM account", [], |row| row.get(0)).unwrap();
    assert_eq!(held, 2 * 202 + 3 * 96 + 8);
    assert_eq!(messages(&logs, &all(Scope::Group("i".into()))).len(), 3);
}

#[test]
fn streams_are_paged_by_name_and_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    let appends = [append("i", "a", &[(3, "x")]), append("i", "b1", &[(1, "x")]), append("i", "b2", &[(2, "x")])];
    logs.append(&appends, 1).unwrap();
    let query = |prefix: &str, by_time, descending, after| StreamQuery {
        incarnation: "i".into(),
        prefix: prefix.into(),
        by_time,
        descending,
        after,
        limit: 2,
    };
    let names = |query: &StreamQuery| -> Vec<String> {
        logs.streams(query).unwrap().into_iter().map(|stream| stream.name).collect()
    };
    assert_eq!(names(&query("", false, false, None)), ["a", "b1"]);
    assert_eq!(names(&query("", false, false, Some((0, "b1".into())))), ["b2"]);
    assert_eq!(names(&query("b", false, true, None)), ["b2", "b1"]);
    assert_eq!(names(&query("", true, true, None)), ["a", "b2"]);
    assert_eq!(names(&query("", true, true, Some((2, "b2".into())))), ["b1"]);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("logs.db"), b"not a database, but long enough to be looked at: ".repeat(40))
        .unwrap();
    let logs = Embedded::open(dir.path(), &Options::default()).unwrap();
    logs.append(&[append("i", "s", &[(1, "x")])], 1).unwrap();
    assert!(dir.path().join("logs.db.damaged").exists());
}
