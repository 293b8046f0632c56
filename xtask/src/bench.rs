//! `cargo xtask bench`: builds the release server and the bench crate, and runs the one against the other.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command;

pub const USAGE: &str = "\
Measures the release server on one pinned core, next to a bare hyper responder in the same run, and writes
bench/results/<date>-<what>.json. Loopback only. Nothing is asserted about time.

usage: cargo xtask bench [--what NAME] [--rounds N] [--seconds S] [--connections N] [--profile PROFILE]

  --what NAME         last part of the result file's name [default: data-plane]
  --rounds N          interleaved rounds; ratios are the medians over them [default: 7]
  --seconds S         the longest one measurement of one target takes [default: 3]
  --connections N     connections of the closed loop [default: 64]
  --profile PROFILE   cargo profile the server is built with [default: release]

examples:
  cargo xtask bench
  cargo xtask bench --rounds 5 --seconds 2 --what before-the-route-table";

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut profile = "release".to_owned();
    let mut passed = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--profile" {
            profile = rest.next().cloned().unwrap_or(profile);
        } else {
            passed.push(argument);
        }
    }
    let server = command::build_binary(root, "portcullis", &profile)?;
    let bench = command::build_binary(root, "bench", &profile)?;
    let mut run = Command::new(bench);
    run.arg("run").arg("--server").arg(server).arg("--results").arg(root.join("bench/results")).args(passed);
    command::run(&mut run)
}
