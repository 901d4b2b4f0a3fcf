"""Whether an engine still works, which is more than that its port answers: tokens that move, or one that comes when asked for."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from entrypoint.run.engine_client import EngineError

LOOK_SECONDS = 3.0
ASK_SECONDS = 2.0
"""For the counters, which cost an engine nothing: longer would only make looks rarer."""

ANSWER_SECONDS = 600.0
"""For the one token of a canary: it waits behind everything that was asked before."""

BUSY = 0.1
"""Share of one core's time by which a group of processes counts as computing."""

BUSY_SECONDS = 600.0
"""For so long computing alone counts as a sign of life: what spins for ever is hung as well."""


class Asked(Protocol):
    """What is asked of an engine."""

    def tokens(self, timeout: float) -> float:
        """Tokens so far."""

    def canary(self, prompt_ids: list[int], timeout: float) -> None:
        """One token."""


class Canary:
    """Looks after one engine in a thread of its own, from `start` until `stop`. Three signs of life: its token counters move; it writes one
    token when asked; it computes, where that happens on the CPU (`cpu_seconds`) and a long prompt moves no counter until it is read."""

    def __init__(self, engine: Asked, prompt_ids: list[int], cpu_seconds: Callable[[], float] | None, look_seconds: float = LOOK_SECONDS):
        self._engine, self._prompt_ids, self._cpu_seconds, self._look_seconds = engine, prompt_ids, cpu_seconds, look_seconds
        self._stopped = threading.Event()
        self._asking: threading.Thread | None = None
        self._answered = threading.Event()
        self._tokens = -1.0
        self._cpu = 0.0
        self._sign = self._token_sign = self._looked = time.monotonic()

    def start(self) -> None:
        """Look from now on."""
        self._sign = self._token_sign = self._looked = time.monotonic()
        self._cpu = self._cpu_seconds() if self._cpu_seconds else 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Look no more; what is asked already may still wait for its answer, and harms nobody."""
        self._stopped.set()

    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self._sign

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        computes = self._computes(now)  # at every look: of the time since the last one, and no more
        if self._moved() or self._answered.is_set():
            self._answered.clear()
            self._sign = self._token_sign = now
        elif computes and now - self._token_sign < BUSY_SECONDS:
            self._sign = now
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()

    def _moved(self) -> bool:
        try:
            tokens = self._engine.tokens(min(ASK_SECONDS, self._look_seconds))
        except EngineError:
            return False
        moved, self._tokens = tokens != self._tokens, tokens
        return moved

    def _computes(self, now: float) -> bool:
        if self._cpu_seconds is None:
            return False
        before, self._cpu = self._cpu, self._cpu_seconds()
        since, self._looked = now - self._looked, now
        return self._cpu - before > BUSY * since

    def _ask(self) -> None:
        try:
            self._engine.canary(self._prompt_ids, ANSWER_SECONDS)
        except EngineError:
            return
        self._answered.set()
