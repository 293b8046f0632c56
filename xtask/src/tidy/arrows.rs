//! Which crate may import which, as ARCHITECTURE.md draws it, and what must never be below the pure line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Findings;
use super::files::File;
use crate::command;

/// Crates of I/O, which the pure ones must not have anywhere below them.
const FORBIDDEN: [&str; 6] = ["tokio", "hyper", "rusqlite", "rand", "getrandom", "socket2"];

/// Tools stand above everything and import little.
const TOOLS: [(&str, &[&str]); 2] = [("xtask", &[]), ("bench", &["wire", "lambda", "sandbox", "environment"])];

/// The drawing: each crate with what it may import, and which are pure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Drawing {
    arrows: BTreeMap<String, BTreeSet<String>>,
    pure: Vec<String>,
}

/// Compares the drawing with what the crates import, and with `trees` what the pure crates have below them.
///
/// # Errors
/// When the drawing cannot be found or `cargo tree` fails.
pub fn check(root: &Path, files: &[File], trees: bool, found: &mut Findings) -> Result<()> {
    let page = files.iter().find(|file| file.path == "ARCHITECTURE.md").context("ARCHITECTURE.md is missing")?;
    let drawing = read_drawing(&page.text)?;
    let mut seen = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_package()) {
        check_crate(file, &drawing, &mut seen, found)?;
    }
    for name in drawing.arrows.keys().filter(|name| !seen.contains(*name)) {
        found.add(format!("ARCHITECTURE.md: there is no crate `{name}`"));
    }
    if trees {
        for name in &drawing.pure {
            check_tree(root, name, found)?;
        }
    }
    Ok(())
}

fn check_crate(file: &File, drawing: &Drawing, seen: &mut BTreeSet<String>, found: &mut Findings) -> Result<()> {
    let path = &file.path;
    let manifest: toml::Table = toml::from_str(&file.text).with_context(|| format!("reading {path}"))?;
    let text = |keys: &[&str]| {
        let mut value = manifest.get(keys[0])?;
        for key in &keys[1..] {
            value = value.get(key)?;
        }
        Some(value)
    };
    let Some(name) = text(&["package", "name"]).and_then(toml::Value::as_str) else {
        return Ok(());
    };
    seen.insert(name.to_owned());
    if text(&["lints", "workspace"]).and_then(toml::Value::as_bool) != Some(true) {
        found.add(format!("{path}: `[lints] workspace = true` is missing"));
    }
    let tool = TOOLS.iter().find(|(tool, _)| *tool == name);
    let allowed: BTreeSet<String> = match (drawing.arrows.get(name), tool) {
        (Some(allowed), _) => allowed.clone(),
        (None, Some((_, allowed))) => allowed.iter().map(|name| (*name).to_owned()).collect(),
        (None, None) => {
            found.add(format!("{path}: ARCHITECTURE.md does not say what `{name}` may import"));
            return Ok(());
        }
    };
    let imported = |table: &str| -> Vec<String> {
        let table = manifest.get(table).and_then(toml::Value::as_table);
        table
            .into_iter()
            .flat_map(|table| table.keys())
            .filter(|key| drawing.arrows.contains_key(*key))
            .cloned()
            .collect()
    };
    for import in ["dependencies", "build-dependencies"].into_iter().flat_map(imported) {
        if !allowed.contains(&import) {
            found.add(format!("{path}: `{name}` must not import `{import}` (ARCHITECTURE.md)"));
        }
    }
    // Tests may look anywhere; who reads along should know that they do.
    for import in imported("dev-dependencies").iter().filter(|import| !allowed.contains(*import)) {
        crate::say(&format!("tidy: the tests of `{name}` import `{import}`"))?;
    }
    Ok(())
}

/// Reads the block of lines `name  what it does  -> imports` under "## Crates".
fn read_drawing(page: &str) -> Result<Drawing> {
    let (_, crates) = page.split_once("## Crates").context("ARCHITECTURE.md has no part \"Crates\"")?;
    let block = crates.split("```").nth(1).context("ARCHITECTURE.md draws no arrows")?;
    let mut drawing = Drawing::default();
    let mut pure = false;
    for line in block.lines() {
        if !line.starts_with(' ') {
            pure = line.starts_with("pure");
            continue;
        }
        let (Some(name), Some((_, imports))) = (line.split_whitespace().next(), line.rsplit_once("->")) else {
            continue;
        };
        let above: BTreeSet<String> = drawing.arrows.keys().cloned().collect();
        let imports = match imports.trim() {
            "-" => BTreeSet::new(),
            "all of the above" | "everything" => above,
            list => list.split_whitespace().map(str::to_owned).collect(),
        };
        if let Some(unknown) = imports.iter().find(|import| !drawing.arrows.contains_key(*import)) {
            bail!("ARCHITECTURE.md: `{name}` imports `{unknown}`, which is not drawn above it");
        }
        drawing.arrows.insert(name.to_owned(), imports);
        if pure {
            drawing.pure.push(name.to_owned());
        }
    }
    if drawing.pure.is_empty() {
        bail!("ARCHITECTURE.md draws no pure crates");
    }
    Ok(drawing)
}

fn check_tree(root: &Path, name: &str, found: &mut Findings) -> Result<()> {
    let tree = command::output(command::cargo(root).args([
        "tree",
        "--locked",
        "--package",
        name,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let below: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for forbidden in FORBIDDEN.iter().filter(|forbidden| below.contains(*forbidden)) {
        found.add(format!(
            "crates/{name}: `{forbidden}` is in its tree, below the pure line (cargo tree -p {name} -i {forbidden})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_is_read_as_it_stands() {
        let page = "# A\n\n## Crates\n\nwords\n\n```\npure: sync\n  low    the bottom   -> -\n  mid    uses it -> low\nI/O\n  top  the binary  -> \
                    everything\ntools\n  xtask   chores\n```\n";
        let drawing = read_drawing(page).unwrap();
        assert_eq!(drawing.pure, ["low", "mid"]);
        assert_eq!(drawing.arrows["top"], ["low", "mid"].map(str::to_owned).into());
        assert_eq!(drawing.arrows.len(), 3);
        assert!(read_drawing(&page.replace("-> low", "-> top")).is_err(), "an arrow upwards");
    }

    #[test]
    fn an_import_against_the_arrows_is_found() {
        let arrows = [("low", vec![]), ("mid", vec!["low"])];
        let arrows = arrows.map(|(name, to)| (name.to_owned(), to.into_iter().map(str::to_owned).collect()));
        let drawing = Drawing { arrows: arrows.into(), pure: Vec::new() };
        let check = |text: &str| {
            let file = File { path: "crates/x/Cargo.toml".to_owned(), text: text.to_owned() };
            let mut found = Findings::default();
            check_crate(&file, &drawing, &mut BTreeSet::new(), &mut found).unwrap();
            found.0.len()
        };
        let lints = "[lints]\nworkspace = true\n";
        assert_eq!(check(&format!("[package]\nname = \"mid\"\n{lints}[dependencies]\nlow.workspace = true")), 0);
        assert_eq!(check(&format!("[package]\nname = \"low\"\n{lints}[dependencies]\nmid.workspace = true")), 1);
        assert_eq!(check(&format!("[package]\nname = \"low\"\n{lints}[dev-dependencies]\nmid.workspace = true")), 0);
        assert_eq!(check("[package]\nname = \"mid\""), 1, "lints");
        assert_eq!(check(&format!("[package]\nname = \"other\"\n{lints}")), 1, "not drawn");
    }
}
