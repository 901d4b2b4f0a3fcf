"""The process that prepares the rest of the rows beside a training: started by its first rank, ended with it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from entrypoint.run.events import say
from entrypoint.run.gate_pass import key_of
from entrypoint.run.memory_kills import ended_by_memory, memory_kills
from entrypoint.run.parts import RECORDS, Parts
from entrypoint.run.ranks import LAUNCHER
from schemas.errors import GateRefused, Interrupted, MachineError, StepFailed
from schemas.job import PrepareJob, Task

STREAM = "stream"
"""Folder of the parts, beside what a training fills."""

OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "TOKENIZERS_PARALLELISM")
"""Variables of a rank that this process, which is none, must not have."""

NICE = 10
"""Training goes first where both want a core."""


class RowStream:
    """Prepares the rest of the rows into `folder` from `begin` to `end`."""

    def __init__(self, task: Task, job: PrepareJob):
        self.task, self.job, self.folder = task, job, Path(task.output) / STREAM
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def begin(self) -> None:
        """Take over the first part, drop what is damaged, and start the process, unless all is prepared."""
        record = self._take_over() or self._take_over()  # a copy that a kill has cut off is deleted by the first look, and made again
        if record is None:
            raise MachineError(
                f"the first part of the streamed rows is damaged: {self.task.inputs['prepared']}", "remove that folder, then run prepare and train again"
            )
        if record[0]["ended"]:
            return
        roles = {role: self.task.inputs[role] for role in ("model", "data", "preprocessor") if role in self.task.inputs}
        beside = Path(self.task.output) / f"{STREAM}.task.json"
        task = self.task.model_copy(
            update={"job": self.job, "inputs": roles, "output": str(self.folder), "summary": str(beside.with_name(f"{STREAM}.summary.json"))}
        )
        beside.write_text(task.model_dump_json(indent=2), encoding="utf-8")
        say("  the rest of the rows is prepared meanwhile")
        environment = {name: value for name, value in os.environ.items() if name not in OF_RANKS} | {LAUNCHER: str(os.getpid())}
        self.kills = memory_kills()
        self.process = subprocess.Popen([sys.executable, "-m", "entrypoint.run.prepare", str(beside)], env=environment, preexec_fn=_step_back)

    def _take_over(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The first part, copied where it is not there yet, and what was prepared behind it; None where the first part is not whole."""
        self.folder.mkdir(exist_ok=True)
        for kind in (f"{RECORDS}*", "*.safetensors"):
            for path in Path(self.task.inputs["prepared"]).glob(kind):
                if not (self.folder / path.name).is_file():
                    shutil.copyfile(path, self.folder / path.name)
        return Parts(self.folder, key_of(self.job)).resume()

    def check(self) -> None:
        """Raise what the process ended with, unless it ended well or is still at work."""
        code = self.process.poll() if self.process else 0
        if not code:
            return
        what, again = "the rows behind those that are trained on cannot be prepared", "run the same command again: it goes on from the last checkpoint"
        if code == GateRefused.exit_code:
            raise GateRefused("rows behind those that are trained on are refused, as said above", "mend them as said there, and train anew")
        if code == MachineError.exit_code:
            raise MachineError(f"{what}, as said above", again)
        if code in (Interrupted.exit_code, -signal.SIGTERM):
            raise Interrupted("the process that prepares rows was stopped", again)
        if code == -signal.SIGKILL:
            raise ended_by_memory("the process that prepares rows", self.kills)
        raise StepFailed(f"{what}: exit code {code}; its output is above", again)

    def end(self) -> None:
        """Stop the process: no further rows are needed."""
        if self.process and self.process.poll() is None:
            self.process.kill()  # what it has not sealed is made anew, whenever it dies
            self.process.wait()


def clear_stream(output: Path) -> None:
    """Remove the parts beside what a training has filled: it is over."""
    shutil.rmtree(output / STREAM, ignore_errors=True)
    for path in output.glob(f"{STREAM}.*.json"):
        path.unlink()


def _step_back() -> None:
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
