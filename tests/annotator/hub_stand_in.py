"""A hub on this machine: a real HTTP server with the few addresses that a push of a data set asks for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_only-for-tests"


class Repository:
    def __init__(self, private: bool) -> None:
        self.private = private
        self.files: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


class Hub:
    """Its repositories, what was asked, and how it is to misbehave: `refuses` is (part of a path, status)."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.refuses: tuple[str, int] | None = None
        # Where files are to be put, if not here.
        self.uploads = ""
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_words: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        body = self._body()
        path = urlsplit(self.path).path
        self.hub.asked.append((self.command, path, self.headers.get("Authorization")))
        if self.hub.refuses and self.hub.refuses[0] in path:
            return self._answer({"error": "no"}, self.hub.refuses[1])
        if path.startswith("/lfs/"):
            self.hub.large[path.removeprefix("/lfs/")] = body
            return self._answer({})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        self._known(path, body)

    def _known(self, path: str, body: bytes) -> None:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        name, _slash, rest = self._repository(path)
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._answer({"error": "Repository not found"}, 404)
        if rest.startswith("preupload/"):
            return self._preupload(repository, json.loads(body))
        if rest.startswith("commit/"):
            return self._commit(name, repository, body)
        if rest.startswith("tree/"):
            listed = [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in repository.files.items()]
            return self._answer(listed)
        siblings = [{"rfilename": path} for path in repository.files]
        self._answer({"id": name, "private": repository.private, "sha": repository.sha, "siblings": siblings})

    def _repository(self, path: str) -> tuple[str, str, str]:
        owner, name, *rest = path.removeprefix("/api/datasets/").split("/", 2)
        return f"{owner}/{name}", "/", rest[0] if rest else ""

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            return self._answer({"error": "exists", "url": f"{self.hub.url}/datasets/{name}"}, 409)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repositories[name] = Repository(private)
        self._answer({"url": f"{self.hub.url}/datasets/{name}", "name": name})

    def _preupload(self, repository: Repository, asked: dict[str, Any]) -> None:
        files = []
        for file in asked["files"]:
            large = file["path"].endswith((".parquet", ".jsonl", ".gz"))
            there = repository.files.get(file["path"])
            oid = None if there is None else (hashlib.sha256(there).hexdigest() if large else _blob(there))
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer({"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        where = self.hub.uploads or f"{self.hub.url}/lfs"
        objects = []
        for each in asked["objects"]:
            made = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.large:
                made["actions"] = {"upload": {"href": f"{where}/{each['oid']}"}}
            objects.append(made)
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, body: bytes) -> None:
        entries = [json.loads(line) for line in body.splitlines() if line]
        for entry in entries:
            value = entry["value"]
            if entry["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del repository.files[value["path"]]
        repository.commits.append(entries[0]["value"])
        url = f"{self.hub.url}/datasets/{name}/commit/{repository.sha}"
        self._answer({"success": True, "commitOid": repository.sha, "commitUrl": url})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
