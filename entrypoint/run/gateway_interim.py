"""What is known of a server that does not write active.json: whether it answers on its own port."""

import http.client
import urllib.request

from schemas.active import Active

SERVE = "serve:8000"


def ask_serve() -> Active | None:
    """Ready once its /health answers; None before."""
    try:
        with urllib.request.urlopen(f"http://{SERVE}/health", timeout=1) as answer:
            return Active(generation=1, state="ready", upstream=SERVE) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
