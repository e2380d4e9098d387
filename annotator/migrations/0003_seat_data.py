"""The guidelines of projects that are there become their first stored version."""

from django.db import migrations

KEEP = """
    INSERT INTO annotator_guidelines (project_id, version, text, change_note, must_acknowledge, created_at)
    SELECT id, guidelines_version, guidelines, '', false, created_at FROM annotator_project
"""


class Migration(migrations.Migration):
    dependencies = [("annotator", "0002_seat")]
    operations = [migrations.RunSQL(KEEP, "DELETE FROM annotator_guidelines")]
