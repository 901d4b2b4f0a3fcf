"""Leaf of the stage prepare: rows to token shards and report.json, through the data gate. `python -m entrypoint.run.prepare TASK`."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrypoint.run.choice import find_threshold
from entrypoint.run.data_report import lines_of
from entrypoint.run.events import Events, say
from entrypoint.run.gate import Gate
from entrypoint.run.golden import choose_golden
from entrypoint.run.leaf import run_leaf
from entrypoint.run.loadable import check_model, load_tokenizer
from entrypoint.run.parts import Parts
from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.preprocess import Preprocessor
from entrypoint.run.quiet import hush
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import Place, read_files
from entrypoint.run.rows import Layout, Reader, Row, find_layout, rows_of
from entrypoint.run.tally import Source, Tally
from entrypoint.run.template import Renderer, stop_ids
from entrypoint.run.verdict import judge
from schemas.errors import GateRefused
from schemas.job import TEMPLATE, PrepareJob, RowsJob, Task

TEMPLATES = Path(__file__).parent / "templates"


def prepare(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with shards, report.json, golden.json and the chat template; goes on from the parts that an earlier attempt sealed."""
    assert isinstance(task.job, PrepareJob)
    job, output, model = task.job, Path(task.output), Path(task.inputs["model"])
    hush()
    check_model(model)
    renderer = load_renderer(model, job, Path(task.inputs["data"]))
    code = PluginCode({"preprocessor": job.preprocessor} if job.preprocessor else {}, Path(task.inputs.get("preprocessor", "")))
    with code.words():
        tally = _Run(task, job, renderer, output, events, Preprocessor(code) if job.preprocessor else read_files).run()
    report = tally.report(job.max_length, job.deduplicate)
    # Beside the folder first: a refused attempt is thrown away, its report is not.
    (output.parent / f"{output.name}.report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for line in lines_of(report):
        say(line)
    events.write("report", **{k: v for k, v in report.items() if not isinstance(v, list) or k == "sources"})
    judge(tally, job, read_positions(model))
    (output.parent / f"{output.name}.report.json").replace(output / "report.json")
    golden = choose_golden(tally.golden, renderer)
    (output / "golden.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    template = renderer.tokenizer.chat_template  # several of them are a mapping
    if isinstance(template, str):
        (output / TEMPLATE).write_text(template, encoding="utf-8")
    Parts(output, "").clear()
    return {
        "train": {**report["train"], "sizes": sorted(((int(size), count) for size, count in tally.train.sizes.items()), reverse=True)},
        "validation": report["validation"],
        "rejected": report["rejected"],
        "too_long": report["too_long"],
        "template_sha256": hashlib.sha256((template if isinstance(template, str) else json.dumps(template, sort_keys=True)).encode()).hexdigest(),
    }


@dataclass
class _Run:
    """One pass over all sources."""

    task: Task
    job: PrepareJob
    renderer: Renderer
    output: Path
    events: Events
    read: Reader

    def run(self) -> Tally:
        """Every source through the gate, from where an earlier attempt has sealed."""
        for old in self.output.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        parts = Parts(self.output, self.job.model_dump_json())
        record = parts.resume()
        tally, keys, start, place = Tally(), None, 0, Place()
        if record:
            kept, keys = record
            tally, start, place = Tally.restore(kept["tally"]), kept["source"], Place(**kept["place"])
            say(f"  goes on behind {tally.read:,} rows, whose {parts.number} parts are sealed")
        gate = Gate(self.job, self.renderer, self.output, tally, keys)
        # Validation first: a training row that is in it is left out.
        share_out = self.job.validation_share > 0 and not self.job.validation
        every = [(rows, "validation") for rows in self.job.validation] + [(rows, None if share_out else "train") for rows in self.job.train]
        for number, (rows, split) in enumerate(every):
            if number < start:
                continue
            if number >= len(tally.sources):
                place = Place()
                tally.sources.append(self._look_at(rows, split or "train and validation", gate.takes))
            source = tally.sources[number]

            def seal(number: int = number, place: Place = place) -> None:
                files, added = gate.write_part(parts.number)
                parts.seal(tally, number, place, added, files)

            gate.pass_rows(self._rows(rows, source, place), split, source, seal)
            self.events.write("read", source=rows.source, rows=tally.read)
        gate.write_part(parts.number)
        return tally

    def _look_at(self, rows: RowsJob, split: str, kind: str) -> Source:
        """What a source is, and which of its rows max_rows leaves."""
        layout = find_layout(self._folder(rows), rows.source, rows.format, rows.columns, self.read)
        if isinstance(layout, Rejected):
            raise GateRefused(f"{layout.where}: {layout.reason}: {layout.detail}", f"the first row: {layout.words}")
        found = Source(rows.source, split, layout.format, layout.why, weight=rows.weight, max_rows=rows.max_rows)
        if rows.max_rows is not None:
            found.threshold = find_threshold(self._rows(rows, found, Place()), kind, self.job.seed, rows.max_rows)
        return found

    def _rows(self, rows: RowsJob, source: Source, place: Place) -> Iterator[Row | Rejected]:
        layout = Layout(source.format, source.why, rows.columns)
        return rows_of(self._folder(rows), rows.source, layout, weights=self.job.loss_on == "weight", place=place, read=self.read)

    def _folder(self, rows: RowsJob) -> Path:
        return Path(self.task.inputs["data"]) / rows.path


def load_renderer(model: Path, job: PrepareJob, data: Path) -> Renderer:
    """The model's tokenizer with the template that the job names and the tokens to stop on; raises GateRefused where there is no template."""
    tokenizer = load_tokenizer(model)
    if job.template == "given":
        tokenizer.chat_template = (data / TEMPLATE).read_text(encoding="utf-8")
    elif job.template != "auto":
        tokenizer.chat_template = (TEMPLATES / f"{job.template}.jinja").read_text(encoding="utf-8").strip()
    if not tokenizer.chat_template and not job.raw:
        raise GateRefused("the model has no chat template", "use the instruct version of the model, or name a template: data.template")
    path = model / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Renderer(tokenizer, stop_ids(tokenizer, config), job.loss_on)


def read_positions(model: Path) -> int | None:
    """Tokens that the model's positions cover, where its config says it."""
    said = json.loads((model / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    return said if isinstance(said, int) else None


if __name__ == "__main__":
    run_leaf(prepare)
