//! A function's configuration: what is stored, what is answered, what is refused.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Host, Need, Result};

use crate::{
    check::{Checks, is_account},
    error::{access_denied, invalid, not_enforced},
    life::{Shown, Status},
    logging::LoggingConfig,
};

/// Memory where none is given, in MB.
pub const MEMORY_MB_DEFAULT: u32 = 128;
/// Timeout where none is given, in seconds.
pub const TIMEOUT_S_DEFAULT: u32 = 3;
/// Size of `/tmp` where none is given, in MB.
pub const EPHEMERAL_STORAGE_MB_DEFAULT: u32 = 512;

/// The largest environment, as the JSON text AWS measures.
const ENVIRONMENT_BYTES_MAX: usize = 4096;

const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
const VARIABLE_PATTERN: &str = "[a-zA-Z]([a-zA-Z0-9_])+";

/// Names the runtime itself sets. Source: Lambda Developer Guide, "Defined runtime environment variables".
const RESERVED_VARIABLES: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Code and settings of `$LATEST` or of a published version, by AWS's member names.
///
/// What every function here has alike (`PackageType`, `Architectures` and the like) is not stored but added by
/// [`Answer`]: other values are refused at the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Configuration {
    /// Name without qualifier.
    pub function_name: String,
    /// Unqualified for `$LATEST`, with the number for a version.
    pub function_arn: String,
    /// Identifier as the owner gave it.
    pub runtime: String,
    /// Execution role.
    pub role: String,
    /// `file.export`.
    pub handler: String,
    /// Size of the zip.
    pub code_size: u64,
    /// At most 256 characters.
    pub description: String,
    /// 1-900 seconds.
    pub timeout: u32,
    /// 128-10240 MB.
    pub memory_size: u32,
    /// As AWS spells it: `2025-11-25T02:26:54.000+0000`.
    pub last_modified: String,
    /// SHA-256 of the zip, base64.
    pub code_sha256: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// Absent until it is given once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Changes with every change, permissions included.
    pub revision_id: String,
    /// Size of `/tmp`.
    pub ephemeral_storage: EphemeralStorage,
    /// Layer versions, in the order they are laid over each other; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Absent where it says nothing but the defaults. Answers show it as `LoggingConfig`, with those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<LoggingConfig>,
}

/// A layer version as a function's configuration shows it. The content belongs to the function from then on: it stays
/// when the layer version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// Of the layer version.
    pub arn: String,
    /// Size of the zip.
    pub code_size: u64,
}

/// The customer's environment variables. Their values are secrets: `Debug` shows the names only.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    /// By name; at most 4 KB in all.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Size of `/tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EphemeralStorage {
    /// In MB.
    pub size: u32,
}

impl Configuration {
    /// Sets how it logs.
    ///
    /// # Errors
    /// As for [`LoggingConfig::check`].
    pub(crate) fn set_logging(&mut self, given: LoggingConfig) -> Result<()> {
        given.check()?;
        self.logging = Some(given).filter(|given| !given.is_default(&self.function_name));
        Ok(())
    }

    /// The constraints on a whole configuration, as it would be stored.
    ///
    /// # Errors
    /// `ValidationException` naming every member out of bounds, or `InvalidParameterValueException` for the environment.
    pub(crate) fn check(&self, host: &dyn Host) -> Result<()> {
        let mut checks = Checks::default();
        checks.length("description", &self.description, 0, 256);
        checks.length("handler", &self.handler, 0, 128);
        let spaced = self.handler.chars().any(char::is_whitespace);
        checks.pattern(!self.handler.is_empty() && !spaced, "handler", &self.handler, r"[^\s]+");
        checks.range("timeout", i64::from(self.timeout), 1, 900);
        checks.range("memorySize", i64::from(self.memory_size), 128, 10_240);
        checks.range("ephemeralStorage.size", i64::from(self.ephemeral_storage.size), 512, 10_240);
        if let Some(environment) = &self.environment {
            environment.check_names(&mut checks);
        }
        checks.done()?;
        if self.ephemeral_storage.size != EPHEMERAL_STORAGE_MB_DEFAULT && !host.sizes_tmp() {
            let only =
                "functions run unisolated on this server, where /tmp has no size of its own; leave it at 512 MB.";
            return Err(not_enforced("EphemeralStorage", only));
        }
        self.environment.as_ref().map_or(Ok(()), Environment::check)
    }

    /// Whether an execution environment of one could serve the other.
    pub(crate) fn runs_alike(&self, other: &Self) -> bool {
        let bare = |configuration: &Self| Self {
            last_modified: String::new(),
            revision_id: String::new(),
            ..configuration.clone()
        };
        bare(self) == bare(other)
    }
}

impl Environment {
    fn check_names(&self, checks: &mut Checks) {
        let fits = |name: &str| {
            name.len() > 1
                && name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        // A reserved name gets its own, clearer answer even where it does not fit the pattern.
        if self.variables.keys().any(|name| !fits(name) && !RESERVED_VARIABLES.contains(&name.as_str())) {
            // The map is sensitive: AWS prints neither names nor values here.
            checks.violated(format!(
                "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: \
                 [Member must satisfy regular expression pattern: {VARIABLE_PATTERN}]"
            ));
        }
    }

    fn check(&self) -> Result<()> {
        const UNABLE: &str = "Lambda was unable to configure your environment variables because the environment variables you have provided";
        let reserved: Vec<&str> =
            self.variables.keys().map(String::as_str).filter(|name| RESERVED_VARIABLES.contains(name)).collect();
        if !reserved.is_empty() {
            return Err(invalid(format!(
                "{UNABLE} contains reserved keys that are currently not supported for modification. Reserved keys used in \
                 this request: {}",
                reserved.join(", ")
            )));
        }
        // AWS repeats the measured text in its answer. It would carry the values into the audit record, so it is left out.
        if serde_json::to_vec(&self.variables).map_or(true, |text| text.len() > ENVIRONMENT_BYTES_MAX) {
            return Err(invalid(format!("{UNABLE} exceeded the 4KB limit.")));
        }
        if self.variables.values().any(|value| value.contains('\0')) {
            return Err(invalid(format!("{UNABLE} contains a NUL character, which no process can be given.")));
        }
        Ok(())
    }
}

/// The owner of a role, if the text has the form of a role's ARN.
pub(crate) fn role_account(role: &str) -> Option<&str> {
    let (partition, rest) = role.strip_prefix("arn:")?.split_once(":iam::")?;
    let (account, resource) = rest.split_once(':')?;
    let path = resource.strip_prefix("role")?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b);
    let partition_fits = partition.is_empty()
        || partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'));
    (partition_fits && is_account(account) && !path.is_empty() && path.bytes().all(fits)).then_some(account)
}

/// An execution role must have a role's form and belong to the function's owner. Whether it exists and trusts Lambda is
/// known to IAM's records alone; the first invocation that cannot have the role's credentials says so.
///
/// # Errors
/// `ValidationException`, or `AccessDeniedException` "Cross-account pass role is not allowed."
pub(crate) fn check_role(role: &str, owner: &str) -> Result<()> {
    let mut checks = Checks::default();
    let account = role_account(role);
    checks.pattern(account.is_some(), "role", role, ROLE_PATTERN);
    checks.done()?;
    if account == Some(owner) { Ok(()) } else { Err(access_denied(CROSS_ACCOUNT_ROLE)) }
}

const CROSS_ACCOUNT_ROLE: &str = "Cross-account pass role is not allowed.";

/// `iam:PassRole` on an execution role. A role of another account makes it a cross-account decision that no policy can
/// allow, answered with AWS's own sentence.
///
/// Source: IAM User Guide, "Granting a user permissions to pass a role to an AWS service".
pub(crate) fn pass_role(role: &str, owner: &str) -> Need {
    let account = role_account(role).unwrap_or(owner);
    Need {
        context: vec![("iam:PassedToService".to_owned(), "lambda.amazonaws.com".to_owned())],
        refusal: (account != owner).then(|| Box::new(access_denied(CROSS_ACCOUNT_ROLE))),
        ..Need::new("iam:PassRole", role, account)
    }
}

/// A runtime this node can run.
///
/// # Errors
/// `InvalidParameterValueException` with the node's reason: AWS's text for an unknown or retired runtime.
pub(crate) fn check_runtime(runtime: &str, cx: &Cx<'_>) -> Result<()> {
    // The warning about a retired runtime travels as a header, which `control` adds: it is no part of the answer's shape.
    cx.host.runtime(runtime).map(|_warning| ()).map_err(invalid)
}

/// Refuses a member that is not enforced unless it says what holds anyway.
///
/// # Errors
/// `InvalidParameterValueException` naming the member and what is possible.
pub(crate) fn check_unenforced(members: &[(&str, &Option<Value>)]) -> Result<()> {
    for (member, value) in members {
        let Some(value) = value else { continue };
        if let Some(only) = refusal(member, value) {
            return Err(not_enforced(member, only));
        }
    }
    Ok(())
}

/// Why `value` is refused; `None` if it is what AWS would have without it.
fn refusal(member: &str, value: &Value) -> Option<&'static str> {
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Bool(flag)) => !flag,
        Some(Value::Number(_)) => false,
    };
    let is = |name: &str, text: &str| value.get(name).is_none_or(|found| found == text);
    match member {
        "VpcConfig" => {
            let unset =
                ["SubnetIds", "SecurityGroupIds", "Ipv6AllowedForDualStack"].iter().all(|name| empty(value.get(name)));
            (!unset).then_some("functions run outside any VPC.")
        }
        "DeadLetterConfig" => {
            // A dead-letter queue is a queue or a topic on AWS too, never a function.
            (!empty(value.get("TargetArn"))).then_some(
                "there are no queues and topics here. Name a Lambda function as DestinationConfig.OnFailure with \
                 PutFunctionEventInvokeConfig.",
            )
        }
        "TracingConfig" => (!is("Mode", "PassThrough")).then_some("only the mode PassThrough is possible."),
        "SnapStart" => (!is("ApplyOn", "None")).then_some("only ApplyOn None is possible."),
        "PackageType" => (value != "Zip").then_some("only the package type Zip is possible."),
        "Architectures" => {
            (!empty(Some(value)) && *value != json!(["x86_64"])).then_some("only the architecture x86_64 is possible.")
        }
        _ => (!empty(Some(value))).then_some("it must be left out."),
    }
}

/// A configuration as AWS answers it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    #[serde(flatten)]
    configuration: Configuration,
    tracing_config: Value,
    #[serde(flatten)]
    status: Option<Shown>,
    package_type: &'static str,
    architectures: [&'static str; 1],
    snap_start: Value,
    logging_config: Value,
}

impl Answer {
    /// One function or version, with where it is in its life.
    pub(crate) fn new(configuration: Configuration, status: &Status) -> Self {
        Self { status: Some(status.shown()), ..Self::listed(configuration) }
    }

    /// An item of a list, which shows no state.
    pub(crate) fn listed(mut configuration: Configuration) -> Self {
        let logging = configuration.logging.take().unwrap_or_default();
        Self {
            tracing_config: json!({ "Mode": "PassThrough" }),
            status: None,
            package_type: "Zip",
            architectures: ["x86_64"],
            snap_start: json!({ "ApplyOn": "None", "OptimizationStatus": "Off" }),
            logging_config: logging.shown(&configuration.function_name),
            configuration,
        }
    }
}

/// Input or answer of a call as the audit record may show it: without code and without the values of the environment.
///
/// Source: Lambda Developer Guide, "Logging AWS Lambda API calls using AWS CloudTrail".
pub(crate) fn without_secrets(value: &Value) -> Value {
    let mut value = value.clone();
    let Some(members) = value.as_object_mut() else {
        return value;
    };
    members.remove("ZipFile");
    if let Some(code) = members.get_mut("Code").and_then(Value::as_object_mut) {
        code.remove("ZipFile");
    }
    if let Some(environment) = members.get_mut("Environment") {
        *environment = json!({});
    }
    value
}

#[cfg(test)]
mod tests;
