"""The audit: what LookupEvents shows, what trails deliver, and that the AWS CLI can prove the files were not touched."""

import gzip
import json
import re
from datetime import datetime, timedelta, timezone

import pytest

import make
import wire
from aws import Aws, check_refused, eventually, refused
from conftest import API, SECURITY

KEY = re.compile(
    r"AWSLogs/(\d{12})/CloudTrail/us-east-1/\d{4}/\d\d/\d\d/\1_CloudTrail_us-east-1_\d{8}T\d{4}Z_[A-Za-z0-9]{16}\.json\.gz"
)
DIGEST = re.compile(
    r"AWSLogs/(\d{12})/CloudTrail-Digest/us-east-1/\d{4}/\d\d/\d\d/\1_CloudTrail-Digest_us-east-1_([A-Za-z0-9._-]+)_us-east-1_\d{8}T\d{6}Z\.json\.gz"
)


def bucket_policy(bucket: str, account: str) -> str:
    """The policy AWS prints in "Amazon S3 bucket policy for CloudTrail"."""
    service = {"Service": "cloudtrail.amazonaws.com"}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "AclCheck", "Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{bucket}"},
                {
                    "Sid": "Write", "Effect": "Allow", "Principal": service, "Action": "s3:PutObject",
                    "Resource": f"arn:aws:s3:::{bucket}/AWSLogs/{account}/*",
                    "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
                },
            ],
        }
    )  # fmt: skip


def test_a_management_event_has_awss_members(api, unique):
    name = unique("audited")
    rest = make.Api.create(api, name, description="d")
    record = next(e for e in make.events(api, "EventName", "CreateRestApi") if e["requestParameters"]["createRestApiInput"]["name"] == name)
    assert list(record)[:7] == ["eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress"]
    assert record["userIdentity"] == {
        "type": "Root",
        "principalId": API,
        "arn": f"arn:aws:iam::{API}:root",
        "accountId": API,
        "accessKeyId": api.identity.access_key,
    }
    assert (record["eventSource"], record["awsRegion"], record["sourceIPAddress"]) == ("apigateway.amazonaws.com", "us-east-1", "127.0.0.1")
    assert "Boto3" in record["userAgent"]
    assert record["responseElements"]["id"] == rest.id
    assert (record["readOnly"], record["eventType"], record["managementEvent"]) == (False, "AwsApiCall", True)
    assert (record["recipientAccountId"], record["eventCategory"]) == (API, "Management")
    assert re.fullmatch(r"[0-9a-f-]{36}", record["eventID"]) and re.fullmatch(r"[0-9a-f-]{36}", record["requestID"])
    rest.delete()


def test_event_names_carry_lambdas_dates(api, unique):
    name = unique("named")
    make.function(api, name, "echo.js", Environment={"Variables": {"PASSWORD": "hunter2"}})
    api.awslambda.update_function_configuration(FunctionName=name, Timeout=5)
    make.wait_active(api, name)
    api.awslambda.delete_function(FunctionName=name)
    for event in ("CreateFunction20150331", "UpdateFunctionConfiguration20150331v2", "DeleteFunction20150331"):
        found = [e for e in make.events(api, "EventName", event) if e["requestParameters"]["functionName"] == name]
        assert len(found) == 1 and found[0]["eventSource"] == "lambda.amazonaws.com", event
        assert "hunter2" not in json.dumps(found) and "zipFile" not in json.dumps(found)


def test_secrets_are_not_in_the_audit(api, unique):
    name = unique("secretive")
    user = make.user(api, name)
    for record in make.events(api, "EventName", "CreateAccessKey"):
        assert user.secret not in json.dumps(record)


def test_every_refusal_is_recorded_with_its_code(api, unique):
    start = datetime.now(timezone.utc) - timedelta(seconds=1)
    name = unique("missing")
    refused(api.awslambda.get_function, FunctionName=name)
    refused(api.iam.get_user, UserName=name)
    refused(api.apigateway.get_rest_api, restApiId="zzzzzzzzzz")
    pages = api.cloudtrail.get_paginator("lookup_events").paginate(StartTime=start)
    records = [json.loads(e["CloudTrailEvent"]) for p in pages for e in p["Events"]]
    codes = {(e["eventSource"].split(".")[0], e.get("errorCode")) for e in records}
    assert {("lambda", "ResourceNotFoundException"), ("apigateway", "NotFoundException")} <= codes
    assert {("iam", "NoSuchEntityException"), ("iam", "NoSuchEntity")} & codes


def test_lookups_filter_page_and_refuse(api, unique):
    client = api.cloudtrail
    made = [make.Api.create(api, unique("looked-up")) for _ in range(3)]
    attribute = [{"AttributeKey": "EventName", "AttributeValue": "CreateRestApi"}]
    first = client.lookup_events(LookupAttributes=attribute, MaxResults=2)
    assert len(first["Events"]) == 2 and first["NextToken"]
    assert first["Events"][0]["EventTime"] >= first["Events"][1]["EventTime"], "newest first"
    second = client.lookup_events(LookupAttributes=attribute, MaxResults=2, NextToken=first["NextToken"])
    ids = [e["EventId"] for e in first["Events"] + second["Events"]]
    assert len(set(ids)) == len(ids)
    by_id = client.lookup_events(LookupAttributes=[{"AttributeKey": "EventId", "AttributeValue": ids[0]}])["Events"]
    assert [e["EventId"] for e in by_id] == ids[:1] and "NextToken" not in client.lookup_events(LookupAttributes=[{"AttributeKey": "EventId", "AttributeValue": ids[0]}])
    event = first["Events"][0]
    assert (event["EventName"], event["EventSource"], event["ReadOnly"]) == ("CreateRestApi", "apigateway.amazonaws.com", "false")
    assert event["AccessKeyId"] == api.identity.access_key
    assert client.lookup_events(LookupAttributes=[{"AttributeKey": "ReadOnly", "AttributeValue": "true"}])["Events"]
    assert client.lookup_events(EndTime=datetime(2020, 1, 1, tzinfo=timezone.utc))["Events"] == []
    two = attribute + [{"AttributeKey": "Username", "AttributeValue": "x"}]
    check_refused("InvalidLookupAttributesException", 400, None, client.lookup_events, LookupAttributes=two)
    check_refused("InvalidNextTokenException", 400, None, client.lookup_events, NextToken="made-up")
    check_refused("InvalidNextTokenException", 400, None, client.lookup_events, NextToken=first["NextToken"])
    check_refused("InvalidTimeRangeException", 400, None, client.lookup_events, StartTime=datetime(2026, 1, 2), EndTime=datetime(2026, 1, 1))
    refusal = refused(client.lookup_events, MaxResults=51)
    assert refusal.code in ("InvalidMaxResultsException", "ValidationException")
    for rest in made:
        rest.delete()


def test_accounts_see_only_their_own_history(stranger, api):
    foreign = [json.loads(e["CloudTrailEvent"])["recipientAccountId"] for p in stranger.cloudtrail.get_paginator("lookup_events").paginate() for e in p["Events"]]
    assert set(foreign) <= {stranger.account}


class Trail:
    """A trail with its bucket."""

    def __init__(self, aws: Aws, name: str, **settings):
        self.aws, self.name, self.bucket = aws, name, f"{name}-logs"
        aws.s3.create_bucket(Bucket=self.bucket)
        aws.s3.put_bucket_policy(Bucket=self.bucket, Policy=bucket_policy(self.bucket, aws.account))
        made = aws.cloudtrail.create_trail(Name=name, S3BucketName=self.bucket, **settings)
        self.arn = made["TrailARN"]

    def keys(self) -> list[str]:
        pages = self.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def records(self) -> list[dict]:
        found = []
        for key in self.keys():
            if "/CloudTrail/" in key:
                body = self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
                found += json.loads(gzip.decompress(body))["Records"]
        return found


def test_a_trail_needs_a_bucket_that_lets_it_write(security, unique):
    client = security.cloudtrail
    name = unique("trail")
    check_refused("S3BucketDoesNotExistException", 400, None, client.create_trail, Name=name, S3BucketName=f"{name}-nowhere")
    security.s3.create_bucket(Bucket=f"{name}-closed")
    check_refused("InsufficientS3BucketPolicyException", 400, None, client.create_trail, Name=name, S3BucketName=f"{name}-closed")
    for wrong in ("a", "-abc", "abc-", "with blank", "x" * 129):
        assert refused(client.create_trail, Name=wrong, S3BucketName=f"{name}-closed").code == "InvalidTrailNameException", wrong
    refusal = check_refused("TrailNotFoundException", 400, None, client.get_trail, Name=name)
    assert SECURITY in refusal.message
    assert [t for t in client.describe_trails()["trailList"] if t["Name"] == name] == []


def test_the_cross_account_invoke_is_delivered(server, api, security, unique):
    name = unique("delivered")
    trail = Trail(security, name)
    client = security.cloudtrail
    assert trail.arn == f"arn:aws:cloudtrail:us-east-1:{SECURITY}:trail/{name}"
    assert client.get_trail_status(Name=name)["IsLogging"] is False, "a new trail does not log yet"
    selectors = [
        {
            "ReadWriteType": "All",
            "IncludeManagementEvents": True,
            "DataResources": [{"Type": "AWS::Lambda::Function", "Values": ["arn:aws:lambda"]}],
        }
    ]
    client.put_event_selectors(TrailName=name, EventSelectors=selectors)
    assert client.get_event_selectors(TrailName=name)["EventSelectors"][0]["DataResources"] == selectors[0]["DataResources"]
    client.start_logging(Name=name)
    function = make.function(security, name, "token_authorizer.js", Runtime="nodejs6.10")
    rest = make.Api.create(api, name)
    authorizer = rest.authorizer("central", function)
    rest.mock("GET", "/", authorizer=authorizer)
    make.permit(security, function, f"{rest.arn}/authorizers/{authorizer}")
    rest.deploy()
    assert wire.invoke(server.port, rest.id, "Dev", headers=[("Authorizer", "allow")]).status == 200

    def delivered():
        return [e for e in trail.records() if e["eventName"] == "Invoke" and e["resources"][0]["ARN"] == function]

    records = eventually(delivered, 30, 0.5)
    assert len({e["eventID"] for e in records}) == 1
    assert records[0]["requestParameters"]["sourceArn"] == f"{rest.arn}/authorizers/{authorizer}"
    assert records[0] == make.events(security, "EventId", records[0]["eventID"])[0], "file and history agree"
    assert all(KEY.fullmatch(key) for key in trail.keys() if "/CloudTrail/" in key), trail.keys()
    def permitted():
        records = trail.records()
        return any(e["eventName"] == "AddPermission20150331v2" for e in records) and records

    names = {e["eventName"] for e in eventually(permitted, 30, 0.5)}
    assert "CreateFunction20150331" in names
    assert {e["recipientAccountId"] for e in trail.records()} == {SECURITY}
    ids = [event["eventID"] for event in make.events(security, "EventName", "Invoke")]
    assert len(ids) == len(set(ids)), "an invocation that a trail keeps is looked up once"
    status = client.get_trail_status(Name=name)
    assert status["IsLogging"] is True and status["LatestDeliveryTime"] and not status.get("LatestDeliveryError")
    client.stop_logging(Name=name)
    count = len(delivered())
    rest.aws.apigateway.flush_stage_authorizers_cache(restApiId=rest.id, stageName="Dev")
    assert wire.invoke(server.port, rest.id, "Dev", headers=[("Authorizer", "allow")]).status == 200
    import time

    time.sleep(3)
    assert len(delivered()) == count, "a stopped trail delivers nothing new"
    client.delete_trail(Name=name)
    refused(client.get_trail, Name=name)


def test_data_events_are_delivered_only_where_selected(security, unique):
    name = unique("selective")
    chosen = make.function(security, f"{name}-chosen", "echo.js")
    other = make.function(security, f"{name}-other", "echo.js")
    trail = Trail(security, name)
    client = security.cloudtrail
    client.put_event_selectors(
        TrailName=name,
        EventSelectors=[{"ReadWriteType": "All", "IncludeManagementEvents": False, "DataResources": [{"Type": "AWS::Lambda::Function", "Values": [chosen]}]}],
    )
    client.start_logging(Name=name)
    for function in (other, chosen):
        security.awslambda.invoke(FunctionName=function, Payload=b"{}")
    records = eventually(trail.records, 30, 0.5)
    assert {e["resources"][0]["ARN"] for e in records} == {chosen}
    assert {e["eventCategory"] for e in records} == {"Data"}
    client.delete_trail(Name=name)


def test_validate_logs_proves_the_files_and_finds_tampering(security, unique):
    name = unique("validated")
    start = (datetime.now(timezone.utc) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    trail = Trail(security, name, EnableLogFileValidation=True)
    security.cloudtrail.start_logging(Name=name)
    security.iam.list_users()
    log = eventually(lambda: next((k for k in trail.keys() if "/CloudTrail/" in k), None), 30, 0.5)

    def digests():
        return [k for k in trail.keys() if "/CloudTrail-Digest/" in k]

    def covered():
        for key in digests():
            body = trail.aws.s3.get_object(Bucket=trail.bucket, Key=key)["Body"].read()
            if any(entry["s3Object"] == log for entry in json.loads(gzip.decompress(body))["logFiles"]):
                return True
        return False

    eventually(covered, 40, 0.5)
    eventually(lambda: len(digests()) >= 2, 40, 0.5)
    assert all(DIGEST.fullmatch(key) for key in digests()), digests()
    newest = max(digests())
    found = trail.aws.s3.head_object(Bucket=trail.bucket, Key=newest)
    assert found["Metadata"]["signature-algorithm"] == "SHA256withRSA" and re.fullmatch("[0-9a-f]+", found["Metadata"]["signature"])
    run = lambda: security.cli("cloudtrail", "validate-logs", "--trail-arn", trail.arn, "--start-time", start, "--verbose", check=False)  # noqa: E731
    good = run()
    assert good.code == 0 and "INVALID" not in good.stdout + good.stderr, good
    assert re.search(r"(\d+)/\1 digest files valid", good.stdout) and re.search(r"(\d+)/\1 log files valid", good.stdout), good.stdout
    assert log in good.stdout
    original = trail.aws.s3.get_object(Bucket=trail.bucket, Key=log)["Body"].read()
    changed = gzip.decompress(original).replace(b"ListUsers", b"ListRoles").replace(b"127.0.0.1", b"127.0.0.2")
    trail.aws.s3.put_object(Bucket=trail.bucket, Key=log, Body=gzip.compress(changed))
    bad = run()
    assert bad.code != 0 and "INVALID: hash value doesn't match" in bad.stdout + bad.stderr, bad
    trail.aws.s3.delete_object(Bucket=trail.bucket, Key=log)
    gone = run()
    assert gone.code != 0 and "INVALID: not found" in gone.stdout + gone.stderr, gone
    security.cloudtrail.delete_trail(Name=name)


def test_the_bucket_is_its_owners(security, api, unique):
    name = unique("private")
    trail = Trail(security, name)
    assert refused(api.s3.list_objects_v2, Bucket=trail.bucket).status == 403
    assert refused(api.s3.put_object, Bucket=trail.bucket, Key="x", Body=b"").status == 403
    assert refused(api.s3.create_bucket, Bucket=trail.bucket).status == 409
    assert trail.bucket not in [b["Name"] for b in api.s3.list_buckets()["Buckets"]]
    refusal = refused(api.cloudtrail.create_trail, Name=name, S3BucketName=trail.bucket)
    assert refusal.code == "InsufficientS3BucketPolicyException", "the policy names another account's prefix"
    security.cloudtrail.delete_trail(Name=name)


@pytest.mark.parametrize("operation", ["create_event_data_store", "create_channel"])
def test_operations_that_do_not_exist_yet_say_so(security, operation):
    given = {
        "create_event_data_store": {"Name": "abc"},
        "create_channel": {"Name": "abc", "Source": "Custom", "Destinations": [{"Type": "EVENT_DATA_STORE", "Location": "abc"}]},
    }[operation]
    refusal = refused(getattr(security.cloudtrail, operation), **given)
    assert "not supported" in refusal.message or refusal.code == "NotImplementedException", refusal
