//! Why a text is not a policy.

/// Why a text is not a policy of the kind asked for. A document with one fault is refused whole.
///
/// `Display` says what is wrong and where, for a log or a developer; [`ParseError::message`] is the text AWS answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    InvalidJson(Detail),
    /// An object with the same member twice.
    #[error("the member `{0}` appears twice")]
    DuplicateMember(Detail),
    /// Nested deeper than [`crate::NESTING_MAX`].
    #[error("nested more than {} levels deep", crate::NESTING_MAX)]
    TooDeep,
    /// Longer than the kind allows.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// An element is missing, of the wrong type, or not known.
    #[error("{0}")]
    Syntax(Detail),
    /// An identity-based policy, a boundary or a session policy names a principal.
    #[error("the policy names a principal")]
    PrincipalGiven,
    /// A resource-based or trust policy statement names no principal.
    #[error("a statement names no principal")]
    PrincipalMissing,
    /// A principal that is none.
    #[error("the principal `{0}` is not valid")]
    InvalidPrincipal(Detail),
    /// `2012-10-17` is required here.
    #[error("the policy's version is not 2012-10-17")]
    VersionTooOld,
    /// Two statements with the same `Sid`.
    #[error("the statement id `{0}` appears twice")]
    DuplicateSid(Detail),
    /// A `Sid` with other characters than letters and digits.
    #[error("the statement id `{0}` is not alphanumeric")]
    InvalidSid(Detail),
    /// No `Action` and no `NotAction`, or an empty list.
    #[error("a statement has no actions")]
    ActionsMissing,
    /// An action that is not `service:name`.
    #[error("the action `{0}` has no service before a colon")]
    ActionWithoutVendor(Detail),
    /// An action with two colons.
    #[error("the action `{0}` has more than one colon")]
    ActionColons(Detail),
    /// An action whose service has impossible characters.
    #[error("the service `{0}` of an action is not valid")]
    InvalidVendor(Detail),
    /// A trust policy about something else than assuming the role.
    #[error("the action `{0}` is not one of a trust policy")]
    NotAssumeRole(Detail),
    /// No `Resource` and no `NotResource`, or an empty list.
    #[error("a statement has no resources")]
    ResourcesMissing,
    /// A trust policy names a resource.
    #[error("a trust policy names a resource")]
    ResourceGiven,
    /// A resource that is neither an ARN pattern nor `*`.
    #[error("the resource `{0}` is neither an ARN nor `*`")]
    InvalidResource(Detail),
    /// A resource pattern longer than an authorizer may answer.
    #[error("a resource is longer than {0} characters")]
    ResourceTooLong(usize),
    /// An operator the policy language does not have.
    #[error("the condition operator `{0}` is not known")]
    UnknownOperator(Detail),
    /// A value the operator cannot compare with.
    #[error("the condition value `{0}` does not suit its operator")]
    InvalidConditionValue(Detail),
    /// A policy variable that is not closed or not named.
    #[error("the policy variable in `{0}` is not valid")]
    InvalidVariable(Detail),
}

/// The offending text, cut to a length fit for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    text: Box<str>,
}

/// The longest text repeated in an error, in characters.
const DETAIL_CHARS_MAX: usize = 512;

impl Detail {
    pub(crate) fn new(text: &str) -> Detail {
        Detail { text: text.chars().take(DETAIL_CHARS_MAX).collect::<String>().into_boxed_str() }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl ParseError {
    pub(crate) fn syntax(text: &str) -> ParseError {
        ParseError::Syntax(Detail::new(text))
    }

    /// The message IAM answers under `MalformedPolicyDocument`; where AWS gives none, its general one.
    #[must_use]
    pub fn message(&self) -> String {
        let fixed = match self {
            ParseError::InvalidJson(_) => "This policy contains invalid Json",
            ParseError::PrincipalGiven => "Policy document should not specify a principal.",
            ParseError::PrincipalMissing => "Missing required field Principal",
            ParseError::ResourceGiven => "Has prohibited field Resource",
            ParseError::VersionTooOld => "Policy document must be version 2012-10-17 or greater.",
            ParseError::DuplicateSid(_) => "Statement IDs (SID) in a single policy must be unique.",
            ParseError::InvalidSid(_) => {
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression \
                 [0-9A-Za-z]*"
            }
            ParseError::ActionsMissing => "Policy statement must contain actions.",
            ParseError::ResourcesMissing => "Policy statement must contain resources.",
            ParseError::ActionWithoutVendor(_) => {
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            }
            ParseError::ActionColons(_) => "Actions/Condition can contain only one colon.",
            ParseError::NotAssumeRole(_) => "AssumeRole policy may only specify STS AssumeRole actions.",
            ParseError::InvalidVendor(vendor) => return format!("Vendor {vendor} is not valid"),
            ParseError::InvalidResource(resource) => {
                return format!("Resource {resource} must be in ARN format or \"*\".");
            }
            ParseError::InvalidPrincipal(principal) => return format!("Invalid principal in policy: {principal}"),
            ParseError::TooDeep
            | ParseError::TooLong(_)
            | ParseError::Syntax(_)
            | ParseError::DuplicateMember(_)
            | ParseError::ResourceTooLong(_)
            | ParseError::UnknownOperator(_)
            | ParseError::InvalidConditionValue(_)
            | ParseError::InvalidVariable(_) => "Syntax errors in policy.",
        };
        fixed.to_owned()
    }
}
