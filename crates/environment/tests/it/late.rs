//! Functions that are killed and do not go.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use environment::launch::{Exit, Launch, Launched, Layout, Memory, Plain, Process, Spec};

use crate::world::World;

/// What is left of processes can be freed when `may` says so; how often that was asked for.
#[derive(Default)]
struct Gate {
    may: AtomicBool,
    asked: AtomicUsize,
}

struct Late(Arc<Gate>);

impl Launch for Late {
    fn launch(&self, spec: &Spec) -> io::Result<Launched> {
        let launched = Plain.launch(spec)?;
        let process = Box::new(LateProcess { process: launched.process, gate: Arc::clone(&self.0) });
        Ok(Launched { process, ..launched })
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }
}

struct LateProcess {
    process: Box<dyn Process>,
    gate: Arc<Gate>,
}

impl Process for LateProcess {
    fn watch(&self) -> io::Result<OwnedFd> {
        self.process.watch()
    }
    fn exited(&self) -> Option<Exit> {
        self.process.exited()
    }
    fn kill(&self) {
        self.process.kill();
    }
    fn reap(&self) -> bool {
        self.gate.asked.fetch_add(1, Ordering::Relaxed);
        self.gate.may.load(Ordering::Relaxed) && self.process.reap()
    }
    fn memory(&self) -> Option<Memory> {
        self.process.memory()
    }
    fn out_of_memory(&self) -> bool {
        self.process.out_of_memory()
    }
    fn assign(&self, spec: &Spec) -> io::Result<()> {
        self.process.assign(spec)
    }
}

#[tokio::test]
async fn a_place_is_free_when_all_that_was_in_it_is() {
    let gate = Arc::new(Gate::default());
    let world = World::start(|_| {}, |_: &Path| Arc::new(Late(Arc::clone(&gate))));
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
