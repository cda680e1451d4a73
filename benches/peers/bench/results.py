"""The figures of all rounds."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any


class Results:
    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._rounds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.failures: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, system: str, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._rounds[system, name].append(value)

    def failed(self, system: str, scene: str, reason: str) -> None:
        self.failures[system, scene].append(reason)

    def median(self, system: str, figure: str) -> float | None:
        values = self._rounds.get((system, figure))
        return median(values) if values else None

    def names(self) -> set[str]:
        return {name for _, name in self._rounds}

    def as_json(self) -> dict[str, Any]:
        rounds: dict[str, dict[str, list[float]]] = defaultdict(dict)
        for (system, name), values in self._rounds.items():
            rounds[system][name] = values
        failures = {f"{system} {scene}": reasons for (system, scene), reasons in self.failures.items()}
        return {"versions": self.versions, "rounds": rounds, "failures": failures}
