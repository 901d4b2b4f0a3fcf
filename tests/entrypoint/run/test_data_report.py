"""The table fits a terminal and hides nothing that was counted."""

from typing import Any

from entrypoint.run.data_report import WIDTH, lines_of
from entrypoint.run.rejection import Rejected
from entrypoint.run.tally import Source, Tally

LONG_NAME = "/data/" + "a-very-long-folder-name/" * 4 + "rows.jsonl"


def tally() -> Tally:
    found = Tally(read=1234567, too_long=3, cut=4, cut_tokens=999, split_rows=5, split_pieces=17, unrolled=6, unrolled_pieces=18, no_end=7, thoughts_left_out=8)
    found.sources = [
        Source("/data/a.jsonl", "train", "messages", "20 of the first 20 rows have `messages`", read=1234560, rejected=4),
        Source(LONG_NAME, "train", "alpaca", "named in the spec", read=7, weight=2.5, max_rows=5, taken=5, repeated=8, left_out=2),
    ]
    for size in (10, 100, 100, 3000, 50000):
        found.train.count([size], size // 2)
    found.validation.count([40, 60], 12)
    for _ in range(3):
        found.reject(Rejected("/data/a.jsonl:7", "no assistant turn", "", '{"messages": [{"role": "user", "content": "Where is'))
    found.reject(Rejected(f"{LONG_NAME}:9", "not JSON", "Expecting value at column 1", "x" * 60))
    found.too_long_rows = [{"where": "/data/a.jsonl:9", "tokens": 8000, "words": "w"}]
    found.duplicates, found.duplicate_rows = 9, ["/data/a.jsonl:11", "/data/a.jsonl:12"]
    found.leaked, found.leaked_rows = 10, ["/data/a.jsonl:13"]
    found.count_extra(("id", "source"))
    return found


def shown(**changes: Any) -> list[str]:
    return list(lines_of(tally().report(4096, False) | changes))


def test_it_keeps_to_the_width() -> None:
    assert max(map(len, shown())) <= WIDTH


def test_everything_that_was_counted_is_said() -> None:
    text = " ".join(" ".join(shown()).split())
    for said in (
        "/data/a.jsonl (train): messages, 20 of the first 20 rows have `messages`", "5 taken, 8 repeated, 2 left out (weight 2.5, max_rows 5)",
        "4 of 1,234,567 rows are rejected", "3 x no assistant turn", "first: /data/a.jsonl:7", '{"messages": [{"role": "user", "content": "Where is', "1 x not JSON",
        "3 rows are left out as longer than 4,096 tokens, the first /data/a.jsonl:9 with 8,000", "4 rows are cut to 4,096 tokens, 999 tokens are lost; end tokens are kept",
        "5 rows are split into 17 pieces", "6 rows are written as 18 rows", "8 rows have thinking that the chat template does not show",
        "7 rows are written without a learned end token", "9 rows repeat an earlier one, and kept", "10 rows of the training sources are in validation too", "id, source",
    ):  # fmt: skip
        assert said in text, said


def test_bars_are_as_long_as_their_share_and_gaps_are_shown() -> None:
    bars = {line.split()[1]: line.count("█") for line in shown() if line.startswith("    <=")}
    assert bars == {"64": 18, "128": 36, "256": 0, "512": 0, "1024": 0, "2048": 0, "4096": 18, "8192": 0, "16384": 0, "32768": 0}


def test_the_mean_of_pairs_is_of_what_the_longest_is_of() -> None:
    pairs = Tally(read=2)
    pairs.train.count([30, 40], 20)
    pairs.train.count([50, 20], 20)
    assert next(line.split() for line in lines_of(pairs.report(64, False)) if " train" in line) == ["train", "2", "140", "40", "45", "50"]


def test_a_clean_report_is_short() -> None:
    clean = Tally(read=2)
    clean.train.count([5], 3)
    assert [line.strip() for line in lines_of(clean.report(64, True))][-1] == "0 of 2 rows are rejected"


def test_the_counts_survive_as_json() -> None:
    import json
    from dataclasses import asdict

    found = tally()
    assert Tally.restore(json.loads(json.dumps(asdict(found)))) == found


def test_the_lists_are_bounded_and_the_counts_are_not() -> None:
    found = Tally()
    for i in range(3000):
        found.reject(Rejected(f"x:{i}", "not JSON"))
        found.count_extra((f"key{i}",))
    assert (found.rejected, found.reasons["not JSON"]["count"], len(found.rejected_rows), len(found.extra)) == (3000, 3000, 1000, 100)
