"""Signature Version 4 as AWS checks it, for each protocol with its own error: what is wrong is refused, and nothing else."""

import json
import urllib.parse
from datetime import timedelta

import boto3
import pytest
from botocore.config import Config

import make
import wire
from aws import Aws
from server import Account

WRONG = "The request signature we calculated does not match the signature you provided."
INVALID = "The security token included in the request is invalid"


def list_functions(port, signing, **changes):
    return wire.signed(port, signing, "GET", "/2015-03-31/functions", **changes)


def rest_apis(port, signing, **changes):
    return wire.signed(port, signing, "GET", "/restapis", **changes)


def users(port, signing, **changes):
    return wire.query_call(port, signing, "ListUsers", **changes)


def whoami(port, signing, **changes):
    return wire.query_call(port, signing, "GetCallerIdentity", **changes)


def lookup(port, signing, **changes):
    return wire.target_call(port, signing, "LookupEvents", **changes)


def buckets(port, signing, **changes):
    return wire.signed(port, signing, "GET", "/", **changes)


# service: call, status of a refusal, code for a wrong signature, for an unknown key, for nothing signed
SERVICES = {
    "lambda": (list_functions, 403, "InvalidSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException"),
    "apigateway": (rest_apis, 403, "InvalidSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException"),
    "iam": (users, 403, "SignatureDoesNotMatch", "InvalidClientTokenId", "MissingAuthenticationToken"),
    "sts": (whoami, 403, "SignatureDoesNotMatch", "InvalidClientTokenId", "MissingAuthenticationToken"),
    "cloudtrail": (lookup, 400, "InvalidSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException"),
    "s3": (buckets, 403, "SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied"),
}
EACH = pytest.mark.parametrize("service", list(SERVICES))


def code(answer: wire.Answer) -> str:
    """The error code wherever the protocol puts it."""
    if answer.text.lstrip().startswith("<"):
        return answer.text.split("<Code>")[1].split("</Code>")[0]
    if "__type" in answer.text:
        return answer.json()["__type"].split("#")[-1]
    return answer.error_type or ""


@pytest.fixture
def identity(api):
    return api.identity


@EACH
def test_a_right_signature_passes(server, identity, service):
    answer = SERVICES[service][0](server.port, wire.Signing(identity, service))
    assert answer.status == 200, answer.text


@EACH
def test_a_wrong_secret(server, identity, service):
    call, status, wrong, _, _ = SERVICES[service]
    answer = call(server.port, wire.Signing(identity, service, secret="y" * 40))
    assert (answer.status, code(answer)) == (status, wrong), answer.text
    assert WRONG in answer.text
    assert "AWS4-HMAC-SHA256\\n" not in answer.text, "the string to sign is not shown"


@EACH
def test_an_unknown_key(server, identity, service):
    call, status, _, unknown, _ = SERVICES[service]
    answer = call(server.port, wire.Signing(identity, service, access_key="AKIAZZZZZZZZZZZZZZZZ"))
    assert (answer.status, code(answer)) == (status, unknown), answer.text
    if service != "s3":
        assert INVALID in answer.text


@EACH
def test_nothing_signed(server, identity, service):
    call, status, _, _, missing = SERVICES[service]
    signing = wire.Signing(identity, service)
    signing.sign = lambda port, method, path, query, headers, body: [("Host", f"127.0.0.1:{port}"), *headers]
    answer = call(server.port, signing)
    # An unsigned GET / can only be meant for S3, which answers anonymous callers in its own way.
    assert (answer.status, code(answer)) == (status, missing), answer.text


@EACH
@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_may_be_a_little_wrong(server, identity, service, minutes):
    answer = SERVICES[service][0](server.port, wire.Signing(identity, service, offset=timedelta(minutes=minutes)))
    assert answer.status == 200, answer.text


@EACH
@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_may_not_be_far_off(server, identity, service, minutes):
    call, status, wrong, _, _ = SERVICES[service]
    answer = call(server.port, wire.Signing(identity, service, offset=timedelta(minutes=minutes)))
    expected = "RequestTimeTooSkewed" if service == "s3" else wrong
    assert (answer.status, code(answer)) == (status, expected), answer.text
    if service != "s3":
        assert ("Signature expired: " if minutes < 0 else "Signature not yet current: ") in answer.text


@pytest.mark.parametrize("service", ["lambda", "cloudtrail"])
def test_json_services_allow_five_minutes(server, identity, service):
    answer = SERVICES[service][0](server.port, wire.Signing(identity, service, offset=timedelta(minutes=-8)))
    assert "Signature expired: " in answer.text and " - 5 min.)" in answer.text


@pytest.mark.parametrize("service", ["iam", "sts", "s3"])
def test_older_services_allow_fifteen_minutes(server, identity, service):
    answer = SERVICES[service][0](server.port, wire.Signing(identity, service, offset=timedelta(minutes=-8)))
    assert answer.status == 200, answer.text


@EACH
def test_a_scope_of_another_date_region_or_service(server, identity, service):
    call, status, *_ = SERVICES[service]
    for changes in ({"terminator": "aws4_nonsense"}, {"algorithm": "AWS4-HMAC-MD5"}):
        answer = call(server.port, wire.Signing(identity, service, **changes))
        assert answer.status in (400, 403), (changes, answer.text)


def test_a_tampered_body(server, api, unique):
    name = unique("tampered")
    signing = wire.Signing(api.identity, "apigateway")
    body = json.dumps({"name": name}).encode()
    answer = wire.signed(server.port, signing, "POST", "/restapis", body=body, sent_body=body.replace(b"tampered", b"Tampered"))
    assert (answer.status, code(answer)) == (403, "InvalidSignatureException")
    assert wire.signed(server.port, signing, "POST", "/restapis", body=body).status == 201


@pytest.mark.parametrize(
    "changes",
    [
        {"sent_query": "limit=2"},
        {"sent_query": "limit=1&position=x"},
        {"sent_path": "/account"},
        {"sent_headers": [("X-Extra", "2")]},
        {"sent_headers": [("Host", "other.example:1")]},
    ],
    ids=str,
)
def test_whatever_is_signed_cannot_be_changed(server, identity, changes):
    signing = wire.Signing(identity, "apigateway")
    headers = [("X-Extra", "1")]
    assert wire.signed(server.port, signing, "GET", "/restapis", "limit=1", headers).status == 200
    answer = wire.signed(server.port, signing, "GET", "/restapis", "limit=1", headers, **changes)
    assert (answer.status, code(answer)) == (403, "InvalidSignatureException"), answer.text


def test_the_verb_is_signed(server, identity):
    signing = wire.Signing(identity, "apigateway")
    pairs = signing.sign(server.port, "GET", "/restapis/zzzzzzzzzz", "", [], b"")
    answer = wire.call(server.port, "DELETE", "/restapis/zzzzzzzzzz", pairs)
    assert (answer.status, code(answer)) == (403, "InvalidSignatureException")


def test_unsigned_headers_are_allowed_but_host_is_not(server, identity):
    answer = rest_apis(server.port, wire.Signing(identity, "apigateway", unsigned=("x-extra",)), headers=[("X-Extra", "1")])
    assert answer.status == 200
    answer = rest_apis(server.port, wire.Signing(identity, "apigateway", unsigned=("host",)))
    assert answer.status in (400, 403), answer.text
    answer = buckets(server.port, wire.Signing(identity, "s3", unsigned=("x-amz-extra",)), headers=[("x-amz-extra", "1")])
    assert answer.status == 403 and "not signed" in answer.text, answer.text


def test_s3_checks_the_body_against_its_hash(server, api, unique):
    bucket = unique("hashes")
    api.s3.create_bucket(Bucket=bucket)
    signing = wire.Signing(api.identity, "s3")
    assert wire.signed(server.port, signing, "PUT", f"/{bucket}/a", body=b"right").status == 200
    answer = wire.signed(server.port, signing, "PUT", f"/{bucket}/b", body=b"right", sent_body=b"wrong")
    assert answer.status == 400 and code(answer) in ("XAmzContentSHA256Mismatch", "BadDigest"), answer.text
    answer = wire.signed(server.port, wire.Signing(api.identity, "s3", body_hash="UNSIGNED-PAYLOAD"), "PUT", f"/{bucket}/c", body=b"x")
    assert answer.status == 200, answer.text
    listed = api.s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == ["a", "c"], "the refused object is not there"


MALFORMED = [
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 ",
    "AWS4-HMAC-SHA256 nonsense",
    "AWS4-HMAC-SHA256 Credential=x",
    "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=00",
    "AWS4-HMAC-SHA256 Credential=AKIA/20250101/us-east-1/lambda/aws4_request, SignedHeaders=, Signature=zz",
    "AWS4-HMAC-SHA256 Credential=AKIA/20250101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=" + "0" * 5000,
    "AWS4-HMAC-SHA256 " + "Credential=x, " * 300,
    "AWS4-ECDSA-P256-SHA256 Credential=AKIA/20250101/lambda/aws4_request, SignedHeaders=host, Signature=00",
    "AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=",
    "Basic dXNlcjpwYXNz",
    "Bearer abc",
    "\xff\xfe",
]


@pytest.mark.parametrize("value", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_headers_are_refused_with_an_aws_error(server, value):
    for target, method, headers in (
        ("/2015-03-31/functions", "GET", []),
        ("/restapis", "GET", []),
        ("/", "POST", [wire.FORM]),
        ("/", "POST", [("X-Amz-Target", "CloudTrail_20131101.LookupEvents"), ("Content-Type", "application/x-amz-json-1.1")]),
    ):
        body = b"Action=GetCallerIdentity&Version=2011-06-15" if wire.FORM in headers else b"{}" if method == "POST" else b""
        answer = wire.call(server.port, method, target, [*headers, ("Authorization", value)], body)
        assert answer.status in (400, 403), (target, answer.status, answer.text)
        assert code(answer), answer.text
    assert server.running()


def test_an_incomplete_header_says_everything_that_is_missing(server):
    answer = wire.call(server.port, "GET", "/2015-03-31/functions", [("Authorization", "AWS4-HMAC-SHA256 Nothing=x")])
    assert (answer.status, answer.error_type) == (403, "IncompleteSignatureException"), answer.text
    message = answer.json()["message"]
    for part in ("'Credential' parameter.", "'Signature' parameter.", "'SignedHeaders' parameter."):
        assert f"Authorization header requires {part}" in message


@pytest.fixture
def session(api, unique):
    """Credentials of a role session of the API account that may do everything."""

    def create() -> Account:
        name = unique("signing")
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": api.account}, "Action": "sts:AssumeRole"}]}
        user = Aws(api.endpoint, make.user(api, name, make.ALLOW_ALL))
        api.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        api.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(make.ALLOW_ALL))
        given = user.sts.assume_role(RoleArn=f"arn:aws:iam::{api.account}:role/{name}", RoleSessionName="tests")["Credentials"]
        return Account(api.account, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    return create


def test_session_credentials_need_their_own_token(server, session):
    one, other = session(), session()
    for service in ("lambda", "sts", "cloudtrail", "s3"):
        call, status, _, unknown, _ = SERVICES[service]
        assert call(server.port, wire.Signing(one, service)).status == 200
        expected = {"s3": (400, "InvalidToken")}.get(service, (status, unknown))
        bare = Account(one.id, one.access_key, one.secret)
        for identity, token in ((bare, None), (one, other.token), (one, "nonsense"), (one, one.token[:-4] + "AAAA"), (one, one.token[: len(one.token) // 2])):
            answer = call(server.port, wire.Signing(identity, service, token=token))
            assert answer.status in (expected[0], 403), (service, answer.text)
            assert code(answer) in (expected[1], "InvalidAccessKeyId" if service == "s3" else expected[1]), (service, token, answer.text)


def test_a_presigned_url_of_sts(server, api):
    client = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=api.identity.access_key,
        aws_secret_access_key=api.identity.secret, config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    target = url.split(str(server.port), 1)[1]
    answer = wire.call(server.port, "GET", target)
    assert answer.status == 200 and f"<Arn>arn:aws:iam::{api.account}:root</Arn>" in answer.text, answer.text
    signature = target.split("X-Amz-Signature=")[1][:64]
    for tampered in (
        target.replace(signature, signature[::-1]),
        target.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        target.replace("GetCallerIdentity", "GetSessionToken"),
    ):
        answer = wire.call(server.port, "GET", tampered)
        assert (answer.status, code(answer)) == (403, "SignatureDoesNotMatch"), answer.text
    for wrong in ("X-Amz-Expires=0", "X-Amz-Expires=604801", "X-Amz-Expires=x", "X-Amz-Expires="):
        answer = wire.call(server.port, "GET", target.replace("X-Amz-Expires=60", wrong))
        assert answer.status in (400, 403), (wrong, answer.text)


def test_a_presigned_url_ends(server, api):
    import time

    client = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=api.identity.access_key,
        aws_secret_access_key=api.identity.secret,
    )  # fmt: skip
    target = client.generate_presigned_url("get_caller_identity", ExpiresIn=1, HttpMethod="GET").split(str(server.port), 1)[1]
    time.sleep(2.1)
    answer = wire.call(server.port, "GET", target)
    assert answer.status == 403 and "expired" in answer.text.lower(), answer.text


def test_a_presigned_url_of_s3(server, api, unique):
    bucket = unique("presigned")
    api.s3.create_bucket(Bucket=bucket)
    api.s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"content")
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=api.identity.access_key,
        aws_secret_access_key=api.identity.secret, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    target = url.split(str(server.port), 1)[1]
    assert wire.call(server.port, "GET", target).body == b"content"
    other = target.replace(urllib.parse.quote("ü"), "v")
    assert wire.call(server.port, "GET", other).status == 403


def test_refused_signatures_of_a_known_key_are_not_the_accounts_actions(server, api):
    """A wrong signature proves nothing about its sender, so nothing of it may show as done by the account's root."""
    name = "wrong-signature-was-here"
    body = json.dumps({"name": name}).encode()
    wire.signed(server.port, wire.Signing(api.identity, "apigateway", secret="z" * 40), "POST", "/restapis", body=body)
    for record in make.events(api, "EventName", "CreateRestApi"):
        if name in json.dumps(record):
            assert record.get("errorCode"), record
