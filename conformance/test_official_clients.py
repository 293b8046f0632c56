"""AWS's own runtime clients, unmodified, in place of ours: they run in the sandbox and answer alike."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

import functions
import make
from aws import Aws

HERE = Path(__file__).parent
CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py")
HANDLER = """
import collections, decimal, os
Point = collections.namedtuple("Point", "x y")
calls = 0
def handler(event, context):
    global calls
    calls += 1
    way = event.get("way")
    if way == "raise": raise ValueError("bad \\u00fc")
    if way == "point": return {"p": Point(1, [decimal.Decimal("1.10")]), "b": b"text", "n": float("nan")}
    if way == "set": return {1}
    if way == "context": return [context.function_name, context.memory_limit_in_mb, context.invoked_function_arn,
        context.client_context.custom, context.get_remaining_time_in_millis() > 1000, os.getcwd(), sorted(os.listdir("/opt"))]
    if way == "large": return "x" * 5_000_000
    if way == "too large": return "x" * 7_000_000
    if way == "calls": return calls > 1
    if way == "exit": os._exit(7)
    return event
"""
WAYS = ["echo", "raise", "point", "set", "context", "large", "calls", "too large", "echo", "exit", "echo"]


def invoke(aws: Aws, name: str, **event) -> tuple[bytes, str | None]:
    context = "eyJjdXN0b20iOnsiayI6InYifX0="
    answer = aws.awslambda.invoke(FunctionName=name, ClientContext=context, Payload=json.dumps(event).encode())
    return answer["Payload"].read(), answer.get("FunctionError")


@pytest.fixture(scope="session")
def python_client() -> dict[str, bytes]:
    """The files of awslambdaric as pip has installed it."""
    packages = Path(sysconfig.get_path("purelib"))
    found = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = {path: path.relative_to(packages).as_posix() for path in found}
    wanted = lambda name: name.split("/")[0].split(".")[0] in (*CLIENT, "runtime_client")  # noqa: E731
    files = {name: path.read_bytes() for path, name in names.items() if wanted(name)}
    assert any(name.endswith(".so") for name in files), "install requirements.txt"
    return files


@pytest.fixture(scope="session")
def rust_client(tmp_path_factory) -> bytes:
    """The program built on the crate lambda_runtime."""
    target = os.environ.get("PORTCULLIS_CLIENTS_TARGET") or HERE / "clients" / "target"
    crate = HERE / "clients" / "lambda-runtime"
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=crate, env=environment, check=True, timeout=1200)
    return (Path(target) / "debug" / "lambda-runtime-client").read_bytes()


def test_awslambdaric_answers_as_our_bootstrap_does(api, unique, python_client):
    wrapper = '#!/bin/sh\nexec "$1" -m awslambdaric "$_HANDLER"\n'
    code = functions.archive({"app.py": HANDLER, "wrap": wrapper, **python_client})
    settings = {"Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": code}, "Timeout": 10}
    ours, theirs = unique("ours"), unique("theirs")
    make.function(api, ours, "echo.py", **settings)
    wrapped = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}}
    make.function(api, theirs, "echo.py", Environment=wrapped, **settings)
    for way in WAYS:
        answers = []
        for name in (ours, theirs):
            payload, error = invoke(api, name, way=way)
            # What differs by nature: names and ids.
            text = payload.decode().replace(name, "NAME")
            try:
                document = json.loads(text)
                if isinstance(document, dict) and "requestId" in document:
                    text = text.replace(document["requestId"], "ID")
                if isinstance(document, dict) and str(document.get("errorMessage")).startswith("RequestId: "):
                    text = text.replace(document["errorMessage"].split()[1], "ID")
            except ValueError:
                pass
            answers.append((text, error))
        assert answers[0] == answers[1], way


def test_a_function_on_lambda_runtime_is_served(api, unique, rust_client):
    name = unique("rust")
    code = functions.archive({"bootstrap": rust_client})
    settings = {"Runtime": "provided.al2023", "Handler": "serve", "Code": {"ZipFile": code}, "Timeout": 10}
    make.function(api, name, "echo.py", **settings)
    for number in range(20):
        payload, error = invoke(api, name, number=number)
        assert (json.loads(payload), error) == ({"number": number}, None)
    payload, error = invoke(api, name, way="error")
    assert (json.loads(payload)["errorMessage"], error) == ("it says no", "Unhandled")
    assert len(invoke(api, name, way="large")[0]) == 5_000_002
    payload, error = invoke(api, name, way="exit")
    assert json.loads(payload)["errorMessage"].endswith("Runtime exited with error: exit status 5")
    assert json.loads(invoke(api, name)[0]) == {}

    streams = unique("streams")
    make.function(api, streams, "echo.py", **{**settings, "Handler": "streams"})
    parts = [
        event["PayloadChunk"]["Payload"]
        for event in api.awslambda.invoke_with_response_stream(FunctionName=streams, Payload=b"{}")["EventStream"]
        if "PayloadChunk" in event
    ]
    assert b"".join(parts).endswith(b"\0\0\0\0\0\0\0\0one two three")
