"""vLLM over the shape of an 8B model with random weights on one GPU: 1, 32 and 256 streams, starts cold and warm, room for keys and values.

    python bench/serve/run.py OUTPUT.json

Needs vllm, transformers and aiohttp; downloads nothing.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load import ANSWER, PROMPT, measure

PORT = 8100
URL = f"http://127.0.0.1:{PORT}"
ROUNDS = ((1, 3), (32, 128), (256, 768))
"""Streams at once, requests in all."""

SHAPE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, "dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def write_model(folder: Path) -> None:
    """A config and a tokenizer of as many words; the engine draws the weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPE))
    made = Tokenizer(models.WordLevel({f"w{i}": i for i in range(SHAPE["vocab_size"])}, unk_token="w0"))  # type: ignore[arg-type, call-overload]
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=made, bos_token="w1", eos_token="w2", unk_token="w0").save_pretrained(folder)


def start(folder: Path, caches: Path, log: Path) -> tuple[subprocess.Popen[bytes], float]:
    """The server, and the seconds until it answered."""
    arguments = ["--model", str(folder), "--served-model-name", "m", "--port", str(PORT), "--load-format", "dummy", "--max-model-len", "4096"]
    environment = {
        **os.environ, "VLLM_CACHE_ROOT": str(caches / "vllm"), "TRITON_CACHE_DIR": str(caches / "triton"), "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_USE_FLASHINFER_SAMPLER": "0",
    }  # fmt: skip
    began = time.monotonic()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments, "--gpu-memory-utilization", "0.9"]
    process = subprocess.Popen(command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    while process.poll() is None:
        try:
            urllib.request.urlopen(URL + "/health", timeout=2).close()
        except OSError:
            time.sleep(0.25)
        else:
            return process, time.monotonic() - began
    raise SystemExit(log.read_text(errors="replace")[-6000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """And give it time to free the GPU."""
    process.terminate()
    process.wait(60)
    time.sleep(3)


def main() -> None:
    """A cold start with all rounds, then a warm start; the file is written after each part."""
    output = Path(sys.argv[1])
    place = Path(tempfile.mkdtemp())
    write_model(place / "model")
    result: dict[str, object] = {"prompt_tokens": PROMPT, "answer_tokens": ANSWER, "shape": "Llama 8B, random weights, bf16"}
    result["gpu"] = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
    try:
        for name in ("cold", "warm"):
            log = output.with_name(f"{name}.log")
            process, seconds = start(place / "model", place / "caches", log)
            text = log.read_text(errors="replace")
            capacity = re.search(r"GPU KV cache size: ([\d,]+) tokens", text)
            version = re.search(r"version (\d\S*)", text)
            result |= {f"{name}_start_seconds": round(seconds, 1), f"{name}_capacity_tokens": int(capacity[1].replace(",", "")) if capacity else None}
            result["vllm"] = version[1] if version else None
            output.write_text(json.dumps(result, indent=1) + "\n")
            if name == "cold":
                asyncio.run(measure(URL, 32, 64, seed=0))
                rounds = []
                for streams, requests in ROUNDS:
                    rounds.append(asyncio.run(measure(URL, streams, requests, seed=streams)))
                    print(rounds[-1], flush=True)
                result["rounds"] = rounds
                output.write_text(json.dumps(result, indent=1) + "\n")
            stop(process)
    finally:
        shutil.rmtree(place)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
