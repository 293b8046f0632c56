//! The portcullis binary: command line, settings, the listener, and the wiring of everything else.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod account;
mod admin;
mod cli;
mod client;
mod demo;
mod explain;
mod exports;
mod isolation;
mod lint;
mod listen;
mod log;
mod server;
mod settings;
mod start;
mod status;
mod stops;
mod terminal;
mod watch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The launcher holds privileges: it reads no setting, starts no thread, and does nothing of what follows.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == sandbox::LAUNCHER_ARGUMENT) {
        return match sandbox::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::error(&format!("the launcher is started by `portcullis start` alone: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    cli::run()
}
