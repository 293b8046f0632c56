//! Who goes after whom when cores are short.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use environment::launch::{Exit, Launch, Launched, Layout, Memory, Plain, Process, Spec};

use crate::world::World;

/// For each process in the order of launches: what it was told, `true` to go after others and `false` to do so no longer.
type Told = Arc<Mutex<Vec<Vec<bool>>>>;

struct Ranks(Told);

impl Launch for Ranks {
    fn launch(&self, spec: &Spec) -> io::Result<Launched> {
        let launched = Plain.launch(spec)?;
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(Vec::new());
        let process = Box::new(Ranked { process: launched.process, number: told.len() - 1, told: Arc::clone(&self.0) });
        Ok(Launched { process, ..launched })
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }
}

struct Ranked {
    process: Box<dyn Process>,
    number: usize,
    told: Told,
}

impl Process for Ranked {
    fn watch(&self) -> io::Result<OwnedFd> {
        self.process.watch()
    }
    fn exited(&self) -> Option<Exit> {
        self.process.exited()
    }
    fn kill(&self) {
        self.process.kill();
    }
    fn give_way(&self, gives: bool) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)[self.number].push(gives);
    }
    fn reap(&self) -> bool {
        self.process.reap()
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

/// The function of another account, say, never gets the first milliseconds of every start to itself by ending badly.
#[tokio::test]
async fn a_function_that_has_ended_badly_goes_last_until_it_has_answered() {
    let told = Told::default();
    let world = World::start(|_| {}, |_: &Path| Arc::new(Ranks(Arc::clone(&told))));
    // Loading and answering both take longer than a function goes before others.
    let function = world.node(
        "exports.handler = async (event) => {
          if (event.crash) process.exit(1);
          for (const end = Date.now() + 50; Date.now() < end;);
          return 1;
        };",
    );
    assert_eq!(world.result(&function, "{}").await, "1");
    assert!(world.error_text(&function, r#"{"crash":true}"#).await.contains("Runtime.ExitError"));
    assert_eq!(world.result(&function, "{}").await, "1");
    assert_eq!(world.result(&function, "{}").await, "1");
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    let [good, distrusted] = &told[..] else { panic!("{told:?}") };
    // Loading, then answering; what became of the call that crashed depends on how long it took.
    assert_eq!(good[..4], [true, false, true, false], "{told:?}");
    // Loading and the first answer in one, then the second.
    assert_eq!(distrusted[..], [true, false, true, false], "{told:?}");
    world.close().await;
}
