//! `cargo xtask bench`: builds the release server and the bench crate, and runs the one against the other.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command;

pub const USAGE: &str = "\
Measures the release server on one pinned core, next to a bare hyper responder in the same run, and writes
bench/results/<date>-<what>.json. Loopback only. Nothing is asserted about time.

usage: cargo xtask bench [--what NAME] [--rounds N] [--seconds S] [--connections N] [--profile PROFILE]
       cargo xtask bench invoke [--rounds N] [--calls N] [--starts N] [--profile PROFILE]
       cargo xtask bench neighbours [--rounds N] [--seconds S] [--profile PROFILE]
       cargo xtask bench soak [--calls N] [--kills N] [--profile PROFILE]

  --what NAME         last part of the result file's name [default: data-plane]
  --rounds N          interleaved rounds; ratios are the medians over them [default: 7]
  --seconds S         the longest one measurement of one target takes [default: 3]
  --connections N     connections of the closed loop [default: 64]
  --profile PROFILE   cargo profile the server is built with [default: release]

`invoke` measures functions instead: warm, cold from a standby and cold from nothing, each next to the same bootstrap
without a supervisor, in the same run, as ratios with the targets beside them. In sandboxes where the host can give them.

  --rounds N          interleaved rounds; ratios are the medians over them [default: 7]
  --calls N           warm calls of one round [default: 10000]
  --starts N          cold starts of each kind [default: 60]

`neighbours` calls one account's function at a steady rate while another account's spins, leaks memory, forks, floods its
log or breaks the protocol, and shows what the one feels of the other, next to quiet rounds of the same run.

  --rounds N          interleaved quiet and noisy rounds of each; ratios are the medians over them [default: 3]
  --seconds S         length of a round [default: 4]

`soak` calls functions and kills environments very often, and fails if a descriptor, a mount, a control group or a zombie
is left, or memory has grown.

  --calls N           warm calls [default: 1000000]
  --kills N           environments killed [default: 10000]

examples:
  cargo xtask bench
  cargo xtask bench invoke --rounds 3
  cargo xtask bench --rounds 5 --seconds 2 --what before-the-route-table";

pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut profile = "release".to_owned();
    let mut passed = Vec::new();
    let functions = arguments.first().filter(|first| ["invoke", "neighbours", "soak"].contains(&first.as_str()));
    let mut rest = arguments.iter().skip(usize::from(functions.is_some()));
    while let Some(argument) = rest.next() {
        if argument == "--profile" {
            profile = rest.next().cloned().unwrap_or(profile);
        } else {
            passed.push(argument);
        }
    }
    if let Some(what) = functions {
        let bench = command::build_binary(root, "bench", &profile)?;
        let mut run = Command::new(bench);
        run.arg(what).arg("--results").arg(root.join("bench/results")).args(passed);
        return command::run(&mut run);
    }
    let server = command::build_binary(root, "portcullis", &profile)?;
    let bench = command::build_binary(root, "bench", &profile)?;
    let mut run = Command::new(bench);
    run.arg("run").arg("--server").arg(server).arg("--results").arg(root.join("bench/results")).args(passed);
    command::run(&mut run)
}
