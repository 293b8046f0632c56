"""Layers: published, read, shared and taken back, and what functions find below /opt."""

import json
import urllib.request

import pytest

import functions
import make
from aws import Aws, check_refused, eventually, refused
from conftest import API, SECURITY

MODULE = {"nodejs/node_modules/shared/index.js": "module.exports = 'of the layer';", "a.txt": "first", "both.txt": "first"}


def publish(aws: Aws, name: str, files: dict, **settings) -> dict:
    return aws.awslambda.publish_layer_version(LayerName=name, Content={"ZipFile": functions.archive(files)}, **settings)


def invoke(aws: Aws, name: str, **event) -> dict:
    answer = aws.awslambda.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def test_a_layer_with_an_external_extension_fails_its_function_and_says_why(api, unique):
    name, layer = unique("extended"), unique("layer")
    made = publish(api, layer, {"extensions/watcher": "#!/bin/sh\nexit 0\n"})
    plain = publish(api, unique("layer"), {"extensions/lib/a.txt": "no program"})
    function = {
        "FunctionName": name,
        "Runtime": "nodejs20.x",
        "Role": make.lambda_role(api),
        "Handler": "index.handler",
        "Code": {"ZipFile": functions.zipped("echo.js")},
    }
    api.awslambda.create_function(**function, Layers=[made["LayerVersionArn"]])

    def settled():
        shown = api.awslambda.get_function_configuration(FunctionName=name)
        return shown if shown["State"] != "Pending" else None

    shown = eventually(settled)
    why = "A layer has the external extension `watcher` in /opt/extensions, and this server runs no external extensions."
    assert (shown["State"], shown["StateReason"]) == ("Failed", why), shown
    assert shown["StateReasonCode"], shown
    refusal = refused(api.awslambda.invoke, FunctionName=name, Payload=b"{}")
    assert (refusal.code, refusal.status) == ("ResourceConflictException", 409), refusal
    # Without it the function runs; a directory of that name holds no extension.
    api.awslambda.update_function_configuration(FunctionName=name, Layers=[plain["LayerVersionArn"]])
    make.wait_active(api, name)
    assert "FunctionError" not in api.awslambda.invoke(FunctionName=name, Payload=b"{}")


def test_a_version_is_published_read_and_deleted(api, unique):
    name = unique("layer")
    code = functions.archive(MODULE)
    made = publish(
        api, name, MODULE, Description="one", CompatibleRuntimes=["nodejs20.x"], CompatibleArchitectures=["x86_64"], LicenseInfo="MIT"
    )
    arn = f"arn:aws:lambda:us-east-1:{API}:layer:{name}"
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["LayerArn"], made["LayerVersionArn"], made["Version"]) == (arn, f"{arn}:1", 1)
    assert made["Content"]["CodeSize"] == len(code)
    with urllib.request.urlopen(made["Content"]["Location"], timeout=10) as answer:
        assert answer.read() == code
    publish(api, name, {"a.txt": "second"})
    read = api.awslambda.get_layer_version(LayerName=name, VersionNumber=1)
    by_arn = api.awslambda.get_layer_version_by_arn(Arn=f"{arn}:1")
    for shown in (read, by_arn):
        assert {key: shown[key] for key in ("Description", "LicenseInfo", "CompatibleRuntimes")} == {
            "Description": "one",
            "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["nodejs20.x"],
        }
    versions = api.awslambda.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in versions] == [2, 1]
    listed = [
        layer
        for page in api.awslambda.get_paginator("list_layers").paginate(CompatibleRuntime="nodejs20.x")
        for layer in page["Layers"]
        if layer["LayerName"] == name
    ]
    assert [layer["LatestMatchingVersion"]["Version"] for layer in listed] == [1]
    api.awslambda.delete_layer_version(LayerName=name, VersionNumber=2)
    api.awslambda.delete_layer_version(LayerName=name, VersionNumber=2)
    gone = "The resource you requested does not exist."
    check_refused("ResourceNotFoundException", 404, gone, api.awslambda.get_layer_version, LayerName=name, VersionNumber=2)
    assert publish(api, name, {"a.txt": "third"})["Version"] == 3


def test_a_function_finds_its_layers_and_keeps_them(api, unique):
    name, other = unique("layer"), unique("layer")
    first = publish(api, name, MODULE)["LayerVersionArn"]
    second = publish(api, other, {"both.txt": "second", "b.txt": "second"})["LayerVersionArn"]
    function = unique("layered")
    make.function(api, function, "layered.js", Layers=[first, second])
    shown = api.awslambda.get_function_configuration(FunctionName=function)["Layers"]
    assert [layer["Arn"] for layer in shown] == [first, second]
    files = ["/opt/a.txt", "/opt/b.txt", "/opt/both.txt", "/opt/c.txt"]
    found = invoke(api, function, files=files)
    assert found["module"] == "of the layer"
    assert list(found["files"].values()) == ["first", "second", "second", "ENOENT"], "the later layer lies on top"
    assert found["written"] in ("EROFS", "EACCES", "EPERM")
    # What is deleted stays with the functions that have it.
    api.awslambda.delete_layer_version(LayerName=name, VersionNumber=1)
    version = api.awslambda.publish_version(FunctionName=function)["Version"]
    api.awslambda.update_function_configuration(FunctionName=function, Layers=[second])
    api.awslambda.get_waiter("function_updated").wait(FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert invoke(api, function, files=files)["files"]["/opt/a.txt"] == "ENOENT"
    assert invoke(api, f"{function}:{version}", files=files)["module"] == "of the layer"
    missing = f"Layer version {first} does not exist."
    check_refused(
        "InvalidParameterValueException", 400, missing, api.awslambda.update_function_configuration, FunctionName=function, Layers=[first]
    )
    api.awslambda.update_function_configuration(FunctionName=function, Layers=[])
    eventually(lambda: invoke(api, function, files=files)["files"]["/opt/b.txt"] == "ENOENT")


def test_another_account_needs_the_layers_permission(api, security, unique):
    name = unique("layer")
    made = publish(api, name, MODULE)
    layer = made["LayerVersionArn"]
    function = unique("layered")
    make.function(security, function, "layered.js")

    def use():
        return security.awslambda.update_function_configuration(FunctionName=function, Layers=[layer])

    denied = refused(use)
    assert (denied.code, denied.status) == ("AccessDeniedException", 403)
    assert f"lambda:GetLayerVersion on resource: {layer}" in denied.message
    assert refused(security.awslambda.get_layer_version_by_arn, Arn=layer).status == 403
    added = api.awslambda.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal=SECURITY
    )
    assert json.loads(added["Statement"]) == {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{SECURITY}:root"},
        "Action": "lambda:GetLayerVersion",
        "Resource": layer,
    }
    policy = api.awslambda.get_layer_version_policy(LayerName=name, VersionNumber=1)
    assert policy["RevisionId"] == added["RevisionId"]
    assert use()["Layers"][0]["Arn"] == layer
    assert security.awslambda.get_layer_version_by_arn(Arn=layer)["Version"] == 1
    # An identity of the other account needs it from its own account as well.
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:Update*", "Resource": "*"}]}
    narrow = Aws(security.endpoint, make.user(security, unique("narrow"), policy))
    denied = refused(narrow.awslambda.update_function_configuration, FunctionName=function, Layers=[layer])
    assert (denied.status, "lambda:GetLayerVersion" in denied.message) == (403, True)
    conflict = "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement."
    check_refused(
        "ResourceConflictException",
        409,
        conflict,
        api.awslambda.add_layer_version_permission,
        LayerName=name,
        VersionNumber=1,
        StatementId="s",
        Action="lambda:GetLayerVersion",
        Principal="*",
    )
    api.awslambda.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="s")
    assert refused(use).status == 403
    # Nobody else changes a layer, permission or not.
    assert refused(security.awslambda.delete_layer_version, LayerName=made["LayerArn"], VersionNumber=1).status == 403


def test_layers_are_refused_in_awss_words(api, unique):
    name = unique("layer")
    first, second = (publish(api, name, {"a.txt": text})["LayerVersionArn"] for text in ("1", "2"))
    function = unique("layered")
    make.function(api, function, "layered.js")
    update = api.awslambda.update_function_configuration
    twice = (
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{first} and {second} are versions of the same layer."
    )
    for layers, text in (
        ([first] * 6, "Cannot reference more than 5 layers."),
        ([first, second], twice),
        ([first.replace("us-east-1", "eu-west-1")], None),
    ):
        check_refused("InvalidParameterValueException", 400, text, update, FunctionName=function, Layers=layers)
    check_refused("ValidationException", 400, None, update, FunctionName=function, Layers=[first.rsplit(":", 1)[0]])
    unzip = "Could not unzip uploaded file. Please check your file, then try to upload again."
    bad = {"LayerName": name, "Content": {"ZipFile": b"no zip"}}
    check_refused("InvalidParameterValueException", 400, unzip, api.awslambda.publish_layer_version, **bad)


@pytest.fixture(scope="module")
def bucket(api):
    api.s3.create_bucket(Bucket="layers-and-code")
    api.s3.put_object(Bucket="layers-and-code", Key="code.zip", Body=functions.zipped("echo.js"))
    api.s3.put_object(Bucket="layers-and-code", Key="layer.zip", Body=functions.archive(MODULE))
    api.s3.put_object(Bucket="layers-and-code", Key="text", Body=b"no zip")
    return "layers-and-code"


def test_code_and_layers_come_from_s3(api, bucket, unique):
    layer = api.awslambda.publish_layer_version(LayerName=unique("layer"), Content={"S3Bucket": bucket, "S3Key": "layer.zip"})
    function = unique("from-s3")
    make.function(api, function, "echo.js", Code={"S3Bucket": bucket, "S3Key": "code.zip"}, Layers=[layer["LayerVersionArn"]])
    assert invoke(api, function, x=1)["event"] == {"x": 1}
    api.s3.put_object(Bucket=bucket, Key="next.zip", Body=functions.zipped("layered.js"))
    api.awslambda.update_function_code(FunctionName=function, S3Bucket=bucket, S3Key="next.zip")
    api.awslambda.get_waiter("function_updated").wait(FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert invoke(api, function)["module"] == "of the layer"
    # The object may go; the function has its own copy.
    api.s3.delete_object(Bucket=bucket, Key="next.zip")
    assert invoke(api, function)["module"] == "of the layer"


def test_s3_is_read_as_the_caller(api, security, bucket, unique):
    function = unique("from-s3")
    make.function(api, function, "echo.js")
    update = {"FunctionName": function, "S3Bucket": bucket}
    says = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"
    for key, text in (
        ("none.zip", says.format("NoSuchKey", "The specified key does not exist.")),
        ("text", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ):
        check_refused("InvalidParameterValueException", 400, text, api.awslambda.update_function_code, **update, S3Key=key)
    nowhere = {"FunctionName": function, "S3Bucket": "no-such-bucket-here", "S3Key": "k"}
    text = says.format("NoSuchBucket", "The specified bucket does not exist")
    check_refused("InvalidParameterValueException", 400, text, api.awslambda.update_function_code, **nowhere)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}
    narrow = Aws(api.endpoint, make.user(api, unique("narrow"), policy))
    denied = refused(narrow.awslambda.update_function_code, **update, S3Key="code.zip")
    assert (denied.code, denied.status) == ("AccessDeniedException", 403)
    assert denied.message.startswith(
        f"Your access has been denied by S3, please make sure your request credentials have permission to GetObject for {bucket}/code.zip."
    )
    # Whoever may not read the object does not learn whether it is there.
    assert refused(narrow.awslambda.update_function_code, **update, S3Key="none.zip").message.startswith("Your access has been denied")
    foreign = {"LayerName": unique("layer"), "Content": {"S3Bucket": bucket, "S3Key": "layer.zip"}}
    assert refused(security.awslambda.publish_layer_version, **foreign).status == 403
