"""Runs the rounds and prints what they found.

Round k of every system comes before round k+1 of any, and within a round the systems take turns at each scene, so that
whatever the machine does meanwhile meets all of them alike.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time

from . import machine, table
from .process import Failed
from .results import Results
from .scenes import SCENES
from .server import Server, scratch
from .systems import INSTALLED, SYSTEMS, System

TERMINATED = 128 + signal.SIGTERM


def main() -> int:
    arguments = parse()
    # Ended from outside, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    systems = [system for system in chosen(arguments.peers) if scenes_of(system, arguments.rows)]
    missing = [system.name for system in systems if not system.is_installed()]
    if missing:
        print(f"bench-peers: not installed: {', '.join(missing)}; benches/peers/install does that", file=sys.stderr)
        systems = [system for system in systems if system.is_installed()]
    if not systems:
        print("bench-peers: there is nothing to measure", file=sys.stderr)
        return 2
    if arguments.small:
        systems = [system.less(arguments.small) for system in systems]
    results = Results()
    began = time.monotonic()
    server = Server()
    try:
        results.versions = versions(systems, server, results)
        for number in range(1, arguments.rounds + 1):
            run_round(number, arguments, systems, server, results)
    except KeyboardInterrupt:
        print("bench-peers: ended early; this is what there is", file=sys.stderr)
    finally:
        server.stop()
    about = machine.describe(results.versions, arguments.rounds, time.monotonic() - began)
    print(table.render(about, [system.name for system in systems], results))
    path = INSTALLED / "results.json"
    path.write_text(json.dumps({"about": about, **results.as_json()}, indent=1))
    print(f"\nEvery round's figures: {path}")
    return 0


def parse() -> argparse.Namespace:
    names = ", ".join(system.name for system in SYSTEMS)
    parser = argparse.ArgumentParser(prog="bench-peers", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="", help=f"which systems, all by default: {names}")
    parser.add_argument("--rows", default="", help=f"which scenes, all by default: {', '.join(SCENES)}")
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds; medians are printed")
    parser.add_argument("--small", type=int, default=0, metavar="N", help="an Nth of the work, to see that all runs")
    arguments = parser.parse_args()
    arguments.rows = arguments.rows.replace(",", " ").split() or list(SCENES)
    arguments.peers = arguments.peers.replace(",", " ").split() or [system.name for system in SYSTEMS]
    for kind, named, known in (
        ("system", arguments.peers, [system.name for system in SYSTEMS]),
        ("row", arguments.rows, list(SCENES)),
    ):
        if unknown := [name for name in named if name not in known]:
            parser.error(f"there is no {kind} {', '.join(unknown)}: choose from {', '.join(known)}")
    if arguments.rounds < 1 or arguments.small < 0:
        parser.error("there is at least 1 round, and a fraction is positive")
    return arguments


def chosen(names: list[str]) -> list[System]:
    return [system for system in SYSTEMS if system.name in names]


def scenes_of(system: System, rows: list[str]) -> list[str]:
    return [scene for scene in rows if scene in system.scenes]


def versions(systems: list[System], server: Server, results: Results) -> dict[str, str]:
    """What each system says it is. One that cannot even say that is told of at each of its figures."""
    known = {"redis": server.version()}
    for system in systems:
        if set(system.scenes) <= {"http"}:
            continue
        try:
            with (
                tempfile.TemporaryDirectory(dir=scratch()) as folder,
                system.start(f"sqlite:{folder}" if "sqlite" in system.scenes else server.url) as process,
            ):
                known[system.name] = process.version.removesuffix(f" at {folder}")
        except Failed as failure:
            results.failed(system.name, "start", str(failure))
    return known


def run_round(
    number: int, arguments: argparse.Namespace, systems: list[System], server: Server, results: Results
) -> None:
    for scene in arguments.rows:
        for system in systems:
            if scene not in system.scenes or number > system.rounds_of(scene):
                continue
            began = time.monotonic()
            try:
                figures = SCENES[scene](system, server)
                results.add(system.name, figures)
                told = "  ".join(f"{name} {table.short(name, value)}" for name, value in figures.items())
            except (Failed, OSError, RuntimeError, ZeroDivisionError) as failure:
                results.failed(system.name, scene, str(failure))
                told = f"failed: {failure}"
            took = time.monotonic() - began
            print(f"round {number}  {scene:9} {system.name:15} {took:5.1f} s  {told}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
