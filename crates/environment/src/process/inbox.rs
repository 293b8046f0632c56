//! A receive buffer that is read from the front without moving the rest each time.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use bytes::Bytes;
use rustix::{buffer::spare_capacity, io::Errno};

use super::rights;

/// Room kept for the next read, bytes.
const READ_BYTES: usize = 8 * 1_024;
/// A buffer larger than this is given away with its content rather than copied, and never kept, bytes.
const KEPT_BYTES: usize = 64 * 1_024;

/// Received at once where the room for it must be written first, bytes.
const RECEIVED_BYTES_MAX: usize = 256 * 1_024;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Some,
    /// Nothing now.
    Nothing,
    /// The other end has closed.
    End,
}

/// Bytes received and not yet used.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Reads once; `wanted` more bytes are expected, so that large ones come by few reads.
    pub(crate) fn read(&mut self, from: BorrowedFd<'_>, wanted: usize) -> io::Result<Read> {
        self.make_room(wanted);
        loop {
            return match rustix::io::read(from, spare_capacity(&mut self.bytes)) {
                Ok(0) => Ok(Read::End),
                Ok(_) => Ok(Read::Some),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(Read::Nothing),
                Err(error) => Err(error.into()),
            };
        }
    }

    /// The same from a socket to which descriptors may have been sent; they go to `held` and stay open.
    pub(crate) fn receive(&mut self, from: BorrowedFd<'_>, wanted: usize, held: &mut Vec<OwnedFd>) -> io::Result<Read> {
        self.make_room(wanted);
        let length = self.bytes.len();
        let room = self.bytes.capacity().saturating_sub(length).min(RECEIVED_BYTES_MAX);
        self.bytes.resize(length.saturating_add(room), 0);
        let received = rights::receive(from, self.bytes.get_mut(length..).unwrap_or_default(), held);
        self.bytes.truncate(length.saturating_add(*received.as_ref().unwrap_or(&0)));
        match received {
            Ok(0) => Ok(Read::End),
            Ok(_) => Ok(Read::Some),
            Err(Errno::AGAIN) => Ok(Read::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops what has been used and makes room for `wanted` bytes, or for a read of the usual size.
    fn make_room(&mut self, wanted: usize) {
        if self.at > 0 {
            // Moves what is left only when it is less than what was used, so that the work stays in proportion.
            if self.is_empty() {
                self.bytes.clear();
                self.at = 0;
            } else if self.at >= self.bytes.len() / 2 {
                self.bytes.drain(..self.at);
                self.at = 0;
            }
        }
        let more = self.room(wanted).saturating_sub(self.bytes.len());
        if more > self.bytes.capacity().saturating_sub(self.bytes.len()) {
            self.bytes.reserve_exact(more);
        }
    }

    /// Memory it will take once there is room for `wanted` bytes, or for a read of the usual size; at least.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let (has, length) = (self.bytes.capacity(), self.bytes.len());
        // The last bytes of something large must not double the room it takes.
        let least = if length > KEPT_BYTES { wanted.max(1) } else { wanted.max(READ_BYTES) };
        if has.saturating_sub(length) >= least {
            return has;
        }
        length.saturating_add(wanted.max(READ_BYTES)).max(has.saturating_mul(2))
    }

    /// Memory it takes, bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Marks bytes at the front as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.at = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Takes `count` bytes out of the front after skipping `skip`. Large ones at the end of the buffer are not copied.
    pub(crate) fn take(&mut self, skip: usize, count: usize) -> Bytes {
        let (from, to) = (self.at.saturating_add(skip), self.at.saturating_add(skip).saturating_add(count));
        if count > KEPT_BYTES && to == self.bytes.len() {
            let whole = Bytes::from(std::mem::take(&mut self.bytes));
            self.at = 0;
            return whole.slice(from..to);
        }
        let taken = Bytes::copy_from_slice(self.bytes.get(from..to).unwrap_or_default());
        self.consume(skip.saturating_add(count));
        taken
    }
}
