//! The one door to the repository's chores: `cargo xtask help` lists them.
//!
//! Everything here runs other programs and reads files; it stays light so that it builds in seconds on a bare machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

mod bench;
mod ci;
mod codegen;
mod command;
mod conformance;
mod coverage;
mod tidy;

const USAGE: &str = "\
The one door to the repository's chores.

usage: cargo xtask <command> [arguments]

  ci           everything that must pass: format, clippy, tidy, tests, conformance
  tidy         the rules of the house, read from the source
  conformance  the built binary under the real AWS CLI and boto3
  coverage     writes docs/coverage.md: which operations are enforced, refused, not available
  codegen      writes wire's operation tables from the AWS service models
  bench        requests per second of the real server next to a bare hyper responder

`cargo xtask <command> --help` tells more, with examples.";

const CODEGEN: &str = "\
Writes crates/wire/src/table/generated from the AWS service models and xtask/data/corrections.toml.

usage: cargo xtask codegen [--check] [--shared DIR]

  --check       compare only; fail when a table is stale
  --shared DIR  the folder that holds aws-models/ and spec/operations.json [default: ../shared]

examples:
  cargo xtask codegen
  cargo xtask codegen --check --shared ~/models";

const COVERAGE: &str = "\
Writes docs/coverage.md from what the control plane says it has.

usage: cargo xtask coverage [--check]

  --check  compare only; fail when the page is stale

examples:
  cargo xtask coverage
  cargo xtask coverage --check";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done when the terminal itself cannot be written to.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let root = root();
    let Some((command, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    let help = rest.iter().take_while(|argument| *argument != "--").any(|a| a == "--help" || a == "-h");
    match command.as_str() {
        "help" | "--help" | "-h" => say(USAGE),
        "codegen" if help => say(CODEGEN),
        "codegen" => run_codegen(&root, rest),
        "tidy" if help => say(tidy::USAGE),
        "tidy" => tidy::run(&root, rest),
        "coverage" if help => say(COVERAGE),
        "coverage" => match rest {
            [] => coverage::run(&root, false),
            [check] if check == "--check" => coverage::run(&root, true),
            _ => bail!("{COVERAGE}"),
        },
        // pytest's own help is asked for with `-- --help`.
        "conformance" if help => say(conformance::USAGE),
        "conformance" => conformance::run(&root, rest),
        "bench" if help => say(bench::USAGE),
        "bench" => bench::run(&root, rest),
        "ci" if help => say(ci::USAGE),
        "ci" => ci::run(&root, rest),
        unknown => bail!("unknown command `{unknown}`\n\n{USAGE}"),
    }
}

fn run_codegen(root: &Path, arguments: &[String]) -> Result<()> {
    let mut check = false;
    let mut shared = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), argument.strip_prefix("--shared=")) {
            ("--check", _) => check = true,
            ("--shared", _) => shared = rest.next().map(PathBuf::from),
            (_, Some(path)) => shared = Some(PathBuf::from(path)),
            _ => bail!("unknown argument `{argument}`\n\n{CODEGEN}"),
        }
    }
    codegen::run(root, shared, check)
}

/// The repository's root: the folder above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Says one line to whoever ran the command.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
