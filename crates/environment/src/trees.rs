//! Unpacked code and merged layers, by their content: directories that appear whole or not at all, and never change.
//!
//! Layers are laid over each other in their order: what a later one has replaces what an earlier one had at the same
//! place, directories are united. Nothing here follows a link of a package; links are carried over as they are, and mean
//! something only inside a sandbox.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use lambda::invoke::{LayerCode, Revision};
use sha2::{Digest, Sha256};

use crate::package::{self, DEPTH_MAX, PackageError};

/// The directory of a revision's code, unpacked now if it is not there. Blocks.
///
/// # Errors
/// As for [`package::unpack`]; a zip that is not what its name says is damaged.
pub(crate) fn code(data_dir: &Path, revision: &Revision) -> Result<PathBuf, PackageError> {
    unpacked(&data_dir.join("code"), &revision.code_sha256, &revision.code_zip)
}

/// The directory of a revision's layers, unpacked and merged now if it is not there; `None` if it has none. Blocks.
///
/// # Errors
/// As for [`code`], and [`PackageError::Extension`].
pub(crate) fn layers(data_dir: &Path, revision: &Revision) -> Result<Option<PathBuf>, PackageError> {
    let root = data_dir.join("code");
    let tree = match revision.layers.as_slice() {
        [] => return Ok(None),
        [only] => unpacked(&root, &only.sha256, &only.zip)?,
        many => merged(&root, many)?,
    };
    match extension(&tree).map_err(PackageError::Io)? {
        Some(name) => Err(PackageError::Extension(name)),
        None => Ok(Some(tree)),
    }
}

/// The first external extension in a tree that will be seen as `/opt`: any file directly in `extensions`, for AWS tries
/// to start each of them. Source: AWS Lambda Developer Guide, "Lambda Extensions API".
fn extension(tree: &Path) -> io::Result<Option<String>> {
    let directory = tree.join("extensions");
    // A link would be followed inside only, and may lead to programs there.
    match fs::symlink_metadata(&directory) {
        Ok(found) if found.is_symlink() => return Ok(Some("*".to_owned())),
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            names.push(entry.file_name());
        }
    }
    Ok(names.into_iter().min().map(|name| name.to_string_lossy().escape_debug().collect()))
}

fn unpacked(root: &Path, hash: &str, zip: &Path) -> Result<PathBuf, PackageError> {
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(PackageError::Malformed("the package has no valid hash".into()));
    }
    let tree = root.join(hash);
    if tree.is_dir() {
        return Ok(tree);
    }
    let found = package::unpack(zip, root)?;
    if found != tree {
        return Err(PackageError::Malformed("the stored package does not have the hash it is stored under".into()));
    }
    Ok(tree)
}

fn merged(root: &Path, layers: &[LayerCode]) -> Result<PathBuf, PackageError> {
    let mut digest = Sha256::new_with_prefix("layers");
    for layer in layers {
        digest.update(layer.sha256.as_bytes());
    }
    let target = root.join(format!("layers-{}", hex::encode(digest.finalize())));
    if target.is_dir() {
        return Ok(target);
    }
    let trees: Vec<PathBuf> =
        layers.iter().map(|layer| unpacked(root, &layer.sha256, &layer.zip)).collect::<Result<_, _>>()?;
    let building = tempfile::Builder::new().prefix(".merging-").tempdir_in(root).map_err(PackageError::Io)?;
    for tree in &trees {
        lay_over(tree, building.path(), 0).map_err(PackageError::Io)?;
    }
    fs::set_permissions(building.path(), fs::Permissions::from_mode(0o755)).map_err(PackageError::Io)?;
    match fs::rename(building.path(), &target) {
        Ok(()) => {
            let _ = building.keep();
            Ok(target)
        }
        // Somebody else was first; the same layers in the same order are the same tree.
        Err(_) if target.is_dir() => Ok(target),
        Err(error) => Err(PackageError::Io(error)),
    }
}

/// Lays one tree over another. Files are linked rather than copied: both trees are read-only to whoever sees them.
fn lay_over(from: &Path, onto: &Path, depth: usize) -> io::Result<()> {
    // Unpacking has refused what is deeper.
    if depth > DEPTH_MAX {
        return Err(io::Error::other("a layer is too deep"));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, place) = (entry.path(), onto.join(entry.file_name()));
        // Of the entry itself: a link is not followed.
        let kind = entry.file_type()?;
        let present = match fs::symlink_metadata(&place) {
            Ok(present) => Some(present.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let unites = kind.is_dir() && present.is_some_and(|present| present.is_dir());
        match present {
            Some(present) if present.is_dir() && !unites => fs::remove_dir_all(&place)?,
            Some(present) if !present.is_dir() => fs::remove_file(&place)?,
            _ => {}
        }
        if kind.is_dir() {
            if !unites {
                fs::create_dir(&place)?;
                fs::set_permissions(&place, entry.metadata()?.permissions())?;
            }
            lay_over(&source, &place, depth.saturating_add(1))?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &place)?;
        } else if fs::hard_link(&source, &place).is_err() {
            // A file may have only so many names.
            fs::copy(&source, &place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// A stored zip of these files; a content that begins with `->` is a link.
    fn layer(directory: &Path, files: &[(&str, &str)]) -> LayerCode {
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            match content.strip_prefix("->") {
                Some(target) => writer.add_symlink(*name, target, SimpleFileOptions::default()).unwrap(),
                None => {
                    writer.start_file(*name, SimpleFileOptions::default()).unwrap();
                    writer.write_all(content.as_bytes()).unwrap();
                }
            }
        }
        let bytes = writer.finish().unwrap().into_inner();
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let zip = directory.join(&sha256);
        fs::write(&zip, bytes).unwrap();
        LayerCode { sha256, zip }
    }

    #[test]
    fn external_extensions_are_found_wherever_they_come_from() {
        type Layers<'a> = &'a [&'a [(&'a str, &'a str)]];
        let cases: [(Layers<'_>, Option<&str>); 6] = [
            (&[&[("python/extensions/a", "1"), ("extensions.txt", "1")]], None),
            (&[&[("extensions/lib/a", "1")]], None),
            (&[&[("extensions/b", "1"), ("extensions/a", "->../b")]], Some("a")),
            (&[&[("extensions", "->programs"), ("programs/a", "1")]], Some("*")),
            (&[&[("extensions/a", "1")], &[("python/x", "1")]], Some("a")),
            // The later layer leaves nothing of it.
            (&[&[("extensions/a", "1")], &[("extensions", "1")]], None),
        ];
        for (layers_of, expected) in cases {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("code")).unwrap();
            let mut revision = crate::pool::blank_revision(128);
            revision.layers = layers_of.iter().map(|files| layer(directory.path(), files)).collect();
            for _ in 0..2 {
                let found = match layers(directory.path(), &revision) {
                    Ok(tree) => tree.map(|_| None).unwrap(),
                    Err(PackageError::Extension(name)) => Some(name),
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(found.as_deref(), expected, "{layers_of:?}");
            }
        }
    }

    #[test]
    fn a_later_layer_replaces_what_an_earlier_one_has() {
        let directory = tempfile::tempdir().unwrap();
        let (stored, root) = (directory.path().join("stored"), directory.path().join("code"));
        fs::create_dir(&stored).unwrap();
        fs::create_dir(&root).unwrap();
        let first = layer(&stored, &[("a/b", "1"), ("a/c", "1"), ("d", "1"), ("e/f", "1"), ("g", "->a")]);
        let second = layer(&stored, &[("a/b", "2"), ("d/x", "2"), ("e", "2"), ("g/h", "2")]);
        let tree = merged(&root, &[first.clone(), second.clone()]).unwrap();
        let read = |name: &str| fs::read_to_string(tree.join(name)).unwrap();
        for (name, content) in [("a/b", "2"), ("a/c", "1"), ("d/x", "2"), ("e", "2"), ("g/h", "2")] {
            assert_eq!(read(name), content, "{name}");
        }
        assert!(!tree.join("a/h").exists(), "nothing is written through a link");
        let other = merged(&root, &[second, first.clone()]).unwrap();
        assert_ne!(tree, other, "the order counts");
        assert_eq!(fs::read_link(other.join("g")).unwrap(), Path::new("a"));
        assert_eq!(fs::read_to_string(root.join(&first.sha256).join("a/b")).unwrap(), "1", "layers are left alone");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4, "nothing half done is left");
    }
}
