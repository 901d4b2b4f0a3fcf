"""Streams of completions against an OpenAI server: tokens a second and the time to the first one.

Prompts are token ids, random and different each, so that no prefix is cached; answers have a fixed length. Needs aiohttp.
"""

import asyncio
import json
import random
import statistics
import time

import aiohttp

PROMPT, ANSWER = 512, 128
"""Tokens."""


async def one(session: aiohttp.ClientSession, url: str, rng: random.Random) -> tuple[float, int]:
    """Seconds to the first token, and tokens of the answer as the server counts them."""
    body = {
        "model": "m", "prompt": [rng.randrange(1000, 60000) for _ in range(PROMPT)], "max_tokens": ANSWER, "ignore_eos": True, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first, counted = time.perf_counter(), 0.0, 0
    async with session.post(url + "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            first = first or time.perf_counter() - began
            usage = json.loads(line[6:]).get("usage")
            counted = usage["completion_tokens"] if usage else counted
    return first, counted


async def measure(url: str, streams: int, requests: int, seed: int = 1) -> dict[str, float | int]:
    """`requests` answers, `streams` at once."""
    rng, gate = random.Random(seed), asyncio.Semaphore(streams)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def held() -> tuple[float, int]:
            async with gate:
                return await one(session, url, rng)

        began = time.perf_counter()
        found = await asyncio.gather(*(held() for _ in range(requests)))
        seconds = time.perf_counter() - began
    firsts = sorted(first for first, _ in found)
    tokens = sum(counted for _, counted in found)
    return {
        "streams": streams, "requests": requests, "out_tokens": tokens, "seconds": round(seconds, 2), "out_tokens_per_second": round(tokens / seconds, 1),
        "ttft_p50_ms": round(1000 * statistics.median(firsts), 1), "ttft_p99_ms": round(1000 * firsts[int(0.99 * (len(firsts) - 1))], 1),
    }  # fmt: skip
