//! Layers: zips that functions share, laid below `/opt`.
//!
//! A layer version is immutable. Its number is never used twice, and a function that names it keeps its content when the
//! version is deleted. Other accounts may use it only if its own policy lets them.
//!
//! Sources: Lambda API Reference, "PublishLayerVersion", "GetLayerVersion", "AddLayerVersionPermission"; Lambda
//! Developer Guide, "Managing Lambda dependencies with layers".

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Need, Record, Result, Scope, Tx};

use crate::{
    check::{Checks, is_account, is_digits, is_region, is_word},
    configuration::Layer as Shown,
    error::{invalid, not_found},
    function::LayerContent,
    name::Address,
};

mod publish;
mod read;
mod sharing;

pub use publish::{
    Content, DeleteLayerVersion, LayerVersionInput, LayerVersionOutput, PublishLayerVersion, PublishLayerVersionInput,
};
pub use read::{
    GetLayerVersion, GetLayerVersionByArn, GetLayerVersionByArnInput, ListLayerVersions, ListLayerVersionsInput,
    ListLayerVersionsOutput, ListLayers, ListLayersInput, ListLayersOutput,
};
pub use sharing::{
    AddLayerVersionPermission, AddLayerVersionPermissionInput, AddLayerVersionPermissionOutput, GetLayerVersionPolicy,
    GetLayerVersionPolicyOutput, LayerPolicy, RemoveLayerVersionPermission, RemoveLayerVersionPermissionInput,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PublishLayerVersion>(),
    Entry::of::<GetLayerVersion>(),
    Entry::of::<GetLayerVersionByArn>(),
    Entry::of::<ListLayers>(),
    Entry::of::<ListLayerVersions>(),
    Entry::of::<DeleteLayerVersion>(),
    Entry::of::<AddLayerVersionPermission>(),
    Entry::of::<RemoveLayerVersionPermission>(),
    Entry::of::<GetLayerVersionPolicy>(),
];

const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+";
const VERSION_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)";

/// Layers of one function. Source: Lambda Developer Guide, "Lambda quotas".
const LAYERS_MAX: usize = 5;
/// Length of a layer's name or ARN.
const NAME_BYTES_MAX: usize = 140;
/// Width of a version's id, so that ids sort as numbers do.
const ID_WIDTH: usize = 20;

/// A layer: what numbers its versions get. Key: no parent, id = name. It stays when the last version is deleted, so that
/// no number is used twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// Its name.
    pub layer_name: String,
    /// The number the last published version got.
    pub versions_published: u64,
}

impl Record for Layer {
    const NOUN: &'static str = "lambda/Layer";
}

/// One version of a layer. Key: parent = layer name, id = the number with leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerVersion {
    /// The number.
    pub version: u64,
    /// At most 256 characters.
    pub description: String,
    /// As AWS spells it: `2025-11-25T02:26:54.000+0000`.
    pub created_date: String,
    /// SHA-256 of the zip in hex: the blob's name.
    pub blob: String,
    /// The same in base64.
    pub code_sha256: String,
    /// Bytes of the zip.
    pub code_size: u64,
    /// Bytes when unpacked.
    pub unpacked: u64,
    /// For readers: AWS does not hold a function's runtime against them either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible_runtimes: Vec<String>,
    /// For readers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible_architectures: Vec<String>,
    /// For readers; at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_info: Option<String>,
}

impl Record for LayerVersion {
    const NOUN: &'static str = "lambda/LayerVersion";
}

fn id(version: u64) -> String {
    format!("{version:0>ID_WIDTH$}")
}

/// A layer, perhaps of another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerAddress {
    account: String,
    region: String,
    name: String,
}

impl LayerAddress {
    /// The ARN of a layer, or of one of its versions with the number.
    fn parse(arn: &str) -> Option<(Self, Option<u64>)> {
        let parts: Vec<&str> = arn.split(':').collect();
        let (head, number) = match parts.as_slice() {
            [head @ .., number] if parts.len() == 8 && is_digits(number) => (head, Some(number.parse().ok()?)),
            head if parts.len() == 7 => (head, None),
            _ => return None,
        };
        let ["arn", "aws", "lambda", region, account, "layer", name] = head else { return None };
        let fits = is_region(region) && is_account(account) && is_word(name);
        let address = Self { account: (*account).to_owned(), region: (*region).to_owned(), name: (*name).to_owned() };
        fits.then_some((address, number))
    }

    /// Reads `LayerName` of a call.
    ///
    /// # Errors
    /// `ValidationException` for what is neither a name nor a layer's ARN; `ResourceNotFoundException` for another
    /// region.
    fn resolve(name: &str, cx: &Cx<'_>) -> Result<Self> {
        let found = match Self::parse(name) {
            Some((address, None)) => Some(address),
            Some(_) => None,
            None if is_word(name) => Some(Self {
                account: cx.account().to_owned(),
                region: cx.region.as_str().to_owned(),
                name: name.to_owned(),
            }),
            None => None,
        };
        let mut checks = Checks::default();
        checks.pattern(found.is_some(), "layerName", name, NAME_PATTERN);
        checks.length("layerName", name, 1, NAME_BYTES_MAX);
        checks.done()?;
        found.filter(|address| address.region == cx.region.as_str()).ok_or_else(|| not_found(NO_SUCH_RESOURCE))
    }

    fn scope(&self) -> Scope {
        Scope::regional(self.account.as_str(), &self.region)
    }

    fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:layer:{}", self.region, self.account, self.name)
    }

    fn version_arn(&self, version: u64) -> String {
        format!("{}:{version}", self.arn())
    }

    fn version(&self, version: u64, tx: &mut Tx<'_>) -> Result<Option<LayerVersion>> {
        tx.get(&self.scope(), &self.name, &id(version))
    }

    /// The permission `default` becomes for the layer as a whole. Nothing can grant it to another account.
    fn need(&self, default: Need) -> Need {
        Need { resource: self.arn(), account: self.account.clone(), ..default }
    }

    /// The permission `default` becomes for one version.
    fn version_need(&self, version: u64, default: Need) -> Need {
        Need { resource: self.version_arn(version), account: self.account.clone(), ..default }
    }

    /// `lambda:GetLayerVersion`, the one permission a layer version's own policy can grant.
    fn get_need(&self, version: u64, tx: &mut Tx<'_>) -> Result<Need> {
        let policy = tx.get::<LayerPolicy>(&self.scope(), &self.name, &id(version))?;
        Ok(Need {
            resource_policy: policy.map(|policy| policy.document()),
            ..Need::new("lambda:GetLayerVersion", self.version_arn(version), self.account.as_str())
        })
    }

    /// # Errors
    /// 403: nobody but the owner changes a layer. The permission check refuses it already; this holds the line once more.
    fn check_owner(&self, action: &str, cx: &Cx<'_>) -> Result<()> {
        if self.account == cx.account() {
            return Ok(());
        }
        let text = format!(
            "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the \
             {action} action",
            cx.caller.arn(),
            self.arn()
        );
        Err(crate::error::access_denied(text))
    }
}

/// AWS's text for a layer version that is not there.
const NO_SUCH_RESOURCE: &str = "The resource you requested does not exist.";

/// A version number as the path carries it.
///
/// # Errors
/// `InvalidParameterValueException` below 1.
fn number(version: i64) -> Result<u64> {
    u64::try_from(version)
        .ok()
        .filter(|version| *version > 0)
        .ok_or_else(|| invalid("Layer Version Cannot be less than 1"))
}

/// A layer version a function is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) shown: Shown,
    pub(crate) content: LayerContent,
}

/// The permissions for naming these layer versions in a function: `lambda:GetLayerVersion` on each, which across
/// accounts the layer's policy must grant as well. What is no ARN is left to [`attach`] to refuse.
///
/// # Errors
/// 5xx when the store cannot be read.
pub(crate) fn attach_needs(arns: &[String], tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    for arn in arns.iter().take(LAYERS_MAX) {
        if let Some((address, Some(version))) = LayerAddress::parse(arn) {
            needs.push(address.get_need(version, tx)?);
        }
    }
    Ok(needs)
}

/// The layer versions a function of `owner` is to have, in this order.
///
/// # Errors
/// `InvalidParameterValueException` for more than five, for two versions of one layer, for another region, and for what
/// does not exist; `ValidationException` for what is no ARN of a layer version.
pub(crate) fn attach(arns: &[String], owner: &Address, tx: &mut Tx<'_>) -> Result<Vec<Attached>> {
    if arns.len() > LAYERS_MAX {
        return Err(invalid(format!("Cannot reference more than {LAYERS_MAX} layers.")));
    }
    let mut attached: Vec<Attached> = Vec::new();
    for arn in arns {
        let missing = || invalid(format!("Layer version {arn} does not exist."));
        let Some((address, Some(version))) = LayerAddress::parse(arn) else {
            let mut checks = Checks::default();
            // AWS's own layers have ARNs of another form; none of them exists here.
            let fits = arn.starts_with("arn:aws:lambda:::awslayer:");
            checks.require(fits, "layers", &format!("[{arn}]"), || {
                format!(
                    "Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have \
                     length greater than or equal to 1, Member must satisfy regular expression pattern: {VERSION_PATTERN}, \
                     Member must not be null]"
                )
            });
            checks.done()?;
            return Err(missing());
        };
        if address.region != owner.region {
            return Err(invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                owner.region
            )));
        }
        let layer = address.arn();
        let same = |other: &&Attached| other.shown.arn.rsplit_once(':').is_some_and(|(own, _)| own == layer);
        if let Some(other) = attached.iter().find(same) {
            return Err(invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and \
                 {arn} are versions of the same layer.",
                other.shown.arn
            )));
        }
        let found = address.version(version, tx)?.ok_or_else(missing)?;
        attached.push(Attached {
            shown: Shown { arn: address.version_arn(version), code_size: found.code_size },
            content: LayerContent { blob: found.blob, unpacked: found.unpacked },
        });
    }
    Ok(attached)
}

/// Whether a list that is only for readers has this member; an absent filter fits all.
fn lists(members: &[String], wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| members.iter().any(|member| member == wanted))
}

/// Input of a call as the audit record may show it: without the code.
fn without_code(params: &Value) -> Value {
    let mut params = params.clone();
    if let Some(content) = params.get_mut("Content").and_then(Value::as_object_mut) {
        content.remove("ZipFile");
    }
    params
}

#[cfg(test)]
mod tests;
