//! Writing below one directory and nowhere else.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat, symlinkat},
    io::Errno,
};

/// A directory under construction.
///
/// Every step of a path is opened from the one before and never through a link, whatever an earlier entry made there:
/// what that would catch has been refused before, so this is the second line. Modes are set whatever the server's mask
/// is, for another user reads what is written here.
pub(super) struct Tree {
    root: OwnedFd,
    /// The directory used last: most entries follow others of their directory.
    last: Option<(Vec<String>, OwnedFd)>,
}

impl Tree {
    pub(super) fn open(path: &Path) -> io::Result<Tree> {
        let root = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tree { root, last: None })
    }

    /// Makes a directory with those above it, as far as they are missing.
    pub(super) fn directory(&mut self, parts: &[String]) -> io::Result<BorrowedFd<'_>> {
        if parts.is_empty() {
            return Ok(self.root.as_fd());
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != parts) {
            let mut at = self.root.try_clone()?;
            for part in parts {
                let made = match mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(error) => return Err(error.into()),
                };
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                at = openat(&at, part, flags, Mode::empty())?;
                if made {
                    fchmod(&at, Mode::from_raw_mode(0o755))?;
                }
            }
            self.last = Some((parts.to_vec(), at));
        }
        self.last.as_ref().map(|(_, last)| last.as_fd()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a file that is not there yet. Readable by all whatever the package says (AWS answers with a permission
    /// error at run time instead), writable by nobody else, without setuid.
    pub(super) fn file(&mut self, parts: &[String], mode: u32) -> io::Result<File> {
        let (name, parents) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.directory(parents)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        fchmod(&file, Mode::from_raw_mode(mode & 0o755 | 0o444))?;
        Ok(File::from(file))
    }

    /// Makes a link, which is not followed.
    pub(super) fn link(&mut self, parts: &[String], target: &str) -> io::Result<()> {
        let (name, parents) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        symlinkat(target, self.directory(parents)?, name)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn parts(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink(outside.join("file"), inside.join("file")).unwrap();
        let mut tree = Tree::open(&inside).unwrap();
        assert!(tree.file(&parts("link/file"), 0o644).is_err());
        assert!(tree.directory(&parts("link/made")).is_err());
        assert!(tree.link(&parts("link/made"), "x").is_err());
        assert!(tree.file(&parts("file"), 0o644).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn whoever_runs_it_can_read_it_and_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(directory.path()).unwrap();
        for (name, given, kept) in [("a/b/plain", 0o600, 0o644), ("a/b/run", 0o4777, 0o755), ("a/none", 0, 0o444)] {
            drop(tree.file(&parts(name), given).unwrap());
            assert_eq!(std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o7777, kept);
        }
        assert_eq!(std::fs::metadata(directory.path().join("a/b")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(tree.file(&parts("a/none"), 0o644).is_err(), "twice");
    }
}
