"""The words of the benchmark (benches/README.md) for systems in Python.

A peer is an object with `enqueue_batch(count)`, `enqueue()`, `ping()`, `version()` and `run_worker(slots, tally)`; the
first three may be coroutines. The worker runs in a process of its own, since some want a main thread.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from typing import Any

FILLING = "x" * 92  # {"p":"…"} has 100 bytes then
forked = multiprocessing.get_context("fork")


class Tally:
    """Counts the handlers that started, in all processes of a worker, and when the first and the last of them did."""

    def __init__(self, tells: bool = False) -> None:
        self._tells = tells
        self._values = forked.Array("Q", 3)  # handled, first, last

    def started(self) -> None:
        now = time.monotonic_ns()  # the machine's monotonic clock: one for all processes
        with self._values.get_lock():
            self._values[0] += 1
            self._values[1] = self._values[1] or now
            self._values[2] = max(self._values[2], now)
        if self._tells:
            tell({"started": now})

    def told(self) -> dict[str, int]:
        with self._values.get_lock():
            return dict(zip(("handled", "first", "last"), self._values, strict=True))


class Ids:
    """Ids of 20 characters, none twice in a process."""

    def __init__(self) -> None:
        self._numbers = count()

    def next(self) -> str:
        return f"task-{next(self._numbers):015}"


def tell(answer: dict[str, Any]) -> None:
    os.write(1, (json.dumps(answer) + "\n").encode())  # one write, so that lines of several processes never mix


def versions(*packages: str) -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([*(f"{package} {version(package)}" for package in packages), f"python {python}"])


def serve(peer: Any) -> None:
    """Serves commands until there are no more. A failure is told and ends nothing: the driver decides."""
    server = Server(peer)
    for line in sys.stdin:
        name, *words = line.split()
        try:
            tell(server.answer(name, words))
        except Exception as error:  # whatever it is, the driver is to know
            tell({"error": f"{type(error).__name__}: {error}"})
    server.end()


class Server:
    def __init__(self, peer: Any) -> None:
        self._peer = peer
        self._tally = Tally()
        self._worker: multiprocessing.process.BaseProcess | None = None
        self._loop = asyncio.new_event_loop()

    def answer(self, name: str, words: list[str]) -> dict[str, Any]:
        peer = self._peer
        match name, words:
            case "hello", []:
                return {"version": peer.version()}
            case "bulk", [tasks, batch, flights]:
                sizes = iter(sizes_of(int(tasks), int(batch)))
                return self._timed(int(flights), -(-int(tasks) // int(batch)), lambda: peer.enqueue_batch(next(sizes)))
            case "callers", [callers, calls]:
                return self._timed(int(callers), int(calls), peer.enqueue)
            case "ping", [calls]:
                return self._timed(1, int(calls), peer.ping)
            case "send", []:
                at = time.monotonic_ns()
                self._once(peer.enqueue())
                return {"at": at}
            case "work", [slots, tells]:
                self._tally = Tally(tells == "tell")
                self._worker = forked.Process(target=peer.run_worker, args=(int(slots), self._tally))
                self._worker.start()
                return {}
            case "handled", []:
                return self._tally.told()
        raise ValueError(f"there is no command '{name}'")

    def _once(self, called: Any) -> None:
        if inspect.isawaitable(called):
            self._loop.run_until_complete(called)

    def _timed(self, callers: int, calls: int, call: Any) -> dict[str, float]:
        """Seconds that `calls` calls take of which so many are under way at a time."""
        numbers = iter(range(calls))
        began = time.perf_counter()
        first = call() if next(numbers, None) is not None else None
        if inspect.isawaitable(first):
            self._loop.run_until_complete(self._asynchronously(callers, numbers, call, first))
        elif callers == 1:
            for _ in numbers:
                call()
        else:
            with ThreadPoolExecutor(callers) as pool:
                for done in [pool.submit(lambda: [call() for _ in numbers]) for _ in range(callers)]:
                    done.result()
        return {"seconds": time.perf_counter() - began}

    async def _asynchronously(self, callers: int, numbers: Any, call: Any, first: Any) -> None:
        async def caller() -> None:
            for _ in numbers:
                await call()

        await first
        await asyncio.gather(*(caller() for _ in range(callers)))

    def end(self) -> None:
        if self._worker:
            self._worker.kill()
            self._worker.join()


def sizes_of(tasks: int, batch: int) -> list[int]:
    return [min(batch, tasks - done) for done in range(0, tasks, batch)]
