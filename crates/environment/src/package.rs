//! Zip intake: a deployment package is checked before it is stored and unpacked on first use.
//!
//! Nothing a header says is believed: sizes are counted while inflating, names are taken apart, and whatever would
//! leave the directory or surprise a reader (links, devices, duplicate or overlapping entries) is refused whole.
//!
//! Source of the limits: AWS Lambda Developer Guide, "Lambda quotas".

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Cursor, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::Engine as _;
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipArchive};

mod tree;

use tree::Tree;

/// Size of a zip given inline or by S3, bytes.
pub const ZIP_BYTES_MAX: u64 = 52_428_800;
/// Size of everything unpacked, bytes.
pub const UNPACKED_BYTES_MAX: u64 = 262_144_000;
/// Files and directories in one package.
pub const ENTRIES_MAX: usize = 100_000;
/// Length of one name, bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Directories one below the other.
pub const DEPTH_MAX: usize = 64;
/// Length of a symbolic link's target, bytes.
const TARGET_BYTES_MAX: u64 = 1_024;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;

/// What is known of a zip once it has been inflated to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// `CodeSha256` of the API.
    pub sha256_base64: String,
    /// The same in hex: the name of the unpacked tree.
    pub sha256_hex: String,
    /// `CodeSize`, bytes.
    pub size: u64,
    /// Bytes when unpacked.
    pub unpacked: u64,
}

/// Why a package is not taken. The text is AWS's and may be answered as `InvalidParameterValueException`.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a zip, damaged, or holding what has no place in one; the field says what, for the log.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Malformed(String),
    /// No entry at all.
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    /// More than [`UNPACKED_BYTES_MAX`] when inflated.
    #[error("Unzipped size must be smaller than 262144000 bytes")]
    TooLarge,
    /// A layer brings an external extension, and with it a program that AWS would start beside the runtime. Without it
    /// the function would run, but not as its owner means it to: unobserved, or without its secrets.
    #[error(
        "A layer has the external extension `{0}` in /opt/extensions, and this server runs no external extensions."
    )]
    Extension(String),
    /// The disk's fault, not the package's.
    #[error("the package could not be unpacked: {0}")]
    Io(#[source] io::Error),
}

impl PackageError {
    /// Whether it is the package's fault; otherwise the same package may be taken another time.
    #[must_use]
    pub fn is_package(&self) -> bool {
        !matches!(self, PackageError::Io(_))
    }

    /// What was found, for the log; equal to the text for kinds that have no more to tell.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            PackageError::Malformed(detail) => detail.clone(),
            other => other.to_string(),
        }
    }
}

/// Where the contents of entries go.
enum Sink {
    Nowhere,
    Tree(Tree),
}

/// Checks a zip by inflating all of it, writing nothing. CPU-bound: up to about a second at the limits.
///
/// # Errors
/// [`PackageError`] as AWS words it.
pub fn inspect(zip: &[u8]) -> Result<Inspected, PackageError> {
    let unpacked = walk(Cursor::new(zip), zip.len() as u64, &mut Sink::Nowhere)?;
    let digest = Sha256::digest(zip);
    Ok(Inspected {
        sha256_base64: base64::engine::general_purpose::STANDARD.encode(digest),
        sha256_hex: hex::encode(digest),
        size: zip.len() as u64,
        unpacked,
    })
}

/// Unpacks the zip stored at `zip` to `into_root/<sha256 hex>` and gives that directory.
///
/// The tree appears whole or not at all: it is built beside and renamed. An existing tree is kept as it is, so two
/// callers may do this at once.
///
/// # Errors
/// [`PackageError`] as for [`inspect`], or [`PackageError::Io`].
pub fn unpack(zip: &Path, into_root: &Path) -> Result<PathBuf, PackageError> {
    let mut bytes = Vec::new();
    File::open(zip)
        .and_then(|file| file.take(ZIP_BYTES_MAX * 6 + 1).read_to_end(&mut bytes))
        .map_err(PackageError::Io)?;
    let target = into_root.join(hex::encode(Sha256::digest(&bytes)));
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(into_root).map_err(PackageError::Io)?;
    let building = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(into_root).map_err(PackageError::Io)?;
    let length = bytes.len() as u64;
    let tree = Tree::open(building.path()).map_err(PackageError::Io)?;
    walk(Cursor::new(bytes), length, &mut Sink::Tree(tree))?;
    fs::set_permissions(building.path(), fs::Permissions::from_mode(0o755)).map_err(PackageError::Io)?;
    File::open(building.path()).and_then(|directory| directory.sync_all()).map_err(PackageError::Io)?;
    match fs::rename(building.path(), &target) {
        Ok(()) => {
            let _ = building.keep();
            Ok(target)
        }
        // Somebody else was first; the same hash is the same tree.
        Err(_) if target.is_dir() => Ok(target),
        Err(error) => Err(PackageError::Io(error)),
    }
}

/// Goes through every entry, inflating to `sink`; gives the unpacked size.
fn walk<R: Read + Seek>(reader: R, length: u64, sink: &mut Sink) -> Result<u64, PackageError> {
    if length > ZIP_BYTES_MAX * 6 {
        return Err(PackageError::TooLarge);
    }
    let mut archive = ZipArchive::new(reader).map_err(malformed)?;
    if archive.is_empty() {
        return Err(PackageError::Empty);
    }
    if archive.len() > ENTRIES_MAX {
        return Err(PackageError::Malformed(format!("more than {ENTRIES_MAX} entries")));
    }
    if archive.has_duplicate_names() {
        return Err(PackageError::Malformed("two entries of one name".into()));
    }
    if archive.has_overlapping_entries().map_err(malformed)? {
        return Err(PackageError::Malformed("entries overlap".into()));
    }
    let mut plan = Plan::default();
    let mut budget = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(malformed)?;
        if entry.encrypted() {
            return Err(PackageError::Malformed("an entry is encrypted".into()));
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(PackageError::Malformed(format!("compression method {}", entry.compression())));
        }
        let parts = components(entry.name_raw())?;
        let mode = entry.unix_mode().unwrap_or(0);
        let directory = entry.name_raw().ends_with(b"/");
        match (mode & TYPE_MASK, directory) {
            (0 | TYPE_DIRECTORY, true) => {
                if entry.read(&mut [0]).map_err(damaged)? != 0 {
                    return Err(PackageError::Malformed("a directory with contents".into()));
                }
                plan.directory(&parts)?;
                if let Sink::Tree(tree) = sink {
                    tree.directory(&parts).map_err(PackageError::Io)?;
                }
            }
            (TYPE_LINK, false) => {
                let mut target = String::new();
                entry.by_ref().take(TARGET_BYTES_MAX + 1).read_to_string(&mut target).map_err(damaged)?;
                budget = budget.checked_sub(target.len() as u64).ok_or(PackageError::TooLarge)?;
                plan.leaf(&parts)?;
                // Links are made last, so that no file can be written through one.
                plan.links.push((parts, target));
            }
            (0 | TYPE_REGULAR, false) => {
                plan.leaf(&parts)?;
                let written = match sink {
                    Sink::Nowhere => copy(&mut entry, &mut io::sink(), budget)?,
                    Sink::Tree(tree) => {
                        copy(&mut entry, &mut tree.file(&parts, mode).map_err(PackageError::Io)?, budget)?
                    }
                };
                budget = budget.checked_sub(written).ok_or(PackageError::TooLarge)?;
            }
            (kind, _) => return Err(PackageError::Malformed(format!("an entry of type {kind:o}"))),
        }
    }
    plan.check_links()?;
    if let Sink::Tree(tree) = sink {
        for (parts, target) in &plan.links {
            tree.link(parts, target).map_err(PackageError::Io)?;
        }
    }
    Ok(UNPACKED_BYTES_MAX - budget)
}

/// What the entries seen so far make: no name may be both a file and a directory, or appear twice.
#[derive(Default)]
struct Plan {
    leaves: HashSet<String>,
    directories: HashSet<String>,
    links: Vec<(Vec<String>, String)>,
}

impl Plan {
    fn parents(&mut self, parts: &[String]) -> Result<(), PackageError> {
        let mut path = String::new();
        for part in parts {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
            if self.leaves.contains(&path) {
                return Err(PackageError::Malformed(format!("`{path}` is a file and a directory")));
            }
            // Implied directories cost memory too: bounded with the rest.
            if !self.directories.contains(&path) {
                if self.directories.len() >= ENTRIES_MAX {
                    return Err(PackageError::Malformed("too many directories".into()));
                }
                self.directories.insert(path.clone());
            }
        }
        Ok(())
    }

    fn directory(&mut self, parts: &[String]) -> Result<(), PackageError> {
        self.parents(parts)
    }

    fn leaf(&mut self, parts: &[String]) -> Result<(), PackageError> {
        let (_, parents) = parts.split_last().ok_or_else(|| PackageError::Malformed("an empty name".into()))?;
        self.parents(parents)?;
        let path = parts.join("/");
        if self.directories.contains(&path) || !self.leaves.insert(path) {
            return Err(PackageError::Malformed("two entries of one name".into()));
        }
        Ok(())
    }

    /// Refuses links that lead out of the root or through another link. Following two links in a row could lead
    /// anywhere (`a -> b/..`), and packages that need it were not found, so a link's way holds no other link.
    fn check_links(&self) -> Result<(), PackageError> {
        let links: HashMap<String, ()> = self.links.iter().map(|(parts, _)| (parts.join("/"), ())).collect();
        for (parts, target) in &self.links {
            let refused = || PackageError::Malformed(format!("the link `{}` leads outside", parts.join("/")));
            if target.is_empty()
                || target.len() as u64 > TARGET_BYTES_MAX
                || target.starts_with('/')
                || target.contains(['\0', '\\'])
            {
                return Err(refused());
            }
            let mut at: Vec<&str> =
                parts.split_last().map(|(_, parents)| parents.iter().map(String::as_str).collect()).unwrap_or_default();
            let mut steps = target.split('/').filter(|step| !step.is_empty() && *step != ".").peekable();
            while let Some(step) = steps.next() {
                if step == ".." {
                    at.pop().ok_or_else(refused)?;
                } else {
                    at.push(step);
                    // The last step may name a link (libz.so -> libz.so.1 -> libz.so.1.2): that link is checked itself.
                    if steps.peek().is_some() && links.contains_key(&at.join("/")) {
                        return Err(refused());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes an entry's name apart, refusing whatever could mean another place than it seems to.
fn components(name: &[u8]) -> Result<Vec<String>, PackageError> {
    let refused =
        |why: &str| PackageError::Malformed(format!("{why}: `{}`", String::from_utf8_lossy(name).escape_debug()));
    if name.len() > PATH_BYTES_MAX {
        return Err(PackageError::Malformed("a name is too long".into()));
    }
    let text = std::str::from_utf8(name).map_err(|_| refused("a name is not UTF-8"))?;
    if text.contains(['\0', '\\']) {
        return Err(refused("a name with NUL or backslash"));
    }
    if text.starts_with('/') {
        return Err(refused("an absolute name"));
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused("a name with `..`")),
            part if part.len() > 255 => return Err(refused("a name is too long")),
            part => parts.push(part.to_owned()),
        }
    }
    if parts.is_empty() && !matches!(text, "./" | ".") {
        return Err(refused("an empty name"));
    }
    if parts.len() > DEPTH_MAX {
        return Err(refused("a name is too deep"));
    }
    Ok(parts)
}

/// Copies at most `budget` bytes; one more is a refusal, whatever the headers said.
fn copy(from: &mut impl Read, to: &mut impl Write, budget: u64) -> Result<u64, PackageError> {
    let mut buffer = vec![0u8; 64 * 1024];
    let mut total = 0u64;
    loop {
        let read = from.read(&mut buffer).map_err(damaged)?;
        if read == 0 {
            return Ok(total);
        }
        total += read as u64;
        if total > budget {
            return Err(PackageError::TooLarge);
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(PackageError::Io)?;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
fn malformed(error: zip::result::ZipError) -> PackageError {
    PackageError::Malformed(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
fn damaged(error: io::Error) -> PackageError {
    PackageError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
