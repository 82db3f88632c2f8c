"""The content store of an agent: section "Content" of protocols/SPEC.md."""

from __future__ import annotations

import hashlib

import codec1 as c1
import messages as m
from swarm_client import Session


def named(content: bytes) -> tuple[int, ...]:
    return m.content_hash(hashlib.sha256(content).digest())


class ContentStore:
    def __init__(self) -> None:
        self.content: dict[tuple[int, ...], bytes] = {}

    def expose(self, session: Session) -> None:
        handlers = {"store-content": self.store_content, "missing-content": self.missing_content}
        session.expose("content-store", "content-store", handlers, through_coordinator=["operator"])

    async def store_content(self, payload: bytes) -> bytes:
        content = c1.decoded(m.STORE_CONTENT, payload).content
        self.content[named(content)] = content
        return c1.encoded(m.CONTENT_HASH, named(content))

    async def missing_content(self, payload: bytes) -> bytes:
        hashes = c1.decoded(m.MISSING_CONTENT, payload).hashes
        return c1.encoded(m.HASHES, sorted({name for name in hashes if name not in self.content}))
