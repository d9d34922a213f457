"""The lead of a duty as a process keeps it: what a script has refused, and what not."""

from __future__ import annotations

import asyncio

from taskq.producer.scheduler.leadership import Leadership
from taskq.registry.keys import Keys
from taskq.registry.runtime.server import Server
from taskq.registry.settings import Settings


def test_a_lead_that_was_got_anew_is_kept_when_a_script_refuses_the_one_of_before(settings: Settings, keys: Keys) -> None:
    async def course() -> None:
        server, changed = Server(settings, keys), asyncio.Event()
        lead = Leadership(server, keys.scheduler_lease, "s1", changed.set)
        lead.start()
        try:
            async with asyncio.timeout(10):
                # Given a process that was stopped for longer than its lease, amid a tick, and has got a new lead at once
                await lead.held()
                earlier = lead.value
                changed.clear()
                await server.redis.delete(keys.scheduler_lease)
                lead.poke()
                await changed.wait()
                # When the tick's script is refused, which knew the earlier lead
                later = lead.value
                assert later not in ("", earlier)
                lead.lost(earlier)
                assert lead.value == later, "otherwise nobody leads until the lease that we have ends"
                lead.lost(later)
                assert not lead.leads
        finally:
            await lead.resign()
            await server.close()

    asyncio.run(course())
