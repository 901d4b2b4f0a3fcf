"""Leaf of the stage prepare: rows to token shards and report.json, through the data gate. `python -m entrypoint.run.prepare TASK`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from entrypoint.run.data_report import lines_of
from entrypoint.run.events import Events, say
from entrypoint.run.gate_pass import GatePass
from entrypoint.run.golden import choose_golden
from entrypoint.run.leaf import run_leaf
from entrypoint.run.loadable import load_tokenizer
from entrypoint.run.parts import Parts
from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.preprocess import Preprocessor
from entrypoint.run.quiet import hush
from entrypoint.run.row_files import read_files
from entrypoint.run.template import Renderer, stop_ids
from entrypoint.run.verdict import judge
from entrypoint.run.without_torch import check_model_apart
from schemas.errors import GateRefused
from schemas.job import TEMPLATE, PrepareJob, Task

TEMPLATES = Path(__file__).parent / "templates"


def prepare(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with shards, report.json, golden.json and the chat template; goes on from the parts that an earlier attempt sealed.

    Of rows that are streamed only the first part, with the records that the rest goes on from; or the rest, which is parts and records alone.
    """
    assert isinstance(task.job, PrepareJob)
    job, output, model = task.job, Path(task.output), Path(task.inputs["model"])
    check_model_apart(model)
    hush()
    renderer = load_renderer(model, job, Path(task.inputs["data"]))
    code = PluginCode({"preprocessor": job.preprocessor} if job.preprocessor else {}, Path(task.inputs.get("preprocessor", "")))
    with code.words():
        tally = GatePass(task, job, renderer, events, Preprocessor(code) if job.preprocessor else read_files, read_positions(model)).run()
    report = tally.report(job.max_length, job.deduplicate)
    if job.streaming == "rest":
        _tell(report, events)
        return {}
    # Beside the folder first: a refused attempt is thrown away, its report is not.
    (output.parent / f"{output.name}.report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _tell(report, events)
    judge(tally, job, read_positions(model))
    (output.parent / f"{output.name}.report.json").replace(output / "report.json")
    golden = choose_golden(tally.golden, renderer, read_positions(model))
    (output / "golden.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    template = renderer.tokenizer.chat_template  # several of them are a mapping
    if isinstance(template, str):
        (output / TEMPLATE).write_text(template, encoding="utf-8")
    if job.streaming:
        say("  streaming: the rows behind these are prepared while train learns from them")
    else:
        Parts(output, "").clear()
    return {
        "train": {**report["train"], "sizes": sorted(((int(size), count) for size, count in tally.train.sizes.items()), reverse=True)},
        "validation": report["validation"],
        "streaming": job.streaming is not None,
        "rejected": report["rejected"],
        "too_long": report["too_long"],
        "template_sha256": hashlib.sha256((template if isinstance(template, str) else json.dumps(template, sort_keys=True)).encode()).hexdigest(),
    }


def _tell(report: dict[str, Any], events: Events) -> None:
    for line in lines_of(report):
        say(line)
    events.write("report", **{k: v for k, v in report.items() if not isinstance(v, list) or k == "sources"})


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
