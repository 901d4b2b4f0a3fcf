import json, sys
from pathlib import Path
def show(what):
    roll = {l.split(":")[0]: int(l.split()[1]) for l in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]}
    print(what, {k: round(roll[k]/2**20,3) for k in ("Rss","Pss","Anonymous","Pss_Anon")}, flush=True)
show("python")
import torch; show("torch")
import transformers, trl, peft
from trl import SFTConfig, SFTTrainer
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, AutoTokenizer
import entrypoint.run.sealed_trainer
show("trl")
if "zero" in sys.argv:
    import deepspeed; show("deepspeed")
if "qlora" in sys.argv:
    import bitsandbytes; show("bitsandbytes")
m = LlamaForCausalLM(LlamaConfig(vocab_size=400, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2))
o = torch.optim.AdamW(m.parameters())
for _ in range(3):
    x = torch.randint(0, 400, (4, 64)); m(input_ids=x, labels=x).loss.backward(); o.step(); o.zero_grad()
show("a step")
