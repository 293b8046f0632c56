"""Building blocks of the tests: functions, APIs, permissions, users, in as few calls as AWS needs."""

import json
import uuid
from dataclasses import dataclass

import functions
from aws import Aws, eventually
from server import Account

LAMBDA_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def lambda_role(aws: Aws, name: str = "function-role") -> str:
    """ARN of a role Lambda may assume; made once per account."""
    try:
        role = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(LAMBDA_TRUST))
        return role["Role"]["Arn"]
    except aws.iam.exceptions.EntityAlreadyExistsException:
        return f"arn:aws:iam::{aws.account}:role/{name}"


def function(aws: Aws, name: str, source: str, wait: bool = True, **settings) -> str:
    """Creates a function from a source of `functions/`; gives its ARN once it is active."""
    made = aws.awslambda.create_function(
        **{
            "FunctionName": name,
            "Runtime": functions.runtime(source),
            "Role": lambda_role(aws),
            "Handler": functions.handler(source),
            "Code": {"ZipFile": functions.zipped(source)},
            **settings,
        }
    )
    if wait:
        wait_active(aws, name)
    return made["FunctionArn"]


def wait_active(aws: Aws, name: str) -> None:
    def active():
        state = aws.awslambda.get_function_configuration(FunctionName=name)
        assert state["State"] != "Failed", state
        return state["State"] == "Active" and state["LastUpdateStatus"] == "Successful"

    eventually(active)


def function_uri(arn: str, region: str = "us-east-1") -> str:
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"


def permit(aws: Aws, function: str, source_arn: str | None, **settings) -> str:
    """AddPermission for the gateway; gives the statement id."""
    sid = str(uuid.uuid4())
    given = {
        "FunctionName": function,
        "StatementId": sid,
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        **settings,
    }
    if source_arn:
        given["SourceArn"] = source_arn
    aws.awslambda.add_permission(**given)
    return given["StatementId"]


@dataclass
class Api:
    """A REST API under construction."""

    aws: Aws
    id: str
    root: str
    resources: dict[str, str]

    @staticmethod
    def create(aws: Aws, name: str, **settings) -> "Api":
        made = aws.apigateway.create_rest_api(name=name, **settings)
        return Api(aws, made["id"], made["rootResourceId"], {"/": made["rootResourceId"]})

    @property
    def arn(self) -> str:
        return f"arn:aws:execute-api:{self.aws.region}:{self.aws.account}:{self.id}"

    def resource(self, path: str) -> str:
        """Id of the resource at a path, made with its parents when it is not there."""
        if path not in self.resources:
            parent, _, part = path.rpartition("/")
            made = self.aws.apigateway.create_resource(
                restApiId=self.id, parentId=self.resource(parent or "/"), pathPart=part
            )
            self.resources[path] = made["id"]
        return self.resources[path]

    def method(self, verb: str, path: str, authorizer: str | None = None, **settings) -> dict:
        """Puts a method; gives the members that name it."""
        named = {"restApiId": self.id, "resourceId": self.resource(path), "httpMethod": verb}
        kind = {"authorizationType": "CUSTOM", "authorizerId": authorizer} if authorizer else {"authorizationType": "NONE"}
        self.aws.apigateway.put_method(**named, **kind, **settings)
        return named

    def mock(self, verb: str, path: str, body: str = '{"ok":true}', authorizer: str | None = None, **settings) -> None:
        """A method answered by a MOCK integration with this body."""
        named = self.method(verb, path, authorizer, **settings)
        gateway = self.aws.apigateway
        gateway.put_integration(**named, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
        gateway.put_method_response(**named, statusCode="200")
        gateway.put_integration_response(**named, statusCode="200", responseTemplates={"application/json": body})

    def proxy(self, verb: str, path: str, function_arn: str, authorizer: str | None = None, **settings) -> None:
        """A method answered by a Lambda function through AWS_PROXY."""
        named = self.method(verb, path, authorizer)
        self.aws.apigateway.put_integration(
            **named, type="AWS_PROXY", integrationHttpMethod="POST", uri=function_uri(function_arn), **settings
        )

    def authorizer(self, name: str, function_arn: str, **settings) -> str:
        given = {"type": "TOKEN", "identitySource": "method.request.header.Authorizer", **settings}
        made = self.aws.apigateway.create_authorizer(
            restApiId=self.id, name=name, authorizerUri=function_uri(function_arn), **given
        )
        return made["id"]

    def policy(self, document: dict | None) -> None:
        """Sets or drops the resource policy; holds from the next deployment."""
        value = json.dumps(document) if document else ""
        self.aws.apigateway.update_rest_api(
            restApiId=self.id, patchOperations=[{"op": "replace", "path": "/policy", "value": value}]
        )

    def log(self, stage: str) -> None:
        """Switches the stage's execution log on, with everything in it."""
        values = {"/*/*/logging/loglevel": "INFO", "/*/*/logging/dataTrace": "true"}
        patch = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
        self.aws.apigateway.update_stage(restApiId=self.id, stageName=stage, patchOperations=patch)

    def deploy(self, stage: str = "Dev", **settings) -> str:
        return self.aws.apigateway.create_deployment(restApiId=self.id, stageName=stage, **settings)["id"]

    def delete(self) -> None:
        self.aws.apigateway.delete_rest_api(restApiId=self.id)


def api_key(aws: Aws, name: str, **settings) -> str:
    """Id of a new API key, enabled unless said otherwise."""
    return aws.apigateway.create_api_key(**{"name": name, "enabled": True, **settings})["id"]


def usage_plan(aws: Aws, name: str, api_id: str, stage: str, keys=(), **settings) -> str:
    """Id of a new usage plan of one stage, with these keys in it."""
    made = aws.apigateway.create_usage_plan(name=name, apiStages=[{"apiId": api_id, "stage": stage}], **settings)["id"]
    for key in keys:
        aws.apigateway.create_usage_plan_key(usagePlanId=made, keyId=key, keyType="API_KEY")
    return made


def log_role(aws: Aws, name: str = "gateway-logs") -> str:
    """Makes a role with which API Gateway may write logs, and names it in the account's settings."""
    statement = {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    arn = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    aws.iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    aws.apigateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}])
    return arn


def user(aws: Aws, name: str, policy: dict | None = None) -> Account:
    """An IAM user with keys and, if given, one inline policy."""
    aws.iam.create_user(UserName=name)
    if policy:
        aws.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(policy))
    key = aws.iam.create_access_key(UserName=name)["AccessKey"]
    return Account(aws.account, key["AccessKeyId"], key["SecretAccessKey"])


def events(aws: Aws, key: str, value: str) -> list[dict]:
    """All CloudTrail records with this attribute, newest first."""
    pages = aws.cloudtrail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}]
    )
    return [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]
