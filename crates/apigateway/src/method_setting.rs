//! `MethodSetting` and `AccessLogSettings`: what a stage logs and how much it lets through.

use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// Settings of one method of a stage, or of all. What is not set comes from `*/*`, then from AWS's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodSetting {
    /// `OFF`, `ERROR` or `INFO`; nothing is logged by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging_level: Option<String>,
    /// Whether requests and answers are logged whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_trace_enabled: Option<bool>,
    /// Never true: there are no metrics yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_enabled: Option<bool>,
    /// Requests at once; 0 blocks everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling_burst_limit: Option<i64>,
    /// Requests in a second; 0 blocks everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling_rate_limit: Option<f64>,
}

/// Where a stage writes its access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessLogSettings {
    /// A log group of the stage's own account and region, `arn:P:logs:R:ACCOUNT:log-group:NAME`.
    pub destination_arn: String,
    /// One line with `$context` variables.
    pub format: String,
}

impl Stage {
    /// The settings that hold for a method: its own ones, and for what it leaves unset those of `*/*`. `path` is the
    /// resource's, with slashes; `verb` as the method has it, `ANY` included.
    ///
    /// \[U\] Whether AWS fills a method's unset members from `*/*` or from the defaults is not documented.
    #[must_use]
    pub fn settings_of(&self, path: &str, verb: &str) -> MethodSetting {
        let all = self.method_settings.get("*/*").cloned().unwrap_or_default();
        let Some(own) = self.method_settings.get(&key(path, verb)).cloned() else { return all };
        MethodSetting {
            logging_level: own.logging_level.or(all.logging_level),
            data_trace_enabled: own.data_trace_enabled.or(all.data_trace_enabled),
            metrics_enabled: own.metrics_enabled.or(all.metrics_enabled),
            throttling_burst_limit: own.throttling_burst_limit.or(all.throttling_burst_limit),
            throttling_rate_limit: own.throttling_rate_limit.or(all.throttling_rate_limit),
        }
    }
}

/// The key of a method in [`Stage::method_settings`].
pub(crate) fn key(path: &str, verb: &str) -> String {
    format!("{}/{verb}", path.replace('~', "~0").replace('/', "~1"))
}
