"""The steps of "Centralizing security with Amazon API Gateway and cross-account AWS Lambda authorizers", with the AWS CLI.

Two accounts: API holds the REST API, Security the Lambda authorizer. The tests of `TestThePost` run in the order of the
post, on one server of their own, and each says what it leaves behind.
"""

import json
import re
import uuid
from dataclasses import dataclass

import pytest

import functions
import make
import wire
from aws import Aws, eventually
from conftest import API, SECURITY, make_server
from server import Account

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FUNCTION = f"arn:aws:lambda:us-east-1:{SECURITY}:function:LambdaAuthorizer"
EXPLICIT = b'{"Message":"User is not authorized to access this resource with an explicit deny in an identity-based policy"}'

pytestmark = pytest.mark.own


@dataclass
class Walk:
    """What the steps pass on."""

    server: object
    api: Aws
    security: Aws
    api_id: str = ""
    root: str = ""
    authorizer: str = ""
    statement: str = ""

    @property
    def source_arn(self) -> str:
        return f"arn:aws:execute-api:us-east-1:{API}:{self.api_id}/authorizers/{self.authorizer}"

    def curl(self, token: str | None, path: str = "") -> wire.Answer:
        headers = [] if token is None else [("Authorizer", token)]
        return wire.invoke(self.server.port, self.api_id, "Dev", path, headers=headers)

    def invokes(self) -> list[dict]:
        return [e for e in make.events(self.security, "EventName", "Invoke") if e["resources"][0]["ARN"] == FUNCTION]

    def add_permission(self, source_arn: str | None = None, aws: Aws | None = None, check: bool = True, sid: str | None = None):
        # The arguments in the order of the console's dialog, which the post copies.
        return (aws or self.security).cli(
            "lambda", "add-permission", "--function-name", FUNCTION, "--source-arn", source_arn or self.source_arn,
            "--principal", "apigateway.amazonaws.com", "--statement-id", sid or str(uuid.uuid4()),
            "--action", "lambda:InvokeFunction", check=check,
        )  # fmt: skip


@pytest.fixture(scope="class")
def walk(binary, tmp_path_factory):
    server = make_server(binary, tmp_path_factory.mktemp("walk") / "data", ())
    # One account before the first start, one beside the running server.
    api = server.create_account(API, "api")
    server.start()
    security = server.create_account(SECURITY, "security")
    yield Walk(server, Aws(server.endpoint, api), Aws(server.endpoint, security))
    server.kill()


def check_gateway_answer(answer: wire.Answer, status: int, body: bytes, error: str) -> None:
    assert (answer.status, answer.body, answer.error_type) == (status, body, error)
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Content-Length") == str(len(body))
    assert UUID.fullmatch(answer.header("x-amzn-RequestId") or "")
    assert answer.header("x-amz-apigw-id")
    assert answer.header("Date")


@pytest.mark.usefixtures("walk")
class TestThePost:
    def test_create_the_lambda_authorizer(self, walk, tmp_path):
        trust = tmp_path / "trust.json"
        trust.write_text(json.dumps(make.LAMBDA_TRUST))
        role = walk.security.cli(
            "iam", "create-role", "--role-name", "LambdaAuthorizer-role", "--assume-role-policy-document", f"file://{trust}"
        ).json()["Role"]
        assert role["Arn"] == f"arn:aws:iam::{SECURITY}:role/LambdaAuthorizer-role"
        code = tmp_path / "function.zip"
        code.write_bytes(functions.zipped("token_authorizer.js"))
        made = walk.security.cli(
            "lambda", "create-function", "--function-name", "LambdaAuthorizer", "--runtime", "nodejs6.10",
            "--role", role["Arn"], "--handler", "index.handler", "--zip-file", f"fileb://{code}",
        ).json()  # fmt: skip
        assert made["FunctionArn"] == FUNCTION and made["Runtime"] == "nodejs6.10"
        assert (made["MemorySize"], made["Timeout"], made["Version"]) == (128, 3, "$LATEST")
        walk.security.cli("lambda", "wait", "function-active-v2", "--function-name", "LambdaAuthorizer")

    def test_create_an_api_with_a_mock_method(self, walk):
        made = walk.api.cli("apigateway", "create-rest-api", "--name", "APIblogpost").json()
        assert made["endpointConfiguration"]["types"] == ["EDGE"] and made["apiKeySource"] == "HEADER"
        assert re.fullmatch("[a-z0-9]{10}", made["id"])
        walk.api_id, walk.root = made["id"], made["rootResourceId"]
        method = ("--rest-api-id", walk.api_id, "--resource-id", walk.root, "--http-method", "GET")
        walk.api.cli("apigateway", "put-method", *method, "--authorization-type", "NONE")
        walk.api.cli(
            "apigateway", "put-integration", *method, "--type", "MOCK",
            "--request-templates", json.dumps({"application/json": '{"statusCode": 200}'}),
        )  # fmt: skip
        walk.api.cli("apigateway", "put-method-response", *method, "--status-code", "200")
        walk.api.cli(
            "apigateway", "put-integration-response", *method, "--status-code", "200",
            "--response-templates", json.dumps({"application/json": '{"message":"hello"}'}),
        )  # fmt: skip

    def test_create_the_authorizer_without_any_permission(self, walk):
        uri = make.function_uri(FUNCTION)
        made = walk.api.cli(
            "apigateway", "create-authorizer", "--rest-api-id", walk.api_id, "--name", "SecurityTeamAuthorizer",
            "--type", "TOKEN", "--authorizer-uri", uri, "--identity-source", "method.request.header.Authorizer",
        ).json()  # fmt: skip
        walk.authorizer = made["id"]
        listed = walk.api.cli("apigateway", "get-authorizers", "--rest-api-id", walk.api_id, "--region", "us-east-1").json()
        expected = {
            "id": walk.authorizer,
            "name": "SecurityTeamAuthorizer",
            "type": "TOKEN",
            "authType": "custom",
            "authorizerUri": uri,
            "identitySource": "method.request.header.Authorizer",
        }
        # No authorizerResultTtlInSeconds: AWS shows it only when it was sent.
        assert listed == {"items": [expected]}

    def test_protect_and_deploy(self, walk):
        walk.api.cli(
            "apigateway", "update-method", "--rest-api-id", walk.api_id, "--resource-id", walk.root, "--http-method", "GET",
            "--patch-operations", "op=replace,path=/authorizationType,value=CUSTOM",
            f"op=replace,path=/authorizerId,value={walk.authorizer}",
        )  # fmt: skip
        walk.api.cli("apigateway", "create-deployment", "--rest-api-id", walk.api_id, "--stage-name", "Dev")

    def test_without_permission_every_token_is_500_and_nothing_runs(self, walk):
        for token in ("allow", "deny", "unauthorized"):
            check_gateway_answer(walk.curl(token), 500, b'{"message":null}', "AuthorizerConfigurationException")
        assert walk.invokes() == []

    def test_the_api_account_cannot_touch_the_security_accounts_function(self, walk):
        for arguments in (
            ("get-function", "--function-name", FUNCTION),
            ("get-policy", "--function-name", FUNCTION),
            ("update-function-configuration", "--function-name", FUNCTION, "--timeout", "9"),
            ("delete-function", "--function-name", FUNCTION),
            ("invoke", "--function-name", FUNCTION, "--payload", "{}", "/dev/null"),
        ):
            ran = walk.api.cli("lambda", *arguments, check=False)
            assert ran.code != 0 and "AccessDenied" in ran.stderr, (arguments, ran)
            assert f"arn:aws:iam::{API}:root is not authorized to perform: lambda:" in ran.stderr
        ran = walk.add_permission(aws=walk.api, check=False)
        assert ran.code != 0 and "(AccessDeniedException)" in ran.stderr, ran
        assert f"User: arn:aws:iam::{API}:root is not authorized to perform: lambda:AddPermission" in ran.stderr
        shown = walk.security.cli("lambda", "get-function-configuration", "--function-name", FUNCTION).json()
        assert shown["Timeout"] == 3
        assert walk.curl("allow").status == 500

    def test_a_wrong_secret_and_an_unknown_key_are_refused(self, walk):
        real = walk.security.identity
        wrong = Aws(walk.server.endpoint, Account(real.id, real.access_key, "x" * 40))
        ran = walk.add_permission(aws=wrong, check=False)
        assert ran.code != 0 and "(InvalidSignatureException)" in ran.stderr, ran
        assert "The request signature we calculated does not match the signature you provided." in ran.stderr
        unknown = Aws(walk.server.endpoint, Account(real.id, "AKIAABCDEFGHIJKLMNOP", real.secret))
        ran = walk.add_permission(aws=unknown, check=False)
        assert ran.code != 0 and "(UnrecognizedClientException)" in ran.stderr, ran
        assert "The security token included in the request is invalid." in ran.stderr
        assert walk.curl("allow").status == 500

    @pytest.mark.parametrize(
        "other",
        [
            "arn:aws:execute-api:us-east-1:{account}:{api}/authorizers/AUTHORIZER_ID",
            "arn:aws:execute-api:us-east-1:999999999999:{api}/authorizers/{authorizer}",
            "arn:aws:execute-api:us-east-1:{account}:zzzzzzzzzz/authorizers/{authorizer}",
            "arn:aws:execute-api:us-east-1:{account}:{api}/*/GET/",
            "arn:aws:execute-api:eu-west-1:{account}:{api}/authorizers/{authorizer}",
        ],
    )
    def test_a_permission_for_another_source_arn_does_not_help(self, walk, other):
        source = other.format(account=API, api=walk.api_id, authorizer=walk.authorizer)
        sid = str(uuid.uuid4())
        walk.add_permission(source, sid=sid)
        check_gateway_answer(walk.curl("allow"), 500, b'{"message":null}', "AuthorizerConfigurationException")
        walk.security.cli("lambda", "remove-permission", "--function-name", FUNCTION, "--statement-id", sid)
        assert walk.invokes() == []

    def test_allow_the_gateway_to_invoke_the_authorizer(self, walk):
        walk.statement = str(uuid.uuid4())
        answer = walk.add_permission(sid=walk.statement).json()
        # Text and order of AWS's own answer, as the post prints it.
        expected = (
            '{"Sid":"%s","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},'
            '"Action":"lambda:InvokeFunction","Resource":"%s","Condition":{"ArnLike":{"AWS:SourceArn":"%s"}}}'
        )
        assert answer == {"Statement": expected % (walk.statement, FUNCTION, walk.source_arn)}

    def test_with_permission_the_token_decides(self, walk):
        answer = walk.curl("allow")
        assert (answer.status, answer.body) == (200, b'{"message":"hello"}')
        assert answer.header("x-amzn-ErrorType") is None
        assert UUID.fullmatch(answer.header("x-amzn-RequestId") or "") and answer.header("x-amz-apigw-id")
        check_gateway_answer(walk.curl("deny"), 403, EXPLICIT, "AccessDeniedException")
        check_gateway_answer(walk.curl("unauthorized"), 401, b'{"message":"Unauthorized"}', "UnauthorizedException")
        check_gateway_answer(walk.curl("anything else"), 500, b'{"message":null}', "AuthorizerConfigurationException")
        check_gateway_answer(walk.curl(None), 401, b'{"message":"Unauthorized"}', "UnauthorizedException")
        check_gateway_answer(walk.curl(""), 401, b'{"message":"Unauthorized"}', "UnauthorizedException")

    def test_the_security_accounts_audit_shows_the_call_from_the_api_account(self, walk):
        # allow, deny, unauthorized and the broken token ran the function; 401 without a token did not.
        found = eventually(lambda: (e := walk.invokes()) and len(e) >= 4 and e)
        assert len(found) == 4
        record = found[0]
        for name in ("requestID", "eventID", "sharedEventID"):
            assert UUID.fullmatch(record[name]), (name, record)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["eventTime"])
        expected = {
            "eventVersion": "1.08",
            "userIdentity": {"type": "AWSService", "invokedBy": "apimanager.amazonaws.com"},
            "eventTime": record["eventTime"],
            "eventSource": "lambda.amazonaws.com",
            "eventName": "Invoke",
            "awsRegion": "us-east-1",
            "sourceIPAddress": "apimanager.amazonaws.com",
            "userAgent": "apimanager.amazonaws.com",
            "requestParameters": {
                "functionName": FUNCTION,
                "sourceArn": walk.source_arn,
                "contentType": "application/json",
            },
            "responseElements": None,
            "additionalEventData": {"functionVersion": f"{FUNCTION}:$LATEST"},
            "requestID": record["requestID"],
            "eventID": record["eventID"],
            "readOnly": False,
            "resources": [{"accountId": SECURITY, "type": "AWS::Lambda::Function", "ARN": FUNCTION}],
            "eventType": "AwsApiCall",
            "managementEvent": False,
            "recipientAccountId": SECURITY,
            "sharedEventID": record["sharedEventID"],
            "eventCategory": "Data",
        }
        assert record == expected
        assert list(record) == list(expected), "members are in AWS's order"
        shown = walk.security.cli(
            "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=Invoke"
        ).json()["Events"]
        assert [json.loads(e["CloudTrailEvent"]) for e in shown] == found
        assert (shown[0]["ReadOnly"], shown[0]["EventSource"]) == ("false", "lambda.amazonaws.com")
        # The API account receives no record of the invocation; only its own refused attempt may be there.
        assert [e for e in make.events(walk.api, "EventName", "Invoke") if "errorCode" not in e] == []

    def test_the_audit_shows_who_changed_the_permission_and_who_tried(self, walk):
        added = make.events(walk.security, "EventName", "AddPermission20150331v2")
        done = [e for e in added if e.get("errorCode") is None and e["requestParameters"]["statementId"] == walk.statement]
        assert len(done) == 1
        record = done[0]
        assert record["userIdentity"]["type"] == "Root" and record["userIdentity"]["accountId"] == SECURITY
        assert record["requestParameters"] == {
            "functionName": FUNCTION,
            "statementId": walk.statement,
            "action": "lambda:InvokeFunction",
            "principal": "apigateway.amazonaws.com",
            "sourceArn": walk.source_arn,
        }
        tried = [e for e in make.events(walk.api, "EventName", "AddPermission20150331v2") if e.get("errorCode")]
        assert tried and tried[0]["errorCode"] == "AccessDenied"
        assert "is not authorized to perform: lambda:AddPermission" in tried[0]["errorMessage"]

    def test_the_decision_is_cached_as_aws_caches_it(self, walk):
        before = len(walk.invokes())
        for _ in range(3):
            assert walk.curl("allow").status == 200
            assert walk.curl("deny").status == 403
        assert len(walk.invokes()) == before

    def test_a_restart_keeps_everything(self, walk):
        walk.server.stop()
        walk.server.start()
        assert walk.curl("allow").status == 200
        assert walk.curl("deny").status == 403
        policy = walk.security.cli("lambda", "get-policy", "--function-name", FUNCTION).json()
        assert [s["Sid"] for s in json.loads(policy["Policy"])["Statement"]] == [walk.statement]

    def test_kill_9_keeps_everything(self, walk):
        walk.server.kill()
        walk.server.start()
        assert walk.curl("allow").status == 200
        assert walk.curl("deny").status == 403
        check_gateway_answer(walk.curl(None), 401, b'{"message":"Unauthorized"}', "UnauthorizedException")
        assert make.events(walk.security, "EventName", "AddPermission20150331v2"), "the audit survived"

    def test_after_remove_permission_it_is_refused_again(self, walk):
        walk.security.cli("lambda", "remove-permission", "--function-name", FUNCTION, "--statement-id", walk.statement)
        # A cached answer needs no invocation, so empty the cache as an operator would.
        walk.api.cli("apigateway", "flush-stage-authorizers-cache", "--rest-api-id", walk.api_id, "--stage-name", "Dev")
        for token in ("allow", "deny"):
            check_gateway_answer(walk.curl(token), 500, b'{"message":null}', "AuthorizerConfigurationException")
        ran = walk.security.cli("lambda", "get-policy", "--function-name", FUNCTION, check=False)
        assert ran.code != 0 and "(ResourceNotFoundException)" in ran.stderr and "The resource you requested does not exist." in ran.stderr

    def test_and_again_after_kill_9(self, walk):
        walk.server.kill()
        walk.server.start()
        assert walk.curl("allow").status == 500
        walk.add_permission()
        assert walk.curl("allow").status == 200, "a new permission counts for the next call"


def test_a_function_of_another_account_is_a_backend_under_the_same_rule(server, api, security, unique):
    name = unique("backend")
    arn = make.function(security, name, "echo_proxy.py")
    rest = make.Api.create(api, name)
    rest.proxy("GET", "/pets", arn)
    rest.deploy()
    refused = wire.invoke(server.port, rest.id, "Dev", "/pets")
    assert (refused.status, refused.body) == (500, b'{"message":"Internal server error"}')
    assert refused.error_type == "InternalServerErrorException"
    # The authorizers' form does not cover a method.
    sid = make.permit(security, name, f"{rest.arn}/authorizers/*")
    assert wire.invoke(server.port, rest.id, "Dev", "/pets").status == 500
    security.awslambda.remove_permission(FunctionName=name, StatementId=sid)
    make.permit(security, name, f"{rest.arn}/*/GET/pets")
    answer = wire.invoke(server.port, rest.id, "Dev", "/pets")
    assert answer.status == 200 and answer.json()["requestContext"]["accountId"] == API
    record = make.events(security, "ResourceName", arn)[0]
    assert record["eventName"] == "Invoke"
    assert record["requestParameters"]["sourceArn"] == f"{rest.arn}/Dev/GET/pets"


def test_a_development_key_needs_the_flag_and_is_announced(own_server):
    server = own_server(())
    server.create_account(API, "api")
    server.start()
    named = Account(API, API, "anything")
    answer = wire.query_call(server.port, wire.Signing(named, "sts"), "GetCallerIdentity")
    assert answer.status == 403 and "InvalidClientTokenId" in answer.text
    server.stop()
    server.arguments = ("--dev-credentials",)
    server.start()
    answer = wire.query_call(server.port, wire.Signing(named, "sts"), "GetCallerIdentity")
    assert answer.status == 200 and f"arn:aws:iam::{API}:root" in answer.text
    zero = wire.query_call(server.port, wire.Signing(Account("", "test", "x"), "sts"), "GetCallerIdentity")
    assert zero.status == 200 and "<Account>000000000000</Account>" in zero.text
    assert any("dev" in line.lower() and "credential" in line.lower() for line in server.log), server.tail()
    # Keys from IAM are verified all the same.
    user = make.user(Aws(server.endpoint, named), "checked", make.ALLOW_ALL)
    wrong = Account(API, user.access_key, "x" * 40)
    answer = wire.query_call(server.port, wire.Signing(wrong, "sts"), "GetCallerIdentity")
    assert answer.status == 403 and "SignatureDoesNotMatch" in answer.text


def test_account_commands_keep_their_contract(own_server):
    server = own_server(())
    made = server.create_account(API, "api")
    assert re.fullmatch("AKIA[A-Z0-9]{16}", made.access_key) and len(made.secret) == 40
    server.start()
    assert server.data_dir.stat().st_mode & 0o077 == 0, "nobody else reads the data directory"
    server.create_account(SECURITY, "security")
    listed = json.loads(server.run("account", "list", "--data-dir", str(server.data_dir), "--output", "json").stdout)
    rows = listed if isinstance(listed, list) else listed["Accounts"]
    assert {row["AccountId"] for row in rows} >= {API, SECURITY}
    assert made.secret not in json.dumps(listed)
    twice = server.run("account", "create", "--data-dir", str(server.data_dir), "--id", API, "--name", "x", check=False)
    assert twice.returncode == 1 and API in twice.stderr + twice.stdout
    usage = server.run("account", "create", "--data-dir", str(server.data_dir), "--id", "12", "--name", "x", check=False)
    assert usage.returncode == 2
    assert server.run("no-such-command", check=False).returncode == 2
    server.stop()
    assert any("isolat" in line for line in server.log), "start says what keeps functions apart"
