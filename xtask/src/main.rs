//! The one door to the repository's chores.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

mod codegen;

const USAGE: &str = "usage: cargo xtask codegen [--check] [--shared DIR]";

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
    match arguments.split_first() {
        Some((command, rest)) if command == "codegen" => {
            let mut check = false;
            let mut shared = None;
            let mut rest = rest.iter();
            while let Some(argument) = rest.next() {
                match (argument.as_str(), argument.strip_prefix("--shared=")) {
                    ("--check", _) => check = true,
                    ("--shared", _) => shared = rest.next().map(PathBuf::from),
                    (_, Some(path)) => shared = Some(PathBuf::from(path)),
                    _ => bail!("unknown argument `{argument}`\n{USAGE}"),
                }
            }
            codegen::run(&root(), shared, check)
        }
        _ => bail!("{USAGE}"),
    }
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
