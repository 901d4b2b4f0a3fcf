"""Streams, one after the other, from several clients at once, until told to end by a line on standard input. `python streams.py CLIENTS`.

Prints a JSON line an answer: `full`, `error` (one that the client has a class for), or `corrupt`: an answer that ended without saying so, or whose
pieces do not belong together.
"""

import json
import os
import sys
import threading
import time

import openai

MODEL = os.environ["MODEL"]
ended = threading.Event()
printing = threading.Lock()


def one(client: openai.OpenAI, number: int) -> tuple[str, str]:
    """One streamed answer."""
    try:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Count up from {number}."}], max_tokens=40, temperature=0, stream=True
        )
        ids, reasons, pieces = set(), [], 0
        for chunk in stream:
            ids.add(chunk.id)
            for choice in chunk.choices:
                if reasons:
                    return "corrupt", "a piece after the end"
                pieces += 1
                if choice.finish_reason:
                    reasons.append(choice.finish_reason)
        if len(ids) != 1 or len(reasons) != 1:
            return "corrupt", f"{len(ids)} ids, ended by {reasons}"
        return "full", f"{pieces} pieces, {reasons[0]}"
    except openai.APIStatusError as error:
        waits = error.response.headers.get("retry-after")
        is_ours = error.status_code == 503 and waits and error.body
        return ("error" if is_ours else "corrupt"), f"{error.status_code} {error.code}, retry after {waits}"
    except openai.APIError as error:
        return "error", f"{type(error).__name__}: {error}"
    except Exception as error:
        # A cut in the middle of a stream comes from the client's own HTTP library, as what it is; anything else no client should ever see.
        return ("error" if type(error).__name__ == "RemoteProtocolError" else "corrupt"), f"{type(error).__name__}: {error}"


def work(number: int) -> None:
    """One client."""
    client = openai.OpenAI(max_retries=0, timeout=120)
    while not ended.is_set():
        outcome, why = one(client, number)
        with printing:
            print(json.dumps({"at": time.time(), "client": number, "outcome": outcome, "why": why}), flush=True)
        if outcome == "error":
            ended.wait(1)


threads = [threading.Thread(target=work, args=(number,)) for number in range(int(sys.argv[1]))]
for thread in threads:
    thread.start()
sys.stdin.readline()
ended.set()
for thread in threads:
    thread.join()
