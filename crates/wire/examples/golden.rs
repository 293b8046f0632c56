//! Writes the golden answers; see `testdata/golden/README.md`.

use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    match std::env::args().nth(1).as_deref() {
        Some("names") => {
            let wanted = wire::table::coverage().filter(|(service, _, tier)| *service != "s3" && *tier <= 2);
            let names: Vec<String> = wanted.map(|(service, operation, _)| format!("{service}:{operation}")).collect();
            writeln!(std::io::stdout(), "{}", Value::from(names))
        }
        Some("answers") => {
            let mut answers = std::fs::File::create(folder.join("answers.jsonl"))?;
            for line in std::fs::read_to_string(folder.join("outputs.jsonl"))?.lines() {
                let line: Value = serde_json::from_str(line)?;
                let (service, operation) = (line["service"].as_str(), line["operation"].as_str());
                let found = wire::table::service(service.unwrap_or_default());
                let found = found.and_then(|service| service.operation(operation.unwrap_or_default()));
                let Some(op) = found else { continue };
                let encoded = wire::protocol::encode(op, &line["output"], "the-request-id");
                let body = base64::engine::general_purpose::STANDARD.encode(&encoded.body);
                let answer = json!({
                    "service": service, "operation": operation, "status": encoded.status,
                    "headers": encoded.headers, "body": body,
                });
                writeln!(answers, "{answer}")?;
            }
            Ok(())
        }
        _ => writeln!(std::io::stderr(), "golden names|answers"),
    }
}
