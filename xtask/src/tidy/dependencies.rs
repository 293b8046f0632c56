//! Dependencies nobody uses.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::Findings;
use super::files::File;
use super::rust::{code_only, is_word};

/// Packages whose library has another name.
const RENAMED: [(&str, &str); 1] = [("md-5", "md5")];

/// Finds dependencies of a crate that its code never names, and of the workspace that no crate has. A search of text:
/// what is only switched on as a feature of another package must be said in [`FEATURES_ONLY`].
pub fn check(files: &[File], found: &mut Findings) -> Result<()> {
    let mut used = BTreeSet::new();
    for manifest in files.iter().filter(|file| file.is_package()) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let table: toml::Table =
            toml::from_str(&manifest.text).with_context(|| format!("reading {}", manifest.path))?;
        let code = |under: &[&str]| -> String {
            let in_part = |file: &&File| {
                file.is_rust() && file.path.strip_prefix(folder).is_some_and(|p| under.iter().any(|u| p.starts_with(u)))
            };
            files.iter().filter(in_part).map(|file| code_only(&file.text)).collect()
        };
        for (section, under) in [
            ("dependencies", &["src/"][..]),
            ("dev-dependencies", &["src/", "tests/", "examples/", "benches/"]),
            ("build-dependencies", &["build.rs"]),
        ] {
            let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else { continue };
            let code = code(under);
            for name in dependencies.keys() {
                used.insert(name.clone());
                if !FEATURES_ONLY.contains(&name.as_str()) && !names(&code, &identifier(name)) {
                    found.add(format!("{}: [{section}] `{name}` is not used", manifest.path));
                }
            }
        }
    }
    let root = files.iter().find(|file| file.path == "Cargo.toml").context("Cargo.toml is missing")?;
    let root: toml::Table = toml::from_str(&root.text).context("reading Cargo.toml")?;
    let offered = root.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    for name in offered.into_iter().flat_map(|table| table.keys()).filter(|name| !used.contains(*name)) {
        found.add(format!("Cargo.toml: [workspace.dependencies] `{name}` is used by no crate"));
    }
    Ok(())
}

/// Named only so that a feature of it is on.
const FEATURES_ONLY: [&str; 0] = [];

fn identifier(package: &str) -> String {
    let renamed = RENAMED.iter().find(|(name, _)| *name == package);
    renamed.map_or_else(|| package.replace('-', "_"), |(_, library)| (*library).to_owned())
}

/// Whether code says `name::`, `use name;` or `use name as`.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.as_bytes()[..at].last().is_none_or(|byte| !is_word(*byte));
        let (head, rest) = (code[..at].trim_end(), &code[at + name.len()..]);
        let imported = (head.ends_with("use") || head.ends_with([',', '{']))
            && rest.trim_start().starts_with([';', ',', '}'])
            || head.ends_with("use") && rest.starts_with(" as ");
        before && (rest.starts_with("::") || imported)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_where_it_is_a_path() {
        for (code, expected) in [
            ("use bytes::Bytes;", true),
            ("x: bytes::Bytes", true),
            ("use bytes;", true),
            ("use bytes as b;", true),
            ("let bytes = 1; my_bytes::x()", false),
            ("bytes.len()", false),
        ] {
            assert_eq!(names(code, "bytes"), expected, "{code}");
        }
        assert_eq!(identifier("http-body-util"), "http_body_util");
        assert_eq!(identifier("md-5"), "md5");
    }
}
