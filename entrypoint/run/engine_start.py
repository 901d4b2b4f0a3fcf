"""The first things that an engine's process does: hear what it is told, close its door, and end with its supervisor."""

import logging
import os
import signal
import sys
import threading

from entrypoint.run.door import install_keys
from schemas.serve_job import EngineTask

MARK = "caisson-canary"
"""Query of the supervisor's own requests for a sign of life: they stand in no log."""

UNLOGGED = (f"?{MARK}", "/metrics", "/health")


def receive() -> EngineTask:
    """The task from standard input. Its keys are in the door from now on, and this process ends once the supervisor has gone."""
    task = EngineTask.model_validate_json(sys.stdin.buffer.readline())
    install_keys([bytes.fromhex(key) for key in task.served_keys], [bytes.fromhex(task.own_key)])
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    logging.getLogger("uvicorn.access").addFilter(_is_logged)
    return task


def _end_with_supervisor() -> None:
    """The pipe ends when its writer does, however it ends. Read past Python's buffer: its lock, held by a thread, would end the interpreter's
    own end with a fatal error."""
    while os.read(sys.stdin.fileno(), 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _is_logged(record: logging.LogRecord) -> bool:
    return not any(mark in str(part) for part in record.args or () for mark in UNLOGGED)
