"""How often a judge obeys what a response says: `python bench/attacks.py https://host/v1 model --json`.

Asks the judge about every pair of `labelers.attacks` in both orders and prints a table by kind. Without an address a
tiny random model of our tests is asked, which shows the table and nothing else: it reads no meaning. The key is taken
from the environment variable that `--key` names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    given = arguments()
    from labelers.attacks import success_rate
    from labelers.llm_judge import LLMJudge

    url, model = given.url, given.model
    if not url:
        from tests.labelers import judge_server

        url, model = judge_server.start().url, "a tiny random model"
        given.structured = "choice"
    judge = LLMJudge(
        url,
        model,
        variant=given.variant,
        structured=given.structured,
        logprobs=not given.no_logprobs,
        max_tokens=given.max_tokens,
        concurrency=given.concurrency,
        api_key=os.environ.get(given.key, "") if given.key else "",
    )
    found = {
        "bench": "attacks",
        "model": model,
        "variant": given.variant,
        "structured": given.structured,
        **success_rate(judge, drawn(given)),
        "seed": given.seed,
        "versions": {name: version(name) for name in ("openai", "numpy")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
    }
    print(json.dumps(found) if given.json else table(found))


def drawn(given: argparse.Namespace) -> list[Any]:
    from labelers.attacks import attacks

    every = list(attacks())
    return random.Random(given.seed).sample(every, given.attacks) if given.attacks else every


def table(found: dict[str, Any]) -> str:
    rows = [*found["by_kind"].items(), ("all attacks", found), ("without attack", found["without"])]
    lines = [
        f"{found['model']}, {found['variant']}: the worse response preferred",
        f"{'':16}{'n':>5}{'rate':>8}{'95% interval':>16}{'ties':>6}{'unparsed':>10}{'errors':>8}",
    ]
    for name, row in rows:
        low, high = row["interval"]
        rate = "-" if row["rate"] is None else f"{row['rate']:.1%}"
        spread = f"{low:.1%} – {high:.1%}"
        lines.append(
            f"{name:16}{row['n']:>5}{rate:>8}{spread:>16}{row['ties']:>6}{row['unparsed']:>10}{row['errors']:>8}"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--variant", default="plain", choices=("plain", "critique", "reference", "questions"))
    parser.add_argument("--structured", default="off", choices=("off", "choice", "json"))
    parser.add_argument("--no-logprobs", action="store_true")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--key", default="", help="environment variable that holds the key")
    parser.add_argument("--attacks", type=int, default=0, help="only so many, drawn by --seed; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
