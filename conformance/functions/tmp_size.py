"""Tells how large /tmp is, and what becomes of writing more than fits."""

import os


def handler(event, context):
    found = os.statvfs("/tmp")
    answer = {"mb": found.f_blocks * found.f_frsize // (1 << 20)}
    if "write_mb" in (event or {}):
        try:
            with open("/tmp/filler", "wb") as out:
                for _ in range(event["write_mb"]):
                    out.write(b"x" * (1 << 20))
                    out.flush()
        except OSError as error:
            answer["error"] = os.strerror(error.errno)
        answer["written_mb"] = os.path.getsize("/tmp/filler") // (1 << 20)
        os.unlink("/tmp/filler")
    return answer
