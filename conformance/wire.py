"""Plain HTTP/1.1 without any AWS client: exact bytes out, exact bytes back, and a signer of our own.

The signer is written here a second time on purpose (botocore's cannot be told to sign a wrong date or scope), after
"Signature Version 4 signing process" of the IAM User Guide.
"""

import hashlib
import hmac
import json
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from server import Account

TIMEOUT_S = 30


@dataclass
class Answer:
    """One HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    version: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        """The last value of a header, whatever its spelling."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[-1] if found else None

    @property
    def error_type(self) -> str | None:
        value = self.header("x-amzn-ErrorType")
        return value.split(":")[0] if value else None

    @property
    def decision(self) -> str:
        """Id of the decision behind the answer."""
        value = self.header("x-portcullis-decision")
        assert value, f"no x-portcullis-decision in {self.headers}"
        return value

    def json(self):
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Connection:
    """A socket to the server on which requests are written as bytes."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise ConnectionError(f"the connection ended after {self.buffer[:200]!r}")
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self._more():
                raise ConnectionError("the connection ended within a body")
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def receive(self, method: str = "GET") -> Answer:
        """Reads one response; skips 100 Continue."""
        while True:
            lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            version, status, *_ = lines[0].split(" ", 2)
            headers = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:]]
            answer = Answer(int(status), headers, b"", version)
            if answer.status != 100:
                break
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if (answer.header("transfer-encoding") or "").lower() == "chunked":
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                answer.body += self._exactly(size)
                self._until(b"\r\n")
            while self._until(b"\r\n"):
                pass
        elif (length := answer.header("content-length")) is not None:
            answer.body = self._exactly(int(length))
        else:
            while self._more():
                pass
            answer.body, self.buffer = self.buffer, b""
        return answer

    def at_end(self) -> bool:
        """Whether the server has closed the connection; waits for it up to the socket's time-out."""
        try:
            return not self.buffer and not self._more()
        except ConnectionResetError:
            return True


def head(method: str, target: str, headers, version: str = "HTTP/1.1") -> bytes:
    """The bytes of a request head; headers are pairs, written as they are."""
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def call(port: int, method: str, target: str, headers=(), body: bytes = b"", host: str | None = None) -> Answer:
    """One request on a connection of its own. Adds Host, Content-Length and `Connection: close`."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    names = {name.lower() for name, _ in pairs}
    fixed = []
    if "host" not in names:
        fixed.append(("Host", host or f"127.0.0.1:{port}"))
    if body or method in ("POST", "PUT", "PATCH"):
        if not names & {"content-length", "transfer-encoding"}:
            fixed.append(("Content-Length", str(len(body))))
    if "connection" not in names:
        fixed.append(("Connection", "close"))
    with Connection(port) as connection:
        try:
            connection.send(head(method, target, fixed + pairs) + body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before all of it was read; the answer is there all the same.
        return connection.receive(method)


def invoke(port: int, api: str, stage: str, path: str = "/", method: str = "GET", headers=(), body=b"", query="") -> Answer:
    """One request to a deployed API, by path."""
    target = f"/_aws/execute-api/{api}/{stage}{path}" + (f"?{query}" if query else "")
    return call(port, method, target, headers, body)


@dataclass
class Signing:
    """What goes into a signature; each member can be made wrong."""

    identity: Account
    service: str
    region: str = "us-east-1"
    offset: timedelta = timedelta()
    terminator: str = "aws4_request"
    secret: str | None = None
    access_key: str | None = None
    token: str | None = None
    extra_signed: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    body_hash: str | None = None
    algorithm: str = "AWS4-HMAC-SHA256"
    amend: dict = field(default_factory=dict)

    def _key(self, date: str) -> bytes:
        key = ("AWS4" + (self.secret or self.identity.secret)).encode()
        for part in (date, self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key

    def sign(self, port: int, method: str, path: str, query: str, headers: list, body: bytes) -> list:
        """Header authentication: the headers with Host, X-Amz-Date and Authorization added."""
        stamp = (datetime.now(timezone.utc) + self.offset).strftime("%Y%m%dT%H%M%SZ")
        pairs = [("Host", f"127.0.0.1:{port}"), ("X-Amz-Date", stamp), *headers]
        token = self.token if self.token is not None else self.identity.token
        if token:
            pairs.append(("X-Amz-Security-Token", token))
        payload = self.body_hash or hashlib.sha256(body).hexdigest()
        if self.service == "s3":
            pairs.append(("X-Amz-Content-Sha256", payload))
        covered = sorted((name.lower(), " ".join(value.split())) for name, value in pairs if name.lower() not in self.unsigned)
        covered += [(name, "") for name in self.extra_signed]
        names = ";".join(name for name, _ in covered)
        uri = path if self.service == "s3" else quote(path, safe="/-_.~")
        canonical_query = "&".join(sorted(part if "=" in part else part + "=" for part in query.split("&") if part))
        canonical = "\n".join(
            [method, uri, canonical_query, *(f"{name}:{value}" for name, value in covered), "", names, payload]
        )
        scope = f"{stamp[:8]}/{self.region}/{self.service}/{self.terminator}"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        signature = hmac.new(self._key(stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
        parts = {
            "Credential": f"{self.access_key or self.identity.access_key}/{scope}",
            "SignedHeaders": names,
            "Signature": signature,
            **self.amend,
        }
        value = f"{self.algorithm} " + ", ".join(f"{name}={part}" for name, part in parts.items() if part is not None)
        return [*pairs, ("Authorization", value)]


def signed(
    port: int,
    signing: Signing,
    method: str,
    path: str,
    query: str = "",
    headers=(),
    body: bytes = b"",
    sent_body: bytes | None = None,
    sent_path: str | None = None,
    sent_query: str | None = None,
    sent_headers=(),
) -> Answer:
    """One signed request. The `sent_` arguments replace, after signing, what is really sent."""
    pairs = signing.sign(port, method, path, query, list(headers), body)
    replaced = {name.lower() for name, _ in sent_headers}
    pairs = [pair for pair in pairs if pair[0].lower() not in replaced] + list(sent_headers)
    target = (sent_path or path) + (f"?{q}" if (q := query if sent_query is None else sent_query) else "")
    return call(port, method, target, pairs, body if sent_body is None else sent_body)


def decision(port: int, identity: Account, id: str) -> Answer:
    """What the identity may read of a decision."""
    return signed(port, Signing(identity, "portcullis"), "GET", f"/_portcullis/decisions/{id}")


FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")


def query_call(port: int, signing: Signing, action: str, parameters: str = "", **changes) -> Answer:
    """A call of IAM or STS in the query protocol."""
    version = {"iam": "2010-05-08", "sts": "2011-06-15"}[signing.service]
    body = f"Action={action}&Version={version}" + (f"&{parameters}" if parameters else "")
    return signed(port, signing, "POST", "/", headers=[FORM], body=body.encode(), **changes)


def target_call(port: int, signing: Signing, operation: str, body: bytes = b"{}", **changes) -> Answer:
    """A call of CloudTrail in the JSON protocol."""
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", f"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.{operation}"),
    ]
    return signed(port, signing, "POST", "/", headers=headers, body=body, **changes)
