//! What must not stand in any file, and what must stand in each.

use super::Findings;
use super::files::File;
use super::rust::code_only;

/// Paths of one machine. Split, so that this file does not hold them.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/tmp/", "brief"), concat!("/ro", "ot/"), concat!("/home/", "user/")];
/// Words about how a text came to be, which is not what it is about.
const STRAY_WORDS: [&str; 4] =
    [concat!("helper ", "session"), concat!("sub", "agent"), concat!("sub-", "agent"), concat!("language ", "model")];
/// Macros that mean "later".
const UNFINISHED: [&str; 3] = [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("dbg", "!")];
/// Files whose blanks people write.
const WRITTEN: [&str; 9] = [".rs", ".toml", ".md", ".py", ".js", ".mjs", ".sh", ".yml", ".ini"];

pub fn check(files: &[File], found: &mut Findings) {
    for file in files.iter().filter(|file| !file.is_generated()) {
        let lower = file.text.to_lowercase();
        for path in MACHINE_PATHS.iter().filter(|path| file.text.contains(**path)) {
            found.add(format!("{}: names `{path}`, a path of one machine", file.path));
        }
        for word in STRAY_WORDS.iter().filter(|word| lower.contains(**word)) {
            found.add(format!("{}: says \"{word}\"; the repository speaks of the project alone", file.path));
        }
        if file.is_corpus() {
            continue;
        }
        if WRITTEN.iter().any(|end| file.path.ends_with(end)) {
            check_blanks(file, found);
        }
        if file.is_rust() {
            check_rust(file, found);
        }
    }
}

fn check_blanks(file: &File, found: &mut Findings) {
    for (number, line) in file.text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            found.add(format!("{}:{}: trailing blank", file.path, number + 1));
        } else if line.contains('\t') {
            found.add(format!("{}:{}: tab", file.path, number + 1));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        found.add(format!("{}: the last line has no end", file.path));
    }
}

fn check_rust(file: &File, found: &mut Findings) {
    let code = code_only(&file.text);
    for unfinished in UNFINISHED.iter().filter(|name| code.contains(**name)) {
        found.add(format!("{}: `{unfinished}` is left in it", file.path));
    }
    // What tests are for their name says, and the module they stand beside.
    let tests = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    if file.path.contains("/src/") && !tests && !has_module_docs(&file.text) {
        found.add(format!("{}: no `//!` line says what the module is for", file.path));
    }
}

/// Whether the first line that is no attribute documents the module.
fn has_module_docs(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!["))
        .is_some_and(|line| line.starts_with("//!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> Vec<String> {
        let mut found = Findings::default();
        check(&[File { path: path.to_owned(), text: text.to_owned() }], &mut found);
        found.0
    }

    #[test]
    fn stray_text_is_found_where_it_stands() {
        for (path, text, expected) in [
            ("a/src/x.rs", "//! X.\nfn f() {}\n", 0),
            ("a/src/x.rs", "fn f() {}\n", 1),
            ("a/src/x/tests.rs", "use super::*;\n", 0),
            ("a/src/x.rs", concat!("//! X.\nfn f() { todo", "!() }\n"), 1),
            ("a/src/x.rs", "//! X.\n// a todo! in a comment is a clippy matter\n", 0),
            ("a.md", "x \ny\n", 1),
            ("a.md", "x\ty", 2),
            ("a.json", "x \t", 0),
            ("a.json", concat!("\"/wo", "rk/main\""), 1),
            ("a.md", concat!("written by a Helper", " session\n"), 1),
            ("crates/a/testdata/x.rs", "x \n", 0),
        ] {
            assert_eq!(check_one(path, text).len(), expected, "{path} {text:?}: {:?}", check_one(path, text));
        }
    }
}
