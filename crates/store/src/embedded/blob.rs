//! Blobs as files: `blobs/<first two digits>/<hash>`, written aside, synced and renamed, so a name never shows half.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{Error, limits};

use super::schema::sync_dir;

const COPY_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Blobs {
    root: PathBuf,
    /// Where blobs are written before they have their name. On the same file system, else they could not be renamed.
    unborn: PathBuf,
}

/// Makes a folder only its owner may enter. Says whether it is new.
pub(super) fn make_dir(dir: &Path) -> Result<bool, Error> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Blobs {
    /// Opens the folder, makes it if there is none, and removes what interrupted writes left.
    pub(super) fn open(root: PathBuf) -> Result<Self, Error> {
        if make_dir(&root)? {
            root.parent().map_or(Ok(()), sync_dir)?;
        }
        let unborn = root.join("unborn");
        make_dir(&unborn)?;
        for leftover in fs::read_dir(&unborn)? {
            fs::remove_file(leftover?.path())?;
        }
        sync_dir(&root)?;
        Ok(Self { root, unborn })
    }

    fn dir(&self, hash: &str) -> Result<PathBuf, Error> {
        limits::check_hash(hash)?;
        Ok(self.root.join(&hash[..2]))
    }

    /// Where the blob of a well-formed hash is or would be.
    pub(super) fn path(&self, hash: &str) -> Result<PathBuf, Error> {
        Ok(self.dir(hash)?.join(hash))
    }

    pub(super) fn put(&self, bytes: &[u8]) -> Result<String, Error> {
        if bytes.len() as u64 > limits::BLOB_BYTES_MAX {
            return Err(Error::Invalid(format!("a blob of {} bytes", bytes.len())));
        }
        let hash = crate::hash(bytes);
        let path = self.path(&hash)?;
        // A file that has rotted since is written anew. One that is sound may just have been renamed by another
        // thread that has not synced the folder yet, so we do.
        if fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64) && fs::read(&path)? == bytes {
            sync_dir(&self.dir(&hash)?)?;
            return Ok(hash);
        }
        let mut file = NamedTempFile::new_in(&self.unborn)?;
        file.write_all(bytes)?;
        self.publish(file, &hash)?;
        Ok(hash)
    }

    fn publish(&self, file: NamedTempFile, hash: &str) -> Result<(), Error> {
        file.as_file().sync_all()?;
        let dir = self.dir(hash)?;
        make_dir(&dir)?;
        // Always, since another thread may have made the folder and not synced yet.
        sync_dir(&self.root)?;
        file.persist(dir.join(hash)).map_err(|error| error.error)?;
        sync_dir(&dir)
    }

    pub(super) fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, Error> {
        let bytes = match fs::read(self.path(hash)?) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if crate::hash(&bytes) != hash {
            return Err(rotten(hash));
        }
        Ok(Some(bytes))
    }

    pub(super) fn delete(&self, hash: &str) -> Result<bool, Error> {
        match fs::remove_file(self.path(hash)?) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        sync_dir(&self.dir(hash)?)?;
        Ok(true)
    }

    /// Copies every blob, checked, into `to`. One that is deleted meanwhile may be missing there.
    pub(super) fn copy_into(&self, to: &Self) -> Result<(), Error> {
        for dir in fs::read_dir(&self.root)? {
            let dir = dir?.path();
            if dir == self.unborn || !dir.is_dir() {
                continue;
            }
            for blob in fs::read_dir(dir)? {
                let blob = blob?;
                let Some(hash) = blob.file_name().to_str().filter(|name| limits::is_hash(name)).map(str::to_owned)
                else {
                    continue;
                };
                match File::open(blob.path()) {
                    Ok(from) => to.adopt(from, &hash)?,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Keeps what `from` reads under `hash`, if it has that hash.
    fn adopt(&self, mut from: File, hash: &str) -> Result<(), Error> {
        let mut file = NamedTempFile::new_in(&self.unborn)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            digest.update(read);
            file.write_all(read)?;
        }
        if hex::encode(digest.finalize()) != hash {
            return Err(rotten(hash));
        }
        self.publish(file, hash)
    }
}

fn rotten(hash: &str) -> Error {
    Error::Corrupt(format!("blob {hash} does not have its hash any more"))
}
