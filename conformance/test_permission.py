"""AddPermission, RemovePermission, GetPolicy: forms, order, texts and the key the text stands under in the body."""

import json
from urllib.parse import quote

import pytest

import make
import wire
from aws import check_refused
from conftest import API, SECURITY

GATEWAY = "apigateway.amazonaws.com"


@pytest.fixture(scope="module")
def arn(security):
    return make.function(security, "permitted", "echo.js")


@pytest.fixture
def add(security, arn, unique):
    """AddPermission with what a test leaves out filled in; what it adds is removed afterwards."""
    made = []

    def call(**given):
        given = {"FunctionName": "permitted", "StatementId": unique("s"), "Action": "lambda:InvokeFunction", "Principal": GATEWAY, **given}
        answer = security.awslambda.add_permission(**given)
        made.append((given["FunctionName"], given["StatementId"], given.get("Qualifier")))
        return json.loads(answer["Statement"])

    yield call
    for name, sid, qualifier in made:
        more = {"Qualifier": qualifier} if qualifier else {}
        security.awslambda.remove_permission(FunctionName=name, StatementId=sid, **more)


@pytest.mark.parametrize(
    ("principal", "stored"),
    [
        (GATEWAY, {"Service": GATEWAY}),
        ("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}),
        (API, {"AWS": f"arn:aws:iam::{API}:root"}),
        (f"arn:aws:iam::{API}:root", {"AWS": f"arn:aws:iam::{API}:root"}),
        ("*", "*"),
    ],
)
def test_principals_are_stored_as_aws_stores_them(add, arn, principal, stored):
    statement = add(Principal=principal)
    assert statement["Principal"] == stored
    assert list(statement) == ["Sid", "Effect", "Principal", "Action", "Resource"], "no Condition when there is none"
    assert statement["Resource"] == arn


def test_conditions_stand_in_awss_order(add):
    statement = add(
        SourceArn=f"arn:aws:execute-api:us-east-1:{API}:a1b2c3d4e5/*",
        SourceAccount=API,
        PrincipalOrgID="o-a1b2c3d4e5",
    )
    assert list(statement) == ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    assert json.dumps(statement["Condition"], separators=(",", ":")) == (
        '{"StringEquals":{"AWS:SourceAccount":"%s","aws:PrincipalOrgID":"o-a1b2c3d4e5"},'
        '"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:%s:a1b2c3d4e5/*"}}' % (API, API)
    )


def test_every_form_of_the_function_name_is_the_same_function(security, add, arn):
    for form in ("permitted", f"{SECURITY}:function:permitted", arn):
        assert add(FunctionName=form)["Resource"] == arn
    policy = json.loads(security.awslambda.get_policy(FunctionName=arn)["Policy"])
    assert (policy["Version"], policy["Id"], len(policy["Statement"])) == ("2012-10-17", "default", 3)
    assert list(policy) == ["Version", "Id", "Statement"]


def test_policies_belong_to_one_qualifier(security, arn, unique):
    name = unique("qualified")
    own = make.function(security, name, "echo.js")
    client = security.awslambda
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    for qualifier in (None, version, "live"):
        more = {"Qualifier": qualifier} if qualifier else {}
        client.add_permission(FunctionName=name, StatementId="same", Action="lambda:InvokeFunction", Principal=GATEWAY, **more)
        statement = json.loads(client.get_policy(FunctionName=name, **more)["Policy"])["Statement"]
        assert [s["Resource"] for s in statement] == [own + (f":{qualifier}" if qualifier else "")]
    client.remove_permission(FunctionName=name, StatementId="same", Qualifier="live")
    check_refused("ResourceNotFoundException", 404, "The resource you requested does not exist.", client.get_policy, FunctionName=name, Qualifier="live")
    assert client.get_policy(FunctionName=name), "the others stay"


def test_the_revision_changes_and_is_a_precondition(security, add):
    client = security.awslambda
    add()
    first = client.get_policy(FunctionName="permitted")["RevisionId"]
    assert first == client.get_function_configuration(FunctionName="permitted")["RevisionId"]
    add(RevisionId=first)
    assert client.get_policy(FunctionName="permitted")["RevisionId"] != first
    refusal = check_refused(
        "PreconditionFailedException", 412, None, client.add_permission,
        FunctionName="permitted", StatementId="late", Action="lambda:InvokeFunction", Principal=GATEWAY, RevisionId=first,
    )  # fmt: skip
    assert refusal.message.startswith("The Revision Id provided does not match the latest Revision Id.")


REFUSALS = [
    ({"StatementId": "example.com"}, "ValidationException", 400,
     "1 validation error detected: Value 'example.com' at 'statementId' failed to satisfy constraint: "
     "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"),
    ({"FunctionName": "permitted:live", "Qualifier": "other"}, "InvalidParameterValueException", 400,
     "The derived qualifier from the function name does not match the specified qualifier."),
    ({"Qualifier": "$LATEST"}, "InvalidParameterValueException", 400,
     "We currently do not support adding policies for $LATEST."),
    ({"FunctionName": "nobody"}, "ResourceNotFoundException", 404,
     f"Function not found: arn:aws:lambda:us-east-1:{SECURITY}:function:nobody"),
    ({"Qualifier": "42"}, "ResourceNotFoundException", 404,
     f"Function not found: arn:aws:lambda:us-east-1:{SECURITY}:function:permitted:42"),
    ({"Qualifier": "ghost"}, "ResourceNotFoundException", 404,
     f"Cannot find alias arn: arn:aws:lambda:us-east-1:{SECURITY}:function:permitted:ghost"),
    ({"Principal": "nobody in particular".replace(" ", "-")}, "InvalidParameterValueException", 400,
     "The provided principal was invalid. Please check the principal and try again."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "code", "status", "message"), REFUSALS, ids=[str(list(r[0].values())) for r in REFUSALS])
def test_refused_with_awss_text_and_nothing_changed(security, arn, given, code, status, message):
    client = security.awslambda
    before = client.get_function_configuration(FunctionName="permitted")["RevisionId"]
    given = {"FunctionName": "permitted", "StatementId": "fine", "Action": "lambda:InvokeFunction", "Principal": GATEWAY, **given}
    check_refused(code, status, message, client.add_permission, **given)
    assert client.get_function_configuration(FunctionName="permitted")["RevisionId"] == before


@pytest.mark.parametrize(
    "given",
    [
        {"Action": "s3:GetObject"},
        {"SourceArn": "not-an-arn"},
        {"SourceArn": "arn:aws:execute-api:*:111111111111:api/*"},
        {"SourceArn": "arn:aws:execute-api:us-east-1:*:api/*"},
        {"SourceAccount": "12"},
        {"StatementId": "s" * 101},
        {"Principal": "with blank"},
    ],
    ids=str,
)
def test_malformed_members_are_validation_errors(security, arn, given):
    signing = wire.Signing(security.identity, "lambda")
    body = {"StatementId": "fine", "Action": "lambda:InvokeFunction", "Principal": GATEWAY, **given}
    port = int(security.endpoint.rsplit(":", 1)[1])
    answer = wire.signed(port, signing, "POST", "/2015-03-31/functions/permitted/policy", body=json.dumps(body).encode())
    assert (answer.status, answer.error_type) == (400, "ValidationException"), answer.text
    assert "failed to satisfy constraint" in answer.json()["message"]


def test_a_taken_statement_id(security, add):
    sid = add()["Sid"]
    check_refused(
        "ResourceConflictException", 409,
        f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement.",
        security.awslambda.add_permission, FunctionName="permitted", StatementId=sid, Action="lambda:InvokeFunction", Principal=GATEWAY,
    )  # fmt: skip


def test_removal_refused(security, add, unique):
    client = security.awslambda
    name = unique("bare")
    make.function(security, name, "echo.js")
    code = "ResourceNotFoundException"
    check_refused(code, 404, "No policy is associated with the given resource.", client.remove_permission, FunctionName=name, StatementId="x")
    check_refused(
        code, 404, f"No policy found for: arn:aws:lambda:us-east-1:{SECURITY}:function:nobody",
        client.remove_permission, FunctionName="nobody", StatementId="x",
    )  # fmt: skip
    add()
    check_refused(code, 404, "Statement x is not found in resource policy.", client.remove_permission, FunctionName="permitted", StatementId="x")


def test_the_last_statement_takes_the_policy_along(security, unique):
    name = unique("emptied")
    make.function(security, name, "echo.js")
    sid = make.permit(security, name, None)
    answer = security.awslambda.remove_permission(FunctionName=name, StatementId=sid)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    check_refused("ResourceNotFoundException", 404, "The resource you requested does not exist.", security.awslambda.get_policy, FunctionName=name)


@pytest.mark.parametrize(
    ("method", "path", "body", "key"),
    [
        ("POST", "/2015-03-31/functions/nobody/policy", {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": GATEWAY}, "Message"),
        ("GET", "/2015-03-31/functions/permitted/policy?Qualifier=7", None, "Message"),
        ("POST", "/2015-03-31/functions/permitted/policy", {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "zzz"}, "message"),
        ("POST", "/2015-03-31/functions/permitted/policy?Qualifier=$LATEST".replace("$", "%24"), {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": GATEWAY}, "message"),
    ],
)  # fmt: skip
def test_the_bodys_key_is_awss(security, arn, method, path, body, key):
    path, _, query = path.partition("?")
    port = int(security.endpoint.rsplit(":", 1)[1])
    sent = json.dumps(body).encode() if body else b""
    answer = wire.signed(port, wire.Signing(security.identity, "lambda"), method, path, query, body=sent)
    assert answer.status in (400, 404)
    assert list(answer.json()) == ["Type", key] and answer.json()["Type"] == "User", answer.text
    assert answer.error_type in ("ResourceNotFoundException", "InvalidParameterValueException")


def test_a_policy_has_an_end(security, unique):
    name = unique("full")
    make.function(security, name, "echo.js")
    client = security.awslambda
    made = 0
    try:
        for number in range(80):
            source = f"arn:aws:execute-api:us-east-1:{API}:a1b2c3d4e5/authorizers/{number:06d}" + "x" * 200
            client.add_permission(
                FunctionName=name, StatementId=f"statement-{number:060d}", Action="lambda:InvokeFunction",
                Principal=GATEWAY, SourceArn=source,
            )  # fmt: skip
            made += 1
        raise AssertionError("no limit")
    except client.exceptions.PolicyLengthExceededException as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert "is bigger than the limit (20480)." in error.response["Error"]["Message"]
    statements = json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"]
    assert len(statements) == made > 20


def test_a_foreign_account_may_neither_read_nor_change(api, arn):
    code = "AccessDeniedException"
    client = api.awslambda
    name = {"FunctionName": arn}
    added = {**name, "StatementId": "x", "Action": "lambda:InvokeFunction", "Principal": GATEWAY}
    for call, given, action in (
        (client.add_permission, added, "AddPermission"),
        (client.remove_permission, {**name, "StatementId": "x"}, "RemovePermission"),
        (client.get_policy, name, "GetPolicy"),
    ):
        refusal = check_refused(code, 403, None, call, **given)
        assert refusal.message == (
            f"User: arn:aws:iam::{API}:root is not authorized to perform: lambda:{action} on resource: {arn} "
            f"because no resource-based policy allows the lambda:{action} action"
        )


def test_an_encoded_arn_in_the_path_is_one_label(security, arn):
    port = int(security.endpoint.rsplit(":", 1)[1])
    path = f"/2015-03-31/functions/{quote(arn, safe='')}/configuration"
    answer = wire.signed(port, wire.Signing(security.identity, "lambda"), "GET", path)
    assert answer.status == 200 and answer.json()["FunctionArn"] == arn, answer.text
