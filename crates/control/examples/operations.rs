//! Prints every operation of AWS's tables as one JSON object a line: what `cargo xtask coverage` makes its page of.

use std::{collections::BTreeSet, io::Write};

fn main() -> std::io::Result<()> {
    let implemented: BTreeSet<_> = control::implemented().into_iter().collect();
    let mut out = std::io::stdout().lock();
    for (service, name, tier) in wire::table::coverage() {
        let line = serde_json::json!({
            "service": service,
            "name": name,
            "tier": tier,
            "implemented": implemented.contains(&(service, name)),
            "refused": control::refused(service, name),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
