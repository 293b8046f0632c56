//! Where a function is in its life: being created, being updated, ready, or failed.
//!
//! A function is created and updated in two steps, as on AWS. The call stores what is asked for and answers `Pending` or
//! `InProgress`; then the package is unpacked beside, and the outcome is stored by [`settle`]. A record of
//! [`Preparation`] in the installation's own scope says that the second step is outstanding, so that a restart finds it.
//!
//! Source: Lambda Developer Guide, "Lambda function states".

use serde::{Deserialize, Serialize};
use service::{Parent, Record, Result, Scope, Tx};

use crate::{error::conflict, function::Function, version::Version};

/// What keeps a function from running, or kept an update from taking effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reason {
    /// One of AWS's `StateReasonCode`, such as `InvalidZipFileException`.
    pub code: String,
    /// For a reader.
    pub text: String,
}

/// AWS's `State`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It can run.
    #[default]
    Active,
    /// It is being created and cannot run yet.
    Pending,
    /// It could not be created.
    Failed(Reason),
}

/// AWS's `LastUpdateStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// The last update runs.
    #[default]
    Successful,
    /// What ran before goes on running meanwhile.
    InProgress,
    /// What ran before goes on running.
    Failed(Reason),
}

/// Both of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Whether it can run.
    #[serde(default)]
    pub state: State,
    /// How the last update went.
    #[serde(default)]
    pub update: Update,
}

/// The members of an answer that show a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shown {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason_code: Option<String>,
}

impl Status {
    /// Of a function that has just been created.
    pub(crate) const CREATING: Self = Self { state: State::Pending, update: Update::Successful };

    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state != State::Pending && self.update != Update::InProgress
    }

    /// For records: the status of everything stored before there was one.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The status while an update is under way. A function that could not be created gets another try.
    pub(crate) fn updating(&self) -> Self {
        match self.state {
            State::Active => Self { state: State::Active, update: Update::InProgress },
            State::Pending | State::Failed(_) => Self::CREATING,
        }
    }

    /// What became of what was outstanding.
    fn settled(&self, outcome: &std::result::Result<(), Reason>) -> Self {
        match (&self.state, outcome) {
            (State::Pending, Err(reason)) => {
                Self { state: State::Failed(reason.clone()), update: Update::Failed(reason.clone()) }
            }
            (_, Err(reason)) => Self { state: self.state.clone(), update: Update::Failed(reason.clone()) },
            (_, Ok(())) => Self::default(),
        }
    }

    /// # Errors
    /// `ResourceConflictException` while something is outstanding: one change at a time.
    pub(crate) fn check_settled(&self, arn: &str) -> Result<()> {
        if self.state == State::Pending {
            return Err(conflict(not_now("Pending")));
        }
        if self.update == Update::InProgress {
            return Err(conflict(format!("{NOT_NOW} An update is in progress for resource: {arn}")));
        }
        Ok(())
    }

    pub(crate) fn shown(&self) -> Shown {
        const CREATING: &str = "The function is being created.";
        let owned = |text: &str| Some(text.to_owned());
        let (state, state_reason, state_reason_code) = match &self.state {
            State::Active => ("Active", None, None),
            State::Pending => ("Pending", owned(CREATING), owned("Creating")),
            State::Failed(reason) => ("Failed", owned(&reason.text), owned(&reason.code)),
        };
        let (update, update_reason, update_reason_code) = match &self.update {
            // Nothing was updated yet, and AWS says nothing of it.
            _ if self.state == State::Pending => (None, None, None),
            Update::Successful => (Some("Successful"), None, None),
            // The words are AWS's, who says so of updates too.
            Update::InProgress => (Some("InProgress"), owned(CREATING), owned("Creating")),
            Update::Failed(reason) => (Some("Failed"), owned(&reason.text), owned(&reason.code)),
        };
        Shown {
            state,
            state_reason,
            state_reason_code,
            last_update_status: update,
            last_update_status_reason: update_reason,
            last_update_status_reason_code: update_reason_code,
        }
    }
}

/// How every refusal for a function's state begins. Whoever made a change a moment ago may wait and try again.
pub const NOT_NOW: &str = "The operation cannot be performed at this time.";

/// AWS's sentence for an invocation of a function that cannot run: `state` is `Pending` or `Failed`.
#[must_use]
pub fn not_now(state: &str) -> String {
    format!("{NOT_NOW} The function is currently in the following state: {state}")
}

/// Says that a function has something outstanding. Key: the installation's scope, id = [`place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Preparation {
    /// Owner.
    pub account: String,
    /// Region.
    pub region: String,
    /// Name.
    pub function: String,
}

impl Record for Preparation {
    const NOUN: &'static str = "lambda/Preparation";
}

/// A function's id among those of the whole installation.
pub(crate) fn place(scope: &Scope, function: &str) -> String {
    format!("{}/{}/{function}", scope.account, scope.region)
}

/// Stores that a function has something outstanding.
///
/// # Errors
/// 5xx when the record does not encode.
pub(crate) fn begin(scope: &Scope, function: &str, tx: &mut Tx<'_>) -> Result<()> {
    let record =
        Preparation { account: scope.account.clone(), region: scope.region.clone(), function: function.to_owned() };
    tx.put(&Scope::installation(), "", &place(scope, function), &record)
}

/// Stores that nothing of a function is outstanding any more.
pub(crate) fn end(scope: &Scope, function: &str, tx: &mut Tx<'_>) {
    tx.delete::<Preparation>(&Scope::installation(), "", &place(scope, function));
}

/// Every function with something outstanding, for a server that starts.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn outstanding(tx: &mut Tx<'_>) -> Result<Vec<Preparation>> {
    tx.list(&Scope::installation(), &Parent::Exact(""))
}

/// Stores how a preparation went: `run_key` is that of the revision that was prepared, so that an outcome which comes
/// after another change settles nothing of it. A function that is gone settles too.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn settle(
    scope: &Scope,
    function: &str,
    run_key: &str,
    outcome: &std::result::Result<(), Reason>,
    tx: &mut Tx<'_>,
) -> Result<()> {
    let Some(mut found) = tx.get::<Function>(scope, "", function)? else {
        end(scope, function, tx);
        return Ok(());
    };
    if found.run_key == run_key && !found.status.is_settled() {
        found.status = found.status.settled(outcome);
        if outcome.is_ok() {
            found.running = None;
        }
        tx.put(scope, "", function, &found)?;
    }
    let mut is_settled = found.status.is_settled();
    for mut version in tx.list::<Version>(scope, &Parent::Exact(function))? {
        if version.status.is_settled() {
            continue;
        }
        if version.run_key == run_key {
            version.status = version.status.settled(outcome);
            tx.put(scope, function, &version.id(), &version)?;
        } else {
            is_settled = false;
        }
    }
    if is_settled {
        end(scope, function, tx);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
