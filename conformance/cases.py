"""Replays `data/authorizers-cases.json` over the wire: every case in an environment built through the AWS APIs.

An environment is an API of its own in the API account and a function of its own in the function account, so cases run
side by side. What the function is to answer is its `SCRIPT` variable; what it saw is read by invoking it directly with a
probe, which it does not count. Where an environment cannot be used again after a request (a time-out ends it), the
function account's CloudTrail says whether it ran. Lines of the execution log are read where AWS's own are.
"""

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import ClientError

import make
import wire
from aws import Aws, eventually

DATA = Path(__file__).parent / "data" / "authorizers-cases.json"
NOT_YET = Path(__file__).parent / "not_yet.json"
STAGE = "Dev"
CALLER_IP = "203.0.113.10"
LOGGED_S_MAX = 10
ECHO = "case-authorizer-echo"
GATEWAY = "apigateway.amazonaws.com"


def document() -> dict:
    return json.loads(DATA.read_text())


def not_yet() -> dict:
    return json.loads(NOT_YET.read_text())


@dataclass
class Outcome:
    """What a replayed case gave: nothing wrong, or the differences."""

    faults: list[str] = field(default_factory=list)


class Surroundings:
    """What all cases share: the accounts, the function's role and the backend that shows the authorizer's context."""

    def __init__(self, server, api: Aws, function: Aws):
        self.port, self.api, self.function = server.port, api, function
        for aws in (api, function):
            make.lambda_role(aws)
        self.echo = make.function(api, ECHO, "authorizer_echo.js")
        make.permit(api, ECHO, None)
        make.log_role(api)
        # A value names one key of an account, so the cases share the keys and have usage plans of their own.
        keys = document()["environment"]["api_keys"]
        self.keys = [make.api_key(api, "cases", value=key["value"], enabled=key["enabled"]) for key in keys]


def contains(expected, found, where: str) -> list[str]:
    """Differences of a subset: members that are expected must be there, others may."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [fault for name, value in expected.items() for fault in contains(value, found.get(name), f"{where}.{name}")]
    return [] if expected == found else [f"{where} is {found!r}, not {expected!r}"]


class Case:
    """One case on its way through the server."""

    def __init__(self, raw: dict, environment: dict, around: Surroundings):
        self.raw, self.environment, self.around = raw, environment, around
        self.name = raw["name"]
        in_api_account = raw.get("environment", {}).get("function_account") == around.api.account
        self.owner = around.api if in_api_account else around.function
        self.function_name = f"case-{self.name}"[:64]
        self.function_arn = f"arn:aws:lambda:us-east-1:{self.owner.account}:function:{self.function_name}"
        self.role_suffix = f"-{self.name}"[:40]
        self.api: make.Api | None = None
        self.authorizer = ""
        self.faults: list[str] = []
        self.granted: list[tuple[str, str | None]] = []
        text = json.dumps(raw)
        self.exposes = "integration_authorizer" in text
        self.alias = "live" if '"Qualifier": "live"' in text or "${FN_ARN}:live" in text else None
        self.times_out = bool(raw.get("function_times_out"))

    def fill(self, value):
        """Replaces the placeholders in a value; role names get the case's suffix, as all cases share the accounts."""
        text = json.dumps(value)
        known = {
            "${REGION}": "us-east-1",
            "${API_ACCOUNT}": self.around.api.account,
            "${API_ACCOUNT_LAST4}": self.around.api.account[-4:],
            "${FN_ACCOUNT}": self.around.function.account,
            "${FN_ARN}": self.function_arn,
            "${STAGE}": STAGE,
            "${API_ID}": self.api.id if self.api else "",
            "${AUTHORIZER_ID}": self.authorizer,
            "${API_ARN}": self.api.arn if self.api else "",
        }
        for name, replacement in known.items():
            text = text.replace(name, replacement)
        for role in self.raw.get("roles", {}):
            text = text.replace(f":role/{role}", f":role/{role}{self.role_suffix}")
        return json.loads(text)

    # -- building ------------------------------------------------------------------------------------------------

    def build(self) -> None:
        gateway = self.around.api.apigateway
        settings = {"apiKeySource": self.raw["api_key_source"]} if "api_key_source" in self.raw else {}
        self.api = make.Api.create(self.around.api, f"case-{self.name}", endpointConfiguration={"types": ["REGIONAL"]}, **settings)
        self._roles()
        authorizer = self.fill(self.raw["authorizer"])
        self.authorizer = gateway.create_authorizer(restApiId=self.api.id, **authorizer)["id"]
        self._function()
        self._methods()
        for kind, response in self.raw.get("gateway_responses", {}).items():
            gateway.put_gateway_response(restApiId=self.api.id, responseType=kind, **response)
        if "resource_policy" in self.raw:
            policy = json.dumps(self.fill(self.raw["resource_policy"]))
            patch = [{"op": "replace", "path": "/policy", "value": policy}]
            gateway.update_rest_api(restApiId=self.api.id, patchOperations=patch)
        self.grant(self.raw["permission"])
        self.api.deploy(STAGE, variables=self.raw.get("stage_variables") or {})
        if "log_contains" in json.dumps(self.raw):
            self.api.log(STAGE)
        if "api_key_source" in self.raw:
            self._plan()

    def _roles(self) -> None:
        iam = self.around.api.iam
        for name, role in self.fill(self.raw.get("roles", {})).items():
            trust = {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"Service": role["trusts"]}, "Action": "sts:AssumeRole"}],
            }
            allowed = [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": role["may_invoke"]}]
            full = name + self.role_suffix
            iam.create_role(RoleName=full, AssumeRolePolicyDocument=json.dumps(trust))
            policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
            iam.put_role_policy(RoleName=full, PolicyName="invoke", PolicyDocument=policy)

    def _script(self) -> list[dict]:
        """One entry for each time the case lets the function run, in order."""
        entries = []
        for step in self.raw.get("steps", [self.raw]):
            if "function_returns" in step:
                entries.append({"returns": self.fill(step["function_returns"])})
            elif "function_throws" in step:
                entries.append({"throws": step["function_throws"]})
            elif step.get("function_times_out"):
                entries.append({"sleeps_ms": 30_000})
        return entries

    def _function(self) -> None:
        variables = {"SCRIPT": json.dumps(self._script())}
        make.function(
            self.owner,
            self.function_name,
            "scripted_authorizer.js",
            Timeout=1 if self.times_out else 10,
            Environment={"Variables": variables},
        )
        if self.alias:
            version = self.owner.awslambda.publish_version(FunctionName=self.function_name)["Version"]
            self.owner.awslambda.create_alias(FunctionName=self.function_name, Name=self.alias, FunctionVersion=version)

    def _methods(self) -> None:
        paths = {step["request"]["path"] for step in self.raw.get("steps", [self.raw])}
        for method in self.environment["methods"]:
            # The method that needs an API key is made only for the cases that call it.
            if method["api_key_required"] and method["resource"] not in paths:
                continue
            authorizer = self.authorizer if method["authorization"] == "CUSTOM" else None
            needs_key = {"apiKeyRequired": True} if method["api_key_required"] else {}
            if self.exposes:
                self.api.proxy(method["method"], method["resource"], self.around.echo, authorizer)
            else:
                self.api.mock(method["method"], method["resource"], authorizer=authorizer, **needs_key)

    def _plan(self) -> None:
        for key, about in zip(self.around.keys, self.environment["api_keys"], strict=True):
            if about["in_usage_plan_of_stage"]:
                make.usage_plan(self.around.api, self.name, self.api.id, STAGE, keys=[key])

    def grant(self, permission) -> None:
        """Makes the function's resource policy exactly this."""
        for sid, qualifier in self.granted:
            more = {"Qualifier": qualifier} if qualifier else {}
            self.owner.awslambda.remove_permission(FunctionName=self.function_name, StatementId=sid, **more)
        self.granted = []
        for given in (permission or {}).get("statements", [permission] if permission else []):
            given = self.fill(given)
            self.owner.awslambda.add_permission(FunctionName=self.function_name, **given)
            self.granted.append((given["StatementId"], given.get("Qualifier")))

    # -- asking --------------------------------------------------------------------------------------------------

    def probe(self) -> dict:
        """What the function has seen so far."""
        qualifier = {"Qualifier": self.alias} if self.alias and f":{self.alias}/" in json.dumps(self.raw) else {}
        answer = self.owner.awslambda.invoke(FunctionName=self.function_name, Payload=b'{"probe":true}', **qualifier)
        seen = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, seen
        return seen

    def audited(self) -> int:
        """How often CloudTrail says the gateway ran the function."""
        records = make.events(self.owner, "ResourceName", self.function_arn)
        return sum(1 for e in records if e["eventName"] == "Invoke" and e["userIdentity"]["type"] == "AWSService")

    def ask(self, request: dict) -> wire.Answer:
        headers = [(name, value) for name, value in request.get("headers", {}).items()]
        # The server trusts this address as a proxy, so the last hop it names is the caller.
        headers.append(("X-Forwarded-For", request.get("source_ip", CALLER_IP)))
        return wire.invoke(
            self.around.port, self.api.id, STAGE, request["path"], request["method"], headers, query=request.get("query", "")
        )

    def step(self, step: dict, where: str) -> None:
        if step.get("advance_seconds"):
            time.sleep(step["advance_seconds"])
        admin = step.get("admin")
        if admin == "flush_stage_authorizers_cache":
            self.around.api.apigateway.flush_stage_authorizers_cache(restApiId=self.api.id, stageName=STAGE)
        elif isinstance(admin, dict) and "set_permission" in admin:
            self.grant(admin["set_permission"])
        elif admin:
            raise AssertionError(f"unknown admin step {admin!r}")
        expect = self.fill(step["expect"])
        before = 0 if self.times_out else self.probe()["count"]
        answer = self.ask(self.fill(step["request"]))
        self._check_answer(expect, answer, where)
        self._check_log(expect, answer, where)
        self._check_function(expect, before, where)

    def _check_answer(self, expect: dict, answer: wire.Answer, where: str) -> None:
        if answer.status != expect["status"]:
            self.faults.append(f"{where}status is {answer.status} ({answer.text[:300]}), not {expect['status']}")
        if "errortype" in expect and answer.error_type != expect["errortype"]:
            self.faults.append(f"{where}x-amzn-ErrorType is {answer.error_type}, not {expect['errortype']}")
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        if "body" in expect and body != expect["body"]:
            self.faults.append(f"{where}body is {body!r}, not {expect['body']!r}")
        if "body_message_prefix" in expect:
            message = (body.get("message") or body.get("Message") or "") if isinstance(body, dict) else ""
            if not message.startswith(expect["body_message_prefix"]):
                self.faults.append(f"{where}message is {message!r}, not {expect['body_message_prefix']!r}...")
        if "integration_authorizer" in expect:
            shown = json.loads(base64.b64decode(answer.header("X-Authorizer") or "bnVsbA=="))
            self.faults += contains(expect["integration_authorizer"], shown or {}, f"{where}requestContext.authorizer")

    def _check_log(self, expect: dict, answer: wire.Answer, where: str) -> None:
        wanted = expect.get("log_contains")
        if not wanted:
            return
        request = answer.header("x-amzn-RequestId")
        group = f"API-Gateway-Execution-Logs_{self.api.id}/{STAGE}"
        logs = self.around.api.client("logs")

        def missing() -> list[str]:
            """What is not logged, as far as lines have been written."""
            try:
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=f'"{request}"')
                found = [event["message"] for page in pages for event in page["events"]]
            except logs.exceptions.ResourceNotFoundException:
                found = []
            return [text for text in wanted if not any(text in line for line in found)]

        try:
            eventually(lambda: not missing(), LOGGED_S_MAX)
        except AssertionError:
            self.faults += [f"{where}{group} has no {text!r} about {request}" for text in missing()]

    def _check_function(self, expect: dict, before: int, where: str) -> None:
        invoked = expect["authorizer_invoked"]
        if self.times_out:
            eventually(lambda: self.audited() == 1, 10)
            return
        seen = self.probe()
        ran = seen["count"] - before
        if invoked is not None and ran != int(invoked):
            self.faults.append(f"{where}the authorizer ran {ran} times, not {int(invoked)}")
        event = seen["events"][-1] if seen["events"] else {}
        if "event" in expect:
            self.faults += contains(expect["event"], event, f"{where}event")
        if "event_exact" in expect:
            if event != expect["event_exact"]:
                self.faults.append(f"{where}event is {event!r}, not {expect['event_exact']!r}")
            elif list(event) != ["type", "methodArn", "authorizationToken"]:
                self.faults.append(f"{where}event's members are in the order {list(event)}")

    def replay(self) -> Outcome:
        try:
            self.build()
            if "steps" in self.raw:
                for place, step in enumerate(self.raw["steps"], 1):
                    self.step(step, f"step {place}: ")
            else:
                self.step(self.raw, "")
            self._check_audit()
        except ClientError as error:
            self.faults.append(f"a call was refused: {error}")
        except Exception as error:  # noqa: BLE001 - a broken case must not end the others
            self.faults.append(f"{type(error).__name__}: {error}")
        finally:
            self.clean()
        return Outcome(self.faults)

    def _check_audit(self) -> None:
        """CloudTrail of the function's account knows of each time the gateway ran it, and of no other."""
        steps = self.raw.get("steps", [self.raw])
        flags = [step["expect"]["authorizer_invoked"] for step in steps]
        if self.faults or None in flags or "authorizerCredentials" in self.raw["authorizer"]:
            return
        eventually(lambda: self.audited() == sum(flags), 5)

    def clean(self) -> None:
        try:
            self.owner.awslambda.delete_function(FunctionName=self.function_name)
            if self.api:
                self.api.delete()
        except ClientError:
            pass  # The case has said what is wrong already.


def replay_all(server, api: Aws, function: Aws, workers: int = 4) -> dict[str, Outcome]:
    """Replays every case, some side by side; gives the outcome of each by name."""
    around = Surroundings(server, api, function)
    data = document()
    waiting = list(reversed(data["cases"]))
    outcomes: dict[str, Outcome] = {}

    def work() -> None:
        while True:
            try:
                raw = waiting.pop()
            except IndexError:
                return
            outcomes[raw["name"]] = Case(raw, data["environment"], around).replay()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 300
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"cases are still running after 300 s; {len(outcomes)} are done"
    return outcomes
