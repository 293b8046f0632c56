"""Fixtures: the binary, one shared server with accounts, and servers of a test's own."""

import itertools
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from aws import Aws  # noqa: E402
from server import Server  # noqa: E402

HERE = Path(__file__).parent
API = "111111111111"
SECURITY = "222222222222"
STRANGER = "333333333333"
# The accounts that authorizers-cases.json names.
CASE_API = "111122223333"
CASE_FUNCTION = "444455556666"
SHARED_ARGUMENTS = ("--trusted-proxy", "127.0.0.1", "--trail-delivery-s", "1", "--trail-digest-s", "3")

_servers: list[Server] = []
_counter = itertools.count(1)


def find_binary() -> Path:
    """`PORTCULLIS_BINARY`, else what `cargo build` left. A missing binary is a failure, never a skip."""
    named = os.environ.get("PORTCULLIS_BINARY")
    if named:
        path = Path(named).resolve()
        if path.is_file():
            return path
        pytest.exit(f"PORTCULLIS_BINARY names {named}, which is not there. Build it: cargo build --profile ci -p portcullis", 2)
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    for profile in ("release", "ci", "debug"):
        path = target / profile / "portcullis"
        if path.is_file():
            return path.resolve()
    pytest.exit(
        f"No portcullis binary under {target}. Build it with `cargo build --profile ci -p portcullis`, "
        "or run everything with `cargo xtask conformance`.",
        2,
    )


@pytest.fixture(scope="session")
def binary() -> Path:
    return find_binary()


def make_server(binary: Path, data_dir: Path, arguments=SHARED_ARGUMENTS) -> Server:
    server = Server(binary, data_dir, tuple(arguments))
    _servers.append(server)
    return server


@pytest.fixture(scope="session")
def server(binary, tmp_path_factory):
    """The server most tests share; each test names its things by [`unique`]."""
    server = make_server(binary, tmp_path_factory.mktemp("shared") / "data")
    accounts = {id: server.create_account(id, name) for id, name in ((API, "api"), (SECURITY, "security"))}
    server.start()
    for id, name in ((STRANGER, "stranger"), (CASE_API, "case-api"), (CASE_FUNCTION, "case-function")):
        accounts[id] = server.create_account(id, name)
    server.accounts = accounts
    yield server
    if server.running():
        server.stop()


@pytest.fixture(scope="session")
def api(server) -> Aws:
    """Root of the API account."""
    return Aws(server.endpoint, server.accounts[API])


@pytest.fixture(scope="session")
def security(server) -> Aws:
    """Root of the Security account."""
    return Aws(server.endpoint, server.accounts[SECURITY])


@pytest.fixture(scope="session")
def stranger(server) -> Aws:
    """Root of an account that has nothing to do with the others."""
    return Aws(server.endpoint, server.accounts[STRANGER])


@pytest.fixture
def own_server(binary, tmp_path):
    """Makes servers that a test may stop and kill."""
    made = []

    def make(arguments=SHARED_ARGUMENTS, name="data") -> Server:
        made.append(make_server(binary, tmp_path / name, arguments))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return lambda prefix: f"{prefix}-{next(_counter)}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for number, server in enumerate(_servers):
            if server.running() or item.get_closest_marker("own"):
                report.sections.append((f"log of server {number} on port {server.port}", server.tail(40)))


def pytest_sessionfinish(session):
    for server in _servers:
        server.kill()
