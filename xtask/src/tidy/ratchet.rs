//! Sizes of files and functions: a ratchet that only falls.
//!
//! What was too long when a limit was set is listed with its size in `xtask/data/ratchet.toml`. It may not grow; when it
//! has shrunk, the list must follow (`tidy --update`), so that it cannot grow back. Nothing new is ever admitted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::files::File;
use super::{Findings, functions, rust};

const LIST: &str = "xtask/data/ratchet.toml";
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

type Sizes = BTreeMap<String, usize>;

/// Today's exceptions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    files: Sizes,
    #[serde(default)]
    functions: Sizes,
}

pub fn check(root: &Path, files: &[File], update: bool, found: &mut Findings) -> Result<()> {
    let path = root.join(LIST);
    let text = fs::read_to_string(&path).ok();
    let first = text.is_none();
    let list: List = toml::from_str(&text.unwrap_or_default()).with_context(|| format!("reading {LIST}"))?;
    let (too_long_files, too_long_functions) = measure(files);
    let new = List {
        files: compare("lines", FILE_LINES_MAX, &list.files, too_long_files, update, first, found),
        functions: compare("lines", FUNCTION_LINES_MAX, &list.functions, too_long_functions, update, first, found),
    };
    if update {
        fs::write(&path, render(&new)).with_context(|| format!("writing {LIST}"))?;
    }
    Ok(())
}

/// What is over its limit.
fn measure(files: &[File]) -> (Sizes, Sizes) {
    let (mut too_long, mut long_functions) = (Sizes::new(), Sizes::new());
    for file in files.iter().filter(|file| !file.is_generated() && !file.is_corpus()) {
        let is_code = [".rs", ".py", ".js", ".mjs", ".sh"].iter().any(|end| file.path.ends_with(end));
        let lines = file.text.lines().count();
        if is_code && lines > FILE_LINES_MAX {
            too_long.insert(file.path.clone(), lines);
        }
        if !file.is_rust() {
            continue;
        }
        for (name, lines) in functions::lengths(&rust::code_only(&file.text)) {
            if lines > FUNCTION_LINES_MAX {
                // Functions of one name in one file are told apart by their order.
                let mut key = format!("{}: {name}", file.path);
                let mut number = 2;
                while long_functions.contains_key(&key) {
                    key = format!("{}: {name} ({number})", file.path);
                    number += 1;
                }
                long_functions.insert(key, lines);
            }
        }
    }
    (too_long, long_functions)
}

/// Compares what is too long with the list; gives the list as it may be written.
fn compare(
    unit: &str,
    limit: usize,
    listed: &Sizes,
    measured: Sizes,
    update: bool,
    first: bool,
    found: &mut Findings,
) -> Sizes {
    for (name, was) in listed {
        let now = measured.get(name).copied();
        if now.is_none_or(|now| now < *was) && !update {
            let now = now.map_or(format!("within {limit}"), |now| now.to_string());
            found.add(format!("{name}: {LIST} says {was} {unit}, now {now}; run `cargo xtask tidy --update`"));
        }
    }
    let mut kept = Sizes::new();
    for (name, now) in measured {
        match listed.get(&name) {
            None if first && update => {
                kept.insert(name, now);
            }
            None => found.add(format!("{name}: {now} {unit}, at most {limit} are allowed")),
            Some(was) => {
                if now > *was {
                    found.add(format!("{name}: grew from {was} to {now} {unit}; {limit} would be allowed"));
                }
                kept.insert(name, now.min(*was));
            }
        }
    }
    kept
}

fn render(list: &List) -> String {
    let mut out = String::from(
        "# What was too long when the limits were set (files 800 lines, functions 70). Sizes only fall: nothing is added\n\
         # here, and what shrank is written by `cargo xtask tidy --update`.\n",
    );
    for (name, sizes) in [("files", &list.files), ("functions", &list.functions)] {
        let _ = write!(out, "\n[{name}]\n");
        for (key, size) in sizes {
            let _ = writeln!(out, "\"{key}\" = {size}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(list: &[(&str, usize)]) -> Sizes {
        list.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn the_ratchet_only_falls() {
        let listed = sizes(&[("same", 80), ("grown", 80), ("shrunk", 80), ("gone", 80)]);
        let measured = || sizes(&[("same", 80), ("grown", 90), ("shrunk", 75), ("new", 71)]);
        let mut found = Findings::default();
        compare("lines", 70, &listed, measured(), false, false, &mut found);
        assert_eq!(found.0.len(), 4, "{found:?}");
        let mut found = Findings::default();
        let kept = compare("lines", 70, &listed, measured(), true, false, &mut found);
        assert_eq!(kept, sizes(&[("same", 80), ("grown", 80), ("shrunk", 75)]));
        assert_eq!(found.0.len(), 2, "an update neither admits nor raises: {found:?}");
    }

    #[test]
    fn the_list_reads_back() {
        let list = List { files: sizes(&[("a/b.rs", 801)]), functions: sizes(&[("a/b.rs: f (2)", 71)]) };
        let back: List = toml::from_str(&render(&list)).unwrap();
        assert_eq!((back.files, back.functions), (list.files, list.functions));
    }
}
