"""Writes down every event it gets, one line each, and fails or waits when the event says so."""

import json
import time


def handler(event, context):
    if isinstance(event, dict):
        time.sleep(event.get("sleep_s", 0))
    print("DIARY " + json.dumps({"request": context.aws_request_id, "event": event}))
    if isinstance(event, dict) and "fail" in event:
        raise ValueError(event["fail"])
    return {"seen": event}
