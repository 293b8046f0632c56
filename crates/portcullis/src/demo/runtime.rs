//! Which form of the authorizer this machine can run.

use std::{
    io::{Cursor, Write as _},
    path::PathBuf,
};

use anyhow::bail;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use environment::runtimes::{Installed, runnable};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The authorizer as it is created.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    pub runtime: &'static str,
    pub handler: &'static str,
    /// What to tell of it.
    pub remark: &'static str,
    file_name: &'static str,
    source: &'static str,
}

const NODE: Chosen = Chosen {
    runtime: "nodejs6.10",
    handler: "index.handler",
    remark: "LambdaAuthorizer.zip holds AWS's own TOKEN example: `allow` allows, `deny` denies.",
    file_name: "index.js",
    source: include_str!("authorizer.js"),
};

const PYTHON: Chosen = Chosen {
    runtime: "python3.9",
    handler: "index.handler",
    remark: "Node.js is not installed here, so LambdaAuthorizer.zip holds AWS's TOKEN example in Python.",
    file_name: "index.py",
    source: include_str!("authorizer.py"),
};

/// Identifiers to take for Python, oldest first: what is installed runs those that are not newer than itself.
const PYTHONS: &[&str] = &["python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"];

/// Chooses Node, as the post does, else Python.
///
/// # Errors
/// When neither is installed; says what to do.
pub fn choose(node: Option<PathBuf>, python: Option<PathBuf>) -> anyhow::Result<Chosen> {
    let installed = Installed::probe(&environment::Options { node, python, ..environment::Options::default() });
    if runnable(NODE.runtime, &installed).is_ok() {
        return Ok(NODE);
    }
    match PYTHONS.iter().find(|runtime| runnable(runtime, &installed).is_ok()) {
        Some(runtime) => Ok(Chosen { runtime, ..PYTHON }),
        None => bail!(
            "the demo runs a Lambda function, but neither `node` nor `python3` is on PATH. Install one (Debian and \
             Ubuntu: apt-get install nodejs; macOS: brew install node) or name one with PORTCULLIS_NODE or \
             PORTCULLIS_PYTHON"
        ),
    }
}

impl Chosen {
    /// The deployment package, as it travels.
    ///
    /// # Errors
    /// When it cannot be packed, which does not depend on anything outside.
    pub fn package_base64(&self) -> anyhow::Result<String> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file(self.file_name, options)?;
        archive.write_all(self.source.as_bytes())?;
        Ok(STANDARD.encode(archive.finish()?.into_inner()))
    }
}
