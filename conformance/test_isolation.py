"""What keeps functions apart, what is said of it, and that nothing runs where it cannot be had."""

import base64
import json
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

import pytest

import make
import wire
from aws import Aws, eventually, refused
from conftest import API, SECURITY, find_binary
from server import Server

pytestmark = pytest.mark.own
NOBODY = 65534


def health(server) -> dict:
    return json.loads(wire.call(server.port, "GET", "/_portcullis/health").body)["functions"]


def inside(aws: Aws, **asked):
    invoked = aws.awslambda.invoke(FunctionName="inside", Payload=json.dumps(asked).encode())
    text = invoked["Payload"].read()
    assert "FunctionError" not in invoked, text
    return json.loads(text)


def wrapped(place: Path, script: str) -> Path:
    """A program in the place of the binary: what `script` makes of `"$0.real" "$@"`."""
    real = place / "portcullis.real"
    shutil.copy(find_binary(), real)
    wrapper = place / "portcullis"
    wrapper.write_text(f"#!/bin/sh\n{script}\n")
    for file in (real, wrapper):
        file.chmod(0o755)
    return wrapper


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, rows = set(), [pid]
    while rows:
        rows = [child for child, parent in parents.items() if parent in rows]
        found.update(rows)
    return found


def test_start_health_and_status_say_what_keeps_functions_apart(own_server):
    server = own_server()
    server.start()
    told = health(server)
    assert told["status"] == "available" and told["tier"] in ("A1", "A2"), told
    table = [line for line in server.log if line.startswith(("isolation tier", "namespaces", "memory limit", "Landlock"))]
    assert len(table) == 4, server.tail()
    status = server.run("status", "--data-dir", server.data_dir)
    assert f"isolated (tier {told['tier']})" in status.stdout
    status = json.loads(server.run("status", "--data-dir", server.data_dir, "--output", "json").stdout)
    assert status["functions"] == told


def test_a_function_sees_itself_and_nothing_of_the_host(own_server):
    server = own_server()
    account = server.create_account(API, "api")
    server.start()
    aws = Aws(server.endpoint, account)
    make.function(aws, "inside", "inside.py", Timeout=30)
    here = [str(path) for path in (*Path("/root").glob("*"), *Path("/home").glob("*"))]
    seen = inside(aws, look=[str(server.data_dir), "/etc/shadow", *here, "/var/task", "/var/task/app.py"])
    assert seen["user"] not in (0, os.getuid()) and seen["name"] == "sbx_user1051", seen
    assert len(seen["processes"]) <= 3 and seen["directory"] == "/var/task", seen
    assert seen["interfaces"] == ["lo"], seen
    assert [path for path, is_there in seen["paths"].items() if is_there] == ["/var/task", "/var/task/app.py"], seen
    for path in ("/var/task/x", "/var/runtime/x", "/opt/x", "/usr/x", "/etc/x", "/x", "/proc/sys/kernel/hostname"):
        assert inside(aws, write=path) != "written", path
    assert inside(aws, write="/tmp/x") == "written"


def test_a_killed_server_leaves_no_sandbox(own_server):
    server = own_server()
    account = server.create_account(API, "api")
    server.start()
    aws = Aws(server.endpoint, account)
    make.function(aws, "inside", "inside.py", Timeout=30)
    inside(aws, environment=[])
    left = descendants(server.pid)
    assert len(left) >= 2, "a launcher and a function"
    server.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), 10)


def test_where_functions_cannot_be_kept_apart_they_do_not_run_and_all_else_is_served(tmp_path):
    # No privilege, and no user namespace to gain one in.
    script = (
        'exec unshare --user --map-root-user sh -c \'echo 0 > /proc/sys/user/max_user_namespaces; '
        'exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$0" "$@"\' "$0.real" "$@"'
    )
    server = Server(wrapped(tmp_path, script), tmp_path / "data")
    account = server.create_account(API, "api")
    server.start()
    try:
        told = health(server)
        assert told["status"] == "unavailable" and told["tier"] in ("B", "C"), told
        assert "namespaces" in [missing["mechanism"] for missing in told["missing"]], told
        assert all(missing["reason"] for missing in told["missing"]), told
        assert any("WARNING: functions do not run here" in line for line in server.log), server.tail()
        status = server.run("status", "--data-dir", server.data_dir).stdout
        assert "unavailable" in status and "without namespaces" in status, status
        aws = Aws(server.endpoint, account)
        make.function(aws, "inside", "inside.py", Timeout=30)
        shown = aws.awslambda.get_function_configuration(FunctionName="inside")
        assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful"), shown
        refusal = refused(aws.awslambda.invoke, FunctionName="inside", Payload=b"{}")
        assert (refusal.code, refusal.status) == ("ServiceException", 500), refusal
        assert "Functions do not run on this server" in refusal.message and "namespaces: " in refusal.message, refusal
        # Health and who invokes are told the same of what is missing.
        [lacking] = [missing["reason"] for missing in told["missing"] if missing["mechanism"] == "namespaces"]
        assert lacking in refusal.message and lacking in told["reason"], (refusal, told)
        api = make.Api.create(aws, "served")
        api.mock("GET", "/mock")
        arn = f"arn:aws:lambda:us-east-1:{API}:function:inside"
        api.proxy("GET", "/function", arn)
        make.permit(aws, "inside", f"{api.arn}/*/GET/function")
        api.deploy()
        assert wire.invoke(server.port, api.id, "Dev", "/mock").status == 200
        assert wire.invoke(server.port, api.id, "Dev", "/function").status in (500, 502)
    finally:
        server.stop()
    demo = server.run("demo", "--once", "--listen", "127.0.0.1:0", check=False)
    assert demo.returncode == 1 and "functions do not run here" in demo.stderr, demo


def test_without_isolation_every_report_says_so(own_server):
    server = own_server(arguments=("--isolation", "none", "--single-tenant"))
    account = server.create_account(API, "api")
    server.start()
    aws = Aws(server.endpoint, account)
    make.function(aws, "inside", "inside.py", Timeout=30)
    invoked = aws.awslambda.invoke(FunctionName="inside", LogType="Tail", Payload=b'{"environment": []}')
    log = base64.b64decode(invoked["LogResult"]).decode()
    [report] = [line for line in log.splitlines() if line.startswith("REPORT")]
    assert "Isolation: none" in report, report
    assert health(server)["tier"] == "C"
    second = server.run("account", "create", "--data-dir", server.data_dir, "--id", SECURITY, "--name", "b", check=False)
    assert second.returncode == 1 and "--isolation none" in second.stderr, second


def test_an_ordinary_user_isolates_as_well(tmp_path):
    place = Path(tempfile.mkdtemp(prefix="portcullis-nobody-"))
    try:
        place.chmod(0o755)
        data = place / "data"
        data.mkdir(mode=0o700)
        os.chown(data, NOBODY, NOBODY)
        script = f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all "$0.real" "$@"'
        server = Server(wrapped(place, script), data, ("--memory-limit", "polling"))
        account = server.create_account(API, "api")
        server.start()
        try:
            assert stat.S_ISDIR(data.stat().st_mode) and data.stat().st_uid == NOBODY
            told = health(server)
            missing = {missing["mechanism"] for missing in told["missing"]}
            if told["status"] == "unavailable":
                # Some hosts forbid it to ordinary users; then that is what is said, with what would change it.
                assert "namespaces" in missing and "Missing: " in told["reason"], told
                return
            assert told["tier"] == "A2" and not missing & {"namespaces", "own root", "own network", "Landlock"}, told
            aws = Aws(server.endpoint, account)
            make.function(aws, "inside", "echo.js", Timeout=30)
            begun = time.monotonic()
            answer = json.loads(aws.awslambda.invoke(FunctionName="inside", Payload=b'{"a": 1}')["Payload"].read())
            assert answer, (answer, time.monotonic() - begun)
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
