"""What is printed: medians, ratios of medians, goals, and what failed."""

from __future__ import annotations

from dataclasses import dataclass

from .results import Results

US = "tidemill"


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    unit: str
    """k/s, /s, ms, B, n (a bare number), µs or %."""
    less_is_better: bool = False


FIGURES = [
    Figure("bulk", "enqueue in batches of 1,000", "k/s"),
    Figure("bulk_flights", "… several batches at a time", "k/s"),
    Figure("callers16", "16 callers, one each", "k/s"),
    Figure("callers256", "256 callers, one each", "k/s"),
    Figure("ping", "one caller: bare round trips", "k/s"),
    Figure("single", "one caller: one by one", "k/s"),
    Figure("single_share", "… of bare round trips", "%"),
    Figure("drain10", "drain, 10 slots", "k/s"),
    Figure("drain100", "drain, 100 slots", "k/s"),
    Figure("drain100_listened", "… while events are followed", "k/s"),
    Figure("bulk_aof", "enqueue, appendfsync everysec", "k/s"),
    Figure("drain100_aof", "drain 100, appendfsync everysec", "k/s"),
    Figure("idle_p50", "idle latency, median", "ms", True),
    Figure("idle_p99", "idle latency, 99th percentile", "ms", True),
    Figure("bytes", "bytes per waiting task", "n", True),
    Figure("commands", "commands per task, scripts as one", "n", True),
    Figure("commands_all", "… with those within scripts", "n", True),
    Figure("redis_us", "Redis time per task drained", "µs", True),
    Figure("workers1", "drain, 1 worker of 100 slots", "k/s"),
    Figure("workers2", "… 2 workers", "k/s"),
    Figure("workers4", "… 4 workers", "k/s"),
    Figure("core1", "Redis's core, 1 worker", "%"),
    Figure("core2", "… 2 workers", "%"),
    Figure("core4", "… 4 workers", "%"),
    Figure("waiting_10k", "drain 100, 10 k waiting", "k/s"),
    Figure("waiting_100k", "… 100 k waiting", "k/s"),
    Figure("waiting_1m", "… 1 M waiting", "k/s"),
    Figure("sqlite_bulk", "in a file: enqueue", "k/s"),
    Figure("sqlite_drain", "in a file: drain", "k/s"),
    Figure("http", "POST /enqueue, 64 connections", "k/s"),
    Figure("http_quiet", "… log level warn", "k/s"),
]
BY_NAME = {figure.name: figure for figure in FIGURES}
NO_RATIO = {"ping", "single_share", "core1", "core2", "core4"}


def short(name: str, value: float | None) -> str:
    """A figure for reading: three digits or so."""
    if value is None:
        return "–"
    unit = BY_NAME[name].unit
    value = value / 1e3 if unit == "k/s" else value
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}"


def render(about: list[str], systems: list[str], results: Results) -> str:
    known = [figure for figure in FIGURES if figure.name in results.names()]
    parts = ["\n".join(about)]
    parts.append(grid("medians", known, systems, lambda figure, system: short(figure.name, results.median(system, figure.name))))
    others = [system for system in systems if system != US]
    if US in systems and others:
        compared = [figure for figure in known if figure.name not in NO_RATIO]
        cells = lambda figure, system: ratio(figure, results, system)  # noqa: E731
        with_any = [figure for figure in compared if any(cells(figure, system) != "–" for system in others)]
        parts.append(grid("Tidemill is so many times better", with_any, others, cells))
    parts.append(goals(results))
    if results.failures:
        lines = [f"  {system}, {scene}: {len(reasons)} ×: {reasons[-1]}" for (system, scene), reasons in results.failures.items()]
        parts.append("failed\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def ratio(figure: Figure, results: Results, system: str) -> str:
    ours, theirs = results.median(US, figure.name), results.median(system, figure.name)
    if not ours or not theirs:
        return "–"
    value = theirs / ours if figure.less_is_better else ours / theirs
    return f"{value:,.0f} ×" if value >= 100 else f"{value:.1f} ×" if value >= 10 else f"{value:.2f} ×"


def grid(title: str, figures: list[Figure], systems: list[str], cell) -> str:
    width = max([len(system) for system in systems] + [9]) + 1
    left = max(len(figure.title) for figure in FIGURES) + 6
    lines = [title.ljust(left) + "".join(system.rjust(width) for system in systems)]
    for figure in figures:
        unit = "" if figure.unit == "n" else figure.unit
        cells = "".join(cell(figure, system).rjust(width) for system in systems)
        lines.append(figure.title.ljust(left - 4) + unit.ljust(4) + cells)
    return "\n".join(lines)


def goals(results: Results) -> str:
    from .goals import GOALS

    lines = []
    for goal in GOALS:
        value = goal.value(results)
        if value is not None:
            word = "reached" if goal.holds(value) else "MISSED"
            lines.append(f"  {word:8} {goal.title}: {value:.2f} {goal.unit} (must {goal.sign} {goal.must:g})")
    return "goals\n" + "\n".join(lines) if lines else ""
