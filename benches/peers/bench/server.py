"""A Redis of the benchmark's own, and what it says of itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_DEADLINE_S = 10
ANSWER_DEADLINE_S = 30  # FLUSHALL of a million keys takes a while
STOP_DEADLINE_S = 20
ROOT = Path(__file__).resolve().parents[3]


class Connection:
    """Just enough of Redis's protocol to ask the server what it did."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_DEADLINE_S)
        self._reader = self._socket.makefile("rb")

    def call(self, *words: str) -> str | int | None:
        self.send(*words)
        line = self._reader.readline().rstrip(b"\r\n").decode()
        kind, rest = line[:1], line[1:]
        if kind == "-":
            raise RuntimeError(f"redis: {rest}")
        if kind == "$":
            size = int(rest)
            return None if size < 0 else self._reader.read(size + 2)[:-2].decode()
        return int(rest) if kind == ":" else rest

    def send(self, *words: str) -> None:
        parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._socket.sendall("".join(parts).encode())

    def read_until(self, mark: bytes) -> bytes:
        """All that comes, up to and with `mark`."""
        chunks = b""
        while mark not in chunks[-2 * len(mark) - (1 << 16) :]:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise RuntimeError("redis closed the connection")
            chunks += chunk
        return chunks

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


class Server:
    """A redis-server that is flushed between measurements; `aof` is an `appendfsync` policy, or none."""

    def __init__(self, aof: str | None = None) -> None:
        self.aof = aof
        self._folder = tempfile.mkdtemp(prefix="tidemill-peers-", dir=scratch())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder]
        if aof:
            options += ["--appendonly", "yes", "--appendfsync", aof]
        self._process = subprocess.Popen([program(), *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{self.port}"
        self._connection = self._connect()

    def _connect(self) -> Connection:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                connection = Connection(self.port)
                connection.call("PING")
                return connection
            except (OSError, RuntimeError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def flush(self) -> None:
        """Empty as on its first day, scripts included."""
        for words in (["FLUSHALL", "SYNC"], ["SCRIPT", "FLUSH", "SYNC"], ["CONFIG", "RESETSTAT"]):
            self._connection.call(*words)

    def info(self) -> dict[str, str]:
        lines = str(self._connection.call("INFO", "all")).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def version(self) -> str:
        return self.info()["redis_version"]

    def used_memory(self) -> int:
        return int(self.info()["used_memory"])

    def clients(self) -> int:
        """Connections, less the benchmark's own."""
        return int(self.info()["connected_clients"]) - 1

    def cpu_seconds(self) -> float:
        info = self.info()
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def commands(self) -> int:
        """Commands so far, those within scripts included."""
        return int(self.info()["total_commands_processed"])

    def monitor(self) -> Monitor:
        return Monitor(self)

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Monitor:
    """Counts commands as clients send them: MONITOR marks those within a script, and they are left out."""

    MARK = "tidemill-peers-mark"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = Connection(server.port)
        self._connection.call("MONITOR")

    def count(self) -> int:
        """How many there were until now. Ends it."""
        asker = Connection(self._server.port)
        asker.call("ECHO", self.MARK)
        asker.close()
        lines = self._connection.read_until(self.MARK.encode()).splitlines()
        self._connection.close()
        return sum(line.startswith(b"+") and b" lua] " not in line and b'"ECHO"' not in line for line in lines)


def program() -> str:
    """The redis-server that is asked for, else the one that scripts/setup fetched, else the machine's."""
    fetched = ROOT / ".tools" / "redis" / "bin" / "redis-server"
    return os.environ.get("REDIS_SERVER") or (str(fetched) if fetched.exists() else "redis-server")


def scratch() -> Path:
    """Where files of measurements are kept: on a disk, never in memory."""
    folder = ROOT / "target" / "peers" / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
