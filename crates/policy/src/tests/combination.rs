//! How documents combine.

use serde_json::{Value, json};

use super::{policy, session, user};
use crate::{Context, Decide, Decision, Denial, DeniedBy, Kind, Policy, PolicyKind, Principal, Request, decide};

const ACTION: &str = "lambda:InvokeFunction";
const RESOURCE: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";

/// `Some(effect)` for a document with one such statement, `None` for a document about something else.
fn own(effect: Option<&str>) -> Policy {
    let action = if effect.is_some() { ACTION } else { "s3:GetObject" };
    let statement = json!({ "Sid": "own", "Effect": effect.unwrap_or("Allow"), "Action": action, "Resource": "*" });
    policy(&json!({ "Version": "2012-10-17", "Statement": [statement] }), Kind::Identity)
}

fn of_resource(effect: Option<&str>, principal: &Value) -> Policy {
    let action = if effect.is_some() { ACTION } else { "s3:GetObject" };
    let statement = json!({
        "Sid": "theirs", "Effect": effect.unwrap_or("Allow"), "Principal": principal, "Action": action, "Resource": "*",
    });
    policy(&json!({ "Version": "2012-10-17", "Statement": [statement] }), Kind::Resource)
}

#[derive(Default, Clone, Copy)]
struct Setting<'a> {
    identity: Option<&'a Policy>,
    boundary: Option<&'a Policy>,
    session: Option<&'a Policy>,
    resource: Option<&'a Policy>,
    other_account: bool,
    is_root: bool,
}

fn outcome(setting: Setting<'_>, principal: &Principal) -> Option<DeniedBy> {
    let context = Context::new();
    let identity: Vec<&Policy> = setting.identity.into_iter().collect();
    let session: Option<Vec<&Policy>> = setting.session.map(|policy| vec![policy]);
    let decision = decide(&Decide {
        identity: &identity,
        boundary: setting.boundary,
        session: session.as_deref(),
        resource: setting.resource,
        same_account: !setting.other_account,
        is_root: setting.is_root,
        request: &Request { action: ACTION, resource: RESOURCE, principal, context: &context },
    });
    match decision {
        Decision::Allowed => None,
        Decision::Denied(denial) => Some(denial.by),
    }
}

#[test]
fn own_and_resource_policies_combine_by_account() {
    use DeniedBy::{ExplicitDeny, NoIdentityAllow, NoResourceAllow};
    let (allow, silent, deny) = (Some("Allow"), None, Some("Deny"));
    let own_denies = Some(ExplicitDeny(PolicyKind::Identity));
    let theirs_denies = Some(ExplicitDeny(PolicyKind::Resource));
    let table = [
        (allow, allow, None, None),
        (allow, silent, None, Some(NoResourceAllow)),
        (allow, deny, theirs_denies, theirs_denies),
        (silent, allow, None, Some(NoIdentityAllow)),
        (silent, silent, Some(NoIdentityAllow), Some(NoIdentityAllow)),
        (silent, deny, theirs_denies, theirs_denies),
        (deny, allow, own_denies, own_denies),
        (deny, silent, own_denies, own_denies),
        (deny, deny, own_denies, own_denies),
    ];
    for (own_effect, their_effect, same, other) in table {
        let (own, theirs) = (own(own_effect), of_resource(their_effect, &json!("*")));
        let setting = Setting { identity: Some(&own), resource: Some(&theirs), ..Setting::default() };
        assert_eq!(outcome(setting, &user("ann")), same, "{own_effect:?} {their_effect:?} in one account");
        let setting = Setting { other_account: true, ..setting };
        assert_eq!(outcome(setting, &user("ann")), other, "{own_effect:?} {their_effect:?} across accounts");
    }
}

#[test]
fn a_service_needs_the_resource_policy_alone() {
    let service = Principal::Service("apigateway.amazonaws.com".to_owned());
    let granted = of_resource(Some("Allow"), &json!({ "Service": "apigateway.amazonaws.com" }));
    let account = of_resource(Some("Allow"), &json!({ "AWS": "111122223333" }));
    for other_account in [false, true] {
        let setting = Setting { other_account, ..Setting::default() };
        assert_eq!(outcome(Setting { resource: Some(&granted), ..setting }, &service), None);
        let refused = Some(DeniedBy::NoResourceAllow);
        assert_eq!(outcome(Setting { resource: Some(&account), ..setting }, &service), refused);
        assert_eq!(outcome(setting, &service), refused);
        assert_eq!(outcome(setting, &Principal::Anonymous), refused);
    }
}

#[test]
fn an_account_principal_delegates_and_does_not_grant() {
    let delegated = of_resource(Some("Allow"), &json!({ "AWS": "arn:aws:iam::111122223333:root" }));
    let setting = Setting { resource: Some(&delegated), ..Setting::default() };
    assert_eq!(outcome(setting, &user("ann")), Some(DeniedBy::NoIdentityAllow));
    let own = own(Some("Allow"));
    for other_account in [false, true] {
        let setting = Setting { identity: Some(&own), other_account, ..setting };
        assert_eq!(outcome(setting, &user("ann")), None);
    }
}

#[test]
fn boundaries_and_sessions_cut_unless_the_caller_is_named() {
    use DeniedBy::{NoBoundaryAllow, NoSessionAllow};
    let (allow, silent) = (own(Some("Allow")), own(None));
    let ann = user("ann");
    let run = session("Run", "one");
    let named_user = of_resource(Some("Allow"), &json!({ "AWS": "arn:aws:iam::111122223333:user/ann" }));
    let named_role = of_resource(Some("Allow"), &json!({ "AWS": "arn:aws:iam::111122223333:role/path/Run" }));
    let named_session = of_resource(Some("Allow"), &json!({ "AWS": "arn:aws:sts::111122223333:assumed-role/Run/one" }));
    let everyone = of_resource(Some("Allow"), &json!("*"));
    let table = [
        (&ann, None, Some(NoBoundaryAllow), Some(NoSessionAllow)),
        (&ann, Some(&named_user), None, None),
        (&run, Some(&named_role), Some(NoBoundaryAllow), Some(NoSessionAllow)),
        (&run, Some(&named_session), None, None),
        (&ann, Some(&everyone), Some(NoBoundaryAllow), Some(NoSessionAllow)),
    ];
    for (caller, resource, by_boundary, by_session) in table {
        let setting = Setting { identity: Some(&allow), resource, ..Setting::default() };
        assert_eq!(outcome(Setting { boundary: Some(&silent), ..setting }, caller), by_boundary, "{caller:?}");
        assert_eq!(outcome(Setting { session: Some(&silent), ..setting }, caller), by_session, "{caller:?}");
        assert_eq!(outcome(Setting { boundary: Some(&allow), session: Some(&allow), ..setting }, caller), None);
    }
    // Across accounts the caller's side is cut whatever the other side names.
    let setting = Setting {
        identity: Some(&allow),
        boundary: Some(&silent),
        resource: Some(&named_user),
        other_account: true,
        ..Setting::default()
    };
    assert_eq!(outcome(setting, &ann), Some(NoBoundaryAllow));
    let deny = own(Some("Deny"));
    let setting = Setting { identity: Some(&allow), ..Setting::default() };
    let by = |kind| Some(DeniedBy::ExplicitDeny(kind));
    assert_eq!(outcome(Setting { boundary: Some(&deny), ..setting }, &ann), by(PolicyKind::Boundary));
    assert_eq!(outcome(Setting { session: Some(&deny), ..setting }, &ann), by(PolicyKind::Session));
}

#[test]
fn root_has_everything_in_its_account() {
    let root = Principal::Aws(crate::AwsPrincipal {
        account: "111122223333".parse().expect("an account"),
        arn: "arn:aws:iam::111122223333:root".to_owned(),
        role_arn: None,
        unique_id: None,
    });
    let setting = Setting { is_root: true, ..Setting::default() };
    assert_eq!(outcome(setting, &root), None);
    let silent = of_resource(None, &json!("*"));
    assert_eq!(outcome(Setting { resource: Some(&silent), ..setting }, &root), None);
    let deny = of_resource(Some("Deny"), &json!("*"));
    let denied = Some(DeniedBy::ExplicitDeny(PolicyKind::Resource));
    assert_eq!(outcome(Setting { resource: Some(&deny), ..setting }, &root), denied);
    let setting = Setting { other_account: true, ..setting };
    assert_eq!(outcome(Setting { resource: Some(&silent), ..setting }, &root), Some(DeniedBy::NoResourceAllow));
    let allow = of_resource(Some("Allow"), &json!({ "AWS": "111122223333" }));
    assert_eq!(outcome(Setting { resource: Some(&allow), ..setting }, &root), None);
}

#[test]
fn a_trust_policy_must_allow_always() {
    let trust = |principal: Value| {
        let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
        policy(&json!({ "Version": "2012-10-17", "Statement": [statement] }), Kind::Trust)
    };
    let everything = policy(
        &json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } }),
        Kind::Identity,
    );
    let context = Context::new();
    let role = "arn:aws:iam::111122223333:role/Run";
    let assume = |identity: &[&Policy], trust: &Policy, caller: &Principal| {
        let request = Request { action: "sts:AssumeRole", resource: role, principal: caller, context: &context };
        let decision = decide(&Decide {
            identity,
            boundary: None,
            session: None,
            resource: Some(trust),
            same_account: true,
            is_root: false,
            request: &request,
        });
        match decision {
            Decision::Allowed => None,
            Decision::Denied(denial) => Some(denial.by),
        }
    };
    let ann = user("ann");
    let gateway = Principal::Service("apigateway.amazonaws.com".to_owned());
    let lambda = trust(json!({ "Service": "lambda.amazonaws.com" }));
    assert_eq!(assume(&[&everything], &lambda, &ann), Some(DeniedBy::NoResourceAllow));
    assert_eq!(assume(&[], &lambda, &gateway), Some(DeniedBy::NoResourceAllow));
    assert_eq!(assume(&[], &trust(json!({ "Service": "apigateway.amazonaws.com" })), &gateway), None);
    assert_eq!(assume(&[], &trust(json!({ "AWS": "arn:aws:iam::111122223333:user/ann" })), &ann), None);
    for loose in [json!({ "AWS": "111122223333" }), json!({ "AWS": "*" })] {
        assert_eq!(assume(&[], &trust(loose.clone()), &ann), Some(DeniedBy::NoIdentityAllow), "{loose}");
        assert_eq!(assume(&[&everything], &trust(loose), &ann), None);
    }
}

#[test]
fn a_denial_is_told_in_the_words_of_aws() {
    let start = "User: arn:aws:iam::1:user/a is not authorized to perform: s3:Get on resource: arn:aws:s3:::b";
    let table = [
        (DeniedBy::NoIdentityAllow, " because no identity-based policy allows the s3:Get action"),
        (DeniedBy::NoResourceAllow, " because no resource-based policy allows the s3:Get action"),
        (DeniedBy::NoBoundaryAllow, " because no permissions boundary allows the s3:Get action"),
        (DeniedBy::NoSessionAllow, " because no session policy allows the s3:Get action"),
        (DeniedBy::ExplicitDeny(PolicyKind::Identity), " with an explicit deny in an identity-based policy"),
        (DeniedBy::ExplicitDeny(PolicyKind::Resource), " with an explicit deny in a resource-based policy"),
        (DeniedBy::ExplicitDeny(PolicyKind::Boundary), " with an explicit deny in a permissions boundary"),
        (DeniedBy::ExplicitDeny(PolicyKind::Session), " with an explicit deny in a session policy"),
    ];
    for (by, end) in table {
        let denial = Denial { by, statement: None };
        assert_eq!(denial.sentence("arn:aws:iam::1:user/a", "s3:Get", "arn:aws:s3:::b"), format!("{start}{end}"));
    }
}

#[test]
fn the_statement_that_denied_is_named() {
    let document = json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "all", "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "s3:*", "Resource": "*" },
        { "Sid": "never", "Effect": "Deny", "Action": "lambda:*", "Resource": RESOURCE },
        { "Sid": "later", "Effect": "Deny", "Action": "*", "Resource": "*" },
    ]});
    let policy = policy(&document, Kind::Identity);
    let context = Context::new();
    let principal = user("ann");
    let request = Request { action: ACTION, resource: RESOURCE, principal: &principal, context: &context };
    let statement = policy.evaluate(&request).statement.expect("a statement");
    assert_eq!((statement.index, statement.sid.as_deref()), (2, Some("never")));
}

/// Every combination against the rules put as one formula.
#[test]
fn all_combinations_follow_the_rules() {
    let effects = [None, Some("Allow"), Some("Deny")];
    let own_policies = effects.map(own);
    let principals = [
        json!({ "AWS": "111122223333" }),
        json!("*"),
        json!({ "AWS": "arn:aws:iam::111122223333:role/path/Run" }),
        json!({ "AWS": "arn:aws:sts::111122223333:assumed-role/Run/one" }),
        json!({ "AWS": ["111122223333", "arn:aws:sts::111122223333:assumed-role/Run/one"] }),
    ];
    let of_resources: Vec<(Option<&str>, usize, Policy)> = effects
        .iter()
        .flat_map(|effect| principals.iter().enumerate().map(|(at, named)| (*effect, at, of_resource(*effect, named))))
        .collect();
    let run = session("Run", "one");
    let kinds = |at: usize| at.checked_sub(1).map(|at| (effects[at], &own_policies[at]));
    for code in 0..(3 * 4 * 4 * 2) {
        let identity = (effects[code % 3], &own_policies[code % 3]);
        let (boundary, session) = (kinds(code / 3 % 4), kinds(code / 12 % 4));
        let other_account = code / 48 == 1;
        for resource in std::iter::once(None).chain(of_resources.iter().map(Some)) {
            let setting = Setting {
                identity: Some(identity.1),
                boundary: boundary.map(|(_, policy)| policy),
                session: session.map(|(_, policy)| policy),
                resource: resource.map(|(_, _, policy)| policy),
                other_account,
                is_root: false,
            };
            let all = [Some(identity.0), boundary.map(|b| b.0), session.map(|s| s.0), resource.map(|r| r.0)];
            let denied = all.contains(&Some(Some("Deny")));
            let uncut = |kind: Option<(Option<&str>, &Policy)>| kind.is_none_or(|(effect, _)| effect == Some("Allow"));
            let limits = uncut(boundary) && uncut(session);
            let own_side = identity.0 == Some("Allow") && limits;
            let theirs = resource.filter(|(effect, ..)| *effect == Some("Allow")).map(|(_, named, _)| *named);
            let granted = match (other_account, theirs) {
                (true, theirs) => own_side && theirs.is_some(),
                (false, None | Some(0)) => own_side,
                (false, Some(1 | 2)) => limits,
                (false, Some(_)) => true,
            };
            let outcome = outcome(setting, &run);
            assert_eq!(outcome.is_none(), granted && !denied, "{code} {theirs:?}: {outcome:?}");
            assert_eq!(matches!(outcome, Some(DeniedBy::ExplicitDeny(_))), denied, "{code} {theirs:?}");
        }
    }
}
