//! `cargo xtask tidy`: the rules of the house as a test that reads the source.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{codegen, coverage};

mod arrows;
mod dependencies;
mod files;
mod functions;
mod links;
mod ratchet;
mod rust;
mod text;

pub const USAGE: &str = "\
Reads the source and fails where a rule of the house is broken: the arrows of ARCHITECTURE.md, what the pure crates
must not depend on, the sizes of files and functions (a ratchet that only falls), module docs, stray text, unused
dependencies, stale generated files, broken links between pages.

usage: cargo xtask tidy [--update] [--fast]

  --update  write xtask/data/ratchet.toml anew where a size fell; it never raises one
  --fast    read files only: neither `cargo tree` nor the coverage page, which needs the control plane built

examples:
  cargo xtask tidy
  cargo xtask tidy --update";

/// What is wrong, one sentence each, with the file it is about.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Adds one.
    pub fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }
}

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut update, mut fast) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--update" => update = true,
            "--fast" => fast = true,
            _ => bail!("unknown argument `{argument}`\n\n{USAGE}"),
        }
    }
    let files = files::read(root)?;
    let mut found = Findings::default();
    arrows::check(root, &files, !fast, &mut found)?;
    dependencies::check(&files, &mut found)?;
    ratchet::check(root, &files, update, &mut found)?;
    text::check(&files, &mut found);
    links::check(root, &files, &mut found);
    if let Err(error) = codegen::run(root, None, true) {
        found.add(format!("{error:#}"));
    }
    if !fast && let Err(error) = coverage::run(root, true) {
        found.add(format!("{error:#}"));
    }
    if !files.iter().any(|file| file.path.starts_with("CHANGES/unreleased/") && file.path.ends_with(".md")) {
        found.add("CHANGES/unreleased: no page says what changed for the user");
    }
    found.0.sort();
    for text in &found.0 {
        crate::say(text)?;
    }
    if !found.0.is_empty() {
        bail!("tidy: {} findings in {} files read", found.0.len(), files.len());
    }
    crate::say(&format!("tidy: {} files read, nothing found", files.len())).context("writing the verdict")
}
