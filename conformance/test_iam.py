"""IAM and STS: who may do what is decided on every call, in one account and across two."""

import json

import pytest

import make
from aws import Aws, check_refused, eventually, refused
from conftest import API, SECURITY
from server import Account


def policy(*statements) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action, resource="*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*") -> dict:
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def trust(principal, **more) -> str:
    return json.dumps(policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}))


@pytest.fixture
def user(api, unique):
    """An IAM user of the API account with the given policy; gives its clients and its name."""

    def create(document=None):
        name = unique("user")
        return Aws(api.endpoint, make.user(api, name, document)), name

    return create


def session(aws: Aws, role: str, **more) -> Aws:
    answer = aws.sts.assume_role(RoleArn=role, RoleSessionName="tests", **more)["Credentials"]
    account = role.split(":")[4]
    return Aws(aws.endpoint, Account(account, answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"]))


@pytest.fixture(scope="module")
def function(api):
    return make.function(api, "guarded", "echo.js")


def test_a_user_may_do_nothing_at_first_but_ask_who_it_is(user):
    aws, name = user()
    who = aws.sts.get_caller_identity()
    assert (who["Account"], who["Arn"]) == (API, f"arn:aws:iam::{API}:user/{name}") and who["UserId"].startswith("AIDA")
    for call, action, resource in (
        (aws.apigateway.get_rest_apis, "apigateway:GET", "arn:aws:apigateway:us-east-1::/restapis"),
        (aws.awslambda.list_functions, "lambda:ListFunctions", "*"),
        (aws.cloudtrail.lookup_events, "cloudtrail:LookupEvents", "*"),
    ):
        refusal = refused(call)
        assert refusal.code == "AccessDeniedException"
        assert refusal.message == (
            f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action"
        )
    refusal = check_refused("AccessDenied", 403, None, aws.iam.list_users)
    assert f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: iam:ListUsers on resource: " in refusal.message
    assert refusal.message.endswith("because no identity-based policy allows the iam:ListUsers action")


def test_an_inline_policy_allows_exactly_what_it_says(user, function):
    aws, name = user(policy(allow("lambda:GetFunction", function)))
    assert aws.awslambda.get_function(FunctionName="guarded")["Configuration"]["FunctionArn"] == function
    refusal = check_refused("AccessDeniedException", 403, None, aws.awslambda.delete_function, FunctionName="guarded")
    assert refusal.message == (
        f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: lambda:DeleteFunction on resource: {function} "
        "because no identity-based policy allows the lambda:DeleteFunction action"
    )
    check_refused("AccessDeniedException", 403, None, aws.awslambda.invoke, FunctionName="guarded")


def test_an_explicit_deny_wins(user, function):
    aws, name = user(policy(allow("*"), deny("lambda:InvokeFunction", function)))
    assert aws.awslambda.get_function(FunctionName="guarded")
    refusal = check_refused("AccessDeniedException", 403, None, aws.awslambda.invoke, FunctionName="guarded")
    assert refusal.message == (
        f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: lambda:InvokeFunction on resource: {function} "
        "with an explicit deny in an identity-based policy"
    )


def test_api_gateway_actions_are_the_verbs(user, api, unique):
    rest = make.Api.create(api, unique("guarded"))
    base = f"arn:aws:apigateway:us-east-1::/restapis/{rest.id}"
    aws, _ = user(policy(allow("apigateway:GET", [base, base + "/*"]), allow("apigateway:POST", base + "/resources/*")))
    assert aws.apigateway.get_rest_api(restApiId=rest.id)
    assert aws.apigateway.create_resource(restApiId=rest.id, parentId=rest.root, pathPart="a")
    refusal = refused(aws.apigateway.create_authorizer, restApiId=rest.id, name="x", type="TOKEN", authorizerUri=make.function_uri("arn:aws:lambda:us-east-1:222222222222:function:f"), identitySource="method.request.header.A")
    assert refusal.code == "AccessDeniedException" and f"apigateway:POST on resource: {base}/authorizers" in refusal.message
    refusal = refused(aws.apigateway.delete_rest_api, restApiId=rest.id)
    assert f"apigateway:DELETE on resource: {base} because" in refusal.message
    rest.delete()


def test_managed_policies_count_while_they_are_attached(user, api, unique):
    aws, name = user()
    arn = api.iam.create_policy(PolicyName=unique("managed"), PolicyDocument=json.dumps(policy(allow("lambda:ListFunctions"))))["Policy"]["Arn"]
    assert arn.startswith(f"arn:aws:iam::{API}:policy/")
    api.iam.attach_user_policy(UserName=name, PolicyArn=arn)
    assert "Functions" in aws.awslambda.list_functions()
    assert refused(api.iam.delete_policy, PolicyArn=arn).code == "DeleteConflict"
    api.iam.detach_user_policy(UserName=name, PolicyArn=arn)
    check_refused("AccessDeniedException", 403, None, aws.awslambda.list_functions)
    api.iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    assert "Functions" in aws.awslambda.list_functions()
    refusal = refused(api.iam.attach_user_policy, UserName=name, PolicyArn="arn:aws:iam::aws:policy/NoSuchThing")
    assert refusal.message == "Policy arn:aws:iam::aws:policy/NoSuchThing does not exist or is not attachable."


def test_a_deactivated_key_is_as_good_as_unknown(user, api):
    aws, name = user(make.ALLOW_ALL)
    key = aws.identity.access_key
    assert aws.sts.get_caller_identity()
    api.iam.update_access_key(UserName=name, AccessKeyId=key, Status="Inactive")
    check_refused("InvalidClientTokenId", 403, "The security token included in the request is invalid.", aws.sts.get_caller_identity)
    check_refused("UnrecognizedClientException", 403, "The security token included in the request is invalid.", aws.awslambda.list_functions)
    api.iam.update_access_key(UserName=name, AccessKeyId=key, Status="Active")
    assert aws.sts.get_caller_identity()
    api.iam.delete_access_key(UserName=name, AccessKeyId=key)
    check_refused("InvalidClientTokenId", 403, None, aws.sts.get_caller_identity)


def test_two_keys_are_the_limit_and_secrets_are_shown_once(user, api):
    aws, name = user()
    api.iam.create_access_key(UserName=name)
    check_refused("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2", api.iam.create_access_key, UserName=name)
    listed = api.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert len(listed) == 2 and all("SecretAccessKey" not in key for key in listed)


def test_users_are_deleted_only_when_bare(user, api):
    _, name = user(make.ALLOW_ALL)
    refusal = refused(api.iam.delete_user, UserName=name)
    assert (refusal.code, refusal.status) == ("DeleteConflict", 409)
    api.iam.delete_user_policy(UserName=name, PolicyName="inline")
    for key in api.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        api.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    api.iam.delete_user(UserName=name)
    check_refused("NoSuchEntity", 404, f"The user with name {name} cannot be found.", api.iam.get_user, UserName=name)


def test_names_are_taken_whatever_their_case(user, api):
    _, name = user()
    refusal = refused(api.iam.create_user, UserName=name.upper())
    assert (refusal.code, refusal.status) == ("EntityAlreadyExists", 409)


@pytest.mark.parametrize("document", ["{", "[]", '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}', '{"Version":"2012-10-17"}', '{"Version":"1999-01-01","Statement":[]}', '{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}'])
def test_malformed_policies_are_refused(api, user, document):
    _, name = user()
    for call, given in (
        (api.iam.put_user_policy, {"UserName": name, "PolicyName": "p", "PolicyDocument": document}),
        (api.iam.create_policy, {"PolicyName": "never", "PolicyDocument": document}),
        (api.iam.create_role, {"RoleName": "never", "AssumeRolePolicyDocument": document}),
    ):
        refusal = refused(call, **given)
        assert (refusal.code, refusal.status) == ("MalformedPolicyDocument", 400), refusal
    assert api.iam.list_user_policies(UserName=name)["PolicyNames"] == []


def test_a_role_of_the_same_account(api, user, unique):
    role_name = unique("role")
    aws, name = user()
    role = api.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{API}:user/{name}"}))["Role"]
    assert role["Arn"] == f"arn:aws:iam::{API}:role/{role_name}" and role["RoleId"].startswith("AROA")
    as_role = session(aws, role["Arn"])
    who = as_role.sts.get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{API}:assumed-role/{role_name}/tests" and who["UserId"] == f"{role['RoleId']}:tests"
    assert as_role.identity.access_key.startswith("ASIA")
    refusal = check_refused("AccessDeniedException", 403, None, as_role.awslambda.list_functions)
    assert refusal.message.startswith(f"User: arn:aws:sts::{API}:assumed-role/{role_name}/tests is not authorized to perform: lambda:ListFunctions")
    api.iam.put_role_policy(RoleName=role_name, PolicyName="p", PolicyDocument=json.dumps(policy(allow("lambda:ListFunctions"))))
    assert "Functions" in as_role.awslambda.list_functions(), "policies are read at each call, not at AssumeRole"
    api.iam.delete_role_policy(RoleName=role_name, PolicyName="p")
    check_refused("AccessDeniedException", 403, None, as_role.awslambda.list_functions)
    api.iam.delete_role(RoleName=role_name)
    assert refused(as_role.awslambda.list_functions).code in ("AccessDeniedException", "UnrecognizedClientException")


def test_a_role_of_another_account_needs_both_sides(api, security, user, unique):
    role_name = unique("delegated")
    arn = f"arn:aws:iam::{SECURITY}:role/{role_name}"
    security.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{API}:root"}))
    function_name = unique("delegated")
    function = make.function(security, function_name, "echo.js")
    security.iam.put_role_policy(RoleName=role_name, PolicyName="p", PolicyDocument=json.dumps(policy(allow("lambda:AddPermission", function))))
    without, without_name = user()
    refusal = check_refused("AccessDenied", 403, None, without.sts.assume_role, RoleArn=arn, RoleSessionName="tests")
    assert refusal.message.startswith(f"User: arn:aws:iam::{API}:user/{without_name} is not authorized to perform: sts:AssumeRole on resource: {arn}")
    aws, name = user(policy(allow("sts:AssumeRole", arn)))
    as_role = session(aws, arn)
    assert as_role.sts.get_caller_identity()["Account"] == SECURITY
    # What the API account itself may not do, the delegated role may, and only that.
    make.permit(as_role, function, f"arn:aws:execute-api:us-east-1:{API}:a1b2c3d4e5/*")
    check_refused("AccessDeniedException", 403, None, as_role.awslambda.get_policy, FunctionName=function)
    added = make.events(security, "EventName", "AddPermission20150331v2")[0]
    assert added["userIdentity"]["type"] == "AssumedRole"
    assert added["userIdentity"]["arn"] == f"arn:aws:sts::{SECURITY}:assumed-role/{role_name}/tests"
    assert added["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == arn
    security.iam.update_assume_role_policy(RoleName=role_name, PolicyDocument=trust({"AWS": f"arn:aws:iam::{SECURITY}:root"}))
    check_refused("AccessDenied", 403, None, aws.sts.assume_role, RoleArn=arn, RoleSessionName="tests")


def test_an_external_id_is_a_condition(api, user, unique):
    role_name = unique("external")
    condition = {"StringEquals": {"sts:ExternalId": "secret-7"}}
    api.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{API}:root"}, Condition=condition))
    arn = f"arn:aws:iam::{API}:role/{role_name}"
    aws, _ = user(policy(allow("sts:AssumeRole", arn)))
    check_refused("AccessDenied", 403, None, aws.sts.assume_role, RoleArn=arn, RoleSessionName="tests")
    check_refused("AccessDenied", 403, None, aws.sts.assume_role, RoleArn=arn, RoleSessionName="tests", ExternalId="other")
    assert session(aws, arn, ExternalId="secret-7").sts.get_caller_identity()


def test_a_session_policy_only_narrows(api, user, unique):
    role_name = unique("narrowed")
    api.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{API}:root"}))
    api.iam.put_role_policy(RoleName=role_name, PolicyName="p", PolicyDocument=json.dumps(policy(allow(["lambda:ListFunctions", "apigateway:GET"]))))
    arn = f"arn:aws:iam::{API}:role/{role_name}"
    aws, _ = user(policy(allow("sts:AssumeRole", arn)))
    narrowed = session(aws, arn, Policy=json.dumps(policy(allow(["lambda:ListFunctions", "iam:ListUsers"]))))
    assert "Functions" in narrowed.awslambda.list_functions()
    refusal = check_refused("AccessDeniedException", 403, None, narrowed.apigateway.get_rest_apis)
    assert "because no session policy allows the apigateway:GET action" in refusal.message
    check_refused("AccessDenied", 403, None, narrowed.iam.list_users)


def test_a_permissions_boundary_cuts(api, user, unique):
    arn = api.iam.create_policy(PolicyName=unique("boundary"), PolicyDocument=json.dumps(policy(allow("lambda:*"))))["Policy"]["Arn"]
    aws, name = user(make.ALLOW_ALL)
    api.iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=arn)
    assert "Functions" in aws.awslambda.list_functions()
    refusal = check_refused("AccessDeniedException", 403, None, aws.apigateway.get_rest_apis)
    assert refusal.message.endswith("because no permissions boundary allows the apigateway:GET action")


def test_conditions_on_the_callers_address(user):
    aws, _ = user(policy(allow("lambda:ListFunctions", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}})))
    assert "Functions" in aws.awslambda.list_functions()
    aws, _ = user(policy(allow("lambda:ListFunctions", Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})))
    check_refused("AccessDeniedException", 403, None, aws.awslambda.list_functions)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"RoleArn": "not-an-arn-but-long-enough"}, "ValidationError"),
        ({"RoleSessionName": "no spaces"}, "ValidationError"),
        ({"DurationSeconds": 3601}, "ValidationError"),
        ({"RoleArn": f"arn:aws:iam::{API}:role/nobody"}, "AccessDenied"),
    ],
)
def test_assume_role_refused(api, user, unique, given, code):
    role_name = unique("strict")
    api.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{API}:root"}))
    aws, _ = user(policy(allow("sts:AssumeRole")))
    refusal = refused(aws.sts.assume_role, **{"RoleArn": f"arn:aws:iam::{API}:role/{role_name}", "RoleSessionName": "tests", **given})
    assert refusal.code == code, refusal


def test_session_tokens_of_users(user):
    aws, name = user(policy(allow("lambda:ListFunctions")))
    given = aws.sts.get_session_token(DurationSeconds=900)["Credentials"]
    temporary = Aws(aws.endpoint, Account(API, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    assert temporary.sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{API}:user/{name}"
    assert "Functions" in temporary.awslambda.list_functions()


def forget(api, name):
    """Deletes a user with its inline policy and its keys."""
    api.iam.delete_user_policy(UserName=name, PolicyName="inline")
    for key in api.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        api.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    api.iam.delete_user(UserName=name)


def test_a_session_ends_with_its_user_and_a_namesake_inherits_nothing(api, user, unique):
    everything = policy(allow("*"))
    aws, name = user(everything)
    granted = make.function(api, unique("granted"), "echo.js")
    arn = f"arn:aws:iam::{API}:user/{name}"
    api.awslambda.add_permission(FunctionName=granted, StatementId="user", Action="lambda:InvokeFunction", Principal=arn)
    given = aws.sts.get_session_token(DurationSeconds=900)["Credentials"]
    temporary = Aws(aws.endpoint, Account(API, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    assert temporary.awslambda.invoke(FunctionName=granted)["StatusCode"] == 200
    forget(api, name)
    check_refused("InvalidClientTokenId", 403, None, temporary.sts.get_caller_identity)
    namesake = Aws(api.endpoint, make.user(api, name))
    assert namesake.sts.get_caller_identity()["Arn"] == arn
    assert refused(namesake.awslambda.invoke, FunctionName=granted).code == "AccessDeniedException"
    check_refused("InvalidClientTokenId", 403, None, temporary.sts.get_caller_identity)


def test_a_session_ends_with_its_role(api, user, unique):
    name = unique("role")
    aws, _ = user(policy(allow("sts:AssumeRole")))
    create = {"RoleName": name, "AssumeRolePolicyDocument": trust({"AWS": f"arn:aws:iam::{API}:root"})}
    api.iam.create_role(**create)
    assumed = session(aws, f"arn:aws:iam::{API}:role/{name}")
    assert f"assumed-role/{name}/" in assumed.sts.get_caller_identity()["Arn"]
    api.iam.delete_role(RoleName=name)
    check_refused("InvalidClientTokenId", 403, None, assumed.sts.get_caller_identity)
    api.iam.create_role(**create)
    check_refused("InvalidClientTokenId", 403, None, assumed.sts.get_caller_identity)


def test_a_trust_policy_speaks_of_sts_alone(api, unique):
    document = json.dumps(policy({"Effect": "Allow", "Principal": {"AWS": API}, "Action": "sts:AssumeRol"}))
    check_refused(
        "MalformedPolicyDocument", 400, "AssumeRole policy may only specify STS AssumeRole actions.",
        api.iam.create_role, RoleName=unique("role"), AssumeRolePolicyDocument=document,
    )  # fmt: skip


def test_a_user_without_a_name_is_the_caller(user):
    aws, name = user(policy(allow("iam:GetUser")))
    assert aws.iam.get_user()["User"]["UserName"] == name


def test_documents_come_back_as_they_went_in(api, user):
    document = policy(allow(["lambda:*", "s3:Get*"], ["arn:aws:s3:::b/ü*", "*"], Condition={"StringLike": {"aws:username": "a%b+c d"}}))
    _, name = user(document)
    assert api.iam.get_user_policy(UserName=name, PolicyName="inline")["PolicyDocument"] == document


def test_lists_are_paged(api, user):
    names = {user()[1] for _ in range(3)}
    pages = list(api.iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))
    assert pages[0]["IsTruncated"] and len(pages[0]["Users"]) == 2
    assert names <= {u["UserName"] for page in pages for u in page["Users"]}


def test_pass_role_is_needed_for_a_role_handed_on(api, user, unique):
    rest = make.Api.create(api, unique("passing"))
    role = api.iam.create_role(
        RoleName=unique("passed"),
        AssumeRolePolicyDocument=trust({"Service": "apigateway.amazonaws.com"}),
    )["Role"]["Arn"]
    given = {
        "restApiId": rest.id, "type": "TOKEN", "authorizerUri": make.function_uri(f"arn:aws:lambda:us-east-1:{API}:function:f"),
        "identitySource": "method.request.header.A", "authorizerCredentials": role,
    }  # fmt: skip
    aws, name = user(policy(allow("apigateway:*")))
    refusal = check_refused("AccessDeniedException", 403, None, aws.apigateway.create_authorizer, name="a", **given)
    assert f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: iam:PassRole on resource: {role}" in refusal.message
    aws, _ = user(policy(allow("apigateway:*"), allow("iam:PassRole", role)))
    assert aws.apigateway.create_authorizer(name="a", **given)["authorizerCredentials"] == role
    foreign = role.replace(API, SECURITY)
    assert refused(api.apigateway.create_authorizer, name="b", **{**given, "authorizerCredentials": foreign}).status in (400, 403)
    rest.delete()


def test_denied_calls_are_in_the_audit_of_the_account(user, api):
    aws, name = user()
    refused(aws.awslambda.list_functions)
    record = eventually(lambda: make.events(api, "Username", name))[0]
    assert record["eventName"] == "ListFunctions20150331" and record["errorCode"] == "AccessDenied"
    assert record["errorMessage"].startswith(f"User: arn:aws:iam::{API}:user/{name} is not authorized to perform: lambda:ListFunctions")
    assert record["userIdentity"]["type"] == "IAMUser" and record["userIdentity"]["userName"] == name
