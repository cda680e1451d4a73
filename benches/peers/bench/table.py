"""What is printed: medians, ratios of medians, goals, and what failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .goals import GOALS
from .results import Results

US = "tidemill"
NOTHING = "–"
TITLE_WIDTH = 38
UNIT_WIDTH = 4


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    unit: str
    """k/s, ms, µs, % or n, a bare number."""
    less_is_better: bool = False


GROUPS: dict[str, list[Figure]] = {
    "side by side": [
        Figure("bulk", "enqueue in batches of 1,000", "k/s"),
        Figure("bulk_flights", "… several batches at a time", "k/s"),
        Figure("callers16", "16 callers, one each", "k/s"),
        Figure("callers256", "256 callers, one each", "k/s"),
        Figure("ping", "one caller: bare round trips", "k/s"),
        Figure("single", "one caller: one by one", "k/s"),
        Figure("single_share", "… of bare round trips", "%"),
        Figure("drain10", "drain, 10 slots", "k/s"),
        Figure("drain100", "drain, 100 slots", "k/s"),
        Figure("bulk_aof", "enqueue, appendfsync everysec", "k/s"),
        Figure("drain100_aof", "drain 100, appendfsync everysec", "k/s"),
        Figure("idle_p50", "idle latency, median", "ms", True),
        Figure("idle_p99", "idle latency, 99th percentile", "ms", True),
        Figure("bytes", "bytes per waiting task", "n", True),
        Figure("commands", "commands per task, a script as one", "n", True),
        Figure("commands_all", "… with those within scripts", "n", True),
        Figure("redis_us", "Redis time per task drained", "µs", True),
    ],
    "Tidemill alone": [
        Figure("drain100_listened", "drain 100 while events are followed", "k/s"),
        Figure("workers1", "drain, 1 worker of 100 slots", "k/s"),
        Figure("workers2", "… 2 workers", "k/s"),
        Figure("workers4", "… 4 workers", "k/s"),
        Figure("core1", "Redis's share of its core, 1 worker", "%"),
        Figure("core2", "… 2 workers", "%"),
        Figure("core4", "… 4 workers", "%"),
        Figure("waiting_10k", "drain 100, 10 k waiting", "k/s"),
        Figure("waiting_100k", "… 100 k waiting", "k/s"),
        Figure("waiting_1m", "… 1 M waiting", "k/s"),
    ],
    "in a file (SQLite)": [
        Figure("sqlite_bulk", "enqueue", "k/s"),
        Figure("sqlite_drain", "drain", "k/s"),
    ],
    "over HTTP": [
        Figure("http", "POST /enqueue, 64 connections", "k/s"),
        Figure("http_quiet", "… with log level warn", "k/s"),
    ],
}
FIGURES = [figure for group in GROUPS.values() for figure in group]
BY_NAME = {figure.name: figure for figure in FIGURES}
NO_RATIO = {"ping", "single_share"}


def short(name: str, value: float | None) -> str:
    """A figure for reading: three digits or so."""
    if value is None:
        return NOTHING
    unit = BY_NAME[name].unit
    value = value / 1e3 if unit == "k/s" else value
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}"


def render(about: list[str], systems: list[str], results: Results) -> str:
    parts = ["\n".join(about)]
    for title, figures in GROUPS.items():
        parts.append(grid(title, figures, systems, lambda figure, system: told(figure, results, system)))
    compared = [figure for figure in GROUPS["side by side"] if figure.name not in NO_RATIO]
    others = [system for system in systems if system != US]
    title = "Tidemill is so many times better"
    parts.append(grid(title, compared, others, lambda figure, system: ratio(figure, results, system)))
    parts.append(goals(results))
    if results.failures:
        counted = [(*what, len(reasons), reasons[-1]) for what, reasons in results.failures.items()]
        lines = [f"  {system}, {scene}: {count} ×: {reason}" for system, scene, count, reason in counted]
        parts.append("failed\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def told(figure: Figure, results: Results, system: str) -> str:
    return short(figure.name, results.median(system, figure.name))


def ratio(figure: Figure, results: Results, system: str) -> str:
    ours, theirs = results.median(US, figure.name), results.median(system, figure.name)
    if not ours or not theirs:
        return NOTHING
    value = theirs / ours if figure.less_is_better else ours / theirs
    return f"{value:,.0f} ×" if value >= 100 else f"{value:.1f} ×" if value >= 10 else f"{value:.2f} ×"


def grid(title: str, figures: list[Figure], systems: list[str], cell: Callable[[Figure, str], str]) -> str:
    """A table without the rows and columns in which there is nothing."""
    cells = {(figure.name, system): cell(figure, system) for figure in figures for system in systems}
    figures = [figure for figure in figures if any(cells[figure.name, system] != NOTHING for system in systems)]
    systems = [system for system in systems if any(cells[figure.name, system] != NOTHING for figure in figures)]
    if not figures:
        return ""
    columns = {system: [cells[figure.name, system] for figure in figures] for system in systems}
    widths = {system: max(map(len, [system, *column])) + 2 for system, column in columns.items()}
    lines = [title.ljust(TITLE_WIDTH + UNIT_WIDTH) + "".join(system.rjust(widths[system]) for system in systems)]
    for figure in figures:
        unit = "" if figure.unit == "n" else figure.unit
        row = "".join(cells[figure.name, system].rjust(widths[system]) for system in systems)
        lines.append(figure.title.ljust(TITLE_WIDTH) + unit.ljust(UNIT_WIDTH) + row)
    return "\n".join(lines)


def goals(results: Results) -> str:
    values = [(goal, goal.value(results)) for goal in GOALS]
    lines = [f"  {goal.told(value)}" for goal, value in values if value is not None]
    return "goals\n" + "\n".join(lines) if lines else ""
