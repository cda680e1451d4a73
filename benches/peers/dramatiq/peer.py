"""dramatiq in the words of the benchmark: `peer.py redis://HOST:PORT`."""

from __future__ import annotations

import sys
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from protocol import FILLING, Tally, serve, versions

broker = RedisBroker(url=sys.argv[1])
dramatiq.set_broker(broker)
tally = Tally()


@dramatiq.actor
def nothing(_filling: str) -> None:
    tally.started()


class Peer:
    def version(self) -> str:
        return versions("dramatiq", "redis")

    def enqueue(self) -> None:
        nothing.send(FILLING)

    def enqueue_batch(self, count: int) -> None:
        """There is no call for many."""
        for _ in range(count):
            nothing.send(FILLING)

    def ping(self) -> None:
        broker.client.ping()

    def run_worker(self, slots: int, told: Tally) -> None:
        global tally
        tally = told
        dramatiq.Worker(broker, worker_threads=slots).start()
        threading.Event().wait()  # until it is killed


serve(Peer())
