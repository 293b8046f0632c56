//! The one error a control-plane call can end in, before a protocol spells it.

use std::borrow::Cow;

use serde_json::Value;

/// How the text member of a JSON error body is spelled. Lambda uses both (control-plane contract, 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageMember {
    /// `message`, the usual form.
    #[default]
    Lower,
    /// `Message`, as Lambda's `ResourceNotFoundException` has it.
    Upper,
}

/// An AWS error: code, HTTP status and the text the client may read, with what only the log may know kept apart.
///
/// Deliberately without `Display`: a client's text and a log's text are different things.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceError {
    /// AWS's error code, such as `NotFoundException`.
    pub code: Cow<'static, str>,
    /// HTTP status; the awsJson protocols answer 400 for every client fault whatever stands here.
    pub status: u16,
    /// What the client reads.
    pub message: String,
    /// Further body members in order, such as Lambda's `Type` and `Reason`.
    pub fields: Vec<(&'static str, Value)>,
    /// Spelling of the text member.
    pub message_member: MessageMember,
    /// `Retry-After` in seconds, where AWS sends one.
    pub retry_after_s: Option<u32>,
    /// For the log only; never sent.
    pub cause: Option<String>,
    /// What is known of a refusal by policy, as JSON: for whoever may ask why, never sent with the answer.
    pub explanation: Option<Box<Value>>,
}

impl ServiceError {
    /// Adds what is known of a refusal by policy.
    #[must_use]
    pub fn with_explanation(mut self, explanation: Value) -> Self {
        self.explanation = Some(Box::new(explanation));
        self
    }

    /// An error with nothing but code, status and text.
    pub fn new(code: impl Into<Cow<'static, str>>, status: u16, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            status,
            message: message.into(),
            fields: Vec::new(),
            message_member: MessageMember::Lower,
            retry_after_s: None,
            cause: None,
            explanation: None,
        }
    }

    /// Adds a body member, in the order of the calls.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Spells the text member `Message`.
    #[must_use]
    pub fn with_upper_message(mut self) -> Self {
        self.message_member = MessageMember::Upper;
        self
    }

    /// Keeps a cause for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// A fault of ours: 500, AWS's neutral text, the cause for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            "InternalFailure",
            500,
            "The request processing has failed because of an unknown error, exception or failure.",
        )
        .with_cause(cause)
    }

    /// Whether the caller is at fault (status below 500).
    #[must_use]
    pub fn is_client_fault(&self) -> bool {
        self.status < 500
    }
}
