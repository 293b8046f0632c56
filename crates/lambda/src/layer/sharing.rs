//! The policy of a layer version: which other accounts may use it.

use policy::{Kind, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Cx, Need, Operation, Record, Result, Tx};

use super::{LayerAddress, LayerVersionInput, id, number};
use crate::{
    check::{Checks, is_account, is_word},
    error::{conflict, invalid, not_found, precondition, user},
    permission::POLICY_BYTES_MAX,
};

const ACTION: &str = "lambda:GetLayerVersion";
const PRINCIPAL_PATTERN: &str = r"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root";

/// Statements of one layer version. Key: as the version's. A record without statements is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerPolicy {
    /// In the order they were added.
    pub statements: Vec<Value>,
    /// Changes with every change.
    pub revision_id: String,
}

impl Record for LayerPolicy {
    const NOUN: &'static str = "lambda/LayerPolicy";
}

impl LayerPolicy {
    /// The policy as GetLayerVersionPolicy answers it, and as it is evaluated.
    #[must_use]
    pub fn document(&self) -> String {
        json!({ "Version": "2012-10-17", "Id": "default", "Statement": self.statements }).to_string()
    }

    fn position(&self, sid: &str) -> Option<usize> {
        self.statements.iter().position(|statement| statement.get("Sid").is_some_and(|found| found == sid))
    }

    fn check_revision(&self, asked: Option<&str>) -> Result<()> {
        match asked {
            Some(asked) if asked != self.revision_id => Err(precondition("GetLayerPolicy")),
            _ => Ok(()),
        }
    }
}

/// A layer version that exists, and its policy if it has one.
struct Shared {
    address: LayerAddress,
    version: u64,
    policy: Option<LayerPolicy>,
}

impl Shared {
    fn load(name: &str, version: i64, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Self> {
        let address = LayerAddress::resolve(name, cx)?;
        let version = number(version)?;
        if address.version(version, tx)?.is_none() {
            return Err(not_found(format!("Layer version {} does not exist.", address.version_arn(version))));
        }
        let policy = tx.get(&address.scope(), &address.name, &id(version))?;
        Ok(Self { address, version, policy })
    }
}

fn need(name: &str, version: i64, default: Need, cx: &Cx<'_>) -> Result<Vec<Need>> {
    Ok(vec![LayerAddress::resolve(name, cx)?.version_need(number(version)?, default)])
}

/// Lets an account, or every account, use a layer version.
pub struct AddLayerVersionPermission;

/// Input of [`AddLayerVersionPermission`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddLayerVersionPermissionInput {
    layer_name: String,
    version_number: i64,
    statement_id: String,
    action: String,
    principal: String,
    organization_id: Option<String>,
    revision_id: Option<String>,
}

/// Output of [`AddLayerVersionPermission`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddLayerVersionPermissionOutput {
    /// The statement, as JSON text.
    statement: String,
    revision_id: String,
}

impl AddLayerVersionPermissionInput {
    fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        checks.pattern(is_word(&self.statement_id), "statementId", &self.statement_id, "([a-zA-Z0-9-_]+)");
        checks.length("statementId", &self.statement_id, 1, 100);
        checks.pattern(self.action == ACTION, "action", &self.action, ACTION);
        checks.pattern(principal(&self.principal).is_some(), "principal", &self.principal, PRINCIPAL_PATTERN);
        if let Some(organization) = &self.organization_id {
            let fits = organization.strip_prefix("o-").is_some_and(|id| {
                (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            checks.pattern(fits, "organizationId", organization, "o-[a-z0-9]{10,32}");
        }
        checks.done()?;
        if self.organization_id.is_some() && self.principal != "*" {
            return Err(invalid("Principal must be * if you want to grant permissions to an organization."));
        }
        Ok(())
    }

    fn statement(&self, resource: &str) -> Value {
        let mut statement = json!({
            "Sid": self.statement_id,
            "Effect": "Allow",
            "Principal": principal(&self.principal),
            "Action": ACTION,
            "Resource": resource,
        });
        // There are no organisations here, so nobody is of one: the statement admits nobody, as it says.
        if let (Some(statement), Some(organization)) = (statement.as_object_mut(), &self.organization_id) {
            statement.insert("Condition".to_owned(), json!({ "StringEquals": { "aws:PrincipalOrgID": organization } }));
        }
        statement
    }
}

/// How a principal stands in the statement; `None` if it is none.
fn principal(text: &str) -> Option<Value> {
    let account = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).unwrap_or(text);
    match text {
        "*" => Some(json!("*")),
        _ if is_account(account) => Some(json!({ "AWS": format!("arn:aws:iam::{account}:root") })),
        _ => None,
    }
}

impl Operation for AddLayerVersionPermission {
    const NAME: &'static str = "AddLayerVersionPermission";
    type Input = AddLayerVersionPermissionInput;
    type Output = AddLayerVersionPermissionOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.layer_name, input.version_number, default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        input.check()?;
        let shared = Shared::load(&input.layer_name, input.version_number, cx, tx)?;
        shared.address.check_owner("lambda:AddLayerVersionPermission", cx)?;
        let mut policy = match shared.policy {
            Some(policy) => policy,
            None if input.revision_id.is_some() => return Err(precondition("GetLayerPolicy")),
            None => LayerPolicy { statements: Vec::new(), revision_id: String::new() },
        };
        if !policy.statements.is_empty() {
            policy.check_revision(input.revision_id.as_deref())?;
        }
        if policy.position(&input.statement_id).is_some() {
            return Err(conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                input.statement_id
            )));
        }
        let statement = input.statement(&shared.address.version_arn(shared.version));
        let text = statement.to_string();
        policy.statements.push(statement);
        policy.revision_id = cx.uuid();
        let document = policy.document();
        if document.len() > POLICY_BYTES_MAX {
            let text =
                format!("The final policy size ({}) is bigger than the limit ({POLICY_BYTES_MAX}).", document.len());
            return Err(user("PolicyLengthExceededException", 400, text));
        }
        if let Err(error) = Policy::parse(&document, Kind::Resource) {
            return Err(invalid(format!("The statement does not make a valid policy: {error}.")));
        }
        tx.put(&shared.address.scope(), &shared.address.name, &id(shared.version), &policy)?;
        Ok(AddLayerVersionPermissionOutput { statement: text, revision_id: policy.revision_id })
    }
}

/// Removes one statement.
pub struct RemoveLayerVersionPermission;

/// Input of [`RemoveLayerVersionPermission`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveLayerVersionPermissionInput {
    layer_name: String,
    version_number: i64,
    statement_id: String,
    revision_id: Option<String>,
}

impl Operation for RemoveLayerVersionPermission {
    const NAME: &'static str = "RemoveLayerVersionPermission";
    type Input = RemoveLayerVersionPermissionInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.layer_name, input.version_number, default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let shared = Shared::load(&input.layer_name, input.version_number, cx, tx)?;
        shared.address.check_owner("lambda:RemoveLayerVersionPermission", cx)?;
        let missing = || not_found(format!("Statement {} is not found in resource policy.", input.statement_id));
        let mut policy = shared.policy.ok_or_else(missing)?;
        policy.check_revision(input.revision_id.as_deref())?;
        let position = policy.position(&input.statement_id).ok_or_else(missing)?;
        policy.statements.remove(position);
        policy.revision_id = cx.uuid();
        let (scope, id) = (shared.address.scope(), id(shared.version));
        if policy.statements.is_empty() {
            tx.delete::<LayerPolicy>(&scope, &shared.address.name, &id);
        } else {
            tx.put(&scope, &shared.address.name, &id, &policy)?;
        }
        Ok(Map::new())
    }
}

/// The policy of a layer version.
pub struct GetLayerVersionPolicy;

/// Output of [`GetLayerVersionPolicy`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetLayerVersionPolicyOutput {
    /// The document, as JSON text.
    policy: String,
    revision_id: String,
}

impl Operation for GetLayerVersionPolicy {
    const NAME: &'static str = "GetLayerVersionPolicy";
    type Input = LayerVersionInput;
    type Output = GetLayerVersionPolicyOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.layer_name, input.version_number, default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let shared = Shared::load(&input.layer_name, input.version_number, cx, tx)?;
        let missing = || not_found("No policy is associated with the given resource.");
        let policy = shared.policy.ok_or_else(missing)?;
        Ok(GetLayerVersionPolicyOutput { policy: policy.document(), revision_id: policy.revision_id })
    }
}
