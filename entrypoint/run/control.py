"""The folder that serve shares with the gateway: the key of the engines, what is active, and what the gateway has taken over."""

import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Literal

from entrypoint.run.access import refusal
from schemas.errors import MachineError

KEY, ACTIVE, GATEWAY, HEALTH = "control", "active.json", "gateway.json", "health.json"
KEY_BYTES = 32

State = Literal["loading", "ready", "failed"]


def digest(key: str) -> str:
    """sha256 in hex of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Control:
    """Written by serve; the gateway answers with one file of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.key = secrets.token_hex(KEY_BYTES)
        """What the gateway sends in place of a user's key: opens the OpenAI endpoints."""
        self.own = secrets.token_hex(KEY_BYTES)
        """The supervisor's: opens the control endpoints too, and is written nowhere."""
        self.told: dict[str, Any] = {}
        self.health: dict[str, Any] = {}

    def open(self) -> None:
        """Write the gateway's key. Raises MachineError where the folder cannot be used."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(KEY, self.key, 0o440)
        except OSError as error:
            fix = "mount a tmpfs there that uid 10001 may write, as compose/stages.yaml does"
            told = refusal(error, self.folder)
            raise MachineError(told.what if told else f"{self.folder} cannot be written: {error.strerror}", fix) from None
        self.told["generation"] = self._generation_before()

    def tell(self, state: State, *, models: list[str], upstream: str | None = None, retry_after: int = 30) -> int:
        """Say what is active, from now on; returns the generation, which counts up with every change."""
        said = {"state": state, "upstream": upstream, "models": models, "retry_after": retry_after}
        if any(self.told.get(key) != value for key, value in said.items()):
            self.told |= said | {"generation": self.told["generation"] + 1}
            self._write(ACTIVE, json.dumps(self.told), 0o444)
        self.beat()
        return int(self.told["generation"])

    def beat(self, **health: Any) -> None:
        """Say that serve is alive, and what it knows of its engine; what is not said again stays as it was."""
        self.health |= health
        self._write(HEALTH, json.dumps({"at": round(time.time(), 1), "state": self.told.get("state"), **self.health}), 0o444)

    def has_gateway(self) -> bool:
        """Whether a gateway has ever answered."""
        return (self.folder / GATEWAY).is_file()

    def has_followed(self, generation: int) -> bool:
        """Whether the gateway has taken over this generation, or a later one."""
        return _number(self.folder / GATEWAY) >= generation

    def _generation_before(self) -> int:
        """Of a serve that ran before on the same volume: a gateway that still knows it must see another number."""
        return max(_number(self.folder / ACTIVE), _number(self.folder / GATEWAY), 0)

    def _write(self, name: str, text: str, mode: int) -> None:
        put(self.folder, name, text, mode)


def put(folder: Path, name: str, text: str, mode: int = 0o444) -> None:
    """Write a file by rename: a reader sees the old one or the new one. No flush: the folder is in memory."""
    draft = folder / f".{name}.draft"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.rename(folder / name)


def _number(file: Path) -> int:
    """The generation that a file names; -1 where there is none."""
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
