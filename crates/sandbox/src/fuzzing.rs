//! What comes to the launcher and into a sandbox, and the launcher's replies, for fuzz targets alone.

use std::path::PathBuf;

use crate::{
    Exec,
    exec::HEAD_BYTES,
    protocol::{Command, MESSAGE_BYTES_MAX, Reply},
};

/// Longest message between server and launcher, bytes.
pub const LAUNCHER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Reads a request to the launcher. `None`: it is refused; else how it is written again, if it can be.
#[must_use]
pub fn command(bytes: &[u8]) -> Option<Option<Vec<u8>>> {
    Command::parse(bytes).ok().map(|command| command.encode().ok())
}

/// The paths a request to the launcher names; none if it is refused.
#[must_use]
pub fn paths(bytes: &[u8]) -> Vec<PathBuf> {
    match Command::parse(bytes) {
        Ok(Command::Prepare { runtime_dir, .. }) => vec![runtime_dir],
        Ok(Command::Provide { host, inside }) => vec![host, inside],
        Ok(Command::Launch { request, .. } | Command::Assign { request, .. }) => {
            request.code.into_iter().chain(request.layers).collect()
        }
        Ok(Command::Kill { .. } | Command::Reap { .. }) | Err(_) => Vec::new(),
    }
}

/// Reads a reply of the launcher; as [`command`].
#[must_use]
pub fn reply(bytes: &[u8]) -> Option<Option<Vec<u8>>> {
    Reply::parse(bytes).ok().map(|reply| reply.encode().ok())
}

/// Reads what is to be executed, its length in front, from all of `bytes`. `None`: it is refused.
#[must_use]
pub fn exec(bytes: &[u8]) -> Option<Exec> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let length = Exec::length(*head).ok()?;
    rest.get(..length).filter(|part| part.len() == rest.len()).and_then(|part| Exec::decode(part).ok())
}

/// How it is written, its length in front. `None`: it is refused.
#[must_use]
pub fn written(exec: &Exec) -> Option<Vec<u8>> {
    exec.encode().ok()
}
