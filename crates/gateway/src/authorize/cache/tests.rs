use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use lambda::invoke::Outcome as Ran;
use tokio::sync::Notify;

use super::{super::answer, Authorizers, Grant, Refusal};
use crate::{Clock, Options, tests::Zeros};

struct Time(AtomicI64);

impl Clock for Time {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn grant() -> Arc<Grant> {
    let outcome = Ran {
        payload: bytes::Bytes::from_static(b"{\"policyDocument\":{\"Statement\":[]}}"),
        function_error: None,
        executed_version: "1".to_owned(),
        log_tail: None,
        duration_us: 0,
    };
    Arc::new(answer::read(&outcome).unwrap())
}

struct Bench {
    authorizers: Authorizers,
    time: Time,
    runs: AtomicUsize,
    gate: Notify,
}

impl Bench {
    fn new(waiters_max: usize) -> Self {
        let options = Options { authorizer_waiters_max: waiters_max, ..Options::default() };
        let authorizers = Authorizers::new(&options, &Zeros);
        Self { authorizers, time: Time(AtomicI64::new(0)), runs: AtomicUsize::new(0), gate: Notify::new() }
    }

    async fn ask(&self, outcome: Result<(), Refusal>, held: bool) -> Result<(), Refusal> {
        let run = async {
            self.runs.fetch_add(1, Ordering::SeqCst);
            if held {
                self.gate.notified().await;
            }
            outcome.map(|()| (grant(), 7))
        };
        self.authorizers.obtain(1, 1_000, &self.time, run).await.map(|_| ())
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Polls a future once without waiting for it.
async fn start<F: Future>(future: std::pin::Pin<&mut F>) {
    tokio::select! {
        biased;
        _ = future => panic!("it was not held"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test]
async fn an_answer_is_kept_until_its_time_counted_from_the_store() {
    let bench = Bench::new(8);
    bench.ask(Ok(()), false).await.unwrap();
    bench.time.0.store(600, Ordering::SeqCst);
    bench.ask(Ok(()), false).await.unwrap();
    bench.time.0.store(999, Ordering::SeqCst);
    bench.ask(Ok(()), false).await.unwrap();
    assert_eq!(bench.runs(), 1, "use does not prolong it, but it lives so long");
    bench.time.0.store(1_000, Ordering::SeqCst);
    bench.ask(Ok(()), false).await.unwrap();
    assert_eq!(bench.runs(), 2);
    assert_eq!(bench.authorizers.flights(), 0);
}

#[tokio::test]
async fn refusals_are_never_kept() {
    let bench = Bench::new(8);
    for (round, refusal) in
        [Refusal::Unauthorized, Refusal::NotAsked("x".into()), Refusal::BadAnswer("y".into())].into_iter().enumerate()
    {
        assert_eq!(bench.ask(Err(refusal.clone()), false).await, Err(refusal));
        assert_eq!(bench.runs(), round + 1);
    }
}

#[tokio::test]
async fn those_who_come_while_it_runs_share_one_call_and_its_refusal() {
    for outcome in [Ok(()), Err(Refusal::Unauthorized)] {
        let bench = Bench::new(8);
        let mut leader = pin!(bench.ask(outcome.clone(), true));
        start(leader.as_mut()).await;
        let mut waiter = pin!(bench.ask(Ok(()), false));
        start(waiter.as_mut()).await;
        bench.gate.notify_waiters();
        let (first, second) = tokio::join!(leader, waiter);
        assert_eq!((first, second), (outcome.clone(), outcome));
        assert_eq!(bench.runs(), 1);
        assert_eq!(bench.authorizers.flights(), 0);
    }
}

#[tokio::test]
async fn a_leader_that_goes_away_is_followed_by_one_who_waits() {
    let bench = Bench::new(8);
    let mut waiter = pin!(bench.ask(Ok(()), false));
    {
        let mut leader = pin!(bench.ask(Ok(()), true));
        start(leader.as_mut()).await;
        start(waiter.as_mut()).await;
    }
    waiter.await.unwrap();
    assert_eq!(bench.runs(), 2);
    assert_eq!(bench.authorizers.flights(), 0);
}

#[tokio::test]
async fn more_than_may_wait_are_refused() {
    let bench = Bench::new(1);
    let mut leader = pin!(bench.ask(Ok(()), true));
    start(leader.as_mut()).await;
    {
        let mut waiter = pin!(bench.ask(Ok(()), false));
        start(waiter.as_mut()).await;
        assert!(matches!(bench.ask(Ok(()), false).await, Err(Refusal::NotAsked(_))));
    }
    let mut again = pin!(bench.ask(Ok(()), false));
    start(again.as_mut()).await;
    bench.gate.notify_waiters();
    let (first, second) = tokio::join!(leader, again);
    assert_eq!((first, second, bench.runs()), (Ok(()), Ok(()), 1));
}

#[tokio::test]
async fn what_weighs_more_than_the_cache_holds_is_dropped() {
    let options = Options { cache_bytes_max: 4_096, ..Options::default() };
    let authorizers = Authorizers::new(&options, &Zeros);
    let time = Time(AtomicI64::new(0));
    for key in 0..1_000 {
        authorizers.obtain(key, 1_000, &time, async { Ok((grant(), 0)) }).await.unwrap();
    }
    assert!(authorizers.cache.weight() <= 4_096, "{}", authorizers.cache.weight());
}
