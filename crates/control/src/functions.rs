//! The functions of this installation as invocations see them: in memory, current as of the last commit.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use lambda::{
    directory::{Loaded, QualifierKey, Target},
    invoke::Revision,
};
use tokio::sync::{Notify, futures::Notified};

/// Which function: owner, region and bare name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionKey {
    /// 12 digits.
    pub account: String,
    pub region: String,
    pub name: String,
}

impl From<&QualifierKey> for FunctionKey {
    fn from(key: &QualifierKey) -> Self {
        Self { account: key.account.clone(), region: key.region.clone(), name: key.function.clone() }
    }
}

/// One function: what each qualifier leads to, and how many invocations are under way.
pub struct Function {
    targets: HashMap<String, Arc<Target>>,
    provisioned: Vec<(Arc<Revision>, u32)>,
    in_flight: Arc<AtomicU32>,
}

impl Function {
    /// What is to have environments ready, and how many.
    #[must_use]
    pub fn provisioned(&self) -> &[(Arc<Revision>, u32)] {
        &self.provisioned
    }

    /// Whether some qualifier leads to this revision.
    #[must_use]
    pub fn runs(&self, revision: &Revision) -> bool {
        let same = |own: &Revision| own.version == revision.version && own.revision_id == revision.revision_id;
        self.targets
            .values()
            .any(|target| same(&target.revision) || target.additional.as_ref().is_some_and(|(second, _)| same(second)))
    }

    /// What a qualifier leads to; the empty one is the function itself.
    #[must_use]
    pub fn target(&self, qualifier: &str) -> Option<&Arc<Target>> {
        self.targets.get(qualifier)
    }

    /// Counts one invocation in, unless the function's reserved concurrency is used up.
    #[must_use]
    pub fn enter(&self, target: &Target) -> Option<InFlight> {
        let limit = target.reserved_concurrency.unwrap_or(u32::MAX);
        let counted = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < limit).then(|| now.saturating_add(1)));
        counted.ok().map(|_| InFlight(Arc::clone(&self.in_flight)))
    }
}

/// One invocation under way; dropping it makes room for another.
pub struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Functions by key. `None` remembers that there is no such function, until one is created.
#[derive(Default)]
pub struct Functions {
    by_key: RwLock<HashMap<FunctionKey, Option<Arc<Function>>>>,
    changed: Notify,
}

impl Functions {
    /// What is known in memory: outer `None` means nobody has asked yet.
    #[must_use]
    pub fn known(&self, key: &FunctionKey) -> Option<Option<Arc<Function>>> {
        self.by_key.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Puts what the store says now and gives it back. The count of invocations under way goes on.
    pub fn set(&self, key: FunctionKey, loaded: Loaded) -> Option<Arc<Function>> {
        let mut by_key = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        let function = if loaded.targets.is_empty() {
            None
        } else {
            let before = by_key.get(&key).and_then(Option::as_ref);
            let in_flight = before.map(|function| Arc::clone(&function.in_flight)).unwrap_or_default();
            let targets = loaded.targets.into_iter().map(|(key, target)| (key.qualifier, Arc::new(target))).collect();
            Some(Arc::new(Function { targets, provisioned: loaded.provisioned, in_flight }))
        };
        by_key.insert(key, function.clone());
        drop(by_key);
        self.changed.notify_waiters();
        function
    }

    /// Ready at the next change of any function after this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
