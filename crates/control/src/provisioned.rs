//! Provisioned concurrency: what records ask for, told to the environments, and what there is of it.

use std::sync::Arc;

use environment::Supervisor;
use lambda::{directory::Target, invoke::Revision};
use service::Provisioned;

use crate::{Inner, functions::Function};

impl Inner {
    /// Tells the environments what is to be ready of a function from now on, `before` it was.
    pub(crate) fn provide(&self, before: Option<&Function>, now: Option<&Function>) {
        let wanted = now.map(Function::provisioned).unwrap_or_default();
        for (revision, _) in before.map(Function::provisioned).unwrap_or_default() {
            let same = |(other, _): &(Arc<Revision>, u32)| {
                other.version == revision.version && other.revision_id == revision.revision_id
            };
            if !wanted.iter().any(same) {
                self.runner.provision(revision, 0);
            }
        }
        for (revision, count) in wanted {
            self.runner.provision(revision, *count);
        }
    }
}

/// What there is for one version or alias.
pub(crate) fn of(runner: &Supervisor, target: &Target) -> Provisioned {
    let mut sum = Provisioned::default();
    let second = target.additional.as_ref().map(|(second, _)| second);
    for revision in std::iter::once(&target.revision).chain(second) {
        let now = runner.provisioned(revision);
        sum.allocated = sum.allocated.saturating_add(now.allocated);
        sum.available = sum.available.saturating_add(now.available);
        sum.failure = sum.failure.or(now.failure);
    }
    sum
}
