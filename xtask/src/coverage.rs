//! `cargo xtask coverage`: docs/coverage.md, from what the control plane says of itself.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::command;

const PAGE: &str = "docs/coverage.md";

const HEAD: &str = "\
<!-- Made by `cargo xtask coverage` from the operations the control plane has. Do not edit. -->

# Coverage

Which AWS operations this version has. Three words, each with one meaning:

- **Enforced**: the operation exists, its permission is checked, and whatever it stores takes effect.
- **Refused**: an input member of an enforced operation that nothing enforces yet. A call that sends it is answered with
  the service's own validation error, which names the member; nothing is stored.
- **Not available**: the operation is known by name only. A call is answered with the service's error for an unknown or
  unsupported operation and changes nothing.

Values that an enforced member does not take yet, such as an integration type, are refused in the same way by the
operation itself and are not listed here.

Tier 1 is what the walk-through across two accounts needs, tier 2 what common tools call, tier 3 the rest of AWS's
models.

";

/// One operation, as `crates/control/examples/operations.rs` prints it.
#[derive(Debug, Deserialize)]
struct Operation {
    service: String,
    name: String,
    tier: u8,
    implemented: bool,
    refused: Vec<String>,
}

/// Writes the page, or with `check` compares it.
///
/// # Errors
/// When the control plane does not build, or the page is stale.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let lines = command::output(command::cargo(root).args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "control",
        "--example",
        "operations",
    ]))?;
    let operations: Vec<Operation> =
        lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the list of operations")?;
    let page = page(&operations);
    let path = root.join(PAGE);
    if fs::read_to_string(&path).is_ok_and(|text| text == page) {
        return crate::say("coverage: docs/coverage.md is fresh");
    }
    if check {
        bail!("{PAGE} is stale; run `cargo xtask coverage`");
    }
    fs::create_dir_all(root.join("docs"))?;
    fs::write(&path, page).with_context(|| format!("writing {PAGE}"))?;
    crate::say("coverage: docs/coverage.md written")
}

fn page(operations: &[Operation]) -> String {
    let mut out = HEAD.to_owned();
    let mut services: Vec<&str> = Vec::new();
    for operation in operations {
        if !services.contains(&operation.service.as_str()) {
            services.push(&operation.service);
        }
    }
    out.push_str("| service | tier 1 | tier 2 | tier 3 | all | refused members |\n|---|---:|---:|---:|---:|---:|\n");
    for service in services.iter().copied().map(Some).chain([None]) {
        let of = |tier: Option<u8>| {
            let these: Vec<_> =
                operations.iter().filter(|o| in_row(o, service) && tier.is_none_or(|t| t == o.tier)).collect();
            let enforced = these.iter().filter(|o| o.implemented).count();
            if these.is_empty() { "-".to_owned() } else { format!("{enforced} of {}", these.len()) }
        };
        let refused: usize = operations.iter().filter(|o| in_row(o, service)).map(|o| o.refused.len()).sum();
        let name = service.unwrap_or("**all**");
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {refused} |",
            of(Some(1)),
            of(Some(2)),
            of(Some(3)),
            of(None)
        );
    }
    for service in services {
        section(&mut out, service, operations);
    }
    out
}

fn in_row(operation: &Operation, service: Option<&str>) -> bool {
    service.is_none_or(|service| operation.service == service)
}

fn section(out: &mut String, service: &str, operations: &[Operation]) {
    let _ = writeln!(out, "\n## {service}\n");
    let these = || operations.iter().filter(|operation| operation.service == service);
    if !these().any(|operation| operation.implemented) {
        out.push_str("None of its operations is available.\n");
        return;
    }
    out.push_str("| operation | tier | refused members |\n|---|---|---|\n");
    for operation in these().filter(|operation| operation.implemented) {
        let refused: Vec<String> = operation.refused.iter().map(|member| format!("`{member}`")).collect();
        let _ = writeln!(out, "| {} | {} | {} |", operation.name, operation.tier, refused.join(", "));
    }
    for tier in 1..=3 {
        let missing: Vec<&str> =
            these().filter(|o| !o.implemented && o.tier == tier).map(|operation| operation.name.as_str()).collect();
        if !missing.is_empty() {
            let _ = writeln!(out, "\nNot available, tier {tier}: {}.", missing.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_and_names_what_is_refused() {
        let operation = |service: &str, name: &str, tier, implemented, refused: &[&str]| Operation {
            service: service.to_owned(),
            name: name.to_owned(),
            tier,
            implemented,
            refused: refused.iter().map(|member| (*member).to_owned()).collect(),
        };
        let page = page(&[
            operation("lambda", "Invoke", 1, true, &["DurableExecutionName"]),
            operation("lambda", "GetLayer", 2, false, &[]),
            operation("logs", "GetLogEvents", 1, false, &[]),
        ]);
        for part in [
            "| lambda | 1 of 1 | 0 of 1 | - | 1 of 2 | 1 |",
            "| **all** | 1 of 2 | 0 of 1 | - | 1 of 3 | 1 |",
            "| Invoke | 1 | `DurableExecutionName` |",
            "Not available, tier 2: GetLayer.",
            "## logs\n\nNone of its operations is available.",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
