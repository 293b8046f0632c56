//! The operations against AWS's model, and what holds for all nouns together.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::json;
use service::Operation;

use crate::testing::{World, merge, patch};
use crate::{account, api_key, authorizer, deployment, gateway_response, integration, integration_response, method};
use crate::{method_response, resource, rest_api, stage, tag, usage_plan, usage_plan_key};

/// Learns a struct's members from what its `Deserialize` asks for.
struct Asked<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("an input is a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        members: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(members);
        Err(Error::custom("the members are all that was wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn members<T: DeserializeOwned>() -> Vec<&'static str> {
    let mut members = Vec::new();
    assert!(T::deserialize(Asked(&mut members)).is_err());
    members
}

fn check<O: Operation>(names: &mut BTreeSet<&'static str>) {
    let operation = wire::table::service("apigateway").expect("the service").operation(O::NAME);
    let operation = operation.unwrap_or_else(|| panic!("AWS has no operation {}", O::NAME));
    let model: BTreeSet<&str> = operation.members().collect();
    let mut dealt_with = BTreeSet::new();
    for member in members::<O::Input>().into_iter().chain(O::REFUSED.iter().copied()).chain(O::IGNORED.iter().copied())
    {
        assert!(dealt_with.insert(member), "{}: {member} is dealt with twice", O::NAME);
    }
    assert_eq!(dealt_with, model, "{}", O::NAME);
    assert!(names.insert(O::NAME), "{} is there twice", O::NAME);
}

macro_rules! check_all {
    ($($noun:ident: $($operation:ident)+;)+) => {{
        let mut names = BTreeSet::new();
        $($(check::<$noun::$operation>(&mut names);)+)+
        names
    }};
}

#[test]
fn every_member_of_the_model_is_read_ignored_or_refused() {
    let checked = check_all! {
        account: GetAccount UpdateAccount;
        api_key: CreateApiKey GetApiKey GetApiKeys UpdateApiKey DeleteApiKey;
        authorizer: CreateAuthorizer GetAuthorizer GetAuthorizers UpdateAuthorizer DeleteAuthorizer;
        deployment: CreateDeployment GetDeployment GetDeployments UpdateDeployment DeleteDeployment;
        gateway_response: PutGatewayResponse GetGatewayResponse GetGatewayResponses UpdateGatewayResponse
            DeleteGatewayResponse;
        integration: PutIntegration GetIntegration UpdateIntegration DeleteIntegration;
        integration_response: PutIntegrationResponse GetIntegrationResponse UpdateIntegrationResponse
            DeleteIntegrationResponse;
        method: PutMethod GetMethod UpdateMethod DeleteMethod;
        method_response: PutMethodResponse GetMethodResponse UpdateMethodResponse DeleteMethodResponse;
        resource: GetResources GetResource CreateResource UpdateResource DeleteResource;
        rest_api: CreateRestApi GetRestApi GetRestApis UpdateRestApi DeleteRestApi;
        stage: CreateStage GetStage GetStages UpdateStage DeleteStage FlushStageAuthorizersCache;
        tag: GetTags TagResource UntagResource;
        usage_plan: CreateUsagePlan GetUsagePlan GetUsagePlans UpdateUsagePlan DeleteUsagePlan;
        usage_plan_key: CreateUsagePlanKey GetUsagePlanKey GetUsagePlanKeys DeleteUsagePlanKey;
    };
    let offered: Vec<&str> = crate::OPERATIONS.iter().flat_map(|noun| noun.iter()).map(|entry| entry.name).collect();
    assert_eq!(offered.len(), checked.len());
    assert_eq!(offered.into_iter().collect::<BTreeSet<_>>(), checked);
}

#[test]
fn an_unknown_api_is_not_found_by_any_operation() {
    let mut world = World::new();
    let names = json!({
        "restApiId": "nosuchapi1", "resourceId": "r", "parentId": "r", "httpMethod": "GET", "statusCode": "200",
        "authorizerId": "a", "deploymentId": "d", "stageName": "s", "pathPart": "p", "authorizationType": "NONE",
        "type": "MOCK", "patchOperations": [], "responseType": "THROTTLED"
    });
    for entry in crate::OPERATIONS.iter().flat_map(|noun| noun.iter()) {
        let unlike = ["CreateRestApi", "GetRestApis", "GetTags", "TagResource", "UntagResource", "CreateAuthorizer"];
        let of_account = ["Account", "ApiKey", "UsagePlan"].iter().any(|noun| entry.name.contains(noun));
        if !of_account && !unlike.contains(&entry.name) {
            let expected = "NotFound 404 Invalid API identifier specified 111111111111:nosuchapi1";
            world.refuses(entry.name, names.clone(), expected);
        }
    }
    assert!(world.keys().is_empty());
}

#[test]
fn another_account_or_region_has_nothing_of_it() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    for (account, region) in [("222222222222", "us-east-1"), ("111111111111", "eu-west-1")] {
        world.account = account;
        world.region = region;
        let expected = format!("NotFound 404 Invalid API identifier specified {account}:{api}");
        for name in ["GetRestApi", "DeleteRestApi", "GetResources", "GetStages", "GetAuthorizers"] {
            world.refuses(name, json!({"restApiId": api}), &expected);
        }
        let steps = merge(&json!({"restApiId": api, "stageName": "Dev"}), patch("replace", "/description", Some("x")));
        world.refuses("UpdateStage", steps, &expected);
        assert_eq!(world.ok("GetRestApis", json!({})), json!({"items": []}));
    }
}

#[test]
fn no_operation_costs_more_because_others_exist() {
    let cost = |others: usize| {
        let mut world = World::new();
        for _ in 0..others {
            let (api, root) = world.api();
            world.mock(&api, &root, "GET");
            world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
        }
        world.rows_read();
        let (api, root) = world.api();
        world.mock(&api, &root, "GET");
        world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
        world.ok("GetResources", json!({"restApiId": api}));
        world.ok("DeleteRestApi", json!({"restApiId": api}));
        world.rows_read()
    };
    assert_eq!(cost(0), cost(40));
}

#[test]
fn stored_forms_are_read_without_the_members_that_came_later() {
    // What the first version wrote; a member added since must have a default.
    let authorizer = r#"{"id":"a","name":"n","type":"TOKEN","authType":"custom","authorizerUri":"u"}"#;
    assert!(serde_json::from_str::<authorizer::Authorizer>(authorizer).is_ok());
    let method = r#"{"resourceId":"r","httpMethod":"GET","authorizationType":"NONE","apiKeyRequired":false}"#;
    assert!(serde_json::from_str::<method::Method>(method).is_ok());
    let stage = r#"{"stageName":"s","deploymentId":"d","snapshot":"h","createdDate":1,"lastUpdatedDate":1,
        "authorizersEpoch":0}"#;
    assert!(serde_json::from_str::<stage::Stage>(stage).is_ok());
    let api = r#"{"id":"a","name":"n","createdDate":1,"apiKeySource":"HEADER","endpointConfiguration":{"types":["EDGE"],
        "ipAddressType":"ipv4"},"disableExecuteApiEndpoint":false,"rootResourceId":"r"}"#;
    assert!(serde_json::from_str::<rest_api::RestApi>(api).is_ok());
    let frozen = format!(
        r#"{{"account":"a","region":"r","deploymentId":"d","restApi":{api},"resources":[],"methods":[],"authorizers":[]}}"#
    );
    assert!(serde_json::from_str::<crate::snapshot::Snapshot>(&frozen).is_ok());
}

fn prepared(world: &mut World) -> serde_json::Value {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let authorizer = world.ok(
        "CreateAuthorizer",
        json!({
            "restApiId": api, "name": "a", "type": "REQUEST", "authorizerUri": authorizer::tests::URI,
            "identitySource": "context.path"
        }),
    );
    let own = json!({
        "restApiId": api, "resourceId": root, "httpMethod": "GET", "statusCode": "200", "stageName": "Dev",
        "authorizerId": authorizer["id"], "responseType": "ACCESS_DENIED",
        "apiKey": world.ok("CreateApiKey", json!({}))["id"],
        "usagePlanId": world.ok("CreateUsagePlan", json!({"name": "p"}))["id"]
    });
    world.ok("PutMethodResponse", own.clone());
    world.ok("PutIntegrationResponse", own.clone());
    let deployment = world.ok("CreateDeployment", own.clone());
    merge(&own, json!({"deploymentId": deployment["id"]}))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, an update is done or the caller's fault, and what is stored afterwards still reads.
    #[test]
    fn no_patch_is_the_servers_fault(
        op in "add|remove|replace|copy|move|test",
        path in "(/(name|description|variables|responseTemplates|requestTemplates|responseParameters|types|EDGE|uri|\
                 endpointConfiguration|identitySource|timeoutInMillis|selectionPattern|a~1b|[*]|[~01{}.é]{0,4}|\
                 policy|cloudwatchRoleArn|statusCode|enabled|apiStages|throttle|burstLimit|rateLimit|quota|limit|\
                 offset|period|accessLogSettings|format|destinationArn|GET|logging|loglevel|throttling|\
                 .{0,3})){0,4}|.{0,8}",
        value in proptest::option::of("[$#'{}\\\\a-c.0-9 é]{0,12}|.{0,6}"),
    ) {
        let mut world = World::new();
        let own = prepared(&mut world);
        let all = crate::OPERATIONS.iter().flat_map(|noun| noun.iter());
        for entry in all.filter(|entry| entry.name.starts_with("Update")) {
            let params = merge(&own, patch(&op, &path, value.as_deref()));
            if let Err(error) = world.call(entry.name, params.clone()) {
                prop_assert!(error.is_client_fault(), "{} {params}: {:?}", entry.name, error.cause);
            }
        }
        for read in [
            "GetRestApi", "GetResource", "GetMethod", "GetStage", "GetAuthorizer", "GetDeployment", "GetAccount",
            "GetGatewayResponse", "GetApiKey", "GetUsagePlan",
        ] {
            world.ok(read, own.clone());
        }
    }
}
