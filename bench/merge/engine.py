"""Whether vLLM reads an export and answers as transformers did. In the image `serve-vllm`. Prints JSON.

engine.py FOLDER
"""

import json
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Greedy answers of the engine beside those of parity.json."""
    from vllm import LLM, SamplingParams

    rows = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    engine = LLM(str(folder), enforce_eager=True, dtype="bfloat16", seed=17)
    same = agreed = tokens = 0
    for row in rows:
        wanted = row["exported_ids"]
        asked = SamplingParams(temperature=0.0, max_tokens=len(wanted))
        found = list(engine.generate({"prompt_token_ids": row["prompt_ids"]}, asked, use_tqdm=False)[0].outputs[0].token_ids)
        same += found == wanted
        until = next((at for at, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted))
        agreed += until
        tokens += len(wanted)
    print(json.dumps({"answers": len(rows), "equal": same, "tokens": tokens, "tokens_before_the_first_difference": agreed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
