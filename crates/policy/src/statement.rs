//! One compiled statement, and whether it applies to a request.

use std::sync::Arc;

use crate::arn_pattern::{Cut, ResourcePattern};
use crate::condition::{self, Condition};
use crate::document::{Kind, Version};
use crate::evaluate::{Effect, Request, StatementRef};
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
#[derive(Debug, Clone, Copy)]
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
        Ok(Statement { effect: raw.effect, sid: raw.sid.map(Arc::from), principal, actions, resources, conditions })
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
        let reach = match &self.principal {
            None => Reach::Everyone,
            Some(element) => element.reach(request.principal)?,
        };
        self.conditions.iter().all(|condition| condition.holds(request.context)).then_some(reach)
    }
}
