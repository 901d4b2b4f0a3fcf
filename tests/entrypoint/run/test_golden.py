"""Which prompts a run has: what the template cannot render and what does not fit is left out, nothing else."""

import pytest

pytest.importorskip("transformers")

from tiny import CHATML, tokenizer

from entrypoint.run.golden import ANSWER_ROOM, FIXED, choose_golden
from entrypoint.run.template import Renderer

pytestmark = pytest.mark.image

TOOLS = "{% if tools %}{{ '<|im_start|>system\\n' }}{% for t in tools %}{{ t | tojson }}{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}" + CHATML
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
ROWS = [["00", [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}], []]]
EVERY = {kind for kind, _, _ in FIXED} | {"row"}


def chosen(template, positions=None, rows=ROWS):
    return choose_golden(rows, Renderer(tokenizer(template), frozenset({2}), "assistant"), positions)


def test_all_that_a_template_with_tools_renders():
    golden = chosen(TOOLS)
    assert {g["kind"] for g in golden} == EVERY >= {"plain", "system", "turns", "tools", "unicode", "long"}
    (asked,) = (g for g in golden if g["kind"] == "tools")
    assert asked["tools"][0]["function"]["name"] == "get_weather"
    assert "get_weather" in tokenizer().decode(asked["prompt_ids"])
    assert max(len(g["prompt_ids"]) for g in golden if g["kind"] == "long") > 1000


@pytest.mark.parametrize(("template", "left_out"), [(CHATML, "tools"), (NO_SYSTEM, "system")], ids=["without tools", "without a system role"])
def test_what_a_template_cannot_render(template, left_out):
    assert EVERY - {g["kind"] for g in chosen(template)} >= {left_out}
    assert left_out not in {g["kind"] for g in chosen(template)}


def test_what_does_not_fit_the_models_positions():
    golden = chosen(TOOLS, 256)
    assert "long" not in {g["kind"] for g in golden} and {"plain", "row"} <= {g["kind"] for g in golden}
    assert all(len(g["prompt_ids"]) + ANSWER_ROOM <= 256 for g in golden)


def test_a_row_is_asked_up_to_its_last_answer():
    (row,) = (g for g in chosen(CHATML) if g["kind"] == "row")
    assert row["messages"] == ROWS[0][1][:1]


def test_texts_alone_without_a_template():
    assert {g["kind"] for g in chosen(None)} == {"plain", "unicode", "long"}
