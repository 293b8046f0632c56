"""Gateway responses: what the gateway answers by itself, with a status, headers and a body of one's own."""

import json

import pytest

import make
import wire
from aws import check_refused

TYPES = {
    "ACCESS_DENIED", "API_CONFIGURATION_ERROR", "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE", "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS", "DEFAULT_4XX", "DEFAULT_5XX", "EXPIRED_TOKEN", "INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT",
    "INVALID_API_KEY", "INVALID_SIGNATURE", "MISSING_AUTHENTICATION_TOKEN", "QUOTA_EXCEEDED", "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND", "THROTTLED", "UNAUTHORIZED", "UNSUPPORTED_MEDIA_TYPE", "WAF_FILTERED",
}  # fmt: skip
BUILT_IN = {"application/json": '{"message":$context.error.messageString}'}


@pytest.fixture(scope="module")
def guard(api):
    arn = make.function(api, "dressed", "token_authorizer.js")
    make.permit(api, arn, None)
    return arn


@pytest.fixture
def rest(api, guard, unique):
    rest = make.Api.create(api, unique("dressed"))
    rest.mock("GET", "/pets/{petId}", authorizer=rest.authorizer("guard", guard, authorizerResultTtlInSeconds=0))
    rest.mock("GET", "/keyed", apiKeyRequired=True)
    yield rest
    rest.delete()


def put(rest, kind: str, **settings) -> dict:
    return rest.aws.apigateway.put_gateway_response(restApiId=rest.id, responseType=kind, **settings)


def ask(server, rest, token: str | None = None, path="/pets/12", headers=(), query=""):
    sent = ([] if token is None else [("Authorizer", token)]) + list(headers)
    return wire.invoke(server.port, rest.id, "Dev", path, headers=sent, query=query)


def test_all_kinds_are_shown_as_they_are_built_in(rest):
    items = rest.aws.apigateway.get_gateway_responses(restApiId=rest.id)["items"]
    assert {item["responseType"] for item in items} == TYPES and len(items) == 21
    for item in items:
        assert item["defaultResponse"] is True and item["responseTemplates"] == BUILT_IN and item["responseParameters"] == {}
    statuses = {item["responseType"]: item.get("statusCode") for item in items}
    expected = {"ACCESS_DENIED": "403", "UNAUTHORIZED": "401", "THROTTLED": "429", "DEFAULT_4XX": None, "DEFAULT_5XX": None}
    assert {kind: statuses[kind] for kind in expected} == expected


def test_a_whole_answer_of_ones_own(server, rest):
    put(
        rest,
        "UNAUTHORIZED",
        statusCode="418",
        responseParameters={
            "gatewayresponse.header.WWW-Authenticate": "'Bearer'",
            "gatewayresponse.header.X-Path": "method.request.path.petId",
            "gatewayresponse.header.X-Query": "method.request.querystring.q",
            "gatewayresponse.header.X-Sent": "method.request.header.X-Own",
            "gatewayresponse.header.X-Request": "context.requestId",
            "gatewayresponse.header.X-Stage-Variable": "stageVariables.colour",
        },
        responseTemplates={
            "application/json": '{"why":$context.error.messageString,"type":"$context.error.responseType",'
            '"at":"$context.stage$context.resourcePath","id":"$context.requestId","costs":"$5"}'
        },
    )
    before = ask(server, rest)
    assert before.status == 403, "there is no stage yet"
    rest.deploy(variables={"colour": "green"})
    answer = ask(server, rest, headers=[("X-Own", "mine")], query="q=1&q=2")
    request = answer.header("x-amzn-RequestId")
    assert answer.status == 418 and answer.error_type == "UnauthorizedException"
    assert answer.json() == {
        "why": "Unauthorized", "type": "UNAUTHORIZED", "at": "Dev/pets/{petId}", "id": request, "costs": "$5",
    }  # fmt: skip
    found = {name: answer.header(name) for name in ("X-Path", "X-Query", "X-Sent", "X-Request", "X-Stage-Variable")}
    assert found == {"X-Path": "12", "X-Query": "2", "X-Sent": "mine", "X-Request": request, "X-Stage-Variable": "green"}
    assert "Bearer" in [value for name, value in answer.headers if name.lower().endswith("www-authenticate")]
    assert ask(server, rest, "allow").status == 200, "an answer that is no refusal is left alone"


def test_they_hold_from_the_next_deployment_on(server, rest):
    rest.deploy()
    put(rest, "UNAUTHORIZED", statusCode="418")
    assert ask(server, rest).status == 401
    rest.deploy()
    answer = ask(server, rest)
    assert (answer.status, answer.json()) == (418, {"message": "Unauthorized"})
    rest.aws.apigateway.delete_gateway_response(restApiId=rest.id, responseType="UNAUTHORIZED")
    assert ask(server, rest).status == 418
    rest.deploy()
    assert ask(server, rest).status == 401


def test_the_class_of_a_status_dresses_what_has_nothing_of_its_own(server, rest):
    put(rest, "DEFAULT_4XX", statusCode="444", responseParameters={"gatewayresponse.header.X-Class": "'4'"})
    put(rest, "UNAUTHORIZED", responseTemplates={"application/json": '{"own":true}'})
    put(rest, "DEFAULT_5XX", responseTemplates={"application/json": '{"class":5,"was":$context.error.messageString}'})
    rest.deploy()
    unauthorized = ask(server, rest)
    assert (unauthorized.status, unauthorized.json()) == (401, {"own": True}), "what its own leaves out is built in"
    assert unauthorized.header("X-Class") is None
    denied, unkeyed, nowhere = ask(server, rest, "deny"), ask(server, rest, path="/keyed"), ask(server, rest, path="/x")
    for answer, error_type in (
        (denied, "AccessDeniedException"),
        (unkeyed, "ForbiddenException"),
        (nowhere, "MissingAuthenticationTokenException"),
    ):
        assert (answer.status, answer.error_type, answer.header("X-Class")) == (444, error_type, "4")
    broken = ask(server, rest, "neither")
    assert (broken.status, broken.json()) == (500, {"class": 5, "was": None})
    shown = {item["responseType"]: item for item in rest.aws.apigateway.get_gateway_responses(restApiId=rest.id)["items"]}
    assert (shown["ACCESS_DENIED"]["statusCode"], shown["ACCESS_DENIED"]["defaultResponse"]) == ("444", True)
    assert (shown["UNAUTHORIZED"]["statusCode"], shown["UNAUTHORIZED"]["defaultResponse"]) == ("401", False)


def test_a_refusal_may_show_what_the_authorizer_said(server, rest):
    put(
        rest,
        "ACCESS_DENIED",
        responseParameters={"gatewayresponse.header.X-Principal": "context.authorizer.principalId"},
        responseTemplates={
            "application/json": '{"message":$context.error.messageString,"principal":"$context.authorizer.principalId",'
            '"string":"$context.authorizer.stringKey","number":$context.authorizer.numberKey,"flag":$context.authorizer.booleanKey}'
        },
    )
    rest.deploy()
    answer = ask(server, rest, "deny")
    assert (answer.status, answer.error_type) == (403, "AccessDeniedException")
    message = "User is not authorized to access this resource with an explicit deny in an identity-based policy"
    assert answer.json() == {"message": message, "principal": "user", "string": "stringval", "number": 123, "flag": True}
    assert answer.header("X-Principal") == "user"


def test_the_template_that_the_client_accepts(server, rest):
    put(rest, "UNAUTHORIZED", responseTemplates={"application/json": '{"as":"json"}', "application/xml": "<as>xml</as>"})
    rest.deploy()
    for accept, media, body in [
        ("application/xml", "application/xml", b"<as>xml</as>"),
        ("application/json", "application/json", b'{"as":"json"}'),
        ("text/plain", "application/json", b'{"as":"json"}'),
    ]:
        answer = ask(server, rest, headers=[("Accept", accept)])
        assert (answer.status, answer.header("Content-Type"), answer.body) == (401, media, body), accept


def test_what_a_client_sends_breaks_no_header(server, rest):
    put(rest, "UNAUTHORIZED", responseParameters={"gatewayresponse.header.X-Echo": "method.request.querystring.q"})
    rest.deploy()
    answer = ask(server, rest, query="q=a%0d%0aX-Injected:%201")
    assert answer.status == 401 and answer.header("X-Injected") is None and answer.header("X-Echo") is None
    assert ask(server, rest, query="q=plain").header("X-Echo") == "plain"


def test_fields_that_are_the_gateways_own(server, rest):
    """A tenant's fields neither reframe an answer nor pass for the gateway's."""
    names = ("Content-Length", "Transfer-Encoding", "Connection", "x-amzn-RequestId", "x-portcullis-decision")
    put(rest, "UNAUTHORIZED", responseParameters={f"gatewayresponse.header.{name}": "'5'" for name in names})
    rest.deploy()
    answer = ask(server, rest)
    assert (answer.status, answer.json()) == (401, {"message": "Unauthorized"})
    for name in names[:-1]:
        assert [value for key, value in answer.headers if key.lower() == f"x-amzn-remapped-{name}".lower()] == ["5"], name
    for name in names:
        assert "5" not in [value for key, value in answer.headers if key.lower() == name.lower()], name
    for code in ("204", "304"):
        put(rest, "UNAUTHORIZED", statusCode=code)
        rest.deploy()
        with wire.Connection(server.port) as connection:
            target = f"/_aws/execute-api/{rest.id}/Dev/pets/12"
            connection.send(wire.head("GET", target, [("Host", "x")]))
            bare = connection.receive("GET")
            connection.send(wire.head("GET", target, [("Host", "x"), ("Authorizer", "allow")]))
            assert (bare.status, bare.body, connection.receive("GET").status) == (int(code), b"", 200)


def test_a_throttled_and_an_unkeyed_call(server, api, rest, unique):
    for kind, code in (("INVALID_API_KEY", "402"), ("THROTTLED", "430"), ("QUOTA_EXCEEDED", "431")):
        put(rest, kind, statusCode=code)
    rest.deploy()
    assert ask(server, rest, path="/keyed").status == 402
    for number, (limit, code) in enumerate([({"throttle": {"burstLimit": 1, "rateLimit": 0.001}}, 430), ({"quota": {"limit": 1, "period": "DAY"}}, 431)]):
        value = unique("a-value-of-twenty-characters")
        make.usage_plan(api, f"dressed-{number}", rest.id, "Dev", keys=[make.api_key(api, "dressed", value=value)], **limit)
        assert [ask(server, rest, path="/keyed", headers=[("x-api-key", value)]).status for _ in range(2)] == [200, code]


def test_put_update_show_and_delete(rest):
    gateway = rest.aws.apigateway
    named = {"restApiId": rest.id, "responseType": "ACCESS_DENIED"}
    made = put(rest, "ACCESS_DENIED", statusCode="404")
    assert (made["responseType"], made["statusCode"], made["defaultResponse"]) == ("ACCESS_DENIED", "404", False)
    assert made["responseTemplates"] == BUILT_IN
    header = "gatewayresponse.header.Access-Control-Allow-Origin"
    steps = [
        {"op": "replace", "path": "/statusCode", "value": "405"},
        {"op": "add", "path": f"/responseParameters/{header}", "value": "'*'"},
    ]
    gateway.update_gateway_response(**named, patchOperations=steps)
    shown = gateway.get_gateway_response(**named)
    assert (shown["statusCode"], shown["responseParameters"]) == ("405", {header: "'*'"})
    gateway.delete_gateway_response(**named)
    assert gateway.get_gateway_response(**named)["defaultResponse"] is True
    check_refused("NotFoundException", 404, None, gateway.delete_gateway_response, **named)
    for code in ("99", "600"):
        check_refused("ValidationException", 400, None, gateway.put_gateway_response, **named, statusCode=code)
    for settings in (
        {"statusCode": "199"},
        {"responseParameters": {"gatewayresponse.header.X": "nonsense"}},
        {"responseParameters": {"method.response.header.X": "'x'"}},
        {"responseParameters": {"gatewayresponse.header.X": "integration.response.header.X"}},
        {"responseParameters": {"gatewayresponse.header.A B": "'x'"}},
    ):
        check_refused("BadRequestException", 400, None, gateway.put_gateway_response, **named, **settings)
    assert gateway.get_gateway_response(**named)["defaultResponse"] is True


def test_with_the_command_line(server, rest):
    rest.aws.cli(
        "apigateway", "put-gateway-response", "--rest-api-id", rest.id, "--response-type", "UNAUTHORIZED",
        "--status-code", "401", "--response-templates", json.dumps({"application/json": '{"cli":$context.error.messageString}'}),
    )  # fmt: skip
    shown = rest.aws.cli("apigateway", "get-gateway-responses", "--rest-api-id", rest.id).json()["items"]
    assert len(shown) == 21 and [i["responseType"] for i in shown if not i["defaultResponse"]] == ["UNAUTHORIZED"]
    rest.aws.cli("apigateway", "create-deployment", "--rest-api-id", rest.id, "--stage-name", "Dev")
    assert ask(server, rest).json() == {"cli": "Unauthorized"}
