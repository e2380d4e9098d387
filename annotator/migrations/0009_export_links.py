"""Links to exports get rows, so that each can be taken back."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotator", "0008_pseudonyms")]
    operations = [
        migrations.CreateModel(
            name="ExportLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("until", models.DateTimeField()),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="links", to="annotator.export"
                    ),
                ),
                (
                    "maker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        # A scope more: no column changes.
        migrations.AlterField(
            model_name="token",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("read", "read projects, comparisons, judgments and datasets"),
                        ("ingest", "import comparisons and recorded judgments"),
                        ("export", "make exports"),
                        ("route", "retrain and plan"),
                        ("label", "run labelers, which spends money"),
                        ("webhooks", "manage webhooks"),
                    ],
                    max_length=10,
                ),
                size=None,
            ),
        ),
    ]
