//! Descriptors that a function sends to the server, on kernels that cannot refuse them ([`sandbox::frame_pair`]).
//!
//! INVARIANT: none of them is closed before all processes of the function are dead, and none in a thread that serves
//! anybody. A socket that lingers holds up whoever closes it for as long as its other end, which the function holds,
//! does not read; and the kernel closes what is not taken out, in the thread that reads past it or closes the socket
//! it lies in.

use std::{
    io::IoSliceMut,
    mem::{ManuallyDrop, MaybeUninit},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt},
};

use crate::launch::Process;

/// Most descriptors in one message (`SCM_MAX_FD` of the kernel): with room for these none is left over to be closed.
const RIGHTS_MAX: usize = 253;
/// How often it is looked whether a process is dead, from often to seldom.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(500)];

/// Reads once into `buffer`, without waiting; descriptors that come along are added to `held`. Gives the bytes read,
/// 0 at the end. Only when the server has no descriptors left does the kernel close what it cannot give.
///
/// # Errors
/// `EAGAIN` when there is nothing now; otherwise the host's.
pub(super) fn receive(from: BorrowedFd<'_>, buffer: &mut [u8], held: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::io::retry_on_intr(|| recvmsg(from, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            held.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// Ends `process` and closes, once it is dead, the socket it could send descriptors to and those it did send.
pub(super) fn bury(process: Arc<dyn Process>, socket: Option<OwnedFd>, held: Vec<OwnedFd>) {
    process.kill();
    // Without a thread they are never closed: a few descriptors less are better than a thread less.
    let remains = ManuallyDrop::new((socket, held));
    let wait_and_close = move || {
        let (socket, mut held) = ManuallyDrop::into_inner(remains);
        let [mut pause, longest] = LOOK_EVERY;
        while process.exited().is_none() {
            thread::sleep(pause);
            pause = longest.min(pause.saturating_mul(2));
        }
        // What was sent and not read comes out as well, so that nothing lies in the socket when it is closed.
        while let Some(Ok(1..)) = socket.as_ref().map(|socket| receive(socket.as_fd(), &mut [0; 8_192], &mut held)) {}
        for descriptor in &held {
            // Both ends of a connection may be here: the one must not wait for the other. What is no socket refuses.
            let _ = sockopt::set_socket_linger(descriptor, None);
        }
    };
    if let Err(error) = thread::Builder::new().name("burial".into()).spawn(wait_and_close) {
        tracing::error!(%error, "the socket of a dead function stays open");
    }
}
