//! What can go wrong in a store, told apart by what the caller should do about it.

use std::io;
use std::path::PathBuf;

/// Why a call on the store failed. Whatever the variant, nothing of the failed call is visible afterwards, except that
/// after [`Error::Io`] during a commit a restart may still find it (the disk answered neither yes nor no).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A check of the commit does not hold any more: read again and apply again.
    #[error("the records read have changed since")]
    Conflict,
    /// Another process (or another [`crate::Embedded`] of this one) uses the folder.
    #[error("{} is in use by {}", path.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked { path: PathBuf, pid: Option<u32> },
    /// The disk, a quota or the configured size is exhausted, or the file system is read-only. Reads go on.
    #[error("the store has no room left, or its file system is read-only")]
    Full,
    /// The queue holds as many messages of an account as it may.
    #[error("too many messages of one account wait in the queue")]
    Crowded,
    /// Every read connection stayed in use for as long as a caller waits.
    #[error("too many snapshots are open")]
    Busy,
    /// What is on disk is not what this store wrote. Never repaired and never recreated silently.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("the store failed: {0}")]
    Io(io::Error),
    /// The call itself is wrong: a limit of [`crate::limits`] passed, a malformed hash.
    #[error("the store refuses the call: {0}")]
    Invalid(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::ReadOnlyFilesystem => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            // Everything else is a row that does not have the shape this store writes, or our own misuse.
            return Self::Corrupt(error.to_string());
        };
        match failure.code {
            ErrorCode::DiskFull | ErrorCode::ReadOnly => Self::Full,
            // The shared-memory file beside the write-ahead log could not grow.
            _ if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(error.to_string()),
            ErrorCode::TooBig => Self::Invalid(error.to_string()),
            _ => Self::Io(io::Error::other(error)),
        }
    }
}
