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
