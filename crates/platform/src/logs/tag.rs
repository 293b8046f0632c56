//! Tags of log groups, by ARN and by the deprecated calls that take a name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::{
    error::{error, invalid},
    log_group::{self, Done, Named},
};

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<TagResource>(),
    Entry::of::<UntagResource>(),
    Entry::of::<ListTagsForResource>(),
    Entry::of::<TagLogGroup>(),
    Entry::of::<UntagLogGroup>(),
    Entry::of::<ListTagsLogGroup>(),
];

/// Source: CloudWatch Logs API Reference, "TagResource".
const TAGS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// Lays `given` over `tags`.
///
/// # Errors
/// `InvalidParameterException` for a key or value no tag may have; `TooManyTagsException`. [U] The texts.
pub(crate) fn merge(tags: &mut BTreeMap<String, String>, given: BTreeMap<String, String>) -> Result<()> {
    let fits = |text: &str, chars_max: usize| {
        text.chars().count() <= chars_max
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
    };
    for (key, value) in given {
        if key.is_empty() || !fits(&key, KEY_CHARS_MAX) || !fits(&value, VALUE_CHARS_MAX) {
            return Err(invalid(format!("The tag {key} is not valid.")));
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX {
        return Err(error("TooManyTagsException", format!("A resource can have at most {TAGS_MAX} tags.")));
    }
    Ok(())
}

/// `aws:RequestTag/..` for the permission check.
pub(crate) fn request_context(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), value.clone())).collect()
}

fn add(name: &str, tags: BTreeMap<String, String>, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let scope = cx.scope();
    let mut group = log_group::find(tx, &scope, name)?;
    merge(&mut group.tags, tags)?;
    log_group::save(tx, &scope, &group)?;
    Ok(Done {})
}

fn remove(name: &str, keys: &[String], cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let scope = cx.scope();
    let mut group = log_group::find(tx, &scope, name)?;
    group.tags.retain(|key, _| !keys.contains(key));
    log_group::save(tx, &scope, &group)?;
    Ok(Done {})
}

/// The permission is about the group, whichever form of its ARN was sent.
fn need(arn: &str, default: Need, cx: &Cx<'_>) -> Result<Need> {
    let name = log_group::name_of_arn(arn, &cx.scope())?;
    let (region, account) = (cx.region.as_str(), cx.account());
    Ok(Need { resource: format!("arn:aws:logs:{region}:{account}:log-group:{name}"), ..default })
}

/// Tags, as both listing calls answer them.
#[derive(Debug, Clone, Serialize)]
pub struct Tags {
    tags: BTreeMap<String, String>,
}

/// Adds tags, or gives them new values.
pub struct TagResource;

/// Input of [`TagResource`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagResourceInput {
    resource_arn: String,
    tags: BTreeMap<String, String>,
}

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    type Input = TagResourceInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut need = need(&input.resource_arn, default, cx)?;
        need.context.extend(request_context(&input.tags));
        Ok(vec![need])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let name = log_group::name_of_arn(&input.resource_arn, &cx.scope())?;
        add(&name, input.tags, cx, tx)
    }
}

/// Removes tags; a key that is not there changes nothing.
pub struct UntagResource;

/// Input of [`UntagResource`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagResourceInput {
    resource_arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    type Input = UntagResourceInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need(&input.resource_arn, default, cx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let name = log_group::name_of_arn(&input.resource_arn, &cx.scope())?;
        remove(&name, &input.tag_keys, cx, tx)
    }
}

/// A group's tags, by its ARN.
pub struct ListTagsForResource;

/// Input of [`ListTagsForResource`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTagsForResourceInput {
    resource_arn: String,
}

impl Operation for ListTagsForResource {
    const NAME: &'static str = "ListTagsForResource";
    type Input = ListTagsForResourceInput;
    type Output = Tags;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need(&input.resource_arn, default, cx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Tags> {
        let scope = cx.scope();
        let name = log_group::name_of_arn(&input.resource_arn, &scope)?;
        Ok(Tags { tags: log_group::find(tx, &scope, &name)?.tags })
    }
}

/// As [`TagResource`], by name.
pub struct TagLogGroup;

/// Input of [`TagLogGroup`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagLogGroupInput {
    log_group_name: String,
    tags: BTreeMap<String, String>,
}

impl Operation for TagLogGroup {
    const NAME: &'static str = "TagLogGroup";
    type Input = TagLogGroupInput;
    type Output = Done;

    fn needs(input: &Self::Input, mut default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        default.context.extend(request_context(&input.tags));
        Ok(vec![default])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        add(&input.log_group_name, input.tags, cx, tx)
    }
}

/// As [`UntagResource`], by name.
pub struct UntagLogGroup;

/// Input of [`UntagLogGroup`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagLogGroupInput {
    log_group_name: String,
    tags: Vec<String>,
}

impl Operation for UntagLogGroup {
    const NAME: &'static str = "UntagLogGroup";
    type Input = UntagLogGroupInput;
    type Output = Done;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        remove(&input.log_group_name, &input.tags, cx, tx)
    }
}

/// As [`ListTagsForResource`], by name.
pub struct ListTagsLogGroup;

impl Operation for ListTagsLogGroup {
    const NAME: &'static str = "ListTagsLogGroup";
    type Input = Named;
    type Output = Tags;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Tags> {
        Ok(Tags { tags: log_group::find(tx, &cx.scope(), &input.log_group_name)?.tags })
    }
}
