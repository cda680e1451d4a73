"""`POST /enqueue` over HTTP: 64 keep-alive connections of wrk, on Tidemill's API or on a handler without a broker."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .process import Failed
from .server import Server
from .systems import BARE_HTTP, HERE, INSTALLED, TIDEMILL, System

CONNECTIONS = 64
SECONDS = 3
START_DEADLINE_S = 20
STOP_DEADLINE_S = 10
WRK_DEADLINE_S = SECONDS + 30


def http(system: System, server: Server) -> dict[str, float]:
    if system.name == "bare-http":
        with serving([BARE_HTTP], "--port") as port:
            return {"http": requests_per_second(port)}
    server.flush()
    command = [TIDEMILL, "api", "--broker-url", server.url, "--form", "rest", "--host", "127.0.0.1"]
    with serving(command, "--port") as port:
        figures = {"http": requests_per_second(port)}
    server.flush()
    with serving([*command, "--log-level", "warn"], "--port") as port:
        return {**figures, "http_quiet": requests_per_second(port)}


@contextmanager
def serving(command: list[str], port_option: str) -> Iterator[int]:
    """A process that serves on a free port; its log goes nowhere."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, port_option, str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=INSTALLED,
        # The program refuses settings of that name that it does not know, and is to be measured at its defaults.
        env={name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")},
    )
    try:
        wait_for_port(port, process, command[0])
        yield port
    finally:
        process.kill()
        process.wait(STOP_DEADLINE_S)


def wait_for_port(port: int, process: subprocess.Popen, program: str) -> None:
    until = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"{program} does not serve on port {port}")


def requests_per_second(port: int) -> float:
    fetched = INSTALLED / "wrk" / "bin" / "wrk"
    wrk = os.environ.get("WRK", str(fetched) if fetched.exists() else "wrk")
    script = str(Path(HERE) / "bench" / "enqueue.lua")
    address = f"http://127.0.0.1:{port}/enqueue"
    done = subprocess.run(
        [
            wrk,
            "--threads",
            "1",
            "--connections",
            str(CONNECTIONS),
            "--duration",
            f"{SECONDS}s",
            "--script",
            script,
            address,
        ],
        capture_output=True,
        text=True,
        timeout=WRK_DEADLINE_S,
        check=False,
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode != 0 or not rate:
        raise Failed(f"wrk: {done.stderr or done.stdout}")
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Failed(f"wrk: not all requests were accepted: {done.stdout}")
    return float(rate[1])
