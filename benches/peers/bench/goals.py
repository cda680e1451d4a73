"""What Tidemill must reach, as ratios of medians of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .results import Results

US = "tidemill"
PEERS = ("bullmq", "asynq", "sidekiq", "apalis", "celery", "dramatiq", "taskiq", "arq", "rq")


@dataclass(frozen=True)
class Goal:
    title: str
    unit: str
    must: float
    value: Callable[[Results], float | None]
    at_most: bool = False

    @property
    def sign(self) -> str:
        return "≤" if self.at_most else "≥"

    def holds(self, value: float) -> bool:
        return value <= self.must if self.at_most else value >= self.must


def ours(figure: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(US, figure)


def quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def against(figure: str, system: str, of: str = US) -> Callable[[Results], float | None]:
    return lambda results: quotient(results.median(of, figure), results.median(system, figure))


def share(figure: str, other: str) -> Callable[[Results], float | None]:
    """One of our figures as a percentage of another of ours."""

    def value(results: Results) -> float | None:
        whole = quotient(results.median(US, figure), results.median(US, other))
        return whole * 100 if whole else None

    return value


def best(results: Results, *figures: str) -> float | None:
    values = [results.median(peer, figure) for peer in PEERS for figure in figures]
    return max((value for value in values if value), default=None)


def bulk(results: Results) -> float | None:
    mine = [value for figure in ("bulk", "bulk_flights") if (value := results.median(US, figure))]
    return quotient(max(mine, default=None), best(results, "bulk", "bulk_flights"))


def latency(figure: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        peers = [theirs for peer in PEERS if (theirs := results.median(peer, figure))]
        return quotient(results.median(US, figure), min(peers, default=None))

    return value


def http(results: Results) -> float | None:
    whole = quotient(results.median(US, "http"), results.median("bare-http", "http"))
    return whole * 100 if whole else None


def spread(results: Results) -> float | None:
    rates = [results.median(US, f"waiting_{size}") for size in ("10k", "100k", "1m")]
    return (max(rates) / min(rates) - 1) * 100 if all(rates) else None


GOALS = [
    Goal("drain, 100 slots, against BullMQ", "×", 6, against("drain100", "bullmq")),
    Goal("drain, 10 slots, against BullMQ", "×", 5, against("drain10", "bullmq")),
    Goal("enqueue in batches, against the fastest peer", "×", 3, bulk),
    Goal("16 callers, against asynq", "×", 3, against("callers16", "asynq")),
    Goal("256 callers, against asynq", "×", 3, against("callers256", "asynq")),
    Goal("one caller, of bare round trips", "%", 80, ours("single_share")),
    Goal("POST /enqueue, of a handler without a broker", "%", 60, http),
    Goal("idle latency, median, of the best peer's", "×", 1, latency("idle_p50"), at_most=True),
    Goal("idle latency, 99th percentile, of the best peer's", "×", 1, latency("idle_p99"), at_most=True),
    Goal("bytes per waiting task", "B", 260, ours("bytes"), at_most=True),
    Goal("commands per task drained, scripts as one", "", 0.2, ours("commands"), at_most=True),
    Goal("drain with appendfsync everysec, of without", "%", 75, share("drain100_aof", "drain100")),
    Goal("enqueue with appendfsync everysec, of without", "%", 75, share("bulk_aof", "bulk")),
    Goal("drain while events are followed, of without", "%", 75, share("drain100_listened", "drain100")),
    Goal("in a file: enqueue, against huey", "×", 3, against("sqlite_bulk", "huey-sqlite", "tidemill-sqlite")),
    Goal("in a file: drain, against huey", "×", 3, against("sqlite_drain", "huey-sqlite", "tidemill-sqlite")),
    Goal("two workers, of one", "%", 100, share("workers2", "workers1")),
    Goal("four workers, of one", "%", 100, share("workers4", "workers1")),
    Goal("Redis's share of its core, four workers", "%", 90, ours("core4")),
    Goal("spread of drains with 10 k, 100 k, 1 M waiting", "%", 10, spread, at_most=True),
]
