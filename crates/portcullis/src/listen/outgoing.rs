//! The body of an answer: whole, or as the control plane makes it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// What hyper sends. Dropping it tells whoever makes a streamed one that its reader is gone.
pub(super) enum Outgoing {
    /// All of it; nothing once it has been handed over.
    Whole(Bytes),
    /// Piece by piece, its length unknown.
    Streamed(mpsc::Receiver<Bytes>),
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        Self::Whole(body)
    }
}

impl From<control::Body> for Outgoing {
    fn from(body: control::Body) -> Self {
        match body {
            control::Body::Whole(body) => Self::Whole(body),
            control::Body::Streamed(pieces) => Self::Streamed(pieces),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(body) if body.is_empty() => Poll::Ready(None),
            Self::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Self::Streamed(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}
