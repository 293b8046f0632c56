//! What is answered to a runtime.

use crate::process::Call;

/// An answer to a runtime, but for the event it may be waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    status: u16,
    content_type: &'static str,
    body: String,
    /// A runtime cannot go on with this connection.
    pub(crate) closes: bool,
}

impl Reply {
    fn json(status: u16, body: String) -> Reply {
        Reply { status, content_type: "application/json", body, closes: false }
    }

    fn error(status: u16, kind: &str, message: &str) -> Reply {
        Reply::json(status, serde_json::json!({ "errorMessage": message, "errorType": kind }).to_string())
    }

    pub(crate) fn accepted() -> Reply {
        Reply::json(202, "{\"status\":\"OK\"}\n".to_owned())
    }

    pub(crate) fn pong() -> Reply {
        Reply { status: 200, content_type: "text/plain; charset=utf-8", body: "pong".to_owned(), closes: false }
    }

    pub(crate) fn not_found() -> Reply {
        let body = "404 page not found\n".to_owned();
        Reply { status: 404, content_type: "text/plain; charset=utf-8", body, closes: false }
    }

    pub(crate) fn method_not_allowed() -> Reply {
        Reply { status: 405, content_type: "text/plain; charset=utf-8", body: String::new(), closes: false }
    }

    pub(crate) fn malformed() -> Reply {
        let body = "400 Bad Request".to_owned();
        Reply { status: 400, content_type: "text/plain; charset=utf-8", body, closes: true }
    }

    pub(crate) fn invalid_request_id() -> Reply {
        Reply::error(400, "InvalidRequestID", "Invalid request ID")
    }

    pub(crate) fn invalid_response_mode() -> Reply {
        Reply::error(400, "InvalidFunctionResponseMode", "Invalid function response mode")
    }

    pub(crate) fn too_large() -> Reply {
        let limit = crate::frame::RESULT_BYTES_MAX;
        Reply::error(413, "RequestEntityTooLarge", &format!("Exceeded maximum allowed payload size ({limit} bytes)."))
    }

    pub(crate) fn truncated() -> Reply {
        let reply = Reply::error(400, "TruncatedHTTPRequest", "HTTP request detected as truncated");
        Reply { closes: true, ..reply }
    }

    pub(crate) fn invalid_transition(from: &str, to: &str) -> Reply {
        let message =
            format!("State transition from {from} to {to} failed for runtime. Error: State transition is not allowed");
        Reply::error(403, "InvalidStateTransition", &message)
    }

    /// Appends the answer as it goes over the wire.
    pub(crate) fn write(&self, keeps: bool, out: &mut Vec<u8>) {
        let reason = match self.status {
            200 => "OK",
            202 => "Accepted",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Request Entity Too Large",
        };
        field(out, "HTTP/1.1 ", &self.status.to_string());
        out.truncate(out.len().saturating_sub(2));
        field(out, " ", reason);
        field(out, "Content-Type: ", self.content_type);
        field(out, "Content-Length: ", &self.body.len().to_string());
        if !keeps || self.closes {
            field(out, "Connection: ", "close");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_bytes());
    }
}

/// Appends the head of the answer that carries an event of `event_bytes`; the event itself goes behind it.
pub(crate) fn delivery(call: &Call<'_>, event_bytes: usize, keeps: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
    field(out, "Lambda-Runtime-Aws-Request-Id: ", call.id);
    field(out, "Lambda-Runtime-Deadline-Ms: ", &call.deadline_ms.to_string());
    field(out, "Lambda-Runtime-Invoked-Function-Arn: ", call.arn);
    if let Some(trace) = call.trace.filter(|trace| !trace.is_empty()) {
        field(out, "Lambda-Runtime-Trace-Id: ", trace);
    }
    if let Some(context) = call.client_context.filter(|context| !context.is_empty()) {
        field(out, "Lambda-Runtime-Client-Context: ", context);
    }
    if !keeps {
        field(out, "Connection: ", "close");
    }
    field(out, "Content-Length: ", &event_bytes.to_string());
    out.extend_from_slice(b"\r\n");
}

/// One line of a head. What comes from callers may hold anything; a line end in it must not begin another field.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend(value.bytes().map(|byte| if byte < b' ' || byte == 0x7f { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}
