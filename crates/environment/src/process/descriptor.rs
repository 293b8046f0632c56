//! Descriptors that move between runtimes: an environment is used by whoever calls next, on whatever thread that is.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Handle, Id},
};

/// A non-blocking descriptor, registered with at most one runtime at a time.
pub(crate) struct Descriptor(Place);

enum Place {
    Bare(OwnedFd),
    Registered {
        descriptor: AsyncFd<OwnedFd>,
        runtime: Id,
        writes: bool,
    },
    /// Only while it is on its way from one to the other, or when that failed.
    Lost,
}

impl Descriptor {
    /// Takes over a descriptor, which must not block; registers it nowhere yet.
    pub(crate) fn new(descriptor: impl Into<OwnedFd>) -> Descriptor {
        Descriptor(Place::Bare(descriptor.into()))
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.0 {
            Place::Bare(descriptor) => Ok(descriptor.as_fd()),
            Place::Registered { descriptor, .. } => Ok(descriptor.get_ref().as_fd()),
            Place::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Registers with the current runtime, unless it is there already. `writes`: whether room to write is waited for;
    /// when it is not, the other end's reading wakes nobody.
    ///
    /// # Errors
    /// Outside a runtime, or when the host has no room for another registration; the descriptor is then lost.
    pub(crate) fn attach(&mut self, writes: bool) -> io::Result<()> {
        let current = Handle::try_current().map_err(io::Error::other)?.id();
        let bare = match std::mem::replace(&mut self.0, Place::Lost) {
            Place::Registered { descriptor, runtime, writes: registered }
                if runtime == current && registered == writes =>
            {
                self.0 = Place::Registered { descriptor, runtime, writes };
                return Ok(());
            }
            Place::Registered { descriptor, .. } => descriptor.into_inner(),
            Place::Bare(bare) => bare,
            Place::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        #[expect(
            deprecated,
            reason = "the successor is unsafe for types that change their descriptor; an `OwnedFd` does not"
        )]
        let descriptor = AsyncFd::with_interest(bare, interest)?;
        self.0 = Place::Registered { descriptor, runtime: current, writes };
        Ok(())
    }

    /// Leaves the runtime it is registered with.
    pub(crate) fn detach(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, Place::Lost) {
            Place::Registered { descriptor, .. } => Place::Bare(descriptor.into_inner()),
            other => other,
        };
    }

    /// Takes the descriptor out, for good.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.0, Place::Lost) {
            Place::Registered { descriptor, .. } => Some(descriptor.into_inner()),
            Place::Bare(bare) => Some(bare),
            Place::Lost => None,
        }
    }

    /// Ready when something may be read or, if it is registered for that, written. Whoever is woken must read (or
    /// write) until nothing more goes, for only what comes after wakes again.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Place::Registered { descriptor, writes, .. } = &self.0 else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if *writes && let Poll::Ready(ready) = descriptor.poll_write_ready(cx) {
            ready?.clear_ready();
            return Poll::Ready(Ok(()));
        }
        ready!(descriptor.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}
