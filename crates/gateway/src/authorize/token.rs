//! The event of a TOKEN authorizer.
//!
//! Source: API Gateway Developer Guide, "Input to an Amazon API Gateway Lambda authorizer".

use crate::event::Writer;

/// Exactly three members, in the order AWS sends them.
pub(super) fn event(method_arn: &str, token: &str) -> Vec<u8> {
    let mut out = Writer::with_capacity(method_arn.len() + token.len() + 64);
    out.open();
    out.text("type", "TOKEN");
    out.text("methodArn", method_arn);
    out.text("authorizationToken", token);
    out.close();
    out.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_token_event_has_three_members() {
        let event = super::event("arn:aws:execute-api:r:a:api/Dev/GET/", "Bearer \"x\"");
        let expected = r#"{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:a:api/Dev/GET/","authorizationToken":"Bearer \"x\""}"#;
        assert_eq!(String::from_utf8(event).unwrap(), expected);
    }
}
