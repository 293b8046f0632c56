//! Paths of our own: `/_portcullis/…`, and `/_localstack/…` in the shapes that scripts and container tests know.

use std::sync::atomic::Ordering;

use control::DECISIONS_PATH;
use http::Method;
use lambda::function::CODE_PATH;
use serde_json::{Value, json};

use super::{Shared, peer::Peer};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What health tells of itself under LocalStack's paths.
const EDITION: &str = "portcullis";
const SERVICES: &[&str] = &["apigateway", "cloudtrail", "iam", "lambda", "logs", "s3", "sts"];

/// Paths below ours that the control plane answers.
const CONTROL_PATHS: [&str; 2] = [CODE_PATH, DECISIONS_PATH];

/// Answers a request of ours: status and document. `None` if the path belongs to a plane. How this server is does not
/// concern a function.
pub(super) fn answer(method: &Method, path: &str, peer: Peer, shared: &Shared) -> Option<(u16, Value)> {
    if !ours(path) {
        return None;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let document: fn(&Shared) -> (u16, Value) = match path {
        "/_portcullis/health" if peer != Peer::Function => health,
        "/_localstack/health" => localstack_health,
        "/_localstack/info" if peer != Peer::Function => localstack_info,
        _ => {
            let message = match peer {
                Peer::Function => "nothing of this is served to functions",
                _ => "nothing is served at this path; see /_portcullis/health",
            };
            return Some((404, json!({ "error": "NotFound", "message": message })));
        }
    };
    if method != Method::GET && method != Method::HEAD {
        return Some((405, json!({ "error": "MethodNotAllowed", "message": "this path answers GET and HEAD" })));
    }
    Some(document(shared))
}

/// Whether a path is answered here. `/_portcullisX` is somebody's bucket or API, not ours.
fn ours(path: &str) -> bool {
    let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (below("/_portcullis") || below("/_localstack")) && !CONTROL_PATHS.iter().any(|control| path.starts_with(control))
}

fn health(shared: &Shared) -> (u16, Value) {
    let stopping = shared.stopping.load(Ordering::Relaxed);
    let document = json!({
        "status": if stopping { "stopping" } else { "running" },
        "ready": !stopping,
        "version": VERSION,
        "functions": shared.functions.now(),
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

#[cfg(test)]
mod tests {
    use super::ours;

    #[test]
    fn what_the_control_plane_answers_below_our_paths_is_left_to_it() {
        for path in ["/_portcullis", "/_portcullis/health", "/_portcullis/decisions", "/_localstack/info"] {
            assert!(ours(path), "{path}");
        }
        for path in ["/_portcullis/decisions/0", "/_portcullis/lambda/code/x", "/_portcullisX", "/", "/restapis"] {
            assert!(!ours(path), "{path}");
        }
    }
}
