"""Runs in the train image: every kind of bad row through the data gate and through TRL's SFTTrainer as its manual says. Prints one JSON object."""

import contextlib
import io
import json
import logging
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import transformers
import trl
from kinds import GOOD, KINDS, file_of

from entrypoint.run.events import Events
from entrypoint.run.prepare import prepare
from schemas.errors import GateRefused
from schemas.job import PrepareJob, RowsJob, Task

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "entrypoint" / "run"))
from tiny import tokenizer, write_model

LINE = 11
MAX_LENGTH = 1024
"""TRL's default, and the gate's limit here: the tiny model's positions are made as many."""

GENERATION = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}{{ m['content'] + '<|im_end|>' + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML with the marks that TRL's assistant_only_loss needs."""


HEARD: list[str] = []
"""What the libraries logged as a warning or worse."""


class Heard(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        HEARD.append(record.getMessage())


def gate(model: Path, content: bytes, folder: Path, **limits: Any) -> tuple[dict[str, Any], str]:
    """The report, and the words of the refusal where there is one."""
    (folder / "data" / "00").mkdir(parents=True)
    (folder / "data" / "00" / "rows.jsonl").write_bytes(content)
    (folder / "out").mkdir()
    fields = {"max_rejected": 0.01, "too_long": "error"} | limits
    job = PrepareJob(
        train=(RowsJob(path="00", source="rows.jsonl", format="auto"),), validation_share=0.0, loss_on="assistant", max_length=MAX_LENGTH, seed=17, **fields
    )
    inputs = {"model": str(model), "data": str(folder / "data")}
    task = Task(name="b", job=job, inputs=inputs, output=str(folder / "out"), events=str(folder / "e.jsonl"), summary="")
    refused = ""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            prepare(task, Events(folder / "e.jsonl"))
        except GateRefused as error:
            refused = error.what
    found = folder / "out" / "report.json" if not refused else folder / "out.report.json"
    return json.loads(found.read_text()), refused


def judge_gate(report: dict[str, Any], refused: str, expected: str) -> dict[str, Any]:
    """Whether the one bad row was caught, with its place and by its cause."""
    rejected = [r for r in report["rejected_rows"] if r["where"] == f"rows.jsonl:{LINE}"]
    if expected.startswith("counted: "):
        count = report[expected.removeprefix("counted: ")]
        caught = bool(count) and not report["rejected"]
        said = f"{expected}: {count}"
    else:
        caught = len(rejected) == report["rejected"] == 1 and rejected[0]["reason"] == expected
        said = "; ".join(f"{r['where']}: {r['reason']}" + (f": {r['detail']}" if r["detail"] else "") for r in report["rejected_rows"][:2])
    return {"caught_by_cause": caught, "said": said[:240], "refuses": bool(refused), "good_rows_kept": report["train"]["rows"]}


def chain(error: BaseException) -> list[BaseException]:
    """An error and what it came from."""
    found = [error]
    while before := found[-1].__cause__:
        found.append(before)
    return found


def through_trl(model: Path, made: Any, content: bytes, folder: Path) -> dict[str, Any]:
    """What becomes of the bad row: an error with its words, or where it went."""
    from datasets import load_dataset

    path = folder / "rows.jsonl"
    path.write_bytes(content)
    arguments = trl.SFTConfig(output_dir=str(folder / "o"), assistant_only_loss=True, report_to="none", use_cpu=True, disable_tqdm=True, bf16=False)
    assert arguments.max_length == MAX_LENGTH
    HEARD.clear()
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))
            trainer = trl.SFTTrainer(model=transformers.AutoModelForCausalLM.from_pretrained(model), args=arguments, train_dataset=rows, processing_class=made)
            kept = trainer.train_dataset
            batches = [trainer.data_collator([kept[at]]) for at in range(len(kept))]
    except Exception as error:  # whatever it is, is what a user sees
        words = " ".join(" <- ".join(f"{type(e).__name__}: {e}" for e in chain(error)).split())
        return {"outcome": "error", "names_the_line": bool(re.search(rf"\b(line|row) {LINE}\b|\brow {LINE - 1}\b", words)), "said": words[:240]}
    told = [m for m in [*HEARD, *(str(w.message) for w in warned)] if re.search(r"row|example|truncat|length|drop", m, re.IGNORECASE)]
    sequences = [(made.decode(b["input_ids"][0]), int((b["labels"][0] != -100).sum()), b["input_ids"].shape[1]) for b in batches]
    known = {json.loads(line)["messages"][1]["content"] for line in GOOD}
    strange = [s for s in sequences if not any(f"\n{text}<|im_end|>" in s[0] for text in known)]
    how = "with a warning" if told else "silently"
    if len(sequences) < len(GOOD) + 1:
        outcome = f"{how} dropped" if len(sequences) == len(GOOD) else f"{how} dropped, with {len(GOOD) - len(sequences)} good rows"
    elif strange and not strange[0][1]:
        outcome = "kept, no token learned"
    elif strange and strange[0][2] >= MAX_LENGTH:
        outcome = f"{how} cut, end token lost"
    else:
        outcome = f"{how} trained"
    shown = strange[0] if strange else None
    return {
        "outcome": outcome,
        "rows": len(sequences),
        "said": "; ".join(told)[:300],
        "learned_tokens": shown[1] if shown else None,
        "text": shown[0][:200] if shown else "",
    }


def main() -> None:
    """Every kind by itself."""
    for name in ("", "trl", "transformers", "datasets", "accelerate"):
        logging.getLogger(name).addHandler(Heard(logging.WARNING))
    transformers.logging.disable_progress_bar()
    made = tokenizer(GENERATION)
    results = {}
    with tempfile.TemporaryDirectory() as root:
        model = write_model(Path(root) / "model")
        config = json.loads((model / "config.json").read_text()) | {"max_position_embeddings": MAX_LENGTH}
        (model / "config.json").write_text(json.dumps(config))
        for number, (kind, (_, expected)) in enumerate(KINDS.items()):
            folder = Path(root) / str(number)
            folder.mkdir()
            report, refused = gate(model, file_of(kind), folder)
            (folder / "trl").mkdir()
            results[kind] = {"caisson": judge_gate(report, refused, expected), "trl": through_trl(model, made, file_of(kind), folder / "trl")}
            print(kind, results[kind], file=sys.stderr, flush=True)
    print(json.dumps({"trl": trl.__version__, "transformers": transformers.__version__, "good_rows": len(GOOD), "kinds": results}))


if __name__ == "__main__":
    main()
