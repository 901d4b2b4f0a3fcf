"""An OpenAI-compatible server that has a teacher: requests with a key from a file, tries again, and words for what goes wrong."""

import threading
import time
from pathlib import Path
from typing import Any

import httpx

from schemas.answers_job import Reach
from schemas.errors import GateRefused, MachineError, StepFailed, UsageError

TRIES = 9
WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
"""The first wait, doubled each time: three minutes in all, as long as a server takes to start anew."""

ANSWER_SECONDS, CONNECT_SECONDS = 600.0, 10.0
"""For a whole answer, and to be connected."""

ANSWER_BYTES = 2**30
"""No answer is larger: a row of 131,072 tokens with 64 named at each takes half of it."""

SHOWN = 240
"""Characters of what a server said."""

BUSY = (408, 425, 429)
"""Answers that are no refusal: it is to be asked again."""


class Declined(GateRefused):
    """The server does not take a request as it is; `said` is what it answered."""

    def __init__(self, where: str, status: int, said: str):
        self.said = f"{status}: {said}" if said else str(status)
        super().__init__(f"{where} answers {self.said}", "look at the server's log")


class TeacherEndpoint:
    """One model of one server. Used by several threads; `end` lets those that wait give up."""

    def __init__(self, reach: Reach, teacher: str):
        self.url, self.teacher, self.key_file = reach.url, teacher, reach.key_file
        self.key = read_key(Path(reach.key_file))
        limits = httpx.Limits(max_connections=reach.requests, max_keepalive_connections=reach.requests)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.client = httpx.Client(headers=headers, limits=limits, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))
        self.stop = threading.Event()

    def end(self) -> None:
        """No further try."""
        self.stop.set()

    def close(self) -> None:
        """The connections, once nobody asks any more."""
        self.client.close()

    def models(self) -> list[dict[str, Any]]:
        """What the server says that it serves; empty where it does not say."""
        try:
            found = self._send("GET", "/models", None)
        except (Declined, UsageError):
            return []
        data = found.get("data")
        return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []

    def complete(self, **body: Any) -> dict[str, Any]:
        """The first choice of a completion, with no chance in it. Raises Declined for a request that the server does not take."""
        found = self._send("POST", "/completions", {"model": self.teacher, "max_tokens": 1, "temperature": 0, **body})
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise Declined(f"{self.url}/completions", 200, "an answer without choices")
        return choices[0]

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        start, said = time.monotonic(), ""
        for attempt in range(TRIES):
            if attempt and self.stop.wait(min(LONGEST_WAIT_SECONDS, WAIT_SECONDS * 2 ** (attempt - 1))):
                break
            try:
                answer = self._answer(method, path, body)
            except httpx.InvalidURL as error:
                raise UsageError(f"method.endpoint: {self.url} is no address: {error}", "write it as clients of OpenAI do: http://HOST:PORT/v1") from None
            except httpx.RequestError as error:
                said = self.one_line(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code < 500 and answer.status_code not in BUSY:
                return self._judge(answer, path)
            said = f"{answer.status_code}: {self._message(answer)}"
        raise StepFailed(
            f"{self.url}{path} does not answer ({said}): tried {TRIES} times in {time.monotonic() - start:.0f} s",
            "see that the server is up and can be reached from here; the same command goes on where this one stopped",
        )

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """One answer, whole. Raises httpx.ReadTimeout for one that takes too long, be it a byte at a time, and Declined for one without an end."""
        start, content, size = time.monotonic(), [], 0
        with self.client.stream(method, self.url + path, json=body) as answer:
            for part in answer.iter_bytes():
                content.append(part)
                size += len(part)
                if size > ANSWER_BYTES:
                    raise Declined(f"{self.url}{path}", answer.status_code, f"more than {ANSWER_BYTES / 2**20:,.0f} MiB")
                if time.monotonic() - start > ANSWER_SECONDS:
                    raise httpx.ReadTimeout(f"no whole answer after {ANSWER_SECONDS:.0f} s")
                if self.stop.is_set():
                    raise httpx.ReadError("given up")
            # What came is decoded already: its encoding says nothing of these bytes any more.
            kept = [(name, value) for name, value in answer.headers.multi_items() if name not in ("content-encoding", "content-length", "transfer-encoding")]
            return httpx.Response(answer.status_code, headers=kept, content=b"".join(content), request=answer.request)

    def _judge(self, answer: httpx.Response, path: str) -> dict[str, Any]:
        """The JSON of an answer; raises what a refusal stands for."""
        if answer.status_code in (401, 403):
            what = f"the key in {self.key_file} is not valid there" if self.key else f"it wants a key, and {self.key_file} holds none"
            raise MachineError(
                f"{self.url} answers {answer.status_code}: {what}",
                "write the key alone into a file and run with TEACHER_KEY_FILE=FILE and compose/teacher.yaml",
            )
        if answer.status_code == 404:
            raise UsageError(
                f"method.endpoint: {self.url}{path} answers 404: {self._message(answer)}",
                "write the address as clients of OpenAI do, with /v1 at its end, and as teacher_name what the server calls its model",
            )
        if answer.has_redirect_location:
            there = self.one_line(answer.headers["location"])
            raise UsageError(
                f"method.endpoint: {self.url}{path} is sent on to {there}",
                "write the address that answers itself: rows and the key go nowhere else than where the spec says",
            )
        if answer.status_code != 200:
            raise Declined(f"{self.url}{path}", answer.status_code, self._message(answer))
        found = _json(answer)
        if not isinstance(found, dict):
            raise Declined(f"{self.url}{path}", 200, f"something else than a JSON object: {self.one_line(answer.text)}")
        return found

    def _message(self, answer: httpx.Response) -> str:
        """What the server says is wrong."""
        found = _json(answer)
        if found is None:
            return self.one_line(answer.text)
        error = found.get("error", found) if isinstance(found, dict) else found
        told = error.get("message", error) if isinstance(error, dict) else error
        return self.one_line(str(told))

    def one_line(self, text: str) -> str:
        """What a server said as a terminal takes it: without the key, should it send that back, and without signs that a terminal obeys."""
        text = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
        return (text.replace(self.key, "...") if self.key else text)[:SHOWN]


def _json(answer: httpx.Response) -> Any:
    """None where it is none, or one that no reader takes: a hundred thousand brackets in each other."""
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def read_key(path: Path) -> str | None:
    """The key in a file; None where there is none. Its text is in no error and no environment."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise MachineError(f"{path} cannot be read ({type(error).__name__})", "make it a text file that uid 10001 may read") from None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MachineError(f"{path} holds something that is not a key", "write the key alone into it, on one line")
    return key or None
