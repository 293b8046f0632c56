"""The resource policy of an API: how it is kept, and what it decides beside each kind of authorization."""

import json

import pytest

import make
import wire
from aws import check_refused
from conftest import API, SECURITY

INVOKE = "execute-api:Invoke"


def statement(effect: str, resource="execute-api:/*", **more) -> dict:
    return {"Effect": effect, "Principal": "*", "Action": INVOKE, "Resource": resource, **more}


def policy(*statements) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def from_address(address: str) -> dict:
    return {"IpAddress": {"aws:SourceIp": address}}


@pytest.fixture
def rest(api, unique):
    rest = make.Api.create(api, unique("governed"))
    rest.mock("GET", "/pets")
    rest.mock("GET", "/stores")
    yield rest
    rest.delete()


def ask(server, rest, path="/pets", ip="203.0.113.10", headers=()):
    return wire.invoke(server.port, rest.id, "Dev", path, headers=[("X-Forwarded-For", ip), *headers])


def check_denied(answer: wire.Answer, rest, end: str, path="pets") -> None:
    arn = f"arn:aws:execute-api:us-east-1:********{API[-4:]}:{rest.id}/Dev/GET/{path}"
    expected = {"Message": f"User: anonymous is not authorized to perform: {INVOKE} on resource: {arn} {end}"}
    assert (answer.status, answer.error_type, answer.json()) == (403, "AccessDeniedException", expected)


SILENT = f"because no resource-based policy allows the {INVOKE} action"
DENIED = "with an explicit deny in a resource-based policy"


def test_an_open_method_under_a_policy(server, rest):
    inside, outside = "192.0.2.7", "203.0.113.10"
    rest.policy(policy(statement("Allow", "execute-api:/Dev/GET/pets", Condition=from_address("192.0.2.0/24"))))
    rest.deploy()
    assert ask(server, rest, ip=inside).status == 200
    check_denied(ask(server, rest, ip=outside), rest, SILENT)
    check_denied(ask(server, rest, "/stores", inside), rest, SILENT, "stores")
    rest.policy(policy(statement("Allow"), statement("Deny", Condition=from_address(inside + "/32"))))
    rest.deploy()
    assert ask(server, rest, ip=outside).status == 200
    check_denied(ask(server, rest, ip=inside), rest, DENIED)
    named = statement("Allow", Principal={"AWS": f"arn:aws:iam::{SECURITY}:root"})
    rest.policy(policy(named))
    rest.deploy()
    check_denied(ask(server, rest), rest, SILENT)
    rest.policy(None)
    rest.deploy()
    assert ask(server, rest).status == 200


def test_a_policy_given_at_creation_is_kept_and_shown(server, api, unique):
    document = policy(statement("Deny", ["execute-api:/Dev/GET/pets"]))
    rest = make.Api.create(api, unique("created"), policy=json.dumps(document))
    rest.mock("GET", "/pets")
    rest.deploy()
    check_denied(ask(server, rest), rest, DENIED)
    shown = api.apigateway.get_rest_api(restApiId=rest.id)["policy"]
    # AWS escapes the document once more than JSON does.
    kept = json.loads(json.loads(f'"{shown}"'))
    assert kept["Statement"][0]["Effect"] == "Deny"
    text = api.cli("apigateway", "get-rest-api", "--rest-api-id", rest.id, "--query", "policy", "--output", "text").stdout
    assert text.strip() == shown
    rest.delete()


def test_one_stage_only(server, rest):
    rest.policy(policy(statement("Allow", "execute-api:/Prod/*")))
    rest.deploy("Dev")
    rest.deploy("Prod")
    check_denied(ask(server, rest), rest, SILENT)
    assert wire.invoke(server.port, rest.id, "Prod", "/pets").status == 200


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        "[]",
        json.dumps({"Version": "2012-10-17"}),
        json.dumps(policy({"Effect": "Allow", "Action": INVOKE, "Resource": "*"})),
        json.dumps(policy(statement("Perhaps"))),
        json.dumps(policy(statement("Allow", Condition={"NoSuch": {"aws:SourceIp": "*"}}))),
        json.dumps(policy(statement("Allow", Principal={"AWS": f"arn:aws:iam::{API}:user/nobody-of-that-name"}))),
    ],
)
def test_what_is_no_policy_is_refused_and_changes_nothing(server, api, rest, unique, document):
    rest.policy(policy(statement("Deny")))
    step = [{"op": "replace", "path": "/policy", "value": document}]
    check_refused("BadRequestException", 400, None, api.apigateway.update_rest_api, restApiId=rest.id, patchOperations=step)
    check_refused("BadRequestException", 400, None, api.apigateway.create_rest_api, name=unique("refused"), policy=document)
    rest.deploy()
    check_denied(ask(server, rest), rest, DENIED)
