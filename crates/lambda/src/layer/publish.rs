//! PublishLayerVersion and DeleteLayerVersion.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Cx, Need, Operation, Result, Tx, Upload};

use super::{Layer, LayerAddress, LayerPolicy, LayerVersion, id, number, without_code};
use crate::{
    check::Checks,
    error::{invalid, not_enforced},
    function::{UNZIPPED_BYTES_MAX, code_location, uploaded},
};

/// Publishes a version of a layer, and the layer with its first.
pub struct PublishLayerVersion;

/// Input of [`PublishLayerVersion`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishLayerVersionInput {
    layer_name: String,
    description: Option<String>,
    content: Content,
    compatible_architectures: Option<Vec<String>>,
    compatible_runtimes: Option<Vec<String>>,
    license_info: Option<String>,
}

/// Where a layer's zip comes from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Content {
    /// Read by then.
    pub s3_bucket: Option<Value>,
    /// Read by then.
    pub s3_key: Option<Value>,
    /// Read by then.
    pub s3_object_version: Option<Value>,
    /// Refused.
    pub s3_object_storage_mode: Option<Value>,
    /// The upload, or the object of S3, which stands here as what [`service::Upload`] replaced it by.
    pub zip_file: Option<Value>,
}

/// A layer version as AWS answers it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerVersionOutput {
    content: Value,
    layer_arn: String,
    layer_version_arn: String,
    description: String,
    created_date: String,
    version: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compatible_architectures: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compatible_runtimes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info: Option<String>,
}

impl LayerVersionOutput {
    /// With a fresh address of the zip, good for ten minutes.
    pub(super) fn new(address: &LayerAddress, version: LayerVersion, cx: &mut Cx<'_>) -> Self {
        Self {
            content: json!({
                "Location": code_location(&version.blob, cx),
                "CodeSha256": version.code_sha256,
                "CodeSize": version.code_size,
            }),
            layer_arn: address.arn(),
            layer_version_arn: address.version_arn(version.version),
            description: version.description,
            created_date: version.created_date,
            version: version.version,
            compatible_architectures: version.compatible_architectures,
            compatible_runtimes: version.compatible_runtimes,
            license_info: version.license_info,
        }
    }
}

impl Operation for PublishLayerVersion {
    const NAME: &'static str = "PublishLayerVersion";
    type Input = PublishLayerVersionInput;
    type Output = LayerVersionOutput;

    const UPLOAD: Option<Upload> = Some(Upload { path: &["Content", "ZipFile"] });

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![LayerAddress::resolve(&input.layer_name, cx)?.need(default)])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        address.check_owner("lambda:PublishLayerVersion", cx)?;
        let description = input.description.unwrap_or_default();
        let mut checks = Checks::default();
        checks.length("description", &description, 0, 256);
        checks.length("licenseInfo", input.license_info.as_deref().unwrap_or_default(), 0, 512);
        checks.done()?;
        let content = &input.content;
        if content.s3_object_storage_mode.as_ref().is_some_and(|mode| !mode.is_null()) {
            return Err(not_enforced("S3ObjectStorageMode", "the content is always copied."));
        }
        let Some(zip) = content.zip_file.as_ref().filter(|zip| !zip.is_null()) else {
            return Err(invalid("Please provide a source for layer content."));
        };
        let from_s3 = content.s3_bucket.as_ref().is_some_and(|bucket| !bucket.is_null());
        let uploaded = uploaded(zip, from_s3)?;
        if uploaded.unpacked > UNZIPPED_BYTES_MAX {
            return Err(invalid(format!("Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes")));
        }
        let scope = address.scope();
        let published = tx.get::<Layer>(&scope, "", &address.name)?.map_or(0, |layer| layer.versions_published);
        let layer = Layer { layer_name: address.name.clone(), versions_published: published.saturating_add(1) };
        let version = LayerVersion {
            version: layer.versions_published,
            description,
            created_date: cx.now.lambda(),
            blob: uploaded.blob,
            code_sha256: uploaded.code_sha256,
            code_size: uploaded.code_size,
            unpacked: uploaded.unpacked,
            compatible_runtimes: input.compatible_runtimes.unwrap_or_default(),
            compatible_architectures: input.compatible_architectures.unwrap_or_default(),
            license_info: input.license_info,
        };
        tx.put(&scope, "", &address.name, &layer)?;
        tx.put(&scope, &address.name, &id(version.version), &version)?;
        Ok(LayerVersionOutput::new(&address, version, cx))
    }

    fn trail_parameters(params: &Value) -> Value {
        without_code(params)
    }

    fn trail_response(output: &Value) -> Value {
        let mut output = output.clone();
        // The address is as good as the content for whoever reads it.
        if let Some(content) = output.get_mut("Content").and_then(Value::as_object_mut) {
            content.remove("Location");
        }
        output
    }
}

/// Deletes a version of a layer. Functions that have it keep it.
pub struct DeleteLayerVersion;

/// One version of a layer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerVersionInput {
    pub(super) layer_name: String,
    pub(super) version_number: i64,
}

impl Operation for DeleteLayerVersion {
    const NAME: &'static str = "DeleteLayerVersion";
    type Input = LayerVersionInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        Ok(vec![address.version_need(number(input.version_number)?, default)])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = LayerAddress::resolve(&input.layer_name, cx)?;
        address.check_owner("lambda:DeleteLayerVersion", cx)?;
        let id = id(number(input.version_number)?);
        // One that is not there is a success, as on AWS.
        tx.delete::<LayerVersion>(&address.scope(), &address.name, &id);
        tx.delete::<LayerPolicy>(&address.scope(), &address.name, &id);
        Ok(Map::new())
    }
}
