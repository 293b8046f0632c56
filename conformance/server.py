"""The built binary as a process: start, stop, kill, start again; everything bounded in time."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

START_S_MAX = 20
STOP_S_MAX = 20
COMMAND_S_MAX = 30
LOG_LINES_MAX = 4000


@dataclass(frozen=True)
class Account:
    """An account with its root keys, or any identity that signs: an IAM user's keys, a session's with its token."""

    id: str
    access_key: str
    secret: str
    token: str | None = None


class Server:
    """One `portcullis start`. Not started until [`start`] is called; usable again after [`stop`] and [`kill`]."""

    def __init__(self, binary: Path, data_dir: Path, arguments: tuple[str, ...] = ()):
        self.binary = binary
        self.data_dir = data_dir
        self.arguments = arguments
        self.port = 0
        self.log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self._process: subprocess.Popen | None = None
        self._ready = threading.Event()
        self._readers: list[threading.Thread] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    def start(self) -> "Server":
        """Starts and waits for `Ready.`; a second start takes the port of the first, so that clients stay valid."""
        assert self._process is None, "the server is running"
        self._ready.clear()
        command = [self.binary, "start", "--data-dir", self.data_dir, "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [*map(str, command), *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "NO_COLOR": "1"},
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self._process.stdout, self._process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        deadline = time.monotonic() + START_S_MAX
        while not self._ready.wait(0.05):
            if self._process.poll() is not None:
                code = self._process.returncode
                self._forget()
                raise AssertionError(f"the server exited with {code} before it was ready:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server was not ready within {START_S_MAX} s:\n{self.tail()}")
        assert self.port, f"the server printed no address before `Ready.`:\n{self.tail()}"
        return self

    def _read(self, stream) -> None:
        for line in stream:
            line = line.rstrip("\n")
            self.log.append(line)
            if stream is self._process.stdout:
                found = re.search(r"127\.0\.0\.1:(\d+)", line)
                if found and not self.port:
                    self.port = int(found.group(1))
                if line.strip() == "Ready.":
                    self._ready.set()

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """A graceful stop: SIGTERM, exit code 0 within bounded time."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop within {STOP_S_MAX} s:\n{self.tail()}") from None
        self._forget()
        assert code == 0, f"the server stopped with exit code {code}:\n{self.tail()}"

    def kill(self) -> None:
        """kill -9."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_S_MAX)
        self._forget()

    def _forget(self) -> None:
        for reader in self._readers:
            reader.join(2)
        self._process = None

    def tail(self, lines: int = 60) -> str:
        return "\n".join(list(self.log)[-lines:])

    def memory_mb(self) -> float:
        """Resident memory of the server process itself."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Another subcommand of the binary."""
        done = subprocess.run(
            [str(self.binary), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            env={**os.environ, "NO_COLOR": "1"},
        )
        if check:
            assert done.returncode == 0, f"{arguments} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def create_account(self, account: str, name: str) -> Account:
        """`portcullis account create`, before the first start as well as beside a running server."""
        done = self.run(
            "account", "create", "--data-dir", str(self.data_dir), "--id", account, "--name", name, "--output", "json"
        )
        made = json.loads(done.stdout)
        assert made["AccountId"] == account and made["Name"] == name, made
        return Account(account, made["AccessKeyId"], made["SecretAccessKey"])
