//! What is to be written, and how much of it has been: a write that is interrupted goes on where it stopped.

use std::{io, os::fd::BorrowedFd};

use bytes::Bytes;
use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

/// Longer bodies are written from where they lie instead of being copied behind their head, bytes.
const COPY_BYTES_MAX: usize = 16 * 1_024;
/// A larger buffer is not kept, bytes.
const KEPT_BYTES: usize = 64 * 1_024;

/// A head and a body to write.
#[derive(Default)]
pub(crate) struct Outbox {
    head: Vec<u8>,
    body: Bytes,
    sent: usize,
}

impl Outbox {
    /// Begins anew; whatever was to be written is forgotten. The caller appends to what it gets.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.sent = 0;
        self.body = Bytes::new();
        self.head.clear();
        if self.head.capacity() > KEPT_BYTES {
            self.head = Vec::new();
        }
        &mut self.head
    }

    /// Puts a body behind the head.
    pub(crate) fn body(&mut self, body: &Bytes) {
        if body.len() <= COPY_BYTES_MAX {
            self.head.extend_from_slice(body);
        } else {
            self.body = body.clone();
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.sent >= self.head.len().saturating_add(self.body.len())
    }

    /// Memory it takes, bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.head.capacity().saturating_add(self.body.len())
    }

    /// Writes what goes at once.
    ///
    /// # Errors
    /// When the other end is gone; what is left to write is then forgotten.
    pub(crate) fn write(&mut self, to: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let rest = match self.head.get(self.sent..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => self.body.get(self.sent.saturating_sub(self.head.len())..).unwrap_or_default(),
            };
            if rest.is_empty() {
                return Ok(());
            }
            match send(to, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(written) => self.sent = self.sent.saturating_add(written),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    self.begin();
                    return Err(error.into());
                }
            }
            if self.is_done() {
                // Nothing large is held while the function runs.
                self.begin();
                return Ok(());
            }
        }
    }
}
