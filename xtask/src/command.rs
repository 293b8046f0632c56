//! Running other programs: their output streams through, and what is needed of it is kept.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Runs a program to its end, its output going where ours goes.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a program to its end, showing each line of its standard output and handing it to `line` too; gives whether it
/// succeeded.
///
/// # Errors
/// When it cannot be started or its output cannot be read.
pub fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let shown = shown(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    if let Some(output) = child.stdout.take() {
        for text in BufReader::new(output).split(b'\n') {
            let text = text.with_context(|| format!("reading the output of {shown}"))?;
            let text = String::from_utf8_lossy(&text);
            crate::say(&text)?;
            line(&text);
        }
    }
    Ok(child.wait()?.success())
}

/// The standard output of a program that must succeed.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let done = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {shown}"))?;
    if !done.status.success() {
        bail!("{shown} failed: {}", done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("the output of {shown} is not UTF-8"))
}

/// Whether a program can be started and succeeds; its output is thrown away.
pub fn works(program: &str, arguments: &[&str]) -> bool {
    let run =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// `cargo` in the repository.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

/// Builds one binary and gives the path cargo put it at, wherever the target folder is.
///
/// # Errors
/// When it does not build.
pub fn build_binary(root: &Path, package: &str, profile: &str) -> Result<PathBuf> {
    let messages = output(cargo(root).args([
        "build",
        "--locked",
        "--profile",
        profile,
        "--package",
        package,
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    let found = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str()?;
        (message["target"]["name"] == package).then(|| PathBuf::from(executable))
    });
    found.with_context(|| format!("cargo built no binary `{package}`"))
}

/// Installs Debian packages, where this machine has apt-get and we may use it.
///
/// # Errors
/// When we may not, or it fails; the text says what to install by hand.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if !root || !works("apt-get", &["--version"]) {
        bail!("please install: {list} (on Debian: sudo apt-get install -y {list})");
    }
    crate::say(&format!("installing {list}"))?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        run(&mut command)
    };
    apt(&["-qq", "update"])?;
    apt(&[&["-qq", "install", "-y", "--no-install-recommends"], packages].concat())
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    format!("`{text}`")
}
