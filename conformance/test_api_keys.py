"""API keys and usage plans: who may call a method that requires a key, how often, and from when on no longer."""

import json

import pytest

import make
import wire
from aws import check_refused
from conftest import API

FORBIDDEN = b'{"message":"Forbidden"}'
# So slow that no token comes back while a test runs.
NO_REFILL = 0.001


@pytest.fixture
def rest(api, unique):
    """An API whose method requires a key, on two stages; `/open` requires none."""
    rest = make.Api.create(api, unique("keyed"))
    rest.mock("GET", "/", apiKeyRequired=True)
    rest.mock("GET", "/open")
    rest.deploy("Dev")
    rest.deploy("Prod")
    yield rest
    rest.delete()


@pytest.fixture
def key(api, unique):
    """Id and value of a key."""
    value = unique("a-value-of-twenty-characters-and-more")
    id = make.api_key(api, unique("key"), value=value)
    return id, value


def ask(server, rest, value: str | None = None, stage="Dev", path="/", name="x-api-key"):
    return wire.invoke(server.port, rest.id, stage, path, headers=[] if value is None else [(name, value)])


def check_forbidden(answer: wire.Answer) -> None:
    assert (answer.status, answer.error_type, answer.body) == (403, "ForbiddenException", FORBIDDEN)


def check_too_many(answer: wire.Answer, error_type: str, message: str) -> None:
    assert (answer.status, answer.error_type, answer.json()) == (429, error_type, {"message": message})


def patch(call, op: str, path: str, value: str | None = None, **named) -> None:
    step = {"op": op, "path": path} | ({} if value is None else {"value": value})
    call(**named, patchOperations=[step])


def test_a_method_wants_a_key_of_a_plan_of_its_stage(server, api, rest, key):
    id, value = key
    check_forbidden(ask(server, rest))
    check_forbidden(ask(server, rest, "no-key-at-all-has-this-value"))
    check_forbidden(ask(server, rest, value))
    make.usage_plan(api, "dev", rest.id, "Dev", keys=[id])
    answer = ask(server, rest, value)
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    assert ask(server, rest, value, name="X-API-Key").status == 200, "header names have no case"
    for wrong in (value.upper(), value[:-1], value + "x", ""):
        check_forbidden(ask(server, rest, wrong))
    check_forbidden(ask(server, rest, value, stage="Prod"))
    assert ask(server, rest, path="/open").status == 200
    both = wire.invoke(server.port, rest.id, "Dev", "/?x-api-key=" + value)
    check_forbidden(both)


def test_the_answers_reason_is_in_the_decision_and_the_value_is_not(server, api, rest, key):
    id, value = key
    decision = wire.decision(server.port, api.identity, ask(server, rest, value).decision).json()
    (step,) = decision["steps"]
    assert (step["step"], step["keyId"]) == ("apiKey", id)
    assert step["text"] == "the API key is in no usage plan that has this stage"
    assert value not in json.dumps(decision)
    assert any(f"--key-id {id}" in command for command in decision["repair"]), decision["repair"]


def test_a_key_that_is_switched_off_or_deleted(server, api, rest, key):
    id, value = key
    make.usage_plan(api, "off", rest.id, "Dev", keys=[id])
    update = api.apigateway.update_api_key
    assert ask(server, rest, value).status == 200
    patch(update, "replace", "/enabled", "false", apiKey=id)
    check_forbidden(ask(server, rest, value))
    patch(update, "replace", "/enabled", "true", apiKey=id)
    assert ask(server, rest, value).status == 200
    api.apigateway.delete_api_key(apiKey=id)
    check_forbidden(ask(server, rest, value))


def test_a_key_made_without_enabled_is_off(server, api, rest, unique):
    made = api.apigateway.create_api_key(name=unique("off"))
    assert made["enabled"] is False and len(made["value"]) >= 20
    make.usage_plan(api, "made-off", rest.id, "Dev", keys=[made["id"]])
    check_forbidden(ask(server, rest, made["value"]))


def test_what_leaves_a_plan_opens_nothing(server, api, rest, key):
    id, value = key
    plan = make.usage_plan(api, "left", rest.id, "Dev", keys=[id])
    gateway = api.apigateway
    assert ask(server, rest, value).status == 200
    gateway.delete_usage_plan_key(usagePlanId=plan, keyId=id)
    check_forbidden(ask(server, rest, value))
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=id, keyType="API_KEY")
    assert ask(server, rest, value).status == 200
    patch(gateway.update_usage_plan, "remove", "/apiStages", f"{rest.id}:Dev", usagePlanId=plan)
    check_forbidden(ask(server, rest, value))
    patch(gateway.update_usage_plan, "add", "/apiStages", f"{rest.id}:Prod", usagePlanId=plan)
    assert ask(server, rest, value, stage="Prod").status == 200
    patch(gateway.update_usage_plan, "remove", "/apiStages", f"{rest.id}:Prod", usagePlanId=plan)
    gateway.delete_usage_plan(usagePlanId=plan)
    check_forbidden(ask(server, rest, value, stage="Prod"))


def test_a_plans_rate_is_each_keys_own(server, api, rest, key, unique):
    (id, value), other = key, unique("another-value-of-twenty-characters")
    plan = make.usage_plan(
        api, "slow", rest.id, "Dev", throttle={"burstLimit": 1, "rateLimit": NO_REFILL},
        keys=[id, make.api_key(api, "other", value=other)],
    )  # fmt: skip
    assert ask(server, rest, value).status == 200
    check_too_many(ask(server, rest, value), "TooManyRequestsException", "Too Many Requests")
    assert ask(server, rest, other).status == 200
    assert ask(server, rest, path="/open").status == 200
    patch(api.apigateway.update_usage_plan, "replace", "/throttle/burstLimit", "3", usagePlanId=plan)
    assert [ask(server, rest, value).status for _ in range(4)] == [200, 200, 200, 429]


def test_a_plans_quota(server, api, rest, key):
    id, value = key
    plan = make.usage_plan(api, "few", rest.id, "Dev", keys=[id], quota={"limit": 2, "period": "MONTH"})
    assert [ask(server, rest, value).status for _ in range(2)] == [200, 200]
    check_too_many(ask(server, rest, value), "LimitExceededException", "Limit Exceeded")
    patch(api.apigateway.update_usage_plan, "replace", "/quota/limit", "3", usagePlanId=plan)
    assert [ask(server, rest, value).status for _ in range(2)] == [200, 429], "what was used goes on counting"


def test_a_stages_rate_holds_for_everybody(server, api, rest):
    values = {"/*/*/throttling/burstLimit": "1", "/*/*/throttling/rateLimit": str(NO_REFILL)}
    steps = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
    api.apigateway.update_stage(restApiId=rest.id, stageName="Dev", patchOperations=steps)
    assert ask(server, rest, path="/open").status == 200
    check_too_many(ask(server, rest, path="/open"), "TooManyRequestsException", "Too Many Requests")
    assert ask(server, rest, path="/open", stage="Prod").status == 200


def test_the_authorizers_key_counts_where_the_api_says_so(server, api, rest, key, unique):
    id, value = key
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]}
    script = [{"returns": {"principalId": "user", "policyDocument": document, "usageIdentifierKey": value}}]
    guard = make.function(
        api, unique("names-a-key"), "scripted_authorizer.js", Environment={"Variables": {"SCRIPT": json.dumps(script)}}
    )
    make.permit(api, guard, None)
    rest.mock("GET", "/guarded", authorizer=rest.authorizer("guard", guard, authorizerResultTtlInSeconds=0), apiKeyRequired=True)
    rest.deploy("Dev")
    make.usage_plan(api, "by-authorizer", rest.id, "Dev", keys=[id])

    def guarded(*more):
        return wire.invoke(server.port, rest.id, "Dev", "/guarded", headers=[("Authorizer", "allow"), *more])

    check_forbidden(guarded())
    assert guarded(("x-api-key", value)).status == 200
    patch(api.apigateway.update_rest_api, "replace", "/apiKeySource", "AUTHORIZER", restApiId=rest.id)
    rest.deploy("Dev")
    assert guarded().status == 200
    assert guarded(("x-api-key", "of-no-account-at-all-now")).status == 200
    check_forbidden(ask(server, rest, value))


def test_a_key_of_another_account_opens_nothing(server, api, security, rest, unique):
    value = unique("a-value-in-the-other-account")
    make.api_key(security, "theirs", value=value)
    make.usage_plan(api, "ours", rest.id, "Dev")
    check_forbidden(ask(server, rest, value))
    theirs = {"name": "theirs", "apiStages": [{"apiId": rest.id, "stage": "Dev"}]}
    check_refused("NotFoundException", 404, None, security.apigateway.create_usage_plan, **theirs)


def test_with_the_command_line(server, api, rest, unique):
    name = unique("cli")
    key = api.cli("apigateway", "create-api-key", "--name", name, "--enabled").json()
    plan = api.cli(
        "apigateway", "create-usage-plan", "--name", name, "--api-stages", f"apiId={rest.id},stage=Dev",
        "--throttle", "burstLimit=5,rateLimit=10", "--quota", "limit=100,offset=0,period=WEEK",
    ).json()  # fmt: skip
    assert plan["apiStages"] == [{"apiId": rest.id, "stage": "Dev"}] and plan["quota"]["period"] == "WEEK"
    added = api.cli(
        "apigateway", "create-usage-plan-key", "--usage-plan-id", plan["id"], "--key-type", "API_KEY", "--key-id", key["id"]
    ).json()
    assert (added["id"], added["type"]) == (key["id"], "API_KEY")
    assert ask(server, rest, key["value"]).status == 200
    listed = api.cli("apigateway", "get-api-keys", "--name-query", name, "--include-values").json()["items"]
    assert [(item["id"], item["value"]) for item in listed] == [(key["id"], key["value"])]
    api.cli("apigateway", "delete-api-key", "--api-key", key["id"])
    check_forbidden(ask(server, rest, key["value"]))


@pytest.mark.own
def test_keys_and_plans_survive_a_restart(own_server):
    from aws import Aws

    server = own_server()
    account = server.create_account(API, "api")
    server.start()
    api = Aws(server.endpoint, account)
    rest = make.Api.create(api, "kept")
    rest.mock("GET", "/", apiKeyRequired=True)
    rest.deploy()
    value = "a-value-that-survives-the-restart"
    make.usage_plan(api, "kept", rest.id, "Dev", keys=[make.api_key(api, "kept", value=value)])
    assert ask(server, rest, value).status == 200
    server.kill()
    server.start()
    assert ask(server, rest, value).status == 200
    check_forbidden(ask(server, rest))
