"""A comparison's prompt and project are those of its responses, and no longer checked for each comparison again."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotator", "0010_texts_in_rows")]

    operations = [
        migrations.AlterField(
            model_name="comparison",
            name="project",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="comparisons",
                to="annotator.project",
            ),
        ),
        migrations.AlterField(
            model_name="comparison",
            name="prompt",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="comparisons",
                to="annotator.prompt",
            ),
        ),
    ]
