"""A system under measurement: a process that is told what to do line by line, and answers each in a line of JSON."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

START_DEADLINE_S = 30
STOP_DEADLINE_S = 10  # a killed process of a busy machine takes a moment to be gone


class Failed(Exception):
    """A system could not do what it was told, or not in time."""


class Process:
    """One process; a context manager that ends it with all that it started.

    What it complains of is shown with PEERS_STDERR=1.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("PEERS_STDERR") else subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._unread = b""
        assert self._process.stdin and self._process.stdout  # they are pipes
        self._input, self._output = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        os.set_blocking(self._output.fileno(), False)
        try:
            self.version = self.ask("hello", deadline=START_DEADLINE_S)["version"]
        except Failed:
            self.end()
            raise

    def ask(self, *words: object, deadline: float) -> dict[str, Any]:
        """Tells it `words` and returns the answer, within `deadline` seconds."""
        self.tell(*words)
        return self.answer(deadline, " ".join(map(str, words)))

    def tell(self, *words: object) -> None:
        try:
            self._input.write((" ".join(map(str, words)) + "\n").encode())
            self._input.flush()
        except BrokenPipeError as error:
            raise Failed(f"it ended before '{words[0]}'") from error

    def answer(self, deadline: float, question: str) -> dict[str, Any]:
        until = time.monotonic() + deadline
        while not (line := self._line(until, question)).startswith(b"{"):
            pass  # some libraries greet on standard output
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"'{question}': {answer['error']}")
        return answer

    def _line(self, until: float, question: str) -> bytes:
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise Failed(f"no answer in time to '{question}'")
            chunk = self._output.read(1 << 16)
            if chunk == b"":
                raise Failed(f"it ended during '{question}'")
            self._unread += chunk or b""
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kills its whole process group: what it would do on a good end is not measured."""
        self._selector.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_DEADLINE_S)
        self._output.close()
        with suppress(BrokenPipeError):  # it was told something that it will not hear
            self._input.close()
