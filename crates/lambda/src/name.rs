//! `FunctionName` in all its forms, and what it addresses.

use policy::AccountId;
use service::{Cx, Need, Result, Scope, Tx};

use crate::{
    check::{Checks, is_account, is_digits, is_region, is_word},
    error::{function_not_found, invalid, not_found},
    function::Function,
    permission::ResourcePolicy,
};

/// The version that is edited.
pub const LATEST: &str = "$LATEST";

const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";
const QUALIFIER_PATTERN: &str = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+";

/// A `FunctionName` taken apart: a name, `name:qualifier`, `account:function:name`, or an ARN; the parts that may be
/// missing are `None`.
///
/// Source: Lambda API Reference, the pattern of `FunctionName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// Of an ARN; `aws` where it leaves the partition out.
    pub partition: Option<String>,
    /// Region, if named.
    pub region: Option<String>,
    /// Owner, if named.
    pub account: Option<String>,
    /// The name alone.
    pub function: String,
    /// Alias, version number or `$LATEST`, if named.
    pub qualifier: Option<String>,
}

impl FunctionName {
    /// Takes a name apart as AWS's pattern does; `None` if it does not match. At most 256 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > NAME_BYTES_MAX {
            return None;
        }
        let (partition, rest) = match text.strip_prefix("arn:").and_then(|rest| rest.split_once(":lambda:")) {
            Some((partition, rest)) if is_partition(partition) => {
                (Some(if partition.is_empty() { "aws" } else { partition }), rest)
            }
            _ => (None, text),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        // The pattern's optional parts are tried greedily from the left, as a regular expression would: that decides
        // what `function:1` and a name of twelve digits mean.
        for combination in 0u8..8 {
            let [with_region, with_account, with_word] = [4u8, 2, 1].map(|bit| combination & bit == 0);
            if let Some(found) = take(&parts, with_region, with_account, with_word) {
                return Some(Self { partition: partition.map(str::to_owned), ..found });
            }
        }
        None
    }
}

/// AWS's longest form.
const NAME_BYTES_MAX: usize = 256;

fn is_partition(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
}

fn take(parts: &[&str], with_region: bool, with_account: bool, with_word: bool) -> Option<FunctionName> {
    let mut rest = parts.iter().copied().peekable();
    let mut wanted = |wanted: bool, fits: fn(&str) -> bool| {
        if !wanted {
            return Some(None);
        }
        rest.next().filter(|part| fits(part)).map(Some)
    };
    let region = wanted(with_region, is_region)?;
    let account = wanted(with_account, is_account)?;
    wanted(with_word, |part| part == "function")?;
    let function = rest.next().filter(|name| is_name(name))?;
    let qualifier = match rest.next() {
        Some(qualifier) if is_own_qualifier(qualifier) => Some(qualifier.to_owned()),
        Some(_) => return None,
        None => None,
    };
    if rest.next().is_some() {
        return None;
    }
    Some(FunctionName {
        partition: None,
        region: region.map(str::to_owned),
        account: account.map(str::to_owned),
        function: function.to_owned(),
        qualifier,
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The qualifier inside a name.
fn is_own_qualifier(text: &str) -> bool {
    text == LATEST || text == "$LATEST.PUBLISHED" || is_word(text)
}

/// The `Qualifier` member: dollars may stand anywhere.
fn is_qualifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'$'))
        || text == "$LATEST.PUBLISHED"
}

/// What a call is about: a function of some account in the region of the call, perhaps one version or alias of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The owner, which need not be the caller.
    pub account: AccountId,
    /// The region of the call.
    pub region: String,
    /// Name without qualifier.
    pub function: String,
    /// From the name or from `Qualifier`, which must agree.
    pub qualifier: Option<String>,
}

impl Address {
    /// Reads `FunctionName` and `Qualifier` of a call.
    ///
    /// # Errors
    /// `ValidationException` when either does not match its pattern; `InvalidParameterValueException` when they
    /// disagree; `ResourceNotFoundException` for a function of another region or partition.
    pub fn resolve(name: &str, qualifier: Option<&str>, cx: &Cx<'_>) -> Result<Self> {
        let mut checks = Checks::default();
        let parsed = FunctionName::parse(name);
        if name.len() > NAME_BYTES_MAX {
            checks.length("functionName", name, 1, NAME_BYTES_MAX);
        } else {
            checks.pattern(parsed.is_some(), "functionName", name, NAME_PATTERN);
        }
        if let Some(qualifier) = qualifier {
            checks.pattern(is_qualifier(qualifier), "qualifier", qualifier, QUALIFIER_PATTERN);
            checks.length("qualifier", qualifier, 1, 128);
        }
        checks.done()?;
        let Some(parsed) = parsed else {
            return Err(function_not_found(name));
        };
        let here = cx.region.as_str();
        if let Some(region) = parsed.region.as_deref().filter(|region| *region != here) {
            return Err(not_found(format!("Functions from '{region}' are not reachable in this region ('{here}')")));
        }
        if parsed.partition.as_deref().is_some_and(|partition| partition != "aws") {
            return Err(function_not_found(name));
        }
        let account = match parsed.account.as_deref().map(str::parse::<AccountId>) {
            Some(Ok(account)) => account,
            Some(Err(_)) => return Err(function_not_found(name)),
            None => cx.caller.account,
        };
        let qualifier = match (parsed.qualifier, qualifier) {
            (Some(own), Some(given)) if own != given => {
                return Err(invalid(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            (own, given) => own.or(given.map(str::to_owned)),
        };
        Ok(Self { account, region: here.to_owned(), function: parsed.function, qualifier })
    }

    /// As [`Address::resolve`], for the operations that act on the function itself: `$LATEST` is as good as no
    /// qualifier, any other is refused. Their permission is about the unqualified ARN however the caller spells it, so
    /// that a policy denying it cannot be walked around with `:$LATEST`.
    ///
    /// # Errors
    /// As there, and `InvalidParameterValueException` for a version or an alias.
    pub fn resolve_unqualified(name: &str, cx: &Cx<'_>) -> Result<Self> {
        let mut address = Self::resolve(name, None, cx)?;
        if let Some(qualifier) = address.qualifier.take().filter(|qualifier| qualifier != LATEST) {
            return Err(invalid(format!(
                "This operation acts on the function itself: remove the qualifier {qualifier} from the function name."
            )));
        }
        Ok(address)
    }

    /// ARN without qualifier.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.function)
    }

    /// ARN with the qualifier, if there is one.
    #[must_use]
    pub fn qualified_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn()),
            None => self.arn(),
        }
    }

    /// Where the function's records are.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::regional(self.account.as_str(), &self.region)
    }

    /// The function.
    ///
    /// # Errors
    /// `ResourceNotFoundException` naming the ARN as it was asked for.
    pub fn function(&self, tx: &mut Tx<'_>) -> Result<Function> {
        tx.get(&self.scope(), "", &self.function)?.ok_or_else(|| function_not_found(&self.qualified_arn()))
    }

    /// The permission `default` becomes for this function: its qualified ARN, its owner, its tags as
    /// `aws:ResourceTag/..`.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub(crate) fn need(&self, default: Need, sharing: Sharing, tx: &mut Tx<'_>) -> Result<Need> {
        let mut need = Need { resource: self.qualified_arn(), account: self.account.to_string(), ..default };
        if let Some(function) = tx.get::<Function>(&self.scope(), "", &self.function)? {
            need.context
                .extend(function.tags.iter().map(|(key, value)| (format!("aws:ResourceTag/{key}"), value.clone())));
        }
        need.resource_policy = match sharing {
            Sharing::Owner => None,
            Sharing::Shared => {
                let qualifier = self.qualifier.as_deref().unwrap_or_default();
                tx.get::<ResourcePolicy>(&self.scope(), &self.function, qualifier)?.map(|policy| policy.evaluated())
            }
        };
        Ok(need)
    }
}

/// Whether a resource-based policy can grant an operation to another account.
///
/// Source: Lambda Developer Guide, "Granting Lambda function access to other accounts".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Only identities of the owner's account: nothing in the function's policy counts.
    Owner,
    /// The policy of the qualifier addressed counts, for other accounts and for the owner's own identities.
    Shared,
}

/// Digits, or a name with a dollar: AWS speaks of such a qualifier as a version, of any other as an alias.
pub(crate) fn names_version(qualifier: &str) -> bool {
    is_digits(qualifier) || qualifier.contains('$')
}

#[cfg(test)]
mod tests;
