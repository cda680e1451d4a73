"""Where the figures come from."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone


def describe(versions: dict[str, str], rounds: int, seconds: float) -> list[str]:
    now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    machine = f"{cpu()}, {os.cpu_count()} cores, Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the end"
    redis = f"Redis {versions.get('redis', '?')} on loopback without persistence"
    return [
        f"{now}, {machine}",
        f"{redis}, medians of {rounds} interleaved rounds, {seconds / 60:.0f} minutes",
        *(f"{name}: {version}" for name, version in versions.items() if name != "redis"),
    ]


def cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
