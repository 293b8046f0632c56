//! Events from acceptance to their end, over a store in memory, with a clock that is set and functions that are scripted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use lambda::invoke::{FunctionError, Invocation, Outcome, RunError};
use serde_json::{Value, json};
use service::{Result, ServiceError, Timestamp};
use store::{
    Memory, Store,
    queue::{Change, Lane, Message, Quota},
};

use super::{
    event::NewEvent,
    queue::{EventQueue, Refused},
    schedule::Rules,
    serve::{self, Backend, Configured, Found},
};
use crate::{Clock, invoker::Attribution, vault::Vault};

const START_MS: i64 = 1_764_037_614_000;

struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// What a function does with one try.
#[derive(Clone)]
enum Does {
    Answers(&'static str),
    Fails(&'static str),
    IsThrottled,
    CannotRun,
}

/// What goes wrong beside the function.
#[derive(Debug, Clone, Copy)]
enum Broken {
    Unreadable,
    Panics,
}

/// A run as the function saw it: milliseconds since the start, request id, event.
type Seen = (i64, String, String);

struct Fake {
    clock: Arc<FakeClock>,
    /// By function; the last entry stays.
    script: Mutex<BTreeMap<String, VecDeque<Does>>>,
    seen: Mutex<Vec<(String, Seen)>>,
    attributions: Mutex<Vec<Attribution>>,
    configured: Mutex<Configured>,
    stopped: Mutex<bool>,
    refuses: Mutex<bool>,
    broken: Mutex<Option<Broken>>,
    /// How often a destination cannot be looked up.
    unreadable: Mutex<u32>,
    /// Whether the destination tells itself of its own end, as two that tell each other would.
    chained: Mutex<bool>,
    ids: AtomicU64,
}

impl Fake {
    fn does(&self, function: &str, script: &[Does]) {
        self.script.lock().unwrap().insert(function.into(), script.iter().cloned().collect());
    }

    fn forget(&self, function: &str) {
        self.script.lock().unwrap().remove(function);
    }

    fn seen(&self, function: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(name, _)| name == function).map(|(_, seen)| seen.clone()).collect()
    }

    fn times_s(&self, function: &str) -> Vec<i64> {
        self.seen(function).iter().map(|(ms, ..)| ms / 1000).collect()
    }

    /// The only record a destination was told.
    fn told(&self) -> Value {
        let seen = self.seen("destination");
        assert_eq!(seen.len(), 1, "{seen:?}");
        serde_json::from_str(&seen[0].2).unwrap()
    }
}

impl Backend for Fake {
    type Target = ();

    async fn configured(&self, lane: &Lane, _qualifier: &str) -> Result<Configured> {
        let configured = self.configured.lock().unwrap().clone();
        if lane.name == "destination" && !*self.chained.lock().unwrap() {
            return Ok(Configured { on_success: None, on_failure: None, ..configured });
        }
        Ok(configured)
    }

    async fn find(&self, lane: &Lane, _qualifier: &str) -> Result<Option<Found<()>>> {
        let broken = *self.broken.lock().unwrap();
        if let Some(broken) = broken {
            return match broken {
                Broken::Unreadable => Err(ServiceError::internal("no disk")),
                Broken::Panics => panic!("a bug"),
            };
        }
        if !self.script.lock().unwrap().contains_key(&lane.name) {
            return Ok(None);
        }
        let is_stopped = *self.stopped.lock().unwrap() && lane.name != "destination";
        Ok(Some(Found { target: (), role_arn: "role".into(), is_stopped }))
    }

    async fn run(
        &self,
        lane: &Lane,
        _found: Found<()>,
        attribution: Attribution,
        invocation: Invocation,
    ) -> std::result::Result<Outcome, RunError> {
        let does = {
            let mut script = self.script.lock().unwrap();
            let script = script.get_mut(&lane.name).unwrap();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
        };
        let (payload, function_error) = match does {
            Does::IsThrottled => return Err(RunError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }),
            Does::CannotRun => return Err(RunError::Unavailable("no runtime".into())),
            Does::Answers(payload) => (payload, None),
            Does::Fails(payload) => (payload, Some(FunctionError::Unhandled)),
        };
        let event = String::from_utf8(invocation.payload.to_vec()).unwrap();
        let seen = (self.clock.now().ms() - START_MS, invocation.request_id, event);
        self.seen.lock().unwrap().push((lane.name.clone(), seen));
        self.attributions.lock().unwrap().push(attribution);
        let payload = Bytes::from_static(payload.as_bytes());
        Ok(Outcome { payload, function_error, executed_version: "$LATEST".into(), log_tail: None, duration_us: 1 })
    }

    async fn permit(
        &self,
        _function: &Lane,
        role_arn: &str,
        _destination_arn: &str,
    ) -> Result<std::result::Result<Attribution, String>> {
        let unreadable = {
            let mut left = self.unreadable.lock().unwrap();
            let unreadable = *left > 0;
            *left = left.saturating_sub(1);
            unreadable
        };
        if unreadable {
            return Err(ServiceError::internal("no disk"));
        }
        if *self.refuses.lock().unwrap() {
            return Ok(Err("the role may not".into()));
        }
        Ok(Ok(Attribution { username: Some(role_arn.to_owned()), ..Attribution::default() }))
    }

    fn uuid(&self) -> String {
        format!("fresh-{}", self.ids.fetch_add(1, Ordering::SeqCst))
    }
}

struct World {
    clock: Arc<FakeClock>,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    queue: Arc<EventQueue>,
    fake: Fake,
    _data: tempfile::TempDir,
}

const DESTINATION: &str = "arn:aws:lambda:us-east-1:444455556666:function:destination";

fn lane(account: &str, name: &str) -> Lane {
    Lane { account: account.into(), region: "us-east-1".into(), name: name.into() }
}

fn event(account: &str, function: &str, payload: &str) -> NewEvent {
    NewEvent {
        lane: lane(account, function),
        request_id: format!("{function}-{payload}"),
        invoked_arn: format!("arn:aws:lambda:us-east-1:{account}:function:{function}"),
        qualifier: String::new(),
        client_context: None,
        attribution: Attribution { username: Some("alice".into()), ..Attribution::default() },
        payload: Bytes::from(payload.to_owned()),
        hops: 0,
    }
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock(AtomicI64::new(START_MS)));
        let vault = Arc::new(Vault::open(data.path()).unwrap());
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let queue = Self::queue(&store, &vault, &clock);
        let fake = Fake {
            clock: Arc::clone(&clock),
            script: Mutex::default(),
            seen: Mutex::default(),
            attributions: Mutex::default(),
            configured: Mutex::new(Configured {
                rules: Rules { retries_max: 2, age_ms_max: 21_600_000 },
                on_success: None,
                on_failure: None,
            }),
            stopped: Mutex::default(),
            refuses: Mutex::default(),
            broken: Mutex::default(),
            unreadable: Mutex::default(),
            chained: Mutex::default(),
            ids: AtomicU64::new(0),
        };
        fake.does("destination", &[Does::Answers("null")]);
        Self { clock, store, vault, queue, fake, _data: data }
    }

    fn queue(store: &Arc<dyn Store>, vault: &Arc<Vault>, clock: &Arc<FakeClock>) -> Arc<EventQueue> {
        let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
        let quota = Quota { messages_max: 100, bytes_max: 1 << 20 };
        Arc::new(EventQueue::with(Arc::clone(store), Arc::clone(vault), clock, quota, 8).unwrap())
    }

    /// As after a crash: what was in memory is gone.
    fn restart(&mut self) {
        self.queue = Self::queue(&self.store, &self.vault, &self.clock);
    }

    fn configure(&self, retries_max: u32, age_s_max: i64, on_success: bool, on_failure: bool) {
        let to = |wanted: bool| wanted.then(|| DESTINATION.to_owned());
        *self.fake.configured.lock().unwrap() = Configured {
            rules: Rules { retries_max, age_ms_max: age_s_max * 1000 },
            on_success: to(on_success),
            on_failure: to(on_failure),
        };
    }

    /// Lets time pass, at most so many seconds, as long as anything waits.
    async fn pass(&self, seconds: i64) {
        let end_ms = self.clock.now().ms() + seconds * 1000;
        loop {
            let (taken, next_ms) = self.queue.take(|_| None);
            if taken.is_empty() {
                match next_ms.filter(|next_ms| *next_ms <= end_ms) {
                    Some(next_ms) => self.clock.0.store(next_ms, Ordering::SeqCst),
                    None => break self.clock.0.store(end_ms, Ordering::SeqCst),
                }
            }
            for taken in taken {
                serve::serve(&self.queue, &self.fake, taken).await;
            }
        }
    }

    fn left(&self) -> usize {
        let lanes = self.store.queue_lanes(None, 100).unwrap();
        lanes.iter().map(|(lane, _)| self.store.queue_waiting(lane, 1000).unwrap().len()).sum()
    }
}

#[tokio::test]
async fn an_event_runs_once_and_is_forgotten() {
    let world = World::new();
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(30_000).await;
    assert_eq!(world.fake.seen("f"), [(0, "f-{}".to_owned(), "{}".to_owned())]);
    assert_eq!(world.left(), 0);
}

#[tokio::test]
async fn a_failure_is_retried_twice_with_the_same_id_and_then_told() {
    let world = World::new();
    world.configure(2, 21_600, true, true);
    world.fake.does("f", &[Does::Fails(r#"{"errorMessage":"no"}"#)]);
    world.queue.accept(&event("1", "f", r#"{"a":1}"#)).unwrap();
    world.pass(30_000).await;
    assert_eq!(world.fake.times_s("f"), [0, 60, 180]);
    assert!(world.fake.seen("f").iter().all(|(_, id, _)| id == r#"f-{"a":1}"#));
    assert_eq!(
        world.fake.told(),
        json!({
            "version": "1.0", "timestamp": "2025-11-25T02:29:54.000Z",
            "requestContext": {
                "requestId": r#"f-{"a":1}"#, "functionArn": "arn:aws:lambda:us-east-1:1:function:f:$LATEST",
                "condition": "RetriesExhausted", "approximateInvokeCount": 3,
            },
            "requestPayload": { "a": 1 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorMessage": "no" },
        })
    );
    let attributions = world.fake.attributions.lock().unwrap();
    let names: Vec<_> = attributions.iter().filter_map(|attribution| attribution.username.as_deref()).collect();
    assert_eq!(names, ["alice", "alice", "alice", "role"], "each try is the caller's, the destination the role's");
    assert_eq!(world.left(), 0);
}

#[tokio::test]
async fn a_success_is_told_to_its_own_destination() {
    let world = World::new();
    world.configure(2, 21_600, true, false);
    world.fake.does("f", &[Does::Fails("{}"), Does::Answers("7")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(30_000).await;
    let told = world.fake.told();
    assert_eq!(told["requestContext"]["condition"], "Success");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(told["responsePayload"], 7);
    assert_eq!(told["responseContext"].get("functionError"), None);
}

#[tokio::test]
async fn without_a_destination_of_its_kind_nobody_is_told() {
    let world = World::new();
    world.configure(0, 21_600, true, false);
    world.fake.does("f", &[Does::Fails("{}")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(30_000).await;
    assert_eq!((world.fake.times_s("f"), world.fake.seen("destination").len(), world.left()), (vec![0], 0, 0));
}

#[tokio::test]
async fn throttles_and_faults_back_off_and_count_as_no_try() {
    let world = World::new();
    world.configure(0, 21_600, true, true);
    let faults = [Does::IsThrottled, Does::CannotRun, Does::IsThrottled, Does::Answers("1")];
    world.fake.does("f", &faults);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(30_000).await;
    assert_eq!(world.fake.times_s("f"), [1 + 2 + 4]);
    assert_eq!(world.fake.told()["requestContext"]["approximateInvokeCount"], 1);
}

#[tokio::test]
async fn an_event_that_stays_throttled_is_kept_for_its_time() {
    let world = World::new();
    world.configure(2, 3600, false, true);
    world.fake.does("f", &[Does::IsThrottled]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(3599).await;
    assert_eq!((world.left(), world.fake.seen("destination").len()), (1, 0));
    world.pass(1).await;
    let told = world.fake.told();
    assert_eq!(told["requestContext"]["condition"], "EventAgeExceeded");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 0);
    assert_eq!(told["responseContext"], json!({ "statusCode": 429 }));
    assert_eq!(told.get("responsePayload"), None);
    assert_eq!(world.left(), 0);
}

#[tokio::test]
async fn a_retry_beyond_the_age_ends_the_event_with_its_last_answer() {
    let world = World::new();
    world.configure(2, 60, false, true);
    world.fake.does("f", &[Does::Fails(r#"{"errorType":"Error"}"#)]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(10).await;
    let told = world.fake.told();
    assert_eq!(told["requestContext"]["condition"], "EventAgeExceeded");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 1);
    assert_eq!(told["responsePayload"], json!({ "errorType": "Error" }));
}

#[tokio::test]
async fn a_stopped_function_gives_its_events_up_unrun() {
    let world = World::new();
    world.configure(2, 21_600, false, true);
    world.fake.does("f", &[Does::Answers("1")]);
    *world.fake.stopped.lock().unwrap() = true;
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(10).await;
    let told = world.fake.told();
    assert_eq!(told["requestContext"]["condition"], "ZeroReservedConcurrency");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 0);
    assert_eq!(told.get("responseContext"), None);
    assert_eq!(world.fake.seen("f"), []);
}

#[tokio::test]
async fn a_function_that_is_gone_drops_its_events() {
    let world = World::new();
    world.configure(2, 21_600, true, true);
    world.fake.does("f", &[Does::Fails("{}")]);
    for at in 0..3 {
        world.queue.accept(&event("1", "f", &at.to_string())).unwrap();
    }
    world.pass(1).await;
    assert_eq!(world.left(), 3);
    world.fake.forget("f");
    world.pass(100).await;
    assert_eq!((world.left(), world.fake.seen("destination").len()), (0, 0));
}

#[tokio::test]
async fn a_role_that_may_not_tells_nobody() {
    let world = World::new();
    world.configure(0, 21_600, true, true);
    world.fake.does("f", &[Does::Fails("{}")]);
    *world.fake.refuses.lock().unwrap() = true;
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(10).await;
    assert_eq!((world.left(), world.fake.seen("destination").len()), (0, 0));
}

#[tokio::test]
async fn a_record_too_large_for_an_event_is_not_sent() {
    static BIG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("\"{}\"", "x".repeat(1 << 20)));
    let world = World::new();
    world.configure(0, 21_600, true, true);
    world.fake.does("f", &[Does::Answers(BIG.as_str())]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(10).await;
    assert_eq!((world.left(), world.fake.seen("destination").len()), (0, 0));
}

#[tokio::test]
async fn destinations_that_lead_to_each_other_end() {
    let world = World::new();
    world.configure(0, 21_600, true, true);
    *world.fake.chained.lock().unwrap() = true;
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(1000).await;
    assert_eq!((world.fake.times_s("destination").len(), world.left()), (16, 0));
}

#[tokio::test]
async fn what_was_accepted_runs_after_a_crash_and_retries_go_on() {
    let mut world = World::new();
    world.configure(2, 21_600, false, true);
    world.fake.does("f", &[Does::Fails("{}")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    // Taken, and then the power fails.
    let (taken, _) = world.queue.take(|_| None);
    assert_eq!(taken.len(), 1);
    assert_eq!(world.queue.take(|_| None).0.len(), 0, "it is nobody else's");
    drop(taken);
    world.restart();
    world.pass(100).await;
    assert_eq!(world.fake.times_s("f"), [0, 60]);
    world.restart();
    world.pass(1000).await;
    assert_eq!(world.fake.times_s("f"), [0, 60, 180]);
    assert_eq!(world.fake.told()["requestContext"]["approximateInvokeCount"], 3);
}

#[tokio::test]
async fn one_accounts_flood_is_refused_at_its_quota_and_holds_nobody_up() {
    let world = World::new();
    world.fake.does("flood", &[Does::IsThrottled]);
    world.fake.does("quiet", &[Does::Answers("1")]);
    for at in 0..100 {
        world.queue.accept(&event("1", "flood", &at.to_string())).unwrap();
    }
    assert!(matches!(world.queue.accept(&event("1", "flood", "more")), Err(Refused::Crowded)));
    world.queue.accept(&event("2", "quiet", "{}")).unwrap();
    // One look at the queue, as full as it is, and the other account's event is in it.
    let (taken, _) = world.queue.take(|_| None);
    assert!(taken.iter().any(|taken| taken.lane.account == "2"));
    assert!(taken.len() < 8, "some slots stay free");
}

#[tokio::test]
async fn payloads_lie_encrypted_and_a_foreign_key_loses_no_event() {
    let mut world = World::new();
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", r#"{"password":"hunter2"}"#)).unwrap();
    let waiting = world.store.queue_waiting(&lane("1", "f"), 1).unwrap().remove(0);
    let body = world.store.queue_body(waiting.sequence).unwrap().unwrap();
    for bytes in [&waiting.head, &body] {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("hunter2") && !text.contains("alice"));
    }
    let (right, other) = (Arc::clone(&world.vault), tempfile::tempdir().unwrap());
    world.vault = Arc::new(Vault::open(other.path()).unwrap());
    world.restart();
    world.pass(10).await;
    assert_eq!((world.fake.seen("f").len(), world.left()), (0, 1));
    world.vault = right;
    world.restart();
    world.pass(3600).await;
    assert_eq!((world.fake.seen("f").len(), world.left()), (1, 0));
}

#[tokio::test]
async fn an_event_that_never_opens_is_given_up_when_none_would_be_tried_any_more() {
    let mut world = World::new();
    world.configure(2, 21_600, false, true);
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    let other = tempfile::tempdir().unwrap();
    world.vault = Arc::new(Vault::open(other.path()).unwrap());
    world.restart();
    world.pass(3 * 3_600).await;
    // A restart does not begin its time anew, and events that do open are run meanwhile.
    world.restart();
    world.queue.accept(&event("1", "f", "2")).unwrap();
    world.pass(3 * 3_600 - 1).await;
    assert_eq!((world.fake.seen("f").len(), world.left(), world.queue.count().unwrap()), (1, 1, 1));
    world.pass(1).await;
    assert_eq!((world.left(), world.queue.count().unwrap()), (0, 0));
    assert_eq!((world.fake.seen("f").len(), world.fake.seen("destination").len()), (1, 0));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_drops_no_event() {
    let world = World::new();
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    *world.fake.broken.lock().unwrap() = Some(Broken::Unreadable);
    world.pass(6).await;
    assert_eq!((world.fake.seen("f").len(), world.left()), (0, 1));
    *world.fake.broken.lock().unwrap() = None;
    world.pass(1).await;
    assert_eq!((world.fake.times_s("f"), world.left()), (vec![1 + 2 + 4], 0));
}

#[tokio::test]
async fn an_end_is_told_once_its_destination_can_be_looked_up() {
    let world = World::new();
    world.configure(0, 21_600, true, true);
    world.fake.does("f", &[Does::Answers("1")]);
    *world.fake.unreadable.lock().unwrap() = 3;
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    world.pass(10).await;
    assert_eq!(world.fake.told()["requestContext"]["condition"], "Success");
    assert_eq!(world.fake.seen("f").len(), 1, "it ran once all the same");
}

#[tokio::test]
async fn a_try_that_panics_leaves_the_event_its_next_turn() {
    let world = World::new();
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    *world.fake.broken.lock().unwrap() = Some(Broken::Panics);
    let World { clock, store: _, queue, fake, .. } = world;
    let (taken, fake) = (queue.take(|_| None).0.remove(0), Arc::new(fake));
    let (own, backend) = (Arc::clone(&queue), Arc::clone(&fake));
    assert!(tokio::spawn(async move { serve::serve(&own, &*backend, taken).await }).await.is_err());
    *fake.broken.lock().unwrap() = None;
    let (taken, next_ms) = queue.take(|_| None);
    assert!(taken.is_empty());
    clock.0.store(next_ms.unwrap(), Ordering::SeqCst);
    serve::serve(&queue, &*fake, queue.take(|_| None).0.remove(0)).await;
    assert_eq!(fake.times_s("f"), [60]);
}

#[tokio::test]
async fn an_event_whose_payload_is_lost_ends_with_its_time() {
    let mut world = World::new();
    world.configure(2, 60, false, true);
    world.fake.does("f", &[Does::Answers("1")]);
    world.queue.accept(&event("1", "f", "{}")).unwrap();
    // The head of one event over the payload of another: what damage, or a hand, could leave behind.
    let waiting = world.store.queue_waiting(&lane("1", "f"), 1).unwrap().remove(0);
    let body = b"not what was sealed".to_vec();
    let message = Message { lane: lane("1", "f"), due_ms: waiting.due_ms, head: waiting.head, body };
    let change = Change { remove: vec![waiting.sequence], add: vec![message], ..Change::default() };
    world.store.change_queue(change).unwrap();
    world.restart();
    world.pass(59).await;
    assert_eq!(world.left(), 1);
    world.pass(60).await;
    assert_eq!((world.left(), world.fake.seen("f").len(), world.fake.seen("destination").len()), (0, 0, 0));
}
