"""Packed rows answer as they do alone, on each kind of attention; layers that carry a state over are found out."""

from typing import Any

import pytest

pytestmark = pytest.mark.image
torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from entrypoint.run import packed_attention  # noqa: E402
from schemas.errors import GateRefused  # noqa: E402

SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 101,
    "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
KEPT_APART: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "mistral": {"sliding_window": 5},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
}
ROWS = (9, 3, 14, 1)


def make(kind: str, **more: Any) -> Any:
    packed_attention.register()
    torch.manual_seed(0)
    given = SMALL | more if kind != "gpt2" else {"vocab_size": 101, **more}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **given), attn_implementation=packed_attention.NAME).eval()


def rows_of(model: Any) -> list[Any]:
    return [torch.randint(3, 101, (1, size), generator=torch.Generator().manual_seed(size)) for size in ROWS]


@pytest.mark.parametrize("kind", KEPT_APART)
def test_a_packed_row_is_as_alone(kind: str) -> None:
    """Values and gradients, against each row by itself under transformers' own attention."""
    model = make(kind, **KEPT_APART[kind])
    packed_attention.prove(model)
    rows = rows_of(model)
    packed = model(input_ids=torch.cat(rows, dim=1), use_cache=False, **packed_attention.places(list(ROWS))).logits
    packed.square().mean().backward()
    gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.set_attn_implementation("eager")
    alone = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1)
    alone.square().mean().backward()
    assert torch.allclose(packed, alone, rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(gradient[name], parameter.grad, rtol=1e-3, atol=1e-6), name


def test_without_places_it_is_one_row() -> None:
    model = make("llama")
    (row,) = rows_of(model)[:1]
    packed = model(input_ids=row, use_cache=False).logits
    model.set_attn_implementation("eager")
    assert torch.allclose(packed, model(input_ids=row, use_cache=False).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}, "not kept apart"),
        ("mamba2", {"num_heads": 8, "n_groups": 1, "state_size": 16, "expand": 2}, "takes no attention but its own|not kept apart"),
        (
            "qwen3_next",
            {
                "layer_types": ["linear_attention", "full_attention", "linear_attention"],
                "num_experts": 4,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 32,
                "shared_expert_intermediate_size": 32,
                "linear_num_value_heads": 4,
                "linear_num_key_heads": 2,
                "linear_key_head_dim": 16,
                "linear_value_head_dim": 16,
            },
            "takes no attention but its own|not kept apart",
        ),
        ("gemma2", {"attn_logit_softcapping": 50.0}, "caps or biases"),
    ],
)
def test_what_cannot_be_packed_is_refused(kind: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(GateRefused, match=words):
        packed_attention.prove(make(kind, **more))
