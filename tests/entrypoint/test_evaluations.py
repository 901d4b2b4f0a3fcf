"""The gate before promotion, over sealed exports and sealed evaluations, as people type it."""

import json

import pytest
from evaluated_run import answered, damage, put_evaluation
from small_run import Caisson, SmallRun

from entrypoint.chain import read_spec
from entrypoint.evaluations import conclude, find_evaluation
from entrypoint.run.promotion import read_current
from schemas.errors import GateRefused

GATE = 'evaluate: {suites: [{kind: questions, name: mine, source: /d.jsonl}], gate: {mine: ">= base - 1%", own.exact_match: ">= 0.9"}}\n'
OLD, NEW = "1111111111111111", "2222222222222222"


@pytest.fixture
def run(run: SmallRun) -> SmallRun:
    """With a gate."""
    run.write(GATE)
    return run


def export(run: SmallRun, content: str) -> str:
    """Seal an export of other weights; its ID."""
    run.seal("fetch", "prepare", "train", "export", content=content)
    return run.chain("export").folder("exported").rpartition("/")[2]


def evaluate(run: SmallRun, of: str, right: int, id: str = "e" * 16, day: int = 1) -> None:
    """Base and tuned model on two suites; of the tuned answers so many of forty are right."""
    results = [answered("mine", "base", 20), answered("mine", "tuned", right)]
    own = [answered("own", side, 38, metric="exact_match") for side in ("base", "tuned")]
    put_evaluation(run.store, of, results + own, id, day=day)


def current(run: SmallRun) -> str | None:
    found = read_current(run.store, "n")
    return found.export if found else None


def test_an_export_that_nobody_evaluated_is_not_promoted(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    code, _, err = caisson("promote", run.spec_file, made, "--store", run.store.root)
    assert (code, current(run)) == (4, None)
    assert err == (
        f"caisson: n/exports/{made} has not been evaluated, and the spec has a gate\n"
        f'    run `docker compose run --rm evaluate`; `caisson promote SPEC {made} --force "REASON"` serves it all the same, and keeps the reason\n'
    )


def test_a_gate_that_passed_lets_it_through(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=21)
    assert caisson("promote", run.spec_file, made, "--store", run.store.root) == (0, f"promote: n/exports/{made} is current\n", "")
    assert f"{made}: gate passed" in caisson("exports", run.spec_file, "--store", run.store.root)[1]


def test_a_gate_that_failed_does_not(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=8)
    code, _, err = caisson("promote", run.spec_file, made, "--store", run.store.root)
    assert (code, current(run)) == (4, None)
    assert f"the gate refuses n/exports/{made}: mine is 20.0%, wanted >= base - 1% (49.0%)\n" in err
    assert "own.exact_match" not in err, "that one holds"
    assert f"{made}: gate refused: mine is 20.0%, wanted >= base - 1% (49.0%)" in " ".join(
        caisson("exports", run.spec_file, "--store", run.store.root)[1].split()
    )


def test_by_force_with_a_reason_that_stays(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=8)
    code, out, _ = caisson("promote", run.spec_file, made, "--store", run.store.root, "--force", "the suite has\na wrong key")
    assert (code, out) == (0, f"promote: n/exports/{made} is current against its gate; the reason is in current.json\n")
    (kept,) = json.loads((run.store.root / "n" / "current.json").read_text())["forced"]
    assert (kept["export"], kept["reason"]) == (made, "the suite has a wrong key")
    assert "mine is 20.0%" in kept["refused"]
    shown = " ".join(caisson("exports", run.spec_file, "--store", run.store.root)[1].split())
    assert "promoted against its gate" in shown and shown.endswith("the suite has a wrong key")
    (told,) = json.loads(caisson("exports", run.spec_file, "--store", run.store.root, "--json")[1])
    assert "the suite has a wrong key" in told["forced"] and told["gate"].startswith("gate refused")
    again = export(run, "y") and read_current(run.store, "n")
    assert again and again.forced[0].reason == "the suite has a wrong key", "later choices keep it"


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_force_wants_a_reason(caisson: Caisson, run: SmallRun, reason: str) -> None:
    made = export(run, "x")
    code, _, err = caisson("promote", run.spec_file, made, "--store", run.store.root, "--force", reason)
    assert (code, current(run)) == (2, None) and "--force needs a reason" in err


def test_force_where_nothing_is_refused_writes_nothing_down(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=40)
    caisson("promote", run.spec_file, made, "--store", run.store.root, "--force", "just to be sure")
    found = read_current(run.store, "n")
    assert found and (found.export, found.forced) == (made, ())


def test_the_newest_evaluation_counts_and_so_does_the_gate_of_now(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=40, id="a" * 16, day=1)
    evaluate(run, made, right=8, id="b" * 16, day=2)
    assert caisson("promote", run.spec_file, made, "--store", run.store.root)[0] == 4
    run.write('evaluate: {suites: [{kind: questions, name: mine, source: /d.jsonl}], gate: {mine: ">= 0.1"}}\n')
    assert caisson("promote", run.spec_file, made, "--store", run.store.root)[0] == 0


def test_another_export_s_evaluation_does_not_count(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, OLD, right=40)
    assert caisson("promote", run.spec_file, made, "--store", run.store.root)[0] == 4


def test_an_evaluation_that_was_edited_by_hand(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=40)
    damage(run.store.root / "n" / "evals" / ("e" * 16))
    code, _, err = caisson("promote", run.spec_file, made, "--store", run.store.root)
    assert code == 4 and "report.json was altered after it was sealed" in err


def test_a_metric_that_was_not_measured_refuses(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    put_evaluation(run.store, made, [answered("mine", "tuned", 40)], "e" * 16)
    code, _, err = caisson("promote", run.spec_file, made, "--store", run.store.root)
    assert code == 4
    assert "mine is 100.0%, wanted >= base - 1%" in err and "own.exact_match has no number (the tuned model has no such number)" in err


def test_export_waits_for_the_gate_where_something_is_served(caisson: Caisson, run: SmallRun) -> None:
    run.write()
    first = export(run, "x")
    caisson("promote", run.spec_file, first, "--store", run.store.root)
    run.write(GATE + "train: {epochs: 2}\n")
    second = export(run, "y")
    assert second != first
    code, out, _ = caisson("export", run.spec_file, "--store", run.store.root)
    assert (code, current(run)) == (0, first)
    assert f"n/exports/{first} stays current until the gate of an evaluation has passed" in out
    evaluate(run, second, right=8)
    spec, found = read_spec(run.spec_file), find_evaluation("n", run.store, "")
    with pytest.raises(GateRefused, match=r"mine is 20\.0%"):
        conclude(spec, run.store, found)
    assert current(run) == first
    evaluate(run, second, right=40, id="f" * 16, day=2)
    assert conclude(spec, run.store, find_evaluation("n", run.store, "")) == f"evaluate: the gate passed, n/exports/{second} is current: serve follows"
    assert current(run) == second
    assert conclude(spec, run.store, find_evaluation("n", run.store, "")) == "evaluate: the gate passed"


def test_one_that_is_served_and_refused_can_go_back(caisson: Caisson, run: SmallRun) -> None:
    run.write()
    first = export(run, "x")
    caisson("promote", run.spec_file, first, "--store", run.store.root)
    run.write("train: {epochs: 2}\n")
    second = export(run, "y")
    caisson("promote", run.spec_file, second, "--store", run.store.root)
    run.write(GATE + "train: {epochs: 2}\n")
    evaluate(run, second, right=8)
    with pytest.raises(GateRefused) as caught:
        conclude(read_spec(run.spec_file), run.store, find_evaluation("n", run.store, ""))
    assert caught.value.fix and caught.value.fix.startswith("it is served: `caisson rollback SPEC` serves what was before")
    assert caisson("rollback", run.spec_file, "--store", run.store.root)[0] == 0, "the way back asks no gate"
    assert current(run) == first


def test_by_hand_only(caisson: Caisson, run: SmallRun) -> None:
    run.write(GATE + "serve: {promote: manual}\n")
    made = export(run, "x")
    evaluate(run, made, right=40)
    said = conclude(read_spec(run.spec_file), run.store, find_evaluation("n", run.store, ""))
    assert (said, current(run)) == (f"evaluate: the gate passed; `caisson promote SPEC {made}` serves it", None)


def test_without_a_gate_nothing_is_asked(caisson: Caisson, run: SmallRun) -> None:
    run.write()
    made = export(run, "x")
    assert caisson("promote", run.spec_file, made, "--store", run.store.root)[0] == 0
    evaluate(run, made, right=0)
    assert conclude(read_spec(run.spec_file), run.store, find_evaluation("n", run.store, "")) == ""
    assert "gate" not in caisson("exports", run.spec_file, "--store", run.store.root)[1]


def test_report_in_a_terminal(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=8)
    code, out, _ = caisson("report", run.spec_file, "--store", run.store.root)
    assert code == 0 and max(map(len, out.splitlines())) <= 80 and "…" not in out
    text = " ".join(out.split())
    assert f"n: evaluation {'e' * 16} export {made}" in text
    assert "gate refused: 1 of 2 conditions mine >= base - 1% 20.0% beside 49.0% refused" in text
    assert "mine 50.0% 20.0% -30.0 [" in text


def test_report_as_json_and_as_a_page(caisson: Caisson, run: SmallRun) -> None:
    made = export(run, "x")
    evaluate(run, made, right=8)
    assert json.loads(caisson("report", run.spec_file, "e", "--store", run.store.root, "--json")[1])["export"] == made
    assert caisson("report", run.spec_file, "--store", run.store.root, "--page")[1] == (run.store.root / "n" / "evals" / ("e" * 16) / "report.html").read_text()


def test_reports_that_are_not_there(caisson: Caisson, run: SmallRun) -> None:
    code, _, err = caisson("report", run.spec_file, "--store", run.store.root)
    assert code == 2 and err.startswith("caisson: n has not been evaluated\n    run `docker compose run --rm evaluate`")
    evaluate(run, OLD, 8, id="ea" + "0" * 14)
    evaluate(run, NEW, 8, id="eb" + "0" * 14, day=2)
    assert "e is the beginning of 2 evaluations of n" in caisson("report", run.spec_file, "e", "--store", run.store.root)[2]
    assert "n has no evaluation x" in caisson("report", run.spec_file, "x", "--store", run.store.root)[2]
    assert NEW in caisson("report", run.spec_file, "--store", run.store.root)[1], "the newest"
