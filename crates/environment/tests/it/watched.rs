//! Processes of the plain launcher, with a test looking on.

use std::{io, os::fd::OwnedFd, sync::Arc};

use environment::launch::{Exit, Launch, Launched, Layout, Memory, Plain, Process, Spec};

/// What a test sees, or does otherwise. Processes are numbered in the order of their launches.
pub trait Watch: Send + Sync + 'static {
    fn launched(&self) -> usize {
        0
    }

    fn give_way(&self, _number: usize, _gives: bool) {}

    fn reap(&self, process: &dyn Process) -> bool {
        process.reap()
    }
}

pub struct Watched<W>(pub Arc<W>);

impl<W: Watch> Launch for Watched<W> {
    fn launch(&self, spec: &Spec) -> io::Result<Launched> {
        let launched = Plain.launch(spec)?;
        let (number, watch) = (self.0.launched(), Arc::clone(&self.0));
        Ok(Launched { process: Box::new(WatchedProcess { process: launched.process, number, watch }), ..launched })
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }
}

struct WatchedProcess<W> {
    process: Box<dyn Process>,
    number: usize,
    watch: Arc<W>,
}

impl<W: Watch> Process for WatchedProcess<W> {
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
        self.watch.give_way(self.number, gives);
    }
    fn reap(&self) -> bool {
        self.watch.reap(&*self.process)
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
