"""AWS_IAM methods: calls to a deployed API, signed by botocore, decided by the policies of both sides."""

import json
from dataclasses import replace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import make
import wire
from aws import Aws
from conftest import API, SECURITY
from server import Account

REGION = "us-east-1"
INVOKE = "execute-api:Invoke"
WHO = '{"arn":"$context.identity.userArn","account":"$context.identity.accountId","key":"$context.identity.accessKey"}'


def call(server, rest, identity: Account | None, method="GET", path="/pets", body=b"", sent_body=None, service="execute-api", **sent):
    """One request signed the way clients of API Gateway sign; `sent` replaces headers afterwards."""
    url = f"http://127.0.0.1:{server.port}/_aws/execute-api/{rest.id}/Dev{path}"
    request = AWSRequest(method, url, data=body, headers={"Content-Type": "application/json"})
    if identity:
        SigV4Auth(Credentials(identity.access_key, identity.secret, identity.token), service, REGION).add_auth(request)
    headers = {**dict(request.headers.items()), **sent}
    return wire.invoke(server.port, rest.id, "Dev", path, method, headers, body if sent_body is None else sent_body)


def statement(effect: str, resource, **more) -> dict:
    return {"Effect": effect, "Action": INVOKE, "Resource": resource, **more}


def policy(*statements) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def build(api: Aws, name: str, resource_policy: dict | None = None) -> make.Api:
    rest = make.Api.create(api, name)
    gateway = api.apigateway
    for verb, path in (("GET", "/pets"), ("POST", "/pets"), ("GET", "/stores"), ("GET", "/files/{name}")):
        rest.mock(verb, path, WHO)
        gateway.update_method(
            restApiId=rest.id,
            resourceId=rest.resource(path),
            httpMethod=verb,
            patchOperations=[{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}],
        )
    if resource_policy:
        rest.policy(resource_policy)
    rest.deploy()
    return rest


@pytest.fixture(scope="module")
def rest(api):
    """An API without a policy of its own."""
    rest = build(api, "signed")
    yield rest
    rest.delete()


def check_denied(answer: wire.Answer, who: str, rest: make.Api, end: str, verb="GET", path="pets") -> None:
    arn = f"arn:aws:execute-api:{REGION}:********{API[-4:]}:{rest.id}/Dev/{verb}/{path}"
    expected = {"Message": f"User: {who} is not authorized to perform: {INVOKE} on resource: {arn} {end}"}
    assert (answer.status, answer.error_type, answer.json()) == (403, "AccessDeniedException", expected)


NO_IDENTITY = f"because no identity-based policy allows the {INVOKE} action"
NO_RESOURCE = f"because no resource-based policy allows the {INVOKE} action"
DENIED = "with an explicit deny in a resource-based policy"


def test_an_unsigned_call(server, rest):
    answer = call(server, rest, None)
    assert (answer.status, answer.error_type) == (403, "MissingAuthenticationTokenException")
    assert answer.body == b'{"message":"Missing Authentication Token"}'


def test_the_root_of_the_account(server, rest, api):
    answer = call(server, rest, api.identity)
    assert answer.status == 200, answer.text
    assert answer.json() == {"arn": f"arn:aws:iam::{API}:root", "account": API, "key": api.identity.access_key}


def test_a_user_of_the_account_needs_a_policy(server, rest, api, unique):
    name = unique("caller")
    identity = make.user(api, name)
    arn = f"arn:aws:iam::{API}:user/{name}"
    check_denied(call(server, rest, identity), arn, rest, NO_IDENTITY)
    document = policy(statement("Allow", f"{rest.arn}/Dev/GET/pets"))
    api.iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=json.dumps(document))
    answer = call(server, rest, identity)
    assert (answer.status, answer.json()) == (200, {"arn": arn, "account": API, "key": identity.access_key})
    check_denied(call(server, rest, identity, path="/stores"), arn, rest, NO_IDENTITY, path="stores")
    check_denied(call(server, rest, identity, "POST", body=b"{}"), arn, rest, NO_IDENTITY, "POST")
    document["Statement"].append(statement("Deny", f"{rest.arn}/*"))
    api.iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=json.dumps(document))
    check_denied(call(server, rest, identity), arn, rest, "with an explicit deny in an identity-based policy")


def test_a_boundary_limits_the_caller(server, rest, api, unique):
    name = unique("bounded")
    identity = make.user(api, name, policy(statement("Allow", "*")))
    assert call(server, rest, identity).status == 200
    document = json.dumps(policy(statement("Allow", f"{rest.arn}/Dev/GET/stores")))
    boundary = api.iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    api.iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    assert call(server, rest, identity, path="/stores").status == 200
    end = f"because no permissions boundary allows the {INVOKE} action"
    check_denied(call(server, rest, identity), f"arn:aws:iam::{API}:user/{name}", rest, end)


def test_a_caller_of_another_account_needs_both_sides(server, rest, api, security, unique):
    name = unique("foreign")
    identity = make.user(security, name)
    arn = f"arn:aws:iam::{SECURITY}:user/{name}"
    shared = build(api, unique("shared"), policy(statement("Allow", "execute-api:/Dev/GET/pets", Principal={"AWS": arn})))
    check_denied(call(server, shared, identity), arn, shared, NO_IDENTITY)
    document = json.dumps(policy(statement("Allow", f"arn:aws:execute-api:*:{API}:*")))
    security.iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=document)
    check_denied(call(server, rest, identity), arn, rest, NO_RESOURCE)
    answer = call(server, shared, identity)
    assert (answer.status, answer.json()["account"]) == (200, SECURITY), answer.text
    check_denied(call(server, shared, identity, path="/stores"), arn, shared, NO_RESOURCE, path="stores")
    assert call(server, shared, security.identity).status == 403, "root of an account the policy does not name"
    shared.delete()


def test_a_namesake_inherits_nothing(server, api, security, unique):
    """A policy names a user by id: whoever is made later with the same name is somebody else."""
    name = unique("reborn")
    first = make.user(security, name, policy(statement("Allow", "*")))
    arn = f"arn:aws:iam::{SECURITY}:user/{name}"
    rest = build(api, name, policy(statement("Allow", "execute-api:/*", Principal={"AWS": arn})))
    assert call(server, rest, first).status == 200
    security.iam.delete_access_key(UserName=name, AccessKeyId=first.access_key)
    security.iam.delete_user_policy(UserName=name, PolicyName="inline")
    security.iam.delete_user(UserName=name)
    assert call(server, rest, first).status == 403
    second = make.user(security, name, policy(statement("Allow", "*")))
    check_denied(call(server, rest, second), arn, rest, NO_RESOURCE)
    rest.deploy()
    check_denied(call(server, rest, second), arn, rest, NO_RESOURCE)
    rest.delete()


def test_a_resource_policy_allows_callers_of_its_own_account_and_its_deny_wins(server, api, unique):
    name = unique("named")
    identity = make.user(api, name)
    arn = f"arn:aws:iam::{API}:user/{name}"
    allow = statement("Allow", "execute-api:/*", Principal={"AWS": arn})
    rest = build(api, unique("policy"), policy(allow))
    assert call(server, rest, identity).status == 200, "in one account either side is enough"
    assert call(server, rest, None).status == 403
    api.iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=json.dumps(policy(statement("Allow", "*"))))
    rest.policy(policy(allow, statement("Deny", "execute-api:/Dev/GET/pets", Principal="*")))
    assert call(server, rest, identity).status == 200, "a policy holds from the next deployment"
    rest.deploy()
    check_denied(call(server, rest, identity), arn, rest, DENIED)
    check_denied(call(server, rest, api.identity), f"arn:aws:iam::{API}:root", rest, DENIED)
    assert call(server, rest, identity, path="/stores").status == 200
    rest.policy(None)
    rest.deploy()
    assert call(server, rest, identity).status == 200
    rest.delete()


def test_the_address_of_the_caller_is_a_condition(server, api, unique):
    rest = build(
        api,
        unique("from"),
        policy(
            statement("Allow", "execute-api:/*", Principal="*"),
            statement("Deny", "execute-api:/*", Principal="*", Condition={"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        ),
    )
    inside, outside = ({"X-Forwarded-For": ip} for ip in ("203.0.113.7", "198.51.100.7"))
    assert call(server, rest, api.identity, **inside).status == 200
    check_denied(call(server, rest, api.identity, **outside), f"arn:aws:iam::{API}:root", rest, DENIED)
    rest.delete()


def test_wrong_signatures(server, rest, api):
    root = api.identity
    wrong = call(server, rest, replace(root, secret="x" * 40))
    assert (wrong.status, wrong.error_type) == (403, "InvalidSignatureException")
    assert wrong.json()["message"].startswith("The request signature we calculated does not match the signature you provided.")
    assert call(server, rest, root, service="lambda").status == 403, "signed for another service"
    unknown = call(server, rest, replace(root, access_key="AKIAAAAAAAAAAAAAAAAA"))
    assert (unknown.status, unknown.error_type) == (403, "UnrecognizedClientException")
    assert unknown.json() == {"message": "The security token included in the request is invalid."}
    body = b'{"amount":1}'
    assert call(server, rest, root, "POST", body=body).status == 200
    tampered = call(server, rest, root, "POST", body=body, sent_body=b'{"amount":9}')
    assert (tampered.status, tampered.error_type) == (403, "InvalidSignatureException")
    renamed = call(server, rest, root, "POST", body=body, **{"Content-Type": "text/plain"})
    assert renamed.status == (403 if "content-type" in header_names(root) else 200)
    late = call(server, rest, root, **{"X-Amz-Date": "20200101T000000Z"})
    assert (late.status, late.error_type) == (403, "InvalidSignatureException")
    garbled = call(server, rest, root, Authorization="allow")
    assert garbled.status == 403


def test_what_is_signed_is_what_was_sent(server, rest, api):
    """By host name, with parts that are percent-encoded, with a query; and nothing of it can be changed on the way."""
    host = f"{rest.id}.execute-api.{REGION}.localhost:{server.port}"
    for path, query in (("/Dev/stores", "b=2&a=1&a=%C3%BC&empty="), ("/Dev/files/a%20b%2Bc", "")):
        url = f"http://{host}{path}" + (f"?{query}" if query else "")
        request = AWSRequest("GET", url, headers={"Host": host})
        SigV4Auth(Credentials(api.identity.access_key, api.identity.secret), "execute-api", REGION).add_auth(request)
        headers = dict(request.headers.items())
        target = path + (f"?{query}" if query else "")
        answer = wire.call(server.port, "GET", target, headers)
        assert answer.status == 200, (path, answer.text)
        for changed in (path[:-1] + "x" + (f"?{query}" if query else ""), target + ("&" if query else "?") + "more=1"):
            answer = wire.call(server.port, "GET", changed, headers)
            assert answer.status == 403 and answer.error_type != "AccessDeniedException", changed


def test_a_body_cannot_be_left_out_of_the_signature(server, rest, api):
    path, headers = f"/_aws/execute-api/{rest.id}/Dev/pets", [("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")]
    signing = wire.Signing(api.identity, "execute-api", body_hash="UNSIGNED-PAYLOAD")
    answer = wire.signed(server.port, signing, "POST", path, headers=headers, body=b'{"amount":1}')
    assert (answer.status, answer.error_type) == (403, "InvalidSignatureException"), answer.text


def test_a_signature_for_another_region(server, rest, api):
    path = f"/_aws/execute-api/{rest.id}/Dev/pets"
    answer = wire.signed(server.port, wire.Signing(api.identity, "execute-api", region="eu-west-1"), "GET", path)
    assert (answer.status, answer.error_type) == (403, "InvalidSignatureException"), answer.text
    assert answer.json() == {"message": "Credential should be scoped to a valid region, not 'eu-west-1'. "}


def header_names(identity: Account) -> str:
    """Which headers botocore covers."""
    request = AWSRequest("POST", "http://127.0.0.1/", data=b"", headers={"Content-Type": "a/b"})
    SigV4Auth(Credentials(identity.access_key, identity.secret), "execute-api", REGION).add_auth(request)
    return request.headers["Authorization"]


def test_a_session_is_restricted_by_its_own_policy(server, rest, api, unique):
    name = unique("role")
    trust = policy({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{API}:root"}, "Action": "sts:AssumeRole"})
    role = api.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    document = json.dumps(policy(statement("Allow", f"{rest.arn}/*")))
    api.iam.put_role_policy(RoleName=name, PolicyName="call", PolicyDocument=document)
    user = Aws(api.endpoint, make.user(api, unique("assumer"), policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role})))

    def session(**more) -> Account:
        given = user.sts.assume_role(RoleArn=role, RoleSessionName="tests", **more)["Credentials"]
        return Account(API, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    free, narrow = session(), session(Policy=json.dumps(policy(statement("Allow", f"{rest.arn}/Dev/GET/stores"))))
    arn = f"arn:aws:sts::{API}:assumed-role/{name}/tests"
    answer = call(server, rest, free)
    assert (answer.status, answer.json()["arn"]) == (200, arn)
    assert call(server, rest, narrow, path="/stores").status == 200
    check_denied(call(server, rest, narrow), arn, rest, f"because no session policy allows the {INVOKE} action")
    assert call(server, rest, replace(free, token=None)).status == 403
    assert call(server, rest, replace(free, token=narrow.token)).status == 403
    api.iam.delete_role_policy(RoleName=name, PolicyName="call")
    check_denied(call(server, rest, free), arn, rest, NO_IDENTITY)


def test_a_key_that_is_switched_off_or_deleted_signs_nothing(server, rest, api, unique):
    name = unique("keyed")
    identity = make.user(api, name, policy(statement("Allow", "*")))
    key = {"UserName": name, "AccessKeyId": identity.access_key}
    assert call(server, rest, identity).status == 200
    api.iam.update_access_key(**key, Status="Inactive")
    off = call(server, rest, identity)
    assert (off.status, off.error_type) == (403, "UnrecognizedClientException"), off.text
    api.iam.update_access_key(**key, Status="Active")
    assert call(server, rest, identity).status == 200
    api.iam.delete_access_key(**key)
    assert call(server, rest, identity).status == 403


def test_the_decision_says_who_signed_and_what_decided(server, rest, api, unique):
    name = unique("explained")
    identity = make.user(api, name)
    decision = wire.decision(server.port, api.identity, call(server, rest, identity).decision).json()
    assert [step["step"] for step in decision["steps"]] == ["caller", "iam"]
    assert decision["steps"][0]["arn"] == f"arn:aws:iam::{API}:user/{name}"
    assert decision["authorization"] == "AWS_IAM" and NO_IDENTITY in decision["steps"][1]["text"]
    assert identity.secret not in json.dumps(decision)
