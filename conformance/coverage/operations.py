"""Which operations exist, and a smallest valid call of each, made from botocore's own models.

The values come from a world built beforehand (one of everything, in the API account), so that a call that ought to be
refused would find something to change if it were not.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone

import botocore.session

import functions
import make
from aws import Aws

SERVICES = ("apigateway", "lambda", "iam", "sts", "cloudtrail", "s3")
# Not walked: what AWS's own model takes unsigned, and what botocore lists under S3 but signs for other services
# (S3 Express, S3 Object Lambda).
ELSEWHERE = {
    "sts": {"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"},
    "s3": {"CreateSession", "ListDirectoryBuckets", "WriteGetObjectResponse"},
}
# Anybody with valid keys may call these; no policy can take them away.
UNDENIABLE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
DOCUMENT = json.dumps(make.ALLOW_ALL)

_session = botocore.session.get_session()


def model(service: str):
    return _session.get_service_model(service)


def python_name(service: str, operation: str) -> str:
    from botocore import xform_name

    return xform_name(operation)


@dataclass
class World:
    """One of everything, and the values that name it."""

    aws: Aws
    values: dict[str, dict[str, object]] = field(default_factory=dict)

    def build(self, name: str) -> "World":
        aws = self.aws
        function = make.function(aws, name, "echo.js")
        version = aws.awslambda.publish_version(FunctionName=name)["Version"]
        aws.awslambda.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        make.permit(aws, name, None, StatementId="covered")
        layer = aws.awslambda.publish_layer_version(LayerName=name, Content={"ZipFile": functions.zipped("echo.js")})
        rest = make.Api.create(aws, name)
        authorizer = rest.authorizer("covered", function)
        rest.mock("GET", "/covered", authorizer=authorizer)
        deployment = rest.deploy("covered")
        api_key = make.api_key(aws, name)
        plan = make.usage_plan(aws, name, rest.id, "covered", keys=[api_key])
        aws.iam.create_user(UserName=name)
        key = aws.iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
        aws.iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=DOCUMENT)
        aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(make.LAMBDA_TRUST))
        aws.iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=DOCUMENT)
        policy = aws.iam.create_policy(PolicyName=name, PolicyDocument=DOCUMENT)["Policy"]["Arn"]
        aws.s3.create_bucket(Bucket=name)
        aws.s3.put_object(Bucket=name, Key="covered", Body=b"covered")
        from test_cloudtrail import Trail

        trail = Trail(aws, f"{name}-trail")
        role = f"arn:aws:iam::{aws.account}:role/{name}"
        statement = {"Effect": "Allow", "Principal": {"AWS": aws.account}, "Action": "lambda:InvokeFunction", "Resource": function}
        of_function = {"Version": "2012-10-17", "Statement": [statement]}
        self.values = {
            "apigateway": {
                "restApiId": rest.id, "resourceId": rest.resources["/covered"], "parentId": rest.root, "httpMethod": "GET",
                "statusCode": "200", "authorizerId": authorizer, "deploymentId": deployment, "stageName": "covered",
                "resourceArn": f"arn:aws:apigateway:us-east-1::/restapis/{rest.id}", "tags": {"a": "b"}, "tagKeys": ["a"],
                "authorizationType": "NONE", "CreateAuthorizer.type": "TOKEN", "PutIntegration.type": "MOCK",
                "apiKey": api_key, "keyId": api_key, "keyType": "API_KEY", "usagePlanId": plan, "responseType": "ACCESS_DENIED",
                "CreateStage.stageName": "newly-made", "pathPart": "newly-made", "PutMethod.httpMethod": "POST",
            },
            "lambda": {
                "FunctionName": function, "Resource": function, "Qualifier": "live", "Name": "live", "FunctionVersion": version,
                "StatementId": "covered", "AddPermission.StatementId": "newly-made", "Action": "lambda:InvokeFunction",
                "Principal": "apigateway.amazonaws.com", "CreateFunction.FunctionName": "newly-made-elsewhere", "Role": role,
                "CreateAlias.Name": "newly-made", "Code": {"ZipFile": functions.zipped("echo.js")}, "Tags": {"a": "b"}, "TagKeys": ["a"],
                "ReservedConcurrentExecutions": 1, "ResourceArn": function, "Policy": json.dumps(of_function),
                "LayerName": layer["LayerArn"], "VersionNumber": 1, "Arn": layer["LayerVersionArn"],
                "Content": {"ZipFile": functions.zipped("echo.js")}, "ProvisionedConcurrentExecutions": 1,
                "AddLayerVersionPermission.Action": "lambda:GetLayerVersion", "AddLayerVersionPermission.Principal": "*",
            },
            "iam": {
                "UserName": name, "CreateUser.UserName": "newly-made-elsewhere", "RoleName": name, "CreateRole.RoleName": "newly-made-elsewhere",
                "PolicyName": name, "CreatePolicy.PolicyName": "newly-made-elsewhere", "PolicyArn": policy, "PolicyDocument": DOCUMENT,
                "AssumeRolePolicyDocument": json.dumps(make.LAMBDA_TRUST), "UpdateAssumeRolePolicy.PolicyDocument": json.dumps(make.LAMBDA_TRUST),
                "VersionId": "v1", "AccessKeyId": key, "Status": "Inactive", "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"],
                "PermissionsBoundary": policy,
            },
            "sts": {"RoleArn": role, "RoleSessionName": "covered", "AccessKeyId": key},
            "cloudtrail": {
                "Name": trail.arn, "TrailName": trail.arn, "CreateTrail.Name": "newly-made-elsewhere", "S3BucketName": trail.bucket,
                "ResourceId": trail.arn, "ResourceIdList": [trail.arn], "TagsList": [{"Key": "a", "Value": "b"}],
            },
            "s3": {
                "Bucket": name, "Key": "covered", "CopySource": f"{name}/covered", "CreateBucket.Bucket": "newly-made-elsewhere",
                "Policy": DOCUMENT, "Delete": {"Objects": [{"Key": "covered"}]},
            },
        }  # fmt: skip
        self.name, self.rest, self.trail = name, rest, trail
        return self

    def intact(self) -> list[str]:
        """What is missing or was changed by calls that should have been refused."""
        aws, name, lost = self.aws, self.name, []
        if not json.loads(aws.awslambda.get_policy(FunctionName=name)["Policy"])["Statement"]:
            lost.append("permission")
        if aws.awslambda.get_alias(FunctionName=name, Name="live")["FunctionVersion"] != "1":
            lost.append("alias")
        if [v["Version"] for v in aws.awslambda.list_layer_versions(LayerName=name)["LayerVersions"]] != [1]:
            lost.append("layer")
        if aws.awslambda.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]:
            lost.append("provisioned concurrency")
        rest = {"restApiId": self.rest.id}
        if len(aws.apigateway.get_resources(**rest)["items"]) != 2 or aws.apigateway.get_rest_api(**rest)["tags"]:
            lost.append("API")
        if [s["stageName"] for s in aws.apigateway.get_stages(**rest)["item"]] != ["covered"]:
            lost.append("stages")
        known = self.values["apigateway"]
        in_plan = aws.apigateway.get_usage_plan_keys(usagePlanId=known["usagePlanId"])["items"]
        if [key["id"] for key in in_plan] != [known["keyId"]]:
            lost.append("usage plan")
        keys = aws.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
        if [key["Status"] for key in keys] != ["Active"] or aws.iam.list_user_policies(UserName=name)["PolicyNames"] != [name]:
            lost.append("user")
        if aws.iam.list_role_policies(RoleName=name)["PolicyNames"] != [name]:
            lost.append("role")
        if aws.s3.get_object(Bucket=name, Key="covered")["Body"].read() != b"covered":
            lost.append("object")
        if aws.cloudtrail.get_trail_status(Name=self.trail.arn)["IsLogging"]:
            lost.append("trail")
        return lost

    def parameters(self, service: str, operation: str) -> dict:
        """The required members of an operation's input, from the world where it has them."""
        shape = model(service).operation_model(operation).input_shape
        known = self.values[service]
        given = {}
        for member in shape.required_members if shape else []:
            for key in (f"{operation}.{member}", member):
                if key in known:
                    given[member] = known[key]
                    break
            else:
                given[member] = smallest(shape.members[member])
        if (service, operation) == ("apigateway", "CreateAuthorizer"):
            given |= {"authorizerUri": make.function_uri(self.values["lambda"]["FunctionName"]), "identitySource": "method.request.header.A"}
        if (service, operation) == ("lambda", "CreateFunction"):
            given |= {"Runtime": "nodejs20.x", "Handler": "index.handler"}
        if (service, operation) == ("lambda", "UpdateFunctionCode"):
            given |= {"ZipFile": functions.zipped("echo.js")}
        if service == "cloudtrail" and operation in ("GetInsightSelectors", "PutInsightSelectors"):
            given |= {"TrailName": known["TrailName"]}
        if (service, operation) == ("s3", "CompleteMultipartUpload"):
            given |= {"MultipartUpload": {"Parts": [{"ETag": "x", "PartNumber": 1}]}}
        if (service, operation) == ("cloudtrail", "PutEventSelectors"):
            given |= {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True}]}
        return given


def smallest(shape, depth: int = 0):
    """Some valid value of a shape."""
    if shape.type_name == "structure":
        wanted = list(shape.required_members)
        if shape.is_tagged_union:
            wanted = list(shape.members)[:1]
        return {name: smallest(shape.members[name], depth + 1) for name in wanted}
    if shape.type_name == "list":
        return [smallest(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {}
    if shape.type_name == "string":
        if shape.enum:
            return shape.enum[0]
        return "x" * max(int(shape.metadata.get("min", 4)), 4)
    if shape.type_name in ("integer", "long"):
        return max(int(shape.metadata.get("min", 1)), 1)
    if shape.type_name in ("float", "double"):
        return 1.0
    if shape.type_name == "boolean":
        return False
    if shape.type_name == "timestamp":
        return datetime(2026, 1, 1, tzinfo=timezone.utc)
    return b"x"


def iam_action(service: str, operation: str) -> str | None:
    """The action a policy must allow; `None` where AWS names it by another rule than the operation's own name."""
    if service == "apigateway":
        return "apigateway:" + model(service).operation_model(operation).http["method"]
    if service == "lambda" and operation in ("Invoke", "InvokeWithResponseStream"):
        return "lambda:InvokeFunction"
    if (service, operation) == ("lambda", "GetLayerVersionByArn"):
        return "lambda:GetLayerVersion"
    if service == "s3":
        return None
    return f"{service}:{operation}"
