"""Prepares rows of a test with a tiny model, through the leaf's own function."""

import json
from collections.abc import Callable

import pytest
from tiny import write_model

from entrypoint.run.parts import Parts
from schemas.job import PrepareJob, RowsJob, Task


def line(row):
    """One row as a line."""
    return json.dumps(row).encode() + b"\n"


class Stopped(BaseException):
    """As a kill between two instructions."""


def stop_at_seals(monkeypatch: pytest.MonkeyPatch, stops: tuple[int, ...], prepare: Callable[[], object]) -> None:
    """Call `prepare` once for each of `stops`, and stop it when it has sealed so many parts and is about to seal another."""
    seal = Parts.seal
    for stop in stops:
        left = [stop]

        def stopping(self, *arguments, left=left, **more):
            if not left[0]:
                raise Stopped
            left[0] -= 1
            seal(self, *arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Parts, "seal", stopping)
            with pytest.raises(Stopped):
                prepare()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model, for all tests of a module."""
    return write_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def attempt(tmp_path, model):
    """A function that prepares the given rows and returns (summary, output), and leaves task.json. `validation` are rows of a further source."""
    from entrypoint.run.events import Events
    from entrypoint.run.prepare import prepare

    def write(name, content, suffix):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"rows{suffix}").write_bytes(content if isinstance(content, bytes) else b"".join(map(line, content)))

    def run(content, suffix=".jsonl", validation=None, source=None, out="out", **changes):
        write("00", content, suffix)
        fields = {"validation_share": 0.1, "loss_on": "assistant", "max_length": 256, "too_long": "error", "max_rejected": 0.01, "seed": 17} | changes
        if validation is not None:
            write("01", validation, suffix)
            fields |= {"validation": (RowsJob(path="01", source="/data/held.jsonl", format="auto"),), "validation_share": 0.0}
        rows = {"path": "00", "source": "/data/rows.jsonl", "format": "auto"} | (source or {})
        output = tmp_path / out
        output.mkdir(exist_ok=True)
        inputs = {"model": str(model), "data": str(tmp_path / "data")}
        job = PrepareJob(**{"train": (RowsJob(**rows),), **fields})
        task = Task(name="t", job=job, inputs=inputs, output=str(output), events=str(tmp_path / "e.jsonl"), summary="")
        (tmp_path / "task.json").write_text(task.model_dump_json(), encoding="utf-8")
        return prepare(task, Events(tmp_path / "e.jsonl")), output

    return run
