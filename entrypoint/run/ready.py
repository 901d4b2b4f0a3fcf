"""Healthcheck of the stage serve: exits 0 when the engine answers and has its model loaded. `python -m entrypoint.run.ready`.

Standard library only: it runs every few seconds.
"""

import http.client
import sys
import urllib.request

TIMEOUT_SECONDS = 4


def main(port: int) -> int:
    """The engine opens its port only once the model is loaded; /health then asks the engine process itself."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(f"not ready: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
