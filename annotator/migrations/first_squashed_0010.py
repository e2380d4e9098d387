"""0001 to 0010 at once, for a database that has none of them.

Django draws all models anew for each operation of a migration, and nearly all of ours hang together: seventeen seconds
at each first start for what is two here. What the operations amount to is worked out first, with no model drawn, and
the tables are made as they are at the end. A database that has some of 0001 to 0010 goes on with those.
https://docs.djangoproject.com/en/5.2/topics/migrations/#squashing-migrations
"""

from importlib import import_module

from django.db import migrations

REPLACED = [
    "0001_initial",
    "0002_seat",
    "0003_seat_data",
    "0004_steps",
    "0005_labelers",
    "0006_routing",
    "0007_datasets",
    "0008_pseudonyms",
    "0009_export_links",
    "0010_texts_in_rows",
]


def operations(name):
    return import_module(f"{__package__}.{name}").Migration.operations


class Migration(migrations.Migration):
    initial = True
    replaces = [("annotator", name) for name in REPLACED]
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [operation for name in REPLACED for operation in operations(name)]

    def mutate_state(self, project_state, preserve=True):
        """As Django's; the models are drawn when somebody asks for them next, once, and not after each operation."""
        state = project_state.clone() if preserve else project_state
        state.__dict__.pop("apps", None)
        return super().mutate_state(state, preserve=False)

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Make the tables of the last state, then what is said in SQL; of that, what changes rows finds none."""
        state = self.mutate_state(project_state, preserve=False)
        for model in self._models(state):
            schema_editor.create_model(model)
        for operation in self.operations:
            if isinstance(operation, migrations.RunSQL):
                operation.database_forwards(self.app_label, schema_editor, state, state)
        return state

    def unapply(self, project_state, schema_editor, collect_sql=False):
        for model in self._models(self.mutate_state(project_state)):
            schema_editor.delete_model(model)
        return project_state

    def _models(self, state):
        return state.apps.get_app_config(self.app_label).get_models()
