"""The process that `auth_request` asks in the comparison: 204 for a key whose hash it knows, 401 for others. `python keys_process.py SOCKET KEY`."""

import asyncio
import hashlib
import hmac
import os
import sys

KNOWN = hashlib.sha256(sys.argv[2].encode()).digest()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One kept-alive connection of nginx."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        line = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization: bearer ")), b"")
        is_known = hmac.compare_digest(hashlib.sha256(line[22:]).digest(), KNOWN)
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"204 No Content" if is_known else b"401 Unauthorized"))


async def main() -> None:
    """Until killed."""
    server = await asyncio.start_unix_server(answer, sys.argv[1])
    os.chmod(sys.argv[1], 0o666)  # noqa: PTH101
    await server.serve_forever()


asyncio.run(main())
