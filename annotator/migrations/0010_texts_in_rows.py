"""Texts of up to about four thousand bytes stand in their rows as they are, where PostgreSQL would compress them.

Compressing is a sixth of what an import costs the server. Only the catalogue is written: what is stored stays as it is
until it is written anew. https://www.postgresql.org/docs/current/sql-createtable.html, "toast_tuple_target".
"""

from django.db import migrations

# Two rows of a page.
TARGET = 4080


def altered(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} SET (toast_tuple_target = {TARGET})",
        f"ALTER TABLE {table} RESET (toast_tuple_target)",
    )


class Migration(migrations.Migration):
    dependencies = [("annotator", "0009_export_links")]
    operations = [altered("annotator_prompt"), altered("annotator_response")]
