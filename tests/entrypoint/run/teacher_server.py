"""A server over HTTP that has a tiny model and answers as vLLM does, or as older servers: true log-probabilities of every token of a prompt."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch


class TeacherServer:
    """Listens on a free port of loopback while the block runs. What it does wrong is set from outside."""

    def __init__(self, model, tokenizer, name="large", form="prompt_logprobs", key=None, max_logprobs=10_000, room=256):
        self.model, self.tokenizer, self.name, self.form, self.key, self.max_logprobs, self.room = model, tokenizer, name, form, key, max_logprobs, room
        self.prompts: list[tuple[int, ...]] = []
        """Of requests that were answered in full."""

        self.fails: dict[int, int] = {}
        """Number of a request, from 1 on -> the status that it gets instead of an answer."""

        self.unknown: int | None = None
        """A token that its vocabulary does not have."""

        self.slow = 0.0
        self.shift = 0.0
        """Added to each log-probability."""

        self.requests, self.at_once, self.most_at_once = 0, 0, 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"teacher": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def counted(self, rows):
        """How often each of these rows was answered."""
        found = Counter(self.prompts)
        return [found[tuple(row)] for row in rows]

    def logprobs(self, ids):
        """float32 (tokens, vocabulary): at place t of the token t, given those before it; the first place is of no use."""
        with torch.no_grad(), self.lock:
            logits = self.model(input_ids=torch.tensor([ids])).logits[0].float()
        return torch.cat([torch.zeros_like(logits[:1]), logits[:-1].log_softmax(-1)]) + self.shift

    def write(self, ids, room):
        """The greedy continuation as text, and why it ended."""
        ids, start = list(ids), len(ids)
        while len(ids) - start < room:
            with torch.no_grad(), self.lock:
                token = int(self.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id:
                return self.tokenizer.decode(ids[start:], skip_special_tokens=True), len(ids) - start + 1, "stop"
            ids.append(token)
        return self.tokenizer.decode(ids[start:], skip_special_tokens=True), room, "length"

    def likeliest(self, ids, k):
        """At each place the k likeliest tokens and the one that stands there; None at the first."""
        places = [None]
        for place, found in enumerate(self.logprobs(ids)):
            if place:
                best = found.topk(min(k, len(found))).indices.tolist()
                ranked = [ids[place], *best] if ids[place] not in best else best
                places.append([(token, float(found[token]), int((found > found[token]).sum()) + 1) for token in ranked])
        return places


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    teacher: TeacherServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self._allowed():
            self._json({"object": "list", "data": [{"id": self.teacher.name, "object": "model", "max_model_len": self.teacher.room}]})

    def do_POST(self):
        teacher = self.teacher
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with teacher.lock:
            teacher.requests += 1
            teacher.at_once += 1
            teacher.most_at_once = max(teacher.most_at_once, teacher.at_once)
            status = teacher.fails.get(teacher.requests)
        try:
            time.sleep(teacher.slow)
            if status:
                self._json({"error": {"message": "out of order"}}, status)
            elif self._allowed():
                self._complete(asked)
        finally:
            with teacher.lock:
                teacher.at_once -= 1

    def _complete(self, asked):
        teacher, ids = self.teacher, asked["prompt"]
        if self.path != "/v1/completions" or asked["model"] != teacher.name:
            return self._json({"error": {"message": f"The model `{asked['model']}` does not exist."}}, 404)
        if teacher.unknown in ids:
            return self._json({"error": {"message": f"Token id {teacher.unknown} is out of vocabulary"}}, 400)
        if len(ids) + asked["max_tokens"] > teacher.room:
            return self._json({"error": {"message": f"This model's maximum context length is {teacher.room} tokens."}}, 400)
        found = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": None}
        k = asked.get("prompt_logprobs") if teacher.form in ("prompt_logprobs", "unlike") else asked.get("logprobs") if asked.get("echo") else None
        if k is not None and k > teacher.max_logprobs:
            message = f"Requested prompt logprobs of {k}, which is greater than max allowed: {teacher.max_logprobs}"
            return self._json({"error": {"message": message}}, 400)
        if k is not None and teacher.form == "prompt_logprobs":
            found["prompt_logprobs"] = [
                place and {str(token): {"logprob": value, "rank": rank, "decoded_token": teacher.tokenizer.decode([token])} for token, value, rank in place}
                for place in teacher.likeliest(ids, k)
            ]
        elif k is not None and teacher.form == "unlike":
            found["prompt_logprobs"] = [None, *({"first": {"value": -1.0}} for _ in ids[1:])]
            found["logprobs"] = {"top_logprobs": [["a", -1.0]] * len(ids)}
        elif k is not None and teacher.form in ("echo ids", "echo texts"):
            name = (lambda token: f"token_id:{token}") if teacher.form == "echo ids" else (lambda token: teacher.tokenizer.decode([token]))
            tops = [place and {name(token): value for token, value, _ in place} for place in teacher.likeliest(ids, k)]
            found["logprobs"] = {"top_logprobs": [*tops, {name(0): -1.0}], "tokens": [name(token) for token in [*ids, 0]]}
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        if asked["max_tokens"] > 1:
            found["text"], usage["completion_tokens"], found["finish_reason"] = teacher.write(ids, asked["max_tokens"])
        self._json({"object": "text_completion", "choices": [found], "usage": usage})
        with teacher.lock:
            teacher.prompts.append(tuple(ids))

    def _allowed(self):
        if self.teacher.key and self.headers.get("Authorization") != f"Bearer {self.teacher.key}":
            self._json({"error": {"message": "Unauthorized"}}, 401)
            return False
        return True

    def _json(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
