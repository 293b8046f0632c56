"""Does from inside a sandbox what the event asks for, with nothing but the standard library.

    {"say": [host, port, text]}             what comes back over a plain connection, or the error's name
    {"fetch": url}                          as any client that minds HTTP_PROXY does
    {"sign": {...}}                         a signed call to this server's own API; see `wire.py`
    {"hold": count}                         how many connections to the API are answered at once
    {"environment": [names]}                these variables
    {"look": [paths]}                       who it is, what it sees of others, and which of the paths are there
    {"write": path}                         whether a file can be written
"""

import datetime
import hashlib
import hmac
import http.client
import os
import pwd
import socket
import urllib.error
import urllib.request


def handler(event, context):
    [(what, asked)] = event.items()
    return {"say": say, "fetch": fetch, "sign": sign, "hold": hold, "environment": environment, "look": look, "write": write}[
        what
    ](asked)


def say(asked):
    host, port, text = asked
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(text.encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts).decode("utf-8", "replace")
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def hold(count):
    """Opens connections to the API and keeps them, until one is not answered."""
    held = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", 4566), timeout=1)
        connection.sendall(b"GET /_portcullis/none HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            if not connection.recv(1):
                break
        except OSError:
            break
        held.append(connection)
    return len(held)


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}
    except OSError as error:
        return {"status": 0, "body": str(error)}


def environment(names):
    return {name: os.environ.get(name) for name in names}


def look(paths):
    return {
        "user": os.getuid(),
        "name": pwd.getpwuid(os.getuid()).pw_name,
        "directory": os.getcwd(),
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "paths": {path: os.path.exists(path) for path in paths},
    }


def write(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        return "written"
    except OSError as error:
        return str(error)


def sign(asked):
    """Signature Version 4 over a form post, with the role's credentials unless others are given."""
    service, body = asked["service"], asked["body"].encode()
    key = asked.get("key", os.environ["AWS_ACCESS_KEY_ID"])
    secret = asked.get("secret", os.environ["AWS_SECRET_ACCESS_KEY"])
    token = asked.get("token", os.environ["AWS_SESSION_TOKEN"])
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": "application/x-www-form-urlencoded", "host": endpoint, "x-amz-date": stamp}
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(["POST", "/", "", *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, digest])
    scope = f"{stamp[:8]}/{os.environ['AWS_REGION']}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    headers.update(asked.get("headers", {}))
    connection = http.client.HTTPConnection(endpoint, timeout=10)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    return {"status": answer.status, "body": answer.read().decode()}
