import json, os, time, shutil
from pathlib import Path
import pytest
pytest.importorskip("trl")
os.environ["DS_ACCELERATOR"]="cpu"
import torch, trl, peft, transformers, bitsandbytes  # noqa
from trl import SFTTrainer
import entrypoint.run.sealed_trainer
from forked import *
pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]
KINDS={"freeze":"{kind: freeze, layers: 1, patterns: ['*.norm.weight']}","dora":"{kind: dora, rank: 8}","rslora":"{kind: rslora, rank: 8}","pissa":"{kind: pissa, rank: 8}","olora":"{kind: olora, rank: 8}","lora+":"{kind: lora+, rank: 8, ratio: 4}","save":"{kind: lora, rank: 8, modules_to_save: [embed_tokens]}", "tokens":"{kind: lora, rank: 8, trainable_tokens: ['<|im_start|>']}"}
@pytest.mark.parametrize("k",KINDS)
def test_k(prepared, sources, tmp_path, k):
    t0=time.time()
    t=task_of(tmp_path/"a", prepared, sources, adapter=KINDS[k], train="{max_steps: 12, learning_rate: 5.0e-3, batch_tokens: 240}")
    said=run_forked(t); t1=time.time()
    c=[round(e["loss"],3) for e in json.loads((Path(t.output)/"curve.json").read_text()) if "loss" in e]
    print(k,c, round(t1-t0,1))
    e=export_of(t,tmp_path)
    print(run_forked(e), round(time.time()-t1,1))

PAIRS=[(k,h) for k in ("freeze","dora","pissa","lora+","save","tokens","rslora") for h in ("ddp","fsdp","zero1","zero2","zero3","zero2, offload: cpu","zero3, offload: cpu")]
@pytest.fixture(scope="module")
def alone(prepared, sources, tmp_path_factory):
    got={}
    def of(k):
        if k not in got:
            d=tmp_path_factory.mktemp("alone")
            t=task_of(d/"a", prepared, sources, adapter=KINDS[k], hardware="{strategy: single}", train="{max_steps: 8, learning_rate: 5.0e-3, batch_tokens: 240, warmup: 0%}"); run_forked(t)
            got[k]=[e["loss"] for e in json.loads((Path(t.output)/"curve.json").read_text()) if "loss" in e]
        return got[k]
    return of
@pytest.mark.parametrize(("k","h"),PAIRS)
def test_p(prepared, sources, tmp_path, alone, k,h):
    from entrypoint.plan import adapter
    t=task_of(tmp_path/"a", prepared, sources, adapter=KINDS[k], hardware="{strategy: %s}"%h, train="{max_steps: 8, learning_rate: 5.0e-3, batch_tokens: 240, warmup: 0%}")
    said=run_forked(t)
    c=[e["loss"] for e in json.loads((Path(t.output)/"curve.json").read_text()) if "loss" in e]
    print("PAIR",k,h,max(abs(a-b) for a,b in zip(alone(k),c)), c[-1])
    e=export_of(t,tmp_path)
    print(run_forked(e))
