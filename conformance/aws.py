"""The real clients: the `aws` command of this environment and boto3, each with one identity at one endpoint."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from server import Account

REGION = "us-east-1"
CLI_S_MAX = 90
# Retries would hide a server that answers only the second time.
CONFIG = Config(
    retries={"total_max_attempts": 1, "mode": "standard"},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    s3={"addressing_style": "path"},
)


def command() -> Path:
    """The `aws` command installed beside this Python."""
    found = Path(sys.executable).parent / "aws"
    assert found.exists(), (
        f"{found} is missing. Install the clients with `cargo xtask conformance`, or with "
        "`python3 -m venv conformance/.venv && conformance/.venv/bin/pip install -r conformance/requirements.txt`."
    )
    return found


@dataclass(frozen=True)
class Ran:
    """What a run of the AWS CLI gave."""

    code: int
    stdout: str
    stderr: str

    def json(self):
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Refusal:
    """An error as boto3 reports it."""

    code: str
    message: str
    status: int
    response: dict


class Aws:
    """One identity's clients."""

    _making = threading.Lock()

    def __init__(self, endpoint: str, identity: Account, region: str = REGION):
        self.endpoint = endpoint
        self.identity = identity
        self.region = region
        self._clients: dict[str, object] = {}

    @property
    def account(self) -> str:
        return self.identity.id

    def client(self, service: str):
        # Making a client is not thread-safe in boto3, using it is.
        with self._making:
            if service not in self._clients:
                self._clients[service] = boto3.session.Session(
                    aws_access_key_id=self.identity.access_key,
                    aws_secret_access_key=self.identity.secret,
                    aws_session_token=self.identity.token,
                    region_name=self.region,
                ).client(service, endpoint_url=self.endpoint, config=CONFIG)
            return self._clients[service]

    @property
    def apigateway(self):
        return self.client("apigateway")

    @property
    def awslambda(self):
        return self.client("lambda")

    @property
    def iam(self):
        return self.client("iam")

    @property
    def sts(self):
        return self.client("sts")

    @property
    def cloudtrail(self):
        return self.client("cloudtrail")

    @property
    def s3(self):
        return self.client("s3")

    def cli(self, *arguments: str, check: bool = True) -> Ran:
        """Runs `aws ...` with nothing of the machine's own configuration."""
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ACCESS_KEY_ID": self.identity.access_key,
            "AWS_SECRET_ACCESS_KEY": self.identity.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.identity.token:
            environment["AWS_SESSION_TOKEN"] = self.identity.token
        done = subprocess.run(
            [str(command()), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_S_MAX,
            env=environment,
        )
        if check:
            shown = " ".join(map(str, arguments))
            assert done.returncode == 0, f"aws {shown}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        return Ran(done.returncode, done.stdout, done.stderr)


def refused(call, *arguments, **parameters) -> Refusal:
    """Makes a call that must be refused by the service and gives the refusal."""
    try:
        answer = call(*arguments, **parameters)
    except ClientError as error:
        response = error.response
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        return Refusal(response["Error"]["Code"], response["Error"].get("Message", ""), status, response)
    raise AssertionError(f"not refused; answered {answer}")


def check_refused(code: str, status: int, message: str | None, call, **parameters) -> Refusal:
    """As [`refused`], and with exactly this code, status and text."""
    refusal = refused(call, **parameters)
    assert (refusal.code, refusal.status) == (code, status), refusal
    if message is not None:
        assert refusal.message == message, refusal
    return refusal


def eventually(check, seconds: float = 20, every: float = 0.1):
    """Calls until the result is true; gives it, or fails with the last."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s; last result: {result!r}"
        time.sleep(every)
