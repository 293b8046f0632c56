"""REST APIs through boto3, and status codes and headers through plain HTTP."""

import json
import re

import pytest

import make
import wire
from aws import check_refused, refused
from conftest import API

FOREIGN = f"arn:aws:lambda:us-east-1:222222222222:function:Anything"


@pytest.fixture
def rest(api, unique):
    made = make.Api.create(api, unique("rest"))
    yield made
    try:
        made.delete()
    except api.apigateway.exceptions.NotFoundException:
        pass


def raw(api, method, path, body=None, query=""):
    port = int(api.endpoint.rsplit(":", 1)[1])
    headers = [("Accept", "application/json")] + ([("Content-Type", "application/json")] if body is not None else [])
    sent = b"" if body is None else json.dumps(body).encode()
    return wire.signed(port, wire.Signing(api.identity, "apigateway"), method, path, query, headers, sent)


def test_defaults_of_a_new_api(api):
    answer = raw(api, "POST", "/restapis", {"name": "defaults"})
    assert answer.status == 201
    made = answer.json()
    assert re.fullmatch("[a-z0-9]{10}", made["id"]) and re.fullmatch("[a-z0-9]{10}", made["rootResourceId"])
    assert isinstance(made.pop("createdDate"), (int, float))
    expected = {
        "id": made["id"],
        "name": "defaults",
        "apiKeySource": "HEADER",
        "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"},
        "disableExecuteApiEndpoint": False,
        "rootResourceId": made["rootResourceId"],
    }
    assert made == expected
    shown = raw(api, "GET", f"/restapis/{made['id']}").json()
    assert shown["tags"] == {} and "description" not in shown
    answer = raw(api, "DELETE", f"/restapis/{made['id']}")
    assert (answer.status, answer.body) == (202, b"")
    answer = raw(api, "GET", f"/restapis/{made['id']}")
    assert (answer.status, answer.error_type) == (404, "NotFoundException")
    assert answer.json() == {"message": f"Invalid API identifier specified {API}:{made['id']}"}


def test_status_codes_are_awss(api, rest):
    base = f"/restapis/{rest.id}"
    child = raw(api, "POST", f"{base}/resources/{rest.root}", {"pathPart": "pets"})
    assert child.status == 201
    resource = f"{base}/resources/{child.json()['id']}"
    method = f"{resource}/methods/GET"
    authorizer = {"name": "a", "type": "TOKEN", "authorizerUri": make.function_uri(FOREIGN), "identitySource": "method.request.header.A"}
    steps = [
        ("PUT", method, {"authorizationType": "NONE"}, 201),
        ("GET", method, None, 200),
        ("PUT", f"{method}/responses/200", {}, 201),
        ("PATCH", f"{method}/responses/200", {"patchOperations": []}, 201),
        ("PUT", f"{method}/integration", {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode":200}'}}, 201),
        ("PUT", f"{method}/integration/responses/200", {}, 201),
        ("GET", f"{method}/integration/responses/200", None, 200),
        ("POST", f"{base}/authorizers", authorizer, 201),
        ("POST", f"{base}/deployments", {"stageName": "s"}, 201),
        ("GET", f"{base}/stages", None, 200),
        ("DELETE", f"{base}/stages/s/cache/authorizers", None, 202),
        ("DELETE", f"{base}/stages/s", None, 202),
        ("DELETE", f"{method}/integration/responses/200", None, 204),
        ("DELETE", f"{method}/integration", None, 204),
        ("DELETE", f"{method}/responses/200", None, 204),
        ("DELETE", method, None, 204),
        ("DELETE", resource, None, 202),
    ]
    for verb, path, body, status in steps:
        answer = raw(api, verb, path, body)
        assert answer.status == status, (verb, path, answer.status, answer.text)
        if status in (202, 204):
            assert answer.body == b""
        assert answer.header("x-amzn-RequestId")


def test_lists_have_item_and_position(api, unique):
    names = [unique("listed") for _ in range(3)]
    made = {make.Api.create(api, name).id for name in names}
    answer = raw(api, "GET", "/restapis", query="limit=2").json()
    assert len(answer["item"]) == 2 and answer["position"]
    pages = api.apigateway.get_paginator("get_rest_apis").paginate(PaginationConfig={"PageSize": 2})
    listed = [item["id"] for page in pages for item in page["items"]]
    assert made <= set(listed) and len(listed) == len(set(listed))
    answer = raw(api, "GET", "/restapis", query="position=made-up")
    assert answer.status == 400
    for id in made:
        api.apigateway.delete_rest_api(restApiId=id)


def test_resources(api, rest):
    gateway = api.apigateway
    pets = rest.resource("/pets")
    rest.resource("/pets/{petId}")
    rest.resource("/files/{proxy+}")
    listed = {r["path"]: r for r in gateway.get_resources(restApiId=rest.id)["items"]}
    assert set(listed) == {"/", "/pets", "/pets/{petId}", "/files", "/files/{proxy+}"}
    assert "parentId" not in listed["/"] and "pathPart" not in listed["/"]
    assert (listed["/pets"]["parentId"], listed["/pets"]["pathPart"]) == (rest.root, "pets")
    assert re.fullmatch("[a-z0-9]{6}", pets)
    create = gateway.create_resource
    check_refused("ConflictException", 409, "Another resource with the same parent already has this name: pets", create, restApiId=rest.id, parentId=rest.root, pathPart="pets")
    check_refused(
        "BadRequestException", 400, "A sibling ({petId}) of this resource already has a variable path part -- only one is allowed",
        create, restApiId=rest.id, parentId=pets, pathPart="{other}",
    )  # fmt: skip
    check_refused(
        "BadRequestException", 400, "Cannot create a child of a resource with a greedy path variable: {proxy+}",
        create, restApiId=rest.id, parentId=rest.resources["/files/{proxy+}"], pathPart="x",
    )  # fmt: skip
    check_refused("NotFoundException", 404, "Invalid Resource identifier specified", gateway.get_resource, restApiId=rest.id, resourceId="zzzzzz")
    gateway.delete_resource(restApiId=rest.id, resourceId=pets)
    left = {r["path"] for r in gateway.get_resources(restApiId=rest.id)["items"]}
    assert left == {"/", "/files", "/files/{proxy+}"}, "the subtree goes too"
    rest.resource("/files")
    assert refused(gateway.delete_resource, restApiId=rest.id, resourceId=rest.root).status == 400


def test_methods_and_integrations(api, rest):
    gateway = api.apigateway
    named = rest.method("GET", "/")
    assert gateway.get_method(**named)["apiKeyRequired"] is False
    made = gateway.put_integration(**named, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    assert (made["passthroughBehavior"], made["timeoutInMillis"], made["cacheNamespace"], made["cacheKeyParameters"]) == (
        "WHEN_NO_MATCH", 29000, rest.root, [],
    )  # fmt: skip
    gateway.put_method_response(**named, statusCode="200")
    gateway.put_integration_response(**named, statusCode="200", responseTemplates={"application/json": "{}"})
    shown = gateway.get_method(**named)
    assert shown["methodIntegration"]["integrationResponses"]["200"]["statusCode"] == "200"
    assert shown["methodResponses"] == {"200": {"statusCode": "200"}}
    embedded = gateway.get_resources(restApiId=rest.id, embed=["methods"])["items"][0]
    assert embedded["resourceMethods"]["GET"]["methodIntegration"]["type"] == "MOCK"
    assert gateway.get_resources(restApiId=rest.id)["items"][0]["resourceMethods"] == {"GET": {}}
    lost = {**named, "httpMethod": "POST"}
    check_refused("NotFoundException", 404, "Invalid Method identifier specified", gateway.get_method, **lost)
    check_refused("NotFoundException", 404, "Invalid Response status code specified", gateway.get_method_response, **named, statusCode="404")
    check_refused(
        "BadRequestException", 400, "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY",
        gateway.put_method, **{**named, "httpMethod": "FETCH"}, authorizationType="NONE",
    )  # fmt: skip
    check_refused(
        "BadRequestException", 400,
        "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.",
        gateway.put_method, **{**named, "httpMethod": "PUT"}, authorizationType="CUSTOM", authorizerId="zzzzzz",
    )  # fmt: skip
    check_refused("BadRequestException", 400, "Enumeration value for HttpMethod must be non-empty", gateway.put_integration, **named, type="AWS_PROXY", uri=make.function_uri(FOREIGN))
    check_refused("BadRequestException", 400, "Invalid ARN specified in the request", gateway.put_integration, **named, type="AWS_PROXY", integrationHttpMethod="POST", uri="nonsense")
    refusal = refused(gateway.put_integration, **named, type="NONSENSE")
    assert refusal.code == "ValidationException" and "putIntegrationInput.type" in refusal.message


def test_authorizers(api, rest):
    gateway = api.apigateway
    uri = make.function_uri(FOREIGN)
    token = rest.authorizer("token", FOREIGN)
    assert re.fullmatch("[a-z0-9]{6}", token)
    shown = gateway.get_authorizer(restApiId=rest.id, authorizerId=token)
    shown.pop("ResponseMetadata")
    assert shown == {
        "id": token, "name": "token", "type": "TOKEN", "authType": "custom", "authorizerUri": uri,
        "identitySource": "method.request.header.Authorizer",
    }  # fmt: skip
    sources = "method.request.header.A, method.request.querystring.B"
    request = gateway.create_authorizer(restApiId=rest.id, name="request", type="REQUEST", authorizerUri=uri, identitySource=sources, authorizerResultTtlInSeconds=0)
    assert (request["identitySource"], request["authorizerResultTtlInSeconds"]) == (sources, 0)
    patch = [{"op": "replace", "path": "/authorizerResultTtlInSeconds", "value": "60"}]
    assert gateway.update_authorizer(restApiId=rest.id, authorizerId=token, patchOperations=patch)["authorizerResultTtlInSeconds"] == 60
    given = {"restApiId": rest.id, "type": "TOKEN", "authorizerUri": uri, "identitySource": "method.request.header.A"}
    make_one = gateway.create_authorizer
    check_refused("BadRequestException", 400, "Authorizer name must be unique. Authorizer token already exists in this RestApi.", make_one, **given, name="token")
    refusal = refused(make_one, **{**given, "type": "MAGIC"}, name="x")
    assert refusal.code == "ValidationException"
    assert refusal.message.startswith("1 validation error detected: Value 'MAGIC' at 'createAuthorizerInput.type' failed to satisfy constraint:")
    for wrong in (
        {"authorizerUri": "nonsense"},
        {"identitySource": "method.request.path.petId"},
        {"identitySource": ""},
        {"authorizerResultTtlInSeconds": 3601},
        {"type": "REQUEST", "identitySource": "", "authorizerResultTtlInSeconds": 300},
        {"identitySource": "method.request.header.A, method.request.header.B"},
        {"identityValidationExpression": "("},
    ):
        refusal = refused(make_one, **{**given, **wrong}, name="wrong")
        assert refusal.status == 400, (wrong, refusal)
    check_refused(
        "ConflictException", 409, "Unable to complete operation due to concurrent modification. Please try again later.",
        make_one, **{**given, "restApiId": "zzzzzzzzzz"}, name="x",
    )  # fmt: skip
    check_refused("NotFoundException", 404, "Invalid Authorizer identifier specified", gateway.get_authorizer, restApiId=rest.id, authorizerId="zzzzzz")
    assert {a["name"] for a in gateway.get_authorizers(restApiId=rest.id)["items"]} == {"token", "request"}
    rest.mock("GET", "/used", authorizer=token)
    check_refused(
        "ConflictException", 409, "Cannot delete authorizer 'token', is referenced in method: /used/GET",
        gateway.delete_authorizer, restApiId=rest.id, authorizerId=token,
    )  # fmt: skip
    assert gateway.delete_authorizer(restApiId=rest.id, authorizerId=request["id"])["ResponseMetadata"]["HTTPStatusCode"] == 202


def test_ten_authorizers_are_the_limit(rest, api):
    for number in range(10):
        rest.authorizer(f"a{number}", FOREIGN)
    answer = raw(api, "POST", f"/restapis/{rest.id}/authorizers", {
        "name": "eleventh", "type": "TOKEN", "authorizerUri": make.function_uri(FOREIGN), "identitySource": "method.request.header.A",
    })  # fmt: skip
    assert (answer.status, answer.error_type) == (429, "LimitExceededException") and answer.header("Retry-After")


def test_a_deployment_is_a_snapshot(api, server, rest):
    rest.mock("GET", "/", '{"version":1}')
    first = rest.deploy("prod")
    gateway = api.apigateway
    named = {"restApiId": rest.id, "resourceId": rest.root, "httpMethod": "GET"}
    gateway.put_integration_response(**named, statusCode="200", responseTemplates={"application/json": '{"version":2}'})
    ask = lambda: wire.invoke(server.port, rest.id, "prod").json()["version"]  # noqa: E731
    assert ask() == 1, "an edit is invisible until the next deployment"
    second = rest.deploy("prod")
    assert ask() == 2
    patch = [{"op": "replace", "path": "/deploymentId", "value": first}]
    gateway.update_stage(restApiId=rest.id, stageName="prod", patchOperations=patch)
    assert ask() == 1, "pointing a stage back is a roll-back"
    check_refused(
        "BadRequestException", 400, "Active stages pointing to this deployment must be moved or deleted",
        gateway.delete_deployment, restApiId=rest.id, deploymentId=first,
    )  # fmt: skip
    assert gateway.delete_deployment(restApiId=rest.id, deploymentId=second)["ResponseMetadata"]["HTTPStatusCode"] == 202
    gateway.delete_stage(restApiId=rest.id, stageName="prod")
    assert wire.invoke(server.port, rest.id, "prod").status == 403


def test_an_empty_api_cannot_be_deployed(api, rest):
    check_refused("BadRequestException", 400, "The REST API doesn't contain any methods", api.apigateway.create_deployment, restApiId=rest.id)
    rest.method("GET", "/")
    check_refused("BadRequestException", 400, "No integration defined for method", api.apigateway.create_deployment, restApiId=rest.id)


def test_stages_and_their_variables(api, server, rest):
    gateway = api.apigateway
    rest.mock("GET", "/", '{"who":"$stageVariables.who"}')
    deployment = gateway.create_deployment(restApiId=rest.id)["id"]
    made = gateway.create_stage(restApiId=rest.id, stageName="one", deploymentId=deployment, variables={"who": "first"})
    assert (made["cacheClusterEnabled"], made["methodSettings"], made["tracingEnabled"]) == (False, {}, False)
    assert wire.invoke(server.port, rest.id, "one").json() == {"who": "first"}
    patch = [{"op": "replace", "path": "/variables/who", "value": "second"}]
    gateway.update_stage(restApiId=rest.id, stageName="one", patchOperations=patch)
    assert wire.invoke(server.port, rest.id, "one").json() == {"who": "second"}, "live without a deployment"
    check_refused("BadRequestException", 400, "Deployment id does not exist", gateway.create_stage, restApiId=rest.id, stageName="two", deploymentId="zzzzzz")
    check_refused("ConflictException", 409, "Stage already exists", gateway.create_stage, restApiId=rest.id, stageName="one", deploymentId=deployment)
    assert refused(gateway.create_stage, restApiId=rest.id, stageName="not/good", deploymentId=deployment).status == 400
    refusal = refused(gateway.get_stage, restApiId=rest.id, stageName="nowhere")
    assert (refusal.code, refusal.message.lower()) == ("NotFoundException", "invalid stage identifier specified")


REFUSED = [
    ("create_rest_api", {"name": "x", "binaryMediaTypes": ["image/png"]}, "binaryMediaTypes"),
    ("create_rest_api", {"name": "x", "minimumCompressionSize": 10}, "minimumCompressionSize"),
    ("create_rest_api", {"name": "x", "endpointConfiguration": {"types": ["PRIVATE"]}}, "PRIVATE"),
    ("put_method", {"authorizationType": "NONE", "requestParameters": {"method.request.header.X": True}}, "requestParameters"),
    ("put_method", {"authorizationType": "NONE", "requestModels": {"application/json": "Empty"}}, "requestModels"),
    ("put_integration", {"type": "HTTP_PROXY", "integrationHttpMethod": "GET", "uri": "http://127.0.0.1:1/"}, "HTTP_PROXY"),
    ("put_integration", {"type": "MOCK", "requestTemplates": {"application/json": "#set($x = 1){\"statusCode\":200}"}}, "#set"),
    ("create_deployment", {"stageName": "s", "cacheClusterEnabled": True, "cacheClusterSize": "0.5"}, "cacheCluster"),
    ("create_deployment", {"stageName": "s", "canarySettings": {"percentTraffic": 10.0}}, "canary"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "given", "names"), REFUSED, ids=[f"{r[0]}-{r[2]}" for r in REFUSED])
def test_what_is_not_enforced_is_refused_by_name(api, rest, operation, given, names):
    if operation.startswith("put_"):
        method = "POST" if operation == "put_method" else "GET"
        if operation == "put_integration":
            rest.method("GET", "/")
        given = {"restApiId": rest.id, "resourceId": rest.root, "httpMethod": method, **given}
    elif operation == "create_deployment":
        rest.mock("GET", "/")
        given = {"restApiId": rest.id, **given}
    before = len(api.apigateway.get_rest_apis(limit=500)["items"])
    refusal = refused(getattr(api.apigateway, operation), **given)
    assert refusal.status in (400, 501) and names in refusal.message and "not supported" in refusal.message, refusal
    assert len(api.apigateway.get_rest_apis(limit=500)["items"]) == before


@pytest.mark.parametrize("operation", ["get_client_certificates", "get_domain_names", "get_vpc_links", "get_sdk_types"])
def test_operations_that_do_not_exist_yet_say_so(api, operation):
    refusal = refused(getattr(api.apigateway, operation))
    assert refusal.status == 501 and refusal.code == "NotImplementedException", refusal


def test_patches_that_cannot_be_applied_change_nothing(api, rest):
    gateway = api.apigateway
    steps = [{"op": "replace", "path": "/name", "value": "renamed"}, {"op": "replace", "path": "/nonsense", "value": "x"}]
    refusal = refused(gateway.update_rest_api, restApiId=rest.id, patchOperations=steps)
    assert (refusal.code, refusal.message) == ("BadRequestException", "Invalid patch path /nonsense")
    assert gateway.get_rest_api(restApiId=rest.id)["name"] != "renamed", "all or nothing"
    gateway.update_rest_api(restApiId=rest.id, patchOperations=steps[:1])
    assert gateway.get_rest_api(restApiId=rest.id)["name"] == "renamed"


def test_members_of_a_wrong_type_or_none_at_all(api):
    answer = raw(api, "POST", "/restapis", {"name": True})
    assert (answer.status, answer.error_type) == (400, "SerializationException")
    assert answer.json()["message"] == "class java.lang.Boolean can not be converted to an String"
    answer = raw(api, "POST", "/restapis", {})
    assert answer.status == 400
    answer = raw(api, "POST", "/restapis", {"name": ""})
    assert answer.status == 400


def test_tags(api, rest):
    arn = f"arn:aws:apigateway:us-east-1::/restapis/{rest.id}"
    gateway = api.apigateway
    assert gateway.tag_resource(resourceArn=arn, tags={"team": "a", "stage": "x"})["ResponseMetadata"]["HTTPStatusCode"] == 204
    gateway.untag_resource(resourceArn=arn, tagKeys=["stage"])
    assert gateway.get_tags(resourceArn=arn)["tags"] == {"team": "a"}
    assert gateway.get_rest_api(restApiId=rest.id)["tags"] == {"team": "a"}


def test_another_account_does_not_see_an_api(stranger, rest):
    refusal = refused(stranger.apigateway.get_rest_api, restApiId=rest.id)
    assert refusal.message == f"Invalid API identifier specified {stranger.account}:{rest.id}"
    for call in (stranger.apigateway.delete_rest_api, stranger.apigateway.get_resources, stranger.apigateway.get_authorizers):
        assert refused(call, restApiId=rest.id).code == "NotFoundException"
    assert rest.aws.apigateway.get_rest_api(restApiId=rest.id)


def test_regions_are_apart(api, rest):
    from aws import Aws

    elsewhere = Aws(api.endpoint, api.identity, "eu-west-1")
    assert refused(elsewhere.apigateway.get_rest_api, restApiId=rest.id).code == "NotFoundException"
