"""What was acknowledged survives kill -9, round after round, and a second start serves the same."""

import json
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import make
import wire
from aws import Aws
from conftest import API, SECURITY

pytestmark = pytest.mark.own
ROUNDS = 6


@pytest.fixture
def pair(own_server):
    server = own_server(())
    roots = [server.create_account(id, name) for id, name in ((API, "api"), (SECURITY, "security"))]
    server.start()
    api, security = (Aws(server.endpoint, root) for root in roots)
    return server, api, security


class Written:
    """What one round of writers got acknowledged before the kill."""

    def __init__(self):
        self.created: list[str] = []
        self.apis: set[str] = set()
        self.statements: set[str] = set()
        self.faults: list[Exception] = []


def write_until_killed(server, api: Aws, security: Aws, function: str, round_number: int, after_s: float) -> Written:
    """Two writers that note what was acknowledged; ends with kill -9 while they are at it.

    Each deletes again what it made a few steps ago: an account may hold 120 APIs, and deletions must survive too.
    """
    written, killing = Written(), threading.Event()

    def write(work):
        number = 0
        while True:
            number += 1
            try:
                work(number)
            except (ClientError, BotoCoreError) as error:
                if not killing.is_set():
                    written.faults.append(error)
                return

    def apis(number):
        made = api.apigateway.create_rest_api(name=f"round-{round_number}-{number}")["id"]
        written.created.append(made)
        written.apis.add(made)
        if number > 5:
            old = written.created[number - 6]
            api.apigateway.delete_rest_api(restApiId=old)
            written.apis.discard(old)

    def statements(number):
        name = {"FunctionName": function}
        security.awslambda.add_permission(
            **name, StatementId=f"r{round_number}-{number}", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
        )
        written.statements.add(f"r{round_number}-{number}")
        if number > 3:
            security.awslambda.remove_permission(**name, StatementId=f"r{round_number}-{number - 3}")
            written.statements.discard(f"r{round_number}-{number - 3}")

    threads = [threading.Thread(target=write, args=(work,), daemon=True) for work in (apis, statements)]
    for thread in threads:
        thread.start()
    time.sleep(after_s)
    killing.set()
    server.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert written.faults == [], "a call failed before the kill"
    return written


def test_acknowledged_changes_survive_kill_9(pair):
    server, api, security = pair
    function = make.function(security, "authorizer", "token_authorizer.js")
    rest = make.Api.create(api, "served")
    authorizer = rest.authorizer("central", function, authorizerResultTtlInSeconds=0)
    rest.mock("GET", "/", authorizer=authorizer)
    make.permit(security, function, f"{rest.arn}/authorizers/{authorizer}", StatementId="served")
    rest.deploy()
    created = []
    for number in range(ROUNDS):
        written = write_until_killed(server, api, security, function, number, 0.3 + 0.17 * number)
        assert len(written.created) > 2, "hardly anything was acknowledged before the kill"
        created += written.created
        server.start()
        pages = api.apigateway.get_paginator("get_rest_apis").paginate(PaginationConfig={"PageSize": 500})
        listed = {item["id"] for page in pages for item in page["items"]}
        # One call of each writer was in flight: made or not, deleted or not, but nothing else may differ.
        assert len(listed ^ (written.apis | {rest.id})) <= 1, (listed, written.apis)
        assert rest.id in listed
        policy = json.loads(security.awslambda.get_policy(FunctionName=function)["Policy"])
        sids = {s["Sid"] for s in policy["Statement"]}
        assert len(sids ^ (written.statements | {"served"})) <= 1, (sids, written.statements)
        for sid in sids - {"served"}:
            security.awslambda.remove_permission(FunctionName=function, StatementId=sid)
        for id in listed - {rest.id}:
            api.apigateway.delete_rest_api(restApiId=id)
        assert wire.invoke(server.port, rest.id, "Dev", headers=[("Authorizer", "allow")]).status == 200
        assert wire.invoke(server.port, rest.id, "Dev", headers=[("Authorizer", "deny")]).status == 403
    # Each change that was acknowledged has its record, also across the kills.
    recorded = {e["responseElements"]["id"] for e in make.events(api, "EventName", "CreateRestApi") if e.get("responseElements")}
    assert set(created) <= recorded, f"without a record: {set(created) - recorded}"


def test_deletions_survive_too(pair):
    server, api, security = pair
    user = make.user(api, "gone", make.ALLOW_ALL)
    rest = make.Api.create(api, "gone")
    rest.mock("GET", "/")
    rest.deploy()
    assert wire.invoke(server.port, rest.id, "Dev").status == 200
    rest.delete()
    api.iam.delete_access_key(UserName="gone", AccessKeyId=user.access_key)
    server.kill()
    server.start()
    assert wire.invoke(server.port, rest.id, "Dev").status == 403
    answer = wire.query_call(server.port, wire.Signing(user, "sts"), "GetCallerIdentity")
    assert answer.status == 403


def test_a_second_server_on_the_same_data_is_refused(pair, binary):
    from server import Server

    server, api, _ = pair
    second = Server(binary, server.data_dir)
    with pytest.raises(AssertionError, match="exited with 1"):
        second.start()
    assert api.apigateway.get_rest_apis()["items"] == []


def test_objects_and_code_survive(pair):
    server, api, _ = pair
    make.function(api, "kept", "echo.js")
    api.s3.create_bucket(Bucket="kept")
    api.s3.put_object(Bucket="kept", Key="k", Body=b"v" * 100_000, Metadata={"a": "b"})
    server.kill()
    server.start()
    assert json.loads(api.awslambda.invoke(FunctionName="kept", Payload=b"7")["Payload"].read())["event"] == 7
    found = api.s3.get_object(Bucket="kept", Key="k")
    assert found["Body"].read() == b"v" * 100_000 and found["Metadata"] == {"a": "b"}


def test_a_graceful_stop_finishes_what_is_running(pair):
    server, api, _ = pair
    function = make.function(api, "slow", "proxy_by_body.py", Timeout=20)
    make.permit(api, function, None)
    rest = make.Api.create(api, "slow")
    rest.proxy("POST", "/", function)
    rest.deploy()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(wire.invoke(server.port, rest.id, "Dev", method="POST", body=b'{"sleep_s": 2}')))
    thread.start()
    time.sleep(0.8)
    server.stop()
    thread.join(20)
    assert answers and (answers[0].status, answers[0].body) == (200, b"slept")
