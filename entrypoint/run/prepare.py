"""Leaf of the stage prepare: rows to token shards and report.json, through the data gate. `python -m entrypoint.run.prepare TASK`."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from entrypoint.run.events import Events, say
from entrypoint.run.golden import choose_golden
from entrypoint.run.leaf import run_leaf
from entrypoint.run.loadable import check_model, load_tokenizer
from entrypoint.run.quiet import hush
from entrypoint.run.rows import Rejected, Row, read_rows
from entrypoint.run.shards import ShardWriter
from entrypoint.run.template import Encoded, Renderer, TemplateFault, stop_ids
from schemas.errors import GateRefused
from schemas.job import PrepareJob, RowsJob, Task

BATCH_ROWS = 512
SHOWN = 5
"""Bad rows that the refusal names; all of them, up to LISTED, are in report.json."""

LISTED = 1000
HISTOGRAM = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Upper bounds of the length classes, tokens."""


@dataclass
class Split:
    """What is counted of one split."""

    rows: int = 0
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    lengths: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    """Rows by their exact length: the plan counts packs with it."""

    def count(self, row: Encoded) -> None:
        """Add one kept row."""
        size = len(row.ids)
        self.rows += 1
        self.tokens += size
        self.supervised += int(row.supervised.sum())
        self.longest = max(self.longest, size)
        self.sizes[size] += 1
        self.lengths[next((f"<= {bound}" for bound in HISTOGRAM if size <= bound), f"> {HISTOGRAM[-1]}")] += 1

    def summary(self) -> dict[str, Any]:
        """For the report."""
        return {"rows": self.rows, "tokens": self.tokens, "supervised": self.supervised, "longest": self.longest, "lengths": dict(self.lengths)}


class Gate:
    """Keeps what passes, counts what does not, and refuses when it is too much."""

    def __init__(self, job: PrepareJob, renderer: Renderer, output: Path, positions: int | None):
        self.job, self.renderer, self.positions = job, renderer, positions
        self.writers = {split: ShardWriter(output, split) for split in ("train", "validation")}
        self.splits = {split: Split() for split in self.writers}
        self.rejected: list[Rejected] = []
        self.too_long: list[tuple[str, int]] = []
        self.extra: Counter[str] = Counter()
        self.seen: dict[str, set[str]] = {"train": set(), "validation": set()}
        self.repeated = 0
        self.golden: list[Row] = []
        self.read = 0

    def pass_rows(self, found: Iterable[Row | Rejected], split: str | None) -> None:
        """Rows of one source into a split, or into both by their content where `split` is None."""
        batch: list[tuple[Row, str, tuple[str, list[tuple[int, int]]]]] = []
        for row in found:
            self.read += 1
            if isinstance(row, Rejected):
                self.rejected.append(row)
                continue
            try:
                rendered = self.renderer.render(row.messages)
            except TemplateFault as fault:
                self.rejected.append(Rejected(row.where, fault.reason, fault.detail))
                continue
            batch.append((row, split or self._split_of(row), rendered))
            if len(batch) >= BATCH_ROWS:
                self._keep(batch)
                batch = []
        self._keep(batch)

    def _keep(self, batch: list[tuple[Row, str, tuple[str, list[tuple[int, int]]]]]) -> None:
        if not batch:
            return
        for (row, split, _), encoded in zip(batch, self.renderer.encode([rendered for *_, rendered in batch]), strict=True):
            if len(encoded.ids) > self.job.max_length:
                self.too_long.append((row.where, len(encoded.ids)))
                continue
            if not encoded.supervised.any():
                self.rejected.append(Rejected(row.where, "no token carries loss"))
                continue
            self.extra.update(row.extra)
            self._remember(row, split)
            self.writers[split].add(encoded)
            self.splits[split].count(encoded)
            if split == "validation":
                self.golden.append(row)

    def _split_of(self, row: Row) -> str:
        """By content and seed alone, so that neither order nor other rows move a row to the other side."""
        share = int(_digest(row, self.job.seed)[:12], 16) / 16**12
        return "validation" if share < self.job.validation_share else "train"

    def _remember(self, row: Row, split: str) -> None:
        key = _digest(row, 0)
        self.repeated += key in self.seen[split]
        self.seen[split].add(key)

    def report(self) -> dict[str, Any]:
        """Everything that was counted."""
        reasons = Counter(r.reason for r in self.rejected)
        return {
            "read": self.read,
            **{split: counted.summary() for split, counted in self.splits.items()},
            "rejected": sum(reasons.values()),
            "rejected_by_reason": dict(reasons.most_common()),
            "rejected_rows": [vars(r) for r in self.rejected[:LISTED]],
            "too_long": len(self.too_long),
            "too_long_rows": [{"where": where, "tokens": tokens} for where, tokens in self.too_long[:LISTED]],
            "repeated_rows": self.repeated,
            "in_train_and_validation": len(self.seen["train"] & self.seen["validation"]),
            "ignored_keys": dict(self.extra),
            "max_length": self.job.max_length,
        }

    def judge(self) -> None:
        """Raise GateRefused where the rows are not fit to train on."""
        share = len(self.rejected) / max(1, self.read)
        if share > self.job.max_rejected:
            raise GateRefused(
                f"{len(self.rejected)} of {self.read} rows are bad ({share:.1%}), data.max_rejected allows {self.job.max_rejected:.1%}:{self._bad()}",
                "mend the rows, or raise data.max_rejected",
            )
        if self.too_long and self.job.too_long == "error":
            where, tokens = self.too_long[0]
            longest = max(t for _, t in self.too_long)
            raise GateRefused(
                f"{len(self.too_long)} of {self.read} rows are longer than {self.job.max_length} tokens; the first is {where} with {tokens}, the longest has {longest}",
                f"{self._longer()}, or write too_long: drop to leave them out",
            )
        if not self.splits["train"].rows:
            self._refuse_no_rows()

    def _refuse_no_rows(self) -> NoReturn:
        """Raise GateRefused with where the rows went, and the fix for the most of them."""
        held = self.splits["validation"].rows
        went = {"are held back for validation": held, f"are longer than {self.job.max_length} tokens": len(self.too_long), "are bad": len(self.rejected)}
        fix = max((held, "lower data.validation"), (len(self.too_long), self._longer()), (len(self.rejected), "mend the rows"), key=lambda f: f[0])[1]
        shown = ", ".join(f"{count} {what}" for what, count in went.items() if count)
        raise GateRefused(f"no training rows are left of {self.read}{f': {shown}' if shown else ''}{self._bad()}", fix)

    def _bad(self) -> str:
        lines = [f"{r.where}: {r.reason}{f': {r.detail}' if r.detail else ''}" for r in self.rejected[:SHOWN]]
        more = len(self.rejected) - len(lines)
        return "".join(f"\n  {line}" for line in lines) + (f"\n  and {more} more" if more else "")

    def _longer(self) -> str:
        """The fix for rows that are too long: the limit can be raised up to the model's own."""
        if self.positions and self.job.max_length >= self.positions:
            return f"shorten these rows: the model has {self.positions} positions, so data.max_length cannot be raised"
        return "raise data.max_length"


def prepare(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with shards, report.json and golden.json."""
    assert isinstance(task.job, PrepareJob)
    job, output, model = task.job, Path(task.output), Path(task.inputs["model"])
    for old in output.iterdir():  # an attempt that was stopped: nothing of it is used
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    hush()
    check_model(model)
    renderer = load_renderer(model, job.loss_on)
    gate = Gate(job, renderer, output, read_positions(model))
    share_out = job.validation_share > 0 and not job.validation
    for rows, split in [(r, None if share_out else "train") for r in job.train] + [(r, "validation") for r in job.validation]:
        gate.pass_rows(_rows_of(rows, task), split)
        events.write("read", source=rows.source, rows=gate.read)
    for writer in gate.writers.values():
        writer.flush()
    report = gate.report()
    (output.parent / f"{output.name}.report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _show(report)
    events.write("report", **{k: v for k, v in report.items() if not k.endswith("_rows") or k == "repeated_rows"})
    gate.judge()
    (output.parent / f"{output.name}.report.json").replace(output / "report.json")
    golden = choose_golden(gate.golden, renderer)
    (output / "golden.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    template = renderer.tokenizer.chat_template  # several of them are a mapping
    template = hashlib.sha256((template if isinstance(template, str) else json.dumps(template, sort_keys=True)).encode()).hexdigest()
    return {
        "train": {**report["train"], "sizes": sorted(gate.splits["train"].sizes.items(), reverse=True)},
        "validation": report["validation"],
        "rejected": report["rejected"],
        "too_long": report["too_long"],
        "template_sha256": template,
    }


def load_renderer(model: Path, loss_on: str) -> Renderer:
    """The model's tokenizer with its template and stop tokens; raises GateRefused where it has no template."""
    tokenizer = load_tokenizer(model)
    if not tokenizer.chat_template:
        raise GateRefused("the model has no chat template", "use the instruct version of the model")
    path = model / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Renderer(tokenizer, stop_ids(tokenizer, config), loss_on)


def read_positions(model: Path) -> int | None:
    """Tokens that the model's positions cover, where its config says it."""
    said = json.loads((model / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    return said if isinstance(said, int) else None


def _rows_of(rows: RowsJob, task: Task) -> Iterable[Row | Rejected]:
    return read_rows(Path(task.inputs["data"]) / rows.path, rows.source)


def _digest(row: Row, seed: int) -> str:
    return hashlib.sha256(json.dumps([seed, row.messages], ensure_ascii=False).encode()).hexdigest()


def _show(report: dict[str, Any]) -> None:
    for split in ("train", "validation"):
        counted = report[split]
        mean = counted["tokens"] / counted["rows"] if counted["rows"] else 0
        say(
            f"  {split:<11}{counted['rows']:>8,} rows {counted['tokens']:>12,} tokens, {counted['supervised']:,} of them learned; mean {mean:.0f}, longest {counted['longest']:,}"
        )
    say(
        f"  {'left out':<11}{report['rejected']:>8,} rejected, {report['too_long']:,} too long; {report['repeated_rows']:,} repeated, {report['in_train_and_validation']:,} in both splits"
    )
    for reason, count in report["rejected_by_reason"].items():
        say(f"  {'':<11}{count:>8,} x {reason}")
    if report["ignored_keys"]:
        say(f"  keys beside `messages` are not used: {', '.join(report['ignored_keys'])}")


if __name__ == "__main__":
    run_leaf(prepare)
