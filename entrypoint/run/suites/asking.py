"""One suite asked of one model: each row a conversation of one question, without chance in the answer."""

import hashlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from entrypoint.run.endpoint import Endpoint, Unanswered
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import read_files
from entrypoint.run.suites import choice, questions
from entrypoint.run.suites.questions import Put
from schemas.errors import UsageError
from schemas.evaluation import Question, Side, SuiteResult, excerpt
from schemas.suite import SuiteJob

KINDS = {"choice": (choice.put, choice.scores_of), "questions": (questions.put, questions.scores_of)}


def run_suite(job: SuiteJob, rows: Path, endpoint: Endpoint, side: Side, tell: Callable[[int, int], None] | None = None) -> SuiteResult:
    """Ask all chosen rows; `rows` is the artifact of the suites' rows, `tell` hears questions done, of all. Raises UsageError for a row that is none."""
    put = read_suite(job, rows)
    start, answered = time.monotonic(), []
    with ThreadPoolExecutor(job.requests) as pool:
        try:
            for done, question in enumerate(pool.map(lambda item: _ask(job, endpoint, *item), put.items()), 1):
                answered.append(question)
                if tell:
                    tell(done, len(put))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    settings = {"temperature": 0, "most_tokens": job.max_tokens, "rows": len(put), "limit": job.limit, "seed": job.seed, "examples": 0}
    return SuiteResult(
        suite=job.name, kind=job.kind, source=Path(job.source).name if "://" not in job.source else job.source, source_version=digest_of(put), side=side,
        served_name=endpoint.model, metric=job.metric, tool="caisson", settings=settings, questions=tuple(answered), retried=endpoint.retried,
        seconds=round(time.monotonic() - start, 3),
    )  # fmt: skip


def read_suite(job: SuiteJob, rows: Path) -> dict[str, Put]:
    """The chosen questions by their number, which is the row's place in the suite and so the same for every model."""
    found, make = {}, KINDS[job.kind][0]
    for number, record in enumerate(read_files(rows / job.path, job.source)):
        if isinstance(record, Rejected):
            raise UsageError(f"evaluate.suites: {job.name}: {record.where}: {record.reason}{f': {record.detail}' if record.detail else ''}", "correct the row")
        where, row = record
        where = f"evaluate.suites: {job.name}: {where}"
        if not isinstance(row, dict):
            raise UsageError(f"{where}: is no object with keys", "a row has its question and its answer by name")
        found[str(number)] = make(row, job.columns, where)
    if not found:
        raise UsageError(f"evaluate.suites: {job.name}: {job.source} has no rows", "write one question a line")
    if job.limit is None or job.limit >= len(found):
        return found
    chosen = sorted(random.Random(job.seed).sample(range(len(found)), job.limit))
    return {str(number): found[str(number)] for number in chosen}


def digest_of(put: dict[str, Put]) -> str:
    """Of the questions as they are put and what is expected: two reports with the same digest asked the same."""
    return hashlib.sha256(repr(list(put.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _ask(job: SuiteJob, endpoint: Endpoint, id: str, one: Put) -> Question:
    told: dict[str, Any] = {"id": id, "group": one.group, "prompt": excerpt(one.prompt), "expected": excerpt(one.expected)}
    start = time.monotonic()
    try:
        found = endpoint.chat(messages=[{"role": "user", "content": one.prompt}], max_tokens=job.max_tokens, temperature=0, seed=job.seed)
        text, cut = _text(found)
    except Unanswered as unanswered:
        return Question(**told, score=None, ended="none", seconds=round(time.monotonic() - start, 3), error=unanswered.what)
    scores = KINDS[job.kind][1](one, text, cut)
    score, tokens = scores.pop(job.metric), (found.get("usage") or {}).get("completion_tokens")
    return Question(
        **told, answer=excerpt(text), score=score, scores=scores, tokens=tokens if isinstance(tokens, int) and tokens >= 0 else None,
        ended="cut" if cut else "stop", seconds=round(time.monotonic() - start, 3),
    )  # fmt: skip


def _text(found: dict[str, Any]) -> tuple[str, bool]:
    """What was said, and whether its room was full. Raises Unanswered for an answer of another form."""
    first = found["choices"][0]
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content") or "", str):
        raise Unanswered("an answer without a message", 200)
    return str(message.get("content") or "").strip(), first.get("finish_reason") == "length"
