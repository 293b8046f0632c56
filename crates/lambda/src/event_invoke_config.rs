//! Event invoke configurations: how often and how long an asynchronous invocation is tried, and who hears of its end.
//!
//! One for the function itself, kept as that of `$LATEST`, and one for each version and alias; an invocation goes by the
//! one of the qualifier it was made through. Sources: Lambda Developer Guide, "How Lambda handles errors and retries with
//! asynchronous invocation", "Capturing records of Lambda asynchronous invocations"; texts of errors from recorded answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Scope, Timestamp, Tx};

use crate::{
    alias::Alias,
    check::Checks,
    directory::QualifierKey,
    error::{invalid, not_enforced, not_found},
    function::Function,
    name::{Address, LATEST, Sharing, names_version},
    paging,
    permission::ResourcePolicy,
    version::Version,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutFunctionEventInvokeConfig>(),
    Entry::of::<UpdateFunctionEventInvokeConfig>(),
    Entry::of::<GetFunctionEventInvokeConfig>(),
    Entry::of::<DeleteFunctionEventInvokeConfig>(),
    Entry::of::<ListFunctionEventInvokeConfigs>(),
];

/// Tries after the first where none are set.
pub const RETRIES_DEFAULT: u32 = 2;
/// How long an event is kept where nothing is set, seconds: six hours, which is also the most.
pub const EVENT_AGE_S_DEFAULT: u32 = 21_600;

/// A configuration. Key: parent = function name, id = qualifier, `$LATEST` for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventInvokeConfig {
    /// Epoch seconds.
    pub last_modified: f64,
    /// With its qualifier.
    pub function_arn: String,
    /// Tries after the first, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<u32>,
    /// 60 to 21,600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_event_age_in_seconds: Option<u32>,
    /// Who hears of the end.
    #[serde(default)]
    pub destination_config: DestinationConfig,
}

/// Who hears of an event that succeeded, and of one that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DestinationConfig {
    /// Of a success.
    #[serde(default)]
    pub on_success: Destination,
    /// Of a failure.
    #[serde(default)]
    pub on_failure: Destination,
}

/// One destination, if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Destination {
    /// ARN of a function, with or without a qualifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

impl Record for EventInvokeConfig {
    const NOUN: &'static str = "lambda/EventInvokeConfig";
}

impl EventInvokeConfig {
    /// The configuration an invocation through `qualifier` goes by; the empty one is the function itself.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub fn of(scope: &Scope, function: &str, qualifier: &str, tx: &mut Tx<'_>) -> Result<Option<Self>> {
        tx.get(scope, function, if qualifier.is_empty() { LATEST } else { qualifier })
    }

    /// Tries after the first.
    #[must_use]
    pub fn retries_max(&self) -> u32 {
        self.maximum_retry_attempts.unwrap_or(RETRIES_DEFAULT)
    }

    /// How long an event is kept, seconds.
    #[must_use]
    pub fn event_age_s_max(&self) -> u32 {
        self.maximum_event_age_in_seconds.unwrap_or(EVENT_AGE_S_DEFAULT)
    }
}

/// What a call sets; nothing at all is refused.
struct Settings {
    retries: Option<u32>,
    age_s: Option<u32>,
    destinations: Option<DestinationConfig>,
}

impl Settings {
    fn check(retries: Option<i64>, age_s: Option<i64>, destinations: Option<DestinationConfig>) -> Result<Self> {
        if retries.is_none() && age_s.is_none() && destinations.is_none() {
            return Err(invalid("You must specify at least one of error handling or destination setting."));
        }
        let mut checks = Checks::default();
        if let Some(retries) = retries {
            checks.range("maximumRetryAttempts", retries, 0, 2);
        }
        if let Some(age_s) = age_s {
            checks.range("maximumEventAgeInSeconds", age_s, 60, 21_600);
        }
        checks.done()?;
        // An empty ARN is how a destination is taken away.
        let some = |given: Destination| Destination { destination: given.destination.filter(|arn| !arn.is_empty()) };
        let destinations = destinations
            .map(|given| DestinationConfig { on_success: some(given.on_success), on_failure: some(given.on_failure) });
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        Ok(Self { retries: number(retries), age_s: number(age_s), destinations })
    }
}

/// The function and qualifier a configuration is of.
struct Named {
    address: Address,
    qualifier: String,
}

impl Named {
    fn resolve(function_name: &str, qualifier: Option<&str>, cx: &Cx<'_>) -> Result<Self> {
        let address = Address::resolve(function_name, qualifier, cx)?;
        let qualifier = address.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
        Ok(Self { address, qualifier })
    }

    fn arn(&self) -> String {
        format!("{}:{}", self.address.arn(), self.qualifier)
    }

    fn get(&self, tx: &mut Tx<'_>) -> Result<EventInvokeConfig> {
        EventInvokeConfig::of(&self.address.scope(), &self.address.function, &self.qualifier, tx)?
            .ok_or_else(|| not_found(format!("The function {} doesn't have an EventInvokeConfig", self.arn())))
    }

    fn put(&self, config: &EventInvokeConfig, tx: &mut Tx<'_>) -> Result<()> {
        tx.put(&self.address.scope(), &self.address.function, &self.qualifier, config)
    }

    /// The function itself, if it and the qualifier are there.
    fn function(&self, tx: &mut Tx<'_>) -> Result<Function> {
        let (scope, name) = (self.address.scope(), self.address.function.as_str());
        let function: Option<Function> = tx.get(&scope, "", name)?;
        function.filter(|_| true).ok_or_else(no_function).and_then(|function| {
            if has_qualifier(&scope, name, &self.qualifier, tx)? { Ok(function) } else { Err(no_function()) }
        })
    }

    /// Destinations are told of other functions' names, so these must be there and be others.
    fn check_destinations(&self, config: &DestinationConfig, tx: &mut Tx<'_>) -> Result<()> {
        for destination in [&config.on_failure, &config.on_success] {
            if let Some(arn) = &destination.destination {
                self.check_destination(arn, config, tx)?;
            }
        }
        Ok(())
    }

    fn check_destination(&self, arn: &str, config: &DestinationConfig, tx: &mut Tx<'_>) -> Result<()> {
        match arn.split(':').nth(2) {
            Some("lambda") => {}
            Some("sqs" | "sns" | "events" | "s3") => {
                return Err(not_enforced(
                    "This destination",
                    "a destination is a Lambda function; there are no queues, topics or event buses here.",
                ));
            }
            _ => return Err(invalid(format!("The provided destination config {} is invalid.", shown(config)))),
        }
        let wrong = || invalid(format!("The destination ARN {arn} is invalid."));
        let target = QualifierKey::parse(arn).filter(|key| key.region == self.address.region).ok_or_else(wrong)?;
        let own_account = target.account == self.address.account.as_str();
        if own_account && target.function == self.address.function {
            return Err(invalid("You can't specify the function as a destination for itself."));
        }
        // Whether another account has such a function is its own to know; its policy must admit the role in any case.
        if own_account {
            let scope = self.address.scope();
            let there = tx.get::<Function>(&scope, "", &target.function)?.is_some()
                && has_qualifier(&scope, &target.function, &target.qualifier, tx)?;
            if !there {
                return Err(wrong());
            }
        }
        Ok(())
    }
}

fn no_function() -> service::ServiceError {
    not_found("The function doesn't exist.")
}

/// Whether a function that is there has this version or alias.
pub(crate) fn has_qualifier(scope: &Scope, function: &str, qualifier: &str, tx: &mut Tx<'_>) -> Result<bool> {
    if qualifier.is_empty() || qualifier == LATEST {
        return Ok(true);
    }
    if names_version(qualifier) {
        return Ok(Version::get(scope, function, qualifier, tx)?.is_some());
    }
    Ok(tx.get::<Alias>(scope, function, qualifier)?.is_some())
}

/// As AWS prints it in its refusal.
fn shown(config: &DestinationConfig) -> String {
    let part = |name: &str, destination: &Destination| match &destination.destination {
        Some(arn) => format!("{name}(destination={arn})"),
        None => "null".to_owned(),
    };
    format!(
        "DestinationConfig(onSuccess={}, onFailure={})",
        part("OnSuccess", &config.on_success),
        part("OnFailure", &config.on_failure)
    )
}

/// Epoch seconds with milliseconds, as AWS answers this member.
fn seconds(now: Timestamp) -> f64 {
    // Exact for any date: milliseconds since 1970 need 42 bits.
    now.ms() as f64 / 1000.0
}

fn need(
    function_name: &str,
    qualifier: Option<&str>,
    default: Need,
    cx: &Cx<'_>,
    tx: &mut Tx<'_>,
) -> Result<Vec<Need>> {
    let address = Address::resolve(function_name, qualifier, cx)?;
    Ok(vec![address.need(default, Sharing::Owner, tx)?])
}

/// What the function's execution role must be allowed, for every destination a call names.
///
/// Source: Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations": permissions of destinations.
fn role_needs(input: &ConfigInput, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    let named = Named::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
    let Some(config) = &input.destination_config else { return Ok(Vec::new()) };
    let Some(function) = tx.get::<Function>(&named.address.scope(), "", &named.address.function)? else {
        return Ok(Vec::new());
    };
    let mut needs = Vec::new();
    for destination in [&config.on_success, &config.on_failure] {
        let Some((arn, target)) =
            destination.destination.as_ref().and_then(|arn| Some((arn, QualifierKey::parse(arn)?)))
        else {
            continue;
        };
        let scope = Scope::regional(target.account.as_str(), target.region.as_str());
        let policy = tx.get::<ResourcePolicy>(&scope, &target.function, &target.qualifier)?;
        let refusal =
            invalid(format!("The function execution role does not have permissions to call InvokeFunction on {arn}"));
        needs.push(Need {
            resource_policy: policy.map(|policy| policy.evaluated()),
            by_role: Some(function.configuration.role.clone()),
            refusal: Some(Box::new(refusal)),
            ..Need::new("lambda:InvokeFunction", arn.as_str(), target.account.as_str())
        });
    }
    Ok(needs)
}

/// Puts a configuration in place of the whole one before.
pub struct PutFunctionEventInvokeConfig;

/// Input of [`PutFunctionEventInvokeConfig`] and [`UpdateFunctionEventInvokeConfig`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigInput {
    function_name: String,
    qualifier: Option<String>,
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<DestinationConfig>,
}

impl ConfigInput {
    fn needs(&self, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = need(&self.function_name, self.qualifier.as_deref(), default, cx, tx)?;
        needs.extend(role_needs(self, cx, tx)?);
        Ok(needs)
    }

    fn settings(&self) -> Result<Settings> {
        Settings::check(self.maximum_retry_attempts, self.maximum_event_age_in_seconds, self.destination_config.clone())
    }
}

impl Operation for PutFunctionEventInvokeConfig {
    const NAME: &'static str = "PutFunctionEventInvokeConfig";
    type Input = ConfigInput;
    type Output = EventInvokeConfig;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        input.needs(default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let settings = input.settings()?;
        let named = Named::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        named.function(tx)?;
        let config = EventInvokeConfig {
            last_modified: seconds(cx.now),
            function_arn: named.arn(),
            maximum_retry_attempts: settings.retries,
            maximum_event_age_in_seconds: settings.age_s,
            destination_config: settings.destinations.unwrap_or_default(),
        };
        named.check_destinations(&config.destination_config, tx)?;
        named.put(&config, tx)?;
        Ok(config)
    }
}

/// Changes a configuration; what is not given stays.
pub struct UpdateFunctionEventInvokeConfig;

impl Operation for UpdateFunctionEventInvokeConfig {
    const NAME: &'static str = "UpdateFunctionEventInvokeConfig";
    type Input = ConfigInput;
    type Output = EventInvokeConfig;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        input.needs(default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let settings = input.settings()?;
        let named = Named::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        named.function(tx)?;
        let mut config = named.get(tx)?;
        config.last_modified = seconds(cx.now);
        config.maximum_retry_attempts = settings.retries.or(config.maximum_retry_attempts);
        config.maximum_event_age_in_seconds = settings.age_s.or(config.maximum_event_age_in_seconds);
        if let Some(destinations) = settings.destinations {
            named.check_destinations(&destinations, tx)?;
            config.destination_config = destinations;
        }
        named.put(&config, tx)?;
        Ok(config)
    }
}

/// One configuration.
pub struct GetFunctionEventInvokeConfig;

/// A configuration by the function and qualifier it is of.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamedInput {
    function_name: String,
    qualifier: Option<String>,
}

impl Operation for GetFunctionEventInvokeConfig {
    const NAME: &'static str = "GetFunctionEventInvokeConfig";
    type Input = NamedInput;
    type Output = EventInvokeConfig;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, input.qualifier.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Named::resolve(&input.function_name, input.qualifier.as_deref(), cx)?.get(tx)
    }
}

/// Deletes a configuration: the defaults hold again.
pub struct DeleteFunctionEventInvokeConfig;

impl Operation for DeleteFunctionEventInvokeConfig {
    const NAME: &'static str = "DeleteFunctionEventInvokeConfig";
    type Input = NamedInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, input.qualifier.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let named = Named::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        named.get(tx)?;
        tx.delete::<EventInvokeConfig>(&named.address.scope(), &named.address.function, &named.qualifier);
        Ok(Map::new())
    }
}

/// A function's configurations.
pub struct ListFunctionEventInvokeConfigs;

/// Input of [`ListFunctionEventInvokeConfigs`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListInput {
    function_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListFunctionEventInvokeConfigs`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListOutput {
    function_event_invoke_configs: Vec<EventInvokeConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl Operation for ListFunctionEventInvokeConfigs {
    const NAME: &'static str = "ListFunctionEventInvokeConfigs";
    type Input = ListInput;
    type Output = ListOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, None, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        if tx.get::<Function>(&address.scope(), "", &address.function)?.is_none() {
            return Err(no_function());
        }
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        let rows = tx.page(&address.scope(), &address.function, after.as_deref(), limit.saturating_add(1))?;
        let (function_event_invoke_configs, next_marker) = paging::cut(rows, limit);
        Ok(ListOutput { function_event_invoke_configs, next_marker })
    }
}

/// Forgets every configuration of a function that is deleted.
///
/// # Errors
/// 5xx when the store cannot be read.
pub(crate) fn delete_all(scope: &Scope, function: &str, tx: &mut Tx<'_>) -> Result<()> {
    tx.delete_all::<EventInvokeConfig>(scope, &Parent::Exact(function))
}

#[cfg(test)]
mod tests;
