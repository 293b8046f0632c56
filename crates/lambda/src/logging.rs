//! How a function logs: as text or JSON, from which level on, and where to.
//!
//! Source: Lambda Developer Guide, "Configuring advanced logging controls for Lambda functions".

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::Result;

use crate::{
    check::Checks,
    error::invalid,
    invoke::{JsonLogging, Logging, SystemLevel},
};

const GROUP_PATTERN: &str = r"[\.\-_/#A-Za-z0-9]+";

/// `LoggingConfig` as a call gives it and a record keeps it: what is not given has AWS's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    /// `Text` or `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// The least level of the function's own messages; with JSON alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_log_level: Option<String>,
    /// The least level of Lambda's messages; with JSON alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_log_level: Option<String>,
    /// The log group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
}

impl LoggingConfig {
    /// # Errors
    /// `ValidationException` for a member out of bounds; `InvalidParameterValueException` for a level without JSON.
    pub(crate) fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        let mut one_of = |member: &str, value: &Option<String>, values: &[&str]| {
            let Some(value) = value else { return };
            checks.require(values.contains(&value.as_str()), member, value, || {
                format!("Member must satisfy enum value set: [{}]", values.join(", "))
            });
        };
        one_of("loggingConfig.logFormat", &self.log_format, &["JSON", "Text"]);
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        one_of("loggingConfig.applicationLogLevel", &self.application_log_level, &levels);
        one_of("loggingConfig.systemLogLevel", &self.system_log_level, &["DEBUG", "INFO", "WARN"]);
        if let Some(group) = &self.log_group {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_/#".contains(&b);
            let holds = !group.is_empty() && group.bytes().all(fits);
            checks.pattern(holds, "loggingConfig.logGroup", group, GROUP_PATTERN);
            checks.length("loggingConfig.logGroup", group, 1, 512);
        }
        checks.done()?;
        // [U] AWS's own text.
        if !self.is_json() && (self.application_log_level.is_some() || self.system_log_level.is_some()) {
            return Err(invalid("ApplicationLogLevel and SystemLogLevel can only be set when LogFormat is JSON."));
        }
        Ok(())
    }

    fn is_json(&self) -> bool {
        self.log_format.as_deref() == Some("JSON")
    }

    /// Whether it says what holds without it.
    pub(crate) fn is_default(&self, function: &str) -> bool {
        !self.is_json() && self.log_group.as_ref().is_none_or(|group| *group == default_group(function))
    }

    /// As an answer shows it, with the defaults.
    pub(crate) fn shown(&self, function: &str) -> Value {
        let group = self.log_group.clone().unwrap_or_else(|| default_group(function));
        if self.is_json() {
            let level = |level: &Option<String>| level.clone().unwrap_or_else(|| "INFO".to_owned());
            return json!({
                "LogFormat": "JSON",
                "ApplicationLogLevel": level(&self.application_log_level),
                "SystemLogLevel": level(&self.system_log_level),
                "LogGroup": group,
            });
        }
        json!({ "LogFormat": "Text", "LogGroup": group })
    }

    /// As an execution environment is told it.
    pub(crate) fn running(&self) -> Logging {
        let json = self.is_json().then(|| JsonLogging {
            application_level: self.application_log_level.clone().unwrap_or_else(|| "INFO".to_owned()),
            system_level: match self.system_log_level.as_deref() {
                Some("DEBUG") => SystemLevel::Debug,
                Some("WARN") => SystemLevel::Warn,
                _ => SystemLevel::Info,
            },
        });
        Logging { group: self.log_group.clone(), json }
    }
}

/// Where a function logs unless it says otherwise.
fn default_group(function: &str) -> String {
    format!("/aws/lambda/{function}")
}
