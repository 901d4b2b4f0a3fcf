"""A spec with a tiny model folder and a few rows, and stages sealed without the libraries that do them."""

import json
from pathlib import Path
from typing import Any

import pytest

from entrypoint import cli
from entrypoint.chain import Chain, follow, machine, read_spec
from entrypoint.run.checkpoints import seal_checkpoint
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.plan import Stage, Step

ROOT = Path(__file__).resolve().parents[2]

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 1000, "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip
HEADER = b'{"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
ROW = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
SPLIT = {"rows": 100, "tokens": 5000, "supervised": 2000, "longest": 80, "lengths": {}}

SUMMARIES: dict[str, dict[str, Any]] = {"prepare": {"train": SPLIT, "validation": {**SPLIT, "rows": 5}}}


class SmallRun:
    """Everything below one folder."""

    def __init__(self, folder: Path):
        self.folder, self.spec_file, self.store = folder, folder / "spec.yaml", Store(folder / "store")
        self.model, self.rows = folder / "model", folder / "rows.jsonl"
        self.model.mkdir()
        (self.model / "config.json").write_text(json.dumps(CONFIG))
        (self.model / "tokenizer.json").write_text('{"model": {}}')
        (self.model / "model.safetensors").write_bytes(len(HEADER).to_bytes(8, "little") + HEADER + bytes(16))
        self.rows.write_text(json.dumps(ROW) + "\n")
        self.write()

    def write(self, text: str = "") -> None:
        """The spec with further sections."""
        start = f"spec: 1\nname: n\nmodel: {{source: {self.model}}}\ndata: {{train: [{{source: {self.rows}}}]}}\nmethod: {{kind: sft}}\n"
        self.spec_file.write_text(start + text)

    def facts(self) -> Facts:
        """This machine as a CPU image sees it."""
        return machine(read_spec(self.spec_file), self.store)

    def chain(self, until: Stage = "serve", facts: Facts | None = None) -> Chain:
        """What every stage would do now."""
        return follow(read_spec(self.spec_file), facts or self.facts(), self.store, until)

    def seal(self, *stages: Stage, facts: Facts | None = None, content: str = "x", finished_at: str = "") -> None:
        """Give each stage, one after the other, an artifact that answers its plan."""
        for stage in stages:
            for step in self.chain(stage, facts).plan(stage).steps:
                if not self.store.find(step):
                    self._seal(step, content, finished_at)

    def _seal(self, step: Step, content: str, finished_at: str) -> None:
        partial = self.store.partial(step)
        partial.mkdir(parents=True)
        if step.job.stage == "fetch" and step.job.role == "model":
            (partial / "config.json").write_text(json.dumps(CONFIG))
        (partial / "content").write_text(f"{step.stage} {content}")
        manifest = Manifest(
            stage=step.stage, name="n", identity=step.identity, request=step.request, inputs=step.input_contents, job=step.job.model_dump(mode="json"),
            image_lock=step.image_lock, program="0.1.0", summary=SUMMARIES.get(step.stage, {}), files=(),
        )  # fmt: skip
        sealed = seal(partial, self.store.final(step), manifest)
        if finished_at:
            (self.store.final(step) / "manifest.json").write_text(sealed.model_copy(update={"finished_at": finished_at}).model_dump_json())


class Caisson:
    """The command line in this process, as `caisson` starts it."""

    def __init__(self, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]):
        self.patch, self.captured = patch, captured

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self.patch.setattr("sys.argv", ["caisson", *map(str, arguments)])
        self.captured.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.captured.readouterr()
        return code, out, err


def write_checkpoint(folder: Path, step: int, work: str, job: dict[str, Any]) -> Path:
    """A sealed checkpoint of the training `work`, with tensors that nobody reads."""
    draft = folder / f".partial-step-{step}"
    draft.mkdir(parents=True)
    for name in ("state.json", *(f"rank-{rank:05d}.{kind}" for rank in range(job["ranks"]) for kind in ("json", "safetensors"))):
        (draft / name).write_text(name)
    return seal_checkpoint(draft, step, Manifest(stage="checkpoint", name="n", identity=work, request="", job=job, program="0.1.0", files=()))
