"""InvokeWithResponseStream: the answer arrives while the function still makes it."""

import base64
import json
import time

import pytest

import make
from aws import Aws, check_refused, refused


@pytest.fixture(scope="module")
def streaming(api):
    make.function(api, "streaming-node", "streaming.js", Timeout=20)
    return "streaming-node"


@pytest.fixture(scope="module")
def echo(api):
    make.function(api, "streamed-echo", "echo.py")
    return "streamed-echo"


def stream(aws: Aws, name: str, event=None, **settings):
    answer = aws.awslambda.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode(), **settings)
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    return answer


def events(answer) -> tuple[list[bytes], dict]:
    """The chunks, and what the last message says."""
    chunks, complete = [], None
    for event in answer["EventStream"]:
        assert complete is None, "nothing follows the last message"
        if "PayloadChunk" in event:
            chunks.append(event["PayloadChunk"]["Payload"])
        else:
            complete = event["InvokeComplete"]
    assert complete is not None
    return chunks, complete


def test_parts_arrive_as_they_are_written(api, streaming):
    began = time.monotonic()
    answer = stream(api, streaming, {"parts": ["one", "two", "three"], "pause_ms": 700})
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    arrived = [
        (event["PayloadChunk"]["Payload"], time.monotonic() - began) for event in answer["EventStream"] if "PayloadChunk" in event
    ]
    assert [part for part, _ in arrived] == [b"one", b"two", b"three"]
    assert arrived[2][1] - arrived[0][1] > 1.0, "the first part did not wait for the last"


def test_a_function_that_does_not_stream_gives_one_answer(api, echo):
    chunks, complete = events(stream(api, echo, {"x": 1}))
    assert json.loads(b"".join(chunks))["event"] == {"x": 1}
    assert "ErrorCode" not in complete


def test_the_log_comes_with_the_last_message(api, streaming):
    chunks, complete = events(stream(api, streaming, {"parts": ["x"]}, LogType="Tail"))
    log = base64.b64decode(complete["LogResult"]).decode()
    assert "streamed" in log and "REPORT RequestId:" in log


def test_large_answers_come_whole(api, streaming):
    # More than a buffered answer may have.
    size = 9 * 1024 * 1024
    chunks, complete = events(stream(api, streaming, {"bytes": size}))
    assert sum(map(len, chunks)) == size and "ErrorCode" not in complete


@pytest.mark.parametrize(
    ("event", "sent", "kind", "text"),
    [
        ({"fail_first": True}, b"", "Error", "before the first byte"),
        ({"parts": ["half"], "fail_last": True}, b"half", "TypeError", "after some bytes"),
    ],
)
def test_errors_of_the_function_are_the_last_message(api, streaming, event, sent, kind, text):
    chunks, complete = events(stream(api, streaming, event))
    assert b"".join(chunks) == sent
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == (kind, text)


def test_a_timeout_is_the_last_message(api, unique):
    name = unique("streaming")
    make.function(api, name, "streaming.js", Timeout=1)
    chunks, complete = events(stream(api, name, {"parts": ["early"], "pause_ms": 5000}))
    assert chunks == [b"early"]
    assert "Task timed out after 1.00 seconds" in complete["ErrorDetails"]


def test_what_hinders_a_run_is_an_error_of_the_call(api, echo, unique):
    call = api.awslambda.invoke_with_response_stream
    text = f"Function not found: arn:aws:lambda:us-east-1:{api.account}:function:nowhere"
    check_refused("ResourceNotFoundException", 404, text, call, FunctionName="nowhere")
    check_refused("InvalidRequestContentException", 400, None, call, FunctionName=echo, Payload=b"{")
    name = unique("stopped")
    make.function(api, name, "echo.py")
    api.awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    throttled = refused(call, FunctionName=name)
    assert (throttled.code, throttled.status) == ("TooManyRequestsException", 429)
    assert throttled.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    user = Aws(api.endpoint, make.user(api, unique("user")))
    denied = refused(user.awslambda.invoke_with_response_stream, FunctionName=echo)
    assert (denied.status, "lambda:InvokeFunction" in denied.message) == (403, True)
    dry = api.awslambda.invoke_with_response_stream(FunctionName=echo, InvocationType="DryRun")
    assert dry["StatusCode"] == 204


def test_a_reader_who_leaves_does_not_harm_the_next(api, streaming):
    for _ in range(3):
        answer = stream(api, streaming, {"bytes": 9 * 1024 * 1024})
        for event in answer["EventStream"]:
            assert event["PayloadChunk"]["Payload"]
            break
        answer["EventStream"].close()
    chunks, complete = events(stream(api, streaming, {"parts": ["still here"]}))
    assert (b"".join(chunks), "ErrorCode" in complete) == (b"still here", False)
