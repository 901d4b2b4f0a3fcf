"""Bytes that the losses over whole logits take, per logit, in fp32 on a CPU: TRL's own code, and ours over a teacher's answers, at two vocabularies, each in
a process of its own.

Inside the train image, from the root: `PYTHONPATH=. python bench/methods/run.py > bench/methods/result.json`. The peak of the process is sampled every half millisecond.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

VOCABULARIES = (20_000, 80_000)
ROWS, TOKENS, HIDDEN, TOP_K = 4, 128, 32, 20


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(kind: str, vocabulary: int) -> int:
    """Bytes that one forward and backward pass of a loss adds at its peak."""
    import torch
    from trl.experimental.gkd import GKDTrainer
    from trl.experimental.orpo import ORPOTrainer

    from entrypoint.run.methods.answered import forward_kl

    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = torch.randn(vocabulary, HIDDEN, requires_grad=True)
    hidden, ids = torch.randn(ROWS, TOKENS, HIDDEN), torch.randint(0, vocabulary, (ROWS, TOKENS))
    answers = (torch.randint(0, vocabulary, (ROWS * (TOKENS - 1), TOP_K)), torch.full((ROWS * (TOKENS - 1), TOP_K), -4.0))
    before, peak, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    logits = hidden @ head.T
    if kind == "distil":
        with torch.no_grad():
            teacher = hidden @ (head * 1.1).T
        loss = GKDTrainer.generalized_jsd_loss(logits[:, :-1], teacher[:, :-1], ids[:, 1:], beta=0.5)
    elif kind == "answered":
        loss = forward_kl(logits[:, :-1][ids[:, 1:] >= 0], *answers).sum()
    else:
        half = ROWS // 2
        likelihood = torch.nn.functional.cross_entropy(logits[:half, :-1].contiguous().view(-1, vocabulary), ids[:half, 1:].reshape(-1))
        chosen = ORPOTrainer.get_batch_logps(logits, ids, average_log_prob=True)
        loss = likelihood - torch.nn.functional.logsigmoid(chosen[:half] - chosen[half:]).mean()
    loss.backward()
    done.set()
    watcher.join()
    return peak[0] - before


def main() -> None:
    """One process a measurement."""
    if len(sys.argv) > 1:
        print(measure(sys.argv[1], int(sys.argv[2])))
        return
    found = {}
    for kind in ("orpo", "distil", "answered"):
        peaks = [
            int(subprocess.run([sys.executable, __file__, kind, str(v)], capture_output=True, text=True, check=True).stdout.split()[-1]) for v in VOCABULARIES
        ]
        more = (VOCABULARIES[1] - VOCABULARIES[0]) * ROWS * TOKENS
        found[kind] = {"peak_bytes": dict(zip(map(str, VOCABULARIES), peaks, strict=True)), "bytes_a_logit": round((peaks[1] - peaks[0]) / more, 1)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
