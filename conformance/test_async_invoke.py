"""Asynchronous invocation under boto3 and the AWS CLI: what is accepted runs, retries and destinations, limits, crashes."""

import json
import time
import uuid

import pytest

import make
from aws import Aws, check_refused, eventually, refused
from conftest import API, SECURITY


def diary(aws: Aws, name: str) -> list[dict]:
    """What a function of `functions/diary.py` has seen, oldest first."""
    logs = aws.client("logs")
    try:
        pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}", filterPattern="DIARY"))
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(event["message"].split("DIARY ", 1)[1]) for page in pages for event in page["events"]]


def send(aws: Aws, name: str, payload, **more) -> str:
    """An asynchronous invocation; gives its request id."""
    answer = aws.awslambda.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload).encode(), **more)
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    return answer["ResponseMetadata"]["RequestId"]


def allow_destinations(aws: Aws, *arns: str, role: str = "function-role") -> None:
    statement = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": list(arns)}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.iam.put_role_policy(RoleName=role, PolicyName=f"to-{uuid.uuid4().hex[:8]}", PolicyDocument=document)


@pytest.fixture
def function(api, unique):
    """Makes functions that write down what they see; gives the name."""

    def made(prefix: str = "diary", **settings) -> str:
        name = unique(prefix)
        make.function(api, name, "diary.py", **settings)
        return name

    return made


def arn(name: str, account: str = API) -> str:
    return f"arn:aws:lambda:us-east-1:{account}:function:{name}"


def test_an_event_is_accepted_and_runs_with_the_id_it_was_answered_with(api, function):
    name = function()
    request = send(api, name, {"hello": "there"})
    seen = eventually(lambda: diary(api, name))
    assert seen == [{"request": request, "event": {"hello": "there"}}]
    records = eventually(lambda: [e for e in make.events(api, "ResourceName", arn(name)) if e["requestID"] == request])
    assert len(records) == 1
    assert records[0]["userIdentity"]["arn"] == f"arn:aws:iam::{API}:root" and records[0]["eventName"] == "Invoke"


def test_the_cli_invokes_asynchronously(api, function, tmp_path):
    name = function()
    answer = api.cli(
        "lambda", "invoke", "--function-name", name, "--invocation-type", "Event", "--payload", "{}", str(tmp_path / "out")
    )
    assert answer.json() == {"StatusCode": 202}
    assert (tmp_path / "out").read_bytes() == b""
    eventually(lambda: diary(api, name))


def test_invoke_async_is_the_older_form(api, function):
    name = function()
    answer = api.awslambda.invoke_async(FunctionName=name, InvokeArgs=b'{"old":1}')
    assert answer["Status"] == 202
    seen = eventually(lambda: diary(api, name))
    assert seen[0]["event"] == {"old": 1} and seen[0]["request"] == answer["ResponseMetadata"]["RequestId"]
    refusal = refused(api.awslambda.invoke_async, FunctionName=name, InvokeArgs=b'"' + b"x" * 262144 + b'"')
    assert refusal.status == 413
    assert refused(api.awslambda.invoke_async, FunctionName=name, InvokeArgs=b"{").code == "InvalidRequestContentException"


def test_versions_and_aliases_are_reached_as_they_were_named(api, function):
    name = function()
    version = api.awslambda.publish_version(FunctionName=name)["Version"]
    api.awslambda.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    request = send(api, name, "through the alias", Qualifier="live")
    assert eventually(lambda: diary(api, name))[0]["request"] == request
    record = eventually(lambda: [e for e in make.events(api, "ResourceName", arn(name)) if e["requestID"] == request])[0]
    assert record["additionalEventData"]["functionVersion"] == f"{arn(name)}:{version}"
    assert record["requestParameters"]["functionName"] == f"{arn(name)}:live"


def test_what_cannot_run_is_refused_at_the_call(api, function, stranger):
    name = function()
    call = api.awslambda.invoke
    refusal = refused(call, FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * (1 << 20) + b'"')
    assert (refusal.code, refusal.status) == ("RequestTooLargeException", 413)
    check_refused(
        "ResourceNotFoundException", 404, f"Function not found: {arn('nobody')}",
        call, FunctionName="nobody", InvocationType="Event", Payload=b"{}",
    )  # fmt: skip
    assert refused(call, FunctionName=name, InvocationType="Event", Payload=b"{").code == "InvalidRequestContentException"
    assert refused(stranger.awslambda.invoke, FunctionName=arn(name), InvocationType="Event", Payload=b"{}").status == 403
    send(api, name, "x" * ((1 << 20) - 2))
    eventually(lambda: diary(api, name) or api.awslambda.get_function(FunctionName=name))


def test_a_configuration_is_put_changed_listed_and_deleted(api, function):
    name = function()
    config = api.awslambda
    made = config.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60)
    assert made["FunctionArn"] == f"{arn(name)}:$LATEST" and abs(made["LastModified"].timestamp() - time.time()) < 60
    assert made["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    changed = config.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 60)
    listed = config.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert [one["FunctionArn"] for one in listed] == [f"{arn(name)}:$LATEST"]
    config.delete_function_event_invoke_config(FunctionName=name)
    missing = f"The function {arn(name)}:$LATEST doesn't have an EventInvokeConfig"
    check_refused("ResourceNotFoundException", 404, missing, config.get_function_event_invoke_config, FunctionName=name)
    nothing = "You must specify at least one of error handling or destination setting."
    check_refused(
        "InvalidParameterValueException", 400, nothing, config.put_function_event_invoke_config, FunctionName=name
    )
    api.cli("lambda", "put-function-event-invoke-config", "--function-name", name, "--maximum-retry-attempts", "2")
    assert api.cli("lambda", "get-function-event-invoke-config", "--function-name", name).json()["MaximumRetryAttempts"] == 2


def test_the_destinations_hear_of_success_and_failure(api, function):
    name, good, bad = function("worker"), function("good"), function("bad")
    allow_destinations(api, arn(good), arn(bad))
    api.awslambda.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": arn(good)}, "OnFailure": {"Destination": arn(bad)}},
    )
    fine, wrong = send(api, name, {"n": 1}), send(api, name, {"fail": "on purpose"})
    told = eventually(lambda: diary(api, good))[0]["event"]
    assert list(told) == ["version", "timestamp", "requestContext", "requestPayload", "responseContext", "responsePayload"]
    assert told["requestContext"] == {
        "requestId": fine, "functionArn": f"{arn(name)}:$LATEST", "condition": "Success", "approximateInvokeCount": 1
    }  # fmt: skip
    assert (told["version"], told["requestPayload"], told["responsePayload"]) == ("1.0", {"n": 1}, {"seen": {"n": 1}})
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    told = eventually(lambda: diary(api, bad))[0]["event"]
    assert told["requestContext"] == {
        "requestId": wrong, "functionArn": f"{arn(name)}:$LATEST", "condition": "RetriesExhausted", "approximateInvokeCount": 1
    }  # fmt: skip
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert told["responsePayload"]["errorMessage"] == "on purpose" and told["responsePayload"]["requestId"] == wrong
    assert len(diary(api, name)) == 2, "each ran once"
    by = eventually(lambda: make.events(api, "ResourceName", arn(bad)))[0]["userIdentity"]
    assert (by["type"], by["invokedBy"]) == ("AssumedRole", "lambda.amazonaws.com")
    assert by["sessionContext"]["sessionIssuer"]["arn"].endswith(":role/function-role")


def test_a_stopped_function_gives_its_events_to_the_failure_destination(api, function):
    name, bad = function("stopped"), function("bad")
    allow_destinations(api, arn(bad))
    api.awslambda.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn(bad)}}
    )
    api.awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(api, name, {"n": 1})
    told = eventually(lambda: diary(api, bad))[0]["event"]
    assert told["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert told["requestContext"]["approximateInvokeCount"] == 0 and "responseContext" not in told
    assert diary(api, name) == []


def test_events_wait_for_reserved_concurrency_and_all_run(api, function):
    name = function("narrow", Timeout=10)
    api.awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    sent = {send(api, name, {"sleep_s": 0.2, "n": n}) for n in range(8)}
    seen = eventually(lambda: (found := diary(api, name)) and len(found) == 8 and found)
    assert {one["request"] for one in seen} == sent


def test_destinations_are_functions_that_exist_and_the_role_may_invoke(api, function):
    name, other = function("sender"), function("receiver")
    put = api.awslambda.put_function_event_invoke_config

    def to(arn):
        return {"FunctionName": name, "DestinationConfig": {"OnSuccess": {"Destination": arn}}}

    role = api.iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(make.LAMBDA_TRUST))["Role"]["Arn"]
    api.awslambda.update_function_configuration(FunctionName=name, Role=role)
    make.wait_active(api, name)
    denied = f"The function execution role does not have permissions to call InvokeFunction on {arn(other)}"
    check_refused("InvalidParameterValueException", 400, denied, put, **to(arn(other)))
    allow_destinations(api, arn(other), arn("nobody"), arn(name), role=f"{name}-role")
    put(**to(arn(other)))
    check_refused(
        "InvalidParameterValueException", 400, f"The destination ARN {arn('nobody')} is invalid.", put, **to(arn("nobody"))
    )
    own = "You can't specify the function as a destination for itself."
    check_refused("InvalidParameterValueException", 400, own, put, **to(arn(name)))
    refusal = refused(put, **to(f"arn:aws:sqs:us-east-1:{API}:queue"))
    assert refusal.status == 400 and "a destination is a Lambda function" in refusal.message


def test_a_destination_in_another_account_needs_both_sides(api, security, function, unique):
    name, theirs = function("crossing"), unique("theirs")
    make.function(security, theirs, "diary.py")
    allow_destinations(api, arn(theirs, SECURITY))
    put = api.awslambda.put_function_event_invoke_config
    to = {"FunctionName": name, "DestinationConfig": {"OnSuccess": {"Destination": arn(theirs, SECURITY)}}}
    assert "does not have permissions" in refused(put, **to).message
    security.awslambda.add_permission(
        FunctionName=theirs, StatementId="from-the-api-account", Action="lambda:InvokeFunction",
        Principal=f"arn:aws:iam::{API}:role/function-role",
    )  # fmt: skip
    put(**to)
    send(api, name, {"n": 1})
    assert eventually(lambda: diary(security, theirs))[0]["event"]["responsePayload"] == {"seen": {"n": 1}}
    security.awslambda.remove_permission(FunctionName=theirs, StatementId="from-the-api-account")
    send(api, name, {"n": 2})
    eventually(lambda: len(diary(api, name)) == 2)
    time.sleep(0.5)
    assert len(diary(security, theirs)) == 1, "asked again at each delivery"


def test_a_dead_letter_queue_is_refused_and_none_is_none(api, function):
    name = function()
    change = api.awslambda.update_function_configuration
    refusal = refused(change, FunctionName=name, DeadLetterConfig={"TargetArn": f"arn:aws:sqs:us-east-1:{API}:queue"})
    assert "DeadLetterConfig" in refusal.message and "OnFailure" in refusal.message
    change(FunctionName=name, DeadLetterConfig={"TargetArn": ""})


def test_a_function_that_is_deleted_loses_its_events_and_configuration(api, function):
    name = function("doomed", Timeout=10)
    api.awslambda.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    send(api, name, {"fail": "to be retried in a minute"})
    eventually(lambda: diary(api, name))
    api.awslambda.delete_function(FunctionName=name)
    make.function(api, name, "diary.py")
    missing = refused(api.awslambda.get_function_event_invoke_config, FunctionName=name)
    assert missing.status == 404


def test_what_was_accepted_runs_after_kill_nine(own_server):
    server = own_server()
    account = server.create_account(API, "api")
    server.start()
    aws = Aws(server.endpoint, account)
    make.function(aws, "slow", "diary.py", Timeout=20)
    aws.awslambda.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
    sent = {send(aws, "slow", {"sleep_s": 0.5, "n": n}) for n in range(6)}
    server.kill()
    server.start()
    done = eventually(lambda: (found := diary(aws, "slow")) and {one["request"] for one in found} >= sent and found, 60)
    assert len(done) >= 6, "at least once each"
    server.stop()


def test_one_accounts_flood_does_not_hold_up_another(api, security, function, unique):
    flooded, quiet = function("flooded", Timeout=10), unique("quiet")
    make.function(security, quiet, "diary.py")
    send(security, quiet, "warm")
    eventually(lambda: diary(security, quiet))
    for n in range(60):
        send(api, flooded, {"sleep_s": 0.3, "n": n})
    began = time.monotonic()
    send(security, quiet, "in between")
    eventually(lambda: len(diary(security, quiet)) == 2)
    assert len(diary(api, flooded)) < 60, f"the flood went first, {time.monotonic() - began:.1f} s"
    api.awslambda.delete_function(FunctionName=flooded)
