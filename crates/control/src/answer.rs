//! How an answer leaves the control plane: whole, or piece by piece while it is still being made.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::dispatch::Response;

/// An answer for the listener.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// The body of an [`Answer`].
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Its pieces in order, until the other end is dropped. Dropping this end tells the maker that nobody reads any more.
    Streamed(mpsc::Receiver<Bytes>),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self { status: response.status, headers: response.headers, body: Body::Whole(response.body) }
    }
}
