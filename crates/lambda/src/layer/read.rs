//! GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Need, Operation, Parent, Result, Tx};

use super::{
    Layer, LayerAddress, LayerVersion, LayerVersionInput, LayerVersionOutput, NO_SUCH_RESOURCE, VERSION_PATTERN, id,
    lists, number,
};
use crate::{check::Checks, error::not_found, paging};

/// One version of a layer, with where to fetch its content.
pub struct GetLayerVersion;

impl Operation for GetLayerVersion {
    const NAME: &'static str = "GetLayerVersion";
    type Input = LayerVersionInput;
    type Output = LayerVersionOutput;

    fn needs(input: &Self::Input, _default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        Ok(vec![address.get_need(number(input.version_number)?, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        shown(&address, number(input.version_number)?, cx, tx)
    }

    fn trail_response(_output: &Value) -> Value {
        Value::Null
    }
}

fn shown(address: &LayerAddress, version: u64, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<LayerVersionOutput> {
    let found = address.version(version, tx)?.ok_or_else(|| not_found(NO_SUCH_RESOURCE))?;
    Ok(LayerVersionOutput::new(address, found, cx))
}

/// The same by the ARN a function's configuration names.
pub struct GetLayerVersionByArn;

/// Input of [`GetLayerVersionByArn`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetLayerVersionByArnInput {
    arn: String,
}

impl GetLayerVersionByArnInput {
    fn address(&self, cx: &Cx<'_>) -> Result<(LayerAddress, u64)> {
        let found = LayerAddress::parse(&self.arn);
        let fits = matches!(found, Some((_, Some(_)))) || self.arn.starts_with("arn:aws:lambda:::awslayer:");
        let mut checks = Checks::default();
        checks.pattern(fits, "arn", &self.arn, VERSION_PATTERN);
        checks.done()?;
        match found {
            Some((address, Some(version))) if version > 0 && address.region == cx.region.as_str() => {
                Ok((address, version))
            }
            _ => Err(not_found(NO_SUCH_RESOURCE)),
        }
    }
}

impl Operation for GetLayerVersionByArn {
    const NAME: &'static str = "GetLayerVersionByArn";
    type Input = GetLayerVersionByArnInput;
    type Output = LayerVersionOutput;

    fn needs(input: &Self::Input, _default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let (address, version) = input.address(cx)?;
        Ok(vec![address.get_need(version, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let (address, version) = input.address(cx)?;
        shown(&address, version, cx, tx)
    }

    fn trail_response(_output: &Value) -> Value {
        Value::Null
    }
}

/// An item of a list.
fn item(address: &LayerAddress, version: LayerVersion) -> Value {
    let mut item = json!({
        "LayerVersionArn": address.version_arn(version.version),
        "Version": version.version,
        "Description": version.description,
        "CreatedDate": version.created_date,
    });
    for (name, members) in [
        ("CompatibleArchitectures", version.compatible_architectures),
        ("CompatibleRuntimes", version.compatible_runtimes),
    ] {
        if let Some(item) = item.as_object_mut().filter(|_| !members.is_empty()) {
            item.insert(name.to_owned(), json!(members));
        }
    }
    if let (Some(item), Some(license)) = (item.as_object_mut(), version.license_info) {
        item.insert("LicenseInfo".to_owned(), json!(license));
    }
    item
}

/// The versions of a layer that fit, the newest first.
fn versions(
    address: &LayerAddress,
    runtime: Option<&str>,
    architecture: Option<&str>,
    tx: &mut Tx<'_>,
) -> Result<Vec<LayerVersion>> {
    let mut versions: Vec<LayerVersion> = tx.list(&address.scope(), &Parent::Exact(&address.name))?;
    versions.retain(|version| {
        lists(&version.compatible_runtimes, runtime) && lists(&version.compatible_architectures, architecture)
    });
    versions.reverse();
    Ok(versions)
}

/// The layers of the caller's account and region, each with its newest version that fits.
pub struct ListLayers;

/// Input of [`ListLayers`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListLayersInput {
    compatible_architecture: Option<String>,
    compatible_runtime: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListLayers`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListLayersOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layers: Vec<Value>,
}

/// Layers read at once while looking for a page of those that fit.
const READ_AT_ONCE: usize = 100;

impl Operation for ListLayers {
    const NAME: &'static str = "ListLayers";
    type Input = ListLayersInput;
    type Output = ListLayersOutput;

    fn needs(_input: &Self::Input, default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Need { resource: "*".to_owned(), ..default }])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let limit = paging::limit(input.max_items);
        let mut after = paging::after(input.marker.as_deref())?;
        let scope = cx.scope();
        let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture.as_deref());
        let mut rows = Vec::new();
        while rows.len() <= limit {
            let page = tx.page::<Layer>(&scope, "", after.as_deref(), READ_AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, _) in page {
                let address = LayerAddress {
                    account: cx.account().to_owned(),
                    region: cx.region.as_str().to_owned(),
                    name: name.clone(),
                };
                // One whose versions are all deleted is not shown.
                if let Some(newest) = versions(&address, runtime, architecture, tx)?.into_iter().next() {
                    let shown = json!({
                        "LayerName": name,
                        "LayerArn": address.arn(),
                        "LatestMatchingVersion": item(&address, newest),
                    });
                    rows.push((name, shown));
                }
            }
        }
        rows.truncate(limit.saturating_add(1));
        let (layers, next_marker) = paging::cut(rows, limit);
        Ok(ListLayersOutput { next_marker, layers })
    }
}

/// The versions of a layer, the newest first.
pub struct ListLayerVersions;

/// Input of [`ListLayerVersions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListLayerVersionsInput {
    compatible_architecture: Option<String>,
    compatible_runtime: Option<String>,
    layer_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListLayerVersions`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListLayerVersionsOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layer_versions: Vec<Value>,
}

impl Operation for ListLayerVersions {
    const NAME: &'static str = "ListLayerVersions";
    type Input = ListLayerVersionsInput;
    type Output = ListLayerVersionsOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![LayerAddress::resolve(&input.layer_name, cx)?.need(default)])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture.as_deref());
        let versions = versions(&address, runtime, architecture, tx)?.into_iter();
        let rows = versions.map(|version| (id(version.version), version));
        let rows = rows.filter(|(id, _)| after.as_deref().is_none_or(|after| id.as_str() < after));
        let rows: Vec<_> =
            rows.take(limit.saturating_add(1)).map(|(id, version)| (id, item(&address, version))).collect();
        let (layer_versions, next_marker) = paging::cut(rows, limit);
        Ok(ListLayerVersionsOutput { next_marker, layer_versions })
    }
}
