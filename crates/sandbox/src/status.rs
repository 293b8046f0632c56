//! How a program ended: fixed records of 32 bytes on the status pipe, written by what is inside, read by the server.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

/// Size of a record. Less than a pipe's atomic write, so a record is there whole or not at all.
const RECORD_BYTES: usize = 32;
/// Longest name of a step in a record.
const STEP_BYTES_MAX: usize = 26;

const ENDED: u8 = 1;
const NOT_EXECUTED: u8 = 2;

/// How the program of a sandbox ended, as read from [`crate::Launched::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It could not be executed: the host's error number.
    NotExecuted(i32),
    /// The sandbox was killed from outside before it could tell.
    Killed,
}

/// Reads how the program ended, once [`crate::Launched::pidfd`] is readable. Never blocks.
///
/// The record is taken out of the pipe: a second call answers [`Exit::Killed`].
#[must_use]
pub fn exit(status: &OwnedFd) -> Exit {
    read(status).0
}

/// Like [`exit`], with the step that failed when the program could not be executed: `execve`, or the mechanism that
/// could not be put on.
#[must_use]
pub fn exit_and_step(status: &OwnedFd) -> (Exit, String) {
    read(status)
}

fn read(status: &OwnedFd) -> (Exit, String) {
    let killed = (Exit::Killed, String::new());
    // A writer that is still there (it should not be) must not make us wait.
    let flags = rustix::fs::fcntl_getfl(status).unwrap_or(rustix::fs::OFlags::empty());
    if rustix::fs::fcntl_setfl(status, flags | rustix::fs::OFlags::NONBLOCK).is_err() {
        return killed;
    }
    let mut record = [0_u8; RECORD_BYTES];
    // The first record counts: what could not be executed is told before its process ends.
    match rustix::io::retry_on_intr(|| rustix::io::read(status, &mut record)) {
        Ok(RECORD_BYTES) => parse(&record).unwrap_or(killed),
        _ => killed,
    }
}

/// Kind, length of the step's name, the name, a number (little endian).
fn parse(record: &[u8; RECORD_BYTES]) -> Option<(Exit, String)> {
    let [kind, length, step @ .., a, b, c, d] = record;
    let value = i32::from_le_bytes([*a, *b, *c, *d]);
    let step = step.get(..usize::from(*length))?;
    let exit = match *kind {
        // The raw status of wait: a signal in the low seven bits, otherwise a code in the next byte.
        ENDED if value & 0x7f == 0 => Exit::Code((value >> 8) & 0xff),
        ENDED => Exit::Signal(value & 0x7f),
        NOT_EXECUTED => Exit::NotExecuted(value),
        _ => return None,
    };
    Some((exit, String::from_utf8_lossy(step).into_owned()))
}

fn record(kind: u8, step: &str, value: i32) -> [u8; RECORD_BYTES] {
    let mut record = [0_u8; RECORD_BYTES];
    let step = step.as_bytes();
    let step = step.get(..STEP_BYTES_MAX).unwrap_or(step);
    let parts = [&[kind, step.len() as u8][..], step];
    for (place, byte) in record.iter_mut().zip(parts.iter().copied().flatten()) {
        *place = *byte;
    }
    let value = value.to_le_bytes();
    for (place, byte) in record.iter_mut().rev().zip(value.iter().rev()) {
        *place = *byte;
    }
    record
}

/// Tells that the program ended with this raw wait status.
pub(crate) fn tell_ended(pipe: impl AsFd, raw: i32) {
    // Nobody may be listening any more; there is nobody else to tell.
    let _ = rustix::io::write(pipe, &record(ENDED, "", raw));
}

/// Tells that `step` failed and the program has not been executed.
pub(crate) fn tell_not_executed(pipe: impl AsFd, step: &str, error: Errno) {
    let _ = rustix::io::write(pipe, &record(NOT_EXECUTED, step, error.raw_os_error()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_a_pipe(tell: impl FnOnce(&OwnedFd)) -> (Exit, String) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        tell(&writer);
        read(&reader)
    }

    #[test]
    fn a_wait_status_comes_back_as_code_or_signal() {
        for (raw, exit) in [
            (0, Exit::Code(0)),
            (3 << 8, Exit::Code(3)),
            (255 << 8, Exit::Code(255)),
            (9, Exit::Signal(9)),
            (11 | 0x80, Exit::Signal(11)),
        ] {
            assert_eq!(through_a_pipe(|pipe| tell_ended(pipe, raw)).0, exit, "{raw:#x}");
        }
    }

    #[test]
    fn what_was_not_executed_names_its_step_and_wins_over_the_exit_code() {
        let told = through_a_pipe(|pipe| {
            tell_not_executed(pipe, "a step with a name that is much too long", Errno::NOENT);
            tell_ended(pipe, 127 << 8);
        });
        assert_eq!(told, (Exit::NotExecuted(2), "a step with a name that is ".trim_end().to_owned()));
    }

    #[test]
    fn silence_and_garbage_are_a_kill() {
        assert_eq!(through_a_pipe(|_| ()).0, Exit::Killed);
        for garbage in [&[0_u8; 32][..], &[1, 200, 0], &[1, 27].repeat(16), &[9; 32]] {
            let told = through_a_pipe(|pipe| {
                rustix::io::write(pipe, garbage).unwrap();
            });
            assert_eq!(told.0, Exit::Killed, "{garbage:?}");
        }
    }
}
