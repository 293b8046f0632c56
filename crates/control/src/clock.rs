//! The one place where the time is read.

use std::sync::Arc;

use service::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock everybody else takes the time from")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The same time for the data plane.
pub(crate) struct GatewayClock(pub Arc<dyn Clock>);

impl gateway::Clock for GatewayClock {
    fn now_ms(&self) -> i64 {
        self.0.now().ms()
    }
}
