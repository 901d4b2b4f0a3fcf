"""The summary in a terminal; what it says is in test_evaluations.py and test_compared.py."""

import pytest
from evaluated_run import answered

from entrypoint.render_report import show_report
from entrypoint.run.evaluation import Told, make_report
from schemas.evaluation import Load

GATE = {"own.exact_match": ">= 0.98", "a-suite-of-a-long-name": ">= base - 1%", "own.loss": "<= 2"}
WARNING = "[bold]a warning[/bold] of many words that has to be broken somewhere " * 2


@pytest.mark.parametrize("columns", [80, 120])
def test_it_keeps_to_the_width(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    results = [answered(suite, side, right, metric=metric) for suite, metric in (("own", "exact_match"), ("a-suite-of-a-long-name", "accuracy")) for side, right in (("base", 20), ("tuned", 30))]  # type: ignore[arg-type]  # fmt: skip
    load = Load(
        concurrency=4, requests=32, prompt_tokens=256, answer_tokens=128, first_token_seconds={"p50": 0.16}, requests_per_second=1.3, tokens_per_second=170
    )
    made = make_report(
        results, Told(name="n", export="3f2a9c0d11e4b6a7", seed=17, kind="safetensors", engine="vllm 0.32.0", gate=GATE, loads=(load,), warnings=(WARNING,))
    )
    show_report(made, made.gate, "e" * 16)
    out = capsys.readouterr().out
    text = " ".join(out.split())
    assert max(map(len, out.splitlines())) <= columns and "…" not in out
    assert "[bold]a warning[/bold]" in text, "brackets are text"
    assert "gate refused: 2 of 3 conditions" in text and "own.loss <= 2 - refused the tuned model has no such number" in text
    assert "own.exact_match 50.0% 75.0% +25.0 [+12.5 to +40.0]" in text
    assert "4 160 ms - - 170.0 0" in text
