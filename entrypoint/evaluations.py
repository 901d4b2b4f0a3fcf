"""The evaluations of one run: which there are, what their gate says, and what that means for promotion."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run import report_words as words
from entrypoint.run.promotion import promote, read_current
from entrypoint.run.store import Store
from schemas.errors import GateRefused, UsageError
from schemas.evaluation import Verdict
from schemas.gate import judge
from schemas.manifest import Sealed
from schemas.report import PAGE, REPORT, Report
from schemas.spec import Spec


@dataclass(frozen=True)
class Evaluation:
    """One sealed evaluation."""

    sealed: Sealed
    report: Report

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.sealed.folder.rpartition("/")[2]


def evaluations(name: str, store: Store) -> list[Evaluation]:
    """Every sealed evaluation of a run whose report can be read, the newest first."""
    found = [Evaluation(sealed, report) for sealed in store.sealed(f"{name}/evals") if (report := _read(store.root / sealed.folder))]
    return sorted(found, key=lambda one: (one.sealed.manifest.finished_at, one.report.made_at), reverse=True)


def evaluation_of(name: str, store: Store, export: str) -> Evaluation | None:
    """The newest evaluation of an export."""
    return next((one for one in evaluations(name, store) if one.report.export == export), None)


def find_evaluation(name: str, store: Store, start: str) -> Evaluation:
    """The newest evaluation, or the one whose ID begins so. Raises UsageError where none does, or several do."""
    every = evaluations(name, store)
    found = [one for one in every if one.id.startswith(start)] if start else every[:1]
    if len(found) == 1:
        return found[0]
    if not every:
        raise UsageError(f"{name} has not been evaluated", "run `docker compose run --rm evaluate`, or `caisson evaluate SPEC`")
    what = f"{start} is the beginning of {len(found)} evaluations of {name}" if found else f"{name} has no evaluation {start}"
    raise UsageError(what, f"there {'is' if len(every) == 1 else 'are'} {', '.join(one.id for one in every)}")


def page_of(found: Evaluation, store: Store) -> Path:
    """Its report.html."""
    return store.root / found.sealed.folder / PAGE


def verdicts(spec: Spec, found: Evaluation) -> tuple[Verdict, ...]:
    """What the gate of the spec says of an evaluation: that of now, which may be another than when it was made."""
    return judge(spec.evaluate.gate, found.report.scores)


def check_gate(spec: Spec, store: Store, export: str) -> None:
    """Raise GateRefused where the spec has a gate that this export has not passed: no evaluation, a damaged one, or a condition that does not hold."""
    if not spec.evaluate.gate:
        return
    found = evaluation_of(spec.name, store, export)
    if found is None:
        raise GateRefused(
            f"{spec.name}/exports/{export} has not been evaluated, and the spec has a gate",
            f"run `docker compose run --rm evaluate`; {_all_the_same(export)}",
        )
    if damage := store.damage(found.sealed.folder):
        raise GateRefused(f"the evaluation {found.sealed.folder} is damaged: {damage[0]}", f"remove it and evaluate again; {_all_the_same(export)}")
    if failed := refusals(spec, found):
        raise GateRefused(
            f"the gate refuses {spec.name}/exports/{export}: {failed}", f"`caisson report SPEC {found.id}` has the answers; {_all_the_same(export)}"
        )


def refusals(spec: Spec, found: Evaluation) -> str:
    """The conditions that do not hold, in words; empty where all do."""
    return "; ".join(_words(one, found.report) for one in verdicts(spec, found) if not one.passed)


def conclude(spec: Spec, store: Store, found: Evaluation) -> str:
    """After an evaluation: make its export current where its gate has passed and `serve.promote` is auto. Returns what is to be said; empty where nothing
    changed. Raises GateRefused where the gate refuses; where that export is served already, the fix says so."""
    if not spec.evaluate.gate:
        return ""
    export, current = found.report.export, read_current(store, spec.name)
    try:
        check_gate(spec, store, export)
    except GateRefused as error:
        if current and current.export == export and current.previous:
            raise GateRefused(error.what, f"it is served: `caisson rollback SPEC` serves what was before; {error.fix}") from None
        raise
    if spec.serve.promote == "auto" and (current is None or current.export != export):
        promote(store, spec.name, export, "evaluate")
        return f"evaluate: the gate passed, {spec.name}/exports/{export} is current: serve follows"
    return "evaluate: the gate passed" + ("" if current and current.export == export else f"; `caisson promote SPEC {export}` serves it")


def promote_by_hand(spec: Spec, store: Store, export: str, reason: str | None) -> str:
    """`caisson promote`, with `--force` where there is a reason. Returns what is to be said. Raises GateRefused, and UsageError for a reason that says nothing."""
    refused = ""
    if reason is not None and not reason.strip():
        raise UsageError("--force needs a reason", 'write why, as in --force "the gate counts a wrong key"')
    try:
        check_gate(spec, store, export)
    except GateRefused as error:
        if reason is None:
            raise
        refused = error.what
    chosen = promote(store, spec.name, export, "promote", reason=" ".join((reason or "").split()), refused=refused)
    return f"promote: {spec.name}/exports/{chosen.export} is current" + (" against its gate; the reason is in current.json" if refused else "")


def gate_words(spec: Spec, store: Store) -> dict[str, str]:
    """What the gate says of each export that was evaluated, in a line; empty where the spec has none."""
    if not spec.evaluate.gate:
        return {}
    newest = {one.report.export: one for one in reversed(evaluations(spec.name, store))}
    return {export: f"gate refused: {failed}" if (failed := refusals(spec, one)) else "gate passed" for export, one in newest.items()}


def _all_the_same(export: str) -> str:
    return f'`caisson promote SPEC {export} --force "REASON"` serves it all the same, and keeps the reason'


def _words(one: Verdict, report: Report) -> str:
    score = words.score_of(report, one.metric)
    share = score.share if score else True
    value = f"is {words.number(one.value, share=share)}" if one.value is not None else f"has no number ({one.why})"
    bound = f" ({words.number(one.bound, share=share)})" if one.bound is not None else ""
    return f"{one.metric} {value}, wanted {one.condition}{bound}"


def _read(folder: Path) -> Report | None:
    try:
        return Report.model_validate_json((folder / REPORT).read_bytes())
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
