"""A real HTTP server that speaks vLLM's and SGLang's scoring dialects around a real tiny model.

Its answers have the fields of the files in shapes/ (a test compares them), its numbers are the model's. What it knows
can be taken from it (`knows`), and it misbehaves on demand (`script`).
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.labelers import tiny_models as tiny

WAYS = {"rows", "prompt-0", "prompt-1", "top-1", "suffix-0", "suffix-1", "whole-1"}


class ScoringServer(ThreadingHTTPServer):
    """`script`: what the next scoring requests get ("429", "500", "garbage", "redirect", …); then all is well."""

    daemon_threads = True

    def __init__(self, family, seed=0, knows=WAYS, key="", tokenizer=None, limit=512):
        super().__init__(("127.0.0.1", 0), Handler)
        self.family, self.model, self.knows, self.key = family, tiny.model(family, seed), set(knows), key
        self.served, self.limit = f"tiny-{family}", limit
        self.tokenizer = tokenizer or tiny.tokenizer(family)
        self.lock = threading.Lock()
        self.script: deque[str] = deque()
        self.requests: list[tuple[str, dict]] = []
        self.headers: list[dict] = []
        self.now, self.busiest = 0, 0
        # A prefix cache that lies: what was asked before bends the scores of a text that begins alike.
        self.lies, self.seen = False, set()
        self.tokenizes, self.lists = True, True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def scored(self):
        return [body for path, body in self.requests if path not in ("/tokenize", "/v1/models")]

    def logprobs(self, ids):
        """[(log p, likeliest token, its log p) or None], one for each id."""
        import torch

        with self.lock, torch.inference_mode():
            table = self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        start = tuple(ids[:20])
        bent = -0.5 if self.lies and start in self.seen else 0.0
        self.seen.add(start)
        rows = [(table[place, token].item() + bent, int(table[place].argmax())) for place, token in enumerate(ids[1:])]
        return [None, *((value, best, table[place, best].item()) for place, (value, best) in enumerate(rows))]

    # Each dialect

    def completions(self, body):
        way = "top-1" if body["prompt_logprobs"] else f"prompt-{body['max_tokens']}"
        if way not in self.knows:
            message = f"max_tokens must be at least 1, got {body['max_tokens']}."
            return 400, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}
        ids = body["prompt"]
        if isinstance(ids, str):
            ids = self.tokenizer(ids, add_special_tokens=False).input_ids
        listed = []
        for token, found in zip(ids, self.logprobs(ids), strict=True):
            entry = None if found is None else {str(token): self._entry(found[0], token)}
            if entry and body["prompt_logprobs"]:
                # The likeliest stands first, as servers print it; the token that was sent may be the same.
                entry = {str(found[1]): self._entry(found[2], found[1]), **entry}
            listed.append(entry)
        choice = {
            "index": 0, "text": "x", "logprobs": None, "finish_reason": "length", "stop_reason": None,
            "token_ids": None, "prompt_logprobs": listed, "prompt_token_ids": None,
        }  # fmt: skip
        usage = {
            "prompt_tokens": len(ids), "total_tokens": len(ids) + 1, "completion_tokens": 1,
            "prompt_tokens_details": None,
        }  # fmt: skip
        return 200, {
            "id": "cmpl-0", "object": "text_completion", "created": 0, "model": body["model"], "choices": [choice],
            "service_tier": None, "system_fingerprint": None, "usage": usage, "kv_transfer_params": None,
        }  # fmt: skip

    def _entry(self, value, token):
        return {"logprob": value, "rank": 1, "decoded_token": self.tokenizer.convert_ids_to_tokens(token)}

    def rows(self, body):
        import numpy as np

        if "rows" not in self.knows:
            return 404, {"detail": "Not Found"}
        asked, ids = body["sampling_params"], body["token_ids"]
        found = self.logprobs(ids)[asked["prompt_logprob_start"] + 1 :]
        assert [row for (row,) in asked["prompt_logprob_token_ids"]] == ids[asked["prompt_logprob_start"] + 1 :]
        file = io.BytesIO()
        np.save(file, np.array([[value[0]] for value in found], dtype="float32"))
        choice = {"index": 0, "logprobs": None, "finish_reason": "length", "token_ids": [1]}
        return 200, {
            "request_id": "0", "choices": [choice], "prompt_logprobs": None,
            "prompt_token_id_logprobs": base64.b64encode(file.getvalue()).decode(), "kv_transfer_params": None,
        }  # fmt: skip

    def generate(self, body):
        start, ids = body["logprob_start_len"], body["input_ids"]
        way = f"{'suffix' if start else 'whole'}-{body['sampling_params']['max_new_tokens']}"
        if way not in self.knows:
            return 400, {"error": {"message": "max_new_tokens must be at least 1, got 0."}}
        listed = [[found and found[0], token, None] for token, found in zip(ids, self.logprobs(ids), strict=True)]
        listed = [[None, ids[start], None], *listed[start + 1 :]]
        return 200, {
            "text": "x",
            "meta_info": {
                "id": "0", "finish_reason": {"type": "length", "length": 1}, "prompt_tokens": len(ids),
                "input_token_logprobs": listed, "output_token_logprobs": [[-1.0, 1, None]],
            },
        }  # fmt: skip

    def tokenize(self, body):
        if not self.tokenizes:
            return 404, {"detail": "Not Found"}
        ids = self.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"]).input_ids
        return 200, {"count": len(ids), "max_model_len": self.limit, "tokens": ids}

    def models(self):
        if not self.lists:
            return 404, {"detail": "Not Found"}
        card = {"id": self.served, "object": "model", "created": 0, "owned_by": "vllm", "root": "folder/of/weights"}
        return 200, {"object": "list", "data": [{**card, "parent": None, "max_model_len": self.limit}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.path, {})

    def do_POST(self):
        self.answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, path, body):
        server: ScoringServer = self.server
        with server.lock:
            server.requests.append((path, body))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.now += 1
            server.busiest = max(server.busiest, server.now)
        ways = {"/v1/completions": server.completions, "/inference/v1/generate": server.rows}
        ways |= {"/generate": server.generate, "/tokenize": server.tokenize}
        try:
            mode = server.script.popleft() if server.script and path in ways and path != "/tokenize" else ""
            if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
                mode = "401"
            if mode == "redirect":
                return self.send(302, "", {"Location": f"{server.url}{path}"})
            if mode == "garbage":
                return self.send(200, '{"choices": [')
            if mode.isdigit():
                words = {"error": {"message": f"no: {self.headers['Authorization']}"}}
                return self.send(int(mode), json.dumps(words), {"Retry-After": "0.01"})
            found = server.models() if path == "/v1/models" else ways[path](body) if path in ways else (404, {})
            if mode == "one short":
                found[1]["choices"][0]["prompt_logprobs"].pop()
            if mode == "other ids":
                listed = found[1]["choices"][0]["prompt_logprobs"]
                found[1]["choices"][0]["prompt_logprobs"] = [
                    None,
                    *({"1000000": {"logprob": -1.0}} for _e in listed[1:]),
                ]
            self.send(found[0], json.dumps(found[1]))
        finally:
            with server.lock:
                server.now -= 1

    def send(self, status, body, headers=None):
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


@contextmanager
def running(family, **options):
    server = ScoringServer(family, **options)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
