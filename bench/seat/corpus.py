"""A project for the bench: comparisons, annotators and an approved plan that sends everything to people."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from decimal import Decimal

PASSWORD = "correct horse battery staple"
# Of one prompt's responses every pair is compared, as in real sets; text is about 2 kB a response.
RESPONSES = 4
PAIRS = [(a, b) for a in range(RESPONSES) for b in range(a + 1, RESPONSES)]
TEXT_LENGTH = 2_000
VARIANTS = 64
PRICE = Decimal("0.25")
WORDS = (
    *("rain", "falls", "because", "warm", "air", "rises", "cools", "and", "lets", "go", "of", "its", "water", "while"),
    *("rivers", "carry", "it", "back", "to", "the", "sea", "where", "sun", "begins", "again", "so", "that", "what"),
    *("you", "see", "today", "has", "been", "seen", "before", "by", "somebody", "who", "asked", "same", "question"),
)


@dataclass(frozen=True)
class Corpus:
    project_id: int
    logins: list[str]


def fill(comparisons: int, annotators: int, overlap: int, seed: int) -> Corpus:
    """Needs Django set up. Texts through COPY, rendered as the product stores them."""
    from django.db import transaction

    from annotator.models import Project

    with transaction.atomic():
        project = _project(overlap)
        _texts(project, comparisons, random.Random(seed))
        _pairs(project, comparisons, overlap)
        _plan(project, comparisons, overlap)
        logins = _annotators(project, annotators)
    _settle_tables()
    assert Project.objects.filter(pk=project.pk).exists()
    return Corpus(project.pk, logins)


def _project(overlap: int):
    from annotator import protocols
    from annotator.models import Project, Protocol
    from annotator.pipeline import aggregate

    project = Project.objects.create(
        name="Bench of annotators", provenance="generated", price_per_judgment=PRICE, votes=overlap
    )
    Protocol.objects.create(project=project, version=1, preset="plain", definition=protocols.PRESETS["plain"])
    aggregate.default_recipe(project)
    return project


def _variants(draw: random.Random) -> list[tuple[str, str]]:
    """Texts with a list and some code, and their HTML: rendering is done at ingest and is not what is measured."""
    from annotator import rendering

    made = []
    for _number in range(VARIANTS):
        text = ""
        while len(text) < TEXT_LENGTH:
            sentence = " ".join(draw.choices(WORDS, k=18)).capitalize()
            text += draw.choice(
                [f"{sentence}.\n\n", f"- {sentence}\n", f"```python\nprint({sentence[:20]!r})\n```\n\n"]
            )
        made.append((text, str(rendering.to_html(text))))
    return made


def _texts(project, comparisons: int, draw: random.Random) -> None:
    from django.db import connection

    from annotator import rendering

    variants = _variants(draw)
    prompts = -(-comparisons // len(PAIRS))
    ask = "Why does it rain, and why did it rain on day {} of all days?"
    with connection.cursor() as cursor:
        columns = "project_id, external_id, turns, context, metadata, text_hash, html, html_version, domain"
        with cursor.copy(f"COPY annotator_prompt ({columns}) FROM STDIN") as copy:
            for number in range(prompts):
                turns = [{"role": "user", "content": ask.format(number)}]
                html = str(rendering.prompt_to_html(turns, []))
                body = json.dumps(turns)
                said = (project.pk, f"p{number}", body, "[]", "{}", _hash(html), html, rendering.VERSION, "chat")
                copy.write_row(said)
        cursor.execute("SELECT id FROM annotator_prompt WHERE project_id = %s ORDER BY id", [project.pk])
        ids = [pk for (pk,) in cursor.fetchall()]
        columns = "prompt_id, external_id, text, model, metadata, text_hash, html, html_version"
        with cursor.copy(f"COPY annotator_response ({columns}) FROM STDIN") as copy:
            for prompt_id in ids:
                for number in range(RESPONSES):
                    text, html = draw.choice(variants)
                    head = f"Answer {number} of {prompt_id}. "
                    copy.write_row(
                        (prompt_id, f"r{number}", head + text, f"model-{number}", "{}", _hash(head + text),
                         f"<p dir=\"auto\">{head}</p>{html}", rendering.VERSION)
                    )  # fmt: skip


def _pairs(project, comparisons: int, overlap: int) -> None:
    from django.db import connection

    pairs = ", ".join(f"('r{a}', 'r{b}')" for a, b in PAIRS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO annotator_comparison
                (project_id, external_id, prompt_id, response_a_id, response_b_id, metadata, created_at,
                 criterion, harms, candidates_count, votes_wanted, places_open, queue_order)
            SELECT p.project_id, p.external_id || pair.a || pair.b, p.id, a.id, b.id, '{{}}', now(),
                   '', '{{}}', 0, %(votes)s, %(votes)s, row_number() OVER (ORDER BY p.id, pair.a, pair.b)
            FROM annotator_prompt p
            CROSS JOIN (VALUES {pairs}) AS pair (a, b)
            JOIN annotator_response a ON a.prompt_id = p.id AND a.external_id = pair.a
            JOIN annotator_response b ON b.prompt_id = p.id AND b.external_id = pair.b
            WHERE p.project_id = %(project)s
            ORDER BY p.id, pair.a, pair.b LIMIT %(count)s
            """,
            {"votes": overlap, "project": project.pk, "count": comparisons},
        )


def _plan(project, comparisons: int, overlap: int) -> None:
    from django.db import connection

    from annotator.models import Plan
    from annotator.pipeline import ledger

    budget = PRICE * overlap * comparisons
    plan = Plan.objects.create(
        project=project, number=1, status="approved", strategy="people", budget=budget, cost=budget
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO annotator_route
                (plan_id, comparison_id, source, votes, price, propensity, is_control, is_kept, "values", reason)
            SELECT %s, id, 'people', %s, %s, 1, false, false, '{}', 'everything goes to people'
            FROM annotator_comparison WHERE project_id = %s
            """,
            [plan.pk, overlap, PRICE * overlap, project.pk],
        )
    ledger.set_cap(project, budget)
    ledger.reserve(project, ledger.plan_key(plan.pk, "people"), budget, source="people", plan=plan)


def _annotators(project, count: int) -> list[str]:
    from django.contrib.auth.hashers import make_password

    from annotator.models import Membership, Role, User

    names = [f"bench{project.pk}-{number}" for number in range(count)]
    password = make_password(PASSWORD)
    users = User.objects.bulk_create(User(username=name, password=password) for name in names)
    Membership.objects.bulk_create(Membership(user=user, project=project, role=Role.ANNOTATOR) for user in users)
    return names


def _settle_tables() -> None:
    """What autovacuum would do in its own time after such an import."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
