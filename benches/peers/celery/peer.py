"""Celery in the words of the benchmark: `peer.py redis://HOST:PORT`."""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery
from protocol import FILLING, Ids, Tally, serve, versions

app = Celery("bench", broker=sys.argv[1])
app.conf.task_ignore_result = True  # there is no result backend either
app.conf.worker_hijack_root_logger = False
tally = Tally()


@app.task(name="nothing")
def nothing(_filling: str) -> None:
    tally.started()


class Peer:
    def __init__(self) -> None:
        self._ids = Ids()
        self._client: Any = None

    def version(self) -> str:
        return versions("celery", "kombu", "redis")

    def enqueue(self) -> None:
        nothing.apply_async((FILLING,), task_id=self._ids.next())

    def enqueue_batch(self, count: int) -> None:
        """There is no call for many: one producer sends them one after another."""
        with app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                nothing.apply_async((FILLING,), task_id=self._ids.next(), producer=producer)

    def ping(self) -> None:
        self._client = self._client or app.connection_for_write().default_channel.client
        self._client.ping()

    def run_worker(self, slots: int, told: Tally) -> None:
        global tally  # the pool's processes inherit it
        tally = told
        app.Worker(pool="prefork", concurrency=slots, loglevel="ERROR").start()


serve(Peer())
