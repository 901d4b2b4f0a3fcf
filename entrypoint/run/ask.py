"""Ask a model in the store one question, without a server. `python -m entrypoint.run.ask FOLDER QUESTION`."""

import sys
from pathlib import Path

from entrypoint.run.loadable import check_model, load_tokenizer
from schemas.errors import CaissonError, GateRefused

TOKENS = 64


def main(folder: Path, question: str) -> None:
    """Print the greedy answer."""
    from entrypoint.run.greedy import answer
    from entrypoint.run.load_model import load_plain
    from entrypoint.run.quiet import hush

    hush()
    check_model(folder)
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        raise GateRefused("the model has no chat template", "use the instruct version of the model")
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = answer(load_plain(folder), ids, TOKENS)
    print(tokenizer.decode(said.ids, skip_special_tokens=True).strip())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
