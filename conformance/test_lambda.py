"""Functions through boto3: their life, versions and aliases, and what Invoke answers."""

import base64
import hashlib
import io
import json
import re

import pytest

import functions
import make
import wire
from aws import check_refused, eventually, refused
from conftest import API, SECURITY


@pytest.fixture(scope="module")
def echo(api):
    return make.function(api, "echo-python", "echo.py")


@pytest.fixture(scope="module")
def misbehaving(api):
    return make.function(api, "misbehaving", "misbehaving.py", Timeout=2)


def invoke(aws, name, payload=None, **more):
    answer = aws.awslambda.invoke(FunctionName=name, Payload=json.dumps(payload).encode(), **more)
    return answer, json.loads(answer["Payload"].read() or "null")


def test_defaults_of_a_new_function(api, unique):
    name = unique("fresh")
    role = make.lambda_role(api)
    code = functions.zipped("echo.js")
    made = api.awslambda.create_function(
        FunctionName=name, Runtime="nodejs20.x", Role=role, Handler="index.handler", Code={"ZipFile": code}
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:us-east-1:{API}:function:{name}",
        "Runtime": "nodejs20.x",
        "Role": role,
        "Handler": "index.handler",
        "CodeSize": len(code),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    assert {key: made.get(key) for key in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["LastModified"])
    assert "Environment" not in made
    api.awslambda.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    shown = api.awslambda.get_function(FunctionName=name)
    assert shown["Configuration"]["State"] == "Active" and shown["Configuration"]["LastUpdateStatus"] == "Successful"
    assert shown["Code"]["RepositoryType"] == "S3" and shown["Code"]["Location"].startswith("http")


def test_the_code_can_be_fetched_from_its_location(api, echo):
    import urllib.request

    location = api.awslambda.get_function(FunctionName=echo)["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=10) as answer:
        assert answer.read() == functions.zipped("echo.py")


@pytest.mark.parametrize(
    ("runtime", "source"),
    [("nodejs6.10", "echo.js"), ("nodejs18.x", "echo.js"), ("python3.6", "echo.py"), ("python3.11", "echo.py")],
)
def test_retired_and_current_runtimes_run(api, unique, runtime, source):
    name = unique("runtime")
    make.function(api, name, source, Runtime=runtime)
    answer, payload = invoke(api, name, {"a": [1, None, "ü"]})
    assert (answer["StatusCode"], payload["event"]) == (200, {"a": [1, None, "ü"]})
    assert api.awslambda.get_function_configuration(FunctionName=name)["Runtime"] == runtime
    api.awslambda.delete_function(FunctionName=name)


@pytest.mark.parametrize(("runtime", "source"), [("nodejs24.x", "echo.js"), ("python3.14", "echo.py")])
def test_runtimes_newer_than_the_interpreter_are_refused_or_run(api, unique, runtime, source):
    name = unique("newer")
    try:
        make.function(api, name, source, Runtime=runtime)
    except api.awslambda.exceptions.InvalidParameterValueException as error:
        assert f"The runtime {runtime} is not available on this server" in error.response["Error"]["Message"]
        return
    assert invoke(api, name, 1)[1]["event"] == 1


def test_invoke_answers_result_version_and_request_id(api, echo):
    answer, payload = invoke(api, "echo-python", {"x": 1})
    assert answer["ExecutedVersion"] == "$LATEST" and "FunctionError" not in answer
    assert payload["event"] == {"x": 1}
    assert (payload["function_name"], payload["function_version"]) == ("echo-python", "$LATEST")
    assert payload["invoked_function_arn"] == echo
    assert payload["request_id"] == answer["ResponseMetadata"]["RequestId"]


def test_the_log_tail_has_lambdas_lines(api, echo):
    answer, _ = invoke(api, "echo-python", {}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    request = answer["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request} Version: $LATEST" in log
    assert "echo was asked" in log
    assert f"END RequestId: {request}" in log
    assert re.search(rf"REPORT RequestId: {request}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB", log)


def test_dry_run_runs_nothing(api, misbehaving):
    answer = api.awslambda.invoke(FunctionName="misbehaving", InvocationType="DryRun", Payload=b'{"how":"exit"}')
    assert answer["StatusCode"] == 204 and answer["Payload"].read() == b""


def test_an_exception_is_a_function_error(api, misbehaving):
    answer, payload = invoke(api, "misbehaving", {"how": "raise"})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert (payload["errorMessage"], payload["errorType"]) == ("boom", "ValueError")
    assert list(payload) == ["errorMessage", "errorType", "requestId", "stackTrace"]


def test_a_time_out_is_a_function_error(api, misbehaving):
    answer, payload = invoke(api, "misbehaving", {"how": "sleep"})
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Sandbox.Timedout" and payload["errorMessage"].endswith("Task timed out after 2.00 seconds")
    assert invoke(api, "misbehaving", {"how": "fine"})[1] == "fine", "the next invocation has a fresh environment"


def test_a_crash_is_a_function_error(api, misbehaving):
    answer, payload = invoke(api, "misbehaving", {"how": "exit"})
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.ExitError"
    assert invoke(api, "misbehaving", {"how": "fine"})[1] == "fine"


def test_an_answer_has_a_size_limit(api, misbehaving):
    answer, payload = invoke(api, "misbehaving", {"how": "large"})
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Function.ResponseSizeTooLarge"


def test_an_answer_must_be_json(api, misbehaving):
    answer, payload = invoke(api, "misbehaving", {"how": "unserializable"})
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.MarshalError"


def test_a_module_that_is_not_there(api, unique):
    name = unique("broken")
    make.function(api, name, "echo.py", Handler="nowhere.handler")
    answer, payload = invoke(api, name, {})
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.ImportModuleError"
    assert "nowhere" in payload["errorMessage"]


def test_a_payload_must_be_json(api, echo):
    refusal = check_refused("InvalidRequestContentException", 400, None, api.awslambda.invoke, FunctionName="echo-python", Payload=b"{")
    assert refusal.message.startswith("Could not parse request body into json:")


def test_configuration_changes_take_effect(api, unique):
    name = unique("changed")
    make.function(api, name, "echo.js", Environment={"Variables": {"GREETING": "one"}})
    assert invoke(api, name, 1)[1]["greeting"] == "one"
    before = api.awslambda.get_function_configuration(FunctionName=name)["RevisionId"]
    changed = api.awslambda.update_function_configuration(FunctionName=name, Timeout=7, Environment={"Variables": {"GREETING": "two"}})
    assert changed["RevisionId"] != before and changed["Timeout"] == 7
    api.awslambda.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert invoke(api, name, 1)[1]["greeting"] == "two", "a running environment is not reused across revisions"


def test_code_changes_take_effect(api, unique):
    name = unique("recoded")
    make.function(api, name, "echo.js")
    invoke(api, name, 1)
    code = functions.archive({"index.js": "exports.handler = async () => 'new';"})
    api.awslambda.update_function_code(FunctionName=name, ZipFile=code)
    make.wait_active(api, name)
    assert invoke(api, name, 1)[1] == "new"
    dry = api.awslambda.update_function_code(FunctionName=name, ZipFile=functions.zipped("echo.js"), DryRun=True)
    assert dry["CodeSize"] == len(functions.zipped("echo.js"))
    assert invoke(api, name, 1)[1] == "new", "a dry run changes nothing"


def test_versions_are_frozen_and_aliases_point(api, unique):
    name = unique("versioned")
    arn = make.function(api, name, "echo.js", Environment={"Variables": {"GREETING": "one"}})
    client = api.awslambda
    first = client.publish_version(FunctionName=name, Description="first")
    assert (first["Version"], first["FunctionArn"]) == ("1", f"{arn}:1")
    assert client.publish_version(FunctionName=name)["Version"] == "1", "nothing changed, so nothing is published"
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"GREETING": "two"}})
    make.wait_active(api, name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert alias["AliasArn"] == f"{arn}:live"
    assert client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"
    for qualifier, greeting, version in (("1", "one", "1"), ("2", "two", "2"), ("live", "one", "1"), ("$LATEST", "two", "$LATEST")):
        answer, payload = invoke(api, name, {}, Qualifier=qualifier)
        assert (payload["greeting"], answer["ExecutedVersion"]) == (greeting, version)
        assert payload["arn"] == f"{arn}:{qualifier}"
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert invoke(api, f"{name}:live", {})[1]["greeting"] == "two"
    assert [v["Version"] for v in client.list_versions_by_function(FunctionName=name)["Versions"]] == ["$LATEST", "1", "2"]
    assert [a["Name"] for a in client.list_aliases(FunctionName=name)["Aliases"]] == ["live"]
    client.delete_alias(FunctionName=name, Name="live")
    check_refused("ResourceNotFoundException", 404, None, client.get_alias, FunctionName=name, Name="live")
    check_refused("ResourceNotFoundException", 404, f"Function not found: {arn}:9", client.get_function, FunctionName=name, Qualifier="9")


def test_deleting(api, unique):
    name = unique("deleted")
    arn = make.function(api, name, "echo.js")
    client = api.awslambda
    client.publish_version(FunctionName=name)
    assert client.delete_function(FunctionName=name, Qualifier="1")["ResponseMetadata"]["HTTPStatusCode"] == 204
    refusal = refused(client.delete_function, FunctionName=name, Qualifier="$LATEST")
    assert (refusal.code, refusal.message) == ("InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function.")
    assert client.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (client.get_function, client.delete_function, client.invoke, client.get_function_configuration):
        check_refused("ResourceNotFoundException", 404, f"Function not found: {arn}", call, FunctionName=name)


def test_lists_are_paged(api, unique):
    names = sorted(unique("paged") for _ in range(3))
    for name in names:
        make.function(api, name, "echo.js", wait=False)
    pages = api.awslambda.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    listed = {f["FunctionName"]: f for f in [f for page in pages for f in page["Functions"]]}
    assert set(names) <= set(listed)
    one = listed[names[0]]
    assert "State" not in one and "LastUpdateStatus" not in one


def create(api, **changes):
    given = {
        "FunctionName": "never-made",
        "Runtime": "nodejs20.x",
        "Role": make.lambda_role(api),
        "Handler": "index.handler",
        "Code": {"ZipFile": functions.zipped("echo.js")},
    }
    given.update(changes)
    return lambda: api.awslambda.create_function(**given)


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"Runtime": "cobol1.0"}, "InvalidParameterValueException", "Value cobol1.0 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set:"),
        ({"FunctionName": "bad name!"}, "ValidationException", "at 'functionName' failed to satisfy constraint"),
        ({"Timeout": 901}, "ValidationException", "at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"),
        ({"Environment": {"Variables": {"AA": "x" * 5000}}}, "InvalidParameterValueException", "4KB"),
        ({"Role": "arn:aws:iam::999999999999:role/elsewhere"}, None, ""),
        ({"Role": f"arn:aws:iam::{API}:role/not-there"}, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_refused_creations(api, changes, code, part):
    refusal = refused(create(api, **changes))
    if code:
        assert refusal.code == code and part in refusal.message, refusal
    assert 400 <= refusal.status < 500
    refusal = refused(api.awslambda.get_function, FunctionName="never-made")
    assert refusal.code == "ResourceNotFoundException", "a refused call changes nothing"


@pytest.mark.parametrize(
    ("body", "member"), [({"MemorySize": 64}, "memorySize"), ({"Timeout": 0}, "timeout"), ({"MemorySize": -1}, "memorySize")]
)
def test_numbers_out_of_range(api, echo, body, member):
    port = int(api.endpoint.rsplit(":", 1)[1])
    path = "/2015-03-31/functions/echo-python/configuration"
    answer = wire.signed(port, wire.Signing(api.identity, "lambda"), "PUT", path, body=json.dumps(body).encode())
    assert (answer.status, answer.error_type) == (400, "ValidationException"), answer.text
    assert f"at '{member}' failed to satisfy constraint: Member must have value greater than or equal to " in answer.json()["message"]


def test_a_name_is_taken_once(api, echo):
    refusal = refused(create(api, FunctionName="echo-python"))
    assert (refusal.code, refusal.status) == ("ResourceConflictException", 409)
    assert refusal.message == "Function already exist: echo-python"


def test_another_regions_arn_is_not_reachable(api, echo):
    arn = echo.replace("us-east-1", "ap-southeast-1")
    refusal = refused(api.awslambda.get_function, FunctionName=arn)
    assert refusal.code == "ResourceNotFoundException"
    assert refusal.message == "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')"


def test_accounts_do_not_see_each_others_functions(api, security, echo):
    listed = [f["FunctionArn"] for p in security.awslambda.get_paginator("list_functions").paginate() for f in p["Functions"]]
    assert all(f":{SECURITY}:" in arn for arn in listed)
    check_refused("ResourceNotFoundException", 404, None, security.awslambda.get_function, FunctionName="echo-python")
    check_refused("AccessDeniedException", 403, None, security.awslambda.invoke, FunctionName=echo)
    # Who may not call is told that, whatever else is wrong with the call.
    check_refused("AccessDeniedException", 403, None, security.awslambda.invoke, FunctionName=echo, Payload=b"{")


def test_another_account_may_invoke_once_permitted(api, security, echo):
    sid = make.permit(api, "echo-python", None, Principal=SECURITY)
    try:
        answer = security.awslambda.invoke(FunctionName=echo, Payload=b'{"from":"security"}')
        assert json.loads(answer["Payload"].read())["event"] == {"from": "security"}
    finally:
        api.awslambda.remove_permission(FunctionName="echo-python", StatementId=sid)
    check_refused("AccessDeniedException", 403, None, security.awslambda.invoke, FunctionName=echo)


def test_functions_run_side_by_side(api, unique):
    from concurrent.futures import ThreadPoolExecutor

    name = unique("parallel")
    code = functions.archive({"app.py": "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    return e\n"})
    make.function(api, name, "echo.py", Code={"ZipFile": code}, Timeout=20)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda n: invoke(api, name, n)[1], range(12)))
    assert results == list(range(12))


def test_what_is_not_enforced_is_refused(api, echo, unique):
    for changes in (
        {"VpcConfig": {"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}},
        {"KMSKeyArn": f"arn:aws:kms:us-east-1:{API}:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
        {"DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:us-east-1:{API}:queue"}},
    ):
        refusal = refused(create(api, **changes))
        assert "not supported" in refusal.message and list(changes)[0] in refusal.message, refusal


def test_invocations_are_in_the_owners_audit(api, echo):
    answer, _ = invoke(api, "echo-python", {})
    request = answer["ResponseMetadata"]["RequestId"]
    record = eventually(lambda: next((e for e in make.events(api, "ResourceName", echo) if e["requestID"] == request), None))
    assert record["userIdentity"]["arn"] == f"arn:aws:iam::{API}:root" and record["eventCategory"] == "Data"


def test_code_from_a_bucket(api, unique):
    bucket, name = unique("code-bucket"), unique("from-bucket")
    api.s3.create_bucket(Bucket=bucket)
    api.s3.upload_fileobj(io.BytesIO(functions.zipped("echo.js")), bucket, "f.zip")
    try:
        make.function(api, name, "echo.js", Code={"S3Bucket": bucket, "S3Key": "f.zip"})
    except api.awslambda.exceptions.ClientError as error:
        # Refused clearly is right too; stored without effect would not be.
        assert "not supported" in error.response["Error"]["Message"], error
        return
    assert invoke(api, name, 5)[1]["event"] == 5
