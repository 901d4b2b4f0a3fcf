"""A model small enough to learn its rows in seconds and to be loaded by vLLM, sealed exports of it, and a supervisor over them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import tiny

from entrypoint.run.greedy import answer
from entrypoint.run.seal import seal
from schemas.job import Task
from schemas.manifest import Manifest
from schemas.serve_job import ServeJob


def free_ports() -> tuple[int, int]:
    """Two that nobody listens on right now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


ROOT = Path(__file__).resolve().parents[3]
TOKENS = 24
USER_KEY = "a-user-s-key"
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
}  # fmt: skip
ARGUMENTS = ("--dtype", "bfloat16", "--max-model-len", "256", "--shutdown-timeout", "60", "--disable-fastapi-docs", "--enforce-eager", "--seed", "17")


def learned(steps: int, seed: int = 1, rows: list[dict[str, Any]] | None = None) -> tuple[Any, Any]:
    """A model with heads of a size that vLLM has kernels for, which has learned some rows by heart; and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = tiny.tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows or tiny.rows(12)]
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def golden(model: Any, tokenizer: Any) -> dict[str, Any]:
    """What export writes down of the tuned model."""
    found = []
    for row in tiny.rows(6):
        messages = row["messages"][:1]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        said = answer(model, ids, TOKENS)
        found.append(
            {
                "kind": "row", "messages": messages, "prompt_ids": ids, "answer_ids": said.ids, "logprobs": said.logprobs, "margins": said.margins,
                "ended": said.ids[-1] == 2,
            }
        )  # fmt: skip
    return {"prompts": found}


class Store:
    """Exports of one name below one folder."""

    def __init__(self, root: Path):
        import torch

        self.root = root
        self.model, self.tokenizer = learned(160)
        self.golden = golden(self.model, self.tokenizer)
        self.model.to(torch.bfloat16)

    def export(self, name: str, model: Any = None, template: str | None = None, end: int | None = None) -> Path:
        """A sealed export that holds the golden answers of the model; its weights, its template and its end token may be others'."""
        partial = self.root / "tiny" / "exports" / f".partial-{name}"
        partial.mkdir(parents=True)
        (model or self.model).save_pretrained(partial)
        self.tokenizer.save_pretrained(partial)
        if template is not None:
            (partial / "chat_template.jinja").write_text(template)
        if end is not None:
            for file in (partial / "generation_config.json", partial / "config.json"):
                file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": end}))
        (partial / "golden_answers.json").write_text(json.dumps(self.golden))
        manifest = Manifest(stage="export", name="tiny", identity=name * 4, request="r", job={"kind": "safetensors"}, program="0", files=())
        seal(partial, partial.with_name(name), manifest)
        return partial.with_name(name)

    def remove(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(self.root, ignore_errors=True)


class Served:
    """The leaf of the stage serve as a process, and what it says."""

    def __init__(self, store: Path, exported: Path, folder: Path, *, base: Path | None = None, more: tuple[str, ...] = (), **job: Any):
        folder.mkdir()
        self.control, self.log, self.events_file = folder / "control", folder / "log", folder / "serve.jsonl"
        (folder / "keys").write_text(USER_KEY + "\n")
        self.job = ServeJob(
            served_name="tiny", arguments=(*ARGUMENTS, *more), key_file=str(folder / "keys"), control_folder=str(self.control), host_name="127.0.0.1", ports=free_ports(), on_cpu=True, **job
        )  # fmt: skip
        task = Task(
            name="tiny", job=self.job, inputs={"exported": str(exported), **({"model": str(base)} if base else {})}, image_lock="lock", output=str(store / "tiny" / "served" / "x"),
            events=str(self.events_file), summary=str(folder / "summary"),
        )  # fmt: skip
        (folder / "task.json").write_text(task.model_dump_json())
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "entrypoint.run.serve", str(folder / "task.json")], cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT}
            )  # fmt: skip

    def active(self) -> dict[str, Any]:
        """What the gateway reads."""
        try:
            return dict(json.loads((self.control / "active.json").read_text()))
        except FileNotFoundError:
            return {"state": "none", "generation": 0}

    def wait_for(self, state: str, seconds: float = 240, after: int = 0) -> float:
        """Until it is said in a generation after this one; the seconds that it took."""
        start = time.monotonic()
        while (said := self.active())["state"] != state or said["generation"] <= after:
            assert self.process.poll() is None or state == "ended", self.tail()
            assert time.monotonic() - start < seconds, f"{said}\n{self.tail()}"
            time.sleep(0.1)
        return time.monotonic() - start

    def wait(self, seconds: float = 240) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def said(self) -> str:
        """Everything that it and its engines have printed."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The end of it, for messages: an engine prints much."""
        return "\n".join(line[:300] for line in self.said().splitlines()[-40:])

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Of one kind, in order."""
        found = [json.loads(line) for line in self.events_file.read_text().splitlines()]
        return [event for event in found if event["event"] == kind]

    def engine(self) -> int:
        """Process id of the engine that it has started last."""
        return max(int(child) for thread in Path(f"/proc/{self.process.pid}/task").iterdir() for child in (thread / "children").read_text().split())

    def engine_processes(self, name: str = "VLLM::") -> list[int]:
        """Ids of the engine's processes whose names begin so; another test's engine may run beside it."""
        return [
            pid
            for pid in map(int, filter(str.isdigit, (p.name for p in Path("/proc").iterdir())))
            if _name(pid).startswith(name) and self.process.pid in _ancestors(pid)
        ]

    def ask(self, path: str, body: Any = None, key: str | None = None, timeout: float = 60) -> tuple[int, Any]:
        """Status and answer of the engine that is active."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        url = f"http://{self.active()['upstream']}{path}"
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def stop(self) -> int:
        """As Compose does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(120)

    def remove(self) -> None:
        """Leave no process behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:  # gone meanwhile
        return ""


def _ancestors(pid: int) -> list[int]:
    """Parents of a process, the nearest first."""
    found: list[int] = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found
