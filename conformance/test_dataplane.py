"""Deployed APIs over plain HTTP: exact bytes in, exact bytes out, and nobody who misbehaves holds up others."""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import make
import wire
from conftest import API

KB, MB = 1024, 1024 * 1024
BODY_BYTES_MAX = 10 * MB


@pytest.fixture(scope="module")
def echo(api):
    """An API whose methods echo their event through AWS_PROXY, `/who` behind a REQUEST authorizer."""
    function = make.function(api, "dataplane-echo", "echo_proxy.py", MemorySize=256)
    make.permit(api, function, None)
    guard = make.function(api, "dataplane-guard", "request_authorizer.py")
    make.permit(api, guard, None)
    by_body = make.function(api, "dataplane-by-body", "proxy_by_body.py", Timeout=20)
    make.permit(api, by_body, None)
    rest = make.Api.create(api, "dataplane", endpointConfiguration={"types": ["REGIONAL"]})
    for verb in ("GET", "POST", "HEAD"):
        rest.proxy(verb, "/", function)
    rest.proxy("ANY", "/any", function)
    rest.proxy("GET", "/pets/{petId}", function)
    rest.proxy("GET", "/pets/special", function)
    rest.proxy("ANY", "/files/{proxy+}", function)
    rest.proxy("POST", "/by-body", by_body)
    rest.mock("GET", "/mock", '{"ok":true}')
    rest.mock("HEAD", "/mock", '{"ok":true}')
    authorizer = rest.authorizer("guard", guard, type="REQUEST", identitySource="method.request.header.Who", authorizerResultTtlInSeconds=0)
    rest.proxy("GET", "/who", function, authorizer)
    rest.deploy("live", variables={"colour": "green"})
    return rest


def ask(server, echo, path="/", method="GET", headers=(), body=b"", query=""):
    return wire.invoke(server.port, echo.id, "live", path, method, headers, body, query)


def test_all_three_forms_of_the_address(server, echo):
    by_path = ask(server, echo, "/mock")
    legacy = wire.call(server.port, "GET", f"/restapis/{echo.id}/live/_user_request_/mock")
    by_host = wire.call(server.port, "GET", "/live/mock", host=f"{echo.id}.execute-api.us-east-1.localhost:{server.port}")
    short_host = wire.call(server.port, "GET", "/live/mock", host=f"{echo.id}.execute-api.localhost:{server.port}")
    # Host names have no case, and so an API's id in an address has none either.
    upper = wire.invoke(server.port, echo.id.upper(), "live", "/mock")
    answers = (by_path, legacy, by_host, short_host, upper)
    assert [a.status for a in answers] == [200] * len(answers)
    assert {a.body for a in answers} == {b'{"ok":true}'}


def test_the_proxy_events_form(server, echo):
    event = ask(server, echo, "/pets/4%202", headers=[("X-Own", "a"), ("x-own", "b")], query="a=1&a=2&b=%C3%BC").json()
    assert list(event) == [
        "resource", "path", "httpMethod", "headers", "multiValueHeaders", "queryStringParameters",
        "multiValueQueryStringParameters", "pathParameters", "stageVariables", "requestContext", "body", "isBase64Encoded",
    ]  # fmt: skip
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/pets/{petId}", "/pets/4%202", "GET")
    assert event["pathParameters"] == {"petId": "4%202"}
    assert event["queryStringParameters"] == {"a": "2", "b": "ü"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": ["ü"]}
    assert event["stageVariables"] == {"colour": "green"}
    assert (event["body"], event["isBase64Encoded"]) == (None, False)
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["stage"]) == (API, echo.id, "live")
    assert (context["resourcePath"], context["path"], context["protocol"]) == ("/pets/{petId}", "/live/pets/4%202", "HTTP/1.1")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["requestTime"])
    assert abs(context["requestTimeEpoch"] / 1000 - time.time()) < 60
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert "authorizer" not in context


def test_empty_maps_are_null_for_integrations(server, echo):
    event = ask(server, echo, "/").json()
    for member in ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters"):
        assert event[member] is None, member


def test_header_names_keep_the_clients_spelling(server, echo):
    headers = [("x-lower", "1"), ("X-UPPER", "2"), ("X-miXed-Case", "3"), ("WHO", "me")]
    event = ask(server, echo, "/who", headers=headers).json()
    seen = json.loads(base64.b64decode(event["requestContext"]["authorizer"]["event"]))
    for where, found in (("proxy", event), ("authorizer", seen)):
        for name, value in headers:
            assert found["headers"].get(name) == value, (where, name, found["headers"])
            assert found["multiValueHeaders"].get(name) == [value], (where, name)
    assert seen["type"] == "REQUEST" and seen["queryStringParameters"] == {} and "body" not in seen
    assert seen["methodArn"] == f"{echo.arn}/live/GET/who"
    assert event["requestContext"]["authorizer"]["principalId"] == "user"


def test_the_edges_headers_are_added(server, echo):
    headers = ask(server, echo, "/").json()["headers"]
    assert headers["X-Forwarded-For"] and headers["X-Forwarded-Port"] == str(server.port) and headers["X-Forwarded-Proto"] == "http"
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", headers["X-Amzn-Trace-Id"])


def test_the_caller_behind_a_trusted_proxy(server, echo):
    event = ask(server, echo, "/", headers=[("X-Forwarded-For", "192.0.2.1, 203.0.113.9")]).json()
    assert event["requestContext"]["identity"]["sourceIp"] == "203.0.113.9", "the last address that was not a trusted proxy's"


def test_without_a_trusted_proxy_nobody_chooses_their_address(own_server, unique):
    from aws import Aws

    server = own_server(())
    root = server.create_account(API, "api")
    server.start()
    api = Aws(server.endpoint, root)
    rest = make.Api.create(api, "untrusting")
    rest.mock("GET", "/", '{"ip":"$context.identity.sourceIp"}')
    rest.deploy()
    answer = wire.invoke(server.port, rest.id, "Dev", headers=[("X-Forwarded-For", "203.0.113.9")])
    assert answer.json() == {"ip": "127.0.0.1"}


@pytest.mark.parametrize(
    ("path", "resource", "seen", "parameter"),
    [
        ("/pets/special", "/pets/special", "/pets/special", None),
        ("/pets/other", "/pets/{petId}", "/pets/other", {"petId": "other"}),
        ("/pets/other/", "/pets/{petId}", "/pets/other/", {"petId": "other"}),
        ("/files/a/b/c", "/files/{proxy+}", "/files/a/b/c", {"proxy": "a/b/c"}),
        ("/files/a/", "/files/{proxy+}", "/files/a/", {"proxy": "a"}),
        ("/files/a//b", "/files/{proxy+}", "/files/a//b", {"proxy": "a//b"}),
        ("/files/test%2Balias@gmail.com", "/files/{proxy+}", "/files/test%2Balias@gmail.com", {"proxy": "test%2Balias@gmail.com"}),
        ("/files/2021-08-01T00:00:00Z", "/files/{proxy+}", "/files/2021-08-01T00:00:00Z", {"proxy": "2021-08-01T00:00:00Z"}),
        ("/files/../pets/special", "/files/{proxy+}", "/files/../pets/special", {"proxy": "../pets/special"}),
        ("//mock-no", None, None, None),
        ("/files", None, None, None),
        ("/pets", None, None, None),
        ("/nowhere", None, None, None),
        ("/PETS/special", None, None, None),
    ],
)
def test_routing(server, echo, path, resource, seen, parameter):
    answer = ask(server, echo, path)
    if resource is None:
        assert (answer.status, answer.error_type) == (403, "MissingAuthenticationTokenException"), answer.text
        assert answer.body == b'{"message":"Missing Authentication Token"}'
        return
    event = answer.json()
    assert (event["resource"], event["path"], event["pathParameters"]) == (resource, seen, parameter)


def test_verbs(server, echo):
    for verb in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"):
        assert ask(server, echo, "/any", verb).json()["httpMethod"] == verb
    assert ask(server, echo, "/pets/1", "DELETE").status == 403
    assert ask(server, echo, "/any", "TRACE").status in (400, 403, 405)
    assert ask(server, echo, "/any", "get").status in (400, 403, 405)
    assert ask(server, echo, "/any", "NONSENSE").status in (400, 403, 405)


def test_unknown_addresses_are_forbidden(server, echo):
    for answer in (
        wire.invoke(server.port, "zzzzzzzzzz", "live", "/mock"),
        wire.invoke(server.port, echo.id, "no-stage", "/mock"),
        wire.call(server.port, "GET", "/live/mock", host=f"zzzzzzzzzz.execute-api.us-east-1.localhost:{server.port}"),
    ):
        assert (answer.status, answer.error_type, answer.body) == (403, "ForbiddenException", b'{"message":"Forbidden"}')


def test_a_disabled_endpoint_is_forbidden(server, api, unique):
    rest = make.Api.create(api, unique("disabled"), disableExecuteApiEndpoint=True)
    rest.mock("GET", "/")
    rest.deploy()
    assert wire.invoke(server.port, rest.id, "Dev").status == 403


def test_head_has_no_body(server, echo):
    answer = ask(server, echo, "/mock", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    with wire.Connection(server.port) as connection:
        for _ in range(2):
            connection.send(wire.head("HEAD", f"/_aws/execute-api/{echo.id}/live/mock", [("Host", "x")]))
            assert connection.receive("HEAD").status == 200
        connection.send(wire.head("GET", f"/_aws/execute-api/{echo.id}/live/mock", [("Host", "x")]))
        assert connection.receive().body == b'{"ok":true}', "no stray body lies in between"


def test_bodies_whole_and_chunked(server, echo):
    assert ask(server, echo, "/", "POST", body="käse".encode()).json()["body"] == "käse"
    chunked = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n"
    answer = ask(server, echo, "/", "POST", [("Transfer-Encoding", "chunked")], chunked)
    assert answer.json()["body"] == "hello world"


def test_keep_alive_and_pipelining(server, echo):
    target = f"/_aws/execute-api/{echo.id}/live/mock"
    with wire.Connection(server.port) as connection:
        for _ in range(50):
            connection.send(wire.head("GET", target, [("Host", "x")]))
            assert connection.receive().status == 200
        connection.send(wire.head("GET", target, [("Host", "x")]) * 3)
        assert [connection.receive().status for _ in range(3)] == [200] * 3


def test_http_1_0(server, echo):
    target = f"/_aws/execute-api/{echo.id}/live/mock"
    with wire.Connection(server.port) as connection:
        connection.send(wire.head("GET", target, [], "HTTP/1.0"))
        answer = connection.receive()
        assert (answer.status, answer.body) == (200, b'{"ok":true}')
        assert answer.header("transfer-encoding") is None and connection.at_end()


def test_expect_continue(server, echo):
    target = f"/_aws/execute-api/{echo.id}/live/"
    with wire.Connection(server.port) as connection:
        connection.send(wire.head("POST", target, [("Host", "x"), ("Content-Length", "5"), ("Expect", "100-continue")]))
        assert connection._until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.send(b"hello")
        assert connection.receive().json()["body"] == "hello"


def test_a_body_that_is_too_large(server, echo):
    plain = b"HTTP content length exceeded 10485760 bytes."
    headers = [("Host", "x"), ("Content-Length", str(BODY_BYTES_MAX + 1))]
    with wire.Connection(server.port) as connection:
        connection.send(wire.head("POST", f"/_aws/execute-api/{echo.id}/live/", headers))
        answer = connection.receive()
    assert (answer.status, answer.body) == (413, plain), "an announced length is refused before it is sent"
    chunk = b"100000\r\n" + b"x" * MB + b"\r\n"
    answer = ask(server, echo, "/", "POST", [("Transfer-Encoding", "chunked")], chunk * 11 + b"0\r\n\r\n")
    assert answer.status == 413
    assert ask(server, echo, "/mock").status == 200


def test_a_body_too_large_for_lambda(server, echo):
    answer = ask(server, echo, "/", "POST", body=b"x" * (7 * MB))
    assert answer.status in (413, 500, 502) and answer.status != 200, answer.status
    assert ask(server, echo, "/mock").status == 200


def test_heads_have_an_end(server, echo):
    answer = ask(server, echo, "/mock", headers=[("X-Big", "x" * 9000)])
    assert answer.status == 200
    answer = ask(server, echo, "/mock", headers=[("X-Big", "x" * 11 * KB)])
    assert answer.status in (400, 413, 431), "AWS allows 10,240 bytes in all"
    answer = ask(server, echo, "/mock", headers=[(f"X-{n}", "x") for n in range(2000)])
    assert answer.status in (400, 413, 431)
    answer = ask(server, echo, "/mock", query="a=" + "x" * 11 * KB)
    assert answer.status == 414
    answer = wire.call(server.port, "GET", "/" + "x" * 300_000)
    assert answer.status in (400, 413, 414, 431)


def test_a_method_arn_has_a_length(server, api, unique):
    guard = make.function(api, unique("arn"), "request_authorizer.py")
    make.permit(api, guard, None)
    rest = make.Api.create(api, unique("arn"), endpointConfiguration={"types": ["REGIONAL"]})
    authorizer = rest.authorizer("guard", guard, type="REQUEST", identitySource="", authorizerResultTtlInSeconds=0)
    rest.mock("GET", "/{proxy+}", authorizer=authorizer)
    rest.deploy()
    assert wire.invoke(server.port, rest.id, "Dev", "/" + "x" * 1000).status == 200
    answer = wire.invoke(server.port, rest.id, "Dev", "/" + "x" * 1600)
    assert (answer.status, answer.json()) == (414, {"message": "Request URI too long"})


def test_what_a_proxy_function_may_answer(server, echo):
    def returned(value):
        return ask(server, echo, "/by-body", "POST", body=json.dumps(value).encode())

    answer = returned({"statusCode": "201", "headers": {"X-One": "1", "X-True": True}, "multiValueHeaders": {"X-Two": ["a", "b"]}, "body": "text"})
    assert (answer.status, answer.body) == (201, b"text")
    assert answer.header("X-One") == "1" and answer.header("X-True") == "true"
    assert [v for k, v in answer.headers if k.lower() == "x-two"] in (["a", "b"], ["a,b"], ["a, b"])
    assert returned({}).status == 200, "no statusCode is 200"
    assert returned({"statusCode": 204}).status == 204
    assert returned({"statusCode": 200, "headers": None, "body": None}).body == b""
    for malformed in ("text", 5, [], None, {"statusCode": "x"}, {"statusCode": 99}, {"statusCode": 600}, {"statusCode": 200, "extra": 1}, {"statusCode": 200, "multiValueHeaders": {"a": "b"}}, {"statusCode": 200, "body": {"not": "text"}}, {"statusCode": 200, "headers": {"Bad Name\r\nX": "1"}}, {"statusCode": 200, "headers": {"X-Split": "a\r\nX-Injected: 1"}}):
        answer = returned(malformed)
        assert answer.status == 502, (malformed, answer.status, answer.text)
        assert answer.body == b'{"message":"Internal server error"}', malformed
        assert answer.header("X-Injected") is None
    answer = returned({"statusCode": 200, "body": "aGk=", "isBase64Encoded": True})
    assert answer.body == b"aGk=", "not decoded unless the Accept header is a binary media type"


def test_a_function_error_is_502(server, echo):
    answer = ask(server, echo, "/by-body", "POST", body=b"not json")
    assert (answer.status, answer.body, answer.error_type) == (502, b'{"message":"Internal server error"}', "InternalServerErrorException")


def test_an_integration_times_out(server, api, unique):
    function = make.function(api, unique("slow"), "proxy_by_body.py", Timeout=20)
    make.permit(api, function, None)
    rest = make.Api.create(api, unique("slow"))
    rest.proxy("POST", "/", function, timeoutInMillis=500)
    rest.deploy()
    started = time.monotonic()
    answer = wire.invoke(server.port, rest.id, "Dev", method="POST", body=b'{"sleep_s": 10}')
    assert (answer.status, answer.json()) == (504, {"message": "Endpoint request timed out"})
    assert time.monotonic() - started < 8


def test_slow_clients_do_not_hold_up_others(server, echo):
    target = f"/_aws/execute-api/{echo.id}/live/"
    slow = [wire.Connection(server.port) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            if number % 3 == 0:
                connection.send(b"GET " + target.encode() + b"mock HT")
            elif number % 3 == 1:
                connection.send(wire.head("POST", target, [("Host", "x"), ("Content-Length", "1000")]) + b"x")
        started = time.monotonic()
        for _ in range(20):
            assert ask(server, echo, "/mock").status == 200
        assert time.monotonic() - started < 10
    finally:
        for connection in slow:
            connection.socket.close()


def test_many_at_once(server, echo):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ask(server, echo, "/mock").status, range(400)))
    assert answers == [200] * 400


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /_aws/execute-api/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_aws/execute-api/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_aws/execute-api/%00/%ff/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /restapis/x/y/_user_request_ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/_aws/execute-api/a/b/c HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    ],
)
def test_malformed_requests_get_an_error_or_the_door(server, echo, data):
    with wire.Connection(server.port, 10) as connection:
        connection.send(data)
        connection.socket.shutdown(1)
        try:
            answer = connection.receive()
            assert 400 <= answer.status < 600, answer
        except ConnectionError:
            pass
    assert ask(server, echo, "/mock").status == 200


def test_answers_made_by_the_gateway_have_awss_headers(server, echo):
    answer = ask(server, echo, "/nowhere")
    assert [name.lower() for name, _ in answer.headers if name.lower() in ("date", "content-type", "content-length", "x-amzn-requestid", "x-amzn-errortype", "x-amz-apigw-id")] != []
    for name in ("Date", "Content-Type", "Content-Length", "x-amzn-RequestId", "x-amzn-ErrorType", "x-amz-apigw-id"):
        assert answer.header(name), name
    assert answer.header("Server") is None
    ids = {ask(server, echo, "/mock").header("x-amzn-RequestId") for _ in range(5)}
    assert len(ids) == 5
