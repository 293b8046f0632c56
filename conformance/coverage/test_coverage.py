"""Every operation that exists x {unsigned, wrong signature, foreign account, denied by policy}: the right refusal.

An operation exists when a user without any policy is told that it may not call it (or is answered): one that does not
says so with 501. `uncovered.json` lists operations that exist and are not walked here; it may only shrink.
"""

import json
import re
import sys
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import operations  # noqa: E402

import make  # noqa: E402
from aws import CONFIG, Aws  # noqa: E402
from server import Account  # noqa: E402

UNCOVERED_MAX = 0
# The operations of the first version; the walk fails when detection suddenly finds fewer.
AT_LEAST = {"apigateway": 45, "lambda": 26, "iam": 55, "sts": 3, "cloudtrail": 10, "s3": 15}

ALL = [
    (service, operation)
    for service in operations.SERVICES
    for operation in operations.model(service).operation_names
    if operation not in operations.ELSEWHERE.get(service, ())
]
MISSING_TOKEN = {"apigateway": "MissingAuthenticationTokenException", "lambda": "MissingAuthenticationTokenException", "cloudtrail": "MissingAuthenticationTokenException", "iam": "MissingAuthenticationToken", "sts": "MissingAuthenticationToken"}
WRONG_SIGNATURE = {"apigateway": "InvalidSignatureException", "lambda": "InvalidSignatureException", "cloudtrail": "InvalidSignatureException", "iam": "SignatureDoesNotMatch", "sts": "SignatureDoesNotMatch"}
# How an operation that is not there answers: not in this version, or in no version of the API known here.
ABSENT = ("NotImplemented", "NotImplementedException", "UnknownOperationException", "InvalidAction")
# What a caller from elsewhere may be told about things that are not its own.
NOT_YOURS = {
    "AccessDenied", "AccessDeniedException", "NotFoundException", "ResourceNotFoundException", "NoSuchEntity", "TrailNotFoundException",
    "CloudTrailARNInvalidException", "InsufficientS3BucketPolicyException", "S3BucketDoesNotExistException",
    "403", "404", "NoSuchKey", "NoSuchUpload", "ConflictException", "InvalidHomeRegionException",
}  # fmt: skip


class Client:
    """boto3 clients of a caller, by service."""

    def __init__(self, endpoint: str, identity: Account, **config):
        self.endpoint, self.identity = endpoint, identity
        self.config = CONFIG.merge(Config(inject_host_prefix=False, **config))
        self.made = {}

    def call(self, service: str, operation: str, parameters: dict) -> tuple[int, str, str, object]:
        """(status, code, message, answer); code is empty when it was not refused."""
        if service not in self.made:
            self.made[service] = boto3.client(
                service, region_name="us-east-1", endpoint_url=self.endpoint, config=self.config,
                aws_access_key_id=self.identity.access_key, aws_secret_access_key=self.identity.secret,
            )  # fmt: skip
        try:
            answer = getattr(self.made[service], operations.python_name(service, operation))(**parameters)
        except ClientError as error:
            found = error.response
            return found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"], found["Error"].get("Message", ""), None
        if operation == "DeleteObjects" and not answer.get("Deleted") and answer.get("Errors"):
            # S3 answers 200 and refuses key by key.
            first = answer["Errors"][0]
            return 403, first["Code"], first["Message"], None
        return answer["ResponseMetadata"]["HTTPStatusCode"], "", "", answer


@pytest.fixture(scope="session")
def world(api):
    return operations.World(api).build("coverage-world")


@pytest.fixture(scope="session")
def denied(api):
    return Client(api.endpoint, make.user(api, "coverage-denied"))


@pytest.fixture(scope="session")
def implemented(world, denied) -> dict:
    """What the denied user was told, for each operation that exists."""
    found = {}
    for service, operation in ALL:
        try:
            told = denied.call(service, operation, world.parameters(service, operation))
        except ParamValidationError as error:
            told = (0, "ParamValidationError", str(error), None)
        if told[0] != 501 and told[1] not in ABSENT:
            found[(service, operation)] = told
    return found


def listed() -> dict[str, str]:
    return {entry["operation"]: entry["reason"] for entry in json.loads((HERE / "uncovered.json").read_text())}


def walk(implemented, world, check) -> list[str]:
    """Applies a check to every operation that exists; gives what is wrong."""
    skipped, faults = listed(), []
    for service, operation in implemented:
        if f"{service}:{operation}" in skipped:
            continue
        fault = check(service, operation, world.parameters(service, operation))
        if fault:
            faults.append(f"{service}:{operation}: {fault}")
    return faults


def test_the_operations_that_exist_are_found(implemented):
    for service, least in AT_LEAST.items():
        count = sum(1 for found, _ in implemented if found == service)
        assert count >= least, f"{service}: {count} operations found"
    told = {f"{s}:{o}": told for (s, o), told in implemented.items() if told[1] == "ParamValidationError" and f"{s}:{o}" not in listed()}
    assert told == {}, "no smallest call could be made of these"


def test_the_list_of_uncovered_operations_only_shrinks(implemented):
    names = {f"{service}:{operation}" for service, operation in implemented}
    assert [name for name in listed() if name not in names] == [], "listed, but not there"
    assert len(listed()) <= UNCOVERED_MAX


def test_the_page_of_coverage_lists_what_exists(implemented):
    page = HERE.parents[1] / "docs" / "coverage.md"
    assert page.exists(), "docs/coverage.md is missing: run `cargo xtask codegen`"
    text = page.read_text()
    absent = [f"{s}:{o}" for s, o in implemented if s != "s3" and not re.search(rf"\b{o}\b", text)]
    assert absent == []


def test_unsigned_calls_are_refused(implemented, world, api):
    nobody = Client(api.endpoint, Account("", "AKIAIOSFODNN7EXAMPLE", "x"), signature_version=UNSIGNED)

    def check(service, operation, parameters):
        status, code, message, _ = nobody.call(service, operation, parameters)
        if service == "s3":
            return None if status == 403 and code in ("AccessDenied", "403") else (status, code, message)
        expected = 400 if service == "cloudtrail" else 403
        return None if (status, code) == (expected, MISSING_TOKEN[service]) else (status, code, message)

    faults = walk(implemented, world, check)
    assert not faults, "\n".join(faults)


def test_wrong_signatures_are_refused(implemented, world, api):
    forged = Client(api.endpoint, Account(api.account, api.identity.access_key, "forged" * 6))

    def check(service, operation, parameters):
        status, code, message, _ = forged.call(service, operation, parameters)
        if service == "s3":
            return None if status == 403 and code in ("SignatureDoesNotMatch", "403") else (status, code, message)
        expected = 400 if service == "cloudtrail" else 403
        return None if (status, code) == (expected, WRONG_SIGNATURE[service]) else (status, code, message)

    faults = walk(implemented, world, check)
    assert not faults, "\n".join(faults)


def test_a_foreign_account_changes_and_sees_nothing(implemented, world, stranger):
    foreign = Client(stranger.endpoint, stranger.identity)
    marks = (world.name, world.rest.id, f":{world.aws.account}:")

    def check(service, operation, parameters):
        status, code, message, answer = foreign.call(service, operation, parameters)
        if code:
            return None if code in NOT_YOURS else (status, code, message)
        if operation == "LookupEvents":
            # Its own attempts name what it tried; nothing else may be there.
            owners = {json.loads(event["CloudTrailEvent"])["recipientAccountId"] for event in answer["Events"]}
            return None if owners <= {stranger.account} else f"shows events of {owners}"
        shown = json.dumps({k: v for k, v in answer.items() if k != "ResponseMetadata"}, default=str)
        if operation.startswith("Create") or (service, operation) in {("sts", "GetCallerIdentity")}:
            return None if f":{world.aws.account}:" not in shown else f"shows {shown[:200]}"
        names_something = any(str(value) in str(parameters) for value in world.values[service].values())
        if names_something and service != "iam":
            return f"answered {status}: {shown[:200]}"
        return None if not any(mark in shown for mark in marks) else f"shows {shown[:200]}"

    faults = walk(implemented, world, check)
    assert not faults, "\n".join(faults)
    assert world.intact() == []


def test_a_user_without_a_policy_is_denied_with_awss_sentence(implemented, world, denied):
    user = f"arn:aws:iam::{world.aws.account}:user/coverage-denied"

    def check(service, operation, _):
        status, code, message, _ = implemented[(service, operation)]
        if (service, operation) in operations.UNDENIABLE:
            return None if status == 200 else (status, code, message)
        if service == "s3":
            return None if status == 403 and code in ("AccessDenied", "403") else (status, code, message)
        protocol = "AccessDenied" if service in ("iam", "sts") else "AccessDeniedException"
        expected = 400 if service == "cloudtrail" else 403
        if (status, code) != (expected, protocol):
            return (status, code, message)
        action = operations.iam_action(service, operation)
        start = f"User: {user} is not authorized to perform: {action} on resource: "
        end = "" if service == "sts" else f"because no identity-based policy allows the {action} action"
        return None if message.startswith(start) and message.endswith(end) else message

    faults = walk(implemented, world, check)
    assert not faults, "\n".join(faults)
    assert world.intact() == []
