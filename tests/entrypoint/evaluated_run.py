"""Sealed evaluations of a small run, as the stage leaves them."""

from pathlib import Path
from typing import Any

from entrypoint.run.evaluation import Told, make_report, write_report, write_results
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.evaluation import Question, Side, SuiteResult
from schemas.manifest import Manifest
from schemas.report import Report


def answered(suite: str, side: Side, right: int, count: int = 40, metric: str = "accuracy") -> SuiteResult:
    """A suite of which the first questions are right."""
    questions = tuple(
        Question(id=str(at), prompt=f"Question {at}?", answer="yes" if at < right else "no", expected="yes", score=float(at < right), ended="stop")
        for at in range(count)
    )
    return SuiteResult(
        suite=suite, kind="questions", source="/data/q.jsonl", side=side, served_name="n", metric=metric, tool="t 1", questions=questions, seconds=1.0
    )


def put_evaluation(store: Store, export: str, results: list[SuiteResult], id: str, *, day: int = 1, name: str = "n", **told: Any) -> Report:
    """Seal one; `day` orders them."""
    partial = store.root / name / "evals" / f".partial-{id}"
    partial.mkdir(parents=True)
    for result in results:
        write_results(partial, result)
    report = make_report(results, Told(name=name, export=export, seed=17, **told), made_at=f"2026-02-0{day}T10:00:00+00:00")
    write_report(partial, report)
    manifest = Manifest(stage="evaluate", name=name, identity=id, request="r", job={}, program="0", files=())
    sealed = seal(partial, partial.with_name(id), manifest)
    dated = sealed.model_copy(update={"finished_at": f"2026-02-0{day}T10:00:00+00:00"})
    (partial.with_name(id) / "manifest.json").write_text(dated.model_dump_json())
    return report


def damage(folder: Path) -> None:
    """A number of the report, its size kept."""
    file = folder / "report.json"
    file.write_bytes(file.read_bytes().replace(b'"value": 0.5', b'"value": 0.1'))
