//! One process per folder: an advisory lock on a file that also says who holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Held as long as this value lives. The system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process just being started holds a copy of the descriptor until it runs its own
        // program, and the lock would outlive us by that moment. Unlocking counts for all copies.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn name_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// More digits than any process id has.
const PID_BYTES_MAX: u64 = 20;

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        // Not truncated on opening: the file may name the process that holds the lock.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The holder may be between taking the lock and writing its number: then we do not know it.
                let pid = match (&mut file).take(PID_BYTES_MAX).read_to_string(&mut text) {
                    Ok(_) => text.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(Error::Locked { path: path.to_owned(), pid });
            }
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
        // The lock holds without its number too: a full disk must not keep the store from being opened and read.
        if let Err(error) = name_holder(&mut file) {
            tracing::warn!(%error, path = %path.display(), "the lock file does not say who holds it");
        }
        Ok(Self { file })
    }
}
