"""Packed rows by torch's varlen attention on a real GPU: values and gradients of each row alone, the same bits each time where that is asked for."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from entrypoint.run import packed_attention  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

SHAPE = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 997,
    "max_position_embeddings": 2048, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROWS = (700, 3, 129, 1, 300)


def make(kind: str, **more: Any) -> Any:
    packed_attention.register()
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE, **more), attn_implementation=packed_attention.NAME).cuda()


def gradients(model: Any, packed: bool, implementation: str) -> tuple[Any, Any]:
    """Logits, and all gradients of one loss as a vector, float32."""
    model.set_attn_implementation(implementation)
    model.zero_grad()
    rows = [torch.randint(3, 997, (1, size), generator=torch.Generator().manual_seed(size)).cuda() for size in ROWS]
    if packed:
        logits = model(input_ids=torch.cat(rows, dim=1), use_cache=False, **packed_attention.places(list(ROWS), "cuda")).logits
    else:
        logits = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1)
    logits.float().logsumexp(-1).sum().backward()
    return logits.detach().float(), torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "more"), [("llama", {}), ("qwen3", {}), ("mistral", {"sliding_window": 64})])
def test_as_near_to_fp32_as_a_row_alone(kind: str, more: dict[str, Any], dtype: Any) -> None:
    """Rounding aside: at most 1.5 times as far from fp32 as transformers' own attention over each row by itself."""
    exact = gradients(make(kind, **more), False, "eager")
    model = make(kind, **more).to(dtype)
    packed_attention.prove(model)
    alone, packed = gradients(model, False, "sdpa"), gradients(model, True, packed_attention.NAME)
    for reference, of_alone, of_packed in zip(exact, alone, packed, strict=True):
        assert (of_packed - reference).norm() <= 1.5 * (of_alone - reference).norm()


def test_under_autocast_too() -> None:
    """Full weights are fp32 and rotary embeddings leave queries in it."""
    model = make("llama")
    with torch.autocast("cuda", torch.bfloat16):
        packed = gradients(model, True, packed_attention.NAME)
        alone = gradients(model, False, "sdpa")
    for of_packed, of_alone in zip(packed, alone, strict=True):
        assert (of_packed - of_alone).norm() <= 0.02 * of_alone.norm()


def test_deterministic_kernels_repeat() -> None:
    model = make("llama").to(torch.bfloat16)
    torch.use_deterministic_algorithms(True)
    try:
        first, *others = (gradients(model, True, packed_attention.NAME)[1] for _ in range(5))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, other) for other in others)
