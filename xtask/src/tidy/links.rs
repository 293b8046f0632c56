//! Links between the pages of the repository.

use std::path::{Component, Path, PathBuf};

use super::Findings;
use super::files::File;

pub fn check(root: &Path, files: &[File], found: &mut Findings) {
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, target) in targets(&file.text) {
            let place = format!("{}:{number}: the link to `{target}`", file.path);
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            match resolve(Path::new(&file.path), path) {
                None => found.add(format!("{place} leaves the repository")),
                Some(path) if !root.join(&path).exists() => found.add(format!("{place} leads nowhere")),
                Some(_) => {}
            }
        }
    }
}

/// The path from the root that a link of `page` means; `None` when it is outside.
fn resolve(page: &Path, target: &str) -> Option<PathBuf> {
    let mut path = match target.strip_prefix('/') {
        Some(_) => PathBuf::new(),
        None => page.parent()?.to_path_buf(),
    };
    for part in Path::new(target.trim_start_matches('/')).components() {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::ParentDir => {}
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    Some(path)
}

/// Inline links and link definitions with their line, outside code.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Text between backticks is every second part.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (at, _) in line.match_indices("](") {
            let target: String = line[at + 2..].chars().take_while(|c| !matches!(c, ')' | ' ')).collect();
            found.push((number + 1, target));
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            found.push((number + 1, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_and_resolved_from_their_page() {
        let text = "[a](b.md) and [`c`](../d.md#e)\n```\n[no](x)\n```\n`[no](y)`\n[ref]: f.md \"title\"\n";
        let expected = [(1, "b.md"), (1, "../d.md#e"), (6, "f.md")];
        let found = targets(text);
        assert_eq!(found.iter().map(|(n, t)| (*n, t.as_str())).collect::<Vec<_>>(), expected);
        let from = Path::new("docs/x/page.md");
        assert_eq!(resolve(from, "../d.md"), Some("docs/d.md".into()));
        assert_eq!(resolve(from, "/README.md"), Some("README.md".into()));
        assert_eq!(resolve(from, "../../../out.md"), None);
    }
}
