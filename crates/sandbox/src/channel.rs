//! Datagrams with descriptors over a connected pair of sockets, which loses and joins none.

use std::{
    io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

use crate::protocol::{FILES_MAX, MESSAGE_BYTES_MAX};

/// A new connected pair.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Longest that the other side may leave so much unread that nothing more fits.
const FULL_MS_MAX: i64 = 5_000;

/// Sends one message. Waits, though not for ever, while the other side has not read earlier ones.
///
/// # Errors
/// `ETIMEDOUT` when it has not by then; otherwise the host's.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    send_within(socket, bytes, files, FULL_MS_MAX)
}

/// The same, waiting for `full_ms` at most. With 0 it does not wait.
pub(crate) fn send_within(
    socket: impl AsFd,
    bytes: &[u8],
    files: &[BorrowedFd<'_>],
    full_ms: i64,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if files.len() > FILES_MAX || !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::INVAL);
    }
    let slices = [IoSlice::new(bytes)];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut send = || rustix::io::retry_on_intr(|| sendmsg(&socket, &slices, &mut control, flags));
    let sent = loop {
        match send() {
            Err(Errno::AGAIN) if ready_within(&socket, PollFlags::OUT, full_ms)? => {}
            Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
            other => break other?,
        }
    };
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives one message into `buffer`; its length is 0 when the other side is gone.
///
/// # Errors
/// `EMSGSIZE` when message or descriptors did not fit; otherwise the host's.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut Buffer) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut slices = [IoSliceMut::new(&mut buffer.0)];
        match recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut files = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            files.extend(received);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((message.bytes, files))
}

/// Room for one message.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Buffer(vec![0; MESSAGE_BYTES_MAX].into_boxed_slice())
    }

    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or_default()
    }
}

/// Waits until a message fits, or the other side is gone.
pub(crate) fn writable_within(socket: impl AsFd, timeout_ms: i64) -> Result<bool, Errno> {
    ready_within(socket, PollFlags::OUT, timeout_ms)
}

/// Waits until `file` is readable or its other side gone; `false` when `timeout_ms` have passed first.
pub(crate) fn readable_within(file: impl AsFd, timeout_ms: i64) -> Result<bool, Errno> {
    ready_within(file, PollFlags::IN, timeout_ms)
}

fn ready_within(file: impl AsFd, what: PollFlags, timeout_ms: i64) -> Result<bool, Errno> {
    let timeout = Timespec { tv_sec: timeout_ms / 1_000, tv_nsec: timeout_ms % 1_000 * 1_000_000 };
    // A signal starts the wait anew: the launcher is sent none that it does not die of.
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&file, what)], Some(&timeout))).map(|ready| ready > 0)
}

/// An error of the host as the standard library's.
pub(crate) fn io_error(error: Errno) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_in_order_and_with_their_files() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"one", &[ours.as_fd(), theirs.as_fd()]).unwrap();
        send(&ours, b"two", &[]).unwrap();
        drop(ours);
        let mut buffer = Buffer::new();
        let (length, files) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((buffer.bytes(length), files.len()), (&b"one"[..], 2));
        drop(files);
        let (length, files) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((buffer.bytes(length), files.len()), (&b"two"[..], 0));
        assert_eq!(receive(&theirs, &mut buffer).unwrap().0, 0, "the end");
        assert_eq!(send(&theirs, b"x", &[]), Err(Errno::PIPE));
    }

    #[test]
    fn too_many_files_and_too_long_a_message_are_refused() {
        let (ours, theirs) = pair().unwrap();
        let files = vec![ours.as_fd(); FILES_MAX + 1];
        assert_eq!(send(&ours, b"x", &files), Err(Errno::INVAL));
        send(&ours, &vec![0; MESSAGE_BYTES_MAX + 1], &[]).unwrap();
        assert_eq!(receive(&theirs, &mut Buffer::new()).unwrap_err(), Errno::MSGSIZE);
    }

    #[test]
    fn a_full_channel_loses_nothing() {
        let (ours, theirs) = pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..5_000_u32 {
                    send(&ours, &number.to_le_bytes(), &[]).unwrap();
                }
            });
            let mut buffer = Buffer::new();
            for number in 0..5_000_u32 {
                let (length, _) = receive(&theirs, &mut buffer).unwrap();
                assert_eq!(buffer.bytes(length), number.to_le_bytes());
            }
        });
    }
}
