"""An AWS_PROXY backend that returns whatever JSON the request's body holds; waits first if asked to."""

import json
import time


def handler(event, context):
    wanted = json.loads(event["body"])
    if isinstance(wanted, dict) and "sleep_s" in wanted:
        time.sleep(wanted["sleep_s"])
        return {"statusCode": 200, "body": "slept"}
    return wanted
