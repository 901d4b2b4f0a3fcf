"""The two columns: one command each, and where it leaves what. Both run the same tiny model, tokens and hyperparameters."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STEP = re.compile(r"(?:checkpoint|step)-(\d+)")
"""The name of a checkpoint in a path, of either column, finished or not."""


@dataclass(frozen=True)
class Shape:
    """How long a run is and over how many processes."""

    name: str
    steps: int
    ranks: int
    batch_tokens: int
    every: int = 3


SHAPES = {shape.name: shape for shape in (Shape("single", 12, 1, 240), Shape("pair", 24, 2, 700))}
MICRO_BATCH, ACCUMULATION, RANK, DROPOUT, RATE, WARMUP, KEEP, SEED = 4, 2, 8, 0.1, 3.0e-3, 0.03, 2, 17
TARGETS = ("q_proj",)
"""Few layers with an adapter: a save has fewer writes of the same kind."""


class Column:
    """A command over a folder `place`, copied for each trial from one that was made once."""

    name = ""
    scope = ""
    """Part of the path of everything inside a run's checkpoints."""
    folder_scope, final = "", ""
    """Part of the path of everything that a run leaves, and of the final weights while they are written."""
    mark = ""
    """What stands before a step's number in the name of a finished checkpoint."""

    def __init__(self, shape: Shape, work: Path, repaired: bool = True):
        self.shape, self.work, self.repaired = shape, work, repaired
        self.base = work / f"{self.name}-{shape.name}"

    def fresh(self, place: Path) -> None:
        """A copy of what was made once, nothing trained."""
        empty(place)
        shutil.copytree(self.base, place, dirs_exist_ok=True, symlinks=True)

    def argv(self, place: Path) -> list[str]:
        """The one command, that starts and goes on."""
        raise NotImplementedError

    def artifact(self, place: Path) -> tuple[Path, Path] | None:
        """Folder of the final weights, and the loss curve; None until the run has ended."""
        raise NotImplementedError

    def events(self, place: Path) -> Path:
        """One JSON object a line, with `event: step` and `step` for each optimizer step."""
        raise NotImplementedError

    def folder(self, place: Path) -> Path:
        """Where its checkpoints are; need not exist."""
        raise NotImplementedError

    def checkpoints(self, place: Path) -> list[Path]:
        """Finished checkpoints by their names, newest first."""
        return sorted((p for p in self.folder(place).glob(f"{self.mark}*") if STEP.fullmatch(p.name)), key=step_of, reverse=True)


class Caisson(Column):
    """`caisson train`, with fetch and prepare done once."""

    name, scope, mark = "caisson", "/checkpoints", "step-"
    folder_scope, final = "/tiny/train/", "/weights"

    def prepare(self) -> None:
        """Model, rows, spec, and a store with the first two stages sealed."""
        empty(self.base)
        self.base.mkdir(parents=True, exist_ok=True)
        model, rows = self.work / "model", self.work / "rows.jsonl"
        if not model.is_dir():
            code = f"import tiny; from pathlib import Path; tiny.write_rows(Path({str(rows)!r}), tiny.rows(96)); tiny.write_model(Path({str(model)!r}))"
            subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests/entrypoint/run", check=True, capture_output=True)
        shape = self.shape
        sections = {
            "spec": "1", "name": "tiny", "model": f"{{source: {model}}}", "data": f"{{train: [{{source: {rows}}}], validation: 10%}}", "method": "{kind: sft}",
            "adapter": f"{{kind: lora, rank: {RANK}, dropout: {DROPOUT}, targets: [{', '.join(TARGETS)}]}}",
            "train": f"{{max_steps: {shape.steps}, epochs: {shape.steps}, learning_rate: {RATE}, batch_tokens: {shape.batch_tokens}, warmup: {WARMUP},"
                     f" checkpoint: {{every: {shape.every}, keep: {KEEP}}}, seed: {SEED}}}",
            "hardware": f"{{strategy: {'single' if shape.ranks == 1 else 'ddp'}}}",
        }  # fmt: skip
        (self.base / "spec.yaml").write_text("".join(f"{key}: {value}\n" for key, value in sections.items()), encoding="utf-8")
        for stage in ("fetch", "prepare"):
            subprocess.run([sys.executable, "-m", "entrypoint", stage, "spec.yaml", "--store", "store"], cwd=self.base, check=True, capture_output=True)

    def argv(self, place: Path) -> list[str]:
        return [sys.executable, "-m", "entrypoint", "train", "spec.yaml", "--store", str(place / "store")]

    def folder(self, place: Path) -> Path:
        return next((place / "store/tiny/train").glob("**/checkpoints"), place / "none")

    def artifact(self, place: Path) -> tuple[Path, Path] | None:
        for sealed in (place / "store/tiny/train").glob("[!.]*/manifest.json"):
            return sealed.parent / "weights", sealed.parent / "curve.json"
        return None

    def events(self, place: Path) -> Path:
        return place / "store/tiny/logs/train.jsonl"


class Transformers(Column):
    """transformers' Trainer by its documentation."""

    name, scope, mark = "transformers", "/out", "checkpoint-"
    folder_scope, final = "/out", "/out/final"

    def prepare(self) -> None:
        """Settings that name the tokens which the other column prepared."""
        other = Caisson(self.shape, self.work)
        if not other.base.is_dir():
            other.prepare()
        empty(self.base)
        self.base.mkdir(parents=True, exist_ok=True)
        shards = next((other.base / "store/tiny/prepared").glob("[!.]*"))
        shutil.copytree(shards, self.base / "shards")
        shape = self.shape
        settings = {
            "model": str(self.work / "model"), "shards": "shards", "output": "out", "events": str(self.events(self.base)), "steps": shape.steps,
            "every": shape.every, "ranks": shape.ranks, "micro_batch": MICRO_BATCH, "accumulation": ACCUMULATION, "rank": RANK, "alpha": 2 * RANK,
            "dropout": DROPOUT, "learning_rate": RATE, "warmup": WARMUP, "keep": KEEP, "seed": SEED,
            "targets": TARGETS, "repaired": self.repaired,
        }  # fmt: skip
        (self.base / "settings.json").write_text(json.dumps(settings), encoding="utf-8")

    def argv(self, place: Path) -> list[str]:
        torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(self.shape.ranks), "--master-port", "29555"] if self.shape.ranks > 1 else []
        return [sys.executable, *torchrun, str(HERE / "train_transformers.py"), "settings.json"]

    def folder(self, place: Path) -> Path:
        return place / "out"

    def artifact(self, place: Path) -> tuple[Path, Path] | None:
        return (place / "out/final", place / "out/curve.json") if (place / "out/curve.json").is_file() else None

    def events(self, place: Path) -> Path:
        # Outside the folder that fills up: the bench's own log must not be what fails.
        return self.work / f"events-{self.shape.name}.jsonl"

    def fresh(self, place: Path) -> None:
        super().fresh(place)
        self.events(place).unlink(missing_ok=True)


COLUMNS = {"caisson": Caisson, "transformers": Transformers}


def step_of(path: Path) -> int:
    """The number in a checkpoint's name."""
    found = STEP.search(path.name)
    return int(found[1]) if found else -1


def empty(folder: Path) -> None:
    """Remove what a folder holds, not the folder: it may be a mount."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
