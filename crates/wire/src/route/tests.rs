use proptest::prelude::*;

use super::*;

/// A request head from one line: `METHOD /path?query` and headers.
fn head<'a>(line: &'a str, headers: &'a [(&'a str, &'a str)]) -> Head<'a> {
    let (method, target) = line.split_once(' ').unwrap();
    let (raw_path, raw_query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Head { method, raw_path, raw_query, headers }
}

fn routed(line: &str, headers: &[(&str, &str)], body: &str) -> String {
    match service_of(&head(line, headers), body.as_bytes()) {
        Routed::Service(service) => service.name.to_owned(),
        Routed::ExecuteApi => "(data plane)".to_owned(),
        Routed::Unsupported(name) => format!("({name})"),
    }
}

fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIA/20250101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

#[test]
fn the_credential_scope_decides_first() {
    for (scope, line, expected) in [
        ("apigateway", "GET /restapis", "apigateway"),
        ("apigateway", "GET /v2/apis", "apigatewayv2"),
        ("apigateway", "GET /v2/tags/arn%3Aaws%3Aapigateway", "apigatewayv2"),
        ("apigateway", "GET /tags/arn%3Aaws%3Aapigateway", "apigateway"),
        ("lambda", "POST /2015-03-31/functions/f/invocations", "lambda"),
        ("execute-api", "GET /prod/pets", "(data plane)"),
        ("iam", "POST /", "iam"),
        ("sts", "POST /", "sts"),
        ("s3", "GET /restapis", "s3"),
        ("s3express", "GET /bucket", "(s3express)"),
        ("apigatewayv2", "GET /v2/apis", "(apigatewayv2)"),
        ("monitoring", "POST /", "(monitoring)"),
    ] {
        assert_eq!(routed(line, &[("Authorization", &signed(scope))], ""), expected, "{scope} {line}");
    }
}

#[test]
fn a_presigned_query_has_a_scope_too() {
    let line = "GET /?Action=GetCallerIdentity&X-Amz-Credential=AKIA%2F20250101%2Fus-east-1%2Fsts%2Faws4_request";
    assert_eq!(routed(line, &[], ""), "sts");
}

#[test]
fn unsigned_requests_are_told_by_target_form_or_path() {
    let cloudtrail = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents";
    for (line, headers, body, expected) in [
        ("POST /", &[("X-Amz-Target", cloudtrail)][..], "", "cloudtrail"),
        ("POST /", &[("x-amz-target", "CloudTrail_20131101.LookupEvents")], "", "cloudtrail"),
        ("POST /", &[("x-amz-target", "Logs_20140328.PutLogEvents")], "", "logs"),
        ("POST /", &[("x-amz-target", "AWSOrganizationsV20161128.ListAccounts")], "", "organizations"),
        ("POST /", &[("x-amz-target", "DynamoDB_20120810.GetItem")], "", "(DynamoDB_20120810)"),
        ("POST /service/GraniteService/operation/Get", &[("smithy-protocol", "rpc-v2-cbor")], "", "(GraniteService)"),
        (
            "POST /",
            &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15",
            "sts",
        ),
        ("GET /?Action=AssumeRoleWithSAML&Version=2011-06-15", &[], "", "sts"),
        ("POST /", &[], "Action=CreateUser&Version=2010-05-08", "iam"),
        ("POST /", &[], "Action=CreateStack&Version=2010-05-15", "cloudformation"),
        ("POST /", &[], "Action=SendMessage&Version=2012-11-05", "(2012-11-05)"),
        ("GET /restapis", &[], "", "apigateway"),
        ("GET /restapis/x/unknown", &[], "", "apigateway"),
        ("GET /apikeys", &[], "", "apigateway"),
        ("GET /v2/apis/abc", &[], "", "apigatewayv2"),
        ("GET /2015-03-31/functions", &[], "", "lambda"),
        ("GET /bucket/key", &[], "", "s3"),
        ("GET /restapis-bucket/key", &[], "", "s3"),
        ("PUT /apikeys/key/with/slashes", &[], "", "s3"),
        ("GET /", &[], "", "s3"),
    ] {
        assert_eq!(routed(line, headers, body), expected, "{line} {headers:?} {body}");
    }
}

/// A request line that should name the operation: labels filled, required route parts sent.
fn own_line(operation: &Operation) -> String {
    let (template, query) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
    let mut path = String::new();
    for part in template.split('/').skip(1) {
        path.push('/');
        path.push_str(match part {
            _ if part.ends_with("+}") => "some/key",
            _ if part.starts_with('{') => "arn%3Aaws%3Ax%3A%3A1%2F2",
            literal => literal,
        });
    }
    let mut query: Vec<String> = query.split('&').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    query.extend(operation.route_query.iter().map(|key| format!("{key}=1")));
    query.push(format!("x-id={}", operation.name));
    format!("{} {path}?{}", operation.method, query.join("&"))
}

#[test]
fn all_958_operations_are_found_by_their_own_uri() {
    // AWS has replaced these four by operations of the same path, and tells this last one by the host.
    let shadowed = [
        ("GetBucketLifecycle", "GetBucketLifecycleConfiguration"),
        ("PutBucketLifecycle", "PutBucketLifecycleConfiguration"),
        ("GetBucketNotification", "GetBucketNotificationConfiguration"),
        ("PutBucketNotification", "PutBucketNotificationConfiguration"),
        ("ListDirectoryBuckets", "ListBuckets"),
    ];
    let mut count = 0;
    for service in table::services() {
        for expected in service.operations {
            let line = own_line(expected);
            let target = format!("{}.{}", service.target_prefix, expected.name);
            let mut headers = vec![("X-Amz-Target", target.as_str())];
            headers.extend(expected.route_headers.iter().map(|name| (*name, "1")));
            let form = format!("Action={}&Version={}", expected.name, service.api_version);
            let found = operation(service, &head(&line, &headers), form.as_bytes()).unwrap();
            let name = shadowed.iter().find(|(old, _)| *old == expected.name).map_or(expected.name, |(_, new)| *new);
            assert_eq!(found.name, name, "{line}");
            count += 1;
        }
    }
    assert_eq!(count, 958);
}

fn found(service: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Result<&'static str, ServiceError> {
    let service = table::service(service).unwrap();
    operation(service, &head(line, headers), body.as_bytes()).map(|operation| operation.name)
}

#[test]
fn literals_beat_labels_and_the_query_beats_its_absence() {
    for (service, line, expected) in [
        ("apigateway", "POST /restapis", "CreateRestApi"),
        ("apigateway", "POST /restapis/", "CreateRestApi"),
        ("apigateway", "POST /restapis?mode=import&failonwarnings=true", "ImportRestApi"),
        ("apigateway", "POST /restapis?mode=other", "CreateRestApi"),
        ("apigateway", "POST /apikeys?mode=import&format=csv", "ImportApiKeys"),
        ("apigateway", "GET /tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc", "GetTags"),
        (
            "lambda",
            "POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations",
            "Invoke",
        ),
        ("lambda", "GET /2018-10-31/layers?find=LayerVersion&Arn=a", "GetLayerVersionByArn"),
        ("lambda", "GET /2018-10-31/layers", "ListLayers"),
        ("lambda", "GET /2019-09-25/functions/f/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
        ("lambda", "GET /2019-09-30/functions/f/provisioned-concurrency?List=ALL", "ListProvisionedConcurrencyConfigs"),
        (
            "lambda",
            "GET /2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            "GetProvisionedConcurrencyConfig",
        ),
        ("apigatewayv2", "GET /v2/apis/a/routes/b", "GetRoute"),
        ("s3", "PUT /b/k?x-id=PutObject", "PutObject"),
        ("s3", "PUT /b/a/b//c/", "PutObject"),
        ("s3", "GET /b/", "ListObjects"),
        ("s3", "GET /b?list-type=2", "ListObjectsV2"),
        ("s3", "GET /b?list-type=1", "ListObjects"),
        ("s3", "PUT /b/k?partNumber=1&uploadId=2", "UploadPart"),
        ("s3", "GET /b?acl=", "GetBucketAcl"),
        ("s3", "GET /b/k?acl", "GetObjectAcl"),
    ] {
        assert_eq!(found(service, line, &[], ""), Ok(expected), "{line}");
    }
    assert_eq!(found("s3", "PUT /b/k", &[("x-amz-copy-source", "/b/j")], ""), Ok("CopyObject"));
}

#[test]
fn slashes_and_empty_labels_do_not_make_other_operations() {
    let unknown = Some("MissingAuthenticationTokenException");
    for line in [
        "GET /tags/arn:aws:apigateway:us-east-1::/restapis/abc",
        "GET /restapis//resources",
        "GET /restapis/a/unknown",
        "GET //restapis",
        "BREW /restapis",
    ] {
        let error = found("apigateway", line, &[], "").unwrap_err();
        assert_eq!((Some(error.code.as_ref()), error.status), (unknown, 403), "{line}");
    }
}

#[test]
fn unknown_operations_get_the_answer_of_their_protocol() {
    let json = |target: &str| found("logs", "POST /", &[("x-amz-target", target)], "").unwrap_err();
    for target in ["Logs_20140328.Nothing", "CloudTrail_20131101.PutLogEvents", "PutLogEvents", ""] {
        assert_eq!((json(target).code.as_ref(), json(target).status), ("UnknownOperationException", 400), "{target}");
    }
    let form = |body: &str| found("iam", "POST /", &[], body).unwrap_err();
    assert_eq!(
        form("Action=Nothing&Version=2010-05-08").message,
        "Could not find operation Nothing for version 2010-05-08"
    );
    assert_eq!(form("Action=GetUser").message, "Could not find operation GetUser for version NO_VERSION_SPECIFIED");
    assert_eq!(form("Action=GetUser&Version=2011-06-15").code, "InvalidAction");
    assert_eq!(form("Version=2010-05-08").code, "MissingAction");
    assert_eq!(found("lambda", "GET /2015-03-31/nothing", &[], "").unwrap_err().status, 404);
}

#[test]
fn no_content_type_is_ever_needed() {
    assert_eq!(found("iam", "POST /", &[], "Action=GetUser&Version=2010-05-08"), Ok("GetUser"));
    assert_eq!(found("logs", "POST /", &[("x-amz-target", "Logs_20140328.PutLogEvents")], ""), Ok("PutLogEvents"));
}

#[test]
fn labels_are_cut_at_literal_slashes_only() {
    let operation = table::service("lambda").unwrap().operation("RemovePermission").unwrap();
    let path = "/2015-03-31/functions/a%2Fb/policy/s";
    assert_eq!(labels(operation, path), [("FunctionName", "a%2Fb"), ("StatementId", "s")]);
    let operation = table::service("s3").unwrap().operation("GetObject").unwrap();
    assert_eq!(labels(operation, "/b/k/1//"), [("Bucket", "b"), ("Key", "k/1//")]);
}

proptest! {
    #[test]
    fn routing_never_panics(method in "[A-Z]{0,7}", path in ".{0,64}", query in ".{0,64}", name in ".{0,12}", value in ".{0,64}",
                            body in proptest::collection::vec(any::<u8>(), 0..128)) {
        for known in ["authorization", "x-amz-target", "smithy-protocol", name.as_str()] {
            let headers = [(known, value.as_str())];
            let head = Head { method: &method, raw_path: &path, raw_query: Some(&query), headers: &headers };
            let _ = service_of(&head, &body);
            for service in table::services() {
                let _ = operation(service, &head, &body);
            }
        }
    }
}
