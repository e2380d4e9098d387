"""A real OpenAI-compatible server around a real, tiny, random language model that returns log-probabilities.

Nothing is recorded or faked: a request is tokenised, run through a Llama of two small layers, and answered with the
sampled text, its log-probabilities and its token counts. On demand it misbehaves as real servers do.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def tiny_model():
    """A byte-level tokenizer of 260 tokens and a random Llama (seed 0): a second to build, no download."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(["<end>", *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8192,
        initializer_range=0.4,
    )
    return tokenizer, LlamaForCausalLM(config).eval()


class JudgeServer(ThreadingHTTPServer):
    """`script` holds what the next requests get: "ok", "429", "500", "garbage", "hang", "401", "text:<answer>",
    "cut:<answer>" (as if it had been longer), "thought:<reasoning>|<answer>". `unknown` names parameters it refuses.

    `seen` counts requests by their messages, `billed` the completions it delivered; `busiest` is the most requests
    it had at once.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokenizer, self.model = tiny_model()
        self.lock = threading.Lock()
        self.script: deque[str] = deque()
        self.reset()

    def reset(self):
        self.script.clear()
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.billed = 0
        self.now, self.busiest = 0, 0
        self.always = "ok"
        self.pause = 0.0
        self.refusal: object = "invalid_api_key"
        self.unknown: tuple[str, ...] = ()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def prompt(self, messages):
        """The tokens of a prompt, which are billed."""
        text = "".join(f"<{m['role']}>{m['content']}\n" for m in messages) + "<assistant>"
        return self.tokenizer.encode(text).ids

    def complete(self, request, most=None):
        """Sample greedily; `structured_outputs.choice` allows only the given single-letter answers."""
        import torch

        ids = self.prompt(request["messages"])
        choice = (request.get("structured_outputs") or {}).get("choice")
        allowed = [self.tokenizer.token_to_id(letter) for letter in choice] if choice else None
        said, logprobs = [], []
        with self.lock, torch.inference_mode():
            for _step in range(1 if choice else most or request.get("max_tokens") or request["max_completion_tokens"]):
                logits = self.model(torch.tensor([(ids + said)[-2048:]])).logits[0, -1].float()
                scores = torch.log_softmax(logits, -1)
                best = max(allowed, key=lambda i: scores[i]) if allowed else int(scores.argmax())
                said.append(best)
                # A constrained server ranks what it may say.
                ranked = allowed or scores.topk(request.get("top_logprobs") or 1).indices.tolist()
                logprobs.append((best, [(i, float(scores[i])) for i in ranked]))
        return self.tokenizer.decode(said), logprobs, len(ids), len(said)

    def body(self, request, text=None, finish_reason="stop", thought=None):
        generated, logprobs, prompt_tokens, completion_tokens = self.complete(request, None if text is None else 1)
        if text is not None:
            completion_tokens = len(self.tokenizer.encode(text.encode(errors="replace").decode()).ids)
        content = None
        if request.get("logprobs") and text is None:
            word = self.tokenizer.decode
            content = [
                {
                    "token": word([best]),
                    "logprob": dict(ranked)[best],
                    "bytes": None,
                    "top_logprobs": [{"token": word([i]), "logprob": p, "bytes": None} for i, p in ranked],
                }
                for best, ranked in logprobs
            ]
        return {
            "id": "x",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish_reason,
                    "message": {
                        "role": "assistant",
                        "content": generated if text is None else text,
                        "reasoning_content": thought,
                    },
                    "logprobs": {"content": content, "refusal": None} if content else None,
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server: JudgeServer = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(request)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.now += 1
            server.busiest = max(server.busiest, server.now)
            mode = server.script.popleft() if server.script else server.always
        try:
            time.sleep(server.pause)
            self.answer(server, request, mode)
        except BrokenPipeError:
            pass
        finally:
            with server.lock:
                server.now -= 1

    def answer(self, server, request, mode):
        if mode in ("401", "404", "429", "500"):
            extra = {"Retry-After": "0.05"} if mode == "429" else {}
            return self.send(
                int(mode),
                json.dumps({"error": {"message": f"no: {self.headers['Authorization']}", "code": server.refusal}}),
                extra,
            )
        for name in server.unknown:
            if name in request:
                more = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                message = f"Unsupported parameter: '{name}' is not supported with this model.{more}"
                return self.send(400, json.dumps({"error": {"message": message, "param": name}}))
        if mode == "hang":
            time.sleep(3)
            self.close_connection = True
            return None
        if mode == "garbage":
            return self.send(200, '{"id": "x", "choi')
        how, said, text = mode.partition(":")
        thought = None
        if how == "thought":
            thought, _bar, text = text.partition("|")
        with server.lock:
            server.billed += 1
        reason = "length" if how == "cut" else "stop"
        return self.send(200, json.dumps(server.body(request, text if said else None, reason, thought)))

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


@functools.cache
def start() -> JudgeServer:
    """One server a test run."""
    server = JudgeServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
