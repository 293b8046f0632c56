//! Versions: immutable copies of code and configuration.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Need, Operation, Record, Result, Scope, Tx};

use crate::{
    check::Checks,
    configuration::{Answer, Configuration, without_secrets},
    error::invalid,
    function::{Function, LayerContent},
    life::Status,
    name::{Address, LATEST, Sharing},
    paging,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<PublishVersion>(), Entry::of::<ListVersionsByFunction>()];

/// A published version. Key: parent = function name, id = [`Version::id`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// As published; `Version` is the number, `FunctionArn` carries it.
    pub configuration: Configuration,
    /// SHA-256 of the zip in hex.
    pub code_blob: String,
    /// As [`Function::run_key`] was.
    pub run_key: String,
    /// As [`Function::layer_contents`] was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_contents: Vec<LayerContent>,
    /// Where it is in its life: one that is published while its function is being created is ready with it.
    #[serde(default, skip_serializing_if = "Status::is_default")]
    pub status: Status,
}

impl Record for Version {
    const NOUN: &'static str = "lambda/Version";
    // It holds the customer's environment variables, which AWS encrypts at rest too.
    const SECRET: bool = true;
}

/// Width of a version's id, so that ids sort as numbers do.
const ID_WIDTH: usize = 20;

impl Version {
    /// The number with leading zeros.
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.configuration.version)
    }

    /// The version of that number; `None` also for a number written with leading zeros.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub fn get(scope: &Scope, function: &str, number: &str, tx: &mut Tx<'_>) -> Result<Option<Self>> {
        if number.starts_with('0') || number.len() > ID_WIDTH {
            return Ok(None);
        }
        tx.get(scope, function, &id(number))
    }
}

fn id(number: &str) -> String {
    format!("{number:0>ID_WIDTH$}")
}

/// Publishes `$LATEST` and gives the version's configuration; `function` is changed but not stored.
///
/// If nothing changed since the last version, that version is the answer.
///
/// # Errors
/// 5xx when the store cannot be read.
pub(crate) fn publish(
    address: &Address,
    function: &mut Function,
    description: Option<String>,
    cx: &mut Cx<'_>,
    tx: &mut Tx<'_>,
) -> Result<Configuration> {
    let scope = address.scope();
    if function.published_run_key.as_ref() == Some(&function.run_key)
        && let Some(last) = Version::get(&scope, &address.function, &function.versions_published.to_string(), tx)?
    {
        return Ok(last.configuration);
    }
    function.versions_published = function.versions_published.saturating_add(1);
    function.published_run_key = Some(function.run_key.clone());
    let number = function.versions_published.to_string();
    let configuration = Configuration {
        function_arn: format!("{}:{number}", address.arn()),
        version: number,
        description: description.unwrap_or_else(|| function.configuration.description.clone()),
        revision_id: cx.uuid(),
        last_modified: cx.now.lambda(),
        ..function.configuration.clone()
    };
    let version = Version {
        configuration: configuration.clone(),
        code_blob: function.code_blob.clone(),
        run_key: function.run_key.clone(),
        layer_contents: function.layer_contents.clone(),
        status: function.status.clone(),
    };
    tx.put(&scope, &address.function, &version.id(), &version)?;
    Ok(configuration)
}

/// Publishes a version from `$LATEST`.
pub struct PublishVersion;

/// Input of [`PublishVersion`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishVersionInput {
    function_name: String,
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
}

impl Operation for PublishVersion {
    const NAME: &'static str = "PublishVersion";
    type Input = PublishVersionInput;
    type Output = Answer;

    // `$LATEST.PUBLISHED` belongs to managed instances, which do not exist here.
    const REFUSED: &'static [&'static str] = &["PublishTo"];

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let mut function = address.function(tx)?;
        let mut checks = Checks::default();
        checks.length("description", input.description.as_deref().unwrap_or_default(), 0, 256);
        checks.done()?;
        function.status.check_settled(&address.arn())?;
        function.check_revision(input.revision_id.as_deref())?;
        let present = &function.configuration.code_sha256;
        if let Some(asked) = input.code_sha256.filter(|asked| !asked.is_empty() && asked != present) {
            return Err(invalid(format!(
                "CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({present}). Please try again with the \
                 CodeSHA256 in $LATEST."
            )));
        }
        let shown = publish(&address, &mut function, input.description, cx, tx)?;
        tx.put(&address.scope(), "", &address.function, &function)?;
        Ok(Answer::new(shown, &function.status))
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}

/// `$LATEST` and the versions, ascending.
pub struct ListVersionsByFunction;

/// Input of [`ListVersionsByFunction`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListVersionsByFunctionInput {
    function_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListVersionsByFunction`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListVersionsByFunctionOutput {
    versions: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl Operation for ListVersionsByFunction {
    const NAME: &'static str = "ListVersionsByFunction";
    type Input = ListVersionsByFunctionInput;
    type Output = ListVersionsByFunctionOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let function = address.function(tx)?;
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        let mut rows = Vec::new();
        if after.is_none() {
            let arn = format!("{}:{LATEST}", address.arn());
            rows.push((LATEST.to_owned(), Configuration { function_arn: arn, ..function.configuration }));
        }
        let after = after.filter(|after| after != LATEST);
        let page =
            tx.page::<Version>(&address.scope(), &address.function, after.as_deref(), limit.saturating_add(1))?;
        rows.extend(page.into_iter().map(|(id, version)| (id, version.configuration)));
        let (page, next_marker) = paging::cut(rows, limit);
        let versions = page.into_iter().map(Answer::listed).collect();
        Ok(ListVersionsByFunctionOutput { versions, next_marker })
    }
}
