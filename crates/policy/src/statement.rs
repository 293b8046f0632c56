//! One compiled statement, and whether it applies to a request.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::arn_pattern::{Cut, ResourcePattern};
use crate::condition::{self, Condition};
use crate::document::{Kind, Version};
use crate::evaluate::{Effect, Request, StatementRef};
use crate::near::{Closeness, Failed, First, Written, cut};
use crate::principal::{PrincipalElement, Reach};
use crate::wildcard::Pattern;
use crate::{ParseError, raw};

#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) effect: Effect,
    sid: Option<Arc<str>>,
    /// `None` where the kind has no principals.
    pub(crate) principal: Option<PrincipalElement>,
    pub(crate) actions: Actions,
    /// `None` in trust policies: the role itself is the resource.
    pub(crate) resources: Option<Resources>,
    conditions: Box<[Condition]>,
    text: Box<Text>,
}

/// Actions and resources as the document writes them, for explanations.
#[derive(Debug, Clone)]
struct Text {
    actions: Written,
    resources: Option<Written>,
}

#[derive(Debug, Clone)]
pub(crate) struct Actions {
    pub(crate) negated: bool,
    /// Compiled from lower case.
    pub(crate) patterns: Box<[Pattern]>,
}

#[derive(Debug, Clone)]
pub(crate) struct Resources {
    pub(crate) negated: bool,
    pub(crate) patterns: Box<[ResourcePattern]>,
}

/// A request made ready for comparison.
#[derive(Debug, Clone)]
pub(crate) struct Prepared<'a> {
    pub(crate) request: &'a Request<'a>,
    /// The action in lower case.
    pub(crate) action: &'a str,
    pub(crate) resource: Cut<'a>,
}

impl Statement {
    pub(crate) fn compile(raw: &raw::Statement<'_>, version: Version, kind: Kind) -> Result<Statement, ParseError> {
        let variables = version == Version::V2012;
        let actions = raw.actions.as_ref().ok_or(ParseError::ActionsMissing)?;
        let text = Box::new(Text {
            actions: Written::new(actions.content.iter().copied()),
            resources: raw.resources.as_ref().map(|element| Written::new(element.content.iter().copied())),
        });
        let actions = Actions {
            negated: actions.negated,
            patterns: actions.content.iter().map(|text| Pattern::wildcards(&text.to_ascii_lowercase())).collect(),
        };
        let resources = match &raw.resources {
            None => None,
            Some(element) => {
                let patterns = element.content.iter().map(|text| ResourcePattern::parse(text, variables));
                Some(Resources { negated: element.negated, patterns: patterns.collect::<Result<_, _>>()? })
            }
        };
        let principal = match raw.principal {
            Some(element) if kind.has_principal() => Some(PrincipalElement::parse(element.content, element.negated)?),
            _ => None,
        };
        let conditions = raw.condition.map_or_else(|| Ok(Box::default()), |c| condition::parse(c, variables))?;
        Ok(Statement {
            effect: raw.effect,
            sid: raw.sid.map(Arc::from),
            principal,
            actions,
            resources,
            conditions,
            text,
        })
    }

    pub(crate) fn reference(&self, index: usize) -> StatementRef {
        StatementRef { index, sid: self.sid.clone() }
    }

    pub(crate) fn has_action(&self, prepared: &Prepared<'_>) -> bool {
        self.actions.patterns.iter().any(|pattern| pattern.matches(prepared.action)) != self.actions.negated
    }

    pub(crate) fn has_resource(&self, prepared: &Prepared<'_>) -> bool {
        let Some(resources) = &self.resources else { return true };
        let context = prepared.request.context;
        let mut unresolved = false;
        let matched = resources.patterns.iter().any(|pattern| {
            let outcome = pattern.matches(&prepared.resource, context);
            unresolved |= outcome.is_none();
            outcome == Some(true)
        });
        match (resources.negated, matched) {
            (false, matched) => matched,
            (true, true) => false,
            // What an exception with an unresolvable variable would have excepted is not known: an allow does not
            // apply, a deny does. [U] AWS only says that such an element does not match.
            (true, false) => !unresolved || self.effect == Effect::Deny,
        }
    }

    /// What is left to ask once action and resource fit: the caller and the conditions.
    pub(crate) fn reach(&self, request: &Request<'_>) -> Option<Reach> {
        let reach = self.principal_reach(request)?;
        self.unmet(request).next().is_none().then_some(reach)
    }

    fn principal_reach(&self, request: &Request<'_>) -> Option<Reach> {
        match &self.principal {
            None => Some(Reach::Everyone),
            Some(element) => element.reach(request.principal),
        }
    }

    /// The conditions that do not hold, by their places.
    fn unmet(&self, request: &Request<'_>) -> impl Iterator<Item = usize> {
        let conditions = self.conditions.iter().enumerate();
        conditions.filter(|(_, condition)| !condition.holds(request.context)).map(|(at, _)| at)
    }

    /// How near the statement comes to applying; `None` if it applies.
    pub(crate) fn closeness(&self, prepared: &Prepared<'_>) -> Option<Closeness> {
        let request = prepared.request;
        let (principal, action, resource) =
            (self.principal_reach(request).is_some(), self.has_action(prepared), self.has_resource(prepared));
        let mut unmet = self.unmet(request);
        let condition = unmet.next();
        let first = match (principal, action, resource, condition) {
            (false, ..) => First::Principal,
            (true, false, ..) => First::Action,
            (true, true, false, _) => First::Resource,
            (true, true, true, Some(at)) => First::Condition(Reverse(at)),
            (true, true, true, None) => return None,
        };
        let points = [principal, action, action, resource, condition.is_none()];
        let written = self.text.resources.as_ref().filter(|_| !resource);
        Some(Closeness {
            elements: points.into_iter().map(u8::from).fold(0, u8::saturating_add),
            first,
            conditions_unmet: Reverse(unmet.count().saturating_add(usize::from(condition.is_some()))),
            shared_bytes: written.map_or(0, |written| written.shared_bytes(request.resource)),
        })
    }

    /// The element that [`Statement::closeness`] found failing first, as an explanation names it.
    pub(crate) fn failed(&self, first: First, request: &Request<'_>) -> Option<Failed> {
        Some(match first {
            First::Principal => self.principal.as_ref()?.failed(request.principal),
            First::Action => Failed::Action {
                negated: self.actions.negated,
                written: self.text.actions.clone(),
                asked: cut(request.action),
            },
            First::Resource => Failed::Resource {
                negated: self.resources.as_ref()?.negated,
                written: self.text.resources.clone()?,
                asked: cut(request.resource),
            },
            First::Condition(Reverse(at)) => self.conditions.get(at)?.failed(request.context),
        })
    }
}
