//! What authorizers' answers showed, in words.

use gateway::{Observation, POLICY_BYTES_MAX, Seen};

use super::{About, Warning};

/// A warning of what the gateway saw.
pub(super) fn observed(seen: &Observation) -> Warning {
    let Observation { account, region, api_id, stage, authorizer_id, function_arn, .. } = seen;
    let api = format!("arn:aws:execute-api:{region}:{account}:{api_id}/{stage}");
    let (code, text, repair) = match &seen.seen {
        Seen::OneMethod { ttl_s } => (
            "policy-names-one-method",
            format!(
                "The authorizer allowed only the method it was asked about, yet its answer is kept for {ttl_s} s for all \
                 methods: the same caller's next method is refused until then."
            ),
            vec![
                format!("let the authorizer allow {api}/* or all the methods the caller may use, or set its TTL to 0"),
                format!(
                    "aws apigateway flush-stage-authorizers-cache --rest-api-id {api_id} --stage-name {stage} --region \
                     {region}   # with credentials of account {account}"
                ),
            ],
        ),
        Seen::WildcardCrosses { resource } => (
            "wildcard-crosses-segments",
            format!(
                "The authorizer answered the resource {resource}, whose * takes in slashes too, not one segment alone."
            ),
            vec!["name the methods one by one, or end the resource with its only *".to_owned()],
        ),
        Seen::OnePrincipal { callers } => (
            "constant-principal",
            format!(
                "The authorizer allowed {callers} or more different callers under one and the same principalId, so logs and \
                 integrations cannot tell them apart."
            ),
            vec!["answer an identifier of the caller as principalId".to_owned()],
        ),
        Seen::ContextNested { answers } => (
            "nested-context",
            format!(
                "{answers} answers of the authorizer were refused, with 500 for the caller, because a value of their context \
                 is a list or an object."
            ),
            vec!["answer strings, numbers and booleans in context; JSON.stringify what is more than that".to_owned()],
        ),
        Seen::PolicyNearLimit { bytes } => (
            "answer-near-limit",
            format!("The authorizer answered a policy of {bytes} bytes; over {POLICY_BYTES_MAX} bytes it is refused."),
            vec!["let wildcards stand for several resources".to_owned()],
        ),
    };
    let about = About {
        api_id: Some(api_id.clone()),
        stage: Some(stage.clone()),
        authorizer_id: Some(authorizer_id.clone()),
        function_arn: Some(function_arn.clone()),
        statement_id: None,
    };
    Warning { code: code.to_owned(), account_id: account.clone(), about, text, repair }
}
