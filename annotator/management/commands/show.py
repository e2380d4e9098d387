from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from annotator import readings, terminal
from annotator.models import Comparison


class Command(BaseCommand):
    help = "Show one comparison: texts, features, judgments, labels, where its plans send it and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("comparison", help="its id in the imported file, or its number on the site")

    def handle(self, *args: Any, **options: Any) -> None:
        named = str(options["comparison"])
        whole = Comparison.objects.select_related("prompt", "response_a", "response_b")
        asked = Q(external_id=named) | Q(pk=int(named)) if named.isdecimal() else Q(external_id=named)
        found = list(whole.filter(asked, project=options["project"])[:2])
        if not found:
            raise CommandError(f"Project {options['project']} has no comparison {named}.")
        # A number may be both; the id of the file was meant if there is one.
        comparison = next((each for each in found if each.external_id == named), found[0])
        for line in _lines(comparison):
            self.stdout.write(terminal.printable(line))


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"comparison {comparison.pk} ({comparison.external_id})"
    yield from terminal.conversation(comparison, names=True)
    yield from ("", "--- features")
    for feature in readings.comparison.features(comparison):
        yield f"{feature.name}: {feature.value}  {feature.words}"
    yield from ("", "--- judgments")
    for said in readings.comparison.judgments(comparison):
        details = "".join(f"; {name}: {words}" for name, words in said.details)
        yield f"{said.judgment.rater}: {said.words}{details}"
    yield from ("", "--- labels")
    for label in comparison.labels.select_related("recipe").order_by("-recipe__is_default", "recipe__name"):
        chance = "no vote" if label.p_b is None else f"B with {label.p_b:.2f}"
        yield f"{label.recipe.name}: {chance}, {label.votes} votes ({label.source})"
    yield from ("", "--- routes")
    for route in comparison.routes.select_related("plan").order_by("-plan__number"):
        control = ", random control" if route.is_control else ""
        yield (
            f"plan {route.plan.number} ({route.plan.status}): {route.source}, {route.votes} × at {route.price:f}, "
            f"chance {route.propensity:.3f}{control}. {route.reason}"
        )
