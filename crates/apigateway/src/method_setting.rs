//! `MethodSetting` and `AccessLogSettings`: what a stage logs and how much it lets through.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Result, Tx};

use crate::error::{bad_request, limit_exceeded, unsupported_value};
use crate::limits::{METHOD_SETTINGS_MAX, check_text};
use crate::stage::Stage;
use crate::{account, method};

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
    /// Requests at once; 0 blocks everything, -1 sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling_burst_limit: Option<i64>,
    /// Requests in a second; 0 blocks everything, -1 sets no limit.
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
    /// resource's, with slashes; `verb` as the method has it, `ANY` included. A limit of -1 comes back as none.
    ///
    /// \[U\] Whether AWS fills a method's unset members from `*/*` or from the defaults is not documented.
    #[must_use]
    pub fn settings_of(&self, path: &str, verb: &str) -> MethodSetting {
        let settings = self.merged(&key(path, verb));
        MethodSetting {
            throttling_burst_limit: settings.throttling_burst_limit.filter(|limit| *limit >= 0),
            throttling_rate_limit: settings.throttling_rate_limit.filter(|limit| *limit >= 0.0),
            ..settings
        }
    }

    fn merged(&self, key: &str) -> MethodSetting {
        let all = self.method_settings.get(ALL).cloned().unwrap_or_default();
        let Some(own) = self.method_settings.get(key).cloned() else { return all };
        MethodSetting {
            logging_level: own.logging_level.or(all.logging_level),
            data_trace_enabled: own.data_trace_enabled.or(all.data_trace_enabled),
            metrics_enabled: own.metrics_enabled.or(all.metrics_enabled),
            throttling_burst_limit: own.throttling_burst_limit.or(all.throttling_burst_limit),
            throttling_rate_limit: own.throttling_rate_limit.or(all.throttling_rate_limit),
        }
    }
}

/// The key that stands for all methods.
const ALL: &str = "*/*";

/// The key of a method in [`Stage::method_settings`].
fn key(path: &str, verb: &str) -> String {
    format!("{}/{verb}", path.replace('~', "~0").replace('/', "~1"))
}

/// What clients see of a method's settings: those that hold, and AWS's defaults for the others.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodSettingOutput {
    metrics_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_level: Option<String>,
    data_trace_enabled: bool,
    throttling_burst_limit: i64,
    throttling_rate_limit: f64,
    caching_enabled: bool,
    cache_ttl_in_seconds: u32,
    cache_data_encrypted: bool,
    require_authorization_for_cache_control: bool,
    unauthorized_cache_control_header_strategy: &'static str,
}

/// The settings of a stage as clients see them, each under the spelling it was set by.
pub(crate) fn shown(stage: &Stage) -> BTreeMap<String, MethodSettingOutput> {
    let shown = |key: &String| {
        let setting = stage.merged(key);
        let output = MethodSettingOutput {
            metrics_enabled: setting.metrics_enabled.unwrap_or(false),
            logging_level: setting.logging_level,
            data_trace_enabled: setting.data_trace_enabled.unwrap_or(false),
            throttling_burst_limit: setting.throttling_burst_limit.unwrap_or(5000),
            throttling_rate_limit: setting.throttling_rate_limit.unwrap_or(10_000.0),
            caching_enabled: false,
            cache_ttl_in_seconds: 300,
            cache_data_encrypted: false,
            require_authorization_for_cache_control: true,
            unauthorized_cache_control_header_strategy: "SUCCEED_WITH_RESPONSE_HEADER",
        };
        (stage.method_spellings.get(key).unwrap_or(key).clone(), output)
    };
    stage.method_settings.keys().map(shown).collect()
}

/// A patch's path that names a method, and what behind it is left.
pub(crate) struct Named<'p> {
    key: String,
    spelling: String,
    /// Group and name of a setting, or nothing when the method as a whole is meant.
    pub(crate) setting: Option<(&'p str, &'p str)>,
}

/// Reads `{path}/{verb}[/{group}/{setting}]`, or `*/*` in place of path and verb. The path may have its slashes as `~1`
/// or, as Terraform sends them, as they are; its first one may be missing then. `None` for any other path.
pub(crate) fn named<'p>(step: &Step, path: &'p [&'p str]) -> Option<Named<'p>> {
    let (method, setting) = match path {
        [method @ .., group, setting] if is_setting(group, setting) => (method, Some((*group, *setting))),
        method => (method, None),
    };
    let [resource @ .., verb] = method else { return None };
    let sent = step.path().trim_start_matches('/');
    let spelling = setting.map_or(Some(sent), |(group, setting)| sent.strip_suffix(&format!("/{group}/{setting}")))?;
    let key = if resource == ["*"] && *verb == "*" {
        ALL.to_owned()
    } else {
        let resource = resource.join("/");
        let is_path = !resource.is_empty() && !resource.contains('*') && method::VERBS.contains(verb);
        if !is_path {
            return None;
        }
        key(&format!("/{}", resource.trim_start_matches('/')), verb)
    };
    Some(Named { key, spelling: spelling.to_owned(), setting })
}

fn is_setting(group: &str, setting: &str) -> bool {
    let settings: &[&str] = match group {
        "metrics" => &["enabled"],
        "logging" => &["dataTrace", "loglevel"],
        "throttling" => &["burstLimit", "rateLimit"],
        "caching" => &[
            "ttlInSeconds",
            "enabled",
            "dataEncrypted",
            "requireAuthorizationForCacheControl",
            "unauthorizedCacheControlHeaderStrategy",
        ],
        _ => &[],
    };
    settings.contains(&setting)
}

/// Sets one setting of a method or of all.
///
/// # Errors
/// `BadRequestException` for a value of the wrong form, for what is not enforced yet (metrics, caching), and for logging
/// while the account names no role for it.
pub(crate) fn set(stage: &mut Stage, named: Named<'_>, step: &Step, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    let Some((group, name)) = named.setting else { return Ok(()) };
    let value = step.value.as_deref().unwrap_or_default();
    let mut setting = stage.method_settings.get(&named.key).cloned().unwrap_or_default();
    let refuse = || Err(unsupported_value(&format!("The method setting {group}/{name}"), value));
    match (group, name) {
        ("logging", "loglevel") => {
            match value {
                "OFF" => {}
                "ERROR" | "INFO" => account::check_may_log(cx, tx)?,
                _ => return Err(bad_request(format!("Invalid logging level {value}, must be OFF, ERROR or INFO"))),
            }
            setting.logging_level = Some(value.to_owned());
        }
        ("logging", _) => setting.data_trace_enabled = Some(step.flag()),
        ("throttling", "burstLimit") => setting.throttling_burst_limit = Some(limit(step, i64::from(i32::MAX))?),
        ("throttling", _) => setting.throttling_rate_limit = Some(rate(step)?),
        ("metrics", _) if step.flag() => return refuse(),
        ("metrics", _) => setting.metrics_enabled = Some(false),
        // Caching is off; only the values that change nothing are taken.
        (_, "enabled" | "dataEncrypted") if step.flag() => return refuse(),
        (_, "ttlInSeconds") if value != "300" => return refuse(),
        (_, "requireAuthorizationForCacheControl") if !step.flag() => return refuse(),
        (_, "unauthorizedCacheControlHeaderStrategy") if value != "SUCCEED_WITH_RESPONSE_HEADER" => return refuse(),
        _ => {}
    }
    if !stage.method_settings.contains_key(&named.key) && stage.method_settings.len() >= METHOD_SETTINGS_MAX {
        return Err(limit_exceeded("method settings", "stage"));
    }
    if named.spelling == named.key {
        stage.method_spellings.remove(&named.key);
    } else {
        check_text("path", &named.spelling)?;
        stage.method_spellings.insert(named.key.clone(), named.spelling);
    }
    check_text("path", &named.key)?;
    stage.method_settings.insert(named.key, setting);
    Ok(())
}

/// Takes all settings of a method away; whether there were any.
pub(crate) fn remove(stage: &mut Stage, named: &Named<'_>) -> bool {
    stage.method_spellings.remove(&named.key);
    stage.method_settings.remove(&named.key).is_some()
}

/// \[U\] AWS's text is not recorded.
fn invalid(step: &Step) -> service::ServiceError {
    let value = step.value.as_deref().unwrap_or("null");
    bad_request(format!("Invalid value {value} specified for {}", step.path()))
}

fn limit(step: &Step, max: i64) -> Result<i64> {
    let value = step.value.as_deref().and_then(|value| value.parse::<i64>().ok());
    value.filter(|value| (-1..=max).contains(value)).ok_or_else(|| invalid(step))
}

fn rate(step: &Step) -> Result<f64> {
    let value = step.value.as_deref().and_then(|value| value.parse::<f64>().ok());
    // No other number below zero has a meaning, and no infinite one can be stored.
    let value = value.filter(|value| value.is_finite() && (*value >= 0.0 || (*value + 1.0).abs() < f64::EPSILON));
    value.ok_or_else(|| invalid(step))
}

/// Changes where a stage writes its access log, or how. Both must be set once all steps are done, see
/// [`check_access_log`].
pub(crate) fn patch_access_log(stage: &mut Stage, step: &Step, rest: &[&str]) -> Result<()> {
    let [member @ ("destinationArn" | "format")] = rest else {
        return Err(bad_request(
            "Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, \
             /accessLogSettings/format]",
        ));
    };
    let value = step.text().ok_or_else(|| bad_request("Access Log value must not be empty"))?;
    let unset = || AccessLogSettings { destination_arn: String::new(), format: String::new() };
    let settings = stage.access_log_settings.get_or_insert_with(unset);
    match *member {
        // Some clients name the group's streams.
        "destinationArn" => settings.destination_arn = value.strip_suffix(":*").unwrap_or(value).to_owned(),
        _ => settings.format = value.strip_suffix('\n').unwrap_or(value).to_owned(),
    }
    Ok(())
}

/// Checks the access log as a whole, when a call changed it.
///
/// Source: API Gateway Developer Guide, "Set up CloudWatch logging for REST APIs in API Gateway".
///
/// # Errors
/// `BadRequestException` for another destination than a log group of the caller's account and region, a format of more
/// lines than one or without an id of the request, and while the account names no role for logs.
pub(crate) fn check_access_log(stage: &Stage, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    let Some(AccessLogSettings { destination_arn, format }) = &stage.access_log_settings else { return Ok(()) };
    if destination_arn.is_empty() || format.is_empty() {
        return Err(bad_request("Access Log value must not be empty"));
    }
    check_destination(destination_arn, cx)?;
    if format.len() > ACCESS_LOG_FORMAT_BYTES_MAX {
        return Err(bad_request(format!(
            "Invalid access log format specified, can be at most {ACCESS_LOG_FORMAT_BYTES_MAX} bytes."
        )));
    }
    if format.chars().any(|c| matches!(c, '\n' | '\r')) {
        return Err(bad_request(
            "Access Log format must be single line, new line character is allowed only at end of the format",
        ));
    }
    if !["$context.requestId", "$context.extendedRequestId"].iter().any(|id| format.contains(id)) {
        // [U]: AWS's text is not recorded.
        return Err(bad_request(
            "Access Log format must contain at least $context.requestId or $context.extendedRequestId",
        ));
    }
    account::check_may_log(cx, tx)
}

/// One access log format. AWS documents 3 KB.
pub const ACCESS_LOG_FORMAT_BYTES_MAX: usize = 3 * 1024;

fn check_destination(arn: &str, cx: &Cx<'_>) -> Result<()> {
    let mut parts = arn.splitn(7, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (scheme, partition, service, region, account, kind, name) =
        (part(), part(), part(), part(), part(), part(), part());
    if scheme == "arn" && service == "firehose" {
        return Err(unsupported_value("accessLogSettings.destinationArn", arn));
    }
    let is_group = scheme == "arn"
        && partition.starts_with("aws")
        && service == "logs"
        && kind == "log-group"
        && (1..=512).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_/.#".contains(c));
    // [U]: AWS's text for a group of another account or region is not recorded.
    if !is_group || region != cx.region.as_str() || account != cx.account() {
        return Err(bad_request("Invalid ARN specified in the request"));
    }
    Ok(())
}

/// Whether a step changes the access log, so that it must be checked.
pub(crate) fn is_access_log(step: &Step) -> bool {
    step.op != Op::Remove && step.path().starts_with("/accessLogSettings")
}

#[cfg(test)]
mod tests;
