use serde_json::{Value, json};

use crate::testing::{World, merge, patch, text};

/// A function of another account.
pub(crate) const URI: &str = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/\
                              arn:aws:lambda:us-east-1:222222222222:function:Authorizer/invocations";
const ROLE: &str = "arn:aws:iam::111111111111:role/authorizer";

fn token(api: &str) -> Value {
    json!({
        "restApiId": api, "name": "token", "type": "TOKEN", "authorizerUri": URI,
        "identitySource": "method.request.header.Authorizer"
    })
}

fn unsupported(member: &str) -> String {
    format!("BadRequest 400 {member} is not supported by this version of Portcullis.")
}

#[test]
fn an_authorizer_shows_what_was_sent_and_no_ttl_of_its_own() {
    let mut world = World::new();
    let (api, _) = world.api();
    let answer = world.ok("CreateAuthorizer", token(&api));
    let id = text(&answer, "id");
    assert_eq!(id.len(), 6);
    assert_eq!(
        answer,
        json!({
            "id": id, "name": "token", "type": "TOKEN", "authType": "custom", "authorizerUri": URI,
            "identitySource": "method.request.header.Authorizer"
        })
    );
    assert_eq!(world.ok("GetAuthorizer", json!({"restApiId": api, "authorizerId": id})), answer);
    assert_eq!(world.ok("GetAuthorizers", json!({"restApiId": api})), json!({"items": [answer]}));
    let record: super::Authorizer = world.record(&world.scope(), &api, &id).expect("a record");
    assert_eq!(record.ttl_s(), 300);
}

#[test]
fn every_member_comes_back_as_it_was_sent() {
    let mut world = World::new();
    let (api, _) = world.api();
    let members = json!({
        "name": "request", "type": "REQUEST", "authType": "custom", "authorizerUri": URI, "authorizerCredentials": ROLE,
        "identitySource": "method.request.header.A, stageVariables.S", "identityValidationExpression": "(?=ignored",
        "authorizerResultTtlInSeconds": 3600
    });
    let answer = world.ok("CreateAuthorizer", merge(&json!({"restApiId": api, "providerARNs": []}), members.clone()));
    assert_eq!(answer, merge(&json!({"id": answer["id"]}), members));
    let open = json!({
        "restApiId": api, "name": "open", "type": "REQUEST", "authorizerUri": URI, "authorizerResultTtlInSeconds": 0
    });
    assert_eq!(world.ok("CreateAuthorizer", open)["authorizerResultTtlInSeconds"], 0);
}

#[test]
fn the_form_of_the_uri_is_checked_before_the_api_is_looked_for() {
    let mut world = World::new();
    let missing = token("nosuchapi1");
    let expected = "Conflict 409 Unable to complete operation due to concurrent modification. Please try again later.";
    world.refuses("CreateAuthorizer", missing.clone(), expected);
    for uri in [json!("arn:aws:lambda:us-east-1:222222222222:function:f"), json!(""), Value::Null] {
        let shown = uri.as_str().unwrap_or_default().to_owned();
        world.refuses(
            "CreateAuthorizer",
            merge(&missing, json!({"authorizerUri": uri})),
            &format!(
                "BadRequest 400 Invalid Authorizer URI: {shown}. Authorizer URI should be a valid API Gateway ARN that \
                 represents a Lambda function invocation."
            ),
        );
    }
}

#[test]
fn what_cannot_be_created_is_refused() {
    let mut world = World::new();
    let (api, _) = world.api();
    world.ok("CreateAuthorizer", token(&api));
    let one_header = "BadRequest 400 Invalid identity source specified: a TOKEN authorizer needs exactly one \
                      method.request.header expression";
    let ttl = "BadRequest 400 Invalid authorizerResultTtlInSeconds specified, must be between 0 and 3600";
    let none = "BadRequest 400 Invalid identity source specified: a REQUEST authorizer needs one unless its answers \
     are not cached";
    for (members, expected) in [
        (
            json!({"name": "token"}),
            "BadRequest 400 Authorizer name must be unique. Authorizer token already exists in this RestApi."
                .to_owned(),
        ),
        (json!({"name": ""}), "BadRequest 400 Authorizer name cannot be empty".to_owned()),
        (json!({"type": "COGNITO_USER_POOLS"}), unsupported("Authorizer type COGNITO_USER_POOLS")),
        (json!({"type": "JWT"}), unsupported("Authorizer type JWT")),
        (
            json!({"type": "X"}),
            "Validation 400 1 validation error detected: Value 'X' at 'createAuthorizerInput.type' failed to satisfy \
             constraint: Member must satisfy enum value set: [TOKEN, REQUEST, COGNITO_USER_POOLS, JWT]"
                .to_owned(),
        ),
        (json!({"providerARNs": ["arn:aws:cognito-idp:us-east-1:1:userpool/x"]}), unsupported("providerARNs")),
        (json!({"identitySource": null}), one_header.to_owned()),
        (json!({"identitySource": "method.request.header.A,method.request.header.B"}), one_header.to_owned()),
        (json!({"identitySource": "method.request.querystring.A"}), one_header.to_owned()),
        (
            json!({"identitySource": "method.request.path.id"}),
            "BadRequest 400 Invalid identity source specified: method.request.path.id".to_owned(),
        ),
        (json!({"type": "REQUEST", "identitySource": ""}), none.to_owned()),
        (json!({"type": "REQUEST", "identitySource": null, "authorizerResultTtlInSeconds": 1}), none.to_owned()),
        (json!({"authorizerResultTtlInSeconds": -1}), ttl.to_owned()),
        (json!({"authorizerResultTtlInSeconds": 3601}), ttl.to_owned()),
        (json!({"authorizerResultTtlInSeconds": 4_294_967_296_i64}), ttl.to_owned()),
        (
            json!({"authorizerCredentials": "arn:aws:iam::222222222222:role/x"}),
            "AccessDenied 403 Cross-account pass role is not allowed.".to_owned(),
        ),
        (
            json!({"identityValidationExpression": "("}),
            "BadRequest 400 Invalid identityValidationExpression specified: it is no regular expression, or one that \
             this version of Portcullis does not support (look-around, back references, possessive quantifiers)."
                .to_owned(),
        ),
    ] {
        world.refuses("CreateAuthorizer", merge(&merge(&token(&api), json!({"name": "n"})), members), &expected);
    }
    assert_eq!(world.ok("GetAuthorizers", json!({"restApiId": api}))["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_api_has_ten_authorizers_at_most() {
    let mut world = World::new();
    let (api, _) = world.api();
    for n in 0..10 {
        world.ok("CreateAuthorizer", merge(&token(&api), json!({"name": format!("a{n}")})));
    }
    let expected = "LimitExceeded 429 Maximum number of Authorizers for this API has been reached. Please contact \
     AWS if you need additional Authorizers.";
    world.refuses("CreateAuthorizer", token(&api), expected);
    let page = world.ok("GetAuthorizers", json!({"restApiId": api, "limit": 6}));
    let rest = world.ok("GetAuthorizers", json!({"restApiId": api, "position": page["position"]}));
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_role_must_be_passed() {
    let mut world = World::new();
    let (api, _) = world.api();
    let with = |role: &str| merge(&token(&api), json!({"authorizerCredentials": role}));
    let needs = world.needs("CreateAuthorizer", with(ROLE)).expect("needs");
    assert_eq!((needs[0].action.as_str(), needs[0].resource.as_str()), ("iam:PassRole", ROLE));
    assert_eq!((needs.len(), needs[0].account.as_str()), (1, "111111111111"));
    let update = json!({"restApiId": api, "authorizerId": "x"});
    let steps = merge(&update, patch("replace", "/authorizerCredentials", Some(ROLE)));
    assert_eq!(world.needs("UpdateAuthorizer", steps).expect("needs"), needs);
    let foreign = merge(&update, patch("replace", "/authorizerCredentials", Some("arn:aws:iam::222222222222:role/x")));
    assert_eq!(world.needs("UpdateAuthorizer", foreign).expect_err("foreign").code, "AccessDeniedException");
    assert!(world.needs("CreateAuthorizer", token(&api)).expect("needs").is_empty());
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let (api, _) = world.api();
    let id = text(&world.ok("CreateAuthorizer", token(&api)), "id");
    let own = json!({"restApiId": api, "authorizerId": id});
    let other = URI.replace("Authorizer", "Other");
    for (path, value, member, expected) in [
        ("/name", "renamed", "name", json!("renamed")),
        ("/name", "renamed", "name", json!("renamed")),
        ("/authType", "oauth2", "authType", json!("oauth2")),
        ("/authorizerUri", &other, "authorizerUri", json!(other)),
        ("/authorizerCredentials", ROLE, "authorizerCredentials", json!(ROLE)),
        ("/authorizerCredentials", "", "authorizerCredentials", Value::Null),
        ("/authorizerResultTtlInSeconds", "0", "authorizerResultTtlInSeconds", json!(0)),
        ("/authorizerResultTtlInSeconds", "", "authorizerResultTtlInSeconds", Value::Null),
        ("/identitySource", "method.request.header.B", "identitySource", json!("method.request.header.B")),
        ("/identityValidationExpression", "^x$", "identityValidationExpression", json!("^x$")),
        ("/type", "REQUEST", "type", json!("REQUEST")),
    ] {
        let answer = world.ok("UpdateAuthorizer", merge(&own, patch("replace", path, Some(value))));
        assert_eq!(answer.get(member).cloned().unwrap_or_default(), expected, "{path}");
        assert_eq!(world.ok("GetAuthorizer", own.clone()), answer);
    }
}

#[test]
fn bad_patches_are_refused_and_change_nothing() {
    let mut world = World::new();
    let (api, _) = world.api();
    let first = world.ok("CreateAuthorizer", token(&api));
    world.ok("CreateAuthorizer", merge(&token(&api), json!({"name": "taken"})));
    let own = json!({"restApiId": api, "authorizerId": first["id"]});
    let ttl = "BadRequest 400 Invalid authorizerResultTtlInSeconds specified, must be between 0 and 3600";
    for (op, path, value, expected) in [
        (
            "replace",
            "/x",
            "x",
            "BadRequest 400 Invalid patch path  '/x' specified for op 'replace'. Must be one of: [/name, /type, \
             /authType, /authorizerUri, /authorizerCredentials, /authorizerResultTtlInSeconds, /identitySource, \
             /identityValidationExpression]"
                .to_owned(),
        ),
        (
            "remove",
            "/name",
            "",
            "BadRequest 400 Invalid patch path  '/name' specified for op 'remove'. Please choose supported operations"
                .to_owned(),
        ),
        ("add", "/providerARNs", "arn", unsupported("providerARNs")),
        ("replace", "/type", "JWT", unsupported("Authorizer type JWT")),
        (
            "replace",
            "/name",
            "taken",
            "BadRequest 400 Authorizer name must be unique. Authorizer taken already exists in this RestApi."
                .to_owned(),
        ),
        ("replace", "/authorizerResultTtlInSeconds", "x", ttl.to_owned()),
        ("replace", "/authorizerResultTtlInSeconds", "3601", ttl.to_owned()),
        (
            "replace",
            "/identitySource",
            "",
            "BadRequest 400 Invalid identity source specified: a TOKEN authorizer needs exactly one \
             method.request.header expression"
                .to_owned(),
        ),
        (
            "replace",
            "/authorizerCredentials",
            "arn:aws:iam::222222222222:role/x",
            "AccessDenied 403 Cross-account pass role is not allowed.".to_owned(),
        ),
    ] {
        world.refuses("UpdateAuthorizer", merge(&own, patch(op, path, Some(value))), &expected);
    }
    assert_eq!(
        world.refused("UpdateAuthorizer", merge(&own, patch("replace", "/authorizerUri", Some("x")))).0,
        "BadRequest"
    );
    assert_eq!(world.ok("GetAuthorizer", own), first);
}

#[test]
fn an_authorizer_in_use_stays() {
    let mut world = World::new();
    let (api, root) = world.api();
    let id = text(&world.ok("CreateAuthorizer", token(&api)), "id");
    let own = json!({"restApiId": api, "authorizerId": id});
    let pets = text(&world.ok("CreateResource", json!({"restApiId": api, "parentId": root, "pathPart": "pets"})), "id");
    for (resource, verb, place) in [(&root, "ANY", "//ANY"), (&pets, "GET", "/pets/GET")] {
        let method = json!({"restApiId": api, "resourceId": resource, "httpMethod": verb});
        world.ok("PutMethod", merge(&method, json!({"authorizationType": "CUSTOM", "authorizerId": id})));
        let expected = format!("Conflict 409 Cannot delete authorizer 'token', is referenced in method: {place}");
        world.refuses("DeleteAuthorizer", own.clone(), &expected);
        world.ok("DeleteMethod", method);
    }
    assert_eq!(world.ok("DeleteAuthorizer", own.clone()), json!({}));
    for name in ["GetAuthorizer", "DeleteAuthorizer", "UpdateAuthorizer"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Authorizer identifier specified");
    }
}
