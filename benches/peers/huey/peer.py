"""huey on SQLite in the words of the benchmark: `peer.py sqlite:FOLDER`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from huey import SqliteHuey
from protocol import FILLING, Tally, serve, versions

folder = Path(sys.argv[1].removeprefix("sqlite:"))
folder.mkdir(parents=True, exist_ok=True)
# Durable before it is acknowledged, as Tidemill's embedded store is; huey's own default is not.
huey = SqliteHuey("bench", filename=str(folder / "huey.db"), fsync=True, results=False)
logging.getLogger("huey").setLevel(logging.ERROR)
tally = Tally()


@huey.task()
def nothing(_filling: str) -> None:
    tally.started()


class Peer:
    def version(self) -> str:
        return versions("huey")

    def enqueue(self) -> None:
        nothing(FILLING)

    def enqueue_batch(self, count: int) -> None:
        """There is no call for many."""
        for _ in range(count):
            nothing(FILLING)

    def ping(self) -> None:
        huey.storage.queue_size()

    def run_worker(self, _slots: int, told: Tally) -> None:
        """One thread, as by default: more of them only wait for the file's lock."""
        global tally
        tally = told
        huey.create_consumer(workers=1, periodic=False).run()


serve(Peer())
