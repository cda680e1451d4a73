"""arq in the words of the benchmark: `peer.py redis://HOST:PORT`."""

from __future__ import annotations

import asyncio
import sys

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func
from protocol import FILLING, Ids, Tally, serve, versions

settings = RedisSettings.from_dsn(sys.argv[1])


class Peer:
    def __init__(self) -> None:
        self._ids = Ids()
        self._pool: ArqRedis | None = None

    def version(self) -> str:
        return versions("arq", "redis")

    async def _connected(self) -> ArqRedis:
        self._pool = self._pool or await create_pool(settings)
        return self._pool

    async def enqueue(self) -> None:
        await (await self._connected()).enqueue_job("nothing", FILLING, _job_id=self._ids.next())

    async def enqueue_batch(self, count: int) -> None:
        """There is no call for many."""
        for _ in range(count):
            await self.enqueue()

    async def ping(self) -> None:
        await (await self._connected()).ping()

    def run_worker(self, slots: int, tally: Tally) -> None:
        async def nothing(_context: dict, _filling: str) -> None:
            tally.started()

        async def work() -> None:
            functions = [func(nothing, name="nothing", keep_result=0)]
            await Worker(functions, redis_settings=settings, max_jobs=slots, handle_signals=False).async_run()

        asyncio.run(work())


serve(Peer())
