"""Takes its time to load; then tells how it was started, and how often it ran in this environment."""

import os
import time

time.sleep(0.3)
runs = 0


def handler(event, context):
    global runs
    runs += 1
    time.sleep((event or {}).get("sleep_s", 0))
    return {
        "type": os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
        "runs": runs,
        "environment": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "version": context.function_version,
    }
