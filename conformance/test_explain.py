"""Why a request was answered as it was: the decision behind an answer, who may read how much of it, and what mends it."""

import json
import re
import shlex

import pytest

import make
import wire
from aws import Aws
from conftest import API, SECURITY

TOKEN = "a-token-that-nobody-may-read-anywhere"
ID = re.compile("[0-9a-f]{20}")


@pytest.fixture(scope="module")
def guard(security):
    return make.function(security, "explained", "token_authorizer.js")


@pytest.fixture
def rest(api, guard, unique):
    """An API whose authorizer is the Security account's, which has permitted nobody yet."""
    rest = make.Api.create(api, unique("explained"))
    rest.guard = rest.authorizer("guard", guard, authorizerResultTtlInSeconds=0)
    rest.mock("GET", "/pets/{petId}", authorizer=rest.guard)
    rest.deploy()
    yield rest
    rest.delete()


def ask(server, rest, token: str | None = "allow", path="/pets/12"):
    headers = [] if token is None else [("Authorizer", token)]
    return wire.invoke(server.port, rest.id, "Dev", path, headers=headers)


def read(server, aws, id: str) -> dict:
    answer = wire.decision(server.port, aws.identity, id)
    assert answer.status == 200, answer.text
    assert answer.header("Content-Type") == "application/json"
    return answer.json()


def refused(server, aws, id: str, status: int, code: str) -> wire.Answer:
    answer = wire.decision(server.port, aws.identity, id)
    assert (answer.status, answer.error_type) == (status, code), answer.text
    return answer


def step(decision: dict, name: str) -> dict:
    found = [step for step in decision["steps"] if step["step"] == name]
    assert len(found) == 1, decision
    return found[0]


def run(aws: Aws, command: str) -> None:
    """Runs a command of a `repair` as it stands there, with these credentials."""
    words = shlex.split(command, comments=True)
    assert words[0] == "aws", command
    aws.cli(*words[1:])


def a_user(aws: Aws, name: str, *statements) -> Aws:
    policy = {"Version": "2012-10-17", "Statement": list(statements)} if statements else None
    return Aws(aws.endpoint, make.user(aws, name, policy))


def test_the_command_that_is_shown_mends_a_missing_permission(server, api, security, guard, rest):
    answer = ask(server, rest)
    assert (answer.status, answer.body) == (500, b'{"message":null}')
    assert ID.fullmatch(answer.decision)
    decision = read(server, api, answer.decision)
    about = {
        "decisionId": answer.decision, "requestId": answer.header("x-amzn-RequestId"), "accountId": API, "apiId": rest.id,
        "stage": "Dev", "httpMethod": "GET", "path": "/pets/12", "resourcePath": "/pets/{petId}", "authorization": "CUSTOM",
        "methodArn": f"{rest.arn}/Dev/GET/pets/12", "status": 500, "responseType": "AUTHORIZER_CONFIGURATION_ERROR",
    }  # fmt: skip
    assert {name: decision.get(name) for name in about} == about
    assert [step["step"] for step in decision["steps"]] == ["identity", "authorizer"]
    assert step(decision, "identity")["found"] is True
    source = f"{rest.arn}/authorizers/{rest.guard}"
    called = step(decision, "authorizer")
    assert (called["invoked"], called["function"], called["functionAccount"]) == (False, guard, SECURITY)
    assert (called["authorizerId"], called["sourceArn"]) == (rest.guard, source)
    assert decision["rule"].startswith("AUTHORIZER_CONFIGURATION_ERROR: ")
    (command,) = decision["repair"]
    expected = (
        f"aws lambda add-permission --function-name {guard} --source-arn {source} --principal apigateway.amazonaws.com "
        f"--statement-id (apigateway-{rest.id}-authorizer-{rest.guard}-[0-9a-f]+) --action lambda:InvokeFunction "
        f"--region us-east-1   # with credentials of account {SECURITY}"
    )
    statement = re.fullmatch(expected, command)
    assert statement, command
    run(security, decision["repair"][0])
    allowed = ask(server, rest)
    assert (allowed.status, allowed.body) == (200, b'{"ok":true}')
    decision = read(server, api, allowed.decision)
    assert (decision["rule"], decision["repair"], decision["status"]) == ("allowed", [], 200)
    assert step(decision, "authorizer")["invoked"] is True
    assert step(decision, "authorizerPolicy")["effect"] == "Allow"
    security.awslambda.remove_permission(FunctionName=guard, StatementId=statement.group(1))


def test_each_account_sees_its_own_side(server, api, security, stranger, guard, rest):
    make.permit(security, guard, f"arn:aws:execute-api:us-east-1:{API}:another/authorizers/*", StatementId="for-another")
    id = ask(server, rest).decision
    assert "detail" not in step(read(server, api, id), "authorizer"), "another account's policy is not shown"
    theirs = read(server, security, id)
    called = step(theirs, "authorizer")
    assert "for-another" in called["detail"] and "SourceArn" in called["detail"], called
    assert (called["function"], called["sourceArn"]) == (guard, f"{rest.arn}/authorizers/{rest.guard}")
    assert [step["step"] for step in theirs["steps"]] == ["authorizer"]
    for member in ("path", "resourcePath", "httpMethod", "methodArn", "status", "rule", "log", "accountId"):
        assert member not in theirs, member
    assert "/pets" not in json.dumps(theirs)
    assert any(command.startswith("aws lambda add-permission ") for command in theirs["repair"])
    missing = refused(server, stranger, id, 404, "NotFoundException")
    unknown = refused(server, api, "0" * 20, 404, "NotFoundException")
    assert missing.text == unknown.text, "a decision of others is not told apart from none"
    security.awslambda.remove_permission(FunctionName=guard, StatementId="for-another")


def test_who_may_read(server, api, rest, unique):
    id = ask(server, rest).decision
    unsigned = wire.call(server.port, "GET", f"/_portcullis/decisions/{id}")
    assert (unsigned.status, unsigned.error_type) == (403, "MissingAuthenticationTokenException"), unsigned.text
    other = wire.signed(server.port, wire.Signing(api.identity, "apigateway"), "GET", f"/_portcullis/decisions/{id}")
    assert other.status == 403, "signed for another service"
    wrong = wire.signed(server.port, wire.Signing(api.identity, "portcullis", secret="no"), "GET", f"/_portcullis/decisions/{id}")
    assert (wrong.status, wrong.error_type) == (403, "InvalidSignatureException")
    nobody = a_user(api, unique("reader"))
    message = refused(server, nobody, id, 403, "AccessDeniedException").json()["message"]
    assert "is not authorized to perform: portcullis:GetDecision on resource: " in message
    resource = f"arn:aws:portcullis:us-east-1:{API}:decision/*"
    reader = a_user(api, unique("reader"), {"Effect": "Allow", "Action": "portcullis:GetDecision", "Resource": resource})
    assert read(server, reader, id)["decisionId"] == id
    posted = wire.signed(server.port, wire.Signing(api.identity, "portcullis"), "POST", f"/_portcullis/decisions/{id}")
    assert posted.status == 400
    forged = wire.signed(server.port, wire.Signing(api.identity, "apigateway", secret="no"), "GET", "/restapis")
    assert forged.status == 403 and read(server, api, forged.decision)["caller"] is None
    strange = wire.call(server.port, "GET", "/restapis")
    refused(server, api, strange.decision, 404, "NotFoundException")
    for unread in ("", "x", "0" * 19, id.upper() + "0", "..%2f"):
        answer = wire.decision(server.port, api.identity, unread)
        assert answer.status in (400, 403, 404), (unread, answer.text)


def test_no_decision_holds_the_token(server, api, security, guard, rest):
    permitted = make.permit(security, guard, f"{rest.arn}/authorizers/{rest.guard}")
    answers = {token: ask(server, rest, token) for token in ("allow", "deny", "unauthorized", TOKEN)}
    security.awslambda.remove_permission(FunctionName=guard, StatementId=permitted)
    refused = ask(server, rest, TOKEN)
    assert {token: answer.status for token, answer in answers.items()} == {"allow": 200, "deny": 403, "unauthorized": 401, TOKEN: 500}
    for answer in (answers[TOKEN], refused):
        for aws in (api, security):
            assert TOKEN not in json.dumps(read(server, aws, answer.decision))
        shown = server.run("explain", answer.decision, "--data-dir", str(server.data_dir), "--output", "json")
        assert TOKEN not in shown.stdout
    identities = {step(read(server, api, answer.decision), "identity")["identity"] for answer in answers.values()}
    assert len(identities) == 4 and step(read(server, api, refused.decision), "identity")["identity"] in identities
    denied = read(server, api, answers["deny"].decision)
    assert step(denied, "authorizerPolicy")["effect"] == "Deny"
    assert denied["rule"].startswith("ACCESS_DENIED: ")


def test_what_did_not_reach_the_authorizer(server, api, rest):
    absent = read(server, api, ask(server, rest, None).decision)
    assert (absent["status"], absent["responseType"]) == (401, "UNAUTHORIZED")
    assert step(absent, "identity") == {
        "step": "identity", "found": False, "source": "method.request.header.Authorizer",
        "text": "method.request.header.Authorizer is missing or empty",
    }  # fmt: skip
    unmatched = read(server, api, ask(server, rest, path="/nowhere").decision)
    assert (unmatched["status"], unmatched["responseType"]) == (403, "MISSING_AUTHENTICATION_TOKEN")
    assert unmatched["steps"] == [] and "resourcePath" not in unmatched
    assert unmatched["repair"][0] == f"aws apigateway get-resources --rest-api-id {rest.id} --embed methods"
    for command in unmatched["repair"]:
        run(api, command)


def test_each_repair_is_a_command_that_runs(server, api, security, guard, rest):
    """Those of a missing identity, of a silent policy and of an API's own policy, as a shell would run them."""
    (say, command) = read(server, api, ask(server, rest, None).decision)["repair"]
    assert say == "# send a value for method.request.header.Authorizer"
    run(api, command.removeprefix("# to answer it otherwise: "))
    rest.deploy()
    answer = ask(server, rest, None)
    assert (answer.status, answer.json()) == (401, {"message": "Unauthorized"})
    deny = {"Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
    rest.policy({"Version": "2012-10-17", "Statement": [deny]})
    rest.deploy()
    decision = read(server, api, ask(server, rest).decision)
    assert decision["status"] == 403 and step(decision, "resourcePolicy")["effect"] == "Deny"
    show, put, deploy = decision["repair"]
    run(api, show.partition(" | ")[0])
    # What jq makes of a file is made here, so that the tests need no jq.
    end = """"$(jq -n --rawfile p policy.json '[{op:"replace",path:"/policy",value:$p}]')\""""
    assert put.endswith(end), put
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**deny, "Effect": "Allow"}]}, indent=1)
    patch = json.dumps([{"op": "replace", "path": "/policy", "value": document}])
    api.cli(*shlex.split(put.removesuffix(end))[1:], patch)
    run(api, deploy)
    assert ask(server, rest).status == 500, "past the API's policy; the function still permits nobody"


def test_a_role_that_does_not_trust_the_gateway(server, api, unique):
    own = make.function(api, unique("own"), "token_authorizer.js")
    name = unique("distrusting")
    role = api.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(make.LAMBDA_TRUST))["Role"]["Arn"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": own}]}
    api.iam.put_role_policy(RoleName=name, PolicyName="invoke", PolicyDocument=json.dumps(allow))
    rest = make.Api.create(api, unique("by-role"))
    rest.mock("GET", "/", authorizer=rest.authorizer("guard", own, authorizerCredentials=role, authorizerResultTtlInSeconds=0))
    rest.deploy()
    decision = read(server, api, ask(server, rest, path="/").decision)
    assert decision["status"] == 500
    (command,) = decision["repair"]
    assert command.startswith(f"aws iam update-assume-role-policy --role-name {name} ")
    run(api, command)
    assert ask(server, rest, path="/").status == 200
    rest.delete()


def test_a_cached_answer_says_its_age(server, api, security, guard, unique):
    rest = make.Api.create(api, unique("cached"))
    authorizer = rest.authorizer("guard", guard, authorizerResultTtlInSeconds=300)
    rest.mock("GET", "/", authorizer=authorizer)
    rest.deploy()
    permitted = make.permit(security, guard, f"{rest.arn}/authorizers/{authorizer}")
    first, second = (read(server, api, ask(server, rest, path="/").decision) for _ in range(2))
    assert step(first, "authorizer")["invoked"] is True
    cached = step(second, "cache")
    assert cached["hit"] is True and cached["ttlMs"] == 300_000 and 0 <= cached["ageMs"] < 300_000
    assert [step["step"] for step in second["steps"]] == ["identity", "cache", "authorizerPolicy"]
    security.awslambda.remove_permission(FunctionName=guard, StatementId=permitted)
    rest.delete()


def test_the_command_line_shows_the_same(server, api, guard, rest):
    id = ask(server, rest).decision
    place = ("--data-dir", str(server.data_dir))
    shown = json.loads(server.run("explain", id, *place, "--output", "json").stdout)
    signed = read(server, api, id)
    assert {name: shown[name] for name in signed if name != "steps"} == {name: signed[name] for name in signed if name != "steps"}
    for of_all, of_account in zip(shown["steps"], signed["steps"], strict=True):
        assert of_account.items() <= of_all.items()
    assert step(shown, "authorizer")["detail"], "whoever runs the installation sees both sides"
    text = server.run("explain", id, *place).stdout
    for part in (id, f"{rest.id} Dev", "GET /pets/12", guard, signed["rule"], signed["repair"][0]):
        assert part in text, part
    unknown = server.run("explain", "0" * 20, *place, check=False)
    assert unknown.returncode == 1 and unknown.stderr.strip() and not unknown.stdout


def test_a_refused_call_of_the_control_plane_and_what_mends_it(server, api, security, unique):
    statement = {"Sid": "OnlyThat", "Effect": "Allow", "Action": "lambda:GetFunction", "Resource": f"arn:aws:lambda:us-east-1:{API}:function:that"}
    user = a_user(api, unique("refused"), statement)
    name = make.function(api, unique("wanted"), "echo.js").rpartition(":")[2]
    signing = wire.Signing(user.identity, "lambda")

    def call():
        return wire.signed(server.port, signing, "GET", f"/2015-03-31/functions/{name}")

    answer = call()
    assert (answer.status, answer.error_type) == (403, "AccessDeniedException")
    decision = read(server, api, answer.decision)
    assert (decision["accountId"], decision["service"], decision["operation"]) == (API, "lambda", "GetFunction")
    assert decision["requestId"] == answer.header("x-amzn-RequestId")
    assert decision["caller"].startswith(f"arn:aws:iam::{API}:user/refused-")
    assert decision["rule"].startswith("AccessDeniedException: ")
    (checked,) = decision["steps"]
    assert checked["action"] == "lambda:GetFunction" and "OnlyThat" in checked["nearest"], checked
    (command,) = decision["repair"]
    assert command.startswith("aws iam put-user-policy "), command
    assert wire.decision(server.port, security.identity, answer.decision).status == 404
    text = server.run("explain", answer.decision, "--data-dir", str(server.data_dir)).stdout
    assert "lambda GetFunction" in text and command in text
    run(api, command)
    assert call().status == 200
    assert call().header("x-portcullis-decision") is None, "only refusals have one here"


def test_the_statements_of_another_accounts_function_are_not_shown(server, api, security, stranger, unique):
    name = unique("secretive")
    arn = make.function(security, name, "echo.js")
    make.permit(security, arn, None, StatementId="nobodys-business", Principal=stranger.account)
    user = a_user(api, unique("curious"), *make.ALLOW_ALL["Statement"])
    path = "/2015-03-31/functions/" + arn.replace(":", "%3A")
    answer = wire.signed(server.port, wire.Signing(user.identity, "lambda"), "GET", path)
    assert answer.status == 403
    decision = read(server, api, answer.decision)
    assert "nobodys-business" not in json.dumps(decision) and decision["repair"] == []
    assert decision["steps"][0]["account"] == SECURITY


def test_what_strangers_write_does_not_control_the_terminal(server, api):
    signing = wire.Signing(api.identity, "apigateway")
    answer = wire.signed(server.port, signing, "GET", "/restapis/%1B%5B2J%0ATo%20change%20that:")
    assert answer.status in (400, 404), answer.text
    shown = server.run("explain", answer.decision, "--data-dir", str(server.data_dir)).stdout
    assert "\x1b" not in shown and "\nTo change that:" not in shown, shown


@pytest.mark.own
def test_the_header_can_be_left_out(own_server):
    server = own_server(("--decision-header=false",))
    account = server.create_account(API, "api")
    server.start()
    api = Aws(server.endpoint, account)
    rest = make.Api.create(api, "silent")
    rest.mock("GET", "/")
    rest.deploy()
    for answer in (
        wire.invoke(server.port, rest.id, "Dev"),
        wire.invoke(server.port, rest.id, "Dev", "/nowhere"),
        wire.call(server.port, "GET", "/restapis"),
    ):
        assert answer.header("x-portcullis-decision") is None, answer.headers
