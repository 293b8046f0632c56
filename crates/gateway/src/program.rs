//! `Program`: a deployment's snapshot and a stage's settings, compiled so that no request parses anything of them.

use std::collections::{BTreeMap, BTreeSet};

use apigateway::{
    snapshot::Snapshot,
    stage::{MethodSetting, Stage},
};
use hashbrown::HashMap;

use crate::{
    authorize::{Authorization, Authorizer, ResourcePolicy},
    call::Origin,
    gateway_response::GatewayResponses,
    integrate::Integration,
    logging::{self, AccessLog, Logging},
    meter::Bucket,
    route::Tree,
    slots::PackedId,
};

/// What one stage serves. Immutable; [`crate::Gateway::publish`] swaps it whole.
///
/// A part that cannot be compiled, such as an authorizer whose expression is no regular expression, does not keep the
/// rest from being served: the methods it belongs to refuse their requests.
#[derive(Debug)]
pub struct Program {
    api: PackedId,
    api_id: Box<str>,
    account: Box<str>,
    region: Box<str>,
    stage: Box<str>,
    deployment_id: Box<str>,
    /// See [`apigateway::stage::Stage::authorizers_epoch`].
    epoch: u64,
    edge: bool,
    disabled: bool,
    variables: BTreeMap<String, String>,
    /// `arn:P:execute-api:R:ACCT:API/STAGE/`
    arn_prefix: Box<str>,
    tree: Tree,
    methods: Vec<Method>,
    /// Stands for the method of a request that matches none.
    nothing: Method,
    authorizers: Vec<Authorizer>,
    resource_policy: ResourcePolicy,
    responses: GatewayResponses,
    keys_from_authorizer: bool,
    access_log: Option<AccessLog>,
    /// Name of this stage's log streams.
    stream: Box<str>,
}

/// One method, compiled.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) resource_id: Box<str>,
    /// Template, `/pets/{petId}`.
    pub(crate) resource_path: Box<str>,
    /// As configured, `ANY` included.
    pub(crate) verb: Box<str>,
    pub(crate) operation_name: Option<Box<str>>,
    pub(crate) authorization: Authorization,
    pub(crate) api_key_required: bool,
    pub(crate) integration: Integration,
    pub(crate) logging: Logging,
    /// The stage's limit for this method, where it sets one.
    pub(crate) throttle: Option<Bucket>,
}

/// Why a snapshot cannot be served at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// The API's id is not one to twelve characters `[a-z0-9]`.
    ApiId(String),
    /// No resource is the root the API names.
    RootMissing,
    /// A resource has no path part, hangs under none that leads to the root, or shares its place with another.
    Resource(String),
    /// A method names a resource that is not there.
    Method(String),
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApiId(id) => write!(f, "the API id `{id}` is not one to twelve lower-case letters and digits"),
            Self::RootMissing => f.write_str("the API has no root resource"),
            Self::Resource(id) => write!(f, "the resource `{id}` has no place in the path tree"),
            Self::Method(id) => write!(f, "a method names the resource `{id}`, which does not exist"),
        }
    }
}

impl std::error::Error for CompileError {}

impl Program {
    /// Compiles a deployment for one of its stages: path tree, URIs, expressions, templates, identity sources.
    ///
    /// # Errors
    /// Only where nothing could be served; see [`CompileError`].
    pub fn compile(snapshot: &Snapshot, stage: &Stage) -> Result<Self, CompileError> {
        let api_id = snapshot.rest_api.id.as_str();
        let api = PackedId::parse(api_id).ok_or_else(|| CompileError::ApiId(api_id.to_owned()))?;
        let (mut tree, nodes) = tree(snapshot)?;
        let origin = Origin {
            account: &snapshot.account,
            region: &snapshot.region,
            partition: partition(&snapshot.region),
            variables: &stage.variables,
        };
        let mut authorizers = Vec::new();
        let mut known = HashMap::<&str, Authorization>::new();
        for record in &snapshot.authorizers {
            let compiled = match Authorizer::compile(record, api_id, &origin) {
                Ok(authorizer) => {
                    authorizers.push(authorizer);
                    Authorization::Lambda(authorizers.len() - 1)
                }
                Err(reason) => Authorization::Broken(reason.into()),
            };
            known.insert(&record.id, compiled);
        }
        let mut methods = Vec::with_capacity(snapshot.methods.len());
        for record in &snapshot.methods {
            let missing = || CompileError::Method(record.resource_id.clone());
            let &node = nodes.get(record.resource_id.as_str()).ok_or_else(missing)?;
            let resource = snapshot.resources.iter().find(|it| it.id == record.resource_id).ok_or_else(missing)?;
            let place = format!("{api_id}/{}/{}{}", stage.stage_name, record.http_method, resource.path);
            let authorizer = record.authorizer_id.as_deref().and_then(|id| known.get(id));
            tree.attach(node, &record.http_method, methods.len());
            let settings = stage.settings_of(&resource.path, &record.http_method);
            methods.push(Method {
                verb: record.http_method.as_str().into(),
                logging: Logging::of(&settings),
                throttle: throttle(&settings),
                resource_id: resource.id.as_str().into(),
                resource_path: resource.path.as_str().into(),
                operation_name: record.operation_name.as_deref().map(Into::into),
                authorization: Authorization::of(&record.authorization_type, authorizer),
                api_key_required: record.api_key_required,
                integration: Integration::compile(record, &place, &origin),
            });
        }
        let Origin { account, region, partition, .. } = origin;
        Ok(Self {
            api,
            arn_prefix: format!("arn:{partition}:execute-api:{region}:{account}:{api_id}/{}/", stage.stage_name).into(),
            api_id: api_id.into(),
            account: account.into(),
            region: region.into(),
            stage: stage.stage_name.as_str().into(),
            deployment_id: snapshot.deployment_id.as_str().into(),
            epoch: stage.authorizers_epoch,
            edge: snapshot.rest_api.endpoint_configuration.types.iter().any(|kind| kind == "EDGE"),
            disabled: snapshot.rest_api.disable_execute_api_endpoint,
            variables: stage.variables.clone(),
            tree,
            methods,
            nothing: nothing(stage),
            authorizers,
            resource_policy: ResourcePolicy::compile(&snapshot.rest_api),
            responses: GatewayResponses::compile(&snapshot.gateway_responses, &stage.variables),
            keys_from_authorizer: snapshot.rest_api.api_key_source == "AUTHORIZER",
            access_log: AccessLog::of(stage),
            stream: logging::stream(api_id, &stage.stage_name),
        })
    }

    pub(crate) fn api(&self) -> PackedId {
        self.api
    }

    /// The API's id.
    #[must_use]
    pub fn api_id(&self) -> &str {
        &self.api_id
    }

    /// The stage's name.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn deployment_id(&self) -> &str {
        &self.deployment_id
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn edge(&self) -> bool {
        self.edge
    }

    pub(crate) fn disabled(&self) -> bool {
        self.disabled
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn arn_prefix(&self) -> &str {
        &self.arn_prefix
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// INVARIANT: `method` came from this program's tree, which only holds places in `methods`.
    pub(crate) fn method(&self, method: usize) -> &Method {
        &self.methods[method]
    }

    pub(crate) fn first_method(&self) -> Option<&Method> {
        self.methods.first()
    }

    pub(crate) fn nothing(&self) -> &Method {
        &self.nothing
    }

    pub(crate) fn resource_policy(&self) -> &ResourcePolicy {
        &self.resource_policy
    }

    pub(crate) fn responses(&self) -> &GatewayResponses {
        &self.responses
    }

    /// Whether API keys come from authorizers and not from a header.
    pub(crate) fn keys_from_authorizer(&self) -> bool {
        self.keys_from_authorizer
    }

    pub(crate) fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    pub(crate) fn authorizers(&self) -> &[Authorizer] {
        &self.authorizers
    }

    pub(crate) fn authorizer(&self, authorizer: usize) -> Option<&Authorizer> {
        self.authorizers.get(authorizer)
    }
}

/// What a request that matches nothing has for a method: it is refused, and its refusal is logged as the stage says for
/// all methods.
fn nothing(stage: &Stage) -> Method {
    Method {
        resource_id: Box::default(),
        resource_path: Box::default(),
        verb: Box::default(),
        operation_name: None,
        authorization: Authorization::of("", None),
        api_key_required: false,
        integration: Integration::Broken("nothing matches the request".into()),
        logging: Logging::of(&stage.settings_of("*", "*")),
        throttle: None,
    }
}

/// A method's bucket, where the stage limits its rate. Of the two numbers one may stand alone; the other is AWS's quota
/// for an account then. Source: API Gateway Developer Guide, "Amazon API Gateway quotas".
fn throttle(settings: &MethodSetting) -> Option<Bucket> {
    const BURST: i64 = 5_000;
    const RATE: f64 = 10_000.0;
    let (burst, rate) = (settings.throttling_burst_limit, settings.throttling_rate_limit);
    (burst.is_some() || rate.is_some()).then(|| Bucket::new(burst.unwrap_or(BURST), rate.unwrap_or(RATE)))
}

/// The path tree, and the node of each resource by its id.
fn tree(snapshot: &Snapshot) -> Result<(Tree, HashMap<&str, usize>), CompileError> {
    let root = snapshot.rest_api.root_resource_id.as_str();
    if !snapshot.resources.iter().any(|resource| resource.id == root) {
        return Err(CompileError::RootMissing);
    }
    let mut children = HashMap::<&str, Vec<usize>>::new();
    for (place, resource) in snapshot.resources.iter().enumerate() {
        if let Some(parent) = resource.parent_id.as_deref().filter(|_| resource.id != root) {
            children.entry(parent).or_default().push(place);
        }
    }
    let mut tree = Tree::new();
    let mut nodes = HashMap::from([(root, Tree::ROOT)]);
    let mut waiting = vec![(root, Tree::ROOT)];
    while let Some((parent, node)) = waiting.pop() {
        for &place in children.get(parent).map(Vec::as_slice).unwrap_or_default() {
            let resource = &snapshot.resources[place];
            let misplaced = || CompileError::Resource(resource.id.clone());
            let part = resource.path_part.as_deref().filter(|part| !part.is_empty()).ok_or_else(misplaced)?;
            let child = tree.add(node, part).ok_or_else(misplaced)?;
            if nodes.insert(resource.id.as_str(), child).is_some() {
                return Err(misplaced());
            }
            waiting.push((&resource.id, child));
        }
    }
    let placed: BTreeSet<&str> = nodes.keys().copied().collect();
    match snapshot.resources.iter().find(|resource| !placed.contains(resource.id.as_str())) {
        Some(stray) => Err(CompileError::Resource(stray.id.clone())),
        None => Ok((tree, nodes)),
    }
}

/// The partition a region belongs to.
pub(crate) fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}
