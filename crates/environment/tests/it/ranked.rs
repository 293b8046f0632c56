//! Who goes after whom when cores are short.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    watched::{Watch, Watched},
    world::World,
};

/// What each process was told: `true` to go after others, `false` to do so no longer.
#[derive(Default)]
struct Told(Mutex<Vec<Vec<bool>>>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<bool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Told {
    fn launched(&self) -> usize {
        let mut told = self.lock();
        told.push(Vec::new());
        told.len() - 1
    }

    fn give_way(&self, number: usize, gives: bool) {
        self.lock()[number].push(gives);
    }
}

/// Who ends badly again and again never has the first milliseconds of every start to itself.
#[tokio::test]
async fn a_function_that_has_ended_badly_goes_last_until_it_has_answered() {
    let told = Arc::new(Told::default());
    let world = World::start(|_| {}, |_: &Path| Arc::new(Watched(Arc::clone(&told))));
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
    let told = told.lock().clone();
    let [good, distrusted] = &told[..] else { panic!("{told:?}") };
    // Loading, then answering; what became of the call that crashed depends on how long it took.
    assert_eq!(good[..4], [true, false, true, false], "{told:?}");
    // Loading and the first answer in one, then the second.
    assert_eq!(distrusted[..], [true, false, true, false], "{told:?}");
    world.close().await;
}
