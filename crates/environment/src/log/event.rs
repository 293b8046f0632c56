//! What the platform tells of a function, as text or as JSON.
//!
//! Source: AWS Lambda Developer Guide, "Configuring advanced logging controls for Lambda functions" and "Lambda
//! Telemetry API Event schema reference".

use std::fmt::Write as _;

use lambda::invoke::SystemLevel;
use serde_json::{Map, Value, json};

use super::RATE_BYTES_S;
use crate::clock::{epoch_ms, iso};

/// Something that happened to an environment.
pub(crate) enum Event<'a> {
    /// It begins; in text with what runs it.
    InitStart {
        text: &'a str,
        runtime: &'a str,
        initialization: &'a str,
    },
    /// The function could not be loaded.
    InitFailed {
        /// `timeout` or `error`.
        status: &'a str,
        error_type: Option<&'a str>,
        duration_us: u64,
    },
    Start {
        request_id: &'a str,
        version: &'a str,
    },
    /// The function has answered, or will not.
    End {
        request_id: &'a str,
        status: Option<&'a str>,
        duration_us: u64,
    },
    Report(&'a Report<'a>),
    /// The function has said more than is kept.
    Dropped {
        bytes: u64,
    },
}

impl Event<'_> {
    /// What the log gets, if anything: JSON from the level `json` on, or text.
    pub(crate) fn line(&self, json: Option<SystemLevel>) -> Option<String> {
        let Some(least) = json else { return Some(self.text()) };
        let (kind, level, record) = self.record();
        let event = || json!({ "time": iso(epoch_ms()), "type": kind, "record": record }).to_string();
        (level >= least).then(event)
    }

    fn text(&self) -> String {
        match self {
            Event::InitStart { text, .. } => (*text).to_owned(),
            Event::InitFailed { status, error_type, duration_us } => {
                let ms = ms(*duration_us);
                let mut line = format!("INIT_REPORT Init Duration: {ms:.2} ms\tPhase: init\tStatus: {status}\t");
                if let Some(error_type) = error_type {
                    let _ = write!(line, "Error Type: {error_type}\t");
                }
                line
            }
            Event::Start { request_id, version } => format!("START RequestId: {request_id} Version: {version}"),
            Event::End { request_id, .. } => format!("END RequestId: {request_id}"),
            Event::Report(report) => report.line(),
            Event::Dropped { bytes } => {
                format!("{bytes} bytes of log were dropped: more than {RATE_BYTES_S} bytes in a second")
            }
        }
    }

    /// Type, level and content.
    fn record(&self) -> (&'static str, SystemLevel, Value) {
        use SystemLevel::{Debug, Info, Warn};
        match self {
            Event::InitStart { runtime, initialization, .. } => {
                let record =
                    json!({ "initializationType": initialization, "phase": "init", "runtimeVersion": runtime });
                ("platform.initStart", Info, record)
            }
            Event::InitFailed { status, error_type, duration_us } => {
                let metrics = json!({ "durationMs": ms(*duration_us) });
                let mut record = json!({ "phase": "init", "status": status, "metrics": metrics });
                if let (Value::Object(record), Some(error_type)) = (&mut record, error_type) {
                    record.insert("errorType".into(), (*error_type).into());
                }
                ("platform.initReport", Warn, record)
            }
            Event::Start { request_id, version } => {
                ("platform.start", Info, json!({ "requestId": request_id, "version": version }))
            }
            Event::End { request_id, status, duration_us } => {
                let metrics = json!({ "durationMs": ms(*duration_us) });
                let record =
                    json!({ "requestId": request_id, "status": status.unwrap_or("success"), "metrics": metrics });
                ("platform.runtimeDone", if status.is_some() { Warn } else { Debug }, record)
            }
            Event::Report(report) => {
                ("platform.report", if report.status.is_some() { Warn } else { Info }, report.record())
            }
            Event::Dropped { bytes } => {
                let reason = format!("more than {RATE_BYTES_S} bytes in a second");
                ("platform.logsDropped", Warn, json!({ "droppedBytes": bytes, "reason": reason }))
            }
        }
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// What a `REPORT` line tells.
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) duration_us: u64,
    pub(crate) memory_mb: u32,
    pub(crate) peak_bytes: u64,
    /// Of the first invocation alone.
    pub(crate) init_us: Option<u64>,
    /// `timeout` or `error`.
    pub(crate) status: Option<&'a str>,
    pub(crate) error_type: Option<&'a str>,
    /// Whether functions are not isolated here, which every report then says.
    pub(crate) unisolated: bool,
}

impl Report<'_> {
    /// The line in AWS's text format: tab separated, with a tab at the end.
    pub(crate) fn line(&self) -> String {
        let (billed_ms, peak_mb) = (self.billed_ms(), self.peak_mb());
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {billed_ms} ms\tMemory Size: {} MB\tMax Memory \
             Used: {peak_mb} MB\t",
            self.request_id,
            ms(self.duration_us),
            self.memory_mb,
        );
        if let Some(init_us) = self.init_us {
            let _ = write!(line, "Init Duration: {:.2} ms\t", ms(init_us));
        }
        if let Some(status) = self.status {
            let _ = write!(line, "Status: {status}\t");
        }
        if let Some(error_type) = self.error_type {
            let _ = write!(line, "Error Type: {error_type}\t");
        }
        if self.unisolated {
            line.push_str("Isolation: none\t");
        }
        line
    }

    /// The record of a report in JSON.
    fn record(&self) -> Value {
        let mut metrics = Map::new();
        metrics.insert("durationMs".into(), ms(self.duration_us).into());
        metrics.insert("billedDurationMs".into(), self.billed_ms().into());
        metrics.insert("memorySizeMB".into(), self.memory_mb.into());
        metrics.insert("maxMemoryUsedMB".into(), self.peak_mb().into());
        if let Some(init_us) = self.init_us {
            metrics.insert("initDurationMs".into(), ms(init_us).into());
        }
        let mut record = Map::new();
        record.insert("requestId".into(), self.request_id.into());
        record.insert("metrics".into(), metrics.into());
        record.insert("status".into(), self.status.unwrap_or("success").into());
        if let Some(error_type) = self.error_type {
            record.insert("errorType".into(), error_type.into());
        }
        if self.unisolated {
            record.insert("isolation".into(), "none".into());
        }
        record.into()
    }

    fn billed_ms(&self) -> u64 {
        self.duration_us.saturating_add(self.init_us.unwrap_or(0)).div_ceil(1_000)
    }

    fn peak_mb(&self) -> u64 {
        self.peak_bytes.div_ceil(1_024 * 1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_form_of_aws() {
        let mut report = Report {
            request_id: "id",
            duration_us: 1_234,
            memory_mb: 128,
            peak_bytes: 38 * 1_024 * 1_024,
            init_us: Some(120_000),
            status: None,
            error_type: None,
            unisolated: false,
        };
        assert_eq!(
            report.line(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 122 ms\tMemory Size: 128 MB\tMax Memory Used: \
             38 MB\tInit Duration: 120.00 ms\t"
        );
        report.init_us = None;
        report.status = Some("timeout");
        assert!(report.line().ends_with("Status: timeout\t"));
    }

    #[test]
    fn a_failed_init_is_reported_in_the_form_of_aws() {
        let failed =
            |error_type| Event::InitFailed { status: "error", error_type, duration_us: 73_630 }.line(None).unwrap();
        let bare = "INIT_REPORT Init Duration: 73.63 ms\tPhase: init\tStatus: error\t";
        assert_eq!(failed(None), bare);
        assert_eq!(failed(Some("Runtime.ExitError")), format!("{bare}Error Type: Runtime.ExitError\t"));
    }

    #[test]
    fn events_are_json_from_a_level_on() {
        let report = |status| Report {
            request_id: "id",
            duration_us: 1_500,
            memory_mb: 128,
            peak_bytes: 1,
            init_us: None,
            status,
            error_type: status,
            unisolated: false,
        };
        let (good, bad) = (report(None), report(Some("timeout")));
        let start = Event::InitStart { text: "INIT_START", runtime: "nodejs20.x", initialization: "on-demand" };
        let end = |status| Event::End { request_id: "id", status, duration_us: 1 };
        use SystemLevel::{Debug, Info, Warn};
        for (event, kind, level) in [
            (start, "platform.initStart", Info),
            (Event::InitFailed { status: "timeout", error_type: None, duration_us: 1 }, "platform.initReport", Warn),
            (Event::Start { request_id: "id", version: "1" }, "platform.start", Info),
            (end(None), "platform.runtimeDone", Debug),
            (end(Some("error")), "platform.runtimeDone", Warn),
            (Event::Report(&good), "platform.report", Info),
            (Event::Report(&bad), "platform.report", Warn),
            (Event::Dropped { bytes: 5 }, "platform.logsDropped", Warn),
        ] {
            for least in [Debug, Info, Warn] {
                assert_eq!(event.line(Some(least)).is_some(), level >= least, "{kind} {least:?}");
            }
            let line: Value = serde_json::from_str(&event.line(Some(Debug)).unwrap()).unwrap();
            assert_eq!(line["type"], kind);
            assert!(event.line(None).is_some_and(|text| !text.starts_with('{')));
        }
        let expected = json!({
            "requestId": "id",
            "metrics": { "durationMs": 1.5, "billedDurationMs": 2, "memorySizeMB": 128, "maxMemoryUsedMB": 1 },
            "status": "timeout",
            "errorType": "timeout",
        });
        assert_eq!(bad.record(), expected);
    }
}
