//! Tags of users, roles and policies.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::entity::{Entity, load, save};
use super::error::{invalid_input, limit_exceeded};
use super::page::Window;
use super::role::Role;
use super::user::User;
use super::{Done, aws_managed, need, policy};

/// The most tags one resource has.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
pub const TAGS_MAX: usize = 50;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// At most 128 characters.
    pub key: String,
    /// At most 256 characters, may be empty.
    pub value: String,
}

/// Checks tags as one call gives them.
///
/// # Errors
/// `InvalidInput` for a key given twice or one that AWS keeps for itself; `LimitExceeded` for too many.
pub(crate) fn check(tags: &[Tag]) -> Result<()> {
    for (at, tag) in tags.iter().enumerate() {
        let folded = tag.key.to_lowercase();
        if folded.starts_with("aws:") {
            // [U] The text; that the prefix is refused is documented in "Tagging IAM resources".
            return Err(invalid_input(format!("Tag key {} uses the reserved prefix aws:.", tag.key)));
        }
        if tags.iter().skip(at + 1).any(|other| other.key.to_lowercase() == folded) {
            return Err(invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
    }
    check_count(tags.len())
}

/// Lays `given` over `tags`: a key that differs in case only is the same key, and takes the new spelling.
///
/// # Errors
/// As [`check`], and `LimitExceeded` when the result has too many; nothing is changed then.
pub(crate) fn merge(tags: &mut Vec<Tag>, given: Vec<Tag>) -> Result<()> {
    check(&given)?;
    let mut merged = tags.clone();
    for tag in given {
        let folded = tag.key.to_lowercase();
        match merged.iter_mut().find(|old| old.key.to_lowercase() == folded) {
            Some(old) => *old = tag,
            None => merged.push(tag),
        }
    }
    check_count(merged.len())?;
    *tags = merged;
    Ok(())
}

/// Removes keys; one that is not there changes nothing.
pub(crate) fn remove(tags: &mut Vec<Tag>, keys: &[String]) {
    tags.retain(|tag| !keys.iter().any(|key| key.to_lowercase() == tag.key.to_lowercase()));
}

fn check_count(count: usize) -> Result<()> {
    if count > TAGS_MAX {
        return Err(limit_exceeded(format!("The number of tags has reached the maximum limit of {TAGS_MAX}.")));
    }
    Ok(())
}

fn tag<E: Entity>(name: &str, given: Vec<Tag>, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    merge(&mut entity.grants_mut().tags, given)?;
    save(tx, &entity)?;
    Ok(Done {})
}

fn untag<E: Entity>(name: &str, keys: &[String], cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    remove(&mut entity.grants_mut().tags, keys);
    save(tx, &entity)?;
    Ok(Done {})
}

fn answer(tags: &[Tag], window: Window) -> Value {
    let tags = tags.iter().map(|tag| (tag.key.clone(), json!(tag))).collect();
    window.slice(tags).answer("Tags", |tag| tag)
}

fn with_context(mut need: Need, context: Vec<(String, String)>) -> Vec<Need> {
    need.context.extend(context);
    vec![need]
}

pub struct TagUser;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagUserInput {
    user_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagUser {
    const NAME: &'static str = "TagUser";
    type Input = TagUserInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = need::on::<User>(&input.user_name, default, cx, tx)?;
        Ok(with_context(need, need::request_tags(&input.tags)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        tag::<User>(&input.user_name, input.tags, cx, tx)
    }
}

pub struct UntagUser;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagUserInput {
    user_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagUser {
    const NAME: &'static str = "UntagUser";
    type Input = UntagUserInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = need::on::<User>(&input.user_name, default, cx, tx)?;
        Ok(with_context(need, need::tag_keys(&input.tag_keys)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        untag::<User>(&input.user_name, &input.tag_keys, cx, tx)
    }
}

pub struct ListUserTags;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListUserTagsInput {
    user_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListUserTags {
    const NAME: &'static str = "ListUserTags";
    type Input = ListUserTagsInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        let entity = load::<User>(tx, cx.account(), &input.user_name)?;
        Ok(answer(&entity.grants().tags, window))
    }
}

pub struct TagRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagRoleInput {
    role_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagRole {
    const NAME: &'static str = "TagRole";
    type Input = TagRoleInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = need::on::<Role>(&input.role_name, default, cx, tx)?;
        Ok(with_context(need, need::request_tags(&input.tags)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        tag::<Role>(&input.role_name, input.tags, cx, tx)
    }
}

pub struct UntagRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagRoleInput {
    role_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagRole {
    const NAME: &'static str = "UntagRole";
    type Input = UntagRoleInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = need::on::<Role>(&input.role_name, default, cx, tx)?;
        Ok(with_context(need, need::tag_keys(&input.tag_keys)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        untag::<Role>(&input.role_name, &input.tag_keys, cx, tx)
    }
}

pub struct ListRoleTags;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListRoleTagsInput {
    role_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListRoleTags {
    const NAME: &'static str = "ListRoleTags";
    type Input = ListRoleTagsInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        let entity = load::<Role>(tx, cx.account(), &input.role_name)?;
        Ok(answer(&entity.grants().tags, window))
    }
}

pub struct TagPolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagPolicyInput {
    policy_arn: String,
    tags: Vec<Tag>,
}

impl Operation for TagPolicy {
    const NAME: &'static str = "TagPolicy";
    type Input = TagPolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = policy::need_on(&input.policy_arn, default, cx, tx)?;
        Ok(with_context(need, need::request_tags(&input.tags)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut policy = policy::load(tx, cx, &input.policy_arn)?;
        merge(&mut policy.tags, input.tags)?;
        policy::save(tx, &policy)?;
        Ok(Done {})
    }
}

pub struct UntagPolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagPolicyInput {
    policy_arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagPolicy {
    const NAME: &'static str = "UntagPolicy";
    type Input = UntagPolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let need = policy::need_on(&input.policy_arn, default, cx, tx)?;
        Ok(with_context(need, need::tag_keys(&input.tag_keys)))
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut policy = policy::load(tx, cx, &input.policy_arn)?;
        remove(&mut policy.tags, &input.tag_keys);
        policy::save(tx, &policy)?;
        Ok(Done {})
    }
}

pub struct ListPolicyTags;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPolicyTagsInput {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListPolicyTags {
    const NAME: &'static str = "ListPolicyTags";
    type Input = ListPolicyTagsInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![policy::need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        if aws_managed::find(&input.policy_arn).is_some() {
            return Ok(answer(&[], window));
        }
        Ok(answer(&policy::load(tx, cx, &input.policy_arn)?.tags, window))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<TagUser>(),
    Entry::of::<UntagUser>(),
    Entry::of::<ListUserTags>(),
    Entry::of::<TagRole>(),
    Entry::of::<UntagRole>(),
    Entry::of::<ListRoleTags>(),
    Entry::of::<TagPolicy>(),
    Entry::of::<UntagPolicy>(),
    Entry::of::<ListPolicyTags>(),
];
