//! Bodies of control-plane requests: read whole, within bounds of size, time and memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// What a client has before its rate counts.
const PATIENCE: Duration = Duration::from_secs(20);
/// Slowest a body may arrive on average, bytes per second.
const RATE_BYTES_S_MIN: u64 = 8 << 10;
/// Memory is taken from the budget in steps of so many bytes.
const STEP_BYTES: usize = 4 << 10;
/// How much of a body that is refused anyway is still read, so that the client can read the answer.
const DRAINED_BYTES_MAX: u64 = 256 << 20;
/// And for how long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Memory for all bodies together.
pub(super) struct Budget {
    steps: Arc<Semaphore>,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { steps: Arc::new(Semaphore::new(bytes_max / STEP_BYTES)) }
    }
}

/// A body and its part of the budget, which is given back when this is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooLarge,
    /// All memory for bodies is in use.
    Busy,
    /// It came too slowly.
    Late,
    /// It broke off, or its chunks make no sense.
    Broken,
}

/// Reads a body whole. `waits` is whether the client sends nothing until it is told to go on.
pub(super) async fn read(mut body: Incoming, waits: bool, bytes_max: u64, budget: &Budget) -> Result<Held, Refused> {
    let announced = body.size_hint().lower();
    if announced > bytes_max {
        if !waits {
            drain(body);
        }
        return Err(Refused::TooLarge);
    }
    let started = Instant::now();
    let mut whole = BytesMut::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    loop {
        let deadline = started + PATIENCE + Duration::from_secs(whole.len() as u64 / RATE_BYTES_S_MIN);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Refused::Late),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Refused::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.len() + data.len();
        if length as u64 > bytes_max {
            drop((whole, share));
            drain(body);
            return Err(Refused::TooLarge);
        }
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = length.div_ceil(STEP_BYTES).saturating_sub(held);
        let more = u32::try_from(wanted).map_err(|_| Refused::Busy)?;
        let more = Arc::clone(&budget.steps).try_acquire_many_owned(more).map_err(|_| Refused::Busy)?;
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        if whole.is_empty() && length as u64 == announced {
            // The usual case, in one piece: no copy.
            return Ok(Held { bytes: data, _share: share });
        }
        whole.extend_from_slice(&data);
    }
    Ok(Held { bytes: whole.freeze(), _share: share })
}

/// Goes on reading what a client is still sending, and forgets it, while the answer is already on its way: many clients
/// look for an answer only after their last byte, and closing on them would lose it.
fn drain(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::task::spawn_local(async move {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let mut drained = 0;
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            drained += frame.data_ref().map_or(0, |data| data.len() as u64);
            if drained > DRAINED_BYTES_MAX {
                return;
            }
        }
    });
}

/// A body for the data plane, drained if it is let go before its end.
pub(super) struct Streamed {
    body: Option<Incoming>,
    waits: bool,
}

impl Streamed {
    /// `waits` as for [`read`].
    pub(super) fn new(body: Incoming, waits: bool) -> Self {
        Self { body: Some(body), waits }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>> {
        // hyper tells the client to go on now.
        self.waits = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        match self.body.take() {
            Some(body) if !self.waits => drain(body),
            _ => {}
        }
    }
}
