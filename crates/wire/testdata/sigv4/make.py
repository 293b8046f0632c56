"""Makes the corpora of signed requests which the tests of `wire::sigv4` replay.

    python3 make.py                                   writes botocore.json
    python3 make.py path/to/aws-signing-test-suite/v4   writes published.json as well

botocore signs, so these signatures owe nothing to the code under test. See README.md for origin and licences.
"""

import base64
import datetime
import json
import pathlib
import sys
from urllib.parse import quote, urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 6, 1, 12, 34, 56, tzinfo=datetime.timezone.utc)
LONG = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None)
SESSION = ("ASIAIOSFODNN7EXAMPLE", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY", "FwoGZXIvYXdzEBYaDH+/=" + "tok/en+" * 40)

botocore.auth.get_current_datetime = lambda remove_tzinfo=True: NOW.replace(tzinfo=None) if remove_tzinfo else NOW

cases = []


def case(name, auth, method, url, service, headers=(), body=b"", region="us-east-1", who=LONG, expires=None,
         params=None, context=None):
    access_key, secret, token = who
    request = AWSRequest(method=method, url=url, data=body or None, params=params or {})
    for key, value in headers:
        request.headers[key] = value
    request.context.update(context or {})
    args = [Credentials(access_key, secret, token), service, region]
    signer = auth(*args, expires=expires) if expires else auth(*args)
    signer.add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    # The prepared headers have lost repeats; the signed ones have not.
    sent = [[k, v.decode() if isinstance(v, bytes) else v] for k, v in request.headers.items()]
    if not any(k.lower() == "host" for k, _ in sent):
        sent.insert(0, ["Host", botocore.auth._host_from_url(prepared.url)])
    data = prepared.body or b""
    if isinstance(data, str):
        data = data.encode()
    if data:
        sent.append(["Content-Length", str(len(data))])
    cases.append({
        "name": name,
        "method": method,
        "path": parts.path,
        "query": parts.query if "?" in prepared.url else None,
        "headers": sent,
        "body": base64.b64encode(data).decode(),
        "access_key_id": access_key,
        "secret": secret,
        "token": token,
        "region": region,
        "service": service,
        "s3": service == "s3",
        "presigned": expires is not None,
        "now": int(NOW.timestamp()),
    })


H, Q = botocore.auth.SigV4Auth, botocore.auth.SigV4QueryAuth
S3H, S3Q = botocore.auth.S3SigV4Auth, botocore.auth.S3SigV4QueryAuth
END = "http://localhost:4566"
JSON = [("Content-Type", "application/json"), ("Accept", "application/json"), ("User-Agent", "Boto3/1.43")]
FN = quote("arn:aws:lambda:eu-central-1:123456789012:function:my-function:PROD", safe="")
API = quote("arn:aws:apigateway:us-east-1::/restapis/abc123", safe="")

# Paths as clients send them, and as hostile or careless ones do.
PATHS = [
    "", "/", "/restapis", f"/tags/{API}", f"/2015-03-31/functions/{FN}/invocations", "/restapis/abc/resources/",
    "/a//b", "//a", "///", "/a/b//", "/./a", "/a/./b", "/a/../b", "/../a", "/a/../../b/", "/a/b/..", "/.", "/..", "/a/.",
    "/a%2Fb", "/a%2fb", "/a%20b", "/100%25", "/%C3%BC/%E6%97%A5%E6%9C%AC", "/a+b", "/a:b@c", "/a;b,c=d&e", "/(x)!*'",
    "/~user/-_.~", "/$default", "/prod/%40connections/JBDvjfGEIAMCERw%3D", "/a%252Fb", "/...", "/.hidden/..x/x..", "/%2E%2E/a",
]
for i, path in enumerate(PATHS):
    method = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"][i % 6]
    body = b'{"name":"api %d"}' % i if method in ("POST", "PUT", "PATCH") else b""
    case(f"path {path}", H, method, END + path, ["apigateway", "lambda", "execute-api"][i % 3], JSON, body,
         who=SESSION if i % 4 == 1 else LONG, region=["us-east-1", "eu-central-1", "us-gov-west-1"][i % 3])

QUERIES = [
    "a=1", "b=2&a=1", "a=2&a=1&a=10", "a=&b", "flag", "=", "a=b%3Dc", "a=%20&a=%2B&a=%2F", "A=1&a=2&B=3", "k%20y=v%C3%BC",
    "%E6%97%A5=%E6%9C%AC", "limit=500&position=a%3D%3D", "x=~-_.", "a=%25&b=%2525", "a-b=1&a=2&a.b=3&aB=4", "mode=import&failonwarnings=true",
    "a=1&a=1", "name=%27%28%29%2A%21",
]
for i, query in enumerate(QUERIES):
    case(f"query {query}", H, "GET", f"{END}/restapis?{query}", "apigateway", JSON, who=SESSION if i % 5 == 2 else LONG)
case("query from a map", H, "GET", END + "/restapis", "apigateway", params={"embed": "methods", "x y": "ü&=+/?", "limit": "5"})

HEADERS = {
    "runs of spaces": [("X-Note", "  a   b    c  ")],
    "repeated": [("X-Many", "one"), ("X-Many", "two"), ("X-Many", "three")],
    "repeated in another case": [("X-Many", "one"), ("x-many", "two")],
    "empty": [("X-Empty", "")],
    "quoted": [("X-Quoted", '"a   b"')],
    "comma": [("X-List", "a, b,c ,d")],
    "many": [(f"X-H{n}", f"value {n}") for n in range(60)],
    "never signed": [("User-Agent", "x"), ("Expect", "100-continue"), ("X-Amzn-Trace-Id", "Root=1-2"), ("Connection", "close")],
    "amz": [("X-Amz-Target", "Logs_20140328.CreateLogGroup"), ("X-Amz-Client-Context", "e30=")],
    "date header": [("Date", "will be replaced")],
    "declared digest": [("X-Amz-Content-SHA256", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")],
    "long value": [("X-Long", "abc " * 500)],
    "host with a port": [("Host", "abc.execute-api.us-east-1.localhost:4566")],
}
for name, headers in HEADERS.items():
    case(f"headers {name}", H, "POST", END + "/x", "execute-api", headers, b"{}")

FORM = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
case("iam query", H, "POST", END + "/", "iam", FORM, b"Action=ListUsers&Version=2010-05-08")
case("sts query with session", H, "POST", END + "/", "sts", FORM, b"Action=GetCallerIdentity&Version=2011-06-15", who=SESSION)
case("logs json", H, "POST", END + "/", "logs",
     [("X-Amz-Target", "Logs_20140328.DescribeLogGroups"), ("Content-Type", "application/x-amz-json-1.1")], b"{}")
case("binary body", H, "POST", f"{END}/2015-03-31/functions/{FN}/invocations", "lambda", [], bytes(range(256)))
case("large body", H, "PUT", END + "/restapis/abc", "apigateway", JSON, b"x" * 20000)
case("https default port", H, "GET", "https://example.com:443/restapis", "apigateway")
case("http other port", H, "GET", "http://example.com:8080/restapis", "apigateway")
case("upper-case host", H, "GET", "http://LocalHost:4566/restapis", "apigateway")
case("ipv6 host", H, "GET", "http://[::1]:4566/restapis", "apigateway")

for i, path in enumerate(PATHS[1:13]):
    case(f"presigned path {path}", Q, "GET", f"{END}{path}?z=1&a=%2F", ["execute-api", "lambda", "sts"][i % 3],
         who=SESSION if i % 2 else LONG, expires=[1, 60, 3600, 604800][i % 4])
case("presigned sts", Q, "GET", END + "/?Action=GetCallerIdentity&Version=2011-06-15", "sts",
     [("x-k8s-aws-id", "cluster")], who=SESSION, expires=60)
case("presigned blank value", Q, "GET", END + "/x?a=&b=%20c", "execute-api", expires=900)

S3_PATHS = [
    "/", "/bucket", "/bucket/key", "/bucket/a//b", "/bucket/../x", "/bucket/./x", "/bucket/a%20b%2Bc", "/bucket/%E6%97%A5.txt",
    "/bucket/a/b/", "//bucket", "/bucket/%25", "/bucket/(a)!%2A%27", "/bucket/~a:b", "/bucket/a%2Fb",
]
for i, path in enumerate(S3_PATHS):
    body = b"object %d" % i if i % 2 else b""
    case(f"s3 {path}", S3H, "PUT" if body else "GET", END + path, "s3",
         [("x-amz-meta-note", "a  b"), ("x-amz-acl", "private")] if i % 3 == 1 else [], body, who=SESSION if i % 4 == 3 else LONG)
    case(f"s3 presigned {path}", S3Q, "GET", END + path + ("?versionId=a%2Fb" if i % 2 else ""), "s3",
         who=SESSION if i % 4 == 1 else LONG, expires=3600)
for query in ["location", "list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type=url", "uploads", "partNumber=1&uploadId=x%3D%3D", "x-id=PutObject"]:
    case(f"s3 query {query}", S3H, "GET", f"{END}/bucket?{query}", "s3")
case("s3 unsigned payload", S3H, "PUT", "https://localhost:4566/bucket/key", "s3", [("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww==")],
     b"hello world", context={"has_streaming_input": True})
case("s3 presigned put with headers", S3Q, "PUT", END + "/bucket/key", "s3",
     [("x-amz-meta-a", "b"), ("Content-Type", "text/plain")], expires=600)

(HERE / "botocore.json").write_text(json.dumps(cases, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
print(len(cases), "requests signed by botocore", botocore.__version__)


def read_signed(text):
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    method, rest = first.split(" ", 1)
    target = rest.rsplit(" HTTP/", 1)[0]
    headers = []
    for line in lines:
        if line[:1] == " ":
            # A folded header line, which the HTTP layer joins by a space.
            headers[-1][1] += " " + line.strip()
        elif line:
            key, value = line.split(":", 1)
            headers.append([key, value])
    path, mark, query = target.partition("?")
    return method, path, query if mark else None, headers, body


def published(root):
    found = []
    for folder in sorted(p for p in root.iterdir() if (p / "context.json").exists()):
        context = json.loads((folder / "context.json").read_text())
        for kind in ("header", "query"):
            file = folder / f"{kind}-signed-request.txt"
            # With its token added after signing, a presigned request is not canonical any more.
            if not file.exists() or (kind == "query" and context.get("omit_session_token")):
                continue
            method, path, query, headers, body = read_signed(file.read_text(encoding="utf-8"))
            stamp = datetime.datetime.fromisoformat(context["timestamp"].replace("Z", "+00:00"))
            found.append({
                "name": f"{folder.name} {kind}", "method": method, "path": path, "query": query, "headers": headers,
                "body": base64.b64encode(body.encode()).decode(),
                "access_key_id": context["credentials"]["access_key_id"],
                "secret": context["credentials"]["secret_access_key"], "token": context["credentials"].get("token"),
                "region": context["region"], "service": context["service"], "s3": False, "presigned": kind == "query",
                "normalize": context["normalize"], "now": int(stamp.timestamp()),
                "signature": (folder / f"{kind}-signature.txt").read_text().strip(),
            })
    (HERE / "published.json").write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(len(found), "published requests")


if len(sys.argv) > 1:
    published(pathlib.Path(sys.argv[1]))
