//! Where calls of functions enter: connections made inside sandboxes, served by the data threads like any other, but
//! as a function's and not as somebody's on this host.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use environment::egress::{Api, Call};
use tokio::sync::mpsc;

use super::{HANDED_MAX, Handed};

/// The ways to the data threads, made before they are: functions are wired first.
pub(crate) struct Door {
    senders: Vec<mpsc::Sender<Handed>>,
    receivers: Vec<mpsc::Receiver<Handed>>,
}

impl Door {
    /// For so many data threads.
    pub(crate) fn new(threads: usize) -> Door {
        let (senders, receivers) = (0..threads).map(|_| mpsc::channel(HANDED_MAX)).unzip();
        Door { senders, receivers }
    }

    /// What takes the connections. One that no thread has room for is closed.
    pub(crate) fn api(&self) -> Api {
        let (senders, turn) = (self.senders.clone(), AtomicUsize::new(0));
        Arc::new(move |call: Call| {
            let first = turn.fetch_add(1, Ordering::Relaxed);
            let mut handed = Handed::Called(call);
            for offset in 0..senders.len() {
                let index = first.wrapping_add(offset).checked_rem(senders.len()).unwrap_or_default();
                let Some(sender) = senders.get(index) else { return };
                match sender.try_send(handed) {
                    Ok(()) => return,
                    Err(refused) => handed = refused.into_inner(),
                }
            }
            tracing::warn!("a function's connection is refused: the data threads are busy");
        })
    }

    /// Both ends, for the threads.
    pub(super) fn into_ends(self) -> (Vec<mpsc::Sender<Handed>>, Vec<mpsc::Receiver<Handed>>) {
        (self.senders, self.receivers)
    }
}
