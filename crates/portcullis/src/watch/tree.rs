//! News of the files below a directory: inotify, one watch a directory.
//!
//! Source: inotify(7).

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::pack::is_left_out;

/// Directories watched for one package.
const DIRECTORIES_MAX: usize = 8_192;
/// Files that are believed to be written just now.
const WRITTEN_MAX: usize = 4_096;
/// Bytes of events read at once.
const EVENTS_BYTES: usize = 16 << 10;

/// What is watched below one directory, and what has happened there.
pub struct Tree {
    root: PathBuf,
    inotify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    /// Files that were written to and are not closed yet, by watch and name, since when.
    written: HashMap<(i32, OsString), Instant>,
}

impl Tree {
    /// Watches a directory and everything below it.
    ///
    /// # Errors
    /// When it cannot be read, or the host lets nobody watch more.
    pub fn watch(root: &Path) -> io::Result<Tree> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut tree = Tree { root: root.to_owned(), inotify, directories: HashMap::new(), written: HashMap::new() };
        tree.add(root.to_owned())?;
        Ok(tree)
    }

    /// Since when the file is being written that was begun first, if one is.
    #[must_use]
    pub fn written_since(&self) -> Option<Instant> {
        self.written.values().min().copied()
    }

    /// Reads what has happened; whether anything has. Never waits.
    ///
    /// # Errors
    /// When the directory itself is gone, or a new one cannot be watched.
    pub fn news(&mut self, now: Instant) -> io::Result<bool> {
        let mut events = Vec::new();
        {
            let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
            let mut reader = Reader::new(&self.inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        events.push((event.wd(), event.events(), name));
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let mut any = false;
        for (watch, happened, name) in events {
            any |= self.take(now, watch, happened, name)?;
        }
        Ok(any)
    }

    fn take(&mut self, now: Instant, watch: i32, happened: ReadFlags, name: Option<OsString>) -> io::Result<bool> {
        if happened.contains(ReadFlags::QUEUE_OVERFLOW) {
            // What was missed may be anything.
            self.written.clear();
            self.add(self.root.clone())?;
            return Ok(true);
        }
        if happened.contains(ReadFlags::IGNORED) {
            self.directories.remove(&watch);
            return Ok(false);
        }
        let Some(directory) = self.directories.get(&watch).cloned() else { return Ok(false) };
        if directory == self.root && happened.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the directory was removed or moved away"));
        }
        let Some(name) = name else { return Ok(true) };
        if is_left_out(&name) {
            return Ok(false);
        }
        if happened.contains(ReadFlags::ISDIR) {
            if happened.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                match self.add(directory.join(&name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            return Ok(true);
        }
        let key = (watch, name);
        if happened.contains(ReadFlags::MODIFY) {
            if self.written.len() < WRITTEN_MAX {
                self.written.entry(key).or_insert(now);
            }
        } else if happened
            .intersects(ReadFlags::CLOSE_WRITE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO)
        {
            self.written.remove(&key);
        }
        Ok(true)
    }

    /// Watches a directory and what is below it. Links are not followed: what they lead to is watched where it lies.
    fn add(&mut self, directory: PathBuf) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        let mut left = vec![directory];
        let mut seen = HashSet::new();
        while let Some(directory) = left.pop() {
            let watch = match inotify::add_watch(&self.inotify, &directory, flags) {
                Ok(watch) => watch,
                Err(Errno::NOSPC) => {
                    return Err(io::Error::other(
                        "this user watches as many directories as the host allows; raise fs.inotify.max_user_watches",
                    ));
                }
                Err(error) => return Err(error.into()),
            };
            if !seen.insert(watch) {
                continue;
            }
            self.directories.insert(watch, directory.clone());
            if self.directories.len() > DIRECTORIES_MAX {
                return Err(io::Error::other(format!("there are more than {DIRECTORIES_MAX} directories below it")));
            }
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() && !is_left_out(&entry.file_name()) {
                    left.push(entry.path());
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn files_of_old_and_new_directories_are_news_until_all_is_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("old")).unwrap();
        let mut tree = Tree::watch(dir.path()).unwrap();
        let now = Instant::now();
        assert!(!tree.news(now).unwrap());
        fs::write(dir.path().join("old/a"), "x").unwrap();
        assert!(tree.news(now).unwrap());
        assert!(!tree.news(now).unwrap());
        fs::create_dir_all(dir.path().join("new/inner")).unwrap();
        assert!(tree.news(now).unwrap());
        fs::write(dir.path().join("new/inner/b"), "x").unwrap();
        assert!(tree.news(now).unwrap());
        fs::rename(dir.path().join("old/a"), dir.path().join("c")).unwrap();
        assert!(tree.news(now).unwrap());
        fs::create_dir(dir.path().join("__pycache__")).unwrap();
        fs::write(dir.path().join("__pycache__/d"), "x").unwrap();
        assert!(!tree.news(now).unwrap());
    }

    #[test]
    fn a_file_is_being_written_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::watch(dir.path()).unwrap();
        let now = Instant::now();
        let mut file = fs::File::create(dir.path().join("a")).unwrap();
        file.write_all(b"half").unwrap();
        assert!(tree.news(now).unwrap());
        assert_eq!(tree.written_since(), Some(now));
        drop(file);
        assert!(tree.news(now).unwrap());
        assert_eq!(tree.written_since(), None);
    }

    #[test]
    fn a_directory_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut tree = Tree::watch(&root).unwrap();
        fs::remove_dir(&root).unwrap();
        assert!(tree.news(Instant::now()).is_err());
    }
}
