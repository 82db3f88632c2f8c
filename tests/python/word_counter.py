"""An agent of an own task kind: it counts the words of texts for operators, through any coordinator.

``word_counter.py IDENTITY HUB ADDRESS`` works until SIGTERM, which drains it. The coordinator knows nothing of words:
it hands over parts of tasks that name the protocol ``word-counter``, and the texts that they are about.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import codec1 as c1
import messages as m
from codec1 import Variant
from content_store import ContentStore
from swarm_client import HandlerFailed, Identity, Session, connect, greeting


@dataclass(frozen=True)
class CountWords:
    text: tuple[int, ...]


COUNT_WORDS = c1.Struct(CountWords, text=m.CONTENT_HASH)


class WordCounter:
    def __init__(self) -> None:
        self.store = ContentStore()

    def expose(self, session: Session) -> None:
        self.store.expose(session)
        handlers = {"count-words": self.count_words}
        session.expose("words", "word-counter", handlers, through_coordinator=["operator"])

    async def count_words(self, payload: bytes) -> bytes:
        name = c1.decoded(COUNT_WORDS, payload).text
        text = self.store.content.get(name)
        if text is None:
            raise HandlerFailed(c1.encoded(m.PART_ERROR, Variant("MissingInputs", ([name],))))
        return c1.encoded(c1.U64, len(text.decode().split()))


async def work(folder: Path, hub: str, address: tuple[str, int]) -> None:
    identity, counter = Identity.load(folder), WordCounter()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    hello = greeting(identity.id, agent_type="counting")
    async with connect(address, identity, hub, hello=hello, expose=counter.expose) as session:
        await stop.wait()
        await session.drain()


if __name__ == "__main__":
    _, folder, hub, address = sys.argv
    host, _, port = address.rpartition(":")
    asyncio.run(work(Path(folder), hub, (host, int(port))))
