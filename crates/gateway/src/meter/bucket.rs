//! A token bucket: a burst at once, a rate from then on.

use std::sync::{Mutex, PoisonError};

/// Counts requests against a rate. A burst or rate of 0 lets nothing through.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: f64,
    per_ms: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    at_ms: i64,
}

impl Bucket {
    /// A full bucket of `burst` requests that fills by `rate` a second.
    #[expect(clippy::cast_precision_loss, reason = "AWS's bursts are far below 2^52")]
    pub(crate) fn new(burst: i64, rate: f64) -> Self {
        let burst = burst.max(0) as f64;
        let rate = if rate.is_finite() { rate.max(0.0) } else { 0.0 };
        let burst = if rate == 0.0 { 0.0 } else { burst };
        Self { burst, per_ms: rate / 1_000.0, state: Mutex::new(State { tokens: burst, at_ms: i64::MIN }) }
    }

    /// Takes one request's token, if there is one.
    #[expect(clippy::cast_precision_loss, reason = "what is lost are parts of a token")]
    pub(crate) fn take(&self, now_ms: i64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.at_ms != i64::MIN {
            let passed = now_ms.saturating_sub(state.at_ms).max(0) as f64;
            state.tokens = (state.tokens + passed * self.per_ms).min(self.burst);
        }
        state.at_ms = now_ms.max(state.at_ms);
        if state.tokens < 1.0 {
            return false;
        }
        state.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn a_burst_goes_through_at_once_and_then_the_rate() {
        let bucket = Bucket::new(2, 10.0);
        assert_eq!([bucket.take(1_000), bucket.take(1_000), bucket.take(1_000)], [true, true, false]);
        assert_eq!([bucket.take(1_099), bucket.take(1_100), bucket.take(1_100)], [false, true, false]);
        assert_eq!([bucket.take(9_000), bucket.take(9_000), bucket.take(9_000)], [true, true, false]);
        assert!(!bucket.take(5_000), "time that goes back fills nothing");
    }

    #[test]
    fn nothing_passes_a_rate_or_burst_of_none() {
        for bucket in [Bucket::new(0, 10.0), Bucket::new(5, 0.0), Bucket::new(-1, 1.0), Bucket::new(5, f64::NAN)] {
            assert!(!bucket.take(0));
            assert!(!bucket.take(100_000));
        }
    }
}
