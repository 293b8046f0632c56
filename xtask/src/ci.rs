//! `cargo xtask ci`: everything that must pass, step by step.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::conformance::Counts;
use crate::{command, conformance, tidy};

pub const USAGE: &str = "\
Everything that must pass: format, clippy, tidy, the tests of the workspace, conformance, the bootstraps beside
AWS's own. Stops at the first step that
fails. Installs what the tests need where it may (Node, Python's venv), else says what to install.

usage: cargo xtask ci [--keep-going]

  --keep-going  run the remaining steps after a failure

examples:
  cargo xtask ci
  cargo xtask ci --keep-going";

/// A step's work; gives whether it passed and what it counted.
type Work = fn(&Path) -> Result<(bool, Counts)>;

const STEPS: [(&str, Work); 6] = [
    ("format", format),
    ("clippy", clippy),
    ("tidy", rules),
    ("tests", tests),
    ("conformance", clients),
    ("beside AWS's", beside),
];

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let keep_going = match arguments {
        [] => false,
        [flag] if flag == "--keep-going" => true,
        _ => bail!("{USAGE}"),
    };
    need_node()?;
    let mut sum = Counts::default();
    let mut table = Vec::new();
    for (name, work) in STEPS {
        crate::say(&format!("\n== {name}"))?;
        let start = Instant::now();
        let (passed, counts) =
            work(root).or_else(|error| crate::say(&format!("{error:#}")).map(|()| (false, Counts::default())))?;
        let passed = passed && counts.failed == 0;
        // A step without tests of its own, or one that failed before its tests could tell, counts as one.
        let counts = match (passed, counts) {
            (true, Counts { passed: 0, .. }) => Counts { passed: 1, failed: 0 },
            (false, Counts { failed: 0, passed }) => Counts { passed, failed: 1 },
            (_, counts) => counts,
        };
        sum.passed += counts.passed;
        sum.failed += counts.failed;
        let verdict = if passed { "passed" } else { "FAILED" };
        table.push(format!("{name:12} {verdict} in {:.1} s", start.elapsed().as_secs_f64()));
        if !passed && !keep_going {
            break;
        }
    }
    crate::say("")?;
    for line in table {
        crate::say(&line)?;
    }
    crate::say(&format!("{} passed, {} failed", sum.passed, sum.failed))?;
    if sum.failed > 0 {
        bail!("ci failed");
    }
    Ok(())
}

/// Functions of the tests run in Node; without it they could only fail.
fn need_node() -> Result<()> {
    if command::works("node", &["--version"]) {
        return Ok(());
    }
    command::install(&["nodejs"]).context("the tests run functions in Node, and there is no `node` on the PATH")
}

fn format(root: &Path) -> Result<(bool, Counts)> {
    command::run(command::cargo(root).args(["fmt", "--all", "--check"]))?;
    Ok((true, Counts::default()))
}

fn clippy(root: &Path) -> Result<(bool, Counts)> {
    command::run(command::cargo(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Ok((true, Counts::default()))
}

fn rules(root: &Path) -> Result<(bool, Counts)> {
    tidy::run(root, &[])?;
    Ok((true, Counts::default()))
}

fn tests(root: &Path) -> Result<(bool, Counts)> {
    let mut cargo = command::cargo(root);
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    counted(&mut cargo)
}

/// Our bootstraps beside AWS's own runtime clients, which the step before has installed and built: the same functions
/// through both, byte for byte.
fn beside(root: &Path) -> Result<(bool, Counts)> {
    let clients = conformance::runtime_clients(root)?;
    let mut cargo = command::cargo(root);
    cargo.args(["test", "--package", "environment", "--test", "it", "--locked", "--", "--ignored"]);
    cargo.env("AWSLAMBDARIC", clients.python).env("LAMBDA_RUNTIME_CLIENT", clients.rust);
    counted(&mut cargo)
}

fn counted(cargo: &mut Command) -> Result<(bool, Counts)> {
    let mut counts = Counts::default();
    let succeeded = command::stream(cargo, |line| {
        if let Some(result) = result(line) {
            counts.passed += result.passed;
            counts.failed += result.failed;
        }
    })?;
    Ok((succeeded, counts))
}

fn clients(root: &Path) -> Result<(bool, Counts)> {
    conformance::count(root, &[])
}

/// A line such as `test result: ok. 12 passed; 0 failed; 1 ignored; ...`.
fn result(line: &str) -> Option<Counts> {
    let counted = line.strip_prefix("test result: ")?;
    let (_, counted) = counted.split_once(". ")?;
    let number = |word: &str| {
        let part = counted.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests_of_ci {
    use super::*;

    #[test]
    fn results_of_cargo_test_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result(line), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(result("test result: ok. 0 passed; 0 failed; 0 ignored"), Some(Counts { passed: 0, failed: 0 }));
        assert_eq!(result("test policy::denied ... ok"), None);
    }
}
