use base64::Engine as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::table;

fn op(service: &str, operation: &str) -> &'static Operation {
    table::service(service).unwrap().operation(operation).unwrap()
}

/// A request for `service:operation` from its target line (`METHOD /path?query`), headers and body.
fn decoded(name: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Result<Decoded, ServiceError> {
    let (service, operation) = name.split_once(':').unwrap();
    let (method, target) = line.split_once(' ').unwrap();
    let (raw_path, raw_query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    decode(op(service, operation), &Head { method, raw_path, raw_query, headers }, body.as_bytes())
}

fn params(name: &str, line: &str, body: &str) -> Value {
    decoded(name, line, &[], body).unwrap().params
}

fn refusal(name: &str, line: &str, body: &str) -> (String, String) {
    let error = decoded(name, line, &[], body).unwrap_err();
    assert_eq!(error.status, 400);
    (error.code.into_owned(), error.message)
}

// ---- golden files -----------------------------------------------------------------------------------------------

fn lines(text: &'static str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn what_botocore_sends_is_routed_and_read() {
    let mut count = 0;
    for line in lines(include_str!("../../testdata/golden/requests.jsonl")) {
        let text = |key: &str| line[key].as_str().unwrap();
        let (name, service) = (text("operation"), table::service(text("service")).unwrap());
        let headers: Vec<(&str, &str)> = line["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let head =
            Head { method: text("method"), raw_path: text("path"), raw_query: Some(text("query")), headers: &headers };
        let body = bytes(&line["body"]);
        let op = crate::route::operation(service, &head, &body).unwrap();
        assert_eq!(op.name, name);
        let read = read_request(op, &head, &body).unwrap_or_else(|error| panic!("{service:?} {name}: {error:?}"));
        assert_eq!(read.params, line["params"], "{service:?} {name}");
        let payload = read.payload.map(|payload| (payload.member, body[payload.range].to_vec()));
        let expected = line["payload"].as_str().map(|member| (member, body.clone()));
        assert_eq!(payload, expected, "{service:?} {name}");
        count += 1;
    }
    assert!(count > 400, "{count} requests");
}

#[test]
fn what_botocore_was_seen_to_read_is_still_written() {
    let mut answers = lines(include_str!("../../testdata/golden/answers.jsonl"));
    for line in lines(include_str!("../../testdata/golden/outputs.jsonl")) {
        let answer = answers.next().unwrap();
        let op = op(line["service"].as_str().unwrap(), line["operation"].as_str().unwrap());
        let encoded = encode(op, &line["output"], "the-request-id");
        let body = String::from_utf8(encoded.body).unwrap();
        assert_eq!(body, String::from_utf8(bytes(&answer["body"])).unwrap(), "{op:?}");
        assert_eq!(json!([encoded.status, encoded.headers]), json!([answer["status"], answer["headers"]]), "{op:?}");
    }
    assert!(answers.next().is_none());
}

// ---- requests ---------------------------------------------------------------------------------------------------

#[test]
fn members_travel_where_the_model_says() {
    let invoke = decoded(
        "lambda:Invoke",
        "POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af/invocations?Qualifier=live",
        &[("x-amz-invocation-type", "Event"), ("X-Amz-Log-Type", "Tail")],
        "not json",
    );
    let expected = json!({
        "FunctionName": "arn:aws:lambda:us-east-1:111122223333:function:f", "InvocationType": "Event", "LogType": "Tail",
        "Qualifier": "live",
    });
    assert_eq!(invoke, Ok(Decoded { params: expected, payload: Some(Payload { member: "Payload", range: 0..8 }) }));

    let stage =
        params("apigateway:GetResources", "GET /restapis/a%20b/resources?embed=methods&limit=5&embed=x", "ignored");
    assert_eq!(stage, json!({"restApiId": "a b", "limit": 5, "embed": ["methods", "x"]}));
}

#[test]
fn parameters_of_imports_are_what_the_query_has_left() {
    let line =
        "POST /restapis?mode=import&failonwarnings=true&endpointConfigurationTypes=REGIONAL&basepath=prepend&x-id=I";
    let expected = json!({
        "failOnWarnings": true, "parameters": {"endpointConfigurationTypes": "REGIONAL", "basepath": "prepend"},
    });
    let import = decoded("apigateway:ImportRestApi", line, &[], "swagger: '2.0'").unwrap();
    assert_eq!(import.params, expected);
    assert_eq!(import.payload, Some(Payload { member: "body", range: 0..14 }));
}

#[test]
fn unknown_members_are_ignored_and_null_is_absence() {
    let body = r#"{"name": "n", "unknown": {"a": 1}, "description": null, "tags": {"a": null, "b": "c"}}"#;
    assert_eq!(params("apigateway:CreateRestApi", "POST /restapis", body), json!({"name": "n", "tags": {"b": "c"}}));
}

#[test]
fn templates_keep_their_nulls() {
    let line = "PUT /restapis/a/resources/b/methods/GET/integration/responses/200";
    let read =
        params("apigateway:PutIntegrationResponse", line, r#"{"responseTemplates": {"application/json": null}}"#);
    assert_eq!(read["responseTemplates"], json!({"application/json": null}));
}

#[test]
fn forms_hold_lists_maps_and_empty_lists() {
    let read = |form: &str| params("sts:AssumeRole", "POST /", form);
    let start =
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&RoleSessionName=me";
    let all = format!(
        "{start}&DurationSeconds=900&Tags.member.1.Key=a&Tags.member.1.Value=b+c&Tags.member.10.Key=z&Tags.member.10.Value=&TransitiveTagKeys.member.2=a"
    );
    assert_eq!(
        read(&all),
        json!({
            "RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "me", "DurationSeconds": 900,
            "Tags": [{"Key": "a", "Value": "b c"}, {"Key": "z", "Value": ""}], "TransitiveTagKeys": ["a"],
        })
    );
    assert_eq!(read(&format!("{start}&Tags="))["Tags"], json!([]));
    let far = read(&format!("{start}&TransitiveTagKeys.member.999999999999=a&TransitiveTagKeys.member.3=b"));
    assert_eq!(far["TransitiveTagKeys"], json!(["b", "a"]));
    let lost = ["Tags.member=a", "Tags.member.x.Key=a", "Tags.member.01.Key=a", "Tags.1.Key=a", "Tags.member.-1.Key=a"];
    for bad in ["DurationSeconds=soon"].iter().chain(&lost) {
        let (code, _) = refusal("sts:AssumeRole", "POST /", &format!("{start}&{bad}"));
        assert_eq!(code, "MalformedInput", "{bad}");
    }
}

#[test]
fn instants_are_read_in_every_form() {
    let read = |text: &str| {
        params("cloudtrail:LookupEvents", "POST /", &format!(r#"{{"StartTime": {text}}}"#))["StartTime"].clone()
    };
    assert_eq!(read("1735787045"), json!(1_735_787_045));
    assert_eq!(read("1735787045.5"), json!(1_735_787_045.5));
    assert_eq!(read(r#""2025-01-02T03:04:05Z""#), json!(1_735_787_045));
    assert_eq!(refusal("cloudtrail:LookupEvents", "POST /", r#"{"StartTime": "now"}"#).0, "SerializationException");
}

#[test]
fn wrong_types_are_refused_in_awss_words() {
    let create = |body: &str| refusal("apigateway:CreateRestApi", "POST /restapis", body);
    for (body, text) in [
        (r#"{"name": true}"#, "class java.lang.Boolean can not be converted to an String"),
        (
            r#"{"name": 1}"#,
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
        ),
        (
            r#"{"name": "n", "minimumCompressionSize": "1"}"#,
            "class java.lang.String can not be converted to an Integer",
        ),
        (r#"{"name": ["n"]}"#, "Start of list found where not expected"),
        (r#"{"name": {}}"#, "Start of structure or map found where not expected."),
        (r#"{"name": "n", "binaryMediaTypes": "x"}"#, "Unexpected field type"),
        (r#"["name"]"#, "Start of list found where not expected"),
        ("{", "The request body is not valid JSON."),
    ] {
        assert_eq!(create(body), ("SerializationException".to_owned(), text.to_owned()), "{body}");
    }
}

#[test]
fn every_broken_constraint_is_named_body_before_path() {
    let check = |name: &str, line: &str, body: &str, code: &str, text: &str| {
        assert_eq!(refusal(name, line, body), (code.to_owned(), text.to_owned()));
    };
    check(
        "apigateway:PutIntegration",
        "PUT /restapis/a/resources/b/methods/GET/integration",
        r#"{"type": "NOPE"}"#,
        "ValidationException",
        "1 validation error detected: Value 'NOPE' at 'putIntegrationInput.type' failed to satisfy constraint: \
         Member must satisfy enum value set: [HTTP, AWS, MOCK, HTTP_PROXY, AWS_PROXY]",
    );
    check(
        "apigateway:UpdateRestApi",
        "PATCH /restapis/a",
        r#"{"patchOperations": [{"op": "swap", "path": "/name"}]}"#,
        "ValidationException",
        "1 validation error detected: Value 'swap' at 'updateRestApiInput.patchOperations.1.member.op' failed to satisfy \
         constraint: Member must satisfy enum value set: [add, remove, replace, move, copy, test]",
    );
    check(
        "apigateway:PutIntegration",
        "PUT /restapis/a/resources/b/methods/GET/integration",
        "",
        "ValidationException",
        "1 validation error detected: Value null at 'putIntegrationInput.type' failed to satisfy constraint: Member must not be null",
    );
    check(
        "iam:CreateUser",
        "POST /",
        "Action=CreateUser&Version=2010-05-08&UserName=b%3Bb&Path=x",
        "ValidationError",
        "2 validation errors detected: Value 'x' at 'path' failed to satisfy constraint: Member must satisfy regular expression \
         pattern: (\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F); Value 'b;b' at 'userName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\w+=,.@-]+",
    );
    check(
        "sts:AssumeRole",
        "POST /",
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=!",
        "ValidationError",
        "2 validation errors detected: Value '!' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [\\w+=,.@-]*; Value '!' at 'roleSessionName' failed to satisfy constraint: Member must have length \
         greater than or equal to 2",
    );
    check(
        "lambda:UpdateFunctionConfiguration",
        "PUT /2015-03-31/functions/f/configuration",
        r#"{"MemorySize": 1, "Timeout": 0}"#,
        "ValidationException",
        "2 validation errors detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or \
         equal to 1; Value '1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
    );
    check(
        "lambda:UpdateFunctionCode",
        "PUT /2015-03-31/functions/f/code",
        r#"{"Architectures": ["mips"]}"#,
        "ValidationException",
        "1 validation error detected: Value '[mips]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: \
         [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    );
    check(
        "logs:CreateLogGroup",
        "POST /",
        r#"{"logGroupName": ""}"#,
        "InvalidParameterException",
        "2 validation errors detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [\\.\\-_/#A-Za-z0-9]+; Value '' at 'logGroupName' failed to satisfy constraint: Member must have length \
         greater than or equal to 1",
    );
}

#[test]
fn secrets_are_not_printed_back() {
    let body = r#"{"Environment": {"Variables": {"1x": "secret"}}}"#;
    let (_, text) = refusal("lambda:UpdateFunctionConfiguration", "PUT /2015-03-31/functions/f/configuration", body);
    assert!(text.starts_with("1 validation error detected: Value at 'environment.variables' failed"), "{text}");
}

#[test]
fn a_runtime_is_left_to_the_operation() {
    let read = params(
        "lambda:UpdateFunctionConfiguration",
        "PUT /2015-03-31/functions/f/configuration",
        r#"{"Runtime": "cobol"}"#,
    );
    assert_eq!(read["Runtime"], "cobol");
}

#[test]
fn bodies_are_bounded_by_operation() {
    assert_eq!(body_bytes_max(op("lambda", "CreateFunction")), 70_167_211);
    let error =
        decoded("lambda:Invoke", "POST /2015-03-31/functions/f/invocations", &[], &" ".repeat(6_291_557)).unwrap_err();
    assert_eq!((error.code.as_ref(), error.status), ("RequestTooLargeException", 413));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(refusal("logs:PutLogEvents", "POST /", &deep).0, "SerializationException");
}

// ---- answers ----------------------------------------------------------------------------------------------------

fn text(encoded: &Encoded) -> &str {
    std::str::from_utf8(&encoded.body).unwrap()
}

fn header<'a>(encoded: &'a Encoded, name: &str) -> Option<&'a str> {
    encoded.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[test]
fn answers_hold_what_the_model_knows() {
    let output =
        json!({"items": [{"id": "a", "createdDate": 1_735_787_045, "secret": 1, "name": null}], "position": null});
    let encoded = encode(op("apigateway", "GetRestApis"), &output, "id-1");
    assert_eq!(text(&encoded), r#"{"item":[{"id":"a","createdDate":1735787045}]}"#);
    assert_eq!((encoded.status, header(&encoded, "x-amzn-requestid")), (200, Some("id-1")));
    assert_eq!(header(&encoded, "content-type"), Some("application/json"));
}

#[test]
fn headers_status_and_whole_bodies_go_where_they_belong() {
    let output = json!({"StatusCode": 202, "FunctionError": "Un\r\nX-Evil: 1", "ExecutedVersion": "$LATEST", "Payload": "{\"a\":1}"});
    let encoded = encode(op("lambda", "Invoke"), &output, "id-1");
    assert_eq!((encoded.status, text(&encoded)), (202, r#"{"a":1}"#));
    assert_eq!(header(&encoded, "x-amz-function-error"), Some("UnX-Evil: 1"));
    assert_eq!(header(&encoded, "x-amz-executed-version"), Some("$LATEST"));

    let export = json!({"contentType": "application/yaml", "contentDisposition": "attachment"});
    let encoded = encode_payload(op("apigateway", "GetExport"), &export, vec![0xff], "id-1");
    assert_eq!((header(&encoded, "content-type"), encoded.body.as_slice()), (Some("application/yaml"), &[0xff][..]));
}

#[test]
fn answers_without_content_have_none() {
    for (name, status) in [("DeleteRestApi", 202), ("DeleteMethod", 204), ("TagResource", 204)] {
        let encoded = encode(op("apigateway", name), &json!({}), "id-1");
        assert_eq!((encoded.status, encoded.body.len(), header(&encoded, "content-type")), (status, 0, None));
    }
    let encoded = encode(op("lambda", "DeleteFunction"), &json!({}), "id-1");
    assert_eq!((encoded.status, encoded.body.len()), (204, 0));
}

#[test]
fn instants_take_the_form_of_the_protocol() {
    let date = json!({"createdDate": 1_735_787_045, "CreatedDate": 1_735_787_045, "apiId": "a"});
    assert_eq!(text(&encode(op("apigatewayv2", "GetApi"), &date, "")), r#"{"createdDate":"2025-01-02T03:04:05Z"}"#);
    let events = json!({"Events": [{"EventTime": 1_735_787_045.25}]});
    assert_eq!(
        text(&encode(op("cloudtrail", "LookupEvents"), &events, "")),
        r#"{"Events":[{"EventTime":1735787045.25}]}"#
    );
    let modified = json!({"LastModified": "2025-11-25T02:26:54.000+0000"});
    let configuration = encode(op("lambda", "GetFunctionConfiguration"), &modified, "");
    assert_eq!(text(&configuration), r#"{"LastModified":"2025-11-25T02:26:54.000+0000"}"#);
}

#[test]
fn query_answers_are_wrapped_and_escaped() {
    let output = json!({"Users": [{"Path": "/a&b/", "UserName": "<x>\r", "CreateDate": 1_735_787_045, "Tags": []}], "IsTruncated": false});
    assert_eq!(
        text(&encode(op("iam", "ListUsers"), &output, "id-1")),
        "<ListUsersResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListUsersResult><Users><member><Path>/a&amp;b/</Path>\
         <UserName>&lt;x&gt;&#xD;</UserName><CreateDate>2025-01-02T03:04:05Z</CreateDate><Tags></Tags></member></Users>\
         <IsTruncated>false</IsTruncated></ListUsersResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>\
         </ListUsersResponse>"
    );
    let encoded = encode(op("iam", "DeleteUser"), &Value::Null, "id-1");
    assert_eq!(
        text(&encoded),
        "<DeleteUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ResponseMetadata><RequestId>id-1</RequestId>\
         </ResponseMetadata></DeleteUserResponse>"
    );
    assert_eq!(header(&encoded, "content-type"), Some("text/xml"));
}

fn fault(service: &str, error: &ServiceError) -> (u16, String, Option<String>) {
    let encoded = encode_error(table::service(service).unwrap(), error, "id-1");
    let kind = header(&encoded, "x-amzn-errortype").map(str::to_owned);
    (encoded.status, text(&encoded).to_owned(), kind)
}

#[test]
fn errors_are_spelled_by_protocol() {
    let plain = ServiceError::new("NotFoundException", 404, "Invalid <stage>").with_cause("never sent");
    let check = |service: &str, error: &ServiceError, status: u16, body: &str, kind: Option<&str>| {
        assert_eq!(fault(service, error), (status, body.to_owned(), kind.map(str::to_owned)), "{service}");
    };
    check("apigateway", &plain, 404, r#"{"message":"Invalid <stage>"}"#, Some("NotFoundException"));
    check("logs", &plain, 400, r#"{"__type":"NotFoundException","message":"Invalid <stage>"}"#, None);
    check("organizations", &plain, 400, r#"{"__type":"NotFoundException","Message":"Invalid <stage>"}"#, None);
    check(
        "iam",
        &plain,
        404,
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type><Code>NotFoundException</Code>\
         <Message>Invalid &lt;stage&gt;</Message></Error><RequestId>id-1</RequestId></ErrorResponse>",
        None,
    );
    check(
        "s3",
        &plain,
        404,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NotFoundException</Code><Message>Invalid &lt;stage&gt;</Message>\
         <RequestId>id-1</RequestId><HostId>id-1</HostId></Error>",
        None,
    );
    let lambda = ServiceError::new("ResourceNotFoundException", 404, "Function not found")
        .with_field("Type", "User")
        .with_upper_message();
    check(
        "lambda",
        &lambda,
        404,
        r#"{"Type":"User","Message":"Function not found"}"#,
        Some("ResourceNotFoundException"),
    );
    assert_eq!(fault("logs", &ServiceError::internal("disk")).0, 500);
    assert!(fault("sts", &ServiceError::internal("disk")).1.contains("<Type>Receiver</Type>"));
}

#[test]
fn throttling_says_when_to_come_back() {
    let error = ServiceError {
        retry_after_s: Some(2),
        ..ServiceError::new("TooManyRequestsException", 429, "Too Many Requests")
    };
    let encoded = encode_error(table::service("apigateway").unwrap(), &error, "id-1");
    assert_eq!(header(&encoded, "retry-after"), Some("2"));
}

#[test]
fn s3_answers_bear_s3s_request_id() {
    let encoded = encode(op("s3", "DeleteObject"), &Value::Null, "id-1");
    assert_eq!(
        (encoded.status, header(&encoded, "x-amz-request-id"), header(&encoded, "x-amzn-requestid")),
        (204, Some("id-1"), None)
    );
}

// ---- hostile input ----------------------------------------------------------------------------------------------

/// JSON of any kind, biased towards member names that mean something.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let name =
        prop_oneof![Just("name".to_owned()), Just("Tags".to_owned()), Just("patchOperations".to_owned()), ".{0,6}"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn decode_everywhere(path: &str, query: &str, value: &str, body: &[u8]) {
    for service in table::services() {
        for op in service.operations.iter().step_by(5) {
            let headers = [("content-type", value), ("x-amz-invocation-type", value), ("accept", value)];
            let head = Head { method: op.method, raw_path: path, raw_query: Some(query), headers: &headers };
            let _ = decode(op, &head, body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn decoding_bytes_never_panics(path in "(/.{0,12}){0,6}", query in ".{0,48}", value in ".{0,24}",
                                   body in proptest::collection::vec(any::<u8>(), 0..256)) {
        decode_everywhere(&path, &query, &value, &body);
    }

    #[test]
    fn decoding_json_and_encoding_it_never_panics(body in any_json()) {
        decode_everywhere("/restapis/a/b", "", "", body.to_string().as_bytes());
        for service in table::services() {
            for op in service.operations.iter().step_by(7) {
                let _ = encode(op, &body, "id");
            }
        }
    }

    #[test]
    fn decoding_forms_never_panics(form in "((UserName|Tags|Tags.member.[0-9]{1,10}(.Key)?|[a-zA-Z.%0-9]{0,20})=[ -~]{0,12}&){0,12}") {
        decode_everywhere("/", "", "", form.as_bytes());
    }
}
