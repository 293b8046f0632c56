//! Log groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Need, Operation, Record, Result, Scope, Timestamp, Tx};

use super::{
    error::{error, group_not_found, invalid},
    tag,
};

/// The operations of this noun. DescribeLogGroups tells sizes too and is therefore in `control`.
pub const OPERATIONS: &[Entry] = &[Entry::of::<CreateLogGroup>(), Entry::of::<DeleteLogGroup>()];

/// Source: CloudWatch Logs API Reference, "CreateLogGroup".
const NAME_CHARS_MAX: usize = 512;
/// Groups one DescribeLogGroups call reads to find those that fit.
const SCAN_MAX: usize = 2_000;
const CLASS: &str = "STANDARD";

/// What an operation without output answers.
#[derive(Debug, Serialize)]
pub struct Done {}

/// A log group, by AWS's member names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogGroup {
    pub log_group_name: String,
    pub creation_time: Timestamp,
    /// `None`: events never expire by age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_in_days: Option<u32>,
    pub log_group_class: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What the group's events are stored under: a group made again under the same name has another.
    pub incarnation: String,
}

impl Record for LogGroup {
    const NOUN: &'static str = "logs/LogGroup";
}

impl LogGroup {
    /// A new group without retention and tags.
    #[must_use]
    pub fn new(name: &str, incarnation: String, now: Timestamp) -> Self {
        Self {
            log_group_name: name.to_owned(),
            creation_time: now,
            retention_in_days: None,
            log_group_class: CLASS.to_owned(),
            tags: BTreeMap::new(),
            incarnation,
        }
    }

    /// `arn:aws:logs:{region}:{account}:log-group:{name}`, without the `:*` of the older form.
    #[must_use]
    pub fn arn(&self, scope: &Scope) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{}", scope.region, scope.account, self.log_group_name)
    }

    /// As DescribeLogGroups shows it.
    #[must_use]
    pub fn shown(&self, scope: &Scope, stored_bytes: u64) -> Value {
        let arn = self.arn(scope);
        let mut shown = serde_json::json!({
            "logGroupName": self.log_group_name,
            "creationTime": self.creation_time.ms(),
            "metricFilterCount": 0,
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "storedBytes": stored_bytes,
            "logGroupClass": self.log_group_class,
            "deletionProtectionEnabled": false,
        });
        if let (Some(days), Some(members)) = (self.retention_in_days, shown.as_object_mut()) {
            members.insert("retentionInDays".into(), days.into());
        }
        shown
    }
}

/// Whether a group may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte))
}

/// The group of this name.
///
/// # Errors
/// `ResourceNotFoundException`; 5xx when the store cannot be read.
pub fn find(tx: &mut Tx<'_>, scope: &Scope, name: &str) -> Result<LogGroup> {
    tx.get(scope, "", name)?.ok_or_else(group_not_found)
}

/// Stores a changed group.
pub(crate) fn save(tx: &mut Tx<'_>, scope: &Scope, group: &LogGroup) -> Result<()> {
    tx.put(scope, "", &group.log_group_name, group)
}

/// Makes a group that a service writes its own log to, unless it is there.
///
/// # Errors
/// `InvalidParameterException` for a name no group may have; `LimitExceededException`; 5xx when the store cannot be read.
pub fn ensure(tx: &mut Tx<'_>, scope: &Scope, name: &str, incarnation: String, now: Timestamp) -> Result<LogGroup> {
    if let Some(group) = tx.get(scope, "", name)? {
        return Ok(group);
    }
    let group = LogGroup::new(name, incarnation, now);
    create(tx, scope, &group)?;
    Ok(group)
}

fn create(tx: &mut Tx<'_>, scope: &Scope, group: &LogGroup) -> Result<()> {
    if !is_name(&group.log_group_name) {
        let text = "Invalid LogGroup or LogStream, both must have length less than or equal to 512.";
        return Err(invalid(text));
    }
    if tx.get::<LogGroup>(scope, "", &group.log_group_name)?.is_some() {
        return Err(error("ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    save(tx, scope, group)
}

/// The name a member that takes a name or an ARN means; other accounts' groups cannot be named.
///
/// # Errors
/// `InvalidParameterException` when neither or both are given; `ResourceNotFoundException` for another account's or
/// region's ARN.
pub fn named(name: Option<&str>, identifier: Option<&str>, scope: &Scope) -> Result<String> {
    match (name, identifier) {
        (Some(_), Some(_)) => {
            Err(invalid("You must include either the logGroupName or the logGroupIdentifier parameter, but not both."))
        }
        (None, None) => Err(invalid("Either logGroupName or logGroupIdentifier must be specified.")),
        (Some(name), None) => Ok(name.to_owned()),
        (None, Some(identifier)) if identifier.starts_with("arn:") => name_of_arn(identifier, scope),
        (None, Some(name)) => Ok(name.to_owned()),
    }
}

/// The group an ARN of this account and region names, with or without `:*`.
///
/// # Errors
/// `ResourceNotFoundException`: whoever does not own it learns nothing.
pub fn name_of_arn(arn: &str, scope: &Scope) -> Result<String> {
    let fields: Vec<&str> = arn.splitn(7, ':').collect();
    let name = match fields.as_slice() {
        ["arn", "aws", "logs", region, account, "log-group", name]
            if *region == scope.region && *account == scope.account =>
        {
            name.strip_suffix(":*").unwrap_or(name)
        }
        _ => return Err(group_not_found()),
    };
    if is_name(name) { Ok(name.to_owned()) } else { Err(group_not_found()) }
}

/// Creates a group.
pub struct CreateLogGroup;

/// Input of [`CreateLogGroup`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateLogGroupInput {
    log_group_name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    log_group_class: Option<String>,
    deletion_protection_enabled: Option<bool>,
}

impl Operation for CreateLogGroup {
    const NAME: &'static str = "CreateLogGroup";
    type Input = CreateLogGroupInput;
    type Output = Done;
    /// Nothing here encrypts with a customer's key.
    const REFUSED: &'static [&'static str] = &["kmsKeyId"];

    fn needs(input: &Self::Input, mut default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        default.context.extend(tag::request_context(&input.tags));
        Ok(vec![default])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        if let Some(class) = input.log_group_class.as_deref().filter(|class| *class != CLASS) {
            let text = format!("The log class {class} is not supported by this version of Portcullis; {CLASS} is.");
            return Err(invalid(text));
        }
        if input.deletion_protection_enabled == Some(true) {
            return Err(invalid("Deletion protection is not supported by this version of Portcullis."));
        }
        let scope = cx.scope();
        let mut group = LogGroup::new(&input.log_group_name, cx.uuid(), cx.now);
        tag::merge(&mut group.tags, input.tags)?;
        create(tx, &scope, &group)?;
        Ok(Done {})
    }
}

/// Deletes a group; its events are out of reach at once and removed in the background.
pub struct DeleteLogGroup;

/// Input of operations that take a group's name alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    pub(crate) log_group_name: String,
}

impl Operation for DeleteLogGroup {
    const NAME: &'static str = "DeleteLogGroup";
    type Input = Named;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let scope = cx.scope();
        find(tx, &scope, &input.log_group_name)?;
        tx.delete::<LogGroup>(&scope, "", &input.log_group_name);
        Ok(Done {})
    }
}

/// Input of DescribeLogGroups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeLogGroupsInput {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    log_group_class: Option<String>,
    account_identifiers: Option<Vec<String>>,
    include_linked_accounts: Option<bool>,
    limit: Option<usize>,
}

/// One page of groups after the name `after`, and the name the next page goes on after if there is one. A page holds at
/// most 50, which is what is taken if no limit is given; it may hold none and still have a next.
///
/// # Errors
/// `InvalidParameterException` for members that exclude each other or reach into other accounts.
pub fn describe(
    input: &DescribeLogGroupsInput,
    after: Option<&str>,
    scope: &Scope,
    tx: &mut Tx<'_>,
) -> Result<(Vec<LogGroup>, Option<String>)> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (prefix, pattern) = (filled(&input.log_group_name_prefix), filled(&input.log_group_name_pattern));
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let foreign = input.account_identifiers.iter().flatten().any(|account| *account != scope.account);
    if foreign || input.include_linked_accounts == Some(true) {
        return Err(invalid("Log groups of linked accounts are not supported by this version of Portcullis."));
    }
    let limit = input.limit.unwrap_or(50).clamp(1, 50);
    let of_class = input.log_group_class.as_deref().is_none_or(|class| class == CLASS);
    if let Some(identifiers) = &input.log_group_identifiers {
        if prefix.is_some() || pattern.is_some() {
            return Err(invalid("logGroupIdentifiers cannot be combined with a name prefix or pattern."));
        }
        let mut groups = Vec::new();
        for identifier in identifiers.iter().take(50) {
            let group: Option<LogGroup> = tx.get(scope, "", &named(None, Some(identifier), scope)?)?;
            groups.extend(group.filter(|_| of_class));
        }
        return Ok((groups, None));
    }
    let pattern = pattern.map(|pattern| pattern.to_ascii_lowercase());
    let fits = |group: &LogGroup| {
        of_class
            && prefix.as_ref().is_none_or(|prefix| group.log_group_name.starts_with(prefix.as_str()))
            && pattern.as_ref().is_none_or(|part| group.log_group_name.to_ascii_lowercase().contains(part.as_str()))
    };
    let rows = tx.page::<LogGroup>(scope, "", start(prefix.as_deref(), after).as_deref(), SCAN_MAX)?;
    let cut = rows.len() >= SCAN_MAX;
    let scanned = rows.last().map(|(name, _)| name.clone()).filter(|_| cut);
    let mut groups: Vec<LogGroup> =
        rows.into_iter().map(|(_, group)| group).filter(fits).take(limit.saturating_add(1)).collect();
    if groups.len() <= limit {
        return Ok((groups, scanned));
    }
    groups.truncate(limit);
    let next = groups.last().map(|group| group.log_group_name.clone());
    Ok((groups, next))
}

/// Where a page begins to read: behind the last name seen, and not before the prefix. No name lies between a prefix and
/// the same text with its last character lowered and the greatest one put behind.
fn start(prefix: Option<&str>, after: Option<&str>) -> Option<String> {
    let before = prefix.and_then(|prefix| {
        let mut chars: Vec<char> = prefix.chars().collect();
        let last = chars.pop()?;
        let lower = char::from_u32(u32::from(last).checked_sub(1)?)?;
        chars.extend([lower, '~']);
        Some(chars.into_iter().collect::<String>())
    });
    match (before, after.map(str::to_owned)) {
        (Some(before), Some(after)) => Some(before.max(after)),
        (before, after) => before.or(after),
    }
}
