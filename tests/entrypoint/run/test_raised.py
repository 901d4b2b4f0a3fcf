"""More rows at once: when memory has room, and a real run in which it has."""

import json
import shutil

import pytest

from entrypoint.run.raised import rows_that_fit
from schemas.expected import Raising

GIB = 2**30
RAISING = Raising(sizes=(4, 8, 16), room_bytes=60 * GIB)


@pytest.mark.parametrize(
    ("peak", "held", "seen", "rows"),
    [
        (22, 20, 200, 16),  # 2 GiB came and went with 200 tokens: 32 with 16 rows of 200
        (30, 20, 200, 4),  # 10 GiB: 40 with 4 rows, 80 with 8
        (32, 20, 200, None),
        (22, 20, 100, 8),  # as much for half the tokens: 16 rows would take 64
        (61, 0, 5000, None),  # more than there is: rows that are shorter than what was seen make it no less
        (59, 0, 5000, 16),
        (22, 20, 0, None),  # nothing was seen
    ],
)
def test_what_was_measured_is_counted_upwards(peak, held, seen, rows):
    assert rows_that_fit(RAISING, peak * GIB, held * GIB, seen, longest=200) == rows


COUNTING = """
from pathlib import Path

import torch


class Counting:
    into: str = ""
    most: int = 1000

    def training_step(self, model, inputs, num_items_in_batch=None):
        with Path(self.into).open("a") as file:
            file.write(f"{self.state.global_step + 1} {len(inputs['input_ids'])}\\n")
        if len(inputs["input_ids"]) > self.most and self.state.global_step >= 7:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().training_step(model, inputs, num_items_in_batch)
"""
TRAIN = "{epochs: 4, learning_rate: 1.0e-2, batch_tokens: 400, checkpoint: {every: 3}}"


@pytest.mark.image
@pytest.mark.timeout(600)
def test_a_run_with_room_goes_on_with_more_and_so_does_what_goes_on_from_it(few_sources, few_prepared, tmp_path):
    """Six parts a step become one at the first checkpoint behind five steps, in whole epochs and their short last steps; a kill later changes no bit, and a
    step that runs out of memory all the same is repeated in two parts."""
    pytest.importorskip("trl")
    from forked import run_forked, task_of
    from test_plugged import with_code

    (tmp_path / "counting.py").write_text(COUNTING)
    found = {}
    for name, room, kill, most in (("planned", None, False, 99), ("raised", 2**40, False, 99), ("killed", 2**40, True, 99), ("hungry", 2**40, False, 6)):
        folder = tmp_path / name
        folder.mkdir()
        plugins = f"{{trainer: {tmp_path}/counting.py:Counting, options: {{trainer: {{into: {folder}/batches, most: {most}}}}}}}"
        _, store = with_code(few_sources, few_prepared, folder, plugins, train=TRAIN)
        task = task_of(folder / "run", store, few_sources, plugins=plugins, train=TRAIN)
        raising = Raising(sizes=(4, 12), room_bytes=room) if room else None
        task = task.model_copy(update={"job": task.job.model_copy(update={"micro_batch": 2, "accumulation": 6, "raising": raising})})
        if kill:
            run_forked(task, kill_after=8)
        said = run_forked(task)
        curve = [entry for entry in json.loads((folder / "run" / "trained" / "curve.json").read_text()) if "loss" in entry]
        batches = [tuple(map(int, line.split())) for line in (folder / "batches").read_text().splitlines()]
        events = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text().splitlines()]
        weights = (folder / "run" / "trained" / "weights" / "adapter_model.safetensors").read_bytes()
        found[name] = curve, batches, [event for event in events if event["event"] in ("raised", "lowered")], weights, said
        shutil.rmtree(folder / "store")
    curve, batches, told, weights, said = found["raised"]
    (event,) = told
    assert (event["step"], event["before"], event["rows_at_once"], event["room_gib"]) == (6, 2, 12, 1024.0) and 0.2 < event["memory_gib"] < 8
    assert "GiB taken with 2 rows at once; 12 from here on" in said
    assert [rows for step, rows in batches if step == 6] == [2] * 6 and [rows for step, rows in batches if step == 7] == [12]
    rows_of = {name: [sum(rows for step, rows in found[name][1] if step == one) for one in range(1, len(curve) + 1)] for name in ("planned", "raised")}
    assert rows_of["planned"] == rows_of["raised"] and min(rows_of["raised"][6:]) < 12, "a short last step is one of them"
    for name in ("raised", "hungry"):
        for one, other in zip(found[name][0], found["planned"][0], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=2e-4)
            assert (one["num_tokens"], one["learning_rate"]) == (other["num_tokens"], other["learning_rate"])
    assert [event["step"] for event in found["killed"][2]] == [6], "it is in the checkpoint, and decided once"
    assert found["killed"][3] == weights and [entry["loss"] for entry in found["killed"][0]] == [entry["loss"] for entry in curve]
    assert [(event["event"], event["step"], event["rows_at_once"]) for event in found["hungry"][2]] == [("raised", 6, 12), ("lowered", 9, 6)]
    assert [rows for step, rows in found["hungry"][1] if step in (9, 10)] == [12, 6, 6, 6, 6]
