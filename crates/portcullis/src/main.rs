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
mod lint;
mod listen;
mod log;
mod server;
mod settings;
mod start;
mod status;
mod stops;
mod terminal;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
