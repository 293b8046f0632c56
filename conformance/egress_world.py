"""Run in a network and mount namespace of its own: a small world of decoys around a server.

The names of addresses that a real network has are here addresses of this namespace's own interfaces, and one public
address lies behind a cable in another namespace. Prints what functions of the server found, as JSON.
"""

import http.server
import json
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import make
from aws import Aws
from conftest import API
from server import Server

PUBLIC, OWN = "9.9.9.9", "9.9.9.1"
FORBIDDEN = {
    "metadata": "169.254.169.254",
    "metadata of IPv6": "fd00:ec2::254",
    "private": "10.1.2.3",
    "shared": "100.64.1.2",
    "unique local": "fd12::1",
    "link-local": "169.254.7.7",
    "own public": OWN,
}
HOSTS = f"""127.0.0.1 localhost
{PUBLIC} public.example
127.0.0.1 rebound.example
10.1.2.3 several.example
{PUBLIC} several.example
"""
# Counts in a file, since it runs in another namespace and process.
FAR_SIDE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open(sys.argv[1], "a").write("x")
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"public")
    def log_message(self, *_):
        pass
print("up", flush=True)
sys.stdin.readline()
server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler)
print("listening", flush=True)
server.serve_forever()
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def far_side(count: Path) -> subprocess.Popen:
    """The other end of the cable, and who answers there."""
    far = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", FAR_SIDE, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert far.stdout.readline() == "up\n"
    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(far.pid))
    run("ip", "addr", "add", f"{OWN}/24", "dev", "near")
    run("ip", "link", "set", "near", "up")
    for command in (["addr", "add", f"{PUBLIC}/24", "dev", "far"], ["link", "set", "far", "up"]):
        run("nsenter", "--net", "--target", str(far.pid), "ip", *command)
    far.stdin.write("go\n")
    far.stdin.flush()
    assert far.stdout.readline() == "listening\n"
    return far


def near_side() -> list:
    """Decoys on every forbidden address, and what was asked of any of them."""
    run("ip", "link", "set", "lo", "up")
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    class SixServer(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    for address in FORBIDDEN.values():
        if address != OWN:
            run("ip", "addr", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo")
    for server in (http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler), SixServer(("::", 8080), Handler)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return asked


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "hosts").write_text(HOSTS)
        run("mount", "--bind", str(place / "hosts"), "/etc/hosts")
        asked = near_side()
        count = place / "count"
        count.touch()
        far = far_side(count)
        server = Server(Path(sys.argv[1]), place / "data")
        account = server.create_account(API, "api")
        server.start()
        try:
            found = look(Aws(server.endpoint, account))
        finally:
            server.stop()
            far.kill()
        found["public decoy"] = len(count.read_text())
        found["forbidden decoy"] = len(asked)
        print(json.dumps(found))


def look(aws: Aws) -> dict:
    make.function(aws, "inside", "inside.py", Timeout=30)

    def inside(**event):
        return json.loads(aws.awslambda.invoke(FunctionName="inside", Payload=json.dumps(event))["Payload"].read())

    def connect(place: str) -> str:
        return inside(say=["127.0.0.1", 3128, f"CONNECT {place} HTTP/1.1\r\n\r\nGET /tunnelled HTTP/1.0\r\n\r\n"])

    found = {
        "by name": inside(fetch="http://public.example/"),
        "by number": inside(fetch=f"http://{PUBLIC}/"),
        "several addresses": inside(fetch="http://several.example/"),
        "rebinding": connect("rebound.example:80"),
    }
    for kind, address in FORBIDDEN.items():
        found[kind] = connect(f"[{address}]:8080" if ":" in address else f"{address}:80")
    return found


if __name__ == "__main__":
    main()
