//! Tags of functions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use crate::{
    check::{Checks, is_account, is_region, is_word},
    error::invalid,
    name::{Address, Sharing},
};

/// Operations on tags.
pub const OPERATIONS: &[Entry] = &[Entry::of::<ListTags>(), Entry::of::<TagResource>(), Entry::of::<UntagResource>()];

/// AWS's limit for one resource.
const TAGS_MAX: usize = 50;

const RESOURCE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|(capacity-provider|network-connector):[a-zA-Z0-9-_]{1,64})";
const TAG_PATTERN: &str = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)";

/// Constraints on a function's tags as a whole.
///
/// # Errors
/// `ValidationException` for a key or value; `InvalidParameterValueException` for AWS's own prefix or more than 50.
pub(crate) fn check(tags: &BTreeMap<String, String>) -> Result<()> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.pattern(is_tag(key), "tags", key, TAG_PATTERN);
        checks.length("tags", key, 1, 128);
        checks.pattern(is_tag(value), "tags", value, TAG_PATTERN);
        checks.length("tags", value, 0, 256);
    }
    checks.done()?;
    if tags.keys().any(|key| key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))) {
        return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    if tags.len() > TAGS_MAX {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

fn is_tag(text: &str) -> bool {
    // Unicode's letters, separators and numbers, as far as the standard library tells them.
    text.chars().all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
}

/// `aws:RequestTag/..` for the permission check.
pub(crate) fn request_context(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), value.clone())).collect()
}

/// The function a tag operation is about; tags hang on functions only.
fn address(resource: &str, cx: &Cx<'_>) -> Result<Address> {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let kind = match parts.as_slice() {
        ["arn", partition, "lambda", region, account, rest]
            if partition.starts_with("aws") && is_region(region) && is_account(account) =>
        {
            *rest
        }
        _ => "",
    };
    let (word, rest) = kind.split_once(':').unwrap_or_default();
    let mut checks = Checks::default();
    let name = rest.split_once(':').map_or(rest, |(name, _)| name);
    let other =
        matches!(word, "code-signing-config" | "event-source-mapping" | "capacity-provider" | "network-connector");
    let fits = (word == "function" && is_word(name)) || (other && is_word(rest));
    checks.pattern(fits, "resource", resource, RESOURCE_PATTERN);
    checks.done()?;
    if other {
        // None of the other kinds of resource exists here.
        return Err(crate::error::not_found(format!("Resource not found: {resource}")));
    }
    let address = Address::resolve(resource, None, cx)?;
    if address.qualifier.as_deref().is_some() {
        let text = "Tags on function aliases and versions are not supported. Please specify a function ARN.";
        return Err(invalid(text));
    }
    Ok(address)
}

/// A function's tags.
pub struct ListTags;

/// Input of [`ListTags`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsInput {
    resource: String,
}

/// Output of [`ListTags`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsOutput {
    tags: BTreeMap<String, String>,
}

impl Operation for ListTags {
    const NAME: &'static str = "ListTags";
    type Input = ListTagsInput;
    type Output = ListTagsOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![address(&input.resource, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(ListTagsOutput { tags: address(&input.resource, cx)?.function(tx)?.tags })
    }
}

/// Adds tags, or gives them new values.
pub struct TagResource;

/// Input of [`TagResource`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagResourceInput {
    resource: String,
    tags: BTreeMap<String, String>,
}

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    type Input = TagResourceInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut need = address(&input.resource, cx)?.need(default, Sharing::Shared, tx)?;
        need.context.extend(request_context(&input.tags));
        Ok(vec![need])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        if input.tags.is_empty() {
            return Err(invalid("An error occurred and the request cannot be processed."));
        }
        let address = address(&input.resource, cx)?;
        let mut function = address.function(tx)?;
        function.tags.extend(input.tags);
        check(&function.tags)?;
        tx.put(&address.scope(), "", &address.function, &function)?;
        Ok(Map::new())
    }
}

/// Removes tags; a key that is not there changes nothing.
pub struct UntagResource;

/// Input of [`UntagResource`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagResourceInput {
    resource: String,
    #[serde(default)]
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    type Input = UntagResourceInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![address(&input.resource, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        if input.tag_keys.is_empty() {
            let mut checks = Checks::default();
            let text = "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null";
            checks.violated(text.to_owned());
            checks.done()?;
        }
        let address = address(&input.resource, cx)?;
        let mut function = address.function(tx)?;
        function.tags.retain(|key, _| !input.tag_keys.contains(key));
        tx.put(&address.scope(), "", &address.function, &function)?;
        Ok(Map::new())
    }
}

#[cfg(test)]
mod tests;
