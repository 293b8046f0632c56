//! Managed policies attached to users and roles, seen from the policy: who uses it, and how many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Scope, Tx};

use super::entity::{Entity, EntityKind};
use super::page::{Window, finish};
use super::{aws_managed, policy};

/// How often an account uses a managed policy. Stored in the account's global scope under the policy's ARN.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Use {
    /// The ARN again, for lists.
    pub policy_arn: String,
    /// Users and roles it is attached to.
    pub attachments: u32,
    /// Users and roles it bounds.
    pub boundaries: u32,
}

impl Record for Use {
    const NOUN: &'static str = "iam/PolicyUse";
}

/// One use of a policy. Stored under the policy's ARN, by way and the entity's unique id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attachment {
    pub way: Way,
    pub kind: EntityKind,
    /// The entity's name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its unique id.
    pub id: String,
}

impl Record for Attachment {
    const NOUN: &'static str = "iam/Attachment";
}

/// In which way an entity uses a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// It is attached.
    PermissionsPolicy,
    /// It is the boundary.
    PermissionsBoundary,
}

impl Way {
    fn key(self, id: &str) -> String {
        match self {
            Self::PermissionsPolicy => format!("policy/{id}"),
            Self::PermissionsBoundary => format!("boundary/{id}"),
        }
    }

    fn count(self, in_use: &mut Use) -> &mut u32 {
        match self {
            Self::PermissionsPolicy => &mut in_use.attachments,
            Self::PermissionsBoundary => &mut in_use.boundaries,
        }
    }
}

/// How often the account uses the policy.
pub(crate) fn in_use(tx: &mut Tx<'_>, account: &str, policy_arn: &str) -> Result<Use> {
    let mut found = tx.get::<Use>(&Scope::global(account), "", policy_arn)?.unwrap_or_default();
    // Compared with an empty count by callers: the name is for lists alone.
    found.policy_arn.clear();
    Ok(found)
}

/// Every policy the account uses, by ARN.
pub(crate) fn all_in_use(tx: &mut Tx<'_>, account: &str) -> Result<BTreeMap<String, Use>> {
    let uses = tx.list::<Use>(&Scope::global(account), &Parent::Exact(""))?;
    Ok(uses.into_iter().map(|found| (found.policy_arn.clone(), found)).collect())
}

/// Notes a new use. The caller has made sure that it is new.
pub(crate) fn note<E: Entity>(tx: &mut Tx<'_>, entity: &E, policy_arn: &str, way: Way) -> Result<()> {
    count(tx, entity.account(), policy_arn, way, 1)?;
    put(tx, entity, policy_arn, way)
}

/// Forgets a use. The caller has made sure that there is one.
pub(crate) fn forget<E: Entity>(tx: &mut Tx<'_>, entity: &E, policy_arn: &str, way: Way) -> Result<()> {
    count(tx, entity.account(), policy_arn, way, -1)?;
    tx.delete::<Attachment>(&Scope::global(entity.account()), policy_arn, &way.key(entity.id()));
    Ok(())
}

/// Writes a changed name and path into every use of an entity.
pub(crate) fn rename<E: Entity>(tx: &mut Tx<'_>, entity: &E) -> Result<()> {
    for policy_arn in &entity.grants().attached_policies {
        put(tx, entity, policy_arn, Way::PermissionsPolicy)?;
    }
    match &entity.grants().permissions_boundary {
        Some(policy_arn) => put(tx, entity, policy_arn, Way::PermissionsBoundary),
        None => Ok(()),
    }
}

fn put<E: Entity>(tx: &mut Tx<'_>, entity: &E, policy_arn: &str, way: Way) -> Result<()> {
    let attachment = Attachment {
        way,
        kind: E::KIND,
        name: entity.name().to_owned(),
        path: entity.path().to_owned(),
        id: entity.id().to_owned(),
    };
    tx.put(&Scope::global(entity.account()), policy_arn, &way.key(entity.id()), &attachment)
}

fn count(tx: &mut Tx<'_>, account: &str, policy_arn: &str, way: Way, change: i32) -> Result<()> {
    let scope = Scope::global(account);
    let mut in_use = tx.get::<Use>(&scope, "", policy_arn)?.unwrap_or_default();
    policy_arn.clone_into(&mut in_use.policy_arn);
    let count = way.count(&mut in_use);
    *count = count.saturating_add_signed(change);
    if in_use.attachments == 0 && in_use.boundaries == 0 {
        tx.delete::<Use>(&scope, "", policy_arn);
        return Ok(());
    }
    tx.put(&scope, "", policy_arn, &in_use)
}

pub struct ListEntitiesForPolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListEntitiesForPolicyInput {
    policy_arn: String,
    entity_filter: Option<String>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl ListEntitiesForPolicyInput {
    fn admits(&self, found: &Attachment) -> bool {
        let kind = match self.entity_filter.as_deref() {
            None => true,
            Some(filter) => filter == found.kind.title(),
        };
        let way = match self.policy_usage_filter.as_deref() {
            None => true,
            Some("PermissionsBoundary") => found.way == Way::PermissionsBoundary,
            Some(_) => found.way == Way::PermissionsPolicy,
        };
        let path = self.path_prefix.as_ref().is_none_or(|prefix| found.path.starts_with(prefix.as_str()));
        kind && way && path
    }
}

impl Operation for ListEntitiesForPolicy {
    const NAME: &'static str = "ListEntitiesForPolicy";
    type Input = ListEntitiesForPolicyInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![policy::need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        if aws_managed::find(&input.policy_arn).is_none() {
            policy::load(tx, cx, &input.policy_arn)?;
        }
        let scope = cx.global_scope();
        let page = window.records::<Attachment>(tx, &scope, &input.policy_arn, |found| input.admits(found))?;
        let (found, next) = page.split();
        let of = |kind: EntityKind| -> Value {
            let name = format!("{}Name", kind.title());
            let id = format!("{}Id", kind.title());
            let own = found.iter().filter(|found| found.kind == kind);
            own.map(|found| json!({ name.as_str(): found.name, id.as_str(): found.id })).collect()
        };
        let mut answer = Map::new();
        answer.insert("PolicyGroups".into(), json!([]));
        answer.insert("PolicyUsers".into(), of(EntityKind::User));
        answer.insert("PolicyRoles".into(), of(EntityKind::Role));
        Ok(finish(answer, next.as_deref()))
    }
}

/// The operations about attachments as the policy sees them.
pub const OPERATIONS: &[Entry] = &[Entry::of::<ListEntitiesForPolicy>()];
