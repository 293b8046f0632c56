//! Functions that are killed and do not go.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use environment::launch::Process;

use crate::{
    watched::{Watch, Watched},
    world::World,
};

/// What is left of processes can be freed when `may` says so; how often that was asked for.
#[derive(Default)]
struct Gate {
    may: AtomicBool,
    asked: AtomicUsize,
}

impl Watch for Gate {
    fn reap(&self, process: &dyn Process) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.may.load(Ordering::Relaxed) && process.reap()
    }
}

#[tokio::test]
async fn a_place_is_free_when_all_that_was_in_it_is() {
    let gate = Arc::new(Gate::default());
    let world = World::start(|_| {}, |_: &Path| Arc::new(Watched(Arc::clone(&gate))));
    let function = world.node("exports.handler = async () => 1;");
    assert_eq!(world.result(&function, "{}").await, "1");
    world.supervisor.retire(&function.account, &function.region, &function.function);
    while gate.asked.load(Ordering::Relaxed) < 3 {
        assert_eq!(world.supervisor.live_count(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.may.store(true, Ordering::Relaxed);
    while world.supervisor.live_count() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.close().await;
}
