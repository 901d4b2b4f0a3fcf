"""Tiny models of many architectures: adapters and what is kept as counted, against peft and autograd themselves."""

import json

import pytest

pytest.importorskip("peft")

from entrypoint.plan.counted_shape import shape_of
from entrypoint.run.anatomise import anatomise
from entrypoint.run.load_model import lora_config
from entrypoint.run.model_parts import parts_of
from entrypoint.run.targets import linear_layers
from schemas.facts import ModelFacts
from schemas.job import AdapterJob

pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]

TEXT = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SEES = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2, "image_size": 28, "patch_size": 14}
MODELS = {
    "llama": TEXT, "qwen2": TEXT, "qwen3": TEXT, "gemma2": TEXT, "gemma3_text": TEXT, "phi3": TEXT, "gpt_neox": TEXT, "opt": {**TEXT, "ffn_dim": 48, "word_embed_proj_dim": 16},
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2},
    "mixtral": {**TEXT, "num_local_experts": 4}, "qwen3_moe": {**TEXT, **ROUTED}, "qwen2_moe": {**TEXT, **ROUTED, "shared_expert_intermediate_size": 16},
    "qwen3_next": {**TEXT, **ROUTED, "shared_expert_intermediate_size": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
    "mamba": {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "deepseek_v3": {**TEXT, "num_key_value_heads": 4, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 16,
                    "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    "gemma3": {"text_config": TEXT, "vision_config": {**SEES, "model_type": "siglip_vision_model", "vision_use_head": False}, "mm_tokens_per_image": 4},
}  # fmt: skip
STACKED = ("mixtral", "qwen3_moe", "qwen2_moe", "qwen3_next", "deepseek_v3")


def counted(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **MODELS[kind]}))
    body = anatomise(tmp_path, kind)
    shape = shape_of(ModelFacts(config={}, anatomy=body))
    assert shape is not None
    return body, shape


def model_of(tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))


def trained(model, **changes):
    from peft import get_peft_model

    job = AdapterJob(**{"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": "all-linear", **changes})
    adapted = get_peft_model(model, lora_config(job, model, None))
    return adapted, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("kind", MODELS)
def test_adapters_as_peft_makes_them(tmp_path, kind):
    body, shape = counted(tmp_path, kind)
    model = model_of(tmp_path)
    assert body.parameters == body.counted == sum(parameter.numel() for parameter in model.parameters())
    assert trained(model)[1] == shape.lora(4)
    if kind in STACKED:
        assert trained(model_of(tmp_path), experts=True)[1] == shape.lora(4) + shape.expert_lora(4)
    else:
        assert trained(model_of(tmp_path), kind="dora")[1] == shape.lora(4) + shape.outputs


def test_towers_are_left_alone(tmp_path):
    body, shape = counted(tmp_path, "gemma3")
    model = model_of(tmp_path)
    assert [tower.name for tower in body.towers] == ["vision_tower", "multi_modal_projector"]
    assert [name for name, _ in parts_of(model).towers] == ["vision_tower", "multi_modal_projector"]
    assert shape.towers == sum(parameter.numel() for name, parameter in model.named_parameters() if "vision_tower" in name or "multi_modal" in name)
    assert linear_layers(model)
    assert not [name for name in linear_layers(model) if "vision" in name]


@pytest.mark.parametrize("trains", ["full", "adapter"])
@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind not in ("gemma3", "opt")])
def test_what_autograd_really_keeps(tmp_path, kind, trains):
    """All layers of the model with real numbers in fp32: bytes between two lengths."""
    _, shape = counted(tmp_path, kind)
    model = model_of(tmp_path)
    if trains == "adapter":
        model, _ = trained(model, rank=1)
    model.train()
    for module in model.modules():
        if hasattr(module, "p") and "Dropout" in type(module).__name__:
            module.p = 0.0
    sizes = [_kept(model, length) for length in (64, 128)]
    each = (sizes[1] - sizes[0]) / 64
    kept = shape.kept(trains, "fp32")
    ends = each - shape.layers * (kept.bytes + kept.squared * (128**2 - 64**2) / 64)
    widest = 4 * (16 * 32 + 3 * 96)
    assert -0.03 * each <= ends <= widest, "beside the layers: embeddings, last norm, logits and loss"


def _kept(model, length):
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = (tensor, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ids = torch.randint(3, 90, (1, length))
        output = model(input_ids=ids, use_cache=False).logits
    del output
    return sum(size for _, size in found.values())
