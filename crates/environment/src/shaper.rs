//! Hands a streamed answer on no faster than AWS does.

use std::time::Duration;

use lambda::invoke::{BoxFuture, SinkClosed, StreamPart, StreamSink};
use tokio::time::Instant;

/// What comes at once, bytes.
const BURST_BYTES: u64 = 6 * 1_024 * 1_024;
/// What comes per second after that, bytes.
const RATE_BYTES_S: u64 = 2 * 1_024 * 1_024;

/// A sink in front of another, with AWS's pace.
///
/// Source: AWS Lambda Developer Guide, "Bandwidth limits for response streaming".
pub(crate) struct Shaped {
    inner: Box<dyn StreamSink>,
    begun: Option<Instant>,
    taken_bytes: u64,
}

impl Shaped {
    pub(crate) fn new(inner: Box<dyn StreamSink>) -> Shaped {
        Shaped { inner, begun: None, taken_bytes: 0 }
    }
}

impl StreamSink for Shaped {
    fn take(&mut self, part: StreamPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move {
            let begun = *self.begun.get_or_insert_with(Instant::now);
            tokio::time::sleep_until(begun + due(self.taken_bytes)).await;
            let bytes = if let StreamPart::Chunk(chunk) = &part { chunk.len() as u64 } else { 0 };
            self.inner.take(part).await?;
            self.taken_bytes = self.taken_bytes.saturating_add(bytes);
            Ok(())
        })
    }
}

/// When, after the first part, the byte behind `taken_bytes` may come.
fn due(taken_bytes: u64) -> Duration {
    let beyond = taken_bytes.saturating_sub(BURST_BYTES);
    Duration::from_millis(beyond.saturating_mul(1_000) / RATE_BYTES_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_mebibytes_come_at_once_and_two_in_each_second_after() {
        const MIB: u64 = 1_024 * 1_024;
        for (taken, expected_ms) in [
            (0, 0),
            (6 * MIB, 0),
            (7 * MIB, 500),
            (8 * MIB, 1_000),
            (200 * MIB, 97_000),
            (u64::MAX, u64::MAX / 2_097_152),
        ] {
            assert_eq!(due(taken).as_millis() as u64, expected_ms, "{taken}");
        }
    }
}
