//! The shape of a document, and the rules its kind adds.

use serde_json::{Map, Value};

use crate::document::{Kind, Version};
use crate::error::Detail;
use crate::evaluate::Effect;
use crate::{AUTHORIZER_RESOURCE_CHARS_MAX, ParseError};

/// A document whose elements have the right types, still uncompiled.
#[derive(Debug)]
pub(crate) struct Document<'v> {
    pub(crate) version: Version,
    pub(crate) statements: Vec<Statement<'v>>,
}

#[derive(Debug)]
pub(crate) struct Statement<'v> {
    pub(crate) sid: Option<&'v str>,
    pub(crate) effect: Effect,
    pub(crate) principal: Option<Element<&'v Value>>,
    pub(crate) actions: Option<Element<Vec<&'v str>>>,
    pub(crate) resources: Option<Element<Vec<&'v str>>>,
    pub(crate) condition: Option<&'v Value>,
}

/// An element or its `Not` form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<T> {
    pub(crate) negated: bool,
    pub(crate) content: T,
}

/// Reads the shape and applies the kind's rules, in the order in which AWS reports faults.
pub(crate) fn read(value: &Value, kind: Kind) -> Result<Document<'_>, ParseError> {
    let members = value.as_object().ok_or_else(|| ParseError::syntax("a policy is an object"))?;
    let mut version = Version::V2008;
    let mut statements = None;
    for (name, value) in members {
        match name.as_str() {
            "Version" => {
                version = match value.as_str() {
                    Some("2012-10-17") => Version::V2012,
                    Some("2008-10-17") => Version::V2008,
                    _ => return Err(ParseError::syntax("the version is neither 2012-10-17 nor 2008-10-17")),
                }
            }
            "Id" if value.is_string() => {}
            "Statement" => statements = Some(value),
            _ => return Err(ParseError::syntax(&format!("the element `{name}` is not one of a policy"))),
        }
    }
    let statements = match statements {
        Some(Value::Array(list)) if !list.is_empty() || kind == Kind::Authorizer => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return Err(ParseError::syntax("a policy has a list of statements")),
    };
    let statements = statements.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
    let document = Document { version, statements };
    document.check(kind)?;
    Ok(document)
}

fn statement(value: &Value) -> Result<Statement<'_>, ParseError> {
    let members = value.as_object().ok_or_else(|| ParseError::syntax("a statement is an object"))?;
    for name in members.keys() {
        let known = matches!(
            name.as_str(),
            "Sid"
                | "Effect"
                | "Principal"
                | "NotPrincipal"
                | "Action"
                | "NotAction"
                | "Resource"
                | "NotResource"
                | "Condition"
        );
        if !known {
            return Err(ParseError::syntax(&format!("the element `{name}` is not one of a statement")));
        }
    }
    let sid = match members.get("Sid") {
        None => None,
        Some(Value::String(sid)) => Some(sid.as_str()).filter(|sid| !sid.is_empty()),
        Some(_) => return Err(ParseError::syntax("a statement id is a string")),
    };
    let effect = match members.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(ParseError::syntax("the effect of a statement is `Allow` or `Deny`")),
    };
    let condition = members.get("Condition");
    if condition.is_some_and(|condition| !condition.is_object()) {
        return Err(ParseError::syntax("a condition is an object"));
    }
    Ok(Statement {
        sid,
        effect,
        principal: either(members, "Principal", "NotPrincipal")?,
        actions: either(members, "Action", "NotAction")?.map(strings).transpose()?,
        resources: either(members, "Resource", "NotResource")?.map(strings).transpose()?,
        condition,
    })
}

fn either<'v>(
    members: &'v Map<String, Value>,
    plain: &str,
    negated: &str,
) -> Result<Option<Element<&'v Value>>, ParseError> {
    match (members.get(plain), members.get(negated)) {
        (Some(_), Some(_)) => Err(ParseError::syntax(&format!("a statement has `{plain}` and `{negated}`"))),
        (Some(content), None) => Ok(Some(Element { negated: false, content })),
        (None, Some(content)) => Ok(Some(Element { negated: true, content })),
        (None, None) => Ok(None),
    }
}

fn strings(element: Element<&Value>) -> Result<Element<Vec<&str>>, ParseError> {
    let wrong = || ParseError::syntax("an action or a resource is a string or a list of strings");
    let content = match element.content {
        Value::String(text) => vec![text.as_str()],
        Value::Array(texts) => {
            texts.iter().map(|text| text.as_str().ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(wrong()),
    };
    Ok(Element { negated: element.negated, content })
}

impl Document<'_> {
    fn check(&self, kind: Kind) -> Result<(), ParseError> {
        if kind == Kind::Authorizer {
            return self.check_authorizer();
        }
        for statement in &self.statements {
            match (kind.has_principal(), &statement.principal) {
                (false, Some(_)) => return Err(ParseError::PrincipalGiven),
                (true, None) => return Err(ParseError::PrincipalMissing),
                _ => {}
            }
        }
        if kind.needs_2012() && self.version != Version::V2012 {
            return Err(ParseError::VersionTooOld);
        }
        self.check_sids(kind)?;
        if self.statements.iter().any(|statement| is_missing(statement.actions.as_ref())) {
            return Err(ParseError::ActionsMissing);
        }
        self.check_resources(kind)?;
        let actions = self.statements.iter().filter_map(|statement| statement.actions.as_ref());
        actions.flat_map(|element| &element.content).try_for_each(|action| check_action(action, kind))
    }

    /// The policy a Lambda authorizer answers: no rules about ids, vendors or empty lists, and `Principal` is ignored.
    fn check_authorizer(&self) -> Result<(), ParseError> {
        for statement in &self.statements {
            let actions = statement.actions.as_ref().ok_or(ParseError::ActionsMissing)?;
            let resources = statement.resources.as_ref().ok_or(ParseError::ResourcesMissing)?;
            // Everything but nothing would be everything: that is not what an empty list can have meant.
            if actions.negated && actions.content.is_empty() {
                return Err(ParseError::ActionsMissing);
            }
            if resources.negated && resources.content.is_empty() {
                return Err(ParseError::ResourcesMissing);
            }
            let too_long = |text: &&str| text.chars().count() > AUTHORIZER_RESOURCE_CHARS_MAX;
            if resources.content.iter().any(too_long) {
                return Err(ParseError::ResourceTooLong(AUTHORIZER_RESOURCE_CHARS_MAX));
            }
        }
        Ok(())
    }

    fn check_sids(&self, kind: Kind) -> Result<(), ParseError> {
        let mut sids: Vec<&str> = self.statements.iter().filter_map(|statement| statement.sid).collect();
        if kind != Kind::Resource {
            let wrong = sids.iter().find(|sid| !sid.bytes().all(|b| b.is_ascii_alphanumeric()));
            if let Some(sid) = wrong {
                return Err(ParseError::InvalidSid(Detail::new(sid)));
            }
        }
        sids.sort_unstable();
        match sids.windows(2).find_map(|pair| if let [a, b] = pair { (a == b).then_some(*a) } else { None }) {
            Some(sid) => Err(ParseError::DuplicateSid(Detail::new(sid))),
            None => Ok(()),
        }
    }

    fn check_resources(&self, kind: Kind) -> Result<(), ParseError> {
        if kind == Kind::Trust {
            let given = self.statements.iter().any(|statement| statement.resources.is_some());
            return if given { Err(ParseError::ResourceGiven) } else { Ok(()) };
        }
        if self.statements.iter().any(|statement| is_missing(statement.resources.as_ref())) {
            return Err(ParseError::ResourcesMissing);
        }
        let resources = self.statements.iter().filter_map(|statement| statement.resources.as_ref());
        match resources.flat_map(|element| &element.content).find(|text| **text != "*" && !text.starts_with("arn:")) {
            Some(text) => Err(ParseError::InvalidResource(Detail::new(text))),
            None => Ok(()),
        }
    }
}

fn is_missing(element: Option<&Element<Vec<&str>>>) -> bool {
    element.is_none_or(|element| element.content.is_empty())
}

fn check_action(action: &str, kind: Kind) -> Result<(), ParseError> {
    let detail = || Detail::new(action);
    let (vendor, name) = match action.split_once(':') {
        Some((vendor, name)) => (vendor, name),
        None if action == "*" => ("*", "*"),
        None => return Err(ParseError::ActionWithoutVendor(detail())),
    };
    if name.contains(':') {
        return Err(ParseError::ActionColons(detail()));
    }
    let plain = !vendor.is_empty() && vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if vendor != "*" && !plain {
        return Err(ParseError::InvalidVendor(Detail::new(vendor)));
    }
    if kind == Kind::Trust && !vendor.eq_ignore_ascii_case("sts") {
        return Err(ParseError::NotAssumeRole(detail()));
    }
    Ok(())
}
