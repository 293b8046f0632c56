"""What `portcullis lint` tells of an installation: its warnings, each provoked over the wire, and what mends them."""

import json
import shlex

import make
import wire
from conftest import API, SECURITY


def lint(server, *arguments: str) -> dict:
    shown = server.run("lint", "--data-dir", str(server.data_dir), "--output", "json", *arguments)
    return json.loads(shown.stdout)


def of(report: dict, code: str, function: str) -> list[dict]:
    found = report["warnings"]
    return [it for it in found if it["code"] == code and it["about"].get("functionArn") == function]


def run(aws, commands: list[str]) -> None:
    for command in commands:
        words = shlex.split(command, comments=True)
        assert words[0] == "aws", command
        aws.cli(*words[1:])


def test_three_warnings_and_what_mends_them(server, api, security, unique):
    guard = make.function(security, unique("linted"), "token_authorizer.js")
    rest = make.Api.create(api, unique("linted"))
    authorizer = rest.authorizer("guard", guard, authorizerResultTtlInSeconds=300)
    for path in ("/pets", "/toys"):
        rest.mock("GET", path, authorizer=authorizer)
    rest.deploy()
    doomed = rest.authorizer("doomed", guard)
    make.permit(security, guard, None, StatementId="open")
    make.permit(security, guard, f"{rest.arn}/authorizers/{doomed}", StatementId="stale")
    assert not of(lint(server), "stale-permission", guard), "the authorizer is there"
    api.apigateway.delete_authorizer(restApiId=rest.id, authorizerId=doomed)
    headers = [("Authorizer", "allow")]
    assert not of(lint(server), "policy-names-one-method", guard), "nobody was asked yet"
    statuses = [wire.invoke(server.port, rest.id, "Dev", path, headers=headers).status for path in ("/pets", "/toys")]
    assert statuses == [200, 403], "the kept answer names one method"

    report = lint(server)
    assert report["truncated"] is False
    (narrow,) = of(report, "policy-names-one-method", guard)
    assert narrow["accountId"] == API
    assert narrow["about"] == {"apiId": rest.id, "stage": "Dev", "authorizerId": authorizer, "functionArn": guard}
    assert narrow["repair"][1].startswith("aws apigateway flush-stage-authorizers-cache ")
    (stale,) = of(report, "stale-permission", guard)
    assert (stale["accountId"], stale["about"]["statementId"]) == (SECURITY, "stale")
    assert stale["about"]["authorizerId"] == doomed and doomed in stale["text"]
    (unbound,) = of(report, "permission-without-source", guard)
    assert unbound["about"]["statementId"] == "open"
    assert f"{rest.arn}/authorizers/{authorizer}" in unbound["repair"][0], "the one caller there is"
    assert "allow" not in json.dumps(narrow["about"]), "no token is kept"
    own = lint(server, "--account", SECURITY)
    assert {it["code"] for it in own["warnings"] if it["about"]["functionArn"] == guard} == {
        "policy-names-one-method", "stale-permission", "permission-without-source",
    }  # fmt: skip
    text = server.run("lint", "--data-dir", str(server.data_dir)).stdout
    assert stale["repair"][0] in text and text.rstrip().endswith("warnings.")
    strict = server.run("lint", "--data-dir", str(server.data_dir), "--strict", check=False)
    assert strict.returncode == 1 and "--strict" in strict.stderr and stale["text"] in strict.stdout

    run(security, stale["repair"] + unbound["repair"])
    run(api, narrow["repair"][1:])
    report = lint(server)
    assert not of(report, "stale-permission", guard) and not of(report, "permission-without-source", guard)
    answer = wire.invoke(server.port, rest.id, "Dev", "/toys", headers=headers)
    assert answer.status == 200, "the command let the one authorizer in again, and the flush forgot the answer"
    rest.delete()


def test_what_lint_cannot_look_at(server, tmp_path):
    unknown = server.run("lint", "--data-dir", str(server.data_dir), "--account", "999999999999", check=False)
    assert unknown.returncode == 1 and "999999999999" in unknown.stderr
    offline = server.run("lint", "--data-dir", str(tmp_path / "none"), check=False)
    assert offline.returncode == 1 and "no server runs" in offline.stderr
