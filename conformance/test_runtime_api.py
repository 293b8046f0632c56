"""The Runtime API as a function finds it, whatever it asks there."""

import json

import functions
import make


def test_unknown_paths_are_not_found_and_change_nothing(server, api, unique):
    name = unique("unknown-paths")
    code = functions.archive({"bootstrap": (functions.HERE / "unknown_paths.py").read_bytes()})
    make.function(api, name, "echo.py", Runtime="provided.al2023", Handler="none", Code={"ZipFile": code}, Timeout=30)
    # The words of AWS's runtime interface emulator, and its type.
    missing = [404, "text/plain; charset=utf-8", "404 page not found\n"]
    unknown = [
        ["GET", "/"],
        ["GET", "/2018-06-01/runtime/invocation"],
        ["GET", "/2018-06-01/runtime/restore/next"],
        ["GET", "/2020-01-01/extension/event/next"],
        ["GET", "/2018-06-01/runtime/invocation/next/../../../ping"],
        ["POST", "/2018-06-01/runtime/invocation/id/other"],
        ["GET", "/" + "x" * 10_000],
    ]
    # Twice: the runtime's connections and its state are as they were.
    for _ in range(2):
        answer = api.awslambda.invoke(FunctionName=name, Payload=json.dumps(unknown).encode())
        heard = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, heard
        assert heard == [missing] * len(unknown)
