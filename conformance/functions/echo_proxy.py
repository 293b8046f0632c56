"""An AWS_PROXY backend: answers with the whole event as JSON."""

import json


def handler(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "application/json", "X-Backend": "echo"}, "body": json.dumps(event)}
