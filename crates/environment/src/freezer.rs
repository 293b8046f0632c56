//! Stops one environment while nobody uses it, so that whoever is handed it finds it running.
//!
//! That it is to be frozen is decided where it is given out, under the lock; frozen it is by a thread of its own, for the
//! host may take its time. In between it may be given out. The two are put in order here:
//!
//! ```text
//! runs --mark--> marked --freeze--> frozen --thaw--> runs
//!                  \______thaw (nothing is written)____/
//! ```
//!
//! INVARIANT: after [`Freezer::thaw`] has returned nothing is written that freezes it until [`Freezer::mark`] is called
//! again; nothing that was killed stays frozen.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
};

const RUNS: u8 = 0;
const MARKED: u8 = 1;
/// It is frozen, or being frozen by whoever holds `writes`.
const FROZEN: u8 = 2;

/// What stops a process tree and lets it run on.
pub struct Freezer {
    /// Freezes (`true`) or thaws.
    set: Box<dyn Fn(bool) -> io::Result<()> + Send + Sync>,
    state: AtomicU8,
    /// Freezing failed; it is not tried again.
    broken: AtomicBool,
    ended: AtomicBool,
    /// Held while something is written.
    writes: Mutex<()>,
}

impl Freezer {
    /// `set` freezes (`true`) or thaws everything, and may be called from any thread. A thaw must have taken effect when
    /// it returns.
    pub fn new(set: impl Fn(bool) -> io::Result<()> + Send + Sync + 'static) -> Freezer {
        Freezer {
            set: Box::new(set),
            state: AtomicU8::new(RUNS),
            broken: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            writes: Mutex::new(()),
        }
    }

    /// Whether [`Freezer::freeze`] is of any use.
    pub(crate) fn works(&self) -> bool {
        !self.broken.load(SeqCst) && !self.ended.load(SeqCst)
    }

    /// It is to be frozen, unless [`Freezer::thaw`] comes first. Never blocks.
    pub(crate) fn mark(&self) {
        let _ = self.state.compare_exchange(RUNS, MARKED, SeqCst, SeqCst);
    }

    /// Freezes it if that is still wanted. Blocks for as long as the host takes.
    pub(crate) fn freeze(&self) {
        let _writing = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.compare_exchange(MARKED, FROZEN, SeqCst, SeqCst).is_err() {
            return;
        }
        let frozen = (self.set)(true);
        let ended = self.ended.load(SeqCst);
        if let Err(error) = frozen {
            if !ended {
                tracing::warn!(%error, "an idle environment could not be frozen and runs on");
            }
            self.broken.store(true, SeqCst);
            self.state.store(RUNS, SeqCst);
        } else if ended {
            // Who was killed meanwhile has been thawed before it was frozen, and would not die.
            let _ = (self.set)(false);
            self.state.store(RUNS, SeqCst);
        }
    }

    /// Lets it run, and gives whether it was frozen. Costs nothing where it was not; otherwise a write, and waits for
    /// whoever is just freezing it.
    ///
    /// # Errors
    /// When it cannot be thawed: it is gone, and must be killed.
    pub(crate) fn thaw(&self) -> io::Result<bool> {
        if self.state.load(SeqCst) == RUNS || self.state.compare_exchange(MARKED, RUNS, SeqCst, SeqCst).is_ok() {
            return Ok(false);
        }
        let _writing = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load(SeqCst) != FROZEN {
            // It could not be frozen after all.
            return Ok(false);
        }
        (self.set)(false)?;
        self.state.store(RUNS, SeqCst);
        Ok(true)
    }

    /// It is about to be killed, by somebody who thaws it after that: it is not frozen any more. Never blocks.
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    /// A freezer whose writes go to a switch.
    fn switch() -> (Arc<Freezer>, Arc<AtomicBool>) {
        let frozen = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&frozen);
        let freezer = Freezer::new(move |frozen| {
            switch.store(frozen, SeqCst);
            Ok(())
        });
        (Arc::new(freezer), frozen)
    }

    #[test]
    fn only_what_is_marked_is_frozen_and_a_thaw_takes_the_mark_away() {
        let (freezer, frozen) = switch();
        freezer.freeze();
        assert!(!frozen.load(SeqCst), "it was not marked");
        freezer.mark();
        assert!(!freezer.thaw().unwrap());
        freezer.freeze();
        assert!(!frozen.load(SeqCst), "it had been given out");
        freezer.mark();
        freezer.freeze();
        assert!(frozen.load(SeqCst));
        // Marked again by somebody who was handed it and gave it back unused.
        freezer.mark();
        assert!(freezer.thaw().unwrap() && !frozen.load(SeqCst));
        assert!(!freezer.thaw().unwrap());
    }

    #[test]
    fn whoever_is_handed_it_finds_it_running_however_the_two_meet() {
        let (freezer, frozen) = switch();
        for _ in 0..2_000 {
            freezer.mark();
            let start = Arc::new(Barrier::new(2));
            let other = {
                let (freezer, start) = (Arc::clone(&freezer), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    freezer.freeze();
                })
            };
            start.wait();
            freezer.thaw().unwrap();
            assert!(!frozen.load(SeqCst), "thawed, and frozen");
            other.join().unwrap();
            assert!(!frozen.load(SeqCst), "frozen after it was thawed");
        }
    }

    #[test]
    fn what_is_killed_is_thawed_however_the_two_meet() {
        for _ in 0..2_000 {
            let (freezer, frozen) = switch();
            freezer.mark();
            let start = Arc::new(Barrier::new(2));
            let other = {
                let (freezer, start) = (Arc::clone(&freezer), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    freezer.freeze();
                })
            };
            start.wait();
            freezer.end();
            // As the launcher does after a kill.
            frozen.store(false, SeqCst);
            other.join().unwrap();
            assert!(!frozen.load(SeqCst) && !freezer.works());
        }
    }

    #[test]
    fn one_that_cannot_be_frozen_runs_on_and_one_that_cannot_be_thawed_is_told_of() {
        let broken = Freezer::new(|_| Err(io::ErrorKind::NotFound.into()));
        broken.mark();
        broken.freeze();
        assert!(!broken.works() && !broken.thaw().unwrap());
        let stuck = Freezer::new(|frozen| if frozen { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) });
        stuck.mark();
        stuck.freeze();
        assert!(stuck.thaw().is_err() && stuck.thaw().is_err());
    }
}
