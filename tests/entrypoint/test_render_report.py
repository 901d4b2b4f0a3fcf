"""The summary in a terminal of 80 columns; what it says is in test_evaluations.py and test_compared.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "run"))
from sample_report import report

from entrypoint.render_report import show_report


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_keeps_to_the_width(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    made = report(
        gate={"own.exact_match": ">= 0.98", "mmlu": ">= base - 1%"}, warnings=("[bold]a warning[/bold] of many words that has to be broken somewhere " * 2,)
    )
    show_report(made, made.gate, "e" * 16)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns and "…" not in out
    assert "[bold]a warning[/bold]" in " ".join(out.split()), "brackets are text"
    assert "own.exact_match" in out and "[+81.7 to +96.7]" in out
