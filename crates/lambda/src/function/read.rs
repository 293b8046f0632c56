//! GetFunction, GetFunctionConfiguration, ListFunctions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Host, Need, Operation, Parent, Result, Timestamp, Tx};

use super::{Function, resolve};
use crate::{
    configuration::{Answer, Configuration},
    name::{Address, LATEST, Sharing},
    paging,
    version::Version,
};

/// A function, perhaps with a qualifier.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QualifiedInput {
    function_name: String,
    qualifier: Option<String>,
}

impl QualifiedInput {
    pub(crate) fn address(&self, cx: &Cx<'_>) -> Result<Address> {
        Address::resolve(&self.function_name, self.qualifier.as_deref(), cx)
    }
}

/// One function with where to fetch its code.
pub struct GetFunction;

/// Output of [`GetFunction`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetFunctionOutput {
    configuration: Answer,
    code: Value,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Value>,
}

impl Operation for GetFunction {
    const NAME: &'static str = "GetFunction";
    type Input = QualifiedInput;
    type Output = GetFunctionOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![input.address(cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let found = resolve(&input.address(cx)?, tx)?;
        let location = code_location(&found.code_blob, cx);
        let reserved = found.function.reserved_concurrent_executions;
        Ok(GetFunctionOutput {
            configuration: Answer::new(found.configuration, &found.status),
            code: json!({ "RepositoryType": "S3", "Location": location }),
            tags: found.function.tags,
            concurrency: reserved.map(|reserved| json!({ "ReservedConcurrentExecutions": reserved })),
        })
    }
}

/// Path under the endpoint where the zip behind a `Location` is served; what follows is sealed.
pub const CODE_PATH: &str = "/_portcullis/lambda/code/";

const CODE_PURPOSE: &str = "lambda-code-location";
/// As AWS: the address is good for ten minutes.
const CODE_LOCATION_S: i64 = 600;

#[derive(Serialize, Deserialize)]
struct CodeLocation {
    blob: String,
    expires_at: Timestamp,
}

/// AWS answers a presigned S3 address; ours is sealed with the installation's key instead, as good for whoever has it.
pub(crate) fn code_location(blob: &str, cx: &mut Cx<'_>) -> String {
    let location = CodeLocation { blob: blob.to_owned(), expires_at: cx.now.plus_s(CODE_LOCATION_S) };
    // Two fields of plain text always encode; an empty seal opens to nothing.
    let plain = serde_json::to_vec(&location).unwrap_or_default();
    format!("{}{CODE_PATH}{}", cx.endpoint, cx.host.seal(CODE_PURPOSE, &plain))
}

/// The blob a `Location` was made for: `sealed` is what follows [`CODE_PATH`]. `None` when forged or expired.
#[must_use]
pub fn open_code_location(host: &dyn Host, sealed: &str, now: Timestamp) -> Option<String> {
    let plain = host.open(CODE_PURPOSE, sealed)?;
    let location: CodeLocation = serde_json::from_slice(&plain).ok()?;
    (now <= location.expires_at).then_some(location.blob)
}

/// The configuration alone.
pub struct GetFunctionConfiguration;

impl Operation for GetFunctionConfiguration {
    const NAME: &'static str = "GetFunctionConfiguration";
    type Input = QualifiedInput;
    type Output = Answer;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![input.address(cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let found = resolve(&input.address(cx)?, tx)?;
        Ok(Answer::new(found.configuration, &found.status))
    }
}

/// The functions of the caller's account and region.
pub struct ListFunctions;

/// Input of [`ListFunctions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListFunctionsInput {
    function_version: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListFunctions`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListFunctionsOutput {
    functions: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl Operation for ListFunctions {
    const NAME: &'static str = "ListFunctions";
    type Input = ListFunctionsInput;
    type Output = ListFunctionsOutput;

    // It asks for replicas of Lambda@Edge functions, of which there are none.
    const REFUSED: &'static [&'static str] = &["MasterRegion"];

    fn needs(_input: &Self::Input, default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Need { resource: "*".to_owned(), ..default }])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        let rows = if input.function_version.is_some() {
            all_versions(after.as_deref(), limit, cx, tx)?
        } else {
            let page = tx.page::<Function>(&cx.scope(), "", after.as_deref(), limit.saturating_add(1))?;
            page.into_iter().map(|(id, function)| (id, function.configuration)).collect()
        };
        let (page, next_marker) = paging::cut(rows, limit);
        let functions = page.into_iter().map(Answer::listed).collect();
        Ok(ListFunctionsOutput { functions, next_marker })
    }
}

/// `$LATEST` of every function, its ARN qualified, and every version; a marker is `function/version id`.
fn all_versions(
    after: Option<&str>,
    limit: usize,
    cx: &Cx<'_>,
    tx: &mut Tx<'_>,
) -> Result<Vec<(String, Configuration)>> {
    let scope = cx.scope();
    let mut rows = Vec::new();
    // Functions before the marked one are over; the marked one itself may have versions left.
    let functions: Vec<Function> = tx.list(&scope, &Parent::Exact(""))?;
    let (done, last) = after.and_then(|after| after.split_once('/')).unwrap_or_default();
    for function in functions {
        let name = function.configuration.function_name.clone();
        if rows.len() > limit || name.as_str() < done {
            continue;
        }
        let last = if name == done { last } else { "" };
        if last.is_empty() {
            let arn = format!("{}:{LATEST}", function.configuration.function_arn);
            let row = Configuration { function_arn: arn, ..function.configuration };
            rows.push((format!("{name}/{LATEST}"), row));
        }
        let last = if last == LATEST { None } else { Some(last).filter(|last| !last.is_empty()) };
        for (id, version) in tx.page::<Version>(&scope, &name, last, limit.saturating_add(1))? {
            rows.push((format!("{name}/{id}"), version.configuration));
        }
    }
    rows.truncate(limit.saturating_add(1));
    Ok(rows)
}
