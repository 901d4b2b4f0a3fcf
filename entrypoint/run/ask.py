"""Ask a model in the store one question, without a server. `python -m entrypoint.run.ask FOLDER QUESTION`."""

import sys
from pathlib import Path

TOKENS = 64


def main(folder: Path, question: str) -> None:
    """Print the greedy answer."""
    from transformers import AutoTokenizer

    from entrypoint.run.greedy import answer
    from entrypoint.run.load_model import load_plain
    from entrypoint.run.quiet import hush

    hush()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = answer(load_plain(folder), ids, TOKENS)
    print(tokenizer.decode(said.ids, skip_special_tokens=True).strip())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
