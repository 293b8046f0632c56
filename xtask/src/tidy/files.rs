//! The files of the repository that people write.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One file of text.
#[derive(Debug)]
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Whether this is the manifest of one of the product's packages. A manifest with a workspace of its own (a comparison,
    /// fuzz targets) is none: nothing of it is built with the product.
    pub fn is_package(&self) -> bool {
        self.path.ends_with("/Cargo.toml") && !self.text.lines().any(|line| line.trim() == "[workspace]")
    }
}

/// Folders nobody writes by hand.
const SKIPPED: [&str; 8] =
    [".git", "target", ".venv", "node_modules", "__pycache__", ".pytest_cache", ".portcullis", ".ruff_cache"];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl File {
    /// Whether a command made it.
    pub fn is_generated(&self) -> bool {
        self.path.contains("/generated/") || self.path == "Cargo.lock" || self.path == "docs/coverage.md"
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is a corpus, kept as it was found.
    pub fn is_corpus(&self) -> bool {
        self.path.split('/').any(|part| part == "testdata" || part == "data" && self.path.starts_with("conformance/"))
    }
}

/// Every text file below the root, in order of its path.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn read(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                let bytes = fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
                let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
                if let Ok(text) = String::from_utf8(bytes) {
                    files.push(File { path, text });
                }
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
