"""Every case of `data/authorizers-cases.json`, replayed over the wire; the list of those not yet met may only shrink."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

import cases
from aws import Aws
from conftest import CASE_API, CASE_FUNCTION

DOCUMENT = cases.document()
LISTED = {entry["name"]: entry["reason"] for entry in cases.not_yet()["cases"]}
# These groups hold the heart of the product: nothing of theirs may be put off.
COMPLETE_GROUPS = {"token-identity", "request-identity", "request-event", "method-arn", "routing", "permission", "policy", "cache"}
NOT_YET_MAX = 0


@pytest.fixture(scope="session")
def outcomes(server):
    accounts = server.accounts
    api, function = (Aws(server.endpoint, accounts[id]) for id in (CASE_API, CASE_FUNCTION))
    return cases.replay_all(server, api, function)


@pytest.mark.parametrize("name", [case["name"] for case in DOCUMENT["cases"]])
def test_case(outcomes, name):
    outcome = outcomes[name]
    if name in LISTED:
        assert outcome.faults, f"{name} passes now: take it off not_yet.json"
    else:
        assert not outcome.faults, "\n".join(outcome.faults)


def test_the_list_of_cases_not_yet_met_is_tidy_and_only_shrinks():
    listed = cases.not_yet()["cases"]
    assert [name for name, count in Counter(e["name"] for e in listed).items() if count > 1] == []
    groups = {case["name"]: case["group"] for case in DOCUMENT["cases"]}
    assert [e["name"] for e in listed if e["name"] not in groups] == [], "listed cases that do not exist"
    assert [e["name"] for e in listed if not e["reason"].strip()] == [], "listed cases without a reason"
    assert [e["name"] for e in listed if groups[e["name"]] in COMPLETE_GROUPS] == []
    assert len(listed) <= NOT_YET_MAX, "the list may only shrink; lower NOT_YET_MAX with it"


def test_the_copy_equals_the_specification():
    shared = Path(os.environ.get("PORTCULLIS_SHARED", Path(__file__).parents[2] / "shared"))
    original = shared / "spec" / "authorizers-cases.json"
    if original.exists():
        assert json.loads(original.read_text()) == DOCUMENT, "copy the specification's file to conformance/data"


def test_every_member_of_the_cases_is_understood():
    known = {
        "name", "group", "basis", "authorizer", "permission", "source", "request", "expect", "function_returns", "steps",
        "resource_policy", "stage_variables", "function_throws", "gateway_responses", "api_key_source", "environment",
        "roles", "function_times_out",
    }  # fmt: skip
    expected = {
        "status", "authorizer_invoked", "body", "errortype", "log_contains", "event", "integration_authorizer",
        "body_message_prefix", "event_exact",
    }  # fmt: skip
    stepped = {"request", "expect", "function_returns", "function_throws", "advance_seconds", "admin"}
    for case in DOCUMENT["cases"]:
        assert set(case) <= known, case["name"]
        for step in case.get("steps", []):
            assert set(step) <= stepped, case["name"]
        for step in case.get("steps", [case]):
            assert set(step["expect"]) <= expected, case["name"]
