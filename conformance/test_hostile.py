"""Bad input of every kind: a clear AWS error, bounded memory, nothing changed, and the server lives."""

import io
import json
import random
import stat
import zipfile
import zlib

import pytest

import functions
import make
import wire
from aws import eventually, refused

MB = 1024 * 1024
# While a test is at it, and once all is over.
MEMORY_MB_MAX = 400
MEMORY_AFTERWARDS_MB_MAX = 250


@pytest.fixture(autouse=True)
def lives(server, api):
    yield
    assert server.running(), server.tail()
    assert api.sts.get_caller_identity()["Account"] == api.account
    assert not any("panicked" in line for line in server.log), server.tail()


def rest_json(server, api, method, path, body: bytes, service="apigateway", headers=()):
    return wire.signed(server.port, wire.Signing(api.identity, service), method, path, headers=headers, body=body)


NOT_JSON = [
    b"{", b"[", b"nul", b'{"name":', b'{"name":"x"', b"\xff\xfe\x00", b'{"name":"\xff"}', b'"text"', b"7", b"[]", b"null",
    b"{" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"name":1e999999}', b'{"name":"\\ud800"}', b"\xef\xbb\xbf{}", b" " * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_malformed_json(server, api, body):
    before = len(api.apigateway.get_rest_apis(limit=500)["items"])
    for service, path in (("apigateway", "/restapis"), ("lambda", "/2015-03-31/functions")):
        answer = rest_json(server, api, "POST", path, body, service)
        assert 400 <= answer.status < 500, (service, answer.status, answer.text[:200])
        assert answer.error_type and json.loads(answer.body), answer.text
    answer = wire.target_call(server.port, wire.Signing(api.identity, "cloudtrail"), "CreateTrail", body)
    assert 400 <= answer.status < 500 and "__type" in answer.text
    assert len(api.apigateway.get_rest_apis(limit=500)["items"]) == before


@pytest.mark.parametrize(
    "body",
    [
        b"", b"Action", b"Action=", b"Action=NoSuchThing&Version=2010-05-08", b"Action=ListUsers", b"Action=ListUsers&Version=1999-01-01",
        b"%", b"%zz=%", b"Action=CreateUser&Version=2010-05-08&UserName=%ff%fe",
        b"Action=CreateUser&Version=2010-05-08&UserName=" + b"a" * 100_000,
        b"Action=CreateUser&Version=2010-05-08&UserName=x&" + b"&".join(b"Tags.member.%d.Key=k%d" % (n, n) for n in range(1, 5000)),
        b"Action=CreateUser&Version=2010-05-08&UserName=x" + b"&Tags.member" * 5000,
    ],
    ids=range(12),
)  # fmt: skip
def test_malformed_forms(server, api, body):
    users = len(api.iam.list_users(MaxItems=1000)["Users"])
    answer = wire.signed(server.port, wire.Signing(api.identity, "iam"), "POST", "/", headers=[wire.FORM], body=body)
    assert 400 <= answer.status < 500, (answer.status, answer.text[:300])
    assert len(api.iam.list_users(MaxItems=1000)["Users"]) == users


def test_a_list_index_is_not_a_length(server, api, unique):
    """However far apart the indices of a list are, it is as long as it has members."""
    name = unique("sparse")
    before = server.memory_mb()
    parameters = f"UserName={name}&Tags.member.999999999999.Key=a&Tags.member.999999999999.Value=b"
    answer = wire.query_call(server.port, wire.Signing(api.identity, "iam"), "CreateUser", parameters)
    assert answer.status in (200, 400), answer.text
    if answer.status == 200:
        assert api.iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert server.memory_mb() - before < 50


@pytest.mark.parametrize(
    "body",
    [
        b"<", b"<a>", b"<a></b>", b"not xml", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        b'<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]><CreateBucketConfiguration>&lol2;</CreateBucketConfiguration>',
        b"<a>" * 50_000, b"\xff\xfe", b"<CreateBucketConfiguration><LocationConstraint>nowhere-9</LocationConstraint></CreateBucketConfiguration>",
    ],
    ids=range(9),
)  # fmt: skip
def test_malformed_xml(server, api, body, unique):
    bucket = unique("xml")
    answer = wire.signed(server.port, wire.Signing(api.identity, "s3"), "PUT", f"/{bucket}", body=body)
    assert 400 <= answer.status < 500 and "<Code>" in answer.text, (answer.status, answer.text[:300])
    assert bucket not in [b["Name"] for b in api.s3.list_buckets()["Buckets"]]


def bomb() -> bytes:
    """A small zip that unpacks to more than Lambda's 262,144,000 bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        zeros = b"\0" * (64 * MB)
        for number in range(5):
            bundle.writestr(f"zeros-{number}", zeros)
    return buffer.getvalue()


def entry(name: str, content: bytes = b"x", mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        bundle.writestr(info, content)
    return buffer.getvalue()


GOOD = functions.zipped("echo.js")
ZIPS = {
    "empty": b"",
    "text": b"not a zip at all",
    "cut": GOOD[: len(GOOD) // 2],
    "tail only": GOOD[-22:],
    "flipped": GOOD[:40] + bytes(b ^ 0xFF for b in GOOD[40:80]) + GOOD[80:],
    "parent path": entry("../../escape.js"),
    "absolute path": entry("/tmp/portcullis-escape.js"),
    "backslashes": entry("..\\..\\escape.js"),
    "symlink out": entry("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "long name": entry("a" * 5000),
    "gzip": zlib.compress(b"x" * 1000),
}


@pytest.mark.parametrize("kind", [*ZIPS, "bomb"])
def test_malformed_zips(server, api, kind):
    data = bomb() if kind == "bomb" else ZIPS[kind]
    name = "never-unpacked"
    given = {"FunctionName": name, "Runtime": "nodejs20.x", "Role": make.lambda_role(api), "Handler": "index.handler"}
    refusal = refused(api.awslambda.create_function, **given, Code={"ZipFile": data})
    assert refusal.code in ("InvalidParameterValueException", "ValidationException", "RequestEntityTooLargeException"), refusal
    assert refused(api.awslambda.get_function, FunctionName=name).code == "ResourceNotFoundException"
    assert server.memory_mb() < MEMORY_MB_MAX


def test_uploads_have_an_end(server, api):
    """70,167,211 bytes is AWS's bound for CreateFunction; an announced length is refused before it is sent."""
    signing = wire.Signing(api.identity, "lambda")
    pairs = signing.sign(server.port, "POST", "/2015-03-31/functions", "", [], b"")
    with wire.Connection(server.port) as connection:
        connection.send(wire.head("POST", "/2015-03-31/functions", [*pairs, ("Content-Length", str(71 * MB))]))
        answer = connection.receive()
    assert answer.status == 413, answer.text
    with wire.Connection(server.port) as connection:
        connection.send(wire.head("POST", "/2015-03-31/functions", [*pairs, ("Transfer-Encoding", "chunked")]))
        chunk = b"100000\r\n" + b"x" * MB + b"\r\n"
        try:
            for _ in range(90):
                connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            assert connection.receive().status == 413
        except (ConnectionError, OSError):
            pass  # The door is an answer too.
    assert server.memory_mb() < MEMORY_MB_MAX


def test_bodies_of_many_callers_share_one_bound(server):
    """Bodies of control-plane requests may take 512 MiB together, whoever sends them and however many they are."""
    before = server.memory_mb()
    connections = [wire.Connection(server.port, 0.3) for _ in range(40)]
    try:
        for connection in connections:
            try:
                connection.send(wire.head("POST", "/2015-03-31/functions", [("Host", "x"), ("Content-Length", str(60 * MB))]))
                connection.send(b"x" * (20 * MB))
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass
            assert server.memory_mb() - before < 512 + 100
        answer = wire.query_call(server.port, wire.Signing(server.accounts["111111111111"], "sts"), "GetCallerIdentity")
        assert answer.status in (200, 503), "small requests are answered, or told to come again"
    finally:
        for connection in connections:
            connection.socket.close()


ARNS = ["arn:", "arn:aws:lambda", "arn:aws:lambda:us-east-1:1:function:f", ":" * 200, "arn:aws:lambda:us-east-1:111111111111:function:f:g:h:i", "function:", "arn:aws:lambda:us-east-1:111111111111:function:" + "x" * 500, "a/b", "..", "%2e%2e", "\u202e", "f ", "*"]  # fmt: skip


@pytest.mark.parametrize("name", ARNS, ids=range(len(ARNS)))
def test_malformed_names_and_arns(server, api, name):
    from urllib.parse import quote

    for suffix in ("", "/policy", "/configuration"):
        path = f"/2015-03-31/functions/{quote(name, safe='')}{suffix}"
        answer = rest_json(server, api, "GET", path, b"", "lambda")
        assert 400 <= answer.status < 500, (path, answer.status, answer.text[:200])
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{name}/invocations"
    rest = make.Api.create(api, "hostile-arn")
    body = json.dumps({"name": "a", "type": "TOKEN", "authorizerUri": uri, "identitySource": "method.request.header.A"}).encode()
    answer = rest_json(server, api, "POST", f"/restapis/{rest.id}/authorizers", body)
    assert answer.status in (201, 400), (name, answer.status, answer.text)
    if answer.status == 201:
        rest.mock("GET", "/", authorizer=answer.json()["id"])
        rest.deploy()
        assert wire.invoke(server.port, rest.id, "Dev", headers=[("A", "x")]).status == 500, "what cannot be invoked fails closed"
    rest.delete()


def test_policies_that_are_large_or_deep_are_refused_quickly(api, unique):
    name = unique("policies")
    api.iam.create_user(UserName=name)
    deep = {"StringEquals": {"aws:x": "y"}}
    for _ in range(500):
        deep = {"a": deep}
    many = [{"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::b{n}/*"} for n in range(3000)]
    for document in (
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": deep}]},
        {"Version": "2012-10-17", "Statement": many},
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*" * 5000, "Resource": "*"}]},
    ):
        refusal = refused(api.iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        assert refusal.code in ("MalformedPolicyDocument", "LimitExceeded", "ValidationError"), refusal


def test_patterns_of_an_authorizers_policy_do_not_cost_time(server, api, unique):
    """Many stars against a long path: the answer comes at once, whatever it is."""
    import time

    name = unique("stars")
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:" + "*a" * 200 + "b"}
    answer = {"principalId": "u", "policyDocument": {"Version": "2012-10-17", "Statement": [statement] * 10}}
    function = make.function(api, name, "scripted_authorizer.js", Environment={"Variables": {"SCRIPT": json.dumps([{"returns": answer}])[:3900]}}) if len(json.dumps(answer)) < 3800 else None
    if function is None:
        answer["policyDocument"]["Statement"] = [statement]
        function = make.function(api, name, "scripted_authorizer.js", Environment={"Variables": {"SCRIPT": json.dumps([{"returns": answer}])}})
    make.permit(api, function, None)
    rest = make.Api.create(api, name, endpointConfiguration={"types": ["REGIONAL"]})
    rest.mock("GET", "/{proxy+}", authorizer=rest.authorizer("a", function))
    rest.deploy()
    path = "/" + "a" * 1400
    wire.invoke(server.port, rest.id, "Dev", path, headers=[("Authorizer", "x")])
    started = time.monotonic()
    assert wire.invoke(server.port, rest.id, "Dev", path, headers=[("Authorizer", "x")]).status in (403, 500)
    assert time.monotonic() - started < 2


def test_random_bytes(server):
    chance = random.Random(20260101)
    for _ in range(150):
        with wire.Connection(server.port, 5) as connection:
            data = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 600)))
            if chance.random() < 0.5:
                data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data
            try:
                connection.send(data)
                connection.socket.shutdown(1)
                answer = connection.receive()
                assert answer.status < 600
            except (ConnectionError, TimeoutError, OSError, ValueError, IndexError):
                pass


def test_memory_is_given_back_after_all_of_this(server, api):
    def small():
        api.sts.get_caller_identity()
        return server.memory_mb() < MEMORY_AFTERWARDS_MB_MAX

    # The allocator returns what is free in its own time.
    eventually(small, 90, 0.2)
