"""The client: what programs ask most, typed; anything else through `get` and `post`."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode

from switchyard_client.answers import (
    Comparison,
    Dataset,
    Export,
    Imported,
    Job,
    Labeler,
    Link,
    NewLink,
    Plan,
    Project,
    Run,
    Webhook,
)
from switchyard_client.errors import Conflict, Fault, JobFailed, NotFound, Refused, Unreachable

Given = TypeVar("Given")
ENDED = ("done", "failed", "cancelled")
# What the server takes in one request of rows, with room to spare.
ROWS, ROWS_SIZE = 1000, 6 * 2**20
CHUNK = 2**16
# Statuses that may pass; 409 does where the server says when.
PASSING = (429, 500, 502, 503, 504)
# Seconds: the longest pause between two attempts, and between two looks at a job.
LONGEST, LOOK = 60.0, 5.0


class Client:
    """Asks one site with one token.

    What was not answered is asked again with growing pauses, up to `attempts` times, and done once: every POST carries
    an idempotency key. Raises Refused for what the server refuses, Unreachable when no answer comes.
    """

    def __init__(self, site: str, token: str, *, timeout: float = 60.0, attempts: int = 6) -> None:
        self.site, self.timeout, self.attempts = site.rstrip("/"), timeout, attempts
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect)

    # What there is

    def projects(self) -> Iterator[Project]:
        return self._all("/projects")

    def comparisons(
        self, project: int, *, status: str | None = None, source: str | None = None
    ) -> Iterator[Comparison]:
        """Comparisons by id; `status`: labelled, unlabelled or waiting."""
        return self._all(f"/projects/{project}/comparisons", status=status, source=source)

    def datasets(self, project: int) -> Iterator[Dataset]:
        return self._all(f"/projects/{project}/datasets")

    def version(self, project: int, dataset: int, version: int) -> Export:
        """One version of a data set, which never changes: what a training job pins."""
        found: Export = self.get(f"/projects/{project}/datasets/{dataset}/versions/{version}")
        return found

    def plans(self, project: int) -> Iterator[Plan]:
        return self._all(f"/projects/{project}/plans")

    def labelers(self, project: int) -> Iterator[Labeler]:
        return self._all(f"/projects/{project}/labelers")

    def runs(self, project: int, *, labeler: int | None = None, state: str | None = None) -> Iterator[Run]:
        """Runs of labelers by id, with what they did and cost."""
        return self._all(f"/projects/{project}/runs", labeler=labeler, state=state)

    def webhooks(self, project: int) -> Iterator[Webhook]:
        return self._all(f"/projects/{project}/webhooks")

    # In

    def add_comparisons(self, project: int, rows: Iterable[Mapping[str, Any]], *, key: str = "") -> Imported:
        """Add rows of any number, a request for each thousand; each request comes in whole or not at all.

        `key`: give the same one when the same rows are added again after a crash. Rows that are there already change
        nothing in any case. Raises Refused, whose faults count rows within the request that was refused.
        """
        key, total = key or uuid.uuid4().hex, _nothing()
        for number, lines in enumerate(_requests(rows)):
            path = f"/projects/{project}/comparisons"
            added: Imported = self._ask("POST", path, b"\n".join(lines), "application/x-ndjson", key=f"{key}-{number}")
            total = _together(total, added)
        return total

    def import_file(
        self, project: int, path: str | os.PathLike[str], *, source: str = "", format: str = "", wait: bool = True
    ) -> Job:
        """Import a file of any format that the import page takes. Raises JobFailed when the file does not fit."""
        query = {"filename": Path(path).name[-200:], "source": source, "format": format or None}
        with open(path, "rb") as content:
            size = os.fstat(content.fileno()).st_size
            address = f"/projects/{project}/imports{_query(query)}"
            job: Job = self._ask("POST", address, content, "application/octet-stream", size=size)
        return self.wait(project, job) if wait else job

    # Out

    def export(
        self,
        project: int,
        format: str,
        *,
        container: str = "parquet",
        source: str = "routed",
        options: Mapping[str, Any] | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Export:
        """Ask for an export, wait until it is written, and give it. Raises JobFailed when there is nothing to write."""
        asked = {"format": format, "container": container, "source": source}
        asked_more = {"options": dict(options or {}), "filters": dict(filters or {})}
        made = self.post(f"/projects/{project}/exports", asked | asked_more)
        self.wait(project, made["job"])
        written: Export = self.get(f"/projects/{project}/exports/{made['export']['number']}")
        return written

    def download(self, export: Export, folder: str | os.PathLike[str]) -> list[Path]:
        """The files of a written export in `folder`; those that lie there already, whole, are not sent again."""
        paths = []
        for file in export["files"]:
            path = Path(folder) / _inside(file["name"])
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (path.exists() and _sha256(path) == file["sha256"]):
                self._download(file["url"], path, file["sha256"])
            paths.append(path)
        return paths

    def link(self, project: int, export: int, name: str = "") -> NewLink:
        """A link to the file `name` of an export, or without one to all, that needs no token and ends after a day.

        Its `url` is null when the first answer was lost on the way: take the link back and make another.
        """
        made: NewLink = self.post(f"/projects/{project}/exports/{export}/links", {"name": name})
        return made

    def links(self, project: int, export: int) -> Iterator[Link]:
        """The live links of an export: for a lead whoever made them, else one's own."""
        return self._all(f"/projects/{project}/exports/{export}/links")

    def take_back(self, project: int, export: int, link: int) -> None:
        self.delete(f"/projects/{project}/exports/{export}/links/{link}")

    # Work

    def run_labeler(
        self,
        project: int,
        labeler: int,
        *,
        on: str,
        filter: Mapping[str, Any] | None = None,
        most: str | None = None,
        key: str = "",
        wait: bool = True,
    ) -> Run:
        """Ask for a run and wait for it; the token needs the scope `label`.

        `on`: trial, people, everything, or filter with a `filter`. `most`, money as text, is what it may cost at most;
        a labeler with a price needs it. Raises Refused, which says how much it can cost, and JobFailed. `key`: give the
        same one to ask again after a crash.
        """
        asked = {"on": on, "most": most, "filter": None if filter is None else dict(filter)}
        run: Run = self.post(f"/projects/{project}/labelers/{labeler}/runs", asked, key=key)
        if wait:
            self.wait(project, self.get(f"/projects/{project}/jobs/{run['id']}"))
            run = self.get(f"/projects/{project}/runs/{run['id']}")
        return run

    def cancel_run(self, project: int, run: int) -> Run:
        """What it had judged stays and is paid. Raises Conflict when it had ended."""
        cancelled: Run = self.post(f"/projects/{project}/runs/{run}/cancel")
        return cancelled

    def switch_webhook(self, project: int, webhook: int, on: bool) -> Webhook:
        """Off, what waits for it is kept, and of what happens meanwhile it is never told."""
        switched: Webhook = self.patch(f"/projects/{project}/webhooks/{webhook}", {"is_active": on})
        return switched

    def make_plan(self, project: int, budget: str, *, strategy: str = "auto", seed: int = 0) -> Plan:
        """Ask for a plan, wait for it, and give the draft."""
        job: Job = self.post(f"/projects/{project}/plans", {"budget": budget, "strategy": strategy, "seed": seed})
        number = self.wait(project, job)["result"]["plan"]
        plan: Plan = self.get(f"/projects/{project}/plans/{number}")
        return plan

    def approve_plan(self, project: int, number: int) -> Plan:
        plan: Plan = self.post(f"/projects/{project}/plans/{number}/approve")
        return plan

    def wait(self, project: int, job: Job, *, longest: float | None = None) -> Job:
        """The job when it is done. Raises JobFailed when it ends otherwise, TimeoutError after `longest` seconds."""
        begun, pause = time.monotonic(), 0.2
        while job["state"] not in ENDED:
            if longest is not None and time.monotonic() - begun > longest:
                raise TimeoutError(f"job {job['id']} is {job['state']} after {longest:g} seconds")
            time.sleep(pause)
            pause = min(LOOK, pause * 1.5)
            job = self.get(f"/projects/{project}/jobs/{job['id']}")
        if job["state"] != "done":
            raise JobFailed(job)
        return job

    # Any address

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `path` below /api/v1."""
        return self._ask("GET", path + _query(query))

    def post(self, path: str, value: Any = None, *, key: str = "") -> Any:
        """What is answered to `value`, sent as JSON. Asked again with the same `key` it is done once."""
        return self._ask("POST", path, b"" if value is None else json.dumps(value).encode(), key=key)

    def patch(self, path: str, value: Any) -> Any:
        """What is answered to a change, sent as JSON; made twice it is made once."""
        return self._ask("PATCH", path, json.dumps(value).encode())

    def delete(self, path: str) -> None:
        """Remove what stands at `path`. Raises NotFound when it is gone already, as after an answer that was lost."""
        self._ask("DELETE", path)

    def _all(self, path: str, **query: Any) -> Iterator[Any]:
        after: int | None = 0
        while after is not None:
            page = self.get(path, after=after, limit=1000, **query)
            yield from page["items"]
            after = page["next"]

    # How it is asked

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        media_type: str = "application/json",
        *,
        key: str = "",
        size: int | None = None,
    ) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            length = len(body) if isinstance(body, bytes) else size
            headers |= {"Content-Type": media_type, "Content-Length": str(length)}
            headers["Idempotency-Key"] = key or uuid.uuid4().hex

        def once() -> Any:
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            with self._open(method, f"/api/v1{path}", headers, body) as answer:
                content = answer.read()
            return json.loads(content) if content else None

        return self._retried(once)

    def _download(self, url: str, path: Path, sha256: str) -> None:
        part = path.with_name(path.name + ".part")

        def once() -> None:
            with self._open("GET", url, {}) as answer, part.open("wb") as file:
                while piece := answer.read(CHUNK):
                    file.write(piece)
            if _sha256(part) != sha256:
                raise OSError(f"{path.name} came damaged")
            part.replace(path)

        self._retried(once)

    def _open(self, method: str, path: str, headers: dict[str, str], body: bytes | IO[bytes] | None = None) -> Any:
        request = urllib.request.Request(f"{self.site}{path}", data=body, method=method, headers=headers)
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return self._opener.open(request, timeout=self.timeout)

    def _retried(self, once: Callable[[], Given]) -> Given:
        for attempt in range(1, self.attempts + 1):
            try:
                return once()
            except urllib.error.HTTPError as error:
                with error:
                    refused = _refused(error)
                after = error.headers.get("Retry-After", "")
                if attempt == self.attempts or not (error.code in PASSING or (error.code == 409 and after)):
                    raise refused from None
            except (OSError, HTTPException) as error:
                if attempt == self.attempts:
                    raise Unreachable(f"{self.site}: {error or type(error).__name__}") from error
                after = ""
            # Without the server's word growing pauses, not the same for all who wait.
            pause = float(after) if after.isdecimal() else 0.5 * 2**attempt * (0.5 + random.random())
            time.sleep(min(LONGEST, pause))
        raise AssertionError("`attempts` is at least 1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the site and nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _refused(error: urllib.error.HTTPError) -> Refused:
    try:
        problem = json.loads(error.read(2**20))
        faults = tuple(Fault(each.get("row"), each["field"], each["reason"]) for each in problem["errors"])
        detail = str(problem["detail"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError):
        # Not from Switchyard: a proxy before it.
        detail, faults = str(error.reason), ()
    kind = {404: NotFound, 409: Conflict}.get(error.code, Refused)
    return kind(error.code, detail, faults)


def _query(values: Mapping[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def _requests(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """Rows as lines of JSON, in lists that each fit one request."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False).encode()
        if lines and (len(lines) == ROWS or size + len(line) > ROWS_SIZE):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield lines


def _nothing() -> Imported:
    return {"prompts": 0, "responses": 0, "comparisons": 0, "judgments": 0, "skipped_existing": 0, "left": {}}


def _together(one: Imported, other: Imported) -> Imported:
    left = dict(one["left"])
    for words, number in other["left"].items():
        left[words] = left.get(words, 0) + number
    return {
        "prompts": one["prompts"] + other["prompts"],
        "responses": one["responses"] + other["responses"],
        "comparisons": one["comparisons"] + other["comparisons"],
        "judgments": one["judgments"] + other["judgments"],
        "skipped_existing": one["skipped_existing"] + other["skipped_existing"],
        "left": left,
    }


def _inside(name: str) -> PurePosixPath:
    """The name of a file, which a server must not use to write elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"{name!r} lies outside the folder")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
