"""A function's life: Pending, Active, updated, and the waiters of AWS's clients."""

import json

import functions
import make
from aws import Aws, check_refused, eventually

WAIT = {"Delay": 1, "MaxAttempts": 20}


def create(aws: Aws, name: str, **settings) -> dict:
    return aws.awslambda.create_function(
        **{
            "FunctionName": name,
            "Runtime": "nodejs20.x",
            "Role": make.lambda_role(aws),
            "Handler": "index.handler",
            "Code": {"ZipFile": functions.zipped("echo.js")},
            **settings,
        }
    )


def state(aws: Aws, name: str, **settings) -> tuple:
    shown = aws.awslambda.get_function_configuration(FunctionName=name, **settings)
    return shown["State"], shown.get("LastUpdateStatus"), shown.get("StateReasonCode")


def test_the_clis_waiters_end(api, unique):
    name = unique("state")
    made = create(api, name)
    assert (made["State"], made["StateReason"], made["StateReasonCode"]) == ("Pending", "The function is being created.", "Creating")
    assert "LastUpdateStatus" not in made
    api.cli("lambda", "wait", "function-active-v2", "--function-name", name)
    assert state(api, name) == ("Active", "Successful", None)
    updated = api.awslambda.update_function_code(FunctionName=name, ZipFile=functions.zipped("layered.js"))
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    assert (updated["LastUpdateStatusReason"], updated["LastUpdateStatusReasonCode"]) == ("The function is being created.", "Creating")
    api.cli("lambda", "wait", "function-updated-v2", "--function-name", name)
    api.cli("lambda", "wait", "function-updated", "--function-name", name)
    api.cli("lambda", "wait", "published-version-active", "--function-name", name)
    assert state(api, name) == ("Active", "Successful", None)


def test_a_version_published_at_once_is_ready_with_its_function(api, unique):
    name = unique("state")
    made = create(api, name, Publish=True)
    assert (made["Version"], made["State"]) == ("1", "Pending")
    api.awslambda.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig=WAIT)
    assert state(api, name, Qualifier="1") == ("Active", "Successful", None)
    answer = api.awslambda.invoke(FunctionName=name, Qualifier="1", Payload=b"1")
    assert answer["ExecutedVersion"] == "1"


def test_whoever_does_not_wait_is_waited_for(api, unique):
    """AWS refuses what comes too early; here it is done once the function is ready, which is soon."""
    name = unique("state")
    create(api, name)
    answer = api.awslambda.invoke(FunctionName=name, Payload=b'{"x":1}')
    assert json.loads(answer["Payload"].read())["event"] == {"x": 1}
    for number in range(5):
        api.awslambda.update_function_configuration(FunctionName=name, Description=str(number))
    api.awslambda.update_function_code(FunctionName=name, ZipFile=functions.zipped("layered.js"))
    assert "module" in json.loads(api.awslambda.invoke(FunctionName=name, Payload=b"{}")["Payload"].read())
    assert api.awslambda.publish_version(FunctionName=name)["State"] == "Active"


def test_a_function_created_before_a_crash_is_active_after_it(own_server, unique):
    server = own_server()
    account = server.create_account("111111111111", "api")
    server.start()
    aws = Aws(server.endpoint, account)
    names = [unique("state") for _ in range(8)]
    role = make.lambda_role(aws)
    for name in names:
        create(aws, name, Role=role)
    server.kill()
    server.start()
    for name in names:
        aws.awslambda.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=WAIT)
        assert json.loads(aws.awslambda.invoke(FunctionName=name, Payload=b"2")["Payload"].read())["event"] == 2


def test_a_package_that_is_no_zip_makes_no_function(api, unique):
    name = unique("state")
    text = "Could not unzip uploaded file. Please check your file, then try to upload again."
    given = {
        "FunctionName": name,
        "Runtime": "nodejs20.x",
        "Role": make.lambda_role(api),
        "Handler": "index.handler",
        "Code": {"ZipFile": b"no zip"},
    }
    check_refused("InvalidParameterValueException", 400, text, api.awslambda.create_function, **given)
    missing = f"Function not found: arn:aws:lambda:us-east-1:{api.account}:function:{name}"
    check_refused("ResourceNotFoundException", 404, missing, api.awslambda.get_function, FunctionName=name)


def test_tmp_has_the_configured_size(api, unique):
    name = unique("tmp")
    make.function(api, name, "tmp_size.py", Timeout=60)

    def run(**event):
        answer = api.awslambda.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    assert run()["mb"] == 512
    full = run(write_mb=520)
    assert (full["error"], full["written_mb"]) == ("No space left on device", 512)
    updated = api.awslambda.update_function_configuration(FunctionName=name, EphemeralStorage={"Size": 1024})
    assert updated["EphemeralStorage"] == {"Size": 1024}
    make.wait_active(api, name)
    assert run()["mb"] == 1024
    too_large = {"FunctionName": name, "EphemeralStorage": {"Size": 10241}}
    check_refused("ValidationException", 400, None, api.awslambda.update_function_configuration, **too_large)


def test_it_logs_as_it_is_told(api, unique):
    name, group = unique("logs"), unique("/elsewhere/logs")
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "LogGroup": group}
    make.function(api, name, "leveled.py", LoggingConfig=config)
    shown = api.awslambda.get_function_configuration(FunctionName=name)["LoggingConfig"]
    assert shown == {**config, "SystemLogLevel": "INFO"}
    logs = api.client("logs")

    def written() -> list[dict]:
        """What was logged, once an invocation's report is there."""
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        found = [json.loads(event["message"]) for event in events]
        return found if any(event.get("type") == "platform.report" for event in found) else []

    request_id = api.awslambda.invoke(FunctionName=name, Payload=b"{}")["ResponseMetadata"]["RequestId"]
    found = eventually(written)
    started = [event for event in found if event.get("type") == "platform.start"]
    assert [event["record"]["requestId"] for event in started] == [request_id]
    report = next(event["record"] for event in found if event.get("type") == "platform.report")
    assert report["requestId"] == request_id and report["metrics"]["memorySizeMB"] == 128
    own = [event for event in found if "level" in event]
    assert [(event["level"], event["message"], event["requestId"]) for event in own] == [("WARNING", "of note", request_id)]
    # The next revision says nothing of what goes well.
    api.awslambda.update_function_configuration(
        FunctionName=name, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": f"{group}/quiet"}
    )
    make.wait_active(api, name)
    api.awslambda.invoke(FunctionName=name, Payload=b"{}")
    quiet = eventually(lambda: logs.describe_log_groups(logGroupNamePrefix=f"{group}/quiet")["logGroups"])
    assert len(quiet) == 1
    messages = eventually(lambda: logs.filter_log_events(logGroupName=f"{group}/quiet")["events"])
    assert not [event for event in messages if "platform." in event["message"]]
    for wrong in ({"ApplicationLogLevel": "DEBUG"}, {"LogFormat": "Text", "SystemLogLevel": "WARN"}):
        check_refused(
            "InvalidParameterValueException", 400, None, api.awslambda.update_function_configuration, FunctionName=name, LoggingConfig=wrong
        )
