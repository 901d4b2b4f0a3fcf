"""What fetch writes down of a model for later plans, and architectures that it refuses before their weights come."""

import json

import pytest

pytest.importorskip("transformers")

from hub_server import HubServer, Repository
from leaf_process import run, task
from model_folder import model_files, safetensors, tensor, write

from schemas.anatomy import Anatomy

pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default"), pytest.mark.timeout(120)]

CONFIG = {"model_type": "mixtral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
          "num_local_experts": 4, "vocab_size": 96}  # fmt: skip
UNKNOWN = {**CONFIG, "model_type": "mixtrel", "transformers_version": "99.0.0"}


def files(config):
    return {**model_files(), "config.json": json.dumps(config).encode(), "model.safetensors": safetensors({"w": tensor(0, 2**20)})}


def test_a_folder(tmp_path):
    source = write(tmp_path / "m", files(CONFIG))
    code, out, err = run(tmp_path, task(tmp_path, str(source)))
    assert (code, err) == (0, "")
    assert "MixtralForCausalLM" in out
    found = Anatomy.model_validate(json.loads((tmp_path / "summary.json").read_text())["summary"]["anatomy"])
    assert found.counted == found.parameters > 0
    assert (found.experts.count, found.experts.active) == (4, 2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(files(CONFIG)), "in no file: the same bytes keep the same digest"


def test_code_of_its_own_is_not_run(tmp_path):
    config = {**CONFIG, "auto_map": {"AutoConfig": "m.C"}}
    source = write(tmp_path / "m", {**files(config), "m.py": b"raise SystemExit('run')"})
    code, _, err = run(tmp_path, task(tmp_path, str(source), trust_remote_code=True))
    assert (code, err) == (0, "")
    assert "anatomy" not in json.loads((tmp_path / "summary.json").read_text())["summary"]


@pytest.mark.parametrize("hub", ["", "hf", "ms"])
def test_an_unknown_architecture(tmp_path, hub):
    repository = Repository(files(UNKNOWN), large=("model.safetensors",))
    with HubServer({"models/org/tiny": repository}) as server:
        source = f"{hub}://org/tiny" if hub else str(write(tmp_path / "m", files(UNKNOWN)))
        code, _, err = run(tmp_path, task(tmp_path, source), HF_ENDPOINT=server.url, MODELSCOPE_ENDPOINT=server.url)
        assert not server.fetched("model.safetensors")
    assert code == 2
    assert f"{source}: transformers" in err
    assert "does not know the architecture 'mixtrel'" in err
    assert "with transformers 99.0.0 or later" in err
