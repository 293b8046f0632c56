//! The demo: every step of the post as it must be, and an end that says so when one is not.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use crate::running::portcullis;

/// Runs the demo to its end, with what is installed here or with other interpreters.
fn demo(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    let mut command = portcullis(&["demo", "--once"]);
    command.args(arguments).env_remove("PORTCULLIS_NODE").env_remove("PORTCULLIS_PYTHON").env("NO_COLOR", "");
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn demo_shows_every_step_and_ends_well() {
    let done = demo(&["--listen", "127.0.0.1:0"], &[]);
    let shown = text(&done.stdout);
    assert!(done.status.success(), "{shown}\n{}", text(&done.stderr));
    let mut rest = shown.as_str();
    for line in [
        "portcullis account create --id 111111111111 --name api",
        "security$ aws iam create-role --role-name LambdaAuthorizer-role",
        "security$ aws lambda create-function --function-name LambdaAuthorizer --runtime ",
        "api$ aws apigateway create-rest-api --name APIblogpost --endpoint-configuration types=EDGE",
        "--authorizer-uri arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/",
        "\"identitySource\": \"method.request.header.Authorizer\"",
        "op=replace,path=/authorizationType,value=CUSTOM",
        "api$ aws apigateway create-deployment",
        "{\"message\":null}\n500\n",
        "api$ aws lambda add-permission",
        "An error occurred (AccessDeniedException) when calling the AddPermission operation: User: arn:aws:iam::111111111111:root",
        "security$ aws lambda add-permission",
        "\\\"Condition\\\":{\\\"ArnLike\\\":{\\\"AWS:SourceArn\\\":\\\"arn:aws:execute-api:us-east-1:111111111111:",
        "--header \"Authorizer: allow\"\n{\"message\": \"hello\"}\n200\n",
        "with an explicit deny in an identity-based policy\"}\n403\n",
        "{\"message\":\"Unauthorized\"}\n401\n",
        "--header \"Authorizer: allow\"\n{\"message\": \"hello\"}\n200\n",
        "security$ aws cloudtrail lookup-events",
        "    \"userIdentity\": {\n        \"type\": \"AWSService\",\n        \"invokedBy\": \"apimanager.amazonaws.com\"\n    },",
        "    \"recipientAccountId\": \"222222222222\",",
        "Summary",
        "from the cache",
        "CloudTrail of 222222222222 (security)",
    ] {
        let found = rest.find(line);
        assert!(found.is_some(), "`{line}` is not, or not in its place, in:\n{shown}");
        rest = rest.get(found.unwrap() + line.len()..).unwrap();
    }
    assert!(!shown.contains('\u{1b}'), "no colours where there is no terminal");
    assert_eq!(text(&done.stderr), "", "no noise");
}

#[test]
fn a_step_that_differs_is_told_and_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    // An interpreter that knows its version and runs nothing: the authorizer cannot answer.
    let node = dir.path().join("node");
    fs::write(&node, "#!/bin/sh\n[ \"$1\" = -p ] && echo \"$0\" && echo 20.0.0 && exit 0\nexit 1\n").unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    let done = demo(&["--listen", "127.0.0.1:0"], &[("PORTCULLIS_NODE", &node)]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stdout));
    let told = text(&done.stderr);
    assert!(told.contains("the answer must be `200 ") && told.contains("but is `500 "), "{told}");
    assert!(!text(&done.stdout).contains("Summary"));
}

#[test]
fn an_occupied_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = demo(&["--listen", &address], &[]);
    assert_eq!(done.status.code(), Some(1));
    let told = text(&done.stderr);
    assert!(told.contains(&format!("cannot listen on {address}")) && told.contains("--listen"), "{told}");
}

#[test]
fn data_is_kept_on_request_and_never_walked_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["--listen", "127.0.0.1:0", "--keep-data", data.to_str().unwrap()];
    let done = demo(&arguments, &[]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(fs::read_dir(&data).unwrap().next().is_some());
    let again = demo(&arguments, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is not an empty directory"), "{}", text(&again.stderr));
}

#[test]
fn without_node_the_authorizer_is_pythons_and_without_either_the_next_step_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    let done = demo(&["--listen", "127.0.0.1:0"], &[("PORTCULLIS_NODE", &none)]);
    let shown = text(&done.stdout);
    assert!(done.status.success(), "{shown}\n{}", text(&done.stderr));
    assert!(shown.contains("Node.js is not installed here") && shown.contains("--runtime python3."), "{shown}");
    let done = demo(&["--listen", "127.0.0.1:0"], &[("PORTCULLIS_NODE", &none), ("PORTCULLIS_PYTHON", &none)]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("PORTCULLIS_NODE"), "{}", text(&done.stderr));
}
