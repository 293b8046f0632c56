//! Tags of APIs, stages, API keys and usage plans, addressed by ARN. They live in the tagged record; this noun has none
//! of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Cx, Entry, Operation, Result, Tx};

use crate::error::{bad_request, not_found};
use crate::limits::check_tags;
use crate::{Nothing, api_key, rest_api, stage, usage_plan};

/// What an ARN of the caller's names.
enum Tagged {
    RestApi(rest_api::RestApi),
    Stage(String, stage::Stage),
    ApiKey(api_key::ApiKey),
    UsagePlan(usage_plan::UsagePlan),
}

impl Tagged {
    /// `arn:P:apigateway:{region}::/restapis/{id}[/stages/{name}]`, `/apikeys/{id}` or `/usageplans/{id}`; the account
    /// field is empty.
    fn load(arn: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Self> {
        let invalid = || bad_request("Invalid ARN specified in the request");
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (scheme, partition, service, region, account, resource) = (part(), part(), part(), part(), part(), part());
        let here = region == cx.region.as_str() && (account.is_empty() || account == cx.account());
        if scheme != "arn" || !partition.starts_with("aws") || service != "apigateway" || !here {
            return Err(invalid());
        }
        let path: Vec<&str> = resource.split('/').collect();
        match path.as_slice() {
            ["", "restapis", api] => Ok(Self::RestApi(rest_api::load(cx, tx, api)?)),
            ["", "restapis", api, "stages", name] => {
                rest_api::load(cx, tx, api)?;
                Ok(Self::Stage((*api).to_owned(), stage::load(cx, tx, api, name)?))
            }
            ["", "apikeys", id] => Ok(Self::ApiKey(api_key::load(cx, tx, id)?)),
            ["", "usageplans", id] => Ok(Self::UsagePlan(usage_plan::find(cx, tx, id)?)),
            // Taggable on AWS, and never there while the noun is not served.
            ["", "domainnames" | "vpclinks" | "clientcertificates", _] => {
                Err(not_found("Invalid resource identifier specified"))
            }
            _ => Err(invalid()),
        }
    }

    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        match self {
            Self::RestApi(api) => &mut api.tags,
            Self::Stage(_, stage) => &mut stage.tags,
            Self::ApiKey(key) => &mut key.tags,
            Self::UsagePlan(plan) => &mut plan.tags,
        }
    }

    fn store(&self, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
        match self {
            Self::RestApi(api) => rest_api::store(cx, tx, api),
            Self::Stage(api, stage) => stage::store(cx, tx, api, stage),
            Self::ApiKey(key) => api_key::store(cx, tx, key),
            Self::UsagePlan(plan) => usage_plan::store(cx, tx, plan),
        }
    }
}

/// Input of [`GetTags`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTagsInput {
    resource_arn: String,
}

/// All tags of one thing.
#[derive(Debug, Serialize)]
pub struct TagsOutput {
    tags: BTreeMap<String, String>,
}

/// Shows all tags of a thing.
pub struct GetTags;

impl Operation for GetTags {
    const NAME: &'static str = "GetTags";
    type Input = GetTagsInput;
    type Output = TagsOutput;
    // The API Reference says of both that they are not supported; a thing has 50 tags at most.
    const IGNORED: &'static [&'static str] = &["position", "limit"];

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut tagged = Tagged::load(&input.resource_arn, cx, tx)?;
        Ok(TagsOutput { tags: std::mem::take(tagged.tags()) })
    }
}

/// Input of [`TagResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagResourceInput {
    resource_arn: String,
    tags: BTreeMap<String, String>,
}

/// Adds tags, or changes their values.
pub struct TagResource;

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    type Input = TagResourceInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut tagged = Tagged::load(&input.resource_arn, cx, tx)?;
        tagged.tags().extend(input.tags);
        check_tags(tagged.tags())?;
        tagged.store(cx, tx)?;
        Ok(Nothing {})
    }
}

/// Input of [`UntagResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagResourceInput {
    resource_arn: String,
    tag_keys: Vec<String>,
}

/// Takes tags away; one that is not there changes nothing.
pub struct UntagResource;

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    type Input = UntagResourceInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut tagged = Tagged::load(&input.resource_arn, cx, tx)?;
        for key in &input.tag_keys {
            tagged.tags().remove(key);
        }
        tagged.store(cx, tx)?;
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<GetTags>(), Entry::of::<TagResource>(), Entry::of::<UntagResource>()];

#[cfg(test)]
mod tests;
