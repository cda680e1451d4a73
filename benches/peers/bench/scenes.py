"""What is measured: each scene takes a system through one piece of work and returns its figures by name."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from .over_http import http
from .process import Failed, Process
from .server import Server, scratch
from .systems import System

Figures = dict[str, float]

ASK_DEADLINE_S = 120
DRAIN_DEADLINE_S = 120
POLL_S = 0.01  # how often a worker is asked how far it is
IDLE_SAMPLES = 100
IDLE_BUDGET_S = 6.0  # those that poll get fewer samples instead of minutes
IDLE_PAUSE_S = (0.005, 0.025)  # long enough to go to sleep; uneven, so that no poller is met in step
IDLE_DEADLINE_S = 60
IDLE_SLOTS = 10
SETTLE_DEADLINE_S = 5
COMMANDS_PART = 4  # MONITOR is slow: a part of the tasks tells the same
WORKERS_TIMES = 4  # several workers drain several times as much, so that their start does not count
GROWTH_SMALL_REPEATS = 5  # a tenth of the tasks is drained in a blink: several blinks make a measurement


@dataclass(frozen=True)
class Drained:
    """What workers did together: from the first start of a handler to the last."""

    handled: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.handled / self.seconds


def drain(workers: list[Process], slots: int, count: int) -> Drained:
    """Lets the workers handle at least `count` tasks together."""
    for worker in workers:
        worker.ask("work", slots, "quiet", deadline=ASK_DEADLINE_S)
    until = time.monotonic() + DRAIN_DEADLINE_S
    while True:
        told = [worker.ask("handled", deadline=ASK_DEADLINE_S) for worker in workers]
        handled = sum(one["handled"] for one in told)
        if handled >= count:
            began = min(one["first"] for one in told if one["handled"])
            ended = max(one["last"] for one in told)
            return Drained(handled, (ended - began) / 1e9)
        if time.monotonic() > until:
            raise Failed(f"handled {handled} of {count} tasks within {DRAIN_DEADLINE_S} s")
        time.sleep(POLL_S)


def preload(system: System, server: Server, flights: int, count: int | None = None) -> Figures:
    """An empty server, and then one on which tasks wait that a process has enqueued in batches."""
    count = count or system.preload
    server.flush()
    before = server.used_memory()
    with system.start(server.url) as producer:
        one_by_one = ["callers", system.bulk_callers, count]
        words = one_by_one if system.bulk_callers else ["bulk", count, system.batch, flights]
        seconds = producer.ask(*words, deadline=ASK_DEADLINE_S)["seconds"]
    wait_for_no_clients(server)
    return {"rate": count / seconds, "bytes": (server.used_memory() - before) / count}


def wait_for_no_clients(server: Server) -> None:
    until = time.monotonic() + SETTLE_DEADLINE_S
    while server.clients() > 0 and time.monotonic() < until:
        time.sleep(0.005)


def settle(system: System, worker: Process, count: int) -> None:
    """What was handled is settled as well: Tidemill's worker can be asked what the store says."""
    until = time.monotonic() + SETTLE_DEADLINE_S
    while system.name.startswith("tidemill"):
        settled = worker.ask("settled", deadline=ASK_DEADLINE_S)["settled"]
        if settled >= count:
            return
        if time.monotonic() > until:
            raise Failed(f"handled {count} tasks, but only {settled} are settled")
        time.sleep(POLL_S)


def drain100(system: System, server: Server) -> Figures:
    loaded = preload(system, server, system.flights)
    with system.start(server.url) as worker:
        cpu, commands_before = server.cpu_seconds(), server.commands()
        drained = drain([worker], 100, system.drain)
        cpu, commands_sent = server.cpu_seconds() - cpu, server.commands() - commands_before
        settle(system, worker, system.drain)
    return {
        "bulk": loaded["rate"],
        "bytes": loaded["bytes"],
        "drain100": drained.rate,
        "redis_us": cpu / drained.handled * 1e6,
        "commands_all": commands_sent / drained.handled,
    }


def drain10(system: System, server: Server) -> Figures:
    loaded = preload(system, server, system.more_flights)
    with system.start(server.url) as worker:
        drained = drain([worker], 10, system.drain)
        settle(system, worker, system.drain)
    figures = {"drain10": drained.rate}
    if system.more_flights > system.flights and not system.bulk_callers:
        figures["bulk_flights"] = loaded["rate"]
    if "drain100" not in system.scenes:
        figures.update(bulk=loaded["rate"], bytes=loaded["bytes"])
    return figures


def aof(system: System, _: Server) -> Figures:
    """On a server of its own, so that its log is new."""
    server = Server(aof="everysec")
    try:
        loaded = preload(system, server, system.flights)
        with system.start(server.url) as worker:
            return {"bulk_aof": loaded["rate"], "drain100_aof": drain([worker], 100, system.drain).rate}
    finally:
        server.stop()


def listened(system: System, server: Server) -> Figures:
    """A drain of 100 slots while another process follows the events, as an API pod does."""
    preload(system, server, system.flights)
    with system.start(server.url) as listener, system.start(server.url) as worker:
        listener.ask("listen", deadline=ASK_DEADLINE_S)
        return {"drain100_listened": drain([worker], 100, system.drain).rate}


def callers(system: System, server: Server) -> Figures:
    figures = {}
    for many in (16, 256):
        server.flush()
        with system.start(server.url) as producer:
            seconds = producer.ask("callers", many, system.calls, deadline=ASK_DEADLINE_S)["seconds"]
            figures[f"callers{many}"] = system.calls / seconds
    return figures


def single(system: System, server: Server) -> Figures:
    server.flush()
    with system.start(server.url) as producer:
        producer.ask("callers", 1, system.single // 10 + 1, deadline=ASK_DEADLINE_S)  # connected, compiled, warm
        ping = system.single / producer.ask("ping", system.single, deadline=ASK_DEADLINE_S)["seconds"]
        rate = system.single / producer.ask("callers", 1, system.single, deadline=ASK_DEADLINE_S)["seconds"]
    return {"ping": ping, "single": rate, "single_share": rate / ping * 100}


def idle(system: System, server: Server) -> Figures:
    """Milliseconds from an enqueue in one process to the start of the handler in another that has nothing to do."""
    server.flush()
    samples: list[float] = []
    with system.start(server.url) as worker, system.start(server.url) as producer:
        worker.ask("work", IDLE_SLOTS, "tell", deadline=ASK_DEADLINE_S)
        until = time.monotonic() + IDLE_BUDGET_S
        while len(samples) <= IDLE_SAMPLES and (not samples or time.monotonic() < until):
            time.sleep(random.uniform(*IDLE_PAUSE_S))
            sent = producer.ask("send", deadline=ASK_DEADLINE_S)["at"]
            started = worker.answer(IDLE_DEADLINE_S, "start of the handler")["started"]
            samples.append((started - sent) / 1e6)
    samples = sorted(samples[1:] or samples)  # the first finds everything cold, but is all that a slow poller gives
    return {"idle_p50": samples[len(samples) // 2], "idle_p99": samples[math.ceil(len(samples) * 0.99) - 1]}


def commands(system: System, server: Server) -> Figures:
    """Commands that clients send per task drained under load: a script call is one. MONITOR counts, so time does not."""
    waiting, drained = system.preload // COMMANDS_PART, system.drain // COMMANDS_PART
    preload(system, server, system.flights, waiting)
    with system.start(server.url) as worker:
        monitor = server.monitor()
        drain([worker], 100 if "drain100" in system.scenes else 10, drained)
        handled = worker.ask("handled", deadline=ASK_DEADLINE_S)["handled"]
        return {"commands": monitor.count() / handled}


def workers(system: System, server: Server) -> Figures:
    """One, two and four worker processes of 100 slots on one queue, and the share of its core that Redis takes."""
    figures = {}
    for many in (1, 2, 4):
        preload(system, server, system.more_flights, system.drain * WORKERS_TIMES)
        with ExitStack() as stack:
            processes = [stack.enter_context(system.start(server.url)) for _ in range(many)]
            cpu, began = server.cpu_seconds(), time.monotonic()
            figures[f"workers{many}"] = drain(processes, 100, system.drain * WORKERS_TIMES).rate
            figures[f"core{many}"] = (server.cpu_seconds() - cpu) / (time.monotonic() - began) * 100
    return figures


def growth(system: System, server: Server) -> Figures:
    """The rate of a drain by how many tasks wait when it begins."""
    small, large = system.preload // 10, system.preload * 10
    bits = [drained_of(system, server, small) for _ in range(GROWTH_SMALL_REPEATS)]
    return {
        "waiting_10k": sum(bit.handled for bit in bits) / sum(bit.seconds for bit in bits),
        "waiting_100k": drained_of(system, server, system.preload).rate,
        "waiting_1m": drained_of(system, server, large).rate,
    }


def drained_of(system: System, server: Server, waiting: int) -> Drained:
    preload(system, server, system.more_flights, waiting)
    with system.start(server.url) as worker:
        return drain([worker], 100, min(waiting, system.drain))


def sqlite(system: System, _: Server) -> Figures:
    """A queue in a file: one process enqueues, then drains, since an embedded store has but one."""
    folder = tempfile.mkdtemp(prefix="sqlite-", dir=scratch())
    try:
        with system.start(f"sqlite:{folder}") as both:
            seconds = both.ask("bulk", system.preload, system.batch, system.more_flights, deadline=ASK_DEADLINE_S)[
                "seconds"
            ]
            drained = drain([both], 100, system.drain)
            settle(system, both, system.drain)
        return {"sqlite_bulk": system.preload / seconds, "sqlite_drain": drained.rate}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


SCENES: dict[str, Callable[[System, Server], Figures]] = {
    scene.__name__: scene
    for scene in (drain100, drain10, aof, callers, single, idle, commands, listened, workers, growth, sqlite, http)
}
