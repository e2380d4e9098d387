"""A comparison's prompt and project are held by its responses' constraints, and no longer by its own."""

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
