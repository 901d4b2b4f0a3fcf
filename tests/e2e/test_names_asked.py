"""Which names libraries ask for, watched in the images: with their switches taken out the known ones, with the images' own environment none."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from entrypoint.switches import SWITCHES

HERE = Path(__file__).parent

HUB = """
from transformers import AutoConfig
from huggingface_hub.utils import send_telemetry
send_telemetry("caisson-test")
try:
    AutoConfig.from_pretrained("caisson-test/none")
except Exception as error:
    print("tried:", type(error).__name__)
"""
DATASETS = """
import datasets
try:
    datasets.load_dataset("caisson-test/none")
except Exception as error:
    print("tried:", type(error).__name__)
"""
HF = "import sys; sys.argv = ['hf', 'version']; from huggingface_hub.cli.hf import main; main()"
MLFLOW = """
import os
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
client = mlflow.MlflowClient("file:" + os.environ["HOME"] + "/runs")
run = client.create_run(client.create_experiment("one"))
client.log_metric(run.info.run_id, "loss", 1.0)
client.set_terminated(run.info.run_id)
print("tried: logged")
"""
WANDB = """
import wandb
run = wandb.init(mode="offline", project="p", dir=".")
run.log({"loss": 1.0})
run.finish()
print("tried: logged", flush=True)
"""
VLLM = """
from vllm.usage.usage_lib import UsageContext, is_usage_stats_enabled, usage_message
if is_usage_stats_enabled():  # as vllm.v1.utils.report_usage_stats asks it
    usage_message.report_usage("LlamaForCausalLM", UsageContext.OPENAI_API_SERVER)
print("tried: reported")
"""
TRAIN = {"huggingface_hub": HUB, "mlflow": MLFLOW, "wandb": WANDB, "datasets": DATASETS, "hf": HF}


def watched(image: str, use: dict[str, str], tmp_path: Path, without: tuple[str, ...] = ()) -> dict[str, Any]:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    argv = ["docker", "run", "--rm", "--interactive", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp:mode=1777"]
    argv += ["--volume", f"{resolver}:/etc/resolv.conf:ro", "--volume", f"{HERE / 'names_asked.py'}:/names_asked.py:ro", "--entrypoint", "python"]
    told = json.dumps({"use": use, "without": without})
    done = subprocess.run([*argv, f"caisson/{image}:dev-cpu", "/names_asked.py"], input=told, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


ALL = tuple(switch.name for switch in SWITCHES)


@pytest.mark.airgap
def test_the_trainer_with_its_switches_off_asks_for_the_known_names(tmp_path: Path) -> None:
    found = watched("train", TRAIN, tmp_path, ALL)
    names = found["names"]
    assert "huggingface.co" in names, found
    assert any("mlflow" in name for name in names), found
    others = [name for name in names if name != "huggingface.co" and "mlflow" not in name]
    assert len(others) >= 2, found  # wandb's crash reports, and the package index that `hf` asks for a newer version of itself


@pytest.mark.e2e
def test_the_trainer_as_it_is_asks_for_none(tmp_path: Path) -> None:
    found = watched("train", TRAIN, tmp_path)
    assert found["names"] == [], found
    assert all("tried:" in " ".join(found["said"][library]) for library in ("huggingface_hub", "mlflow", "wandb", "datasets")), found
    assert not [line for said in found["said"].values() for line in said if line.startswith("/")], "no installation number is written"


@pytest.mark.airgap
def test_the_server_with_its_switches_off_asks_for_the_known_name(tmp_path: Path) -> None:
    assert "stats.vllm.ai" in watched("serve-vllm", {"vllm": VLLM}, tmp_path, ALL)["names"]


@pytest.mark.e2e
def test_the_server_as_it_is_asks_for_none(tmp_path: Path) -> None:
    found = watched("serve-vllm", {"vllm": VLLM}, tmp_path)
    assert found["names"] == [] and "tried: reported" in found["said"]["vllm"][0], found
