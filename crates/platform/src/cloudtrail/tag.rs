//! Tags of trails.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Operation, Result, Tx};

use super::{
    error::error,
    trail::{self, Done},
};

/// Tags of one trail. Source: CloudTrail API Reference, "AddTags".
const TAGS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;
/// Trails whose tags one call lists. Source: CloudTrail API Reference, "ListTags".
const RESOURCES_MAX: usize = 20;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// At most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Lays `given` over `tags`; keys are compared with case.
///
/// # Errors
/// `InvalidTagParameterException` and `TagsLimitExceededException`; nothing is changed then. [U] The texts.
pub(crate) fn merge(tags: &mut Vec<Tag>, given: Vec<Tag>) -> Result<()> {
    let mut merged = tags.clone();
    for (at, tag) in given.iter().enumerate() {
        let value_chars = tag.value.as_ref().map_or(0, |value| value.chars().count());
        let length = tag.key.chars().count();
        if length == 0 || length > KEY_CHARS_MAX || value_chars > VALUE_CHARS_MAX || tag.key.starts_with("aws:") {
            return Err(error("InvalidTagParameterException", format!("The tag {} is not valid.", tag.key)));
        }
        if given.iter().skip(at.saturating_add(1)).any(|other| other.key == tag.key) {
            return Err(error("InvalidTagParameterException", format!("The tag key {} is given twice.", tag.key)));
        }
        match merged.iter_mut().find(|old| old.key == tag.key) {
            Some(old) => *old = tag.clone(),
            None => merged.push(tag.clone()),
        }
    }
    if merged.len() > TAGS_MAX {
        return Err(error(
            "TagsLimitExceededException",
            format!(
                "The number of tags per trail has exceeded the permitted amount. Currently, the limit is {TAGS_MAX}."
            ),
        ));
    }
    *tags = merged;
    Ok(())
}

/// Only ARNs name what is tagged.
fn tagged(tx: &mut Tx<'_>, cx: &Cx<'_>, arn: &str) -> Result<trail::Trail> {
    if !arn.starts_with("arn:") {
        return Err(error("CloudTrailARNInvalidException", format!("Trail ARN {arn} is not valid.")));
    }
    trail::find(tx, cx, arn).map_err(|refusal| match &*refusal.code {
        // [U] The text.
        "TrailNotFoundException" => error("ResourceNotFoundException", format!("The resource {arn} does not exist.")),
        _ => refusal,
    })
}

/// The members AddTags and RemoveTags share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tagging {
    resource_id: String,
    tags_list: Vec<Tag>,
}

pub struct AddTags;

impl Operation for AddTags {
    const NAME: &'static str = "AddTags";
    type Input = Tagging;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut trail = tagged(tx, cx, &input.resource_id)?;
        merge(&mut trail.tags, input.tags_list)?;
        trail::save(tx, &trail)?;
        Ok(Done {})
    }
}

pub struct RemoveTags;

/// A tag goes when its key is named and, where a value is given, when that fits too.
impl Operation for RemoveTags {
    const NAME: &'static str = "RemoveTags";
    type Input = Tagging;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut trail = tagged(tx, cx, &input.resource_id)?;
        let named = |tag: &Tag| {
            input
                .tags_list
                .iter()
                .any(|named| named.key == tag.key && (named.value.is_none() || named.value == tag.value))
        };
        trail.tags.retain(|tag| !named(tag));
        trail::save(tx, &trail)?;
        Ok(Done {})
    }
}

pub struct ListTags;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListTagsInput {
    resource_id_list: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListTags {
    const NAME: &'static str = "ListTags";
    type Input = ListTagsInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if input.next_token.is_some_and(|token| !token.is_empty()) {
            return Err(error("InvalidTokenException", "The NextToken was not given by this operation."));
        }
        if input.resource_id_list.len() > RESOURCES_MAX {
            return Err(error(
                "InvalidParameterException",
                format!("ResourceIdList has at most {RESOURCES_MAX} members."),
            ));
        }
        let mut lists = Vec::new();
        for arn in &input.resource_id_list {
            let trail = tagged(tx, cx, arn)?;
            lists.push(json!({ "ResourceId": arn, "TagsList": trail.tags }));
        }
        Ok(json!({ "ResourceTagList": lists }))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<AddTags>(), Entry::of::<RemoveTags>(), Entry::of::<ListTags>()];
