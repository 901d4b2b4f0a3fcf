"""Rows that are streamed: the first part, the rest behind it, and turns of several sources."""

import json

import pytest

pytest.importorskip("transformers")

from gate_run import attempt, line, model, stop_at_seals
from tiny import rows

from entrypoint.run.gate_pass import key_of
from entrypoint.run.shards import read_shard
from schemas.errors import GateRefused
from schemas.job import RowsJob

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

MANY, OTHER = rows(1500), [{"messages": [{"role": "user", "content": f"Other {i}?"}, {"role": "assistant", "content": "Yes, other."}]} for i in range(600)]
STREAMED = {"validation_share": 0.0, "part_tokens": 12_000}


def files(output):
    return {p.name: p.read_bytes() for p in output.iterdir() if p.suffix != ".jinja" and p.name not in ("report.json", "golden.json")}


def lengths(output, split="train"):
    return [int(b - a) for path in sorted(output.glob(f"{split}-*")) for s in [read_shard(path)] for a, b in zip(s["starts"], s["starts"][1:], strict=False)]


@pytest.fixture
def two(attempt, tmp_path):
    """Streams two sources of unlike size with a validation, each call into the same folder."""

    def run(streaming, out="out", **changes):
        (tmp_path / "data" / "02").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "02" / "rows.jsonl").write_bytes(b"".join(map(line, OTHER)))
        train = (RowsJob(path="00", source="/data/many.jsonl", format="auto"), RowsJob(path="02", source="/data/other.jsonl", format="auto"))
        return attempt(MANY, validation=rows(9), out=out, **{**STREAMED, "streaming": streaming, "train": train, **changes})

    return run


def test_the_first_part_then_the_rest(two):
    summary, output = two("head")
    assert summary["streaming"] and 0 < summary["train"]["rows"] < 1500
    assert summary["validation"]["rows"] == 9 and len(lengths(output, "validation")) == 9
    first = files(output)
    two("rest")
    assert {name: content for name, content in files(output).items() if name in first} == first, "the rest lies behind it"
    assert len(lengths(output)) == 2100 - 9, "every row once, but for those of the validation"
    records = [json.loads(path.read_text()) for path in sorted(output.glob("part-*.json"))]
    assert len(records) > 4 and [r["ended"] for r in records] == [False] * (len(records) - 1) + [True]
    reads = [[s["read"] for s in record["tally"]["sources"]] for record in records]
    shares = [(read[1] / 1500, read[2] / 600) for read in reads]
    assert all(0.6 < many / other < 1.7 for many, other in shares), f"sources take turns, by the size of their files: {shares}"
    assert reads[-1][1:] == [1500, 600]
    again = files(output)
    two("rest")
    assert files(output) == again, "nothing is left to do"


@pytest.mark.parametrize("stops", [(0,), (1, 0), (2,)])
def test_killed_and_gone_on_with_to_the_same_bytes(two, monkeypatch, stops):
    two("head", out="calm")
    _, calm = two("rest", out="calm")
    two("head")
    stop_at_seals(monkeypatch, stops, lambda: two("rest"))
    _, output = two("rest")
    assert files(output) == files(calm)


def test_a_short_source_is_all_in_the_first_part(attempt):
    summary, output = attempt(rows(30), **STREAMED, streaming="head")
    assert summary["train"]["rows"] == 30
    assert json.loads((output / "part-00000.json").read_text())["ended"]
    _, rest = attempt(rows(30), **STREAMED, streaming="rest")
    assert len(lengths(rest)) == 30


def test_bad_rows_far_behind_refuse_the_rest(attempt):
    bad = [{"messages": []}] * 200
    attempt([*MANY, *bad], **STREAMED, streaming="head")
    with pytest.raises(GateRefused, match="rows are bad"):
        attempt([*MANY, *bad], **STREAMED, streaming="rest")


def test_the_key_binds_first_part_and_rest(attempt):
    from schemas.job import PrepareJob

    job = PrepareJob(train=(), loss_on="all", max_length=16, too_long="drop", max_rejected=0.0, seed=1, streaming="head")
    assert key_of(job) == key_of(job.model_copy(update={"streaming": "rest"})) != key_of(job.model_copy(update={"seed": 2}))


BAD = [{"messages": [{"role": "user", "content": f"Why {i}?"}]} for i in range(1200)]


@pytest.fixture
def short_looks(monkeypatch):
    monkeypatch.setattr("entrypoint.run.gate_pass.ROWS_A_LOOK", 1000)


def test_bad_rows_alone_are_not_read_to_their_end(attempt, short_looks, tmp_path):
    with pytest.raises(GateRefused, match=r"rows are bad \(100.0%\).*\n  /data/rows.jsonl:1: no assistant turn"):
        attempt(BAD * 3, **STREAMED, streaming="head")
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert 1000 <= report["read"] < 1600 and report["rejected_by_reason"] == {"no assistant turn": report["read"]}


def test_rows_that_are_all_too_long_are_not_read_to_their_end(attempt, short_looks):
    with pytest.raises(GateRefused, match=r"of 1[0-4]\d\d rows are longer than 8 tokens"):
        attempt(rows(1500), **{**STREAMED, "max_length": 8}, streaming="head")


def test_bad_rows_behind_the_first_part(attempt, short_looks, tmp_path):
    good = rows(1500)
    attempt(good + BAD * 3, **STREAMED, streaming="head")
    with pytest.raises(GateRefused, match="rows are bad") as refused:
        attempt(good + BAD * 3, **STREAMED, streaming="rest")
    assert int(str(refused.value).split(" of ")[1].split()[0]) < 3500, "of 5,100"


def test_what_max_rejected_allows_is_read_on(attempt, short_looks):
    summary, _ = attempt(BAD + rows(300), **{**STREAMED, "max_rejected": 1.0}, streaming="head")
    assert summary["train"]["rows"] > 0
