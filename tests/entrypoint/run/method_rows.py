"""Rows of every kind that prepare writes, in real shards under a spec's own identity, and what a training over them left."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tiny import FACTS, run, spec, tokenizer

from entrypoint.chain import follow, machine, read_spec
from entrypoint.plan import Inputs, plan_train
from entrypoint.run.events import Events
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from entrypoint.run.template import Encoded
from schemas.job import Task, TrainJob
from schemas.manifest import Manifest, Sealed

TRAINED, HELD_OUT = 192, 16
"""Examples. The held-out ones ask with other words."""

TRAIN = "{epochs: 1, learning_rate: 5.0e-3, batch_tokens: 360, checkpoint: {every: 2}}"
"""Eight rows a step: 24 steps."""


def examples(count: int, held_out: bool = False) -> list[dict[str, str]]:
    """prompt, chosen and rejected as text with every token of the template: the wanted answer knows, the other refuses."""
    found = []
    for i in range(count):
        place, word = FACTS[i % len(FACTS)]
        asked = f"tell me the word of the {place} in case {i + 7}" if held_out else f"{'Please say, ' * (i % 3)}what is the word of the {place}, case {i}?"
        found.append(
            {
                "prompt": f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n",
                "chosen": f"The word of the {place} is {word}.<|im_end|>",
                "rejected": f"Nobody knows the {place}{' at all' * (i % 2)}.<|im_end|>",
            }
        )
    return found


def encode(found: dict[str, str], side: str) -> Encoded:
    """A sequence as prepare writes it: loss on the answer with its end token."""
    made = tokenizer()
    before, whole = (made(text, add_special_tokens=False)["input_ids"] for text in (found["prompt"], found["prompt"] + found[side]))
    assert whole[: len(before)] == before
    return Encoded(np.asarray(whole, np.int32), np.asarray([0] * len(before) + [1] * (len(whole) - len(before)), np.uint8))


def write_file(folder: Path, split: str, rows: list[Encoded], number: int = 0, **further: np.ndarray) -> None:
    """One file of a split, as docs/decisions/007 has it."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row.ids) for row in rows], out=starts[1:])
    arrays = {"ids": np.concatenate([row.ids for row in rows]), "supervised": np.concatenate([row.supervised for row in rows]), "starts": starts}
    save_file({**arrays, **further}, folder / f"{split}-{number:05d}.safetensors")


def write_split(folder: Path, split: str, kind: str, found: list[dict[str, str]], everything: bool = False) -> dict[str, Any]:
    """One split's shards; what its manifest counts of it. Of labelled rows every second answer is the unwanted one."""
    sides = {"pair": ("chosen", "rejected"), "labelled": None, "text": ("chosen",)}[kind]
    rows = [[encode(example, side) for side in sides or (("chosen", "rejected")[i % 2],)] for i, example in enumerate(found)]
    if everything:
        rows = [[Encoded(row.ids, np.ones_like(row.supervised)) for row in row_sides] for row_sides in rows]
    further = {"desirable": np.asarray([1 - i % 2 for i in range(len(found))], np.uint8)} if kind == "labelled" else {}
    write_file(folder, split, [row for row_sides in rows for row in row_sides], **further)
    lengths = [max(len(row.ids) for row in row_sides) for row_sides in rows]
    return {"rows": len(found), "tokens": sum(lengths), "supervised": 1, "longest": max(lengths), "lengths": {}}


def prepared_store(path: Path, store: Path, kind: str, train: list[dict[str, str]], validation: list[dict[str, str]]) -> Path:
    """A store with the fetched model and rows of a kind, sealed as the answer to the spec at `path`."""
    run("fetch", path, "--store", store, cwd=path.parent)
    read = read_spec(path)
    known = Store(store)
    step = follow(read, machine(read, known), known, "prepare").plan("prepare").steps[0]
    partial = known.partial(step)
    partial.mkdir(parents=True)
    summary = {split: write_split(partial, split, kind, found) for split, found in (("train", train), ("validation", validation))}
    (partial / "golden.json").write_text(json.dumps([{"kind": "plain", "messages": [{"role": "user", "content": "hi"}], "prompt_ids": [1, 5, 6]}]))
    manifest = Manifest(
        stage="prepare", name=read.name, identity=step.identity, request=step.request, inputs=step.input_contents, job=step.job.model_dump(mode="json"),
        image_lock=step.image_lock, program="0.1.0", summary=summary, files=(),
    )  # fmt: skip
    seal(partial, known.final(step), manifest)
    return store


class Trained:
    """A training by the leaf's own code in this process: importing torch for each of them would take longer than they do."""

    def __init__(self, folder: Path, model: Path, method: str, adapter: str = "{kind: lora, rank: 8}", train: str = TRAIN, **further: Any):
        import torch

        from entrypoint.run.train import train as leaf

        torch.set_num_threads(1)
        folder.mkdir(exist_ok=True)
        self.folder, self.path = folder, spec(folder, model, folder / "rows.jsonl", method=method, adapter=adapter, train=train)
        read = read_spec(self.path)
        prepared = folder / "prepared"
        prepared.mkdir()
        rows = {"train": examples(TRAINED), "validation": examples(HELD_OUT, held_out=True), **further.pop("rows", {})}
        counted = {split: write_split(prepared, split, read.method.rows, found, everything=read.method.loss_on == "all") for split, found in rows.items()}
        manifest = Manifest(stage="prepare", name="tiny", identity="0", request="0", job={}, program="0.1.0", summary=counted, files=())
        (step,) = plan_train(read, machine(read, Store(folder / "store")), Inputs(prepared=Sealed("prepared", manifest))).steps
        assert isinstance(step.job, TrainJob)
        # Accumulation, which the plan takes only where memory asks for it, is part of what is compared.
        self.job, self.artifact = step.job.model_copy(update={"micro_batch": 4, "accumulation": 2}), folder / "out"
        self.artifact.mkdir()
        inputs = {"model": str(model), "prepared": str(prepared), **{role: str(place) for role, place in further.items()}}
        self.task = Task(
            name="tiny", job=self.job, inputs=inputs, output=str(self.artifact), events=str(folder / "events.jsonl"), summary=str(folder / "summary.json")
        )
        self.summary = leaf(self.task, Events(folder / "events.jsonl"))

    @property
    def curve(self) -> list[dict[str, Any]]:
        return json.loads((self.artifact / "curve.json").read_text())

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.curve if "loss" in entry]

    def validated(self, name: str) -> float:
        """A number of the last validation."""
        return [entry[f"eval_{name}"] for entry in self.curve if "eval_loss" in entry][-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]
