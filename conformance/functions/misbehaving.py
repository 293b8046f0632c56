"""Does what the event asks for: raise, sleep, exit, answer too much, answer something that is not JSON."""

import os
import time


def handler(event, context):
    how = event["how"]
    if how == "raise":
        raise ValueError("boom")
    if how == "sleep":
        time.sleep(60)
    if how == "exit":
        os._exit(3)
    if how == "large":
        return "x" * (6 * 1024 * 1024 + 200)
    if how == "unserializable":
        return {"value": object()}
    return how
