"""Each format with fewer bits: written by llm-compressor, read back by transformers, measured. In the image `export`."""

import json

import pytest

pytest.importorskip("llmcompressor")

from exported import task, write_prepared, write_trained
from tiny import write_model

from entrypoint.plan.compress import GROUPS
from entrypoint.run import compress as leaf
from entrypoint.run.compress import compress
from entrypoint.run.export import export
from entrypoint.run.golden_answers import FILE_NAME
from schemas.errors import GateRefused
from schemas.export_job import CompressJob, ExportJob

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

JOBS = {
    "fp8": CompressJob(scheme="FP8_DYNAMIC"),
    "int8": CompressJob(scheme="W8A8", rows=16, length=64),
    "awq": CompressJob(scheme="W4A16_ASYM", group_size=32, rows=16, length=64),
    "gptq": CompressJob(scheme="W4A16", group_size=32, rows=16, length=64),
}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = write_model(folder / "model")
    prepared, trained = write_prepared(folder / "prepared"), write_trained(folder / "trained", model)
    given, events = task(folder / "merged", ExportJob(kind="safetensors", dtype="bf16", golden_tokens=8), model=model, prepared=prepared, trained=trained)
    export(given, events)
    return folder


def compressed(folder, output, kind):
    job = ExportJob(kind=kind, dtype="bf16", golden_tokens=8, compress=JOBS[kind])
    given, events = task(output, job, prepared=folder / "prepared", merged=folder / "merged")
    return compress(given, events)


@pytest.mark.parametrize("kind", JOBS)
def test_smaller_near_and_with_the_golden_answers(merged, tmp_path, kind):
    from safetensors import safe_open

    found = compressed(merged, tmp_path / kind, kind)
    assert found["greedy_agreement"] > 0.7 and 0 <= found["kl_per_token"] < 0.2 and found["tokens"] > 20
    config = json.loads((tmp_path / kind / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "compressed-tensors" and config["ignore"] == ["lm_head"]
    with safe_open(tmp_path / kind / "model.safetensors", "pt") as held:
        types = {str(held.get_tensor(name).dtype) for name in held.keys() if "q_proj.weight" in name and "scale" not in name}  # noqa: SIM118
    assert types & {"torch.float8_e4m3fn", "torch.int8", "torch.int32"}
    assert (tmp_path / kind / FILE_NAME).read_bytes() == (merged / "merged" / FILE_NAME).read_bytes()
    rows = json.loads((tmp_path / kind / "parity.json").read_text())
    assert len(rows) == found["golden"] and all(row["exported_ids"] for row in rows)
    assert found["calibration_rows"] == (16 if JOBS[kind].rows else 0)


def test_two_exports_of_the_same_rows_are_the_same(merged, tmp_path):
    for name in ("a", "b"):
        compressed(merged, tmp_path / name, "gptq")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_what_is_broken_is_not_sealed(merged, tmp_path, monkeypatch):
    """As if the scales of a layer were lost on the way."""
    import torch
    from safetensors.torch import load_file, save_file

    usual = leaf._write

    def broken(source, prepared, output, job):
        found = usual(source, prepared, output, job)
        tensors = load_file(output / "model.safetensors")
        spoilt = {name: torch.randn_like(t.float()).to(t.dtype) if name.endswith("weight_scale") else t for name, t in tensors.items()}
        save_file(spoilt, output / "model.safetensors", metadata={"format": "pt"})
        return found

    monkeypatch.setattr(leaf, "_write", broken)
    with pytest.raises(GateRefused, match="as fp8 the model is not the same any more"):
        compressed(merged, tmp_path / "fp8", "fp8")


def test_groups_are_those_that_engines_know():
    assert GROUPS == (128, 64, 32)
