//! The end of a killed process: waited for as long as it takes, for until then it uses up its place.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::launch::{Process, on_reactor};

/// Burials that may ask for something to be freed at the same time: each holds a thread that may block.
static REAPERS: Semaphore = Semaphore::const_new(8);

/// How patient a burial is between one look and the next.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// How long a process is given until it is killed again, and looked at where it cannot be watched.
    alive: Duration,
    /// The first pause before what is left of a dead one is asked for again; twice as long each time.
    dead: Duration,
    dead_max: Duration,
}

const PATIENCE: Patience =
    Patience { alive: Duration::from_secs(5), dead: Duration::from_millis(10), dead_max: Duration::from_secs(5) };

/// Waits until a killed process is gone and all that is left of it has been freed. Takes as long as that takes.
///
/// A future dropped midway loses nothing: it can be begun anew.
pub(super) async fn bury(process: Arc<dyn Process>) {
    bury_with(process, PATIENCE).await;
}

async fn bury_with(process: Arc<dyn Process>, patience: Patience) {
    let watch = process.watch().and_then(on_reactor);
    if let Err(error) = &watch {
        tracing::warn!(%error, "a killed function cannot be watched, and is looked at now and then");
    }
    while process.exited().is_none() {
        match &watch {
            Ok(watch) => {
                if tokio::time::timeout(patience.alive, watch.readable()).await.is_ok() {
                    break;
                }
            }
            Err(_) => tokio::time::sleep(patience.dead).await,
        }
        process.kill();
    }
    let mut pause = patience.dead;
    while !reaped(&process).await {
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(patience.dead_max);
    }
}

async fn reaped(process: &Arc<dyn Process>) -> bool {
    // It is never closed.
    let _turn = REAPERS.acquire().await;
    let process = Arc::clone(process);
    tokio::task::spawn_blocking(move || process.reap()).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, PipeReader},
        os::fd::OwnedFd,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::launch::{Exit, Memory, Spec};

    const HASTY: Patience = Patience {
        alive: Duration::from_millis(1),
        dead: Duration::from_millis(1),
        dead_max: Duration::from_millis(2),
    };

    /// Dies of so many kills, when the other end of its pipe is closed, and is freed at so many requests.
    struct Tough {
        alive: std::sync::Mutex<Option<io::PipeWriter>>,
        watch: Option<PipeReader>,
        kills: AtomicU32,
        reaps: AtomicU32,
        needs: u32,
    }

    impl Tough {
        fn new(is_watched: bool, needs: u32) -> Arc<Tough> {
            let (watch, alive) = io::pipe().unwrap();
            let watch = is_watched.then_some(watch);
            Arc::new(Tough { alive: Some(alive).into(), watch, kills: 0.into(), reaps: 0.into(), needs })
        }
    }

    impl Process for Tough {
        fn watch(&self) -> io::Result<OwnedFd> {
            let watch = self.watch.as_ref().ok_or(io::ErrorKind::OutOfMemory)?;
            watch.try_clone().map(OwnedFd::from)
        }
        fn exited(&self) -> Option<Exit> {
            self.alive.lock().unwrap().is_none().then_some(Exit::Signal(9))
        }
        fn kill(&self) {
            if self.kills.fetch_add(1, Ordering::Relaxed) + 1 == self.needs {
                *self.alive.lock().unwrap() = None;
            }
        }
        fn reap(&self) -> bool {
            assert!(self.exited().is_some(), "reaped alive");
            self.reaps.fetch_add(1, Ordering::Relaxed) + 1 >= self.needs
        }
        fn memory(&self) -> Option<Memory> {
            None
        }
        fn out_of_memory(&self) -> bool {
            false
        }
        fn assign(&self, _: &Spec) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_dies_late_is_killed_again_and_then_reaped_until_all_is_freed() {
        for is_watched in [true, false] {
            for needs in [1, 20] {
                let process = Tough::new(is_watched, needs);
                bury_with(Arc::clone(&process) as Arc<dyn Process>, HASTY).await;
                assert_eq!(process.kills.load(Ordering::Relaxed), needs);
                assert_eq!(process.reaps.load(Ordering::Relaxed), needs);
            }
        }
    }
}
