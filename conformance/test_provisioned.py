"""Provisioned concurrency: environments that are ready before anybody asks, and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor

import functions
import make
from aws import Aws, check_refused, eventually


def versioned(aws: Aws, name: str, versions: int = 1, **settings) -> None:
    """A function with that many versions."""
    make.function(aws, name, "slow_start.py", **settings)
    for number in range(versions):
        if number:
            aws.awslambda.update_function_configuration(FunctionName=name, Description=str(number))
            make.wait_active(aws, name)
        aws.awslambda.publish_version(FunctionName=name)


def put(aws: Aws, name: str, qualifier: str, number: int) -> dict:
    return aws.awslambda.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )


def get(aws: Aws, name: str, qualifier: str) -> dict:
    return aws.awslambda.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def ready(aws: Aws, name: str, qualifier: str) -> dict:
    def look():
        shown = get(aws, name, qualifier)
        assert shown["Status"] != "FAILED", shown
        return shown if shown["Status"] == "READY" else None

    return eventually(look, seconds=30)


def invoke(aws: Aws, name: str, qualifier: str, **event) -> dict:
    answer = aws.awslambda.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def test_environments_are_ready_before_the_first_call(api, unique):
    name = unique("provisioned")
    versioned(api, name)
    put_answer = put(api, name, "1", 2)
    assert put_answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (put_answer["Status"], put_answer["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    shown = ready(api, name, "1")
    assert (shown["AllocatedProvisionedConcurrentExecutions"], shown["AvailableProvisionedConcurrentExecutions"]) == (2, 2)
    listed = api.awslambda.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(item["FunctionArn"].rsplit(":", 1)[1], item["Status"]) for item in listed] == [("1", "READY")]
    assert invoke(api, name, "1")["type"] == "provisioned-concurrency"
    # Beyond the number it is served on demand.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: invoke(api, name, "1", sleep_s=1), range(4)))
    assert sorted(answer["type"] for answer in answers) == ["on-demand"] * 2 + ["provisioned-concurrency"] * 2
    api.awslambda.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    text = "No Provisioned Concurrency Config found for this function"
    check_refused(
        "ProvisionedConcurrencyConfigNotFoundException",
        404,
        text,
        api.awslambda.get_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="1",
    )


def test_it_follows_its_alias(api, unique):
    name = unique("provisioned")
    versioned(api, name, versions=2)
    api.awslambda.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    put(api, name, "live", 1)
    ready(api, name, "live")
    assert invoke(api, name, "live") | {"environment": None} == {
        "type": "provisioned-concurrency",
        "runs": 1,
        "environment": None,
        "version": "1",
    }
    api.awslambda.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    ready(api, name, "live")
    answer = invoke(api, name, "live")
    assert (answer["type"], answer["version"]) == ("provisioned-concurrency", "2")


def test_it_survives_other_changes_of_the_function(api, unique):
    name = unique("provisioned")
    versioned(api, name)
    put(api, name, "1", 1)
    ready(api, name, "1")
    environment = invoke(api, name, "1")["environment"]
    api.awslambda.update_function_code(FunctionName=name, ZipFile=functions.zipped("echo.py"))
    make.wait_active(api, name)
    again = invoke(api, name, "1")
    assert (again["environment"], again["runs"]) == (environment, 2)


def test_it_is_provided_again_after_a_restart(own_server, unique):
    server = own_server()
    account = server.create_account("111111111111", "api")
    server.start()
    aws = Aws(server.endpoint, account)
    name = unique("provisioned")
    versioned(aws, name)
    put(aws, name, "1", 1)
    ready(aws, name, "1")
    server.kill()
    server.start()
    # Nobody has called the function since.
    ready(aws, name, "1")
    assert invoke(aws, name, "1")["type"] == "provisioned-concurrency"


def test_refusals_have_awss_texts(api, unique):
    name = unique("provisioned")
    versioned(api, name)
    arn = f"arn:aws:lambda:us-east-1:{api.account}:function:{name}"
    api.awslambda.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    put(api, name, "live", 1)
    call = api.awslambda.put_provisioned_concurrency_config
    for qualifier, number, code, status, text in (
        (
            "$LATEST",
            1,
            "InvalidParameterValueException",
            400,
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        ("7", 1, "ResourceNotFoundException", 404, f"Function not found: {arn}:7"),
        ("none", 1, "ResourceNotFoundException", 404, f"Cannot find alias arn: {arn}:none"),
        ("1", 1, "ResourceConflictException", 409, "Version is pointed by a Provisioned Concurrency alias"),
        (
            "live",
            901,
            "InvalidParameterValueException",
            400,
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            "minimum value of [100].",
        ),
    ):
        check_refused(code, status, text, call, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number)
    text = "ReservedConcurrentExecutions 0 should not be lower than function's total provisioned concurrency [1]."
    check_refused(
        "InvalidParameterValueException",
        400,
        text,
        api.awslambda.put_function_concurrency,
        FunctionName=name,
        ReservedConcurrentExecutions=0,
    )
    api.awslambda.delete_function(FunctionName=name)


def test_what_cannot_load_fails_with_a_reason(api, unique):
    name = unique("provisioned")
    make.function(api, name, "echo.py", Handler="app.nothing")
    api.awslambda.publish_version(FunctionName=name)
    put(api, name, "1", 1)
    shown = eventually(lambda: (found := get(api, name, "1"))["Status"] == "FAILED" and found, seconds=60)
    assert shown["StatusReason"]
    api.awslambda.delete_function(FunctionName=name)
