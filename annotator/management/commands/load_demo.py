from __future__ import annotations

import importlib.util
import json
import os
import secrets
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from annotator.models import Labeler, Membership, Project, Role, Standards, User
from annotator.pipeline import featurise, ingest, start

DEMO = settings.BASE_DIR / "demo"
# user name -> (role, name on pages)
USERS = {
    "lead": (Role.LEAD, "Lena Lead"),
    "annotator": (Role.ANNOTATOR, "Anna Annotator"),
    "reviewer": (Role.REVIEWER, "Rui Reviewer"),
    "viewer": (Role.VIEWER, "Vera Viewer"),
}
# Tells the demo's users from real ones of the same name; .invalid never resolves.
MAIL = "@demo.invalid"

WRITTEN = "written for the demo"
GENERATED = "generated"
PRICE = Decimal("0.60")
JUDGE_PRICES = {"judge-large": Decimal("0.02"), "judge-small": Decimal("0.002")}


class Written(NamedTuple):
    """One project of written comparisons: the file of demo/ and what its people are asked."""

    name: str
    file: str
    preset: str
    description: str
    guidelines: str = "guidelines.md"
    votes: int = 1


PROJECTS = (
    Written(
        "Written for the demo",
        "written.jsonl",
        "multipref",
        "Comparisons in nine languages and many fields, each with a trap. All are ready to judge, twice each; a few"
        " come with a known answer.",
        votes=2,
    ),
    Written(
        "Answers from documents",
        "rag.jsonl",
        "rag",
        "Answers that must rest on documents: citation, abstention, documents that contradict each other.",
        "guidelines-rag.md",
    ),
    Written(
        "Nine-point summaries",
        "summaries.jsonl",
        "summarize9",
        "Two short summaries of a long post, compared on nine points.",
        "guidelines-summaries.md",
    ),
    Written(
        "By a criterion",
        "criteria.jsonl",
        "criterion",
        "Which answer is better depends on for whom: each comparison brings the criterion it is judged by.",
        "guidelines-criteria.md",
    ),
    Written("Rankings", "ranking.jsonl", "ranking", "Three to eight answers to be ranked.", "guidelines-ranking.md"),
    Written(
        "Marked errors",
        "errors.jsonl",
        "fine-grained",
        "Errors are marked where they stand, with their kind and how bad they are.",
        "guidelines-errors.md",
    ),
)


class Command(BaseCommand):
    help = "Load the demo: four users, written comparisons ready to judge, 1,500 generated ones. Can be repeated."

    def handle(self, *args: Any, **options: Any) -> None:
        users = _users()
        # The newest project heads the list of projects, and the first one is the one to begin with.
        loaded = [_generated(users), *(_written(each, users) for each in reversed(PROJECTS))]
        words = ", ".join(f"“{project.name}” with {project.comparisons.count()}" for project in loaded)
        self.stdout.write(f"demo, by comparisons: {words}; logins in {logins_file()}")


def logins_file() -> Path:
    return Path(settings.VAR_DIR) / "demo-logins.json"


def _users() -> dict[str, User]:
    """The demo's users. Passwords are DEMO_PASSWORD, else those in the logins file, else drawn now."""
    file, wanted = logins_file(), os.environ.get("DEMO_PASSWORD", "")
    logins = json.loads(file.read_text()) if file.exists() else {}
    for name in USERS:
        logins[name] = wanted or logins.get(name) or secrets.token_urlsafe(9)
    users = {name: _user(name, display, logins[name]) for name, (_role, display) in USERS.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stored:
        json.dump(logins, stored, indent=1)
    file.chmod(0o600)
    return users


def _user(name: str, display: str, password: str) -> User:
    user = User.objects.filter(username=name).first()
    if user and user.email != name + MAIL:
        raise CommandError(f"there is a user {name} who is not the demo's; the demo needs a database of its own")
    user = user or User(username=name, email=name + MAIL, display_name=display)
    if not user.has_usable_password() or not user.check_password(password):
        user.set_password(password)
        user.save()
    return user


def _project(name: str, provenance: str, users: dict[str, User], **fields: Any) -> Project:
    lead = users["lead"]
    project = Project.objects.of(lead, Role.LEAD).filter(name=name, provenance=provenance).first()
    if project is None:
        project = start.create_project(name, lead=lead, provenance=provenance, **fields)
    for user_name, (role, _display) in USERS.items():
        Membership.objects.get_or_create(project=project, user=users[user_name], defaults={"role": role})
    return project


def _written(wanted: Written, users: dict[str, User]) -> Project:
    project = _project(
        wanted.name,
        WRITTEN,
        users,
        preset=wanted.preset,
        description=wanted.description,
        guidelines=(DEMO / wanted.guidelines).read_text(encoding="utf-8"),
        price_per_judgment=Decimal("0.90"),
        votes=wanted.votes,
        cap=Decimal(400),
    )
    file = DEMO / wanted.file
    with file.open("rb") as rows:
        complete = project.comparisons.count() >= sum(1 for _row in rows)
    if not complete:
        ingest.ingest_file(project, file)
    # Some of what people do is checked, as it would be in earnest.
    Standards.objects.get_or_create(project=project, defaults={"gold_share": 0.1, "repeat_share": 0.05})
    if not project.plans.exists():
        _all_to_people(project, users["lead"])
    return project


def _all_to_people(project: Project, lead: User) -> None:
    """The first plan of many projects: people judge everything, and the money for it is set aside."""
    from annotator.pipeline import route  # two seconds of scikit-learn, and each start after the first makes no plan

    featurise.featurise(project)  # a plan knows every comparison's features; there may be no worker yet
    taught = project.golds.teaching().count()
    budget = project.price_per_judgment * project.votes * (project.comparisons.count() - taught)
    route.approve(route.make_plan(project, budget, strategy="all_people", by=lead), lead)


def _generated(users: dict[str, User]) -> Project:
    project = _project(
        "Generated: routing practice",
        GENERATED,
        users,
        preset="plain",
        description="1,500 comparisons from a seeded recipe. Two simulated judges answered all of them, three of five"
        " simulated people a random 500. Set a budget and see who should judge the others.",
        guidelines="Generated texts and simulated raters: for trying out budgets and plans, not for judging.",
        price_per_judgment=PRICE,
        votes=1,
        cap=Decimal(1000),
    )
    recipe = _recipe()
    count = 1500
    if project.comparisons.count() < count:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "generated.jsonl"
            recipe.write(file, count=count, seed=0, people_on=500, votes=3)
            with transaction.atomic():
                ingest.ingest_file(project, file)
                for name, price in JUDGE_PRICES.items():
                    Labeler.objects.filter(project=project, name=name).update(price_per_call=price)
    return project


def _recipe() -> ModuleType:
    """demo/generated.py, which is no part of the installed site and so is loaded by its path."""
    spec = importlib.util.spec_from_file_location("demo_generated", DEMO / "generated.py")
    if spec is None or spec.loader is None or not (DEMO / "generated.py").exists():
        raise CommandError(f"{DEMO} is missing: the demo is loaded from a checkout")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it loads
    spec.loader.exec_module(module)
    return module
