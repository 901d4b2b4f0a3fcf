"""names_asked.py: run inside an image without any network: what its libraries ask a name server for, which is this process, on loopback.

Reads from standard input a JSON object: `use`, pieces of Python by library, and `without`, variables to take out of the environment. Prints a JSON object:
the names that were asked for while all pieces ran, and by library what its piece said last. Nothing is ever answered but that there is no such name.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

LINGER_SECONDS = 2.0
"""For threads that ask behind the end of what started them."""


def name_in(query: bytes) -> str:
    """The name that a DNS query is about (RFC 1035, section 4.1.2)."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += query[at] + 1
    return ".".join(labels)


def serve(server: socket.socket, names: list[str]) -> None:
    """Write down every name and say that it does not exist."""
    while True:
        query, sender = server.recvfrom(4096)
        names.append(name_in(query))
        server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], sender)


def main() -> None:
    """One process a library, two at a time, as there are cores."""
    told = json.load(sys.stdin)
    server, names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), list[str]()
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server, names), daemon=True).start()
    environment = {name: value for name, value in os.environ.items() if name not in told["without"]}
    said, waiting = {}, list(told["use"].items())

    def work() -> None:
        while waiting:
            library, code = waiting.pop(0)
            with tempfile.TemporaryDirectory() as home:
                code += f"\nimport time; time.sleep({LINGER_SECONDS})"
                done = subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": home}, cwd=home, capture_output=True, text=True, timeout=120)
                said[library] = [*done.stdout.strip().splitlines()[-1:], *done.stderr.strip().splitlines()[-1:]]
                left = [os.path.join(base, name) for base, _, found in os.walk(home) for name in found]  # noqa: PTH118
                said[library] += [path for path in left if "telemetry" in path]

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.2)
    print(json.dumps({"names": sorted(set(names)), "said": said}))


if __name__ == "__main__":
    main()
