"""PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy: the policy of permissions, as a whole document.

Over plain HTTP with a signer of our own: the clients' models are of an earlier date than these operations.
"""

import json
from urllib.parse import quote

import pytest

import make
import wire
from conftest import API, SECURITY

GATEWAY = "apigateway.amazonaws.com"
STALE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def arn(security, unique):
    return make.function(security, unique("whole"), "token_authorizer.js")


def ask(server, aws, method, arn, body=None, query=""):
    path = "/2026-07-09/resource-policy/" + quote(arn, safe="")
    data = b"" if body is None else json.dumps(body).encode()
    return wire.signed(server.port, wire.Signing(aws.identity, "lambda"), method, path, query, body=data)


def statement(arn, **members):
    return {"Effect": "Allow", "Principal": {"Service": GATEWAY}, "Action": "lambda:InvokeFunction", "Resource": arn, **members}


def text(*statements):
    return json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": list(statements)}, separators=(",", ":"))


def put(server, aws, arn, *statements, **more):
    return ask(server, aws, "PUT", arn, {"Policy": text(*statements), **more})


def test_what_is_put_decides_the_next_call(server, api, security, arn, unique):
    rest = make.Api.create(api, unique("whole"))
    authorizer = rest.authorizer("guard", arn, authorizerResultTtlInSeconds=0)
    rest.mock("GET", "/", authorizer=authorizer)
    rest.deploy()

    def status():
        return wire.invoke(server.port, rest.id, "Dev", headers=[("Authorizer", "allow")]).status

    assert status() == 500, "nobody is permitted yet"
    own = {"ArnLike": {"AWS:SourceArn": f"{rest.arn}/authorizers/{authorizer}"}}
    answer = put(server, security, arn, statement(arn, Condition=own))
    assert answer.status == 200, answer.text
    assert status() == 200
    assert put(server, security, arn, statement(arn), statement(arn, Effect="Deny", Condition=own)).status == 200
    assert status() == 500, "a denying statement denies"
    assert put(server, security, arn, statement(arn)).status == 200
    assert status() == 200
    assert ask(server, security, "DELETE", arn).status == 204
    assert status() == 500
    rest.delete()


def test_it_is_the_policy_of_permissions(server, security, arn):
    client = security.awslambda
    make.permit(security, arn, None, StatementId="replaced")
    named, nameless = statement(arn, Sid="named"), statement(arn, Principal={"AWS": [API, SECURITY]})
    answer = put(server, security, arn, named, nameless)
    assert (answer.status, answer.json()["Policy"]) == (200, text(named, nameless))
    policy = client.get_policy(FunctionName=arn)
    assert (policy["Policy"], policy["RevisionId"]) == (answer.json()["Policy"], answer.json()["RevisionId"])
    assert ask(server, security, "GET", arn).json() == answer.json()
    make.permit(security, arn, None, StatementId="added")
    client.remove_permission(FunctionName=arn, StatementId="named")
    kept = json.loads(ask(server, security, "GET", arn).json()["Policy"])
    assert (kept["Id"], kept["Statement"][0]) == ("mine", nameless), "what has no id stays"
    assert [s.get("Sid") for s in kept["Statement"]] == [None, "added"]


def test_the_revision_is_a_precondition(server, security, arn):
    first = put(server, security, arn, statement(arn)).json()["RevisionId"]
    assert put(server, security, arn, statement(arn), RevisionId=first).status == 200
    for answer in (
        put(server, security, arn, statement(arn), RevisionId=first),
        ask(server, security, "DELETE", arn, query=f"RevisionId={STALE}"),
    ):
        assert (answer.status, answer.error_type) == (412, "PreconditionFailedException"), answer.text
        assert answer.json()["message"].startswith("The Revision Id provided does not match the latest Revision Id.")


def test_refused_and_nothing_changed(server, security, arn):
    put(server, security, arn, statement(arn, Sid="kept"))
    long = {"ArnLike": {"AWS:SourceArn": "é" * 150}}
    for code, statements in [
        ("InvalidParameterValueException", [statement("*")]),
        ("InvalidParameterValueException", [statement(f"{arn}:live")]),
        ("InvalidParameterValueException", [statement(arn, Action="s3:GetObject")]),
        ("InvalidParameterValueException", [statement(arn, Principal={"AWS": f"arn:aws:iam::{API}:role/nobody"})]),
        ("InvalidParameterValueException", [statement(arn, Principal={"Service": "example.com"})]),
        ("InvalidParameterValueException", [statement(arn, Condition={"Bool": {"aws:SecureTransport": "true"}})]),
        ("InvalidParameterValueException", [statement(arn, Sid="a"), statement(arn, Sid="a")]),
        ("InvalidParameterValueException", []),
    ]:
        answer = put(server, security, arn, *statements)
        assert (answer.status, answer.error_type) == (400, code), answer.text
        assert answer.json()["Type"] == "User" and answer.json()["message"]
    crowd = json.dumps({"Statement": [statement(arn, Condition=long)] * 60}, separators=(",", ":"), ensure_ascii=False)
    while len(crowd) > 20_000:
        shorter = json.loads(crowd)["Statement"][1:]
        crowd = json.dumps({"Statement": shorter}, separators=(",", ":"), ensure_ascii=False)
    size = len(crowd.encode())
    answer = ask(server, security, "PUT", arn, {"Policy": crowd})
    assert answer.error_type == "PolicyLengthExceededException", answer.text
    assert answer.json() == {"Type": "User", "message": f"The final policy size ({size}) is bigger than the limit (20480)."}
    kept = json.loads(ask(server, security, "GET", arn).json()["Policy"])["Statement"]
    assert [s["Sid"] for s in kept] == ["kept"]


def test_what_is_not_there(server, security, arn):
    for method, name, message in [
        ("GET", arn, "The resource you requested does not exist."),
        ("DELETE", arn, "No policy is associated with the given resource."),
        ("PUT", f"{arn}:42", f"Function not found: {arn}:42"),
        ("PUT", f"{arn}:ghost", f"Cannot find alias arn: {arn}:ghost"),
    ]:
        body = {"Policy": text(statement(name))} if method == "PUT" else None
        answer = ask(server, security, method, name, body)
        assert (answer.status, answer.error_type) == (404, "ResourceNotFoundException"), answer.text
        assert answer.json() == {"Type": "User", "Message": message}


def test_only_the_owner_reads_and_changes_it(server, api, security, arn):
    put(server, security, arn, statement(arn, Principal="*", Action="lambda:*"))
    for method, body in [("GET", None), ("PUT", {"Policy": text(statement(arn))}), ("DELETE", None)]:
        answer = ask(server, api, method, arn, body)
        assert (answer.status, answer.error_type) == (403, "AccessDeniedException"), answer.text
    assert ask(server, security, "GET", arn).status == 200
