"""What is compared: how each system is started, and how much of each work it is given.

The counts are chosen so that a measurement takes about a second or more, and none much longer than five; rates hardly
depend on them. What a system cannot do it leaves out of `scenes`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .process import Process

HERE = Path(__file__).resolve().parents[1]
TARGET = HERE.parents[1] / "target"
INSTALLED = TARGET / "peers"

PYTHON_ENVIRONMENT = {"PYTHONPATH": str(HERE / "python"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
ALL_SCENES = ("drain100", "drain10", "aof", "callers", "single", "idle", "commands")


@dataclass(frozen=True)
class System:
    name: str
    command: tuple[str, ...]
    scenes: tuple[str, ...] = ALL_SCENES
    preload: int = 100_000
    """How many tasks wait before a drain."""
    drain: int = 30_000
    """How many of them are drained."""
    batch: int = 1_000
    """Tasks in a batch."""
    flights: int = 1
    """Batches under way at a time in the first row of batches."""
    more_flights: int = 8
    """And in the second; 1 where the client has no use for more."""
    bulk_callers: int = 0
    """Callers instead of batches, where a system has no call for many."""
    single: int = 2_000
    """Calls of one caller."""
    calls: int = 20_000
    """Calls of 16 or 256 callers."""
    idle_rounds: int = sys.maxsize
    """In how many rounds idle latency is measured: one is enough where it is half a minute each time."""

    def start(self, url: str) -> Process:
        return Process([*self.command, url], PYTHON_ENVIRONMENT)

    def rounds_of(self, scene: str) -> int:
        return self.idle_rounds if scene == "idle" else sys.maxsize

    def is_installed(self) -> bool:
        return all(Path(word).exists() for word in self.command if word.startswith("/"))

    def less(self, divisor: int) -> System:
        """The same with a fraction of the work, to see whether everything runs."""
        parts = ("preload", "drain", "single", "calls")
        return System(**{**self.__dict__, **{part: max(getattr(self, part) // divisor, 20) for part in parts}})


def rust(name: str) -> tuple[str, ...]:
    return (str(INSTALLED / "rust" / "release" / f"peer-{name}"),)


def python(name: str) -> tuple[str, ...]:
    return (str(INSTALLED / name / "bin" / "python"), str(HERE / name / "peer.py"))


TIDEMILL_PEER = str(Path(os.environ.get("TIDEMILL_PEER", TARGET / "release" / "tidemill-peer")))
TIDEMILL = str(Path(os.environ.get("TIDEMILL", TARGET / "release" / "tidemill")))
BARE_HTTP = str(Path(TIDEMILL_PEER).with_name("bare-http"))

PYTHON_SCENES = ("drain10", "single", "idle")
SYSTEMS = [
    System(
        "tidemill",
        (TIDEMILL_PEER,),
        (*ALL_SCENES, "listened", "workers", "growth", "http"),
        drain=100_000,
        single=5_000,
        calls=100_000,
    ),
    System(
        "ceiling",
        rust("ceiling"),
        ("drain100", "aof", "single", "commands"),
        drain=100_000,
        batch=100,
        flights=8,
        single=5_000,
    ),
    System("bullmq", ("node", str(INSTALLED / "bullmq" / "peer.mjs")), more_flights=1),
    System("asynq", (str(INSTALLED / "asynq" / "asynq"),), drain=20_000, bulk_callers=16),
    System("sidekiq", rust("rusty-sidekiq"), bulk_callers=16),
    # Its fetch fails where more than about 7,000 tasks are due, and an idle worker looks every 30 s.
    System("apalis", rust("apalis-redis"), preload=6_000, drain=5_500, idle_rounds=1),
    System("celery", python("celery"), scenes=(*PYTHON_SCENES, "commands"), preload=6_000, drain=3_000, more_flights=1),
    System("dramatiq", python("dramatiq"), scenes=PYTHON_SCENES, preload=10_000, drain=8_000, more_flights=1),
    System(
        "taskiq", python("taskiq"), scenes=(*PYTHON_SCENES, "drain100"), preload=10_000, drain=8_000, more_flights=1
    ),
    System("arq", python("arq"), scenes=PYTHON_SCENES, preload=4_000, drain=500, more_flights=1),
    System("rq", python("rq"), scenes=PYTHON_SCENES, preload=4_000, drain=300, more_flights=1),
    System("tidemill-sqlite", (TIDEMILL_PEER,), ("sqlite",), drain=100_000),
    System("huey-sqlite", python("huey"), scenes=("sqlite",), preload=4_000, drain=3_000),
    System("bare-http", (BARE_HTTP,), ("http",)),
]
