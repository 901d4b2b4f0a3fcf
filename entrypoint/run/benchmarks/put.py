"""Leaf around EvalScope: a benchmark's questions put to an endpoint and scored, a line each. `python -m entrypoint.run.benchmarks.put` with a BenchmarkAsked on its input.

EvalScope loads the questions, words them and scores the answers; the requests go through the same `Endpoint` as those of every other suite, so that they are
tried again and counted as there. Its own evaluator is left out: that keeps no question that failed.
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from evalscope.api.model import GenerateConfig, Model, ModelAPI, ModelOutput
from evalscope.api.registry import get_benchmark
from evalscope.config import TaskConfig
from evalscope.version import __version__

from entrypoint.run.benchmarks.layout import files_of
from entrypoint.run.endpoint import Endpoint, Unanswered
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import read_file
from entrypoint.run.row_names import kind_of
from schemas.benchmarks import BenchmarkAsked, BenchmarkTold
from schemas.evaluation import excerpt

Drawn = list[tuple[str, Any]]
"""Each question with its part."""


class DataMissing(Exception):
    """A part of the benchmark is not in its folder."""

    def __init__(self, what: str, fix: str):
        self.what, self.fix = what, fix
        super().__init__(what)


class Through(ModelAPI):  # type: ignore[misc]
    """EvalScope's way to a model, over our endpoint."""

    def __init__(self, endpoint: Endpoint, seed: int):
        super().__init__(model_name=endpoint.model)
        self.endpoint, self.seed = endpoint, seed

    def generate(self, input: list[Any], tools: object, tool_choice: object, config: Any) -> Any:
        """One answer. Raises Unanswered."""
        messages = [{"role": message.role, "content": message.text} for message in input]
        found = self.endpoint.chat(messages=messages, temperature=0, max_tokens=config.max_tokens, seed=self.seed)
        first = found["choices"][0]
        message = first.get("message") if isinstance(first, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("content") or "", str):
            raise Unanswered("an answer without a message", 200)
        output = ModelOutput.from_content(self.endpoint.model, message.get("content") or "", "max_tokens" if first.get("finish_reason") == "length" else "stop")
        output.metadata = {"tokens": (found.get("usage") or {}).get("completion_tokens")}
        return output


def adapter_of(asked: BenchmarkAsked, folder: Path) -> Any:
    """EvalScope's adapter with its questions loaded from `folder`, where they are laid out as it wants them. Raises DataMissing."""
    wishes: dict[str, Any] = {"dataset_id": str(folder)}
    if asked.subsets:
        wishes["subset_list"] = list(asked.subsets)
    if asked.examples is not None:
        wishes["few_shot_num"] = asked.examples
    config = TaskConfig(
        model="caisson", datasets=[asked.name], dataset_args={asked.name: wishes}, limit=asked.limit, seed=asked.seed, work_dir=str(folder / "work"),
        eval_type="openai_api", api_url="http://127.0.0.1",
    )  # fmt: skip
    adapter = get_benchmark(asked.name, config)
    if unknown := set(asked.subsets) - set(get_benchmark(asked.name, TaskConfig(model="caisson", datasets=[asked.name])).subset_list):
        raise DataMissing(f"{asked.name} has no part {', '.join(sorted(unknown))}", "correct `subsets`")
    lay_out(asked, adapter, folder)
    adapter.load = lambda: adapter.load_from_disk(use_local_loader=True)
    adapter.load_dataset()
    return adapter


def lay_out(asked: BenchmarkAsked, adapter: Any, folder: Path) -> None:
    """Write the fetched files as SUBSET_SPLIT.jsonl, which EvalScope's loader of local files reads; its other one asks a hub for how they are laid out."""
    source = Path(asked.folder)
    files = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file() and kind_of(path.name)]
    parts = [adapter.default_subset] if adapter.reformat_subset else list(adapter.subset_list)
    splits = [adapter.eval_split, *([adapter.train_split] if adapter.few_shot_mode == "auto" and adapter.few_shot_num else [])]
    for part in parts:
        for split in splits:
            found = files_of(files, part, split, alone=len(parts) == 1)
            if not found:
                raise DataMissing(
                    f"{asked.source} has no file of {asked.name}'s part {part}, split {split}",
                    f"such as {part}/{split}-00000-of-00001.parquet or {part}_{split}.jsonl; `subsets` names fewer parts",
                )
            with (folder / f"{part}_{split}.jsonl").open("w", encoding="utf-8") as out:
                for file in found:
                    for record in read_file(source / file, f"{asked.source}/{file}"):
                        if isinstance(record, Rejected):
                            raise DataMissing(f"{record.where}: {record.reason}", "fetch the data set anew")
                        out.write(json.dumps(record[1], ensure_ascii=False, default=str) + "\n")


def questions_of(asked: BenchmarkAsked, adapter: Any) -> Drawn:
    """In the order of the parts. Raises DataMissing for a part that is empty."""
    for part, samples in adapter.test_dataset.items():
        if not len(samples):
            raise DataMissing(
                f"{asked.source} has no question of {asked.name}'s part {part}", "fetch the data set anew, or name the parts that are wanted under `subsets`"
            )
    return [(part, sample) for part, samples in adapter.test_dataset.items() for sample in samples]


def put_one(adapter: Any, model: Any, folder: Path, part: str, sample: Any) -> dict[str, Any]:
    """A question, its answer and what EvalScope gives for it, as the fields of a Question."""
    prompt, target = sample.input, sample.target
    text = "\n".join(message.text for message in prompt)
    told = {"id": f"{part}-{sample.id}", "group": part, "prompt": excerpt(text), "expected": excerpt(target if isinstance(target, str) else ", ".join(target))}
    start = time.monotonic()
    try:
        state = adapter.run_inference(model=model, sample=sample, output_dir=str(folder))
    except Unanswered as unanswered:
        return told | {"score": None, "ended": "none", "seconds": round(time.monotonic() - start, 3), "error": unanswered.what}
    scored = adapter.calculate_metrics(state).score
    cut, tokens = state.output.stop_reason == "max_tokens", (state.output.metadata or {}).get("tokens")
    value = float(scored.main_value)
    return told | {
        "answer": excerpt(state.output.completion), "score": value, "scores": {"unfinished": float(cut)}, "ended": "cut" if cut else "stop",
        "tokens": tokens if isinstance(tokens, int) and tokens >= 0 else None, "seconds": round(time.monotonic() - start, 3),
        "note": f"read as: {excerpt(str(scored.extracted_prediction), 200)}",
    }  # fmt: skip


def put(asked: BenchmarkAsked, out: TextIO) -> None:
    """Say how many questions there are and, where there is an endpoint, what came of each."""

    def tell(told: BenchmarkTold) -> None:
        out.write(told.model_dump_json(exclude_defaults=True) + "\n")
        out.flush()

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            adapter = adapter_of(asked, folder)
            drawn = questions_of(asked, adapter)
        except DataMissing as missing:
            tell(BenchmarkTold(wrong=missing.what, fix=missing.fix))
            return
        except (KeyError, IndexError, AssertionError) as error:  # how EvalScope's adapters meet rows of another data set
            tell(BenchmarkTold(wrong=f"{asked.source} has not the rows of {asked.name}: {type(error).__name__}: {error}", fix="name the data set that it is"))
            return
        asks = repr([(part, [m.text for m in sample.input], sample.target) for part, sample in drawn])
        settings = {
            "temperature": 0,
            "most_tokens": asked.max_tokens,
            "limit": asked.limit,
            "seed": asked.seed,
            "examples": adapter.few_shot_num,
            "parts": list(adapter.test_dataset.keys()),
        }
        tell(
            BenchmarkTold(
                of=len(drawn), tool=f"evalscope {__version__}", digest=hashlib.sha256(asks.encode("utf-8", "surrogatepass")).hexdigest()[:16], settings=settings
            )
        )
        if not asked.url:
            return
        endpoint = Endpoint(asked.url, asked.key or None, asked.model, requests=asked.requests)
        model = Model(Through(endpoint, asked.seed), GenerateConfig(max_tokens=asked.max_tokens, temperature=0))
        with ThreadPoolExecutor(asked.requests) as pool:
            for found in pool.map(lambda one: put_one(adapter, model, folder, *one), drawn):
                tell(BenchmarkTold(question=found, given_up=endpoint.given_up, reason=endpoint.reason))
        tell(BenchmarkTold(retried=endpoint.retried))


def _end_with_parent() -> None:
    """Whoever started this holds its input open; once that is closed nobody reads the answers."""
    while os.read(0, 512):  # not through sys.stdin, whose lock would be held when this process ends
        pass
    os._exit(1)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # EvalScope prints
    logging.disable(logging.WARNING)
    wanted = BenchmarkAsked.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    put(wanted, answers)
    answers.close()
    os._exit(0)
