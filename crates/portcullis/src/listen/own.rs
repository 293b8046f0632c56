//! Paths of our own: `/_portcullis/…`, and `/_localstack/…` in the shapes that scripts and container tests know.

use std::sync::atomic::Ordering;

use http::Method;
use lambda::function::CODE_PATH;
use serde_json::{Value, json};

use super::Shared;

/// How well functions are kept apart, as told by health and status.
pub(crate) const ISOLATION: &str = "none (unisolated)";
/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What health tells of itself under LocalStack's paths.
const EDITION: &str = "portcullis";
const SERVICES: &[&str] = &["apigateway", "cloudtrail", "iam", "lambda", "s3", "sts"];

/// Answers a request of ours: status and document. `None` if the path belongs to a plane.
pub(super) fn answer(method: &Method, path: &str, shared: &Shared) -> Option<(u16, Value)> {
    if !path.starts_with("/_portcullis") && !path.starts_with("/_localstack") || path.starts_with(CODE_PATH) {
        return None;
    }
    let document: fn(&Shared) -> (u16, Value) = match path.strip_suffix('/').unwrap_or(path) {
        "/_portcullis/health" => health,
        "/_localstack/health" => localstack_health,
        "/_localstack/info" => localstack_info,
        _ if belongs(path) => {
            let message = format!("nothing is served at this path; see {}", "/_portcullis/health");
            return Some((404, json!({ "error": "NotFound", "message": message })));
        }
        _ => return None,
    };
    if method != Method::GET && method != Method::HEAD {
        return Some((405, json!({ "error": "MethodNotAllowed", "message": "this path answers GET and HEAD" })));
    }
    Some(document(shared))
}

/// `/_portcullisX` is somebody's bucket or API, not ours.
fn belongs(path: &str) -> bool {
    ["/_portcullis", "/_localstack"]
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn health(shared: &Shared) -> (u16, Value) {
    let stopping = shared.stopping.load(Ordering::Relaxed);
    let document = json!({
        "status": if stopping { "stopping" } else { "running" },
        "ready": !stopping,
        "version": VERSION,
        "functions": { "isolation": ISOLATION },
    });
    (if stopping { 503 } else { 200 }, document)
}

fn localstack_health(_: &Shared) -> (u16, Value) {
    let services: serde_json::Map<String, Value> =
        SERVICES.iter().map(|service| ((*service).to_owned(), Value::from("running"))).collect();
    (200, json!({ "services": services, "edition": EDITION, "version": VERSION }))
}

fn localstack_info(shared: &Shared) -> (u16, Value) {
    let now = jiff::Timestamp::now();
    let document = json!({
        "version": VERSION,
        "edition": EDITION,
        "is_license_activated": false,
        "session_id": "",
        "machine_id": "",
        "system": std::env::consts::OS,
        "is_docker": false,
        "server_time_utc": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        "uptime": shared.started.elapsed().as_secs(),
    });
    (200, document)
}
