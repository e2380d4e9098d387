"""People get pseudonyms that their ids cannot be read from."""

from django.db import migrations, models

# The first twelve digits of a UUID of version 4 are random, drawn from the system's source for keys.
DRAW = """
    UPDATE annotator_rater SET pseudonym = 'person-' || left(replace(gen_random_uuid()::text, '-', ''), 12)
    WHERE kind = 'person' AND pseudonym = ''
"""


class Migration(migrations.Migration):
    dependencies = [("annotator", "0007_datasets")]
    operations = [
        migrations.RunSQL(DRAW, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="rater",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "person")), fields=("project", "pseudonym"), name="rater_pseudonym_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="rater",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "person"), ("pseudonym", ""), _negated=True),
                name="rater_person_has_pseudonym",
            ),
        ),
    ]
