from django.db import migrations


class Migration(migrations.Migration):
    """A judge's calls are steps of more kinds than the two orders."""

    dependencies = [("annotator", "0003_seat_data")]

    operations = [
        migrations.RemoveIndex("labelercall", "labeler_call_lookup"),
        migrations.RenameField("labelercall", "order", "step"),
    ]
