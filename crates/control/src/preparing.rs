//! What is outstanding after a function was created or updated: its package is unpacked, and the outcome stored.
//!
//! A restart finds what an earlier server left by `lambda::life::outstanding`. Calls that come too early wait a moment
//! for it, and get AWS's refusal after that: AWS's own clients wait, scripts written elsewhere often do not.

use std::{
    collections::HashSet,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    time::Duration,
};

use environment::package::PackageError;
use lambda::{
    directory::{Readiness, Target},
    invoke::{Revision, RunError},
    life::{self, Reason},
};
use service::{Result, Scope, ServiceError, Tx};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    Inner,
    commit::{self, ATTEMPTS_MAX},
    functions::{Function, FunctionKey},
    reader::{SnapshotReader, unavailable},
};

/// Packages unpacked at once: each is read whole, and the disk has one arm.
const AT_ONCE_MAX: usize = 2;
/// Before a preparation that the store or the disk let down is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an invocation waits for a function that is being created. AWS refuses at once.
const PENDING_PATIENCE: Duration = Duration::from_secs(10);
/// How long one waits for an update, before it is served by what ran before, as on AWS.
const UPDATE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a call that changes a function waits in all: so often, so long.
const CALL_LOOKS: u32 = 50;
const CALL_LOOK: Duration = Duration::from_millis(100);

/// The functions with something outstanding.
pub(crate) struct Preparing {
    queue: mpsc::UnboundedSender<FunctionKey>,
    // Bounds the queue: a function is in it once.
    under_way: Mutex<HashSet<FunctionKey>>,
    settled: Condvar,
}

impl Preparing {
    /// With the end from which [`start`] takes.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<FunctionKey>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        (Self { queue, under_way: Mutex::default(), settled: Condvar::new() }, waiting)
    }

    /// Asks for a function to be prepared; one that is on its way already is not asked for twice.
    pub(crate) fn ask(&self, key: &FunctionKey) {
        let is_new = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        if is_new {
            // Fails only when the server stops; the next one finds what is outstanding.
            let _ = self.queue.send(key.clone());
        }
    }

    /// From now on the function may be asked for again.
    fn taken(&self, key: &FunctionKey) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Blocks until something is settled, at most [`CALL_LOOK`].
    fn wait(&self) {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.settled.wait_timeout(under_way, CALL_LOOK));
    }
}

/// Runs a change of a function again while an earlier one is outstanding, for about five seconds. Blocks.
///
/// # Errors
/// What `change` gives in the end.
pub(crate) fn patiently<T>(preparing: &Preparing, mut change: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..CALL_LOOKS {
        match change() {
            Err(error) if error.status == 409 && error.message.starts_with(life::NOT_NOW) => preparing.wait(),
            ended => return ended,
        }
    }
    change()
}

/// Prepares what is asked for, on the current runtime, until the server stops.
pub(crate) fn start(inner: Weak<Inner>, mut waiting: mpsc::UnboundedReceiver<FunctionKey>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE_MAX));
    tokio::spawn(async move {
        while let Some(key) = waiting.recv().await {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let inner = Weak::clone(&inner);
            tokio::spawn(async move {
                let again = inner.clone();
                let asked = key.clone();
                let done =
                    tokio::task::spawn_blocking(move || inner.upgrade().map_or(Ok(()), |inner| inner.prepare(&key)));
                let failed = match done.await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error.cause.unwrap_or(error.message),
                    Err(error) => error.to_string(),
                };
                drop(turn);
                tracing::error!(
                    function = asked.name,
                    account = asked.account,
                    "a function cannot be prepared: {failed}"
                );
                tokio::time::sleep(PAUSE).await;
                if let Some(inner) = again.upgrade() {
                    inner.preparing.taken(&asked);
                    inner.preparing.ask(&asked);
                }
            });
        }
    });
}

impl Inner {
    /// Prepares everything of a function that is outstanding, and stores what became of it. Blocks.
    fn prepare(&self, key: &FunctionKey) -> Result<()> {
        let scope = Scope::regional(key.account.as_str(), key.region.as_str());
        let unprepared = self.load_function(&scope, &key.name)?.unprepared;
        let outcomes: Vec<_> =
            unprepared.iter().map(|revision| (revision.revision_id.clone(), self.unpacked(revision))).collect();
        // What comes from here on is asked for anew, by the publishing of the commits below if not before.
        self.preparing.taken(key);
        if outcomes.is_empty() {
            self.settle(&scope, &key.name, "", &Ok(()))?;
        }
        for (run_key, outcome) in &outcomes {
            if let Err(reason) = outcome {
                let (function, account) = (&key.name, &key.account);
                tracing::warn!(
                    function,
                    account,
                    code = reason.code,
                    "a function could not be prepared: {}",
                    reason.text
                );
            }
            self.settle(&scope, &key.name, run_key, outcome)?;
        }
        self.preparing.settled.notify_all();
        Ok(())
    }

    fn unpacked(&self, revision: &Arc<Revision>) -> std::result::Result<(), Reason> {
        self.runner.unpack(revision).map_err(|error| {
            let code = match &error {
                PackageError::Extension(_) => "FunctionError.ExtensionInitError",
                error if error.is_package() => "InvalidZipFileException",
                _ => "InternalError",
            };
            Reason { code: code.to_owned(), text: error.to_string() }
        })
    }

    fn settle(
        &self,
        scope: &Scope,
        function: &str,
        run_key: &str,
        outcome: &std::result::Result<(), Reason>,
    ) -> Result<()> {
        for attempt in 0..ATTEMPTS_MAX {
            let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
            let mut tx = Tx::new(&mut reader);
            life::settle(scope, function, run_key, outcome, &mut tx)?;
            let changes = tx.into_changes();
            if changes.is_empty() {
                return Ok(());
            }
            let keys: Vec<_> = changes.records.keys().cloned().collect();
            let commit = commit::prepare(&*self.store, &self.vault, changes, reader, Vec::new())?;
            match self.store.commit(commit) {
                Ok(_) => {
                    self.publish(&keys);
                    return Ok(());
                }
                Err(store::Error::Conflict) => {
                    std::thread::sleep(Duration::from_millis(u64::from(self.jitter(attempt))));
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(ServiceError::internal("others kept changing a function that was being prepared"))
    }

    /// Asks for everything an earlier server left outstanding.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub(crate) fn resume(&self, tx: &mut Tx<'_>) -> Result<()> {
        for left in life::outstanding(tx)? {
            let life::Preparation { account, region, function } = left;
            self.preparing.ask(&FunctionKey { account, region, name: function });
        }
        Ok(())
    }

    /// What a qualifier leads to once it can run: waits for what is being created or updated, if it need not be long.
    ///
    /// # Errors
    /// [`RunError::NotReady`] for what is still being created then, or could not be.
    pub(crate) async fn ready(
        &self,
        key: &FunctionKey,
        qualifier: &str,
        function: Arc<Function>,
        target: Arc<Target>,
    ) -> std::result::Result<(Arc<Function>, Arc<Target>), RunError> {
        let patience = match target.readiness {
            Readiness::Ready => return Ok((function, target)),
            Readiness::Updating => UPDATE_PATIENCE,
            Readiness::Pending => PENDING_PATIENCE,
            Readiness::Failed => Duration::ZERO,
        };
        let mut last = (function, target);
        let _ = tokio::time::timeout(patience, async {
            loop {
                // Before looking, so that a change between the look and the wait is not missed.
                let changed = self.functions.changed();
                match self.functions.known(key).flatten() {
                    Some(function) => match function.target(qualifier) {
                        Some(target) => last = (Arc::clone(&function), Arc::clone(target)),
                        None => break,
                    },
                    None => break,
                }
                if matches!(last.1.readiness, Readiness::Ready | Readiness::Failed) {
                    break;
                }
                changed.await;
            }
        })
        .await;
        match last.1.readiness.refusal() {
            None => Ok(last),
            Some(state) => Err(RunError::NotReady { state }),
        }
    }
}

#[cfg(test)]
mod tests;
