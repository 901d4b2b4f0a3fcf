"""What adapters leave out is what peft refuses or moves, by its own tables."""

from types import SimpleNamespace

import pytest

pytest.importorskip("peft")

import torch

from entrypoint.run.targets import check_targets
from entrypoint.run.unadapted import MOVED, moved_names, unadapted
from schemas.errors import UsageError

pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]


def test_names_that_peft_moves():
    from peft.utils import transformers_weight_conversion as peft

    moves = {
        kind for kind, pattern in peft._MODEL_TO_CONVERSION_PATTERN.items() if pattern in peft._MOE_TARGET_MODULE_MAPPING and pattern in peft._MOE_FUSED_TARGETS
    }
    assert {"deepseek_v3", "qwen3_next", "mixtral"} <= moves
    for kind in (*moves, "llama", "qwen2_moe", "mamba"):
        pattern = peft._MODEL_TO_CONVERSION_PATTERN.get(kind)
        theirs = set(peft._MOE_TARGET_MODULE_MAPPING.get(pattern, {})) - {"gate"} if kind in moves else set()
        assert set(moved_names(SimpleNamespace(config=SimpleNamespace(model_type=kind)))) == theirs, kind
    assert set(MOVED) == set(peft._MOE_TARGET_MODULE_MAPPING)


def test_a_state_space_and_a_named_target():
    space = torch.nn.ModuleDict({"out_proj": torch.nn.Linear(2, 2), "in_proj": torch.nn.Linear(2, 2)})
    space.out_proj, space.A_log, space.D = space["out_proj"], torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    assert unadapted(torch.nn.ModuleDict({"mixer": space})) == {id(space.out_proj)}
    model = torch.nn.ModuleDict({"up_proj": torch.nn.Linear(2, 2), "q_proj": torch.nn.Linear(2, 2)})
    model.get_output_embeddings = lambda: None
    model.config = SimpleNamespace(model_type="deepseek_v3", is_encoder_decoder=False)
    check_targets(model, ["q_proj"])
    with pytest.raises(UsageError, match="takes up_proj of this architecture for its experts"):
        check_targets(model, ["up_proj"])
