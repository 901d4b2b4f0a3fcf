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
                answer = self.client.request(method, self.url + path, json=body)
            except httpx.InvalidURL as error:
                raise UsageError(f"method.endpoint: {self.url} is no address: {error}", "write it as clients of OpenAI do: http://HOST:PORT/v1") from None
            except httpx.RequestError as error:
                said = self._one_line(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code < 500 and answer.status_code not in BUSY:
                return self._judge(answer, path)
            said = f"{answer.status_code}: {self._message(answer)}"
        raise StepFailed(
            f"{self.url}{path} does not answer ({said}): tried {TRIES} times in {time.monotonic() - start:.0f} s",
            "see that the server is up and can be reached from here; the same command goes on where this one stopped",
        )

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
        if answer.status_code != 200:
            raise Declined(f"{self.url}{path}", answer.status_code, self._message(answer))
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Declined(f"{self.url}{path}", 200, f"something else than a JSON object: {self._one_line(answer.text)}")
        return found

    def _message(self, answer: httpx.Response) -> str:
        """What the server says is wrong."""
        try:
            found = answer.json()
        except ValueError:
            return self._one_line(answer.text)
        error = found.get("error", found) if isinstance(found, dict) else found
        told = error.get("message", error) if isinstance(error, dict) else error
        return self._one_line(str(told))

    def _one_line(self, text: str) -> str:
        """Without the key, should the server send it back."""
        text = " ".join(text.split())
        return (text.replace(self.key, "...") if self.key else text)[:SHOWN]


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
