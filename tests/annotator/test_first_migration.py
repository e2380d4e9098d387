"""`first_squashed_*` makes in an empty database what the numbered migrations make one after the other."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import psycopg
import pytest

from annotator import migrations
from tests.stack import ROOT

# What the catalogue says of our tables, by names alone. Two things differ and are nobody's business: the order of
# the columns where one was renamed (it is the last now), and the names that PostgreSQL 18 gives to NOT NULL.
SCHEMA = {
    "relations": """
        SELECT relname, relkind, relpersistence, reloptions, relowner::regrole, relacl, relrowsecurity, relam,
               obj_description(oid, 'pg_class')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace""",
    "columns": """
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity,
               attgenerated, attcollation, attstorage, attcompression, attstattarget, attoptions
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i' AND attnum > 0 AND NOT attisdropped""",
    "constraints": """
        SELECT conrelid::regclass, CASE contype WHEN 'n' THEN '' ELSE conname END, contype, condeferrable, condeferred,
               convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": """
        SELECT pg_get_indexdef(indexrelid), indisunique, indisprimary, indisvalid, indisclustered, indnullsnotdistinct
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace""",
    "sequences": """
        SELECT sequencename, data_type, start_value, min_value, max_value, increment_by, cycle, cache_size, last_value,
               refobjid::regclass, attname, deptype
        FROM pg_sequences JOIN pg_depend ON objid = sequencename::regclass AND classid = 'pg_class'::regclass
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid WHERE schemaname = 'public'""",
    "triggers": "SELECT tgrelid::regclass, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "types": "SELECT typname, typtype FROM pg_type WHERE typnamespace = 'public'::regnamespace",
    "rules": "SELECT tablename, rulename FROM pg_rules WHERE schemaname = 'public'",
    "statistics": "SELECT stxname FROM pg_statistic_ext",
    "extensions": "SELECT extname FROM pg_extension",
}
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'django_migrations'"
RECORDED = "SELECT app, name FROM django_migrations"

# As if there were no other migrations than the numbered ones.
ONE_BY_ONE = """
import sys, django
django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
executor = MigrationExecutor(connection)
executor.loader = MigrationLoader(connection, replace_migrations=False)
executor.migrate([("annotator", sys.argv[1])])
"""


def numbered():
    """Names of our migrations that have a number, in their order."""
    return sorted(module.name for module in iter_modules(migrations.__path__) if module.name[0].isdigit())


def migration(name):
    return import_module(f"annotator.migrations.{name}").Migration


def first():
    (name,) = (module.name for module in iter_modules(migrations.__path__) if module.name.startswith("first"))
    return name


class Database:
    """An empty one in the tests' cluster, which the real commands work on."""

    def __init__(self, name):
        server = os.environ["DATABASE_URL"]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        self.url = server.rpartition("/")[0] + f"/{name}"

    def python(self, *words):
        environment = os.environ | {"DATABASE_URL": self.url, "LOG_LEVEL": "ERROR"}
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def migrate(self, *words):
        """Names of our migrations that were applied, or taken back."""
        said = self.python("manage.py", "migrate", "--no-color", *words)
        return re.findall(r"pplying annotator\.(\w+)\.\.\.", said)

    def ask(self, query):
        with psycopg.connect(self.url) as connection:
            return sorted(map(repr, connection.execute(query)))

    def schema(self):
        return {what: self.ask(query) for what, query in SCHEMA.items()}

    def rows(self):
        with psycopg.connect(self.url) as connection:
            return {
                table: sorted(
                    json.dumps(row, sort_keys=True)
                    for (row,) in connection.execute(f'SELECT to_jsonb(t) FROM "{table}" t')
                )
                for (table,) in connection.execute(TABLES).fetchall()
            }


class Made:
    """A database, what bringing it up to date said, and what it was then."""

    def __init__(self, name, up_to=None):
        self.database = Database(f"{name}_{os.getpid()}")
        if up_to:
            self.database.python("-c", ONE_BY_ONE, up_to)
        self.applied = self.database.migrate()
        self.schema, self.rows = self.database.schema(), self.database.rows()
        self.recorded = self.database.ask(RECORDED)


@pytest.fixture(scope="module")
def fresh():
    return Made("first")


@pytest.fixture(scope="module")
def aged():
    return Made("numbered", up_to="0006_routing")


slow = [pytest.mark.slow, pytest.mark.xdist_group("first_migration")]


def test_numbered_migrations_depend_on_numbered_ones():
    """So that `first_squashed_*` can make way for a longer one; makemigrations writes its name in the next one."""
    for name in numbered():
        assert all(on in numbered() for app, on in migration(name).dependencies if app == "annotator"), name


def test_the_first_one_replaces_the_numbered_ones_from_the_beginning():
    replaced = [name for _app, name in migration(first()).replaces]
    assert replaced == numbered()[: len(replaced)] and first() == f"first_squashed_{replaced[-1][:4]}"


@pytest.mark.parametrize("what", SCHEMA)
class TestSchema:
    pytestmark = slow

    def test_both_ways_lead_to_the_same(self, fresh, aged, what):
        assert fresh.schema[what] == aged.schema[what]


class TestWays:
    pytestmark = slow

    def test_an_empty_database_is_made_at_once(self, fresh):
        replaced = migration(first()).replaces
        assert fresh.applied == [first(), *numbered()[len(replaced) :]]
        assert len(fresh.schema["columns"]) > 800 and len(fresh.schema["indexes"]) > 300
        assert fresh.database.migrate() == []

    def test_a_database_on_its_way_goes_on_with_the_numbered_ones(self, aged):
        assert aged.applied == [name for name in numbered() if name > "0006_routing"]

    def test_both_ways_lead_to_the_same_rows(self, fresh, aged):
        assert fresh.rows == aged.rows and len(fresh.rows["auth_permission"]) > 200
        assert fresh.recorded == aged.recorded

    def test_a_database_that_has_them_all_has_nothing_to_do(self, aged):
        """As an earlier release has left it, which knew nothing of this one."""
        with psycopg.connect(aged.database.url) as connection:
            assert connection.execute("DELETE FROM django_migrations WHERE name = %s", [first()]).rowcount == 1
        assert aged.database.migrate() == []
        assert aged.database.ask(RECORDED) == aged.recorded

    def test_back_by_the_numbered_ones_and_here_again(self, fresh):
        last = migration(first()).replaces[-1][1]
        later = numbered()[numbered().index(last) :]
        assert fresh.database.migrate("annotator", "0009") == later[::-1]
        assert fresh.database.migrate() == later
        assert self.without_counts(fresh.database) == self.without_counts(fresh)

    def test_back_to_nothing_and_here_again(self, fresh):
        assert fresh.database.migrate("annotator", "zero")[-1] == first()
        assert not [relation for relation in fresh.database.schema()["relations"] if "annotator_" in relation]
        assert fresh.database.migrate() == fresh.applied
        assert self.without_counts(fresh.database) == self.without_counts(fresh)

    def without_counts(self, of):
        """The schema; the sequence of django_migrations has gone on."""
        schema = of.schema() if isinstance(of, Database) else dict(of.schema)
        del schema["sequences"]
        return schema
