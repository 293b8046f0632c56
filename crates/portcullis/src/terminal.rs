//! What is written to the terminal: the contract on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::settings;

/// Writes to standard output, as it is.
///
/// # Errors
/// When nobody takes it.
pub fn out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output does not take any more")
}

/// A warning nobody should miss.
pub fn warning(text: &str) {
    labelled("WARNING", "33", text);
}

/// Lines for people, as they are.
pub fn plain(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Something worth knowing.
pub fn note(text: &str) {
    labelled("note", "36", text);
}

/// Why a command failed, and what to do next.
pub fn error(text: &str) {
    labelled("error", "31", text);
}

/// Whether standard error takes colours.
#[must_use]
pub fn is_coloured() -> bool {
    io::stderr().is_terminal()
        && settings::environment("NO_COLOR").is_none()
        && settings::environment("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn labelled(label: &str, colour: &str, text: &str) {
    let mut err = io::stderr().lock();
    // Nobody is left to be told when this fails.
    let _ = if is_coloured() {
        writeln!(err, "\u{1b}[1;{colour}m{label}:\u{1b}[0m {text}")
    } else {
        writeln!(err, "{label}: {text}")
    };
}
