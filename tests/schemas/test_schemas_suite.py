"""Names of suites."""

import pytest

from schemas.errors import SpecError
from schemas.load import load

BASE = "spec: 1\nname: n\nmodel: {source: /m}\ndata: {train: [{source: /d.jsonl}]}\nmethod: {kind: sft}\nevaluate:\n  "
ROWS = "kind: questions, source: /q.jsonl"


@pytest.mark.parametrize(
    "suites, said",
    [
        ("[mmul]", "`mmul` is no benchmark\n    did you mean `mmlu`?"),
        ("[{kind: benchmark, name: hellaswog}]", "`hellaswog` is no benchmark\n    did you mean `hellaswag`?"),
        ("[mmlu, {kind: benchmark, name: mmlu}]", "names mmlu twice"),
        ("[mmlu]\n  gate: {mmlu.acuracy: '>= 0.5'}", "did you mean `mmlu.accuracy`?"),
        (f"[{{{ROWS}, name: own}}]", "`own` is the suite of the validation rows"),
        (f"[{{{ROWS}, name: mmlu}}]", "`mmlu` is the name of a benchmark"),
        (f"[{{{ROWS}, name: a}}, {{{ROWS}, name: a}}]", "names a twice"),
        (f"[{{{ROWS}, name: a}}]\n  gate: {{a.token_f2: '>= 0.5'}}", "did you mean `a.token_f1`?"),
    ],
)
def test_wrong(suites: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(f"{BASE}suites: {suites}")
    assert said in str(refused.value)
