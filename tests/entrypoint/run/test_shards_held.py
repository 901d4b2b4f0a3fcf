"""Bytes that two processes really hold of a model under each engine, against what the plan counts: exactly, with padding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from tiny import ROOT

from entrypoint.plan.load import BYTES
from entrypoint.plan.model_shape import read_shape
from entrypoint.plan.shards import flat_elements, held_elements

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]

CONFIG = {
    "hidden_size": 39, "intermediate_size": 101, "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 14,
    "vocab_size": 1003, "tie_word_embeddings": False,
}  # fmt: skip
"""No number of processes divides these."""


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3", "fsdp"])
def test_to_the_byte(tmp_path, strategy, precision):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    program = Path(__file__).with_name("shards_process.py")
    given = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))), "OMP_NUM_THREADS": "1"}
    given |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "DS_ACCELERATOR": "cpu"}
    started = [
        subprocess.Popen(
            [sys.executable, str(program), strategy, precision, str(tmp_path)], env=given | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    shape = read_shape(CONFIG)
    assert shape
    width, element = BYTES[precision], held_elements(shape, strategy, 2)
    expected = {"weights": width * element, "gradients": width * element, "optimizer": 8 * element, "fp32 weights": 4 * element}
    if strategy in ("zero1", "zero2"):
        expected["weights"] = width * flat_elements(shape, 2)
    if strategy == "fsdp":  # masters are what it shards; autocast's types are those of what it gathers
        expected = {"weights": 4 * element, "gradients": 4 * element, "optimizer": 8 * element}
    assert json.loads((tmp_path / "told-0.json").read_text()) == expected
