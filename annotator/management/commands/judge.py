import json
from argparse import ArgumentParser
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from annotator import access, protocols, terminal
from annotator.models import Assignment, Membership, Project, Rater
from annotator.pipeline import assign, judge


class Command(BaseCommand):
    help = (
        "Show a person's next comparison; with an answer, store it as their judgment. Levels are as on screen: below "
        "0 for response A, above 0 for B, and A and B are in the order in which they are printed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("username", help="a member of the project who may annotate")
        parser.add_argument("--comparison", type=int, help="refuse when another one than this number is shown")
        parser.add_argument("--level", type=int)
        parser.add_argument("--outcome", choices=["level", "neither_valid", "cannot_judge"])
        parser.add_argument("--justification")
        parser.add_argument("--json", type=json.loads, help="the whole answer, as the seat's page sends it")

    def handle(self, *args: Any, **options: Any) -> None:
        rater = _rater(options["project"], options["username"])
        assignment = assign.next_assignment(rater.project, rater)
        if assignment is None:
            raise CommandError(assign.queue_state(rater.project, rater))
        if options["comparison"] not in (None, assignment.comparison_id):
            raise CommandError(f"The next comparison is {assignment.comparison_id}; nothing was stored.")
        answer = {**(options["json"] or {}), **_given(options)}
        if not answer:
            self._show(assignment)
            return
        try:
            stored = judge.submit_judgment(assignment, answer, client_id=uuid4())
        except protocols.AnswerInvalid as refusal:
            raise CommandError(f"{refusal.field}: {refusal.reason}. Nothing was stored.") from refusal
        self.stdout.write(f"judgment {stored.pk} of comparison {stored.comparison_id} stored")

    def _show(self, assignment: Assignment) -> None:
        definition = protocols.read(assignment.project.protocol.definition)
        for line in terminal.conversation(assignment.comparison, a_first=assignment.a_first):
            self.stdout.write(terminal.printable(line))
        self.stdout.write(f"\n--- {definition.question}")
        for level in definition.levels:
            self.stdout.write(f"{level.value:+d} {level.label}" if level.value else f" 0 {level.label}")
        self.stdout.write(f"\nTo answer: the same command with --comparison {assignment.comparison_id} --level N")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("level", "outcome", "justification") if options[name] is not None}


def _rater(project_id: int, username: str) -> Rater:
    """The person's row in the project, made at their first judgment, as on the site."""
    mine = Membership.objects.filter(project=project_id, user__username=username, role__in=access.ANNOTATORS)
    member = mine.select_related("user").first()
    if member is None:
        raise CommandError(f"{username} may not annotate in project {project_id}; add them on its people page.")
    project = Project.objects.get(pk=project_id)
    rater, _created = Rater.objects.get_or_create(
        project=project, user=member.user, defaults={"kind": Rater.Kind.PERSON}
    )
    return rater
