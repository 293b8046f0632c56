//! `Trail`: where the events of an account are delivered, and which.
//!
//! Source: CloudTrail API Reference, "CreateTrail", "UpdateTrail", "DescribeTrails".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Scope, Timestamp, Tx};

use super::{
    bucket, digest,
    error::{error, trail_not_found, unsupported},
    logging::{TrailState, Window},
    name::{self, Reference},
    selector::Selectors,
    tag::{self, Tag},
};

pub use super::selector::Selection;

/// Trails whose home is one region. Source: CloudTrail User Guide, "Quotas in AWS CloudTrail".
const TRAILS_MAX: usize = 5;

/// A trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Trail {
    pub name: String,
    /// The owner, 12 digits.
    pub account: String,
    pub home_region: String,
    pub s3_bucket_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_key_prefix: Option<String>,
    pub include_global_service_events: bool,
    pub is_multi_region_trail: bool,
    /// Since when digests are written; absent when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validates_since: Option<Timestamp>,
    /// Absent until PutEventSelectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selectors: Option<Selectors>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// When it logged, oldest first; only the last may be open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl Record for Trail {
    const NOUN: &'static str = "cloudtrail/Trail";
}

/// Where the trails of an account are: what finds them without asking every region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Homes {
    /// Names by home region.
    pub regions: BTreeMap<String, BTreeSet<String>>,
}

impl Record for Homes {
    const NOUN: &'static str = "cloudtrail/Homes";
}

impl Trail {
    /// `arn:aws:cloudtrail:HOME:ACCOUNT:trail/NAME`.
    #[must_use]
    pub fn arn(&self) -> String {
        name::arn(&self.home_region, &self.account, &self.name)
    }

    /// The scope of this trail and everything beside it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::regional(self.account.as_str(), self.home_region.as_str())
    }

    /// Whether it logs now.
    #[must_use]
    pub fn is_logging(&self) -> bool {
        self.windows.last().is_some_and(|window| window.to.is_none())
    }

    /// Whether digests are written.
    #[must_use]
    pub fn validates(&self) -> bool {
        self.validates_since.is_some()
    }

    /// What CreateTrail and UpdateTrail answer.
    fn answer(&self) -> Value {
        let mut answer = json!({ "Name": self.name, "S3BucketName": self.s3_bucket_name });
        let Some(members) = answer.as_object_mut() else { return answer };
        if let Some(prefix) = &self.s3_key_prefix {
            members.insert("S3KeyPrefix".into(), prefix.as_str().into());
        }
        members.insert("IncludeGlobalServiceEvents".into(), self.include_global_service_events.into());
        members.insert("IsMultiRegionTrail".into(), self.is_multi_region_trail.into());
        members.insert("TrailARN".into(), self.arn().into());
        members.insert("LogFileValidationEnabled".into(), self.validates().into());
        members.insert("IsOrganizationTrail".into(), false.into());
        answer
    }

    /// What DescribeTrails and GetTrail show.
    fn view(&self) -> Value {
        let mut view = self.answer();
        if let Some(members) = view.as_object_mut() {
            members.shift_remove("IsOrganizationTrail");
            let custom = self.selectors.as_ref().is_some_and(|selectors| *selectors != Selectors::default());
            members.insert("HomeRegion".into(), self.home_region.as_str().into());
            members.insert("HasCustomEventSelectors".into(), custom.into());
            members.insert("HasInsightSelectors".into(), false.into());
            members.insert("IsOrganizationTrail".into(), false.into());
        }
        view
    }
}

/// The trail a call names, of the caller's account.
///
/// # Errors
/// `InvalidTrailNameException`, `CloudTrailARNInvalidException`, `TrailNotFoundException`.
pub(crate) fn find(tx: &mut Tx<'_>, cx: &Cx<'_>, text: &str) -> Result<Trail> {
    let at = Reference::parse(text, cx)?;
    let found = match at.account == cx.account() {
        true => tx.get::<Trail>(&Scope::regional(at.account.as_str(), at.region.as_str()), "", &at.name)?,
        false => None,
    };
    found.ok_or_else(|| trail_not_found(&at.arn(), cx.account()))
}

/// As [`find`], for calls that only the trail's home region takes.
///
/// # Errors
/// As there, and `InvalidHomeRegionException`.
pub(crate) fn at_home(tx: &mut Tx<'_>, cx: &Cx<'_>, text: &str) -> Result<Trail> {
    let trail = find(tx, cx, text)?;
    if trail.home_region != cx.region.as_str() {
        // [U] The text.
        return Err(error(
            "InvalidHomeRegionException",
            format!("The trail {} can be changed in its home region {} only.", trail.arn(), trail.home_region),
        ));
    }
    Ok(trail)
}

/// Stores a trail.
///
/// # Errors
/// 5xx when it does not encode.
pub(crate) fn save(tx: &mut Tx<'_>, trail: &Trail) -> Result<()> {
    tx.put(&trail.scope(), "", &trail.name, trail)
}

/// The trails of an account in all regions, ordered by region and name.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn of_account(tx: &mut Tx<'_>, account: &str) -> Result<Vec<Trail>> {
    let homes = tx.get::<Homes>(&Scope::installation(), "", account)?.unwrap_or_default();
    let mut trails = Vec::new();
    for region in homes.regions.keys() {
        trails.extend(tx.list::<Trail>(&Scope::regional(account, region.as_str()), &Parent::Exact(""))?);
    }
    Ok(trails)
}

/// What the logging trails of an account select, those that select data events only.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn selections(tx: &mut Tx<'_>, account: &str) -> Result<Vec<Selection>> {
    let trails = of_account(tx, account)?;
    let selecting = |trail: &&Trail| trail.is_logging() && trail.selectors.as_ref().is_some_and(Selectors::has_data);
    Ok(trails.iter().filter(selecting).map(Selection::of).collect())
}

/// Accounts that have trails.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn accounts(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let (mut accounts, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = tx.page::<Homes>(&Scope::installation(), "", after.as_deref(), 1000)?;
        let Some((last, _)) = page.last() else { return Ok(accounts) };
        after = Some(last.clone());
        accounts.extend(page.into_iter().map(|(account, _)| account));
    }
}

/// The members CreateTrail and UpdateTrail share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    s3_bucket_name: Option<String>,
    s3_key_prefix: Option<String>,
    sns_topic_name: Option<String>,
    include_global_service_events: Option<bool>,
    is_multi_region_trail: Option<bool>,
    enable_log_file_validation: Option<bool>,
    cloud_watch_logs_log_group_arn: Option<String>,
    cloud_watch_logs_role_arn: Option<String>,
    kms_key_id: Option<String>,
    is_organization_trail: Option<bool>,
}

impl Wanted {
    /// Lays the members that were sent over a trail. Empty texts clear, as tools send them for what they do not use;
    /// texts for what is not delivered here are refused.
    fn lay_over(self, trail: &mut Trail, now: Timestamp) -> Result<()> {
        let refused = [
            (self.sns_topic_name, "Notification by SNS (SnsTopicName)"),
            (self.cloud_watch_logs_log_group_arn, "Delivery to CloudWatch Logs (CloudWatchLogsLogGroupArn)"),
            (self.cloud_watch_logs_role_arn, "Delivery to CloudWatch Logs (CloudWatchLogsRoleArn)"),
            (self.kms_key_id, "Encryption by KMS (KmsKeyId)"),
        ];
        if let Some((_, what)) = refused.iter().find(|(text, _)| text.as_ref().is_some_and(|text| !text.is_empty())) {
            return Err(unsupported(what));
        }
        if self.is_organization_trail == Some(true) {
            return Err(unsupported("An organization trail (IsOrganizationTrail)"));
        }
        if let Some(bucket) = self.s3_bucket_name {
            trail.s3_bucket_name = bucket;
        }
        if let Some(prefix) = self.s3_key_prefix {
            trail.s3_key_prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
        }
        trail.include_global_service_events =
            self.include_global_service_events.unwrap_or(trail.include_global_service_events);
        trail.is_multi_region_trail = self.is_multi_region_trail.unwrap_or(trail.is_multi_region_trail);
        if trail.is_multi_region_trail && !trail.include_global_service_events {
            return Err(error(
                "InvalidParameterCombinationException",
                "Multi-Region trail must include global service events.",
            ));
        }
        match self.enable_log_file_validation {
            Some(true) if !trail.validates() => trail.validates_since = Some(now),
            Some(false) => trail.validates_since = None,
            _ => {}
        }
        Ok(())
    }
}

pub struct CreateTrail;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateTrailInput {
    name: String,
    #[serde(default)]
    tags_list: Vec<Tag>,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Operation for CreateTrail {
    const NAME: &'static str = "CreateTrail";
    type Input = CreateTrailInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let tagging = Need { action: "cloudtrail:AddTags".into(), ..default.clone() };
        Ok(std::iter::once(default).chain((!input.tags_list.is_empty()).then_some(tagging)).collect())
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        name::check(&input.name)?;
        let (account, region) = (cx.account().to_owned(), cx.region.as_str().to_owned());
        let mut homes = tx.get::<Homes>(&Scope::installation(), "", &account)?.unwrap_or_default();
        let here = homes.regions.entry(region.clone()).or_default();
        if here.contains(&input.name) {
            let text = format!("Trail {} already exists for customer: {account}", input.name);
            return Err(error("TrailAlreadyExistsException", text));
        }
        if here.len() >= TRAILS_MAX {
            let text = format!("User: {account} already has {TRAILS_MAX} trails in {region}.");
            return Err(error("MaximumNumberOfTrailsExceededException", text));
        }
        here.insert(input.name.clone());
        let mut trail = Trail {
            name: input.name,
            account: account.clone(),
            home_region: region,
            s3_bucket_name: String::new(),
            s3_key_prefix: None,
            include_global_service_events: true,
            is_multi_region_trail: false,
            validates_since: None,
            selectors: None,
            tags: Vec::new(),
            windows: Vec::new(),
        };
        input.wanted.lay_over(&mut trail, cx.now)?;
        tag::merge(&mut trail.tags, input.tags_list)?;
        bucket::check(tx, &trail, cx.now)?;
        tx.put(&Scope::installation(), "", &account, &homes)?;
        save(tx, &trail)?;
        Ok(trail.answer())
    }
}

pub struct UpdateTrail;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateTrailInput {
    name: String,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Operation for UpdateTrail {
    const NAME: &'static str = "UpdateTrail";
    type Input = UpdateTrailInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut trail = at_home(tx, cx, &input.name)?;
        input.wanted.lay_over(&mut trail, cx.now)?;
        bucket::check(tx, &trail, cx.now)?;
        save(tx, &trail)?;
        Ok(trail.answer())
    }
}

/// The members of a call that names a trail as `Name`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TrailRef {
    pub(crate) name: String,
}

/// The answer of an operation that answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Done {}

pub struct DeleteTrail;

/// Events that were not delivered yet stay undelivered, as do digests; what was delivered stays in the bucket.
impl Operation for DeleteTrail {
    const NAME: &'static str = "DeleteTrail";
    type Input = TrailRef;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let trail = at_home(tx, cx, &input.name)?;
        let mut homes = tx.get::<Homes>(&Scope::installation(), "", &trail.account)?.unwrap_or_default();
        if let Some(names) = homes.regions.get_mut(&trail.home_region) {
            names.remove(&trail.name);
        }
        homes.regions.retain(|_, names| !names.is_empty());
        match homes.regions.is_empty() {
            true => tx.delete::<Homes>(&Scope::installation(), "", &trail.account),
            false => tx.put(&Scope::installation(), "", &trail.account, &homes)?,
        }
        digest::forget(tx, &trail)?;
        tx.delete::<TrailState>(&trail.scope(), "", &trail.name);
        tx.delete::<Trail>(&trail.scope(), "", &trail.name);
        Ok(Done {})
    }
}

pub struct DescribeTrails;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescribeTrailsInput {
    #[serde(default)]
    trail_name_list: Vec<String>,
    include_shadow_trails: Option<bool>,
}

/// Without names: the trails of this region, and those of other regions that reach into it unless shadows are not asked
/// for. With names: those that exist, a name meaning this region's.
impl Operation for DescribeTrails {
    const NAME: &'static str = "DescribeTrails";
    type Input = DescribeTrailsInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut found = Vec::new();
        if input.trail_name_list.is_empty() {
            let shadows = input.include_shadow_trails.unwrap_or(true);
            let here = cx.region.as_str();
            let shown = |trail: &Trail| trail.home_region == here || (shadows && trail.is_multi_region_trail);
            found.extend(of_account(tx, cx.account())?.iter().filter(|trail| shown(trail)).map(Trail::view));
        }
        for text in &input.trail_name_list {
            match find(tx, cx, text) {
                Ok(trail) => found.push(trail.view()),
                Err(error) if error.code == "TrailNotFoundException" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(json!({ "trailList": found }))
    }
}

pub struct GetTrail;

impl Operation for GetTrail {
    const NAME: &'static str = "GetTrail";
    type Input = TrailRef;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        Ok(json!({ "Trail": find(tx, cx, &input.name)?.view() }))
    }
}

pub struct ListTrails;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListTrailsInput {
    next_token: Option<String>,
}

/// Every trail of the account in one answer: at most five a region, so there is never a second page.
impl Operation for ListTrails {
    const NAME: &'static str = "ListTrails";
    type Input = ListTrailsInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if input.next_token.is_some_and(|token| !token.is_empty()) {
            return Err(error("InvalidNextTokenException", "The NextToken was not given by this operation."));
        }
        let trails = of_account(tx, cx.account())?;
        let trails = trails
            .iter()
            .map(|trail| json!({ "TrailARN": trail.arn(), "Name": trail.name, "HomeRegion": trail.home_region }));
        Ok(json!({ "Trails": trails.collect::<Vec<_>>() }))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateTrail>(),
    Entry::of::<UpdateTrail>(),
    Entry::of::<DeleteTrail>(),
    Entry::of::<DescribeTrails>(),
    Entry::of::<GetTrail>(),
    Entry::of::<ListTrails>(),
];
