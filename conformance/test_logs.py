"""CloudWatch Logs under the AWS CLI and boto3: groups, streams, events, filters, and what functions log."""

import json
import time

import pytest

import make
from aws import Aws, check_refused, eventually, refused
from conftest import API


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def logs(api):
    return api.client("logs")


@pytest.fixture
def group(logs, unique):
    name = "/test/" + unique("group")
    logs.create_log_group(logGroupName=name)
    return name


def put(logs, group: str, stream: str, *messages: str, at: int | None = None):
    base = at or now_ms()
    events = [{"timestamp": base + index, "message": message} for index, message in enumerate(messages)]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def filtered(logs, group: str, pattern: str = "", **more) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=pattern, **more)
    return [event["message"] for page in pages for event in page["events"]]


def test_the_cli_writes_and_filters(api, unique):
    name = "/cli/" + unique("group")
    api.cli("logs", "create-log-group", "--log-group-name", name, "--tags", "team=blue")
    api.cli("logs", "create-log-stream", "--log-group-name", name, "--log-stream-name", "one")
    events = json.dumps([{"timestamp": now_ms(), "message": "hello from the command line"}])
    api.cli("logs", "put-log-events", "--log-group-name", name, "--log-stream-name", "one", "--log-events", events)
    found = api.cli("logs", "filter-log-events", "--log-group-name", name, "--filter-pattern", "hello -goodbye").json()
    assert [event["message"] for event in found["events"]] == ["hello from the command line"]
    shown = api.cli("logs", "describe-log-groups", "--log-group-name-prefix", name).json()["logGroups"]
    assert [(one["logGroupName"], one["storedBytes"]) for one in shown] == [(name, len("hello from the command line") + 26)]
    assert shown[0]["arn"] == f"arn:aws:logs:us-east-1:{API}:log-group:{name}:*"
    assert shown[0]["logGroupArn"] == f"arn:aws:logs:us-east-1:{API}:log-group:{name}"
    api.cli("logs", "delete-log-group", "--log-group-name", name)
    assert api.cli("logs", "filter-log-events", "--log-group-name", name, check=False).code != 0


def test_tailing_sees_every_event_once(logs, group):
    """The calls of `aws logs tail --follow`, which version 1 of the CLI lacks: poll from the last second, drop known ids."""
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    seen: dict[str, str] = {}
    start = now_ms() - 60_000
    for round in range(3):
        put(logs, group, "s", *(f"{round}-{index}" for index in range(3)))
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, interleaved=True, startTime=start)
        events = [event for page in pages for event in page["events"]]
        for event in events:
            assert seen.setdefault(event["eventId"], event["message"]) == event["message"]
        start = max(event["timestamp"] for event in events)
    assert list(seen.values()) == [f"{round}-{index}" for round in range(3) for index in range(3)]


def test_a_functions_log_is_in_its_group(api, unique):
    name = unique("logging")
    make.function(api, name, "echo.js")
    answer = api.awslambda.invoke(FunctionName=name, Payload=b"{}")
    request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    logs = api.client("logs")

    def lines():
        try:
            found = filtered(logs, f"/aws/lambda/{name}")
        except logs.exceptions.ResourceNotFoundException:
            return None
        return found if any(line.startswith("REPORT") for line in found) else None

    found = eventually(lines)
    assert f"START RequestId: {request_id} Version: $LATEST" in found
    assert f"END RequestId: {request_id}" in found
    report = next(line for line in found if line.startswith("REPORT"))
    assert all(part in report for part in (request_id, "Duration: ", "Billed Duration: ", "Memory Size: 128 MB"))
    (stream,) = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert stream["logStreamName"].startswith(time.strftime("%Y/%m/%d/[$LATEST]", time.gmtime()))


def test_get_log_events_pages_both_ways_and_never_ends(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", *(f"m{index}" for index in range(5)))
    where = {"logGroupName": group, "logStreamName": "s", "limit": 2}
    messages = lambda page: [event["message"] for event in page["events"]]  # noqa: E731
    assert messages(logs.get_log_events(**where)) == ["m3", "m4"]
    first = logs.get_log_events(**where, startFromHead=True)
    assert messages(first) == ["m0", "m1"]
    second = logs.get_log_events(**where, nextToken=first["nextForwardToken"])
    assert messages(second) == ["m2", "m3"]
    assert messages(logs.get_log_events(**where, nextToken=second["nextBackwardToken"])) == ["m0", "m1"]
    third = logs.get_log_events(**where, nextToken=second["nextForwardToken"])
    assert messages(third) == ["m4"]
    end = logs.get_log_events(**where, nextToken=third["nextForwardToken"])
    assert (messages(end), end["nextForwardToken"]) == ([], third["nextForwardToken"])
    put(logs, group, "s", "late", at=now_ms() + 1000)
    assert messages(logs.get_log_events(**where, nextToken=end["nextForwardToken"])) == ["late"]
    check_refused("InvalidParameterException", 400, "The specified nextToken is invalid.", logs.get_log_events, **where, nextToken="f/1/s")


def test_filters_go_over_streams_in_the_order_of_time(logs, group):
    base = now_ms() - 1000
    for index, stream in enumerate(("a", "b", "ab")):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, json.dumps({"level": "ERROR", "code": index}), f"plain {stream}", at=base + index * 10)
    assert filtered(logs, group, "plain") == ["plain a", "plain b", "plain ab"]
    assert filtered(logs, group, "plain", logStreamNames=["b"]) == ["plain b"]
    assert filtered(logs, group, "plain", logStreamNames=["b", "ab"]) == ["plain b", "plain ab"]
    assert filtered(logs, group, "plain", logStreamNamePrefix="a") == ["plain a", "plain ab"]
    assert len(filtered(logs, group, '{ $.level = "ERROR" && ($.code = 0 || $.code > 1) }')) == 2
    assert filtered(logs, group, PaginationConfig={"PageSize": 1}) == filtered(logs, group)
    for pattern in ("[ip, user]", "%re.*%", "{ $.a }", '"open'):
        assert refused(logs.filter_log_events, logGroupName=group, filterPattern=pattern).code == "InvalidParameterException"


def test_batches_follow_awss_rules(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    where = {"logGroupName": group, "logStreamName": "s"}
    now = now_ms()
    backwards = [{"timestamp": now, "message": "b"}, {"timestamp": now - 1, "message": "a"}]
    text = "Log events in a single PutLogEvents request must be in chronological order."
    check_refused("InvalidParameterException", 400, text, logs.put_log_events, **where, logEvents=backwards)
    rejected = put(logs, group, "s", "old", at=now - 15 * 86_400_000)["rejectedLogEventsInfo"]
    assert rejected == {"tooOldLogEventEndIndex": 1}
    text = "The specified log stream does not exist."
    refusal = refused(put, logs, group, "none", "x")
    assert (refusal.code, refusal.message) == ("ResourceNotFoundException", text)
    refusal = refused(put, logs, group + "x", "s", "x")
    assert (refusal.code, refusal.message) == ("ResourceNotFoundException", "The specified log group does not exist.")
    text = "The specified log stream already exists"
    check_refused("ResourceAlreadyExistsException", 400, text, logs.create_log_stream, **where)


def test_a_group_made_again_shows_nothing_old_and_other_accounts_nothing_at_all(logs, group, security):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "secret")
    theirs = security.client("logs")
    assert refused(theirs.filter_log_events, logGroupName=group).code == "ResourceNotFoundException"
    arn = f"arn:aws:logs:us-east-1:{API}:log-group:{group}"
    assert refused(theirs.filter_log_events, logGroupIdentifier=arn).code == "ResourceNotFoundException"
    assert [event["message"] for event in logs.filter_log_events(logGroupIdentifier=arn)["events"]] == ["secret"]
    logs.delete_log_group(logGroupName=group)
    logs.create_log_group(logGroupName=group)
    assert filtered(logs, group) == []
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []


def test_a_policy_holds_however_the_group_is_named(api, group, server, unique):
    denying = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "logs:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "logs:FilterLogEvents", "Resource": f"arn:aws:logs:*:*:log-group:{group}:*"},
        ],
    }
    user = Aws(server.endpoint, make.user(api, unique("reader"), denying)).client("logs")
    arn = f"arn:aws:logs:us-east-1:{API}:log-group:{group}"
    for naming in ({"logGroupName": group}, {"logGroupIdentifier": group}, {"logGroupIdentifier": arn}):
        assert refused(user.filter_log_events, **naming).code == "AccessDeniedException", naming
    assert user.describe_log_streams(logGroupName=group)["logStreams"] == []


def test_retention_tags_and_what_is_refused(logs, group):
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    (shown,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert shown["retentionInDays"] == 7
    assert refused(logs.put_retention_policy, logGroupName=group, retentionInDays=2).code == "InvalidParameterException"
    logs.delete_retention_policy(logGroupName=group)
    arn = shown["logGroupArn"]
    logs.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
    key = "arn:aws:kms:us-east-1:111111111111:key/x"
    assert refused(logs.create_log_group, logGroupName=group + "-k", kmsKeyId=key).code == "InvalidParameterException"
    text = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
    check_refused(
        "InvalidParameterException", 400, text, logs.describe_log_groups, logGroupNamePrefix="a", logGroupNamePattern="b"
    )


def test_managing_is_recorded_and_the_events_are_not(api, logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "x")
    filtered(logs, group)
    (made,) = [one for one in make.events(api, "EventName", "CreateLogStream") if one["requestParameters"]["logGroupName"] == group]
    assert made["requestParameters"]["logStreamName"] == "s"
    for name in ("PutLogEvents", "FilterLogEvents"):
        written = [one for one in make.events(api, "EventName", name) if not one.get("errorCode")]
        assert written == []
