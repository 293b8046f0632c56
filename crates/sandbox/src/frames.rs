//! The pair of sockets between a server and a function, over which no descriptors come.
//!
//! Whoever holds one end of such a pair can send open files over it, and a file that is never taken out is closed by
//! the kernel in the thread that reads past it. Closing can take as long as the sender likes: a TCP socket lingers
//! for hours if told to (`SO_LINGER`), and the thread with it. A function must not be able to do that to the server.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
};

use crate::sys;

/// A new pair: our end, to which no descriptors can be sent, and the function's.
///
/// Linux before 6.16 cannot refuse them. There the pair is an ordinary one, which [`refuses_descriptors`] tells, and
/// whoever reads our end must take every descriptor out and mind when it closes them.
///
/// # Errors
/// When no more descriptors can be had.
pub fn frame_pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // Before anybody else has the other end: what was sent before would be in it. A host that does not know how is
    // found out by whoever asks for the outcome.
    let _ = sys::refuse_descriptors(&ours);
    Ok((ours, theirs))
}

/// Whether the host refuses descriptors that are sent to this socket. `false` whenever that is not certain.
#[must_use]
pub fn refuses_descriptors(socket: impl AsFd) -> bool {
    sys::refuses_descriptors(socket) == Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{IoSlice, Read, Write},
        mem::MaybeUninit,
    };

    use rustix::{
        io::Errno,
        net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    };

    use super::*;

    fn send_itself(socket: &UnixStream) -> Result<usize, Errno> {
        let files = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(socket, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL)
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a test that shows nothing says so")]
    fn a_function_cannot_send_descriptors_but_bytes_both_ways() {
        let (mut ours, mut theirs) = frame_pair().unwrap();
        if refuses_descriptors(&ours) {
            assert_eq!(send_itself(&theirs), Err(Errno::PERM));
        } else {
            println!("left out: this kernel cannot refuse descriptors");
        }
        let (mut order, mut reply) = ([0; 5], [0; 6]);
        ours.write_all(b"order").unwrap();
        theirs.write_all(b"answer").unwrap();
        theirs.read_exact(&mut order).unwrap();
        ours.read_exact(&mut reply).unwrap();
        assert_eq!((&order, &reply), (b"order", b"answer"));
    }

    #[test]
    fn an_ordinary_socket_is_not_taken_for_one_that_refuses() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(!refuses_descriptors(&ours));
        assert_eq!(send_itself(&theirs), Ok(1));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!refuses_descriptors(file));
    }
}
