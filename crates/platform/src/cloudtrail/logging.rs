//! Starting and stopping a trail, and how its deliveries go.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Entry, Operation, Record, Result, Timestamp, Tx};

use super::{
    error::error,
    trail::{self, Done, Trail, TrailRef},
};

/// Windows kept at once: more starts and stops than this between two deliveries are refused.
const WINDOWS_MAX: usize = 100;
/// How long after its window a stopped trail still takes events: those on their way to the disk when it was stopped.
pub const DRAIN_S: i64 = 60;

/// A time in which a trail logged: from inclusive, to exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Window {
    pub from: Timestamp,
    /// Absent while it logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl Window {
    /// Whether an event of this moment belongs in.
    #[must_use]
    pub fn covers(&self, ms: i64) -> bool {
        self.from.ms() <= ms && self.to.is_none_or(|to| ms < to.ms())
    }
}

/// How far a trail's deliveries are. Changed by the delivery alone, in the commit of the objects it delivers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TrailState {
    /// Every event of the account up to this one is delivered or not for this trail.
    pub sequence: u64,
    /// When a delivery last found nothing more to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Timestamp>,
    /// Regions that log files were delivered for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_attempt: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_delivery: Option<Timestamp>,
    /// S3's error code when the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_digest: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_digest_error: Option<String>,
}

impl Record for TrailState {
    const NOUN: &'static str = "cloudtrail/TrailState";
}

impl TrailState {
    /// The state of a trail; that of a new one when nothing was delivered yet.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub fn load(tx: &mut Tx<'_>, trail: &Trail) -> Result<Self> {
        Ok(tx.get::<Self>(&trail.scope(), "", &trail.name)?.unwrap_or_default())
    }

    /// Stores it.
    ///
    /// # Errors
    /// 5xx when it does not encode.
    pub fn save(&self, tx: &mut Tx<'_>, trail: &Trail) -> Result<()> {
        tx.put(&trail.scope(), "", &trail.name, self)
    }

    /// Whether everything of a window that ended is delivered.
    #[must_use]
    pub fn is_past(&self, window: &Window) -> bool {
        window.to.is_some_and(|to| self.drained_at.is_some_and(|drained| drained >= to.plus_s(DRAIN_S)))
    }

    /// Whether there may be something to deliver for the trail.
    #[must_use]
    pub fn is_due(&self, trail: &Trail) -> bool {
        trail.windows.iter().any(|window| !self.is_past(window))
    }
}

pub struct StartLogging;

impl Operation for StartLogging {
    const NAME: &'static str = "StartLogging";
    type Input = TrailRef;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut trail = trail::at_home(tx, cx, &input.name)?;
        if trail.is_logging() {
            return Ok(Done {});
        }
        let state = TrailState::load(tx, &trail)?;
        trail.windows.retain(|window| !state.is_past(window));
        if trail.windows.len() >= WINDOWS_MAX {
            return Err(error("ThrottlingException", "Rate exceeded"));
        }
        trail.windows.push(Window { from: cx.now, to: None });
        trail::save(tx, &trail)?;
        Ok(Done {})
    }
}

pub struct StopLogging;

impl Operation for StopLogging {
    const NAME: &'static str = "StopLogging";
    type Input = TrailRef;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut trail = trail::at_home(tx, cx, &input.name)?;
        if let Some(window) = trail.windows.last_mut().filter(|window| window.to.is_none()) {
            window.to = Some(cx.now);
            trail::save(tx, &trail)?;
        }
        Ok(Done {})
    }
}

pub struct GetTrailStatus;

impl Operation for GetTrailStatus {
    const NAME: &'static str = "GetTrailStatus";
    type Input = TrailRef;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let trail = trail::find(tx, cx, &input.name)?;
        let state = TrailState::load(tx, &trail)?;
        Ok(status(&trail, &state))
    }
}

/// Times stand twice, as AWS shows them: as numbers and, under the older names, as texts that may be empty.
fn status(trail: &Trail, state: &TrailState) -> Value {
    let mut status = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            status.insert(name.to_owned(), value);
        }
    };
    let seconds = |at: Option<Timestamp>| at.map(|at| Value::from(at.s()));
    let text = |at: Option<Timestamp>| Some(Value::from(at.map(Timestamp::iso_s).unwrap_or_default()));
    let started = trail.windows.last().map(|window| window.from);
    let stopped = trail.windows.iter().rev().find_map(|window| window.to);
    put("IsLogging", Some(trail.is_logging().into()));
    put("LatestDeliveryError", state.latest_error.clone().map(Value::from));
    put("LatestDeliveryTime", seconds(state.latest_delivery));
    put("StartLoggingTime", seconds(started));
    put("StopLoggingTime", seconds(stopped));
    put("LatestDigestDeliveryTime", seconds(state.latest_digest));
    put("LatestDeliveryAttemptTime", text(state.latest_attempt));
    put("LatestNotificationAttemptTime", text(None));
    put("LatestNotificationAttemptSucceeded", text(None));
    put("LatestDeliveryAttemptSucceeded", text(state.latest_delivery));
    put("TimeLoggingStarted", text(started));
    put("TimeLoggingStopped", text(stopped));
    put("LatestDigestDeliveryError", state.latest_digest_error.clone().map(Value::from));
    Value::Object(status)
}

/// The operations around a trail's logging.
pub const OPERATIONS: &[Entry] =
    &[Entry::of::<StartLogging>(), Entry::of::<StopLogging>(), Entry::of::<GetTrailStatus>()];
