"""Asks several places in turn and writes how long each answer took. Standard library only: it runs in the gateway's image.

python load.py PLAN    a JSON document: places (name, host, port, path, key), body, connections, requests, rounds. Prints JSON.

A round goes through all places, in an order that turns with each round, so that what else the machine does meets all of them alike. A place is
asked `requests` times over `connections` connections that stay open.
"""

import asyncio
import json
import sys
import time
from typing import Any


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, place: dict[str, Any], body: bytes):
        self.place = place
        head = f"POST {place['path']} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {place['key']}\r\nContent-Type: application/json\r\n"
        self.request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def open(self) -> "Connection":
        """Connected."""
        self.reader, self.writer = await asyncio.open_connection(self.place["host"], self.place["port"])
        return self

    async def ask(self) -> tuple[float, float]:
        """Seconds to the first byte and to the last of one answer, which must be a 200."""
        start = time.perf_counter()
        self.writer.write(self.request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first = time.perf_counter() - start
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{self.place['name']}: {head.decode()}")
        lines = head.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            while size := int((await self.reader.readline()).strip(), 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readline()
        else:
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
            await self.reader.readexactly(length)
        return first, time.perf_counter() - start


async def batch(place: dict[str, Any], body: bytes, connections: int, requests: int) -> dict[str, Any]:
    """One place once."""
    opened = await asyncio.gather(*(Connection(place, body).open() for _ in range(connections)))
    left = iter(range(requests))
    found: list[tuple[float, float]] = []

    async def work(connection: Connection) -> None:
        for _ in left:
            found.append(await connection.ask())
        connection.writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in opened))
    return {"place": place["name"], "seconds": time.perf_counter() - start, "first": [f for f, _ in found], "whole": [w for _, w in found]}


async def main(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All rounds, after one of each place that is not counted."""
    body = json.dumps(plan["body"]).encode()
    places = plan["places"]
    for place in places:
        await batch(place, body, plan["connections"], min(plan["requests"], 2 * plan["connections"]))
    found = []
    for at in range(plan["rounds"]):
        for place in places[at % len(places) :] + places[: at % len(places)]:
            found.append({"round": at, **await batch(place, body, plan["connections"], plan["requests"])})
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
