//! How long a thread keeps a core before another one that has become ready gets it.
//!
//! The kernel lets a thread that runs finish its turn unless the one that has just become ready takes shorter turns
//! (`PREEMPT_SHORT` of its fair scheduler, EEVDF). What answers somebody runs for a tenth of a millisecond and then waits;
//! with the usual turns it would stand behind every function that computes, for milliseconds, whatever its share is. So
//! the server takes the shortest turns there are, and functions longer ones. Nobody gets more of the processor by it.
//!
//! Before Linux 6.12 a turn's length is not a thread's own, and nothing changes.
//!
//! Source: Linux kernel, `kernel/sched/fair.c` and `kernel/sched/syscalls.c` (`sched_runtime` of `SCHED_OTHER`).

use std::{io, time::Duration};

use rustix::io::Errno;

/// The shortest the kernel knows.
const SERVER: Duration = Duration::from_micros(100);
/// Longer than the server's, shorter than the usual one (700 µs on one core, more on several).
pub(crate) const FUNCTION: Duration = Duration::from_micros(400);

/// `struct sched_attr` of the kernel, as it was first.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const BYTES: u32 = size_of::<Attributes>() as u32;

/// Has the calling thread, and what it starts from now on, take the shortest turns there are: for a server, before it
/// starts any thread.
///
/// # Errors
/// The host's. Everything works without it, less smoothly when cores are short.
pub fn take_short_turns() -> io::Result<()> {
    take(SERVER).map_err(io::Error::from)
}

/// Sets the length of the calling thread's turns; what somebody has put into another class of scheduling stays as it is.
pub(crate) fn take(turn: Duration) -> Result<(), Errno> {
    let mut attributes = attributes()?;
    if attributes.policy == libc::SCHED_OTHER.unsigned_abs() {
        attributes.runtime_ns = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        set(&attributes)?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "rustix does not offer sched_getattr")]
fn attributes() -> Result<Attributes, Errno> {
    let mut attributes = Attributes { size: BYTES, ..Attributes::default() };
    // SAFETY: the structure is the kernel's first version, writable, and its size is told; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, BYTES, 0) };
    if result == 0 { Ok(attributes) } else { Err(last_error()) }
}

#[expect(unsafe_code, reason = "rustix does not offer sched_setattr")]
fn set(attributes: &Attributes) -> Result<(), Errno> {
    // SAFETY: the structure lives through the call and tells its own size; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_hands_its_turns_down_and_keeps_its_nice_value() {
        std::thread::spawn(|| {
            let before = attributes().unwrap();
            take(FUNCTION).unwrap();
            let after = std::thread::spawn(|| attributes().unwrap()).join().unwrap();
            assert_eq!((after.policy, after.nice), (before.policy, before.nice));
            // An older kernel tells 0, and has no turns of a thread's own.
            assert!(after.runtime_ns == 0 || after.runtime_ns == 400_000, "{after:?}");
        })
        .join()
        .unwrap();
    }
}
