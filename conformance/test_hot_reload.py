"""Code under work: `--watch` and the `hot-reload` bucket. Saved files run for new invocations, and none is lost."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import functions
import make
from aws import Aws, eventually, refused
from conftest import API, SECURITY

NODE = "exports.handler = async () => '%s';\n"
PYTHON = "def handler(event, context):\n    return '%s'\n"
# From the save to an answer of the new code, on a machine on which an interpreter starts in BARE_S_MAX.
SWAP_S_MAX = 0.3
BARE_S_MAX = 0.04
# Other load may hit one of them.
TRIES = 3

pytestmark = pytest.mark.own


def save(directory: Path, name: str, text: str) -> None:
    """As an editor saves: beside, then renamed."""
    beside = directory / f".{name}.swp"
    beside.write_text(text)
    os.replace(beside, directory / name)


def start(own_server, *arguments: str):
    server = own_server(arguments=("--log", "info", *arguments))
    account = server.create_account(SECURITY, "security")
    server.start()
    return server, Aws(server.endpoint, account)


def answer(aws: Aws, name: str):
    invoked = aws.awslambda.invoke(FunctionName=name)
    text = invoked["Payload"].read()
    assert "FunctionError" not in invoked, text
    return json.loads(text)


def create(aws: Aws, name: str, runtime: str, files: dict[str, str]) -> None:
    aws.awslambda.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=make.lambda_role(aws),
        Handler="index.handler" if runtime.startswith("node") else "app.handler",
        Code={"ZipFile": functions.archive(files)},
    )
    make.wait_active(aws, name)


def swapped_within(directory: Path, file: str, text: str, aws: Aws, name: str, wanted: str) -> float:
    begun = time.monotonic()
    save(directory, file, text)
    eventually(lambda: answer(aws, name) == wanted, 10, 0.005)
    return time.monotonic() - begun


def check_swaps(directory: Path, file: str, source: str, aws: Aws, name: str) -> None:
    """The best of some swaps is in time, by the measure of this machine at this moment."""
    times = []
    for version in range(TRIES):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        bare = time.monotonic() - begun
        swapped = swapped_within(directory, file, source % f"v{version}", aws, name, f"v{version}")
        times.append(swapped / max(1, bare / BARE_S_MAX))
    assert min(times) < SWAP_S_MAX, times


@pytest.mark.parametrize("runtime,file,source", [("nodejs20.x", "index.js", NODE), ("python3.11", "app.py", PYTHON)])
def test_a_saved_file_runs_within_300_ms(own_server, tmp_path, runtime, file, source):
    directory = tmp_path / "src"
    directory.mkdir()
    (directory / file).write_text(source % "one")
    server, aws = start(own_server, "--watch", f"worked={directory}")
    eventually(lambda: any("there is no such function yet" in line for line in server.log))
    create(aws, "worked", runtime, {file: source % "zip"})
    eventually(lambda: answer(aws, "worked") == "one")
    check_swaps(directory, file, source, aws, "worked")
    said = [line for line in server.log if "there is no such function yet" in line]
    assert len(said) == 1, said
    recorded = [event for event in make.events(aws, "EventName", "UpdateFunctionCode20150331v2")]
    assert recorded and all(event["userIdentity"]["accountId"] == SECURITY for event in recorded)
    assert {event["userAgent"] for event in recorded} == {"portcullis-watch"}


def test_no_invocation_is_lost_while_code_is_swapped(own_server, tmp_path):
    directory = tmp_path / "src"
    directory.mkdir()
    (directory / "index.js").write_text(NODE % "0")
    _, aws = start(own_server, "--watch", f"arn:aws:lambda:us-east-1:{SECURITY}:function:worked={directory}")
    create(aws, "worked", "nodejs20.x", {"index.js": NODE % "0"})
    seen, failed, stop = [], [], threading.Event()

    def call():
        while not stop.is_set():
            try:
                seen.append(int(answer(aws, "worked")))
            except Exception as error:  # noqa: BLE001
                failed.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for version in range(1, 8):
        save(directory, "index.js", NODE % version)
        eventually(lambda: seen and max(seen) == version, 10, 0.01)
    stop.set()
    for caller in callers:
        caller.join(30)
    assert not failed, failed[:3]
    assert set(seen) == set(range(8)), sorted(set(seen))


def test_a_broken_save_keeps_the_old_code_until_the_next(own_server, tmp_path):
    directory = tmp_path / "src"
    directory.mkdir()
    (directory / "index.js").write_text(NODE % "good")
    server, aws = start(own_server, "--watch", f"worked={directory}")
    create(aws, "worked", "nodejs20.x", {"index.js": NODE % "zip"})
    eventually(lambda: answer(aws, "worked") == "good")
    for broken, told in (("exports.handler = async () => {", "does not parse"), ("", "is empty")):
        save(directory, "index.js", broken)
        eventually(lambda: any(told in line for line in server.log))
        assert answer(aws, "worked") == "good"
    # A file that is being written is waited for.
    with open(directory / "index.js", "w") as half:
        half.write("exports.handler = async () => 'half';\n")
        half.flush()
        time.sleep(0.4)
        assert answer(aws, "worked") == "good"
        half.seek(0)
        half.truncate()
        half.write(NODE % "whole")
    eventually(lambda: answer(aws, "worked") == "whole")
    os.remove(directory / "index.js")
    eventually(lambda: any("holds no file" in line for line in server.log))
    assert answer(aws, "worked") == "whole"


def test_a_bare_name_is_of_the_only_account(own_server, tmp_path):
    server = own_server(arguments=("--log", "info", "--watch", f"f={tmp_path}"))
    for account, name in ((API, "api"), (SECURITY, "security")):
        server.create_account(account, name)
    server.start()
    eventually(lambda: any("must be named by its ARN" in line for line in server.log))


def hot(directory) -> dict:
    return {"S3Bucket": "hot-reload", "S3Key": str(directory)}


def create_hot(aws: Aws, name: str, directory, **settings) -> dict:
    return aws.awslambda.create_function(
        FunctionName=name,
        Runtime="nodejs20.x",
        Role=make.lambda_role(aws),
        Handler="index.handler",
        Code=hot(directory),
        **settings,
    )


def test_a_function_is_made_of_a_directory_and_stays_so_over_a_restart(own_server, tmp_path):
    directory = tmp_path / "work" / "f"
    directory.mkdir(parents=True)
    (directory / "index.js").write_text(NODE % "one")
    server, aws = start(own_server, "--hot-reload", str(tmp_path / "work"))
    create_hot(aws, "hot", directory)
    make.wait_active(aws, "hot")
    assert answer(aws, "hot") == "one"
    check_swaps(directory, "index.js", NODE, aws, "hot")
    server.stop()
    save(directory, "index.js", NODE % "while it was stopped")
    server.start()
    eventually(lambda: answer(aws, "hot") == "while it was stopped")
    # Code from elsewhere ends it.
    aws.awslambda.update_function_code(FunctionName="hot", ZipFile=functions.archive({"index.js": NODE % "zip"}))
    save(directory, "index.js", NODE % "unseen")
    time.sleep(0.5)
    assert answer(aws, "hot") == "zip"
    aws.awslambda.update_function_code(FunctionName="hot", **hot(directory))
    eventually(lambda: answer(aws, "hot") == "unseen")
    aws.awslambda.delete_function(FunctionName="hot")
    create(aws, "hot", "nodejs20.x", {"index.js": NODE % "fresh"})
    save(directory, "index.js", NODE % "other")
    time.sleep(0.5)
    assert answer(aws, "hot") == "fresh"


def test_a_call_reads_no_directory_but_those_below_the_named_one(own_server, tmp_path):
    inside, outside = tmp_path / "work", tmp_path / "secret"
    for directory in (inside, outside):
        directory.mkdir()
        (directory / "index.js").write_text(NODE % "x")
    os.symlink(outside, inside / "link")
    (inside / "leak").mkdir()
    os.symlink(outside / "index.js", inside / "leak" / "index.js")
    _, aws = start(own_server, "--hot-reload", str(inside))
    for directory in (outside, inside / "link", inside / ".." / "secret", "/etc", "/", "work", tmp_path / "nowhere"):
        refusal = refused(create_hot, aws, "f", directory)
        assert (refusal.code, refusal.status) == ("InvalidParameterValueException", 400), refusal
        assert "names no directory below" in refusal.message, refusal
    refusal = refused(create_hot, aws, "f", inside / "leak")
    assert "leads out of the directory" in refusal.message, refusal


def test_without_leave_the_bucket_is_refused_with_the_next_step(api, tmp_path):
    refusal = refused(create_hot, api, "f", tmp_path)
    assert (refusal.code, refusal.status) == ("InvalidParameterValueException", 400), refusal
    assert "--hot-reload DIR" in refusal.message


def test_nobody_can_have_the_bucket(api):
    refusal = refused(api.s3.create_bucket, Bucket="hot-reload")
    assert (refusal.code, refusal.status) == ("InvalidBucketName", 400), refusal
