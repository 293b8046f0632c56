//! Whether a handler's file parses, asked from the interpreter that would run it. Nothing of it is executed.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long an interpreter may take. Who takes longer is not asked again: the function itself will tell.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked whether it is done.
const STEP: Duration = Duration::from_millis(2);
/// Most of what it says that is told.
const TOLD_BYTES_MAX: u64 = 600;
/// Compiles without running, and without writing anything beside.
const PYTHON_CHECK: &str = "import sys\n\
                            with open(sys.argv[1], 'rb') as f: compile(f.read(), sys.argv[1], 'exec', dont_inherit=True)";

/// The interpreters of this host.
pub struct Interpreters {
    pub node: Option<PathBuf>,
    pub python: Option<PathBuf>,
}

/// A check that has been begun. Dropped, it is broken off.
pub struct Check {
    file: PathBuf,
    /// `None`: there is nobody to ask, or nothing to ask about.
    child: Option<Child>,
    deadline: Instant,
}

/// Begins to check the file of a handler such as `dir/index.handler`.
#[must_use]
pub fn begin(interpreters: &Interpreters, root: &Path, runtime: &str, handler: &str) -> Check {
    let (endings, program, arguments): (&[&str], _, &[&str]) = if runtime.starts_with("nodejs") {
        (&["js", "mjs", "cjs"], interpreters.node.as_ref(), &["--check"])
    } else if runtime.starts_with("python") {
        (&["py"], interpreters.python.as_ref(), &["-I", "-S", "-B", "-c", PYTHON_CHECK])
    } else {
        (&[], None, &[])
    };
    let file = module(root, handler, endings).unwrap_or_default();
    let asked = program.filter(|_| file.is_file());
    // Whoever cannot be asked says nothing against it.
    let child = asked.and_then(|program| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()
    });
    Check { file, child, deadline: Instant::now() + TIMEOUT }
}

impl Check {
    /// Waits for the outcome. What cannot be asked passes: whether code is good is in the end for the function to find
    /// out.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn end(mut self) -> Result<(), String> {
        if std::fs::metadata(&self.file).is_ok_and(|metadata| metadata.len() == 0) {
            return Err(format!("{} is empty", self.file.display()));
        }
        match self.told() {
            Ok(Some(told)) => Err(format!("{} does not parse: {told}", self.file.display())),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// What the interpreter complains of, if it ends with an error of its own in time.
    fn told(&mut self) -> io::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() >= self.deadline => return Ok(None),
                None => std::thread::sleep(STEP),
            }
        };
        if status.code() != Some(1) {
            return Ok(None);
        }
        let mut told = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            stderr.take(TOLD_BYTES_MAX).read_to_end(&mut told)?;
        }
        let text = String::from_utf8_lossy(&told);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("at "));
        Ok(Some(lines.take(6).collect::<Vec<_>>().join(" | ")))
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The file of a handler, if it lies where its name says.
fn module(root: &Path, handler: &str, endings: &[&str]) -> Option<PathBuf> {
    let slash = handler.rfind('/').map_or(0, |at| at.saturating_add(1));
    let (directory, last) = handler.split_at_checked(slash)?;
    let name = last.split('.').next().filter(|name| !name.is_empty())?;
    if directory.starts_with('/') || directory.split('/').any(|part| part == "..") {
        return None;
    }
    endings.iter().map(|ending| root.join(format!("{directory}{name}.{ending}"))).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_handler_is_found_below_the_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/index.mjs"), "x").unwrap();
        let found = module(dir.path(), "src/index.handler", &["js", "mjs"]);
        assert_eq!(found, Some(dir.path().join("src/index.mjs")));
        for handler in ["index.handler", "../index.handler", "/src/index.handler", "", "src/.handler"] {
            assert_eq!(module(dir.path(), handler, &["js", "mjs"]), None, "{handler}");
        }
    }

    #[test]
    fn what_does_not_parse_is_told_and_what_does_is_not_run() {
        let which = |name: &str| {
            let path = crate::settings::environment("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
        };
        let interpreters = Interpreters { node: which("node"), python: which("python3") };
        let dir = tempfile::tempdir().unwrap();
        for (runtime, file, content, fails) in [
            ("nodejs20.x", "index.js", "exports.handler = async () => 1; process.exit(1)", false),
            ("nodejs20.x", "index.js", "exports.handler = async () => {", true),
            ("nodejs20.x", "index.js", "", true),
            ("python3.11", "index.py", "import sys\nsys.exit(1)", false),
            ("python3.11", "index.py", "def handler(event, context)\n", true),
            ("provided.al2023", "index.js", "{", false),
        ] {
            let path = dir.path().join(file);
            std::fs::write(&path, content).unwrap();
            let found = begin(&interpreters, dir.path(), runtime, "index.handler").end();
            assert_eq!(found.is_err(), fails, "{runtime} {content}: {found:?}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
