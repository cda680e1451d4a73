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
    must: float | None
    """What has to be reached; none where there is only a wish."""
    wish: float | None
    """What would be better still."""
    value: Callable[[Results], float | None]
    at_most: bool = False

    def told(self, value: float) -> str:
        sign = "≤" if self.at_most else "≥"
        bounds = [("must be", self.must), ("wished", self.wish)]
        known = ", ".join(f"{word} {sign} {bound:g}" for word, bound in bounds if bound is not None)
        return f"{self._word(value):8} {self.title}: {value:.2f} {self.unit} ({known})"

    def _word(self, value: float) -> str:
        if self.wish is not None and self._holds(value, self.wish):
            return "better"
        if self.must is None:
            return "below"
        return "reached" if self._holds(value, self.must) else "MISSED"

    def _holds(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound


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
    return max((value for value in values if value is not None), default=None)


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
    sizes = ("10k", "100k", "1m")
    rates = [rate for size in sizes if (rate := results.median(US, f"waiting_{size}"))]
    return (max(rates) / min(rates) - 1) * 100 if len(rates) == len(sizes) else None


def ceiling(figures: tuple[str, ...], of: str) -> Callable[[Results], float | None]:
    """The best of our figures as a percentage of what Redis itself allows."""

    def value(results: Results) -> float | None:
        mine = [value for figure in figures if (value := results.median(US, figure)) is not None]
        part = quotient(max(mine, default=None), results.median("ceiling", of))
        return part * 100 if part else None

    return value


GOALS = [
    Goal("drain, 100 slots, against BullMQ", "×", 6, 12, against("drain100", "bullmq")),
    Goal("drain, 100 slots, of the ceiling", "%", None, 60, ceiling(("drain100",), "drain100")),
    Goal("drain, 10 slots, against BullMQ", "×", 5, 8, against("drain10", "bullmq")),
    Goal("enqueue in batches, against the fastest peer", "×", 3, 5, bulk),
    Goal("enqueue in batches, of the ceiling", "%", None, 80, ceiling(("bulk", "bulk_flights"), "bulk")),
    Goal("16 callers, against asynq", "×", 3, 5, against("callers16", "asynq")),
    Goal("256 callers, against asynq", "×", 3, 5, against("callers256", "asynq")),
    Goal("one caller, of bare round trips", "%", 80, 95, ours("single_share")),
    Goal("POST /enqueue, of a handler without a broker", "%", 60, 80, http),
    Goal("idle latency, median, of the best peer's", "×", 1, 0.7, latency("idle_p50"), at_most=True),
    Goal("idle latency, 99th percentile, of the best peer's", "×", 1, 0.7, latency("idle_p99"), at_most=True),
    Goal("bytes per waiting task", "B", 260, 215, ours("bytes"), at_most=True),
    Goal("commands per task drained, a script as one", "", 0.2, 0.05, ours("commands"), at_most=True),
    Goal("drain with appendfsync everysec, of without", "%", 75, 85, share("drain100_aof", "drain100")),
    Goal("enqueue with appendfsync everysec, of without", "%", 75, 85, share("bulk_aof", "bulk")),
    Goal("in a file: enqueue, against huey", "×", 3, None, against("sqlite_bulk", "huey-sqlite", "tidemill-sqlite")),
    Goal("in a file: drain, against huey", "×", 3, None, against("sqlite_drain", "huey-sqlite", "tidemill-sqlite")),
    Goal("two workers, of one", "%", 100, None, share("workers2", "workers1")),
    Goal("four workers, of one", "%", 100, None, share("workers4", "workers1")),
    Goal("Redis's share of its core, four workers", "%", 90, None, ours("core4")),
    Goal("spread of drains with 10 k, 100 k, 1 M waiting", "%", 10, None, spread, at_most=True),
]
