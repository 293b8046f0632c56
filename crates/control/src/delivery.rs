//! Delivery of trails: log files, and the digests that prove them, as objects of the trail's bucket.
//!
//! A delivery is exactly once: the objects and the position up to which events are dealt with change in one commit. A
//! crash before it leaves blobs nobody names, and the same events are read again.

mod digest;
mod file;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use platform::cloudtrail::trail::{self, Trail};
use service::{Result, Timestamp, Tx};
use store::{Commit, Store};

use crate::{
    Clock, Inner,
    reader::{SnapshotReader, purpose, store_key, unavailable},
    vault::Vault,
};

/// How often a commit is tried while others change what it read.
const ATTEMPTS_MAX: usize = 8;

/// Delivers on the current runtime, at once and then regularly, until the control plane is gone.
pub(crate) fn start(inner: Arc<Inner>) {
    let tick_s = inner.options.trail_delivery_s.min(inner.options.trail_digest_s).max(1);
    let control = Arc::downgrade(&inner);
    drop(inner);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(tick_s));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Nothing is held between two ticks, so that a control plane that is dropped lets go of its store.
            let Some(inner) = control.upgrade() else { return };
            let pass = tokio::task::spawn_blocking(move || Delivery::of(&inner, tick_s).run());
            if let Err(error) = pass.await {
                tracing::error!(%error, "a delivery of trails panicked");
            }
        }
    });
}

/// What deliveries need.
pub(crate) struct Delivery {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    /// A digest is due so many seconds after the last.
    digest_s: i64,
}

impl Delivery {
    fn of(inner: &Inner, tick_s: u64) -> Self {
        // Half a tick early is closer than half a tick late, and a tick that comes a moment early still counts.
        let digest_s = inner.options.trail_digest_s.saturating_sub(tick_s / 2).max(1);
        Self {
            store: Arc::clone(&inner.store),
            vault: Arc::clone(&inner.vault),
            clock: Arc::clone(&inner.clock),
            digest_s: i64::try_from(digest_s).unwrap_or(i64::MAX),
        }
    }

    /// One delivery of every trail of the installation. What fails is logged, tried again next time, and keeps no other
    /// trail waiting. Blocks.
    pub(crate) fn run(&self) {
        let trails = match self.trails() {
            Ok(trails) => trails,
            Err(error) => {
                tracing::error!(cause = ?error.cause, "trails cannot be read: {}", error.message);
                return;
            }
        };
        for trail in trails {
            if let Err(error) = self.deliver(&trail).and_then(|()| self.write_digests(&trail)) {
                let arn = trail.arn();
                tracing::error!(trail = arn, cause = ?error.cause, "a trail cannot be delivered: {}", error.message);
            }
        }
    }

    fn trails(&self) -> Result<Vec<Trail>> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let mut tx = Tx::new(&mut reader);
        let mut trails = Vec::new();
        for account in trail::accounts(&mut tx)? {
            trails.extend(trail::of_account(&mut tx, &account)?);
        }
        Ok(trails)
    }

    /// Runs `change` on the newest revision and commits what it changed; again when somebody else was faster. `None` when
    /// that happened too often: the next delivery will do it.
    fn transact<T>(&self, mut change: impl FnMut(&mut Tx<'_>) -> Result<T>) -> Result<Option<T>> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
            let mut tx = Tx::new(&mut reader);
            let output = change(&mut tx)?;
            let changes = tx.into_changes();
            if changes.is_empty() {
                return Ok(Some(output));
            }
            for bytes in changes.blobs.values() {
                self.store.put_blob(bytes).map_err(|e| unavailable(&e))?;
            }
            let mut commit = Commit { checks: reader.into_checks()?, ..Commit::default() };
            for (key, (document, secret)) in changes.records {
                match document {
                    Some(document) if secret => {
                        commit.puts.push((store_key(&key), self.vault.seal(&purpose(&key), &document)));
                    }
                    Some(document) => commit.puts.push((store_key(&key), document)),
                    None => commit.deletes.push(store_key(&key)),
                }
            }
            match self.store.commit(commit) {
                Ok(_) => return Ok(Some(output)),
                Err(store::Error::Conflict) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(None)
    }

    /// The trail as it is now; `None` when it was deleted meanwhile.
    fn reload(tx: &mut Tx<'_>, trail: &Trail) -> Result<Option<Trail>> {
        tx.get::<Trail>(&trail.scope(), "", &trail.name)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
