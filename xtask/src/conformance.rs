//! `cargo xtask conformance`: the built binary under the real AWS CLI and boto3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

pub const USAGE: &str = "\
Builds the binary (profile `ci`), installs the clients into conformance/.venv when requirements.txt changed, and runs
the tests against real servers on loopback.

usage: cargo xtask conformance [pytest arguments]

The tests find the binary in PORTCULLIS_BINARY and the data beside the repository in PORTCULLIS_SHARED.

examples:
  cargo xtask conformance
  cargo xtask conformance -k walkthrough -x
  cargo xtask conformance -- --help          what pytest understands";

/// Where the clients live, from the repository's root.
const VENV: &str = "conformance/.venv";

/// What pytest counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let arguments = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    let (succeeded, counts) = count(root, arguments)?;
    crate::say(&format!("conformance: {} passed, {} failed", counts.passed, counts.failed))?;
    if !succeeded {
        bail!("conformance failed");
    }
    Ok(())
}

/// Prepares everything and runs the tests; gives whether pytest succeeded and what it counted.
///
/// # Errors
/// When the binary does not build or the clients cannot be installed.
pub fn count(root: &Path, arguments: &[String]) -> Result<(bool, Counts)> {
    let binary = command::build_binary(root, "portcullis", "ci")?;
    let python = prepare(root)?;
    let mut pytest = Command::new(python);
    pytest
        .args(["-m", "pytest"])
        .args(arguments)
        .current_dir(root.join("conformance"))
        .env("PORTCULLIS_BINARY", binary)
        // Lines appear as they are made although they pass through a pipe.
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Ok(shared) = root.join("../shared").canonicalize() {
        pytest.env("PORTCULLIS_SHARED", shared);
    }
    let mut counts = Counts::default();
    let succeeded = command::stream(&mut pytest, |line| counts = summary(line).unwrap_or(counts))?;
    Ok((succeeded, counts))
}

/// AWS's own runtime clients, as the tests have installed and built them.
pub struct RuntimeClients {
    /// The directory with `awslambdaric`.
    pub python: PathBuf,
    /// The program on `lambda_runtime`.
    pub rust: PathBuf,
}

/// # Errors
/// When they are not there: conformance has not run.
pub fn runtime_clients(root: &Path) -> Result<RuntimeClients> {
    let mut ask = Command::new(root.join(VENV).join("bin/python"));
    ask.args(["-c", "import awslambdaric, sysconfig; print(sysconfig.get_path('purelib'))"]);
    let python = PathBuf::from(command::output(&mut ask)?.trim());
    let built =
        std::env::var_os("PORTCULLIS_CLIENTS_TARGET").map_or(root.join("conformance/clients/target"), Into::into);
    let rust = built.join("debug/lambda-runtime-client");
    if !rust.is_file() {
        bail!("{} is not there; run `cargo xtask conformance` first", rust.display());
    }
    Ok(RuntimeClients { python, rust })
}

/// pytest's last line, such as `== 1 failed, 20 passed, 2 skipped in 3.21s ==`; an error of a fixture is a failure.
fn summary(line: &str) -> Option<Counts> {
    let line = line.trim_matches(['=', ' ']);
    let (counted, time) = line.rsplit_once(" in ")?;
    if !time.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut counts = Counts::default();
    for part in counted.split(", ") {
        let (number, word) = part.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match word {
            "passed" => counts.passed += number,
            "failed" | "error" | "errors" => counts.failed += number,
            _ => {}
        }
    }
    Some(counts)
}

/// The environment's Python, with the clients of `requirements.txt` installed.
fn prepare(root: &Path) -> Result<PathBuf> {
    let venv = root.join(VENV);
    let python = venv.join("bin/python");
    let requirements = root.join("conformance/requirements.txt");
    let wanted = fs::read(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    // A copy of what was installed last, written only after it succeeded.
    let installed = venv.join("requirements.installed.txt");
    let works = |arguments: &[&str]| command::works(&python.to_string_lossy(), arguments);
    if fs::read(&installed).is_ok_and(|have| have == wanted) && works(&["-c", "import boto3, pytest"]) {
        return Ok(python);
    }
    let base = base_python()?;
    if !works(&["-c", ""]) {
        create(&base, &venv)?;
    }
    crate::say(&format!("conformance: installing the clients of requirements.txt into {VENV}"))?;
    let mut pip = if works(&["-m", "pip", "--version"]) {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip"]);
        pip
    } else {
        // A Python without ensurepip made the environment; the pip beside it installs into it.
        let mut pip = Command::new(&base);
        pip.args(["-m", "pip", "--python"]).arg(&python);
        pip
    };
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
    command::run(&mut pip)?;
    fs::write(&installed, wanted).with_context(|| format!("writing {}", installed.display()))?;
    Ok(python)
}

fn base_python() -> Result<String> {
    let wanted = "import sys; sys.exit(sys.version_info < (3, 10))";
    let found = ["python3", "/usr/bin/python3"].into_iter().find(|python| command::works(python, &["-c", wanted]));
    if let Some(python) = found {
        return Ok(python.to_owned());
    }
    command::install(&["python3", "python3-venv", "python3-pip"]).context("the tests need Python 3.10 or newer")?;
    Ok("python3".to_owned())
}

/// Makes the environment. Debian's Python comes without `ensurepip` until python3-venv is installed; then an
/// environment without pip and the pip of the system do as well, and where there is none it is installed.
fn create(base: &str, venv: &Path) -> Result<()> {
    let make = |extra: &[&str]| {
        // What an attempt left behind would look like an environment.
        let _ = fs::remove_dir_all(venv);
        let target = venv.to_string_lossy();
        command::works(base, &[&["-m", "venv"], extra, &[&*target]].concat())
    };
    if make(&[]) {
        return Ok(());
    }
    if command::works(base, &["-m", "pip", "--python", base, "--version"]) && make(&["--without-pip"]) {
        return Ok(());
    }
    command::install(&["python3-venv", "python3-pip"]).context("Python cannot make an environment for the clients")?;
    if make(&[]) {
        return Ok(());
    }
    bail!("`{base} -m venv {}` fails; run it to see why", venv.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_pytest_is_counted() {
        let counts = |passed, failed| Some(Counts { passed, failed });
        for (line, expected) in [
            ("===== 12 passed in 3.21s =====", counts(12, 0)),
            ("== 1 failed, 20 passed, 2 skipped, 3 errors in 65.10s (0:01:05) ==", counts(20, 4)),
            ("1 passed, 1 warning in 0.01s", counts(1, 0)),
            ("== no tests ran in 0.01s ==", None),
            ("test_cases.py ...... [ 10%]", None),
            ("something passed in between", None),
        ] {
            assert_eq!(summary(line), expected, "{line}");
        }
    }
}
