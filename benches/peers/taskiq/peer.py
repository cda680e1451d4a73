"""taskiq on Redis streams in the words of the benchmark: `peer.py redis://HOST:PORT`."""

from __future__ import annotations

import asyncio
import sys

from protocol import FILLING, Ids, Tally, serve, versions
from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(sys.argv[1])
tally = Tally()


@broker.task(task_name="nothing")
async def nothing(_filling: str) -> None:
    tally.started()


class Peer:
    def __init__(self) -> None:
        self._ids = Ids()
        self._started = False

    def version(self) -> str:
        return versions("taskiq", "taskiq-redis", "redis")

    async def enqueue(self) -> None:
        if not self._started:
            await broker.startup()
            self._started = True
        await nothing.kicker().with_task_id(self._ids.next()).kiq(FILLING)

    async def enqueue_batch(self, count: int) -> None:
        """There is no call for many."""
        for _ in range(count):
            await self.enqueue()

    async def ping(self) -> None:
        async with Redis(connection_pool=broker.connection_pool) as client:
            await client.ping()

    def run_worker(self, slots: int, told: Tally) -> None:
        global tally
        tally = told

        async def work() -> None:
            broker.is_worker_process = True
            await run_receiver_task(broker, max_async_tasks=slots, run_startup=True)

        asyncio.run(work())


serve(Peer())
