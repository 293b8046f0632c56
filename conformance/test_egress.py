"""What functions reach: this server's API as their role, public addresses through the proxy, and nothing else.

No test connects to an address outside this machine. Where an address is one that a network could have, the server runs
in a network namespace of its own, in which every decoy is a local one (`egress_world.py`).
"""

import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import make
from aws import Aws
from conftest import API, SECURITY, find_binary

pytestmark = pytest.mark.own
PROXY = "http://127.0.0.1:3128"


@pytest.fixture(scope="module")
def decoy():
    """A server on loopback, and what it was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"decoy")

        def log_message(self, *_):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()


def start(own_server, tmp_path, settings: str = "", arguments=()):
    """A server with these settings, and both accounts with a function that does what it is asked."""
    file = tmp_path / "portcullis.toml"
    file.write_text(settings)
    server = own_server(arguments=("--config", str(file), *arguments))
    accounts = [server.create_account(id, name) for id, name in ((API, "api"), (SECURITY, "security"))]
    server.start()
    made = [Aws(server.endpoint, account) for account in accounts]
    for aws in made:
        make.function(aws, "inside", "inside.py", Timeout=30)
    return server, *made


def inside(aws: Aws, **asked):
    invoked = aws.awslambda.invoke(FunctionName="inside", Payload=json.dumps(asked).encode())
    text = invoked["Payload"].read()
    assert "FunctionError" not in invoked, text
    return json.loads(text)


def through_proxy(aws: Aws, place: str) -> str:
    return inside(aws, say=["127.0.0.1", 3128, f"CONNECT {place} HTTP/1.1\r\n\r\n"])


def test_nothing_of_this_host_is_reached_directly(own_server, tmp_path, decoy):
    port, asked = decoy
    server, api, _ = start(own_server, tmp_path)
    for host, where in (("127.0.0.1", port), ("127.0.0.1", server.port), ("::1", port), ("localhost", port)):
        answer = inside(api, say=[host, where, "GET / HTTP/1.0\r\n\r\n"])
        assert answer.startswith(("ConnectionRefusedError", "OSError")), (host, where, answer)
    assert not asked


def test_the_proxy_refuses_this_host_and_says_how_it_is_opened(own_server, tmp_path, decoy):
    port, asked = decoy
    server, api, _ = start(own_server, tmp_path)
    for place in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"[::ffff:127.0.0.1]:{port}", f"2130706433:{port}",
                  f"0.0.0.0:{port}", f"0x7f.1:{port}", f"127.0.0.1:{server.port}"):
        answer = through_proxy(api, place)
        assert answer.startswith(("HTTP/1.1 403 ", "HTTP/1.1 502 ")), (place, answer)
    answer = through_proxy(api, f"127.0.0.1:{port}")
    assert f'egress_allow = ["127.0.0.1:{port}"]' in answer and f"[egress_accounts.{API}]" in answer, answer
    assert not asked
    assert any("a function may not connect there" in line and API in line for line in server.log), server.tail()


def test_accounts_have_their_own_rules(own_server, tmp_path, decoy):
    port, asked = decoy
    settings = f"""
[egress_accounts.{API}]
allow = ["127.0.0.1:{port}"]
[egress_accounts.{SECURITY}]
mode = "none"
"""
    _, api, security = start(own_server, tmp_path, settings)
    answer = inside(api, say=["127.0.0.1", 3128, f"GET http://127.0.0.1:{port}/p HTTP/1.1\r\nProxy-Authorization: x\r\n\r\n"])
    assert answer.startswith("HTTP/1.0 200 ") and answer.endswith("decoy"), answer
    [(path, headers)] = asked
    assert path == "/p" and "Proxy-Authorization" not in headers and headers["Host"] == f"127.0.0.1:{port}"
    asked.clear()
    answer = through_proxy(security, "example.com:443")
    assert answer.startswith("HTTP/1.1 403 ") and 'mode = "proxy"' in answer, answer
    assert through_proxy(api, f"127.0.0.1:{port + 1}").startswith("HTTP/1.1 403 ")
    assert not asked


def test_a_function_calls_this_server_as_its_role(own_server, tmp_path):
    arguments = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "0.0.0.0/0", "--dev-credentials")
    server, api, security = start(own_server, tmp_path, arguments=arguments)
    identity = {"service": "sts", "body": "Action=GetCallerIdentity&Version=2011-06-15"}
    for aws in (api, security):
        answer = inside(aws, sign=identity)
        assert answer["status"] == 200, answer
        assert f"arn:aws:sts::{aws.account}:assumed-role/function-role/inside" in answer["body"], answer
    # The role may do nothing, and neither says so itself nor comes from somewhere that is trusted.
    listed = {"service": "iam", "body": "Action=ListUsers&Version=2010-05-08", "headers": {"X-Forwarded-For": "203.0.113.9"}}
    answer = inside(api, sign=listed)
    assert answer["status"] == 403 and "AccessDenied" in answer["body"], answer
    [event] = make.events(api, "EventName", "ListUsers")
    assert event["sourceIPAddress"] == "192.0.0.8", event
    # Development keys are for whoever reaches the port, not for code that runs here.
    for key in (SECURITY, "test"):
        answer = inside(api, sign={**identity, "key": key, "secret": "x", "token": ""})
        assert answer["status"] == 403 and "InvalidClientTokenId" in answer["body"], answer
    # How the server is does not concern a function.
    answer = inside(api, say=["127.0.0.1", 4566, "GET /_portcullis/health HTTP/1.0\r\n\r\n"])
    assert answer.startswith("HTTP/1.1 404 ") or answer.startswith("HTTP/1.0 404 "), answer
    assert not any("tier" in line for line in answer.splitlines())
    names = ["AWS_ENDPOINT_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]
    assert inside(api, environment=names) == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "HTTPS_PROXY": PROXY,
        "HTTP_PROXY": PROXY,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def test_an_environment_has_so_many_connections_and_no_more(own_server, tmp_path):
    _, api, _ = start(own_server, tmp_path)
    assert inside(api, hold=100) == 64
    # Those have been closed with the invocation.
    assert inside(api, hold=1) == 1


@pytest.fixture(scope="module")
def world():
    """What functions of a server in a network of its own found there: a report of `egress_world.py`."""
    script = Path(__file__).parent / "egress_world.py"
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, str(script), str(find_binary())],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_public_addresses_are_reached_by_name_and_by_number(world):
    for way in ("by name", "by number", "several addresses"):
        assert world[way] == {"status": 200, "body": "public"}, (way, world)
    assert world["public decoy"] == 3


@pytest.mark.parametrize("kind", ["metadata", "metadata of IPv6", "private", "shared", "unique local", "link-local", "own public"])
def test_what_a_network_has_besides_is_refused_and_not_connected_to(world, kind):
    assert world[kind].startswith("HTTP/1.1 403 "), world[kind]
    assert world["forbidden decoy"] == 0, world


def test_a_name_that_leads_here_is_refused(world):
    assert world["rebinding"].startswith("HTTP/1.1 403 "), world["rebinding"]
    assert "127.0.0.1" not in world["rebinding"]
