"""The served endpoint as an evaluation asks it: a key from a file, tries that are counted, and no answer that waits for ever."""

import threading
import time
from typing import Any

import httpx

TRIES = 4
WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 20.0
ANSWER_SECONDS, CONNECT_SECONDS = 600.0, 10.0
"""For a whole answer, and to be connected."""

BUSY = (408, 425, 429)
"""Statuses that are no refusal: it is to be asked again."""

SHOWN = 240
"""Characters of what a server said."""


class Unanswered(Exception):
    """A request got no answer, or a refusal: `status` of the last try, 0 where there was no connection."""

    def __init__(self, what: str, status: int = 0):
        self.what, self.status = what, status
        super().__init__(what)


class Endpoint:
    """One model of an OpenAI-compatible server. Used by several threads.

    `retried` counts requests that were sent again, `given_up` those that got no answer in all their tries; `reason` is why the last of these did not.
    """

    def __init__(self, url: str, key: str | None, model: str, *, requests: int = 8, answer_seconds: float = ANSWER_SECONDS, tries: int = TRIES):
        self.url, self.key, self.model, self.tries, self.answer_seconds = url.rstrip("/"), key, model, tries, answer_seconds
        limits = httpx.Limits(max_connections=requests, max_keepalive_connections=requests)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(headers=headers, limits=limits, timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS), trust_env=False)
        self.retried, self.given_up, self.reason = 0, 0, ""
        self.lock = threading.Lock()

    def close(self) -> None:
        """The connections, once nobody asks any more."""
        self.client.close()

    def complete(self, **body: Any) -> dict[str, Any]:
        """The answer of /completions as JSON. Raises Unanswered."""
        return self._ask("/completions", body)

    def chat(self, **body: Any) -> dict[str, Any]:
        """The answer of /chat/completions as JSON: what a user's client asks. Raises Unanswered."""
        return self._ask("/chat/completions", body)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        said, status = "", 0
        for attempt in range(self.tries):
            if attempt:
                with self.lock:
                    self.retried += 1
                time.sleep(min(LONGEST_WAIT_SECONDS, WAIT_SECONDS * 2 ** (attempt - 1)))
            try:
                answer = self._send(path, {"model": self.model, **body})
            except httpx.RequestError as error:
                said, status = f"{type(error).__name__}: {error}", 0
                continue
            status, said = answer.status_code, answer.text
            if status == 200:
                return self._read(answer)
            if status < 500 and status not in BUSY:
                break
        unanswered = Unanswered(f"HTTP {status}: {self.one_line(said)}" if status else self.one_line(said), status)
        if not status or status >= 500 or status in BUSY:
            with self.lock:
                self.given_up, self.reason = self.given_up + 1, unanswered.what
        raise unanswered

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """One answer, whole. Raises httpx.ReadTimeout for one that takes too long, be it a byte at a time."""
        start, content = time.monotonic(), []
        with self.client.stream("POST", self.url + path, json=body) as answer:
            for part in answer.iter_bytes():
                content.append(part)
                if time.monotonic() - start > self.answer_seconds:
                    raise httpx.ReadTimeout(f"no whole answer after {self.answer_seconds:.0f} s")
            kept = [(name, value) for name, value in answer.headers.multi_items() if name not in ("content-encoding", "content-length", "transfer-encoding")]
            return httpx.Response(answer.status_code, headers=kept, content=b"".join(content), request=answer.request)

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("choices"), list) or not found["choices"]:
            raise Unanswered(f"an answer without choices: {self.one_line(answer.text)}", 200)
        return found

    def one_line(self, text: str) -> str:
        """What a server said, without the key, should it send that back, and without signs that a terminal obeys."""
        text = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
        return (text.replace(self.key, "...") if self.key else text)[:SHOWN]
