"""TestInvokeAuthorizer and TestInvokeMethod with the AWS CLI: the API as it is now, never deployed, over two accounts."""

import json

import pytest

import make
from aws import Aws, check_refused, refused


@pytest.fixture(scope="module")
def tried(api, security):
    """An undeployed API, the Security account's authorizer function nobody is permitted to run yet, an echo function."""
    guard = make.function(security, "test-invoke-guard", "token_authorizer.js")
    echo = make.function(api, "test-invoke-echo", "echo_proxy.py", MemorySize=256)
    rest = make.Api.create(api, "test-invoke")
    authorizer = rest.authorizer("guard", guard, identityValidationExpression="[a-z]+")
    rest.mock("GET", "/mock", '{"stage":"$context.stage"}', authorizer=authorizer)
    rest.proxy("ANY", "/pets/{petId}", echo, authorizer=authorizer)
    return rest, authorizer, guard, echo


def ask(api, rest, authorizer, *more):
    return api.cli(
        "apigateway", "test-invoke-authorizer", "--rest-api-id", rest.id, "--authorizer-id", authorizer, *more
    ).json()


def run(api, rest, path, verb, *more):
    return api.cli(
        "apigateway", "test-invoke-method", "--rest-api-id", rest.id, "--resource-id", rest.resources[path],
        "--http-method", verb, *more,
    ).json()


def test_an_authorizer_needs_permission_and_then_answers_its_policy(api, security, tried):
    rest, authorizer, guard, _ = tried
    headers = ("--headers", "Authorizer=allow")
    refusal = ask(api, rest, authorizer, *headers)
    assert (refusal["clientStatus"], refusal.get("policy")) == (500, None)
    assert "Execution failed due to configuration error: Invalid permissions on Lambda function\n" in refusal["log"]
    make.permit(security, guard, f"{rest.arn}/authorizers/{authorizer}")
    answer = ask(api, rest, authorizer, *headers)
    assert (answer["clientStatus"], answer["principalId"]) == (0, "user")
    assert isinstance(answer["latency"], int)
    assert json.loads(answer["policy"])["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{rest.arn}/ESTestInvoke-stage/GET/"}
    ]
    lines = answer["log"].splitlines()
    assert lines[0].startswith("Execution log for request ")
    assert f" : Starting authorizer: {authorizer} for request: " in lines[1]
    assert lines[-1].endswith(" UTC 20" + lines[-1].split(" UTC 20")[1][:2] + " : Successfully completed authorizer execution")
    denied = ask(api, rest, authorizer, "--headers", "Authorizer=deny", "--path-with-query-string", "/pets/1?a=b")
    assert denied["clientStatus"] == 0 and '"Effect":"Deny"' in denied["policy"]
    assert f"{rest.arn}/ESTestInvoke-stage/GET/" in denied["policy"]
    for more, status in (
        ((), 401),
        (("--headers", "Authorizer=NOT-THE-FORM"), 401),
        (("--headers", "Authorizer=unauthorized"), 401),
        (("--headers", "Authorizer=neither"), 500),
        (("--multi-value-headers", json.dumps({"authorizer": ["deny", "allow"]})), 0),
    ):
        assert ask(api, rest, authorizer, *more)["clientStatus"] == status, more


def test_a_method_runs_without_its_authorizer(api, tried):
    rest, _, _, echo = tried
    mocked = run(api, rest, "/mock", "GET")
    assert (mocked["status"], mocked["body"]) == (200, '{"stage":"test-invoke-stage"}')
    assert mocked["headers"] == {"Content-Type": "application/json"}
    assert mocked["multiValueHeaders"] == {"Content-Type": ["application/json"]}
    assert " : HTTP Method: GET, Resource Path: /mock\n" in mocked["log"]
    assert mocked["log"].endswith(" : Method completed with status: 200\n")
    call = ("--path-with-query-string", "/pets/7?q=1", "--headers", "X-Own=a", "--body", "hello", "--stage-variables", "v=1")
    refusal = run(api, rest, "/pets/{petId}", "POST", *call)
    assert (refusal["status"], json.loads(refusal["body"])) == (500, {"message": "Internal server error"})
    assert "Invalid permissions on Lambda function\n" in refusal["log"]
    make.permit(api, echo, f"{rest.arn}/test-invoke-stage/*/pets/*")
    answer = run(api, rest, "/pets/{petId}", "POST", *call)
    assert answer["status"] == 200, answer
    event = json.loads(answer["body"])
    assert (event["httpMethod"], event["body"], event["pathParameters"]) == ("POST", "hello", {"petId": "7"})
    assert (event["queryStringParameters"], event["stageVariables"]) == ({"q": "1"}, {"v": "1"})
    assert event["requestContext"]["stage"] == "test-invoke-stage"


def test_who_may_not_post_may_not_test_and_neither_call_is_in_a_trail(server, api, stranger, tried):
    rest, authorizer, _, _ = tried
    named = {"restApiId": rest.id, "authorizerId": authorizer}
    method = {"restApiId": rest.id, "resourceId": rest.resources["/mock"], "httpMethod": "GET"}
    reader = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "apigateway:GET", "Resource": "*"}],
    }
    user = Aws(server.endpoint, make.user(api, "test-invoke-reader", reader))
    for call, parameters in (("test_invoke_authorizer", named), ("test_invoke_method", method)):
        refusal = refused(getattr(user.apigateway, call), **parameters)
        assert (refusal.code, refusal.status) == ("AccessDeniedException", 403)
        refusal = refused(getattr(stranger.apigateway, call), **parameters)
        assert (refusal.code, refusal.status) == ("NotFoundException", 404)
        assert getattr(api.apigateway, call)(**parameters)["log"]
    check_refused(
        "NotFoundException", 404, "Invalid Authorizer identifier specified",
        api.apigateway.test_invoke_authorizer, restApiId=rest.id, authorizerId="nobody",
    )
    for name in ("TestInvokeAuthorizer", "TestInvokeMethod"):
        assert make.events(api, "EventName", name) == []
        assert make.events(stranger, "EventName", name) == []
