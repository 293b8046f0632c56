//! The directory that stands for `/tmp` where nothing can be mounted: how full it is, and how it is emptied.
//!
//! Both go by rights of the function's own user, so that nothing which is not the function's can be harmed, whatever it
//! has made of its directory. Neither follows a link, and neither recurses: a directory may be deeper than a stack.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Deepest directory that is measured; a deeper one counts as too much.
const DEPTH_MAX: usize = 64;
/// Of a file, in the kernel's count.
const BLOCK_BYTES: u64 = 512;
/// Files and directories: one per this many bytes.
const BYTES_PER_FILE: u64 = 16_384;
/// At least this many.
const FILES_MIN: u64 = 4_096;
/// And at most this many.
const FILES_MAX: u64 = 655_360;

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub bytes: u64,
    pub files: u64,
}

/// How many files and directories a `/tmp` of this size may hold.
pub(super) fn files_max(bytes: u64) -> u64 {
    (bytes / BYTES_PER_FILE).clamp(FILES_MIN, FILES_MAX)
}

/// Adds up what lies below a directory, up to `most` bytes.
///
/// `None` when it is more, in bytes or in files, or is deeper than can be looked at or closed to whoever made it.
pub(super) fn measure(directory: &Path, most: u64) -> Option<Held> {
    let files_max = files_max(most);
    let mut held = Held::default();
    let mut open: Vec<(PathBuf, usize)> = vec![(directory.to_path_buf(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if has_vanished(&error) => continue,
            Err(_) => return None,
        };
        for entry in entries.flatten() {
            // Of the entry itself, not of what a link leads to.
            let Ok(found) = entry.metadata() else { continue };
            held.files += 1;
            held.bytes = held.bytes.saturating_add(found.blocks().saturating_mul(BLOCK_BYTES));
            if held.files > files_max || held.bytes > most {
                return None;
            }
            if found.is_dir() {
                if depth >= DEPTH_MAX {
                    return None;
                }
                open.push((entry.path(), depth + 1));
            }
        }
    }
    Some(held)
}

/// Whether the function has removed or replaced it meanwhile.
fn has_vanished(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Removes all that lies in a directory. Nobody else may be at work in it.
///
/// What lies deeper is carried up, one level at a time.
///
/// # Errors
/// The host's; called again it goes on.
pub(super) fn wipe(directory: &Path) -> io::Result<()> {
    let mut carried = 0_u64;
    loop {
        let mut empty = true;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            empty = false;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            let path = entry.path();
            open_up(&path)?;
            for inner in fs::read_dir(&path)? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    open_up(&inner.path())?;
                    carry_up(&inner.path(), directory, &mut carried)?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(&path)?;
        }
        if empty {
            return Ok(());
        }
    }
}

/// A directory is moved and looked into by who may write and search it.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// Moves a directory to the top, under a name that nothing there has.
fn carry_up(from: &Path, top: &Path, carried: &mut u64) -> io::Result<()> {
    loop {
        *carried += 1;
        let to = top.join(format!(".carried-{carried}"));
        if fs::symlink_metadata(&to).is_err() {
            return fs::rename(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_too_much_is_known_without_counting_it_all() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(measure(directory.path(), 1 << 20), Some(Held::default()));
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/b"), vec![1; 300_000]).unwrap();
        // Links lead nowhere, neither to files nor to directories.
        symlink("/usr", at("usr")).unwrap();
        let held = measure(directory.path(), 1 << 20).unwrap();
        assert_eq!(held.files, 3);
        assert!((300_000..400_000).contains(&held.bytes), "{held:?}");
        assert_eq!(measure(directory.path(), 200_000), None);
        let deep = (0..=DEPTH_MAX).fold(at("deep"), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        assert_eq!(measure(directory.path(), 1 << 20), None, "too deep");
        assert_eq!(measure(&at("nothing"), 1), Some(Held::default()), "what is gone is nothing");
    }

    #[test]
    fn too_many_files_are_too_much_however_small() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MIN {
            fs::write(directory.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(measure(directory.path(), 1 << 20), None);
        assert_eq!(files_max(1 << 20), FILES_MIN);
        assert_eq!(files_max(u64::MAX), FILES_MAX);
    }

    #[test]
    fn everything_goes_however_deep_closed_or_oddly_named_and_what_links_lead_to_stays() {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = other.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        let at = |name: &str| directory.path().join(name);
        // Deeper than a path is long.
        let mut path = at("d");
        fs::create_dir(&path).unwrap();
        for _ in 0..700 {
            path.push("dddd");
        }
        fs::create_dir_all(&path).unwrap();
        let deeper = at("d");
        let long = "x".repeat(200);
        for _ in 0..8 {
            // The chain is hung below a new one, so that its end has no name any more that a call would take.
            let below = at("e");
            fs::create_dir_all(below.join(&long)).unwrap();
            fs::rename(&deeper, below.join(&long).join("d")).unwrap();
            fs::rename(&below, &deeper).unwrap();
        }
        fs::create_dir_all(at("closed/inner")).unwrap();
        fs::write(at("closed/inner/file"), "x").unwrap();
        symlink(other.path(), at("closed/link")).unwrap();
        symlink(&kept, at("link")).unwrap();
        fs::create_dir(at(".carried-1")).unwrap();
        for name in ["closed/inner", "closed"] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        wipe(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
    }
}
