//! `Arrived` -> `Matched`: which stage, which (resource, method) pair, which path parameters.
//!
//! Matching goes over pairs, most specific first: literal segment, then `{name}`, then `{name+}`. A resource that fits
//! the path but has neither the verb nor ANY is passed over and the next less specific one is tried.
//!
//! Source: API Gateway Developer Guide, "Set up REST API methods", "Set up a proxy integration with a proxy resource";
//! the fall-through was measured on AWS by two emulator projects.

use std::{ops::Range, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use crate::{
    Body, Shared, Text,
    arrived::{Arrived, without_port},
    journal::Journal,
    program::{Method, Program},
    reject::{Rejection, ResponseType},
    slots::Served,
    texts,
};

/// Longest path and query of an edge-optimized API.
const EDGE_URL_BYTES_MAX: usize = 8_192;

/// The domain name functions are told in tests, as AWS words it.
const TEST_DOMAIN: &str = "testPrefix.testDomainName";

/// The verbs REST APIs know; ANY stands for all of them.
const VERBS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A request that has found its method. Its body goes beside it, since only an integration uses it up.
pub(crate) struct Matched {
    served: Served,
    /// `None` for a request that matched nothing below its stage: such a value never leaves [`find`] but as the place
    /// of a refusal.
    method: Option<usize>,
    verb: &'static str,
    arrived: Arrived,
    /// Where the path below the stage begins in the raw path, as received.
    below: usize,
    /// Where `path` begins: as `below`, but past doubled slashes right after the stage.
    path: usize,
    /// Nodes of the tree that are parameters, with their values' places in the raw path.
    parameters: Vec<(usize, Range<usize>)>,
    /// The domain name told to functions where the host is not it.
    domain: Option<String>,
}

impl Matched {
    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.served.program
    }

    /// Identity of the stage; see [`Served::slot`].
    pub(crate) fn slot(&self) -> u64 {
        self.served.slot
    }

    pub(crate) fn method(&self) -> &Method {
        self.method.map_or(self.program().nothing(), |method| self.program().method(method))
    }

    /// The method's place in the program.
    pub(crate) fn method_place(&self) -> Option<usize> {
        self.method
    }

    /// The request's verb, never ANY; empty where nothing matched.
    pub(crate) fn verb(&self) -> &'static str {
        self.verb
    }

    /// The verb as the client sent it, for those who are told of a request that matches nothing.
    pub(crate) fn asked(&self) -> Text {
        if self.verb.is_empty() { self.arrived.method.as_str().to_owned().into() } else { self.verb.into() }
    }

    pub(crate) fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    /// Path below the stage: begins with one slash, keeps a trailing one and inner doubled ones.
    pub(crate) fn path(&self) -> &str {
        match &self.arrived.raw_path[self.path..] {
            "" => "/",
            path => path,
        }
    }

    /// Path with the stage: `requestContext.path`.
    pub(crate) fn stage_path(&self) -> String {
        format!("/{}{}", self.program().stage(), &self.arrived.raw_path[self.below..])
    }

    /// Path parameters in order of the path, values as received.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(node, place)| {
            (self.program().tree().name(*node), self.arrived.raw_path.get(place.clone()).unwrap_or_default())
        })
    }

    /// The domain name told to functions.
    pub(crate) fn domain(&self) -> &str {
        let host = || self.arrived.headers.last("Host").map(without_port).unwrap_or_default();
        self.domain.as_deref().unwrap_or_else(host)
    }

    /// `arn:P:execute-api:R:ACCT:API/STAGE/VERB/path`; the root's ends in `VERB/`.
    pub(crate) fn method_arn(&self) -> String {
        [self.program().arn_prefix(), self.verb, self.path()].concat()
    }
}

impl Matched {
    /// A made-up request to the one method of a program that nobody is served; for test-invokes alone. A path that does
    /// not lead to the method runs all the same, without path parameters. `None` where there is no method.
    pub(crate) fn tested(program: Arc<Program>, arrived: Arrived) -> Option<Self> {
        program.first_method()?;
        let verb = VERBS.into_iter().find(|verb| *verb == arrived.method.as_str())?;
        let inner = arrived.raw_path.trim_start_matches('/');
        let start = arrived.raw_path.len() - inner.len();
        let mut parameters = Vec::new();
        let wanted = inner.strip_suffix('/').unwrap_or(inner);
        if program.tree().find(wanted, verb, &mut parameters).is_none() {
            parameters.clear();
        }
        for (_, place) in &mut parameters {
            *place = place.start + start..place.end + start;
        }
        let path = start.saturating_sub(1);
        // No slot has this number: nothing of a test is ever found in a cache.
        let served = Served { slot: u64::MAX, program };
        let domain = Some(TEST_DOMAIN.to_owned());
        Some(Self { served, method: Some(0), verb, arrived, below: path, path, parameters, domain })
    }
}

/// Finds stage, resource and method of a request.
///
/// # Errors
/// 403 `Forbidden` for an API or stage that serves nothing or a switched-off endpoint; 403 `Missing Authentication
/// Token` where nothing matches, since AWS takes such a request for one that had to be signed, or a complaint about the
/// `Authorization` header if there is one that is no signature; 414 for a URL too long for the API's endpoint type.
pub(crate) fn find(
    mut arrived: Arrived,
    shared: &Shared,
    journal: &mut Journal,
) -> Result<(Arc<Matched>, Body), Rejection> {
    let raw = arrived.raw_path.as_str();
    let (stage, rest) = arrived.target.split(raw).ok_or_else(Rejection::forbidden)?;
    let served = arrived.target.api.and_then(|api| shared.slots.find(api, stage)).ok_or_else(Rejection::forbidden)?;
    let program = Arc::clone(&served.program);
    if program.disabled() {
        return Err(Rejection::forbidden());
    }
    let query = arrived.raw_query.as_ref().map_or(0, |query| query.len() + 1);
    if program.edge() && raw.len() + query > EDGE_URL_BYTES_MAX {
        return Err(Rejection::uri_too_long());
    }
    let below = raw.len() - rest.len();
    let inner = rest.trim_start_matches('/');
    let inner_start = raw.len() - inner.len();
    let path = if rest.is_empty() { below } else { inner_start - 1 };
    let wanted = inner.strip_suffix('/').unwrap_or(inner);
    let mut parameters = Vec::new();
    let found = verb(&arrived).and_then(|verb| Some((verb, program.tree().find(wanted, verb, &mut parameters)?)));
    for (_, place) in &mut parameters {
        *place = place.start + inner_start..place.end + inner_start;
    }
    let suffix = &shared.options.domain_suffix;
    let made = || format!("{}.execute-api.{}.{suffix}", program.api_id(), program.region());
    let domain = (!arrived.target.by_host()).then(made);
    let body = std::mem::take(&mut arrived.body);
    let refusal = found.is_none().then(|| unmatched(&arrived));
    let (verb, method) = found.map_or(("", None), |(verb, method)| (verb, Some(method)));
    let matched = Arc::new(Matched { method, verb, below, path, parameters, domain, served, arrived });
    journal.locate(Arc::clone(&matched));
    match refusal {
        None => Ok((matched, body)),
        Some(refusal) => Err(refusal),
    }
}

/// The verb that counts: `X-HTTP-Method-Override` wins over the request line.
///
/// Source: API Gateway Developer Guide, "Important notes".
fn verb(arrived: &Arrived) -> Option<&'static str> {
    let sent = arrived.headers.last("X-HTTP-Method-Override").unwrap_or(arrived.method.as_str());
    VERBS.into_iter().find(|verb| *verb == sent)
}

fn unmatched(arrived: &Arrived) -> Rejection {
    let rejection = Rejection::of(ResponseType::MissingAuthenticationToken);
    match arrived.headers.last("Authorization") {
        Some(value) if !value.is_empty() && !value.starts_with("AWS4-") => {
            // [U] What AWS hashes here could not be reproduced from published answers; the header's value is hashed.
            let digest = STANDARD.encode(Sha256::digest(value.as_bytes()));
            rejection.with_message(texts::incomplete_signature(&digest)).with_error_type("IncompleteSignatureException")
        }
        _ => rejection,
    }
}

/// The resources of one API as a tree; each node may have methods.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The root first.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Parameter name; empty for literals.
    name: Box<str>,
    literals: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
    variable: Option<usize>,
    greedy: Option<usize>,
    /// Verb and place of the method; ANY last.
    methods: Vec<(Box<str>, usize)>,
    any: Option<usize>,
}

impl Tree {
    pub(crate) const ROOT: usize = 0;

    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a child: a literal, `{name}` or `{name+}`. `None` if its place is taken or the parent does not exist.
    pub(crate) fn add(&mut self, parent: usize, part: &str) -> Option<usize> {
        let child = self.nodes.len();
        let above = self.nodes.get_mut(parent)?;
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let taken = match name.map(|name| name.strip_suffix('+').ok_or(name)) {
            Some(Ok(_)) => above.greedy.replace(child),
            Some(Err(_)) => above.variable.replace(child),
            None => above.literals.insert(part.into(), child),
        };
        let name = name.map(|name| name.strip_suffix('+').unwrap_or(name)).unwrap_or_default();
        self.nodes.push(Node { name: name.into(), ..Node::default() });
        taken.is_none().then_some(child)
    }

    /// Gives a node a method by its verb or `ANY`.
    pub(crate) fn attach(&mut self, node: usize, verb: &str, method: usize) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        if verb == "ANY" {
            node.any = Some(method);
        } else {
            node.methods.push((verb.into(), method));
        }
    }

    fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map(|node| node.name.as_ref()).unwrap_or_default()
    }

    /// The most specific method for a path without leading and trailing slash; adds the parameters on the way.
    pub(crate) fn find(&self, path: &str, verb: &str, parameters: &mut Vec<(usize, Range<usize>)>) -> Option<usize> {
        let at = if path.is_empty() { 1 } else { 0 };
        self.walk(Self::ROOT, path, at, verb, parameters)
    }

    /// `at` is where the next segment begins, or one past the end when all are used up. Every node is visited at most
    /// once, since its depth fixes the segment it can stand for.
    fn walk(
        &self,
        node: usize,
        path: &str,
        at: usize,
        verb: &str,
        parameters: &mut Vec<(usize, Range<usize>)>,
    ) -> Option<usize> {
        let here = self.nodes.get(node)?;
        let Some(rest) = path.get(at..) else { return self.method(node, verb) };
        let end = at + rest.find('/').unwrap_or(rest.len());
        let segment = &path[at..end];
        if let Some(&child) = here.literals.get(segment)
            && let Some(method) = self.walk(child, path, end + 1, verb, parameters)
        {
            return Some(method);
        }
        if let Some(child) = here.variable.filter(|_| !segment.is_empty()) {
            parameters.push((child, at..end));
            if let Some(method) = self.walk(child, path, end + 1, verb, parameters) {
                return Some(method);
            }
            parameters.pop();
        }
        let child = here.greedy.filter(|_| !rest.is_empty())?;
        let method = self.method(child, verb)?;
        parameters.push((child, at..path.len()));
        Some(method)
    }

    fn method(&self, node: usize, verb: &str) -> Option<usize> {
        let node = self.nodes.get(node)?;
        let exact = node.methods.iter().find(|(own, _)| own.as_ref() == verb).map(|&(_, method)| method);
        exact.or(node.any)
    }
}

#[cfg(test)]
mod tests;
