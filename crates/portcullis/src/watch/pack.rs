//! A directory as a deployment package, made in memory.
//!
//! The same files give the same bytes, so that what runs already is not sent again. Files are opened below the
//! directory and never out of it, whatever links say meanwhile.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Cursor, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2},
    io::Errno,
};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// Most files and directories. Source: what an upload may hold, too.
const ENTRIES_MAX: usize = 100_000;
/// Deepest directory.
const DEPTH_MAX: usize = 64;
/// All files together. Source: AWS Lambda Developer Guide, "Lambda quotas": 250 MB unzipped.
const BYTES_MAX: u64 = 262_144_000;

/// Directories that are about the code and no part of it.
const LEFT_OUT: [&[u8]; 5] = [b".git", b".hg", b".svn", b"__pycache__", b".venv"];

/// Why there is no package.
#[derive(Debug)]
pub enum Unpacked {
    /// Somebody is writing just now: try again soon.
    Changing,
    /// It cannot be one as it lies there; a sentence.
    Unusable(String),
}

/// Whether files of this name are left out, so that changes to them are no news.
#[must_use]
pub fn is_left_out(name: &OsStr) -> bool {
    LEFT_OUT.contains(&name.as_bytes())
}

/// Opens the directory a package is made of.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn open_root(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::empty()).or_else(|error| match error {
        Errno::NOSYS => open(directory, flags, Mode::empty()),
        error => Err(error),
    })?)
}

/// Opens a directory below another; no link on the way may lead out.
///
/// # Errors
/// [`Unpacked`], as for a part of the package.
pub fn open_below(parent: &OwnedFd, relative: &Path) -> Result<OwnedFd, Unpacked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(parent, relative, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        .map_err(|error| Unpacked::Unusable(format!("the directory cannot be read: {error}")))
}

/// Packs everything below a directory.
///
/// # Errors
/// [`Unpacked`].
pub fn pack(root: &OwnedFd) -> Result<Vec<u8>, Unpacked> {
    let mut packing = Packing { root, files: BTreeMap::new(), entries: 0, bytes: 0, above: Vec::new() };
    packing.directory(b"")?;
    if packing.files.is_empty() {
        return Err(Unpacked::Unusable("it holds no file".to_owned()));
    }
    zipped(&packing.files).map_err(|error| Unpacked::Unusable(format!("it cannot be packed: {error}")))
}

/// The files read so far.
struct Packing<'a> {
    root: &'a OwnedFd,
    /// Content and whether it may be executed, by path.
    files: BTreeMap<String, (Vec<u8>, bool)>,
    entries: usize,
    bytes: u64,
    /// Device and number of the directories on the way here: a link back up would lead round for ever.
    above: Vec<(u64, u64)>,
}

impl Packing<'_> {
    fn directory(&mut self, path: &[u8]) -> Result<(), Unpacked> {
        let opened = self.open(if path.is_empty() { b"." } else { path }, OFlags::DIRECTORY)?;
        let stat = fstat(&opened).map_err(|_| Unpacked::Changing)?;
        let own = (stat.st_dev, stat.st_ino);
        if self.above.contains(&own) || self.above.len() >= DEPTH_MAX {
            return Err(unusable(path, "is nested too deeply or leads back to where it lies"));
        }
        self.above.push(own);
        let mut names = Vec::new();
        for entry in Dir::new(opened).map_err(|_| Unpacked::Changing)? {
            let entry = entry.map_err(|_| Unpacked::Changing)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && !LEFT_OUT.contains(&name) {
                names.push(name.to_vec());
            }
        }
        names.sort();
        for name in names {
            self.entries = self.entries.saturating_add(1);
            if self.entries > ENTRIES_MAX {
                return Err(Unpacked::Unusable(format!("it holds more than {ENTRIES_MAX} files and directories")));
            }
            let inner = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            self.entry(&inner)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &[u8]) -> Result<(), Unpacked> {
        // A pipe would block, and a device do anything: neither is opened for reading.
        let opened = self.open(path, OFlags::PATH)?;
        let before = fstat(&opened).map_err(|_| Unpacked::Changing)?;
        match FileType::from_raw_mode(before.st_mode) {
            FileType::Directory => self.directory(path),
            FileType::RegularFile => self.file(path),
            _ => Err(unusable(path, "is neither a file nor a directory")),
        }
    }

    fn file(&mut self, path: &[u8]) -> Result<(), Unpacked> {
        let opened = self.open(path, OFlags::NONBLOCK)?;
        let before = fstat(&opened).map_err(|_| Unpacked::Changing)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(Unpacked::Changing);
        }
        let room = BYTES_MAX.saturating_sub(self.bytes);
        let mut content = Vec::new();
        let mut file = File::from(opened);
        let read = io::Read::by_ref(&mut file).take(room.saturating_add(1)).read_to_end(&mut content);
        let length = read.map_err(|_| Unpacked::Changing)? as u64;
        if length > room {
            return Err(Unpacked::Unusable(format!("its files have more than {BYTES_MAX} bytes together")));
        }
        let after = fstat(file.as_fd()).map_err(|_| Unpacked::Changing)?;
        if is_changed(&before, &after) || i64::try_from(length).ok() != Some(after.st_size) {
            return Err(Unpacked::Changing);
        }
        self.bytes = self.bytes.saturating_add(length);
        let Ok(name) = String::from_utf8(path.to_vec()) else {
            return Err(unusable(path, "has a name that is no UTF-8"));
        };
        self.files.insert(name, (content, before.st_mode & 0o111 != 0));
        Ok(())
    }

    /// Opens something below the root; links are followed as long as they stay there.
    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Unpacked> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        openat2(self.root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS).map_err(
            |error| match error {
                // Named a moment ago, so just now removed or replaced; or a link that leads nowhere.
                Errno::NOENT | Errno::AGAIN | Errno::NOTDIR => Unpacked::Changing,
                Errno::XDEV => unusable(path, "is a link that leads out of the directory"),
                Errno::LOOP => unusable(path, "is a link that leads to itself"),
                error => unusable(path, &format!("cannot be read: {error}")),
            },
        )
    }
}

fn is_changed(before: &Stat, after: &Stat) -> bool {
    let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    state(before) != state(after)
}

fn unusable(path: &[u8], why: &str) -> Unpacked {
    Unpacked::Unusable(format!("{} {why}", String::from_utf8_lossy(path)))
}

fn zipped(files: &BTreeMap<String, (Vec<u8>, bool)>) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, (content, is_executable)) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(DateTime::default())
            .unix_permissions(if *is_executable { 0o755 } else { 0o644 });
        archive.start_file(name.as_str(), options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn packed(dir: &Path) -> Result<Vec<u8>, Unpacked> {
        pack(&open_root(dir).unwrap())
    }

    fn names(zip: &[u8]) -> Vec<String> {
        let archive = zip::ZipArchive::new(Cursor::new(zip.to_vec())).unwrap();
        archive.file_names().map(|name| name.unwrap().into_owned()).collect()
    }

    #[test]
    fn the_same_files_are_the_same_package_and_nothing_else_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [("index.js", "a"), ("lib/b.js", "b"), (".git/HEAD", "x"), ("__pycache__/c", "y")] {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), content).unwrap();
        }
        symlink("b.js", dir.path().join("lib/link.js")).unwrap();
        let first = packed(dir.path()).unwrap();
        assert_eq!(names(&first), ["index.js", "lib/b.js", "lib/link.js"]);
        assert_eq!(packed(dir.path()).unwrap(), first);
        environment::package::inspect(&first).unwrap();
        fs::write(dir.path().join("index.js"), "c").unwrap();
        assert_ne!(packed(dir.path()).unwrap(), first);
    }

    #[test]
    fn nothing_outside_the_directory_gets_into_a_package() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        for (target, expected) in [
            (outside.path().join("secret"), "leads out"),
            (outside.path().to_owned(), "leads out"),
            ("../..".into(), "leads out"),
            (".".into(), "leads back"),
            ("loop".into(), "leads to itself"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("index.js"), "a").unwrap();
            symlink(&target, dir.path().join("loop")).unwrap();
            match packed(dir.path()) {
                Err(Unpacked::Unusable(why)) => assert!(why.contains(expected), "{why}"),
                other => panic!("{}: {other:?}", target.display()),
            }
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_an_empty_directory_too() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(packed(dir.path()), Err(Unpacked::Unusable(why)) if why.contains("no file")));
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(packed(dir.path()), Err(Unpacked::Unusable(why)) if why.contains("neither")));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_somebody_writing() {
        let dir = tempfile::tempdir().unwrap();
        symlink("gone", dir.path().join("index.js")).unwrap();
        assert!(matches!(packed(dir.path()), Err(Unpacked::Changing)));
    }
}
