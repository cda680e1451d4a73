"""RQ in the words of the benchmark: `peer.py redis://HOST:PORT`."""

from __future__ import annotations

import sys

import tasks
from protocol import FILLING, Ids, Tally, serve, versions
from redis import Redis
from rq import Queue, Worker

connection = Redis.from_url(sys.argv[1])
queue = Queue("bench", connection=connection)
NO_RESULT = {"result_ttl": 0}


class Peer:
    def __init__(self) -> None:
        self._ids = Ids()

    def version(self) -> str:
        return versions("rq", "redis")

    def enqueue(self) -> None:
        queue.enqueue_call(tasks.nothing, (FILLING,), job_id=self._ids.next(), **NO_RESULT)

    def enqueue_batch(self, count: int) -> None:
        ids = [self._ids.next() for _ in range(count)]
        queue.enqueue_many([Queue.prepare_data(tasks.nothing, (FILLING,), job_id=id, **NO_RESULT) for id in ids])

    def ping(self) -> None:
        connection.ping()

    def run_worker(self, _slots: int, tally: Tally) -> None:
        """One job at a time, each in a process that is forked for it: RQ's default worker has no slots."""
        tasks.tally = tally
        Worker([queue], connection=connection).work(logging_level="ERROR")


serve(Peer())
