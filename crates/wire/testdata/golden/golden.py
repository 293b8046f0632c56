"""Golden requests and answers, with botocore as the other side. No network is used.

  golden.py make    writes requests.jsonl (what botocore sends) and outputs.jsonl (what operations may answer)
  golden.py check   parses answers.jsonl (what this crate writes for outputs.jsonl) with botocore's parsers

See README.md beside this file.
"""

import base64
import datetime
import json
import pathlib
import sys

import botocore.awsrequest
import botocore.compat
import botocore.parsers
import botocore.serialize
import botocore.session

HERE = pathlib.Path(__file__).parent
SERVICES = ["apigateway", "apigatewayv2", "lambda", "iam", "sts", "cloudtrail", "logs", "cloudformation", "organizations"]
MOMENT = datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
DEPTH_MAX = 5


def sample(shape, depth=0, seen=()):
    """One value of a shape: every member, lists and maps with two entries."""
    kind = shape.type_name
    if kind == "structure":
        if depth >= DEPTH_MAX or shape.name in seen:
            return {}
        inner = seen + (shape.name,)
        members = shape.members.items()
        if getattr(shape, "is_tagged_union", False):
            members = list(members)[:1]
        return {
            name: 200 if member.serialization.get("location") == "statusCode" else sample(member, depth + 1, inner)
            for name, member in members
        }
    if kind == "list":
        return [sample(shape.member, depth + 1, seen) for _ in range(2)]
    if kind == "map":
        return {key: sample(shape.value, depth + 1, seen) for key in ("one", "two/three")}
    if kind == "string":
        return shape.enum[0] if shape.enum else "a b+c&d=é/%:<\"'"
    if kind in ("integer", "long"):
        return 7
    if kind in ("double", "float"):
        return 1.5
    if kind == "boolean":
        return True
    if kind == "blob":
        return b"\x00blob\xff"
    if kind == "timestamp":
        return MOMENT
    raise ValueError(kind)


def ascii_headers(shape, value):
    """Header values stay ASCII: what else may stand there is the HTTP layer's business."""
    for name, member in shape.members.items():
        if member.serialization.get("location") in ("header", "headers") and isinstance(value.get(name), str):
            value[name] = "text" if not member.enum else value[name]
    return value


def plain(value):
    """As this crate has it in a JSON value: instants are epoch seconds, blobs base64."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    return value


def operations():
    session = botocore.session.get_session()
    for service in SERVICES:
        model = session.get_service_model(service)
        for name in model.operation_names:
            yield service, model, model.operation_model(name)


def request(service, model, operation):
    serializer = botocore.serialize.create_serializer(model.metadata["protocol"], include_validation=False)
    shape = operation.input_shape
    params = ascii_headers(shape, sample(shape)) if shape is not None else {}
    payload = shape.serialization.get("payload") if shape is not None else None
    raw = payload if payload and shape.members[payload].type_name == "blob" else None
    prepared = serializer.serialize_to_request(params, operation)
    botocore.awsrequest.prepare_request_dict(prepared, "http://localhost:4566")
    sent = botocore.awsrequest.create_request_object(prepared).prepare()
    rest = sent.url.removeprefix("http://localhost:4566")
    path, _, query = rest.partition("?")
    body = sent.body or b""
    body = body.encode() if isinstance(body, str) else body
    expected = plain({name: value for name, value in params.items() if name != raw})
    headers = {name: value if isinstance(value, str) else value.decode() for name, value in sent.headers.items()}
    return {
        "service": service, "operation": operation.name, "method": sent.method, "path": path, "query": query,
        "headers": headers, "body": base64.b64encode(body).decode(), "payload": raw, "params": expected,
    }


def has_event_stream(operation):
    return operation.has_event_stream_output or operation.has_event_stream_input


def output(operation):
    shape = operation.output_shape
    if shape is None:
        return {}
    value = ascii_headers(shape, sample(shape))
    payload = shape.serialization.get("payload")
    # A whole body that is bytes is given as text here; bytes take another way into an answer.
    if payload and shape.members[payload].type_name == "blob":
        value[payload] = "{\"raw\": true}"
    return plain(value)


def wanted():
    """Operations of tiers 1 and 2; the names come from `cargo run -p wire --example golden -- names`."""
    return set(json.loads((HERE / "names.json").read_text()))


def make():
    names = wanted()
    with open(HERE / "requests.jsonl", "w") as requests, open(HERE / "outputs.jsonl", "w") as outputs:
        for service, model, operation in operations():
            if f"{service}:{operation.name}" not in names:
                continue
            requests.write(json.dumps(request(service, model, operation)) + "\n")
            if not has_event_stream(operation):
                line = {"service": service, "operation": operation.name, "output": output(operation)}
                outputs.write(json.dumps(line) + "\n")


def check():
    expected = {}
    for line in (HERE / "outputs.jsonl").read_text().splitlines():
        line = json.loads(line)
        expected[line["service"], line["operation"]] = line["output"]
    session = botocore.session.get_session()
    bad = 0
    for line in (HERE / "answers.jsonl").read_text().splitlines():
        line = json.loads(line)
        key = line["service"], line["operation"]
        model = session.get_service_model(key[0])
        operation = model.operation_model(key[1])
        parser = botocore.parsers.create_parser(model.metadata["protocol"])
        headers = botocore.compat.HTTPHeaders.from_pairs([tuple(pair) for pair in line["headers"]])
        answer = {"status_code": line["status"], "headers": headers, "body": base64.b64decode(line["body"])}
        parsed = parser.parse(answer, operation.output_shape)
        metadata = parsed.pop("ResponseMetadata", {})
        want = expected.pop(key)
        for name in [name for name, value in parsed.items() if isinstance(value, bytes)]:
            parsed[name] = parsed[name].decode()
        if plain(parsed) != want or metadata.get("RequestId", metadata["HTTPHeaders"].get("x-amzn-requestid")) != "the-request-id":
            bad += 1
            print(*key, "differs\n  want", want, "\n  have", plain(parsed))
    if expected:
        bad += 1
        print("no answer for", sorted(expected))
    print("all answers are read as written" if bad == 0 else f"{bad} differ")
    return bad


if __name__ == "__main__":
    sys.exit({"make": make, "check": check}[sys.argv[1]]())
