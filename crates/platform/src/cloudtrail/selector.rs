//! What a trail selects: basic and advanced event selectors.
//!
//! Source: CloudTrail User Guide, "Logging data events", "Logging management events"; CloudTrail API Reference,
//! "AdvancedFieldSelector".

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Operation, Result, Tx};

use super::{
    error::{error, invalid_selectors, unsupported},
    trail::{self, Trail},
};

/// Source: CloudTrail User Guide, "Quotas in AWS CloudTrail", as are the next two.
const SELECTORS_MAX: usize = 5;
/// Values of data resources over all basic selectors of a trail.
const RESOURCES_MAX: usize = 250;
/// Values over all advanced selectors of a trail.
const CONDITIONS_MAX: usize = 500;
/// Sources whose management events a trail may leave out.
const EXCLUDABLE: [&str; 2] = ["kms.amazonaws.com", "rdsdata.amazonaws.com"];
const FUNCTION_TYPE: &str = "AWS::Lambda::Function";
/// The basic value that means every function.
const EVERY_FUNCTION: &str = "arn:aws:lambda";
/// Longest value of a field selector, characters.
const VALUE_CHARS_MAX: usize = 2048;
const NAME_CHARS_MAX: usize = 1000;

/// A trail's selectors; one kind at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selectors {
    /// `EventSelectors`.
    Basic(Vec<EventSelector>),
    /// `AdvancedEventSelectors`.
    Advanced(Vec<AdvancedEventSelector>),
}

/// Reads, writes or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadWriteType {
    /// Reads only.
    ReadOnly,
    /// Writes only.
    WriteOnly,
    /// Both.
    All,
}

/// A basic selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EventSelector {
    #[serde(default = "all")]
    read_write_type: ReadWriteType,
    #[serde(default = "yes")]
    include_management_events: bool,
    #[serde(default)]
    data_resources: Vec<DataResource>,
    #[serde(default)]
    exclude_management_event_sources: Vec<String>,
}

/// What data events of a basic selector are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DataResource {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    values: Vec<String>,
}

/// An advanced selector: every field must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AdvancedEventSelector {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    field_selectors: Vec<FieldSelector>,
}

/// One field of an advanced selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct FieldSelector {
    field: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ends_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_ends_with: Vec<String>,
}

fn all() -> ReadWriteType {
    ReadWriteType::All
}

fn yes() -> bool {
    true
}

/// What selectors look at in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// A data event, not a management event.
    pub data: bool,
    /// `lambda.amazonaws.com`.
    pub source: &'a str,
    pub name: &'a str,
    pub region: &'a str,
    pub read_only: bool,
    /// For data events the resource's ARN without qualifier.
    pub resource_arn: Option<&'a str>,
}

impl Default for Selectors {
    /// Every management event and no data event.
    fn default() -> Self {
        Self::Basic(vec![EventSelector {
            read_write_type: ReadWriteType::All,
            include_management_events: true,
            data_resources: Vec::new(),
            exclude_management_event_sources: Vec::new(),
        }])
    }
}

impl Selectors {
    /// Whether any selector selects the event.
    #[must_use]
    pub fn selects(&self, event: &Facts<'_>) -> bool {
        match self {
            Self::Basic(selectors) => selectors.iter().any(|selector| selector.selects(event)),
            Self::Advanced(selectors) => selectors.iter().any(|selector| selector.selects(event)),
        }
    }

    /// Whether there are data events these could select.
    #[must_use]
    pub fn has_data(&self) -> bool {
        match self {
            Self::Basic(selectors) => selectors.iter().any(|selector| !selector.data_resources.is_empty()),
            Self::Advanced(selectors) => selectors.iter().any(|selector| selector.is_data()),
        }
    }

    /// What GetEventSelectors answers.
    #[must_use]
    pub fn view(&self, trail_arn: &str) -> Value {
        match self {
            Self::Basic(selectors) => json!({ "TrailARN": trail_arn, "EventSelectors": selectors }),
            Self::Advanced(selectors) => json!({ "TrailARN": trail_arn, "AdvancedEventSelectors": selectors }),
        }
    }

    /// Refuses what is malformed, what is beyond the quotas, and what this version could not honour.
    fn check(&self) -> Result<()> {
        match self {
            Self::Basic(selectors) => {
                if selectors.is_empty() || selectors.len() > SELECTORS_MAX {
                    return Err(invalid_selectors(format!("A trail has 1 to {SELECTORS_MAX} event selectors.")));
                }
                let resources = selectors.iter().flat_map(|selector| &selector.data_resources);
                if resources.map(|resource| resource.values.len()).sum::<usize>() > RESOURCES_MAX {
                    return Err(invalid_selectors(format!("A trail has at most {RESOURCES_MAX} data resources.")));
                }
                selectors.iter().try_for_each(EventSelector::check)
            }
            Self::Advanced(selectors) => {
                if selectors.is_empty() {
                    return Err(invalid_selectors("A trail has at least one advanced event selector."));
                }
                let fields = selectors.iter().flat_map(|selector| &selector.field_selectors);
                if fields.map(|field| field.values().count()).sum::<usize>() > CONDITIONS_MAX {
                    let text = format!("The advanced event selectors of a trail have at most {CONDITIONS_MAX} values.");
                    return Err(invalid_selectors(text));
                }
                selectors.iter().try_for_each(AdvancedEventSelector::check)
            }
        }
    }
}

impl EventSelector {
    fn selects(&self, event: &Facts<'_>) -> bool {
        let kind = match self.read_write_type {
            ReadWriteType::All => true,
            ReadWriteType::ReadOnly => event.read_only,
            ReadWriteType::WriteOnly => !event.read_only,
        };
        if !kind {
            return false;
        }
        if !event.data {
            return self.include_management_events
                && !self.exclude_management_event_sources.iter().any(|source| source == event.source);
        }
        let Some(arn) = event.resource_arn else { return false };
        event.source == "lambda.amazonaws.com"
            && self
                .data_resources
                .iter()
                .flat_map(|resource| &resource.values)
                .any(|value| value == EVERY_FUNCTION || value == arn)
    }

    fn check(&self) -> Result<()> {
        for source in &self.exclude_management_event_sources {
            if !EXCLUDABLE.contains(&source.as_str()) {
                return Err(invalid_selectors(format!(
                    "{source} is not a valid value for ExcludeManagementEventSources."
                )));
            }
        }
        if !self.include_management_events && !self.exclude_management_event_sources.is_empty() {
            return Err(invalid_selectors(
                "ExcludeManagementEventSources needs a selector that includes management events.",
            ));
        }
        for resource in &self.data_resources {
            if resource.kind != FUNCTION_TYPE {
                return Err(invalid_selectors(format!(
                    "Data events of {} are not recorded by this version of Portcullis; only {FUNCTION_TYPE} is.",
                    resource.kind
                )));
            }
            if let Some(value) =
                resource.values.iter().find(|value| *value != EVERY_FUNCTION && !is_function_arn(value))
            {
                return Err(invalid_selectors(format!("The value {value} is not valid for {FUNCTION_TYPE}.")));
            }
        }
        Ok(())
    }
}

/// An ARN as records carry it: without qualifier, which therefore could match nothing.
fn is_function_arn(text: &str) -> bool {
    policy::Arn::parse(text).is_ok_and(|arn| {
        arn.service() == "lambda"
            && !arn.region().is_empty()
            && !arn.account().is_empty()
            && arn.resource().strip_prefix("function:").is_some_and(|name| !name.is_empty() && !name.contains(':'))
    })
}

impl AdvancedEventSelector {
    fn is_data(&self) -> bool {
        self.field_selectors.iter().any(|f| f.field == "eventCategory" && f.equals.iter().any(|value| value == "Data"))
    }

    fn selects(&self, event: &Facts<'_>) -> bool {
        self.field_selectors.iter().all(|field| {
            let value = match field.field.as_str() {
                "eventCategory" => Some(if event.data { "Data" } else { "Management" }),
                "readOnly" => Some(if event.read_only { "true" } else { "false" }),
                "eventSource" => Some(event.source),
                "eventName" => Some(event.name),
                "resources.type" => (event.data && event.source == "lambda.amazonaws.com").then_some(FUNCTION_TYPE),
                "resources.ARN" => event.resource_arn,
                _ => None,
            };
            value.is_some_and(|value| field.holds(value))
        })
    }

    fn check(&self) -> Result<()> {
        if self.name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return Err(invalid_selectors(format!("The name of a selector has at most {NAME_CHARS_MAX} characters.")));
        }
        let category = self.field_selectors.iter().find(|field| field.field == "eventCategory");
        let category = category.and_then(|field| field.equals.first()).map(String::as_str);
        let data = match category {
            Some("Data") => true,
            Some("Management") => false,
            _ => return Err(invalid_selectors("A selector needs eventCategory Equals Management or Data.")),
        };
        for (at, field) in self.field_selectors.iter().enumerate() {
            if self.field_selectors.iter().skip(at.saturating_add(1)).any(|other| other.field == field.field) {
                return Err(invalid_selectors(format!("The field {} stands twice in one selector.", field.field)));
            }
            field.check(data)?;
        }
        if data && !self.field_selectors.iter().any(|field| field.field == "resources.type") {
            return Err(invalid_selectors("A selector of data events needs resources.type."));
        }
        Ok(())
    }
}

impl FieldSelector {
    fn values(&self) -> impl Iterator<Item = &String> {
        let lists = [
            &self.equals,
            &self.starts_with,
            &self.ends_with,
            &self.not_equals,
            &self.not_starts_with,
            &self.not_ends_with,
        ];
        lists.into_iter().flatten()
    }

    /// Any operator that deselects is decisive; of those that select, where there are any, one must hold.
    ///
    /// Source: CloudTrail User Guide, "How CloudTrail evaluates multiple conditions for a field".
    fn holds(&self, value: &str) -> bool {
        let out = self.not_equals.iter().any(|v| v == value)
            || self.not_starts_with.iter().any(|v| value.starts_with(v.as_str()))
            || self.not_ends_with.iter().any(|v| value.ends_with(v.as_str()));
        let selects = !self.equals.is_empty() || !self.starts_with.is_empty() || !self.ends_with.is_empty();
        let chosen = self.equals.iter().any(|v| v == value)
            || self.starts_with.iter().any(|v| value.starts_with(v.as_str()))
            || self.ends_with.iter().any(|v| value.ends_with(v.as_str()));
        !out && (chosen || !selects)
    }

    /// Fields, operators and values as the category takes them; fields that AWS takes and this version does not look at
    /// are refused too.
    fn check(&self, data: bool) -> Result<()> {
        let field = self.field.as_str();
        let count = self.values().count();
        if count == 0 {
            return Err(invalid_selectors(format!("The field {field} has no operator.")));
        }
        if self.values().any(|value| value.is_empty() || value.chars().count() > VALUE_CHARS_MAX) {
            return Err(invalid_selectors(format!("A value of {field} has 1 to {VALUE_CHARS_MAX} characters.")));
        }
        let one_of = |allowed: &[&str]| {
            let fits = count == 1 && self.equals.iter().all(|value| allowed.contains(&value.as_str()));
            if fits && self.equals.len() == 1 {
                return Ok(());
            }
            Err(invalid_selectors(format!("{field} takes Equals with one value of: {}.", allowed.join(", "))))
        };
        match (field, data) {
            ("eventCategory", _) => one_of(&["Management", "Data"]),
            ("readOnly", _) => one_of(&["true", "false"]),
            ("resources.type", true) => one_of(&[FUNCTION_TYPE]),
            ("eventName" | "resources.ARN", true) => Ok(()),
            ("eventSource", false) => {
                let fits = self.not_equals.len() == count
                    && self.not_equals.iter().all(|value| EXCLUDABLE.contains(&value.as_str()));
                if fits {
                    return Ok(());
                }
                Err(invalid_selectors(format!(
                    "eventSource takes NotEquals with values of: {}.",
                    EXCLUDABLE.join(", ")
                )))
            }
            _ => Err(invalid_selectors(format!(
                "The field {field} is not supported in selectors of {} events.",
                if data { "data" } else { "management" }
            ))),
        }
    }
}

/// What one logging trail selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    home_region: String,
    multi_region: bool,
    global_services: bool,
    selectors: Selectors,
}

impl Selection {
    /// What this trail selects while it logs.
    #[must_use]
    pub fn of(trail: &Trail) -> Self {
        Self {
            home_region: trail.home_region.clone(),
            multi_region: trail.is_multi_region_trail,
            global_services: trail.include_global_service_events,
            selectors: trail.selectors.clone().unwrap_or_default(),
        }
    }

    /// Whether the trail delivers the event.
    #[must_use]
    pub fn selects(&self, event: &Facts<'_>) -> bool {
        (self.multi_region || event.region == self.home_region)
            && (self.global_services || !is_global(event))
            && self.selectors.selects(event)
    }

    /// Whether the invocation of a function in `region` is selected; the ARN is the unqualified one.
    #[must_use]
    pub fn selects_invoke(&self, function_arn: &str, region: &str) -> bool {
        self.selects(&Facts {
            data: true,
            source: "lambda.amazonaws.com",
            name: "Invoke",
            region,
            read_only: false,
            resource_arn: Some(function_arn),
        })
    }
}

/// Whether a service without region recorded the event. STS counts where its global endpoint records.
///
/// Source: CloudTrail User Guide, "About global service events".
fn is_global(event: &Facts<'_>) -> bool {
    match event.source {
        "iam.amazonaws.com" | "organizations.amazonaws.com" | "cloudfront.amazonaws.com" => true,
        "sts.amazonaws.com" => event.region == "us-east-1",
        _ => false,
    }
}

/// The members of a call that names a trail as `TrailName`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SelectorsOf {
    trail_name: String,
}

pub struct PutEventSelectors;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutEventSelectorsInput {
    trail_name: String,
    event_selectors: Option<Vec<EventSelector>>,
    advanced_event_selectors: Option<Vec<AdvancedEventSelector>>,
}

impl Operation for PutEventSelectors {
    const NAME: &'static str = "PutEventSelectors";
    type Input = PutEventSelectorsInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut trail = trail::at_home(tx, cx, &input.trail_name)?;
        // [U] The text.
        let selectors = match (input.event_selectors, input.advanced_event_selectors) {
            (Some(basic), None) => Selectors::Basic(basic),
            (None, Some(advanced)) => Selectors::Advanced(advanced),
            _ => {
                return Err(error(
                    "InvalidParameterCombinationException",
                    "You must specify either EventSelectors or AdvancedEventSelectors, but not both.",
                ));
            }
        };
        selectors.check()?;
        let answer = selectors.view(&trail.arn());
        trail.selectors = Some(selectors);
        trail::save(tx, &trail)?;
        Ok(answer)
    }
}

pub struct GetEventSelectors;

impl Operation for GetEventSelectors {
    const NAME: &'static str = "GetEventSelectors";
    type Input = SelectorsOf;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let trail = trail::find(tx, cx, &input.trail_name)?;
        Ok(trail.selectors.clone().unwrap_or_default().view(&trail.arn()))
    }
}

pub struct GetInsightSelectors;

/// No trail has insights here, and the answer says so as AWS does.
impl Operation for GetInsightSelectors {
    const NAME: &'static str = "GetInsightSelectors";
    const REFUSED: &'static [&'static str] = &["EventDataStore"];
    type Input = InsightSelectorsOf;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let trail = trail::find(tx, cx, input.trail_name.as_deref().unwrap_or_default())?;
        Err(error(
            "InsightNotEnabledException",
            format!(
                "Trail {} does not have Insights enabled. Edit the trail settings to enable Insights, and then try the operation again.",
                trail.arn()
            ),
        ))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct InsightSelectorsOf {
    trail_name: Option<String>,
}

pub struct PutInsightSelectors;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutInsightSelectorsInput {
    trail_name: Option<String>,
    insight_selectors: Vec<Value>,
}

/// Switching insights off is honest; switching them on is refused.
impl Operation for PutInsightSelectors {
    const NAME: &'static str = "PutInsightSelectors";
    const REFUSED: &'static [&'static str] = &["EventDataStore", "InsightsDestination"];
    type Input = PutInsightSelectorsInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let trail = trail::at_home(tx, cx, input.trail_name.as_deref().unwrap_or_default())?;
        if !input.insight_selectors.is_empty() {
            return Err(unsupported("CloudTrail Insights"));
        }
        Ok(json!({ "TrailARN": trail.arn(), "InsightSelectors": [] }))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutEventSelectors>(),
    Entry::of::<GetEventSelectors>(),
    Entry::of::<PutInsightSelectors>(),
    Entry::of::<GetInsightSelectors>(),
];
