"""Which tokens are learned, with a real tokenizer and template."""

import pytest

pytest.importorskip("transformers")

from tiny import CHATML, tokenizer

from entrypoint.run.rows import Row
from entrypoint.run.template import Renderer, TemplateFault, stop_ids

pytestmark = pytest.mark.image

TALK = (
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hi there."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "Goodbye."},
)


def learned(renderer, messages):
    (encoded,) = renderer.encode(renderer.render(Row("x", messages)))
    return renderer.tokenizer.decode([i for i, s in zip(encoded.ids.tolist(), encoded.supervised.tolist(), strict=True) if s])


def make(template=CHATML, loss_on="assistant"):
    made = tokenizer(template)
    return Renderer(made, stop_ids(made, {}), loss_on)


def test_answers_and_their_end_tokens_are_learned_and_nothing_else():
    assert learned(make(), TALK) == "Hi there.<|im_end|>Goodbye.<|im_end|>"


SPACES = ["Channel 74.", "74", " 74 and 3", "a  7 ", "one\n\n2\n", "\t5", "6:40 to 17:20, 3.5 knots"]


@pytest.mark.parametrize("answer", SPACES)
def test_white_space_before_digits_is_learned_too(answer):
    """A byte-level tokenizer gives such spaces empty offsets: a mask made of offsets alone would never teach them."""
    talk = ({"role": "user", "content": "Which one? 12 or 13"}, {"role": "assistant", "content": answer}, {"role": "user", "content": "7 8"})
    assert learned(make(), talk) == answer + "<|im_end|>"


def test_all_learns_every_token():
    renderer = make(loss_on="all")
    assert learned(renderer, TALK) == renderer.render(Row("x", TALK))[0].text


def test_the_token_ids_are_those_of_the_whole_text():
    renderer = make()
    (rendered,) = renderer.render(Row("x", TALK))
    (encoded,) = renderer.encode([rendered])
    assert encoded.ids.tolist() == renderer.tokenizer(rendered.text, add_special_tokens=False)["input_ids"]


def test_the_prompt_is_the_start_of_the_trained_text():
    renderer = make()
    (encoded,) = renderer.encode(renderer.render(Row("x", TALK)))
    prompt = renderer.prompt_ids(TALK[:3])
    assert encoded.ids.tolist()[: len(prompt)] == prompt
    assert encoded.supervised[: len(prompt)].sum() == len(renderer.tokenizer("Hi there.<|im_end|>")["input_ids"])


def test_a_template_without_an_end_token_is_refused():
    with pytest.raises(TemplateFault, match="no end-of-turn token that serving stops on"):
        make(CHATML.replace("<|im_end|>", "")).render(Row("x", TALK))


def test_a_template_that_rewrites_earlier_turns_is_refused():
    shortened = CHATML.replace("m['content']", "(m['content'] if loop.last else '...')")
    with pytest.raises(TemplateFault, match="rewrites earlier turns"):
        make(shortened).render(Row("x", TALK))


def test_a_template_that_refuses_the_roles_is_a_rejection():
    with pytest.raises(TemplateFault, match="the chat template refuses the conversation"):
        make("{{ raise_exception('no system here') }}").render(Row("x", TALK))


@pytest.mark.parametrize("template", ["{{ 1 + 'a' }}", "{{ messages[0]['content'].index('x') }}", "{{ messages.foo.bar }}", "{% for %}"])
def test_a_template_that_is_a_wrong_program_is_a_rejection(template):
    with pytest.raises(TemplateFault, match="the chat template refuses the conversation"):
        make(template).render(Row("x", TALK))


def test_stop_ids_are_those_of_the_generation_config_and_the_tokenizer():
    assert stop_ids(tokenizer(), {"eos_token_id": [0, 2]}) == {0, 2}
    assert stop_ids(tokenizer(), {"eos_token_id": 0}) == {0, 2}


@pytest.mark.parametrize("said", [10**6, 10**30, -1, "<|im_end|>", [None, 0.5, {}, 10**6], {}])
def test_stop_ids_that_are_none_are_passed_over(said):
    made = tokenizer()
    assert stop_ids(made, {"eos_token_id": said}) == {2}
    assert Renderer(made, frozenset({2, len(made) + 5}), "assistant").stops == ("<|im_end|>",)


def learned_texts(renderer, messages, **row):
    """What each sequence of a row teaches."""
    made = renderer.tokenizer
    return [
        made.decode([i for i, s in zip(e.ids.tolist(), e.supervised.tolist(), strict=True) if s])
        for e in renderer.encode(renderer.render(Row("x", messages, **row)))
    ]


def test_last_learns_the_last_answer():
    assert learned_texts(make(loss_on="last"), TALK) == ["Goodbye.<|im_end|>"]
    assert learned_texts(make(loss_on="last"), (*TALK, {"role": "user", "content": "Bye."})) == ["Goodbye.<|im_end|>"]


def test_weights_choose_the_answers():
    weighted = (TALK[0], {**TALK[1], "weight": 0}, TALK[2], {**TALK[3], "weight": 1})
    assert learned_texts(make(loss_on="weight"), weighted) == ["Goodbye.<|im_end|>"]
    assert learned_texts(make(loss_on="weight"), TALK) == ["Hi there.<|im_end|>Goodbye.<|im_end|>"]


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>' + m.get('reasoning_content', '') + '</think>' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""As Qwen3's: only the last answer shows its thinking."""


def test_a_template_that_takes_the_thinking_out_of_earlier_turns_makes_a_row_a_turn():
    thought = (TALK[0], {**TALK[1], "reasoning_content": "Greet."}, TALK[2], {**TALK[3], "reasoning_content": "Part."})
    renderer = make(THINKING)
    assert learned_texts(renderer, thought) == ["<think>Greet.</think>Hi there.<|im_end|>", "<think>Part.</think>Goodbye.<|im_end|>"]
    first, second = renderer.render(Row("x", thought))
    assert "Greet." not in second.text
    assert second.text.startswith(renderer._apply(thought[:3], generate=True))
    assert not first.thoughts_left_out


def test_thinking_that_is_not_shown_is_noticed():
    thought = (TALK[0], {**TALK[1], "reasoning_content": "Greet."})
    (rendered,) = make().render(Row("x", thought))
    assert rendered.thoughts_left_out


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Ossley"}}}
WITH_CALL = (
    TALK[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "rain"},
    {"role": "assistant", "content": "Rain."},
)
TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] }}"
    "{% for c in m.get('tool_calls', []) %}{{ '<call>' + (c.function | tojson) + '</call>' }}{% endfor %}"
    "{{ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def test_a_call_is_learned_and_its_answer_is_not():
    (said,) = learned_texts(make(TOOLS), WITH_CALL, tools=({"type": "function", "function": {"name": "weather"}},))
    assert said == '<call>{"name": "weather", "arguments": {"town": "Ossley"}}</call><|im_end|>Rain.<|im_end|>'


def test_a_template_that_leaves_calls_or_tools_out_is_a_rejection():
    with pytest.raises(TemplateFault, match="the chat template leaves tool calls out"):
        make().render(Row("x", WITH_CALL))
    with pytest.raises(TemplateFault, match="the chat template leaves descriptions of tools out"):
        make().render(Row("x", TALK, tools=({"type": "function", "function": {"name": "weather"}},)))


@pytest.mark.parametrize("name", ["chatml", "llama3", "zephyr", "alpaca"])
def test_named_templates(name):
    from entrypoint.run.prepare import TEMPLATES

    text = (TEMPLATES / f"{name}.jinja").read_text().strip()
    made = tokenizer(text if name != "llama3" else text.replace("<|eot_id|>", "<|im_end|>"))
    made_renderer = Renderer(made, stop_ids(made, {}), "assistant")
    assert learned_texts(made_renderer, ({"role": "system", "content": "s"}, *TALK)) == ["Hi there.<|im_end|>Goodbye.<|im_end|>"]
    with pytest.raises(TemplateFault) as fault:
        made_renderer.render(Row("x", WITH_CALL))
    assert "no tool turns" in fault.value.detail


def test_a_text_that_was_rendered_before_is_a_rejection():
    with pytest.raises(TemplateFault, match="a message holds the token that ends a turn"):
        make().render(Row("x", ({"role": "user", "content": "<|im_start|>user\nHello?<|im_end|>"}, TALK[1])))
