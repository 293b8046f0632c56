//! The event of a REQUEST authorizer.
//!
//! Source: API Gateway Developer Guide, "Input to an Amazon API Gateway Lambda authorizer".

use crate::{
    context::Scope,
    envelope::Envelope,
    event::{self, Empty, Writer},
    route::Matched,
};

/// Members and order of AWS; empty maps are `{}`, there is no body.
pub(super) fn event(method_arn: &str, matched: &Matched, envelope: &Envelope) -> Vec<u8> {
    let mut out = Writer::with_capacity(2_048);
    out.open();
    out.text("type", "REQUEST");
    out.text("methodArn", method_arn);
    event::request_members(&mut out, matched, envelope, Empty::Object);
    event::request_context(&mut out, &Scope::early(matched, envelope));
    out.close();
    out.finish()
}
