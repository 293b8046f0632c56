//! How long a group keeps its events.

use serde::Deserialize;
use service::{Cx, Entry, Operation, Result, Tx};

use super::{
    error::invalid,
    log_group::{self, Done, Named},
};

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<PutRetentionPolicy>(), Entry::of::<DeleteRetentionPolicy>()];

/// Source: CloudWatch Logs API Reference, "PutRetentionPolicy".
const DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Sets a group's retention.
pub struct PutRetentionPolicy;

/// Input of [`PutRetentionPolicy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutRetentionPolicyInput {
    log_group_name: String,
    retention_in_days: i64,
}

impl Operation for PutRetentionPolicy {
    const NAME: &'static str = "PutRetentionPolicy";
    type Input = PutRetentionPolicyInput;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let days = u32::try_from(input.retention_in_days).ok().filter(|days| DAYS.contains(days));
        let Some(days) = days else {
            let valid: Vec<String> = DAYS.iter().map(u32::to_string).collect();
            return Err(invalid(format!("Invalid retention value. Valid values are: [{}]", valid.join(", "))));
        };
        let scope = cx.scope();
        let mut group = log_group::find(tx, &scope, &input.log_group_name)?;
        group.retention_in_days = Some(days);
        log_group::save(tx, &scope, &group)?;
        Ok(Done {})
    }
}

/// Lets a group keep its events for good again.
pub struct DeleteRetentionPolicy;

impl Operation for DeleteRetentionPolicy {
    const NAME: &'static str = "DeleteRetentionPolicy";
    type Input = Named;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let scope = cx.scope();
        let mut group = log_group::find(tx, &scope, &input.log_group_name)?;
        group.retention_in_days = None;
        log_group::save(tx, &scope, &group)?;
        Ok(Done {})
    }
}
