//! The queue's behaviour, the same of every engine; and that of the one with a disk across restarts.

use proptest::prelude::*;

use crate::queue::{BODY_BYTES_MAX, CHANGE_ITEMS_MAX, Change, Delay, HEAD_BYTES_MAX, Lane, Message, PAGE_MAX, Quota};
use crate::{Embedded, Error, Memory, Options, Store, suite::engines};

engines! {
    messages_wait_in_their_lane_by_time_and_arrival
    a_message_put_off_keeps_its_body
    a_removed_message_is_gone_and_removing_it_again_is_nothing
    lanes_are_paged_in_their_order
    all_that_wait_are_counted
    an_account_has_a_quota_and_others_do_not_feel_it
    a_full_queue_can_exchange_one_message_for_another
    a_message_named_twice_for_removal_makes_room_once
    limits_are_held
    many_senders_lose_no_message
}

fn lane(account: &str, name: &str) -> Lane {
    Lane { account: account.to_owned(), region: "eu-west-1".to_owned(), name: name.to_owned() }
}

fn message(name: &str, due_ms: i64, body: &str) -> Message {
    Message { lane: lane("1", name), due_ms, head: b"h".to_vec(), body: body.into() }
}

fn add(messages: Vec<Message>) -> Change {
    Change { add: messages, ..Change::default() }
}

fn bodies(store: &dyn Store, lane: &Lane) -> Vec<String> {
    let waiting = store.queue_waiting(lane, PAGE_MAX).unwrap();
    let body = |sequence| String::from_utf8(store.queue_body(sequence).unwrap().unwrap()).unwrap();
    waiting.iter().map(|waiting| body(waiting.sequence)).collect()
}

fn messages_wait_in_their_lane_by_time_and_arrival(store: &dyn Store) {
    let messages = vec![message("f", 5, "c"), message("f", 3, "a"), message("f", 3, "b"), message("g", 1, "d")];
    store.change_queue(add(messages)).unwrap();
    assert_eq!(bodies(store, &lane("1", "f")), ["a", "b", "c"]);
    assert_eq!(bodies(store, &lane("1", "g")), ["d"]);
    assert_eq!(bodies(store, &lane("2", "f")), [""; 0]);
    assert_eq!(store.queue_waiting(&lane("1", "f"), 2).unwrap().len(), 2);
    let lanes = store.queue_lanes(None, PAGE_MAX).unwrap();
    assert_eq!(lanes, [(lane("1", "f"), 3), (lane("1", "g"), 1)]);
}

fn all_that_wait_are_counted(store: &dyn Store) {
    assert_eq!(store.queue_count().unwrap(), 0);
    let other = Message { lane: lane("2", "f"), ..message("f", 1, "c") };
    store.change_queue(add(vec![message("f", 1, "a"), message("g", 2, "b"), other])).unwrap();
    assert_eq!(store.queue_count().unwrap(), 3);
    let first = store.queue_waiting(&lane("1", "f"), 1).unwrap().remove(0);
    let remove = vec![first.sequence];
    store.change_queue(Change { remove, ..Change::default() }).unwrap();
    assert_eq!(store.queue_count().unwrap(), 2);
}

fn a_message_put_off_keeps_its_body(store: &dyn Store) {
    store.change_queue(add(vec![message("f", 1, "a"), message("f", 2, "b")])).unwrap();
    let first = store.queue_waiting(&lane("1", "f"), 1).unwrap().remove(0);
    let delay = vec![Delay { sequence: first.sequence, due_ms: 9, head: b"again".to_vec() }];
    store.change_queue(Change { delay, ..Change::default() }).unwrap();
    assert_eq!(bodies(store, &lane("1", "f")), ["b", "a"]);
    let last = store.queue_waiting(&lane("1", "f"), 2).unwrap().remove(1);
    assert_eq!((last.sequence, last.due_ms, last.head.as_slice()), (first.sequence, 9, &b"again"[..]));
    let nobody = vec![Delay { sequence: 99, due_ms: 9, head: Vec::new() }];
    store.change_queue(Change { delay: nobody, ..Change::default() }).unwrap();
}

fn a_removed_message_is_gone_and_removing_it_again_is_nothing(store: &dyn Store) {
    store.change_queue(add(vec![message("f", 1, "a")])).unwrap();
    let sequence = store.queue_waiting(&lane("1", "f"), 1).unwrap()[0].sequence;
    for _ in 0..2 {
        store.change_queue(Change { remove: vec![sequence], ..Change::default() }).unwrap();
        assert_eq!(store.queue_body(sequence).unwrap(), None);
        assert_eq!(store.queue_lanes(None, PAGE_MAX).unwrap(), []);
    }
    store.change_queue(add(vec![message("f", 1, "b")])).unwrap();
    assert_ne!(store.queue_waiting(&lane("1", "f"), 1).unwrap()[0].sequence, sequence, "a name is not used again");
}

fn lanes_are_paged_in_their_order(store: &dyn Store) {
    for account in ["2", "1"] {
        for name in ["b", "a", "é"] {
            let message = Message { lane: lane(account, name), ..message(name, 7, "x") };
            store.change_queue(add(vec![message.clone(), message])).unwrap();
        }
    }
    let mut seen: Vec<Lane> = Vec::new();
    loop {
        let page = store.queue_lanes(seen.last(), 4).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|(lane, _)| lane));
    }
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!(seen, sorted);
    assert_eq!(seen.len(), 6);
}

fn a_message_named_twice_for_removal_makes_room_once(store: &dyn Store) {
    let quota = Quota { messages_max: 2, bytes_max: 100 };
    store.change_queue(add(vec![message("f", 1, "a"), message("f", 1, "b")])).unwrap();
    let sequence = store.queue_waiting(&lane("1", "f"), 1).unwrap()[0].sequence;
    let exchange = |added: usize| {
        let add = vec![message("f", 1, "c"); added];
        store.change_queue(Change { add, remove: vec![sequence, sequence], quota, ..Change::default() })
    };
    assert!(matches!(exchange(2), Err(Error::Crowded)));
    exchange(1).unwrap();
}

fn an_account_has_a_quota_and_others_do_not_feel_it(store: &dyn Store) {
    let quota = Quota { messages_max: 3, bytes_max: 100 };
    let limited = |messages| store.change_queue(Change { quota, ..add(messages) });
    limited(vec![message("f", 1, "a"), message("g", 1, "b")]).unwrap();
    assert!(matches!(limited(vec![message("f", 1, "c"), message("f", 1, "d")]), Err(Error::Crowded)));
    assert_eq!(bodies(store, &lane("1", "f")), ["a"], "a refused change adds nothing");
    limited(vec![message("f", 1, "c")]).unwrap();
    assert!(matches!(limited(vec![message("f", 1, "d")]), Err(Error::Crowded)));
    let other = Message { lane: lane("2", "f"), ..message("f", 1, "e") };
    limited(vec![other.clone()]).unwrap();
    let big = Message { body: vec![0; 98], ..other };
    assert!(matches!(limited(vec![big.clone()]), Err(Error::Crowded)), "bytes count too");
    limited(vec![Message { body: vec![0; 97], ..big }]).unwrap();
    let sequences: Vec<u64> =
        store.queue_waiting(&lane("1", "f"), 9).unwrap().iter().map(|waiting| waiting.sequence).collect();
    store.change_queue(Change { remove: sequences, ..Change::default() }).unwrap();
    limited(vec![message("f", 1, "d")]).unwrap();
}

fn a_full_queue_can_exchange_one_message_for_another(store: &dyn Store) {
    let quota = Quota { messages_max: 1, bytes_max: 4 };
    store.change_queue(Change { quota, ..add(vec![message("f", 1, "abc")]) }).unwrap();
    let remove = vec![store.queue_waiting(&lane("1", "f"), 1).unwrap()[0].sequence];
    store.change_queue(Change { remove, quota, ..add(vec![message("g", 1, "def")]) }).unwrap();
    assert_eq!(bodies(store, &lane("1", "g")), ["def"]);
    assert_eq!(bodies(store, &lane("1", "f")), [""; 0]);
}

fn limits_are_held(store: &dyn Store) {
    let fine = message("f", 1, "a");
    let wrong = [
        Message { lane: lane("", "f"), ..fine.clone() },
        Message { lane: lane("1", &"n".repeat(5000)), ..fine.clone() },
        Message { due_ms: -1, ..fine.clone() },
        Message { due_ms: i64::MAX, ..fine.clone() },
        Message { head: vec![0; HEAD_BYTES_MAX + 1], ..fine.clone() },
        Message { body: vec![0; BODY_BYTES_MAX + 1], ..fine.clone() },
    ];
    for message in wrong {
        assert!(matches!(store.change_queue(add(vec![message.clone()])), Err(Error::Invalid(_))), "{message:?}");
    }
    let many = vec![fine; CHANGE_ITEMS_MAX + 1];
    assert!(matches!(store.change_queue(add(many)), Err(Error::Invalid(_))));
    assert!(matches!(store.queue_lanes(None, PAGE_MAX + 1), Err(Error::Invalid(_))));
    assert!(matches!(store.queue_waiting(&lane("1", "f"), PAGE_MAX + 1), Err(Error::Invalid(_))));
    assert_eq!(store.queue_lanes(None, PAGE_MAX).unwrap(), []);
}

fn many_senders_lose_no_message(store: &dyn Store) {
    std::thread::scope(|scope| {
        for sender in 0..4 {
            scope.spawn(move || {
                for at in 0..25 {
                    store.change_queue(add(vec![message("f", at, &format!("{sender}/{at}"))])).unwrap();
                }
            });
        }
    });
    assert_eq!(store.queue_waiting(&lane("1", "f"), PAGE_MAX).unwrap().len(), 100);
}

#[test]
fn messages_are_there_after_a_restart_and_in_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let quota = Quota { messages_max: 2, bytes_max: u64::MAX };
    {
        let store = Embedded::open(dir.path(), Options::default()).unwrap();
        store.change_queue(add(vec![message("f", 1, "a"), message("f", 2, "b")])).unwrap();
        store.backup(&copy.path().join("copy")).unwrap();
    }
    for path in [dir.path().to_owned(), copy.path().join("copy")] {
        let store = Embedded::open(&path, Options::default()).unwrap();
        assert_eq!(bodies(&store, &lane("1", "f")), ["a", "b"]);
        let more = Change { quota, ..add(vec![message("f", 3, "c")]) };
        assert!(matches!(store.change_queue(more), Err(Error::Crowded)), "the sums are kept too");
    }
}

#[derive(Debug, Clone)]
struct Step {
    add: Vec<(bool, u8, i64, usize)>,
    /// Positions among the messages there are.
    delay: Vec<(usize, i64)>,
    remove: Vec<usize>,
    messages_max: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let message = (any::<bool>(), 0..3u8, 0..4i64, 0..6usize);
    let small = || prop::collection::vec(0..6usize, 0..3);
    (prop::collection::vec(message, 0..3), prop::collection::vec((0..6usize, 0..4i64), 0..3), small(), 0..8u64)
        .prop_map(|(add, delay, remove, messages_max)| Step { add, delay, remove, messages_max })
}

fn apply(store: &dyn Store, step: &Step) -> Option<&'static str> {
    let lanes = store.queue_lanes(None, PAGE_MAX).unwrap();
    let sequences: Vec<u64> = lanes
        .iter()
        .flat_map(|(lane, _)| store.queue_waiting(lane, PAGE_MAX).unwrap())
        .map(|waiting| waiting.sequence)
        .collect();
    let at = |place: &usize| sequences.get(*place).copied().unwrap_or(1_000_000);
    let new = |(second, name, due_ms, bytes): &(bool, u8, i64, usize)| Message {
        lane: lane(if *second { "2" } else { "1" }, &name.to_string()),
        due_ms: *due_ms,
        head: vec![*name; *bytes],
        body: vec![7; *bytes],
    };
    let delay = step.delay.iter().map(|(place, due_ms)| Delay { sequence: at(place), due_ms: *due_ms, head: vec![9] });
    let change = Change {
        add: step.add.iter().map(new).collect(),
        delay: delay.collect(),
        remove: step.remove.iter().map(at).collect(),
        quota: Quota { messages_max: step.messages_max, bytes_max: 40 },
    };
    store.change_queue(change).err().map(|error| if matches!(error, Error::Crowded) { "crowded" } else { "other" })
}

fn content(store: &dyn Store) -> Vec<(Lane, i64, Vec<u8>, Vec<u8>)> {
    let lanes = store.queue_lanes(None, PAGE_MAX).unwrap();
    let rows = lanes.iter().flat_map(|(lane, _)| {
        let waiting = store.queue_waiting(lane, PAGE_MAX).unwrap().into_iter();
        waiting.map(|w| (lane.clone(), w.due_ms, w.head, store.queue_body(w.sequence).unwrap().unwrap()))
    });
    rows.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn both_engines_answer_alike(steps in prop::collection::vec(step(), 0..25)) {
        let dir = tempfile::tempdir().unwrap();
        let (memory, embedded) = (Memory::new(), Embedded::open(dir.path(), Options::default()).unwrap());
        for step in &steps {
            prop_assert_eq!(apply(&memory, step), apply(&embedded, step));
            prop_assert_eq!(content(&memory), content(&embedded));
            prop_assert_eq!(memory.queue_lanes(None, 9).unwrap(), embedded.queue_lanes(None, 9).unwrap());
        }
    }
}
