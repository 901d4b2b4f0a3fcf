"""Runs of one name beside each other, over sealed trainings."""

import json

import pytest
from evaluated_run import answered, put_evaluation
from small_run import Caisson, SmallRun

from entrypoint.render_report import BARS, SPARKS, spark
from entrypoint.run.lineage import link_of
from entrypoint.run.seal import seal
from schemas.manifest import Manifest, Sealed

IDS = ("bb" * 8, "ba" * 8, "aa" * 8)
"""In the order in which they were made."""


@pytest.fixture
def run(run: SmallRun) -> SmallRun:
    """Three trainings, the second with another rate, the third also with other rows; the first was evaluated."""
    made = run
    rows = [put(made, f"n/prepared/{at}", "prepare", {"seed": 17, "max_length": 256 * at, "train": [{"source": "/data/a.jsonl"}]}) for at in (1, 2)]
    for at, (id, rate, prepared) in enumerate(zip(IDS, (0.001, 0.002, 0.002), (rows[0], rows[0], rows[1]), strict=True), 1):
        job = {
            "stage": "train",
            "learning_rate": rate,
            "adapter": {"kind": "lora", "rank": 16},
            "track": [str(at)],
            "keep": at,
            "optimisation": {"schedule": "linear"},
        }
        curve = [{"step": step, "loss": 2.0 / at - step / 100} for step in range(1, 51)] + [{"step": 50, "eval_loss": 1.25 * at}]
        trained = put(made, f"n/train/{id}", "train", job, {"prepared": prepared.manifest.content}, day=at, summary={"steps": 50}, curve=curve)
        if at == 1:
            put_evaluation(made.store, "x" * 16, [answered("mine", "base", 20), answered("mine", "tuned", 30)], "e" * 16, chain=(link_of("trained", trained),))
    return made


def put(
    run: SmallRun, folder: str, stage: str, job: dict, inputs: dict | None = None, *, day: int = 1, summary: dict | None = None, curve: list | None = None
) -> Sealed:
    final = run.store.root / folder
    partial = final.with_name(f".partial-{final.name}")
    partial.mkdir(parents=True)
    (partial / "curve.json").write_text(json.dumps(curve or folder))
    bare = Manifest(stage=stage, name="n", identity=folder, request="r", job=job, inputs=inputs or {}, program="0", summary=summary or {}, files=())
    if stage == "prepare":
        bare = bare.model_copy(update={"summary": {"train": {"rows": 2, "tokens": 9, "longest": 5}}})
    dated = seal(partial, final, bare).model_copy(update={"finished_at": f"2026-01-0{day}T10:00:00+00:00"})
    (final / "manifest.json").write_text(dated.model_dump_json())
    return Sealed(folder, dated)


def test_what_was_decided_otherwise(caisson: Caisson, run: SmallRun) -> None:
    told = json.loads(caisson("compare", run.spec_file, "--store", run.store.root, "--json")[1])
    assert [one["id"] for one in told["runs"]] == list(IDS), "oldest first"
    changed = told["differences"]
    prepared = [one["settings"]["input prepared"] for one in told["runs"]]
    assert changed == {"learning_rate": ["0.001", "0.002", "0.002"], "input prepared": prepared, "rows max_length": ["256", "256", "512"]}
    assert prepared[0] == prepared[1] != prepared[2]
    assert told["runs"][0]["settings"]["adapter.rank"] == "16" and told["runs"][0]["settings"]["rows train.0.source"] == "/data/a.jsonl"


def test_scores_of_what_was_evaluated(caisson: Caisson, run: SmallRun) -> None:
    told = json.loads(caisson("compare", run.spec_file, "bb", "ba", "--store", run.store.root, "--json")[1])
    assert [one["evaluation"] for one in told["runs"]] == ["e" * 16, None]
    assert told["runs"][0]["scores"][0]["tuned"]["value"] == 0.75


def test_in_a_terminal(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("compare", run.spec_file, "--store", run.store.root)
    assert code == 0 and max(map(len, out.splitlines())) <= 80 and "…" not in out
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == f"A  {IDS[0]}  2026-01-01 10:00 UTC, 50 steps"
    assert lines[1].endswith("loss 1.990 to 1.500") and set(lines[1].split()[0]) <= set(BARS)
    assert lines[1].split()[0][0] == BARS[-1] and lines[9].split()[0][-1] == BARS[0], "one scale for all of them"
    assert lines[2:4] == ["   validation loss 1.250", f"   evaluation {'e' * 16}"]
    assert "learning_rate    0.001         0.002         0.002" in out
    assert " ".join(lines[-1].split()) == "mine 75.0% - -"


def test_one_alone_and_each_once(caisson: Caisson, run: SmallRun) -> None:
    out = caisson("compare", run.spec_file, "bb", "bb", "--store", run.store.root)[1]
    assert out.count(IDS[0]) == 1 and "setting" not in out


def test_the_same_twice_differs_in_nothing(caisson: Caisson, run: SmallRun) -> None:
    job = {"stage": "train", "learning_rate": 0.001, "keep": 3}
    for id in ("d1", "d2"):
        put(run, f"n/train/{id}", "train", {**job, "keep": int(id[1])})
    assert "nothing was decided otherwise" in caisson("compare", run.spec_file, "d1", "d2", "--store", run.store.root)[1]


def test_what_there_is_not(caisson: Caisson, run: SmallRun) -> None:
    code, _, err = caisson("compare", run.spec_file, "zz", "--store", run.store.root)
    assert (code, err) == (2, f"caisson: n has no training zz\n    there are {', '.join(IDS)}\n")
    assert "b is the beginning of 2 trainings of n" in caisson("compare", run.spec_file, "b", "--store", run.store.root)[2]
    code, _, err = caisson("compare", run.spec_file, "--store", run.folder / "empty")
    assert code == 2 and "n has no finished training" in err


def test_sparks() -> None:
    assert spark([], 0, 1) == ""
    assert spark([0.0, 0.5, 1.0], 0, 1) == "▁▅█"
    assert spark([3.0, 3.0], 3, 3) == "▁▁"
    assert len(spark([float(at) for at in range(1000)], 0, 1000)) == SPARKS
