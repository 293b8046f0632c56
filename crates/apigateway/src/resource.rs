//! `Resource`: a node of an API's path tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use service::patch::{Op, Step};
use service::{Cx, Entry, Operation, Parent, Record, Result, Tx};

use crate::error::{bad_request, conflict, limit_exceeded, not_found, patch_op, patch_path};
use crate::limits::{LONG_TEXT_CHARS_MAX, RESOURCES_MAX, check_chars, check_text};
use crate::method::{self, Method, MethodOutput};
use crate::page::{self, Page};
use crate::{Nothing, rest_api};

/// A resource; parent of the key is the API's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// 10 characters for the root, 6 for others.
    pub id: String,
    /// Absent on the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Absent on the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_part: Option<String>,
    /// Full template, `/` or `/pets/{petId}`.
    pub path: String,
}

impl Record for Resource {
    const NOUN: &'static str = "apigateway/Resource";
}

/// The resource of that id, in an API that was found already.
pub(crate) fn load(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str, id: &str) -> Result<Resource> {
    tx.get(&cx.scope(), api, id)?.ok_or_else(|| not_found("Invalid Resource identifier specified"))
}

/// Every resource of an API, of which there are 300 at most.
pub(crate) fn all(cx: &Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<Vec<Resource>> {
    tx.list(&cx.scope(), &Parent::Exact(api))
}

impl Resource {
    /// The part as a variable, without braces and plus sign; `None` for a literal.
    fn variable(&self) -> Option<&str> {
        self.path_part.as_deref().and_then(variable)
    }

    fn is_greedy(&self) -> bool {
        self.path_part.as_deref().is_some_and(|part| part.ends_with("+}"))
    }
}

fn variable(part: &str) -> Option<&str> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_suffix('+').unwrap_or(name))
}

fn check_path_part(part: &str) -> Result<()> {
    let name = variable(part).unwrap_or(part);
    let valid = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-:,".contains(&c));
    if valid {
        return check_text("pathPart", part);
    }
    Err(bad_request(
        "Resource's path part only allow a-zA-Z0-9._- and curly braces at the beginning and the end and an optional \
         plus sign before the closing brace.",
    ))
}

/// Checks that `part` may stand under `parent` beside what stands there, leaving out the resource `own` itself.
fn check_place(resources: &[Resource], parent: &Resource, part: &str, own: &str) -> Result<()> {
    check_path_part(part)?;
    if parent.is_greedy() {
        let greedy = parent.path_part.as_deref().unwrap_or_default();
        return Err(bad_request(format!("Cannot create a child of a resource with a greedy path variable: {greedy}")));
    }
    let siblings = || resources.iter().filter(|r| r.parent_id.as_deref() == Some(&parent.id) && r.id != own);
    if siblings().any(|sibling| sibling.path_part.as_deref() == Some(part)) {
        return Err(conflict(format!("Another resource with the same parent already has this name: {part}")));
    }
    if variable(part).is_some()
        && let Some(sibling) = siblings().find(|sibling| sibling.variable().is_some())
    {
        return Err(bad_request(format!(
            "A sibling ({}) of this resource already has a variable path part -- only one is allowed",
            sibling.path_part.as_deref().unwrap_or_default()
        )));
    }
    check_chars("pathPart", &child_path(parent, part), LONG_TEXT_CHARS_MAX)
}

fn child_path(parent: &Resource, part: &str) -> String {
    format!("{}/{part}", parent.path.trim_end_matches('/'))
}

/// The resource and everything below it, the resource first.
fn subtree<'a>(resources: &'a [Resource], top: &str) -> Vec<&'a Resource> {
    let mut found: Vec<&Resource> = resources.iter().filter(|resource| resource.id == top).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).map(|resource| resource.id.as_str()) {
        let children = resources.iter().filter(|resource| resource.parent_id.as_deref() == Some(parent));
        found.extend(children);
        at = at.saturating_add(1);
    }
    found
}

/// What clients see of a resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceOutput {
    #[serde(flatten)]
    resource: Resource,
    /// Verb to the method, or to an empty object unless methods were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resource_methods: BTreeMap<String, Embedded>,
}

/// A method in full, or `{}` in its stead.
#[derive(Debug)]
struct Embedded(Option<MethodOutput>);

impl Serialize for Embedded {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.0 {
            Some(method) => method.serialize(serializer),
            None => Nothing {}.serialize(serializer),
        }
    }
}

impl ResourceOutput {
    fn new(resource: Resource, methods: Vec<Method>, embed: bool) -> Self {
        let shown = |method: Method| (method.http_method.clone(), Embedded(embed.then(|| MethodOutput::from(method))));
        Self { resource, resource_methods: methods.into_iter().map(shown).collect() }
    }
}

/// Reads `embed`, of which one word is known to each noun.
pub(crate) fn embeds(embed: Option<&[String]>, word: &str) -> Result<bool> {
    match embed.unwrap_or_default().iter().find(|asked| *asked != word) {
        Some(other) => Err(bad_request(format!("Invalid embed value specified: {other}"))),
        None => Ok(embed.is_some_and(|embed| !embed.is_empty())),
    }
}

/// Input of [`GetResources`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetResourcesInput {
    rest_api_id: String,
    position: Option<String>,
    limit: Option<i64>,
    embed: Option<Vec<String>>,
}

/// Lists an API's resources, by id.
pub struct GetResources;

impl Operation for GetResources {
    const NAME: &'static str = "GetResources";
    type Input = GetResourcesInput;
    type Output = Page<ResourceOutput>;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let embed = embeds(input.embed.as_deref(), "methods")?;
        let page = page::read::<Resource>(cx, tx, &api.id, input.position.as_deref(), input.limit)?;
        let mut methods: BTreeMap<String, Vec<Method>> = BTreeMap::new();
        for method in method::all(cx, tx, &api.id)? {
            methods.entry(method.resource_id.clone()).or_default().push(method);
        }
        Ok(page.map(|resource| {
            let own = methods.remove(&resource.id).unwrap_or_default();
            ResourceOutput::new(resource, own, embed)
        }))
    }
}

/// Input of [`GetResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetResourceInput {
    rest_api_id: String,
    resource_id: String,
    embed: Option<Vec<String>>,
}

/// Shows a resource.
pub struct GetResource;

impl Operation for GetResource {
    const NAME: &'static str = "GetResource";
    type Input = GetResourceInput;
    type Output = ResourceOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let resource = load(cx, tx, &api.id, &input.resource_id)?;
        let embed = embeds(input.embed.as_deref(), "methods")?;
        let methods = method::of_resource(cx, tx, &api.id, &resource.id)?;
        Ok(ResourceOutput::new(resource, methods, embed))
    }
}

/// Input of [`CreateResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateResourceInput {
    rest_api_id: String,
    parent_id: String,
    path_part: String,
}

/// Adds a child to a resource.
pub struct CreateResource;

impl Operation for CreateResource {
    const NAME: &'static str = "CreateResource";
    type Input = CreateResourceInput;
    type Output = ResourceOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let parent = load(cx, tx, &api.id, &input.parent_id)?;
        let resources = all(cx, tx, &api.id)?;
        check_place(&resources, &parent, &input.path_part, "")?;
        if resources.len() >= RESOURCES_MAX {
            return Err(limit_exceeded("resources", "API"));
        }
        let path = child_path(&parent, &input.path_part);
        let id = fresh_id::<Resource>(cx, tx, &api.id)?;
        let resource = Resource { id, parent_id: Some(parent.id), path_part: Some(input.path_part), path };
        tx.put(&cx.scope(), &api.id, &resource.id, &resource)?;
        Ok(ResourceOutput::new(resource, Vec::new(), false))
    }
}

/// A 6-character id that no record of this noun has under this API.
pub(crate) fn fresh_id<R: Record>(cx: &mut Cx<'_>, tx: &mut Tx<'_>, api: &str) -> Result<String> {
    loop {
        let id = cx.id(6);
        if tx.get::<R>(&cx.scope(), api, &id)?.is_none() {
            return Ok(id);
        }
    }
}

/// Input of [`UpdateResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateResourceInput {
    rest_api_id: String,
    resource_id: String,
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Renames a resource or moves it with everything below it.
pub struct UpdateResource;

impl Operation for UpdateResource {
    const NAME: &'static str = "UpdateResource";
    type Input = UpdateResourceInput;
    type Output = ResourceOutput;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        load(cx, tx, &api.id, &input.resource_id)?;
        let before = all(cx, tx, &api.id)?;
        let mut resources = before.clone();
        for step in &input.patch_operations {
            patch(&mut resources, &input.resource_id, step)?;
        }
        for (after, _) in resources.iter().zip(&before).filter(|(after, before)| after != before) {
            tx.put(&cx.scope(), &api.id, &after.id, after)?;
        }
        let own = load(cx, tx, &api.id, &input.resource_id)?;
        let methods = method::of_resource(cx, tx, &api.id, &own.id)?;
        Ok(ResourceOutput::new(own, methods, false))
    }
}

fn patch(resources: &mut [Resource], id: &str, step: &Step) -> Result<()> {
    const PATHS: [&str; 2] = ["/parentId", "/pathPart"];
    let path = step.path();
    if !PATHS.contains(&path) {
        return Err(patch_path(step, &PATHS));
    }
    if step.op != Op::Replace {
        return Err(patch_op(step));
    }
    let find = |id: &str| resources.iter().find(|resource| resource.id == id).cloned();
    let absent = || not_found("Invalid Resource identifier specified");
    let own = find(id).ok_or_else(absent)?;
    let Some(parent_id) = own.parent_id.clone() else {
        let member = path.trim_start_matches('/');
        return Err(bad_request(format!("Root resource cannot update its {member}.")));
    };
    let value = step.value.clone().unwrap_or_default();
    let (parent, part) = if path == "/parentId" {
        let parent = find(&value).ok_or_else(absent)?;
        if subtree(resources, id).iter().any(|below| below.id == parent.id) {
            return Err(bad_request("Resources cannot be cyclical."));
        }
        (parent, own.path_part.clone().unwrap_or_default())
    } else {
        (find(&parent_id).ok_or_else(absent)?, value)
    };
    check_place(resources, &parent, &part, id)?;
    if variable(&part).is_some() && part.ends_with("+}") && subtree(resources, id).len() > 1 {
        return Err(bad_request(format!("Cannot create a child of a resource with a greedy path variable: {part}")));
    }
    replace_paths(resources, id, &parent, &part);
    Ok(())
}

/// Gives a resource its new place, and everything below it the path that follows from it.
fn replace_paths(resources: &mut [Resource], id: &str, parent: &Resource, part: &str) {
    let path = child_path(parent, part);
    let below: Vec<(String, String)> = subtree(resources, id)
        .iter()
        .scan(None, |old, resource| {
            // The first is the resource itself; the others' paths begin with its old one.
            let old: &String = old.get_or_insert_with(|| resource.path.clone());
            let rest = resource.path.strip_prefix(old.as_str()).unwrap_or_default();
            Some((resource.id.clone(), format!("{path}{rest}")))
        })
        .collect();
    for resource in resources.iter_mut() {
        if let Some((_, path)) = below.iter().find(|(below, _)| *below == resource.id) {
            resource.path.clone_from(path);
        }
        if resource.id == id {
            resource.parent_id = Some(parent.id.clone());
            resource.path_part = Some(part.to_owned());
        }
    }
}

/// Input of [`DeleteResource`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteResourceInput {
    rest_api_id: String,
    resource_id: String,
}

/// Deletes a resource with everything below it. Deployments made before go on serving it.
pub struct DeleteResource;

impl Operation for DeleteResource {
    const NAME: &'static str = "DeleteResource";
    type Input = DeleteResourceInput;
    type Output = Nothing;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let api = rest_api::load(cx, tx, &input.rest_api_id)?;
        let resource = load(cx, tx, &api.id, &input.resource_id)?;
        if resource.parent_id.is_none() {
            // [U]: AWS's text is not recorded.
            return Err(bad_request("Root resource cannot be deleted."));
        }
        let scope = cx.scope();
        let resources = all(cx, tx, &api.id)?;
        for below in subtree(&resources, &resource.id) {
            tx.delete_all::<Method>(&scope, &Parent::Exact(&format!("{}/{}", api.id, below.id)))?;
            tx.delete::<Resource>(&scope, &api.id, &below.id);
        }
        Ok(Nothing {})
    }
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<GetResources>(),
    Entry::of::<GetResource>(),
    Entry::of::<CreateResource>(),
    Entry::of::<UpdateResource>(),
    Entry::of::<DeleteResource>(),
];

#[cfg(test)]
mod tests;
