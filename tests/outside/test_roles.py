"""tocsin init --roles: each of the roles can do its work, and nothing else."""

import re

import psycopg2
import pytest

from harness import definitions, wait_for
from invariants import check

pytestmark = pytest.mark.commands

ROLES = ["tocsin_app", "tocsin_measure", "tocsin_owner", "tocsin_read"]

BUSINESS = """
    [variables.cash]
    sql = "select sum(amount) from account"
    [evidences.short]
    definition = "cash < 100"
    [events.crisis]
    definition = "short"
    interval = 0
    [reactions.tell]
    events = ["crisis"]
    notify = "money"
    """


class Logins:
    """Logins that are members of the roles, as an operator would make them."""

    def __init__(self, db):
        self.db = db
        self.made = []

    def add(self, role, options=""):
        name = f"{role}_of_{self.db.name}"
        self.db.run(f"create role {name} login {options}" + (f" in role {role}" if role in ROLES else ""))
        self.made.append(name)
        return name

    def url(self, name):
        return f"host={self.db.env['PGHOST']} dbname={self.db.name} user={name}"

    def connect(self, name):
        connection = psycopg2.connect(
            host=self.db.env["PGHOST"], port=self.db.env["PGPORT"], dbname=self.db.name, user=name)
        connection.autocommit = True
        return connection

    def end(self):
        for name in self.made:
            self.db.run(f"reassign owned by {name} to postgres; drop owned by {name}; drop role {name}")


@pytest.fixture
def logins(db, tocsin):
    tocsin("init", "--roles")
    logins = Logins(db)
    yield logins
    logins.end()


def refused(connection, sql):
    with pytest.raises(psycopg2.Error) as caught:
        connection.cursor().execute(sql)
    # no right to it, or a view that nobody can write to
    assert caught.value.pgcode in ("42501", "55000"), (sql, caught.value)


def test_the_roles_are_made_once_and_each_statement_is_told(db, tocsin):
    there = db.all("select rolname from pg_roles where rolname = any (%s)", ROLES)
    r = tocsin("init", "--roles")
    statements = [line for line in r.lines if line.endswith(";")]
    assert {re.match(r"create role (\w+)", s).group(1) for s in statements
            if s.startswith("create role")} == set(ROLES) - set(there)
    assert "alter schema tocsin owner to tocsin_owner;" in statements
    assert "grant select, insert on tocsin.history to tocsin_app;" in statements
    assert db.one("select count(*) from pg_class c where relnamespace = 'tocsin'::regnamespace"
                  " and pg_get_userbyid(relowner) <> 'tocsin_owner'") == 0
    assert db.all("select rolname, rolcanlogin, rolinherit from pg_roles where rolname = any (%s)"
                  " order by 1", ROLES) == [
        ("tocsin_app", False, True), ("tocsin_measure", True, False),
        ("tocsin_owner", False, True), ("tocsin_read", False, True)]
    again = tocsin("init", "--roles")
    assert again.lines[-1] == "the roles are as they should be" and len(again.lines) == 2
    assert tocsin("init", "--roles", "--json").json() == {
        "schema": db.one("select max(version) from tocsin.migration"),
        "done": [], "left_to_superuser": []}


def test_what_the_operator_has_set_for_measuring_stays(db, tocsin, logins):
    def settings():
        return dict(s.split("=", 1) for s in db.one(
            "select setconfig from pg_db_role_setting where setdatabase = 0"
            " and setrole = 'tocsin_measure'::regrole"))
    assert set(settings()) >= {"statement_timeout", "lock_timeout", "temp_file_limit", "work_mem",
                               "idle_in_transaction_session_timeout",
                               "default_transaction_read_only"}
    db.run("alter role tocsin_measure set work_mem = '3MB'")
    try:
        tocsin("init", "--roles")
        assert settings()["work_mem"] == "3MB"
    finally:
        db.run("alter role tocsin_measure set work_mem = '16MB'")


def test_a_worker_of_the_app_measures_as_the_measuring_role(db, broker, tocsin, tmp_path, logins):
    app = logins.add("tocsin_app")
    db.run("create table account as select 42 as amount; create table diary as select 1 as x;"
           " grant select on account to tocsin_measure")
    tocsin.env.update(PGUSER=app, TOCSIN_MEASURING_URL=logins.url("tocsin_measure"))
    tocsin("load", definitions(tmp_path, BUSINESS))
    worker = tocsin.spawn("worker")
    tocsin("cycle", "--wait")
    wait_for(lambda: db.one("select state from tocsin.delivery") == "delivered")
    assert db.one("select value from tocsin.variable") == 42
    assert db.one("select state from tocsin.event") == "raising"
    assert db.one("select count(*) from pg_inherits"
                  " where inhparent = 'tocsin.history'::regclass") == 1
    tocsin("load", definitions(tmp_path, BUSINESS + """
        [variables.diary]
        sql = "select x from diary"
        [evidences.noted]
        definition = "diary > 0"
        [events.note]
        definition = "noted"
        """))
    tocsin("cycle", "--wait", "--event", "note", status=1)
    assert "permission denied for table diary" in db.one(
        "select error from tocsin.job where name = 'diary'")
    tocsin("load", "--prune", definitions(tmp_path, BUSINESS))
    for command in [["status"], ["show", "cash"], ["explain", "crisis"]]:
        tocsin(*command)
    [told] = [f for f in tocsin("doctor", "--json").json() if f["about"] == "measuring"]
    assert told["level"] == "ok", told
    assert worker.stop() == 0
    check(db)


@pytest.mark.parametrize("sql", [
    "create table tocsin.mine (n int)", "drop table tocsin.history", "truncate tocsin.job",
    "alter table tocsin.job add column n int", "create schema mine",
    "update tocsin.history set value = '1'", "delete from tocsin.history",
    "update tocsin.signal set action = 'raise'", "delete from tocsin.signal",
    "delete from tocsin.run", "delete from tocsin.job", "delete from tocsin.delivery",
    "update tocsin.version set body = '{}'", "delete from tocsin.version",
    "insert into tocsin.version (kind, name, hash, body, loaded_by)"
    " values ('variable', 'x', '', '{}', 'somebody')",
    "update tocsin.audit set loaded_by = 'somebody'", "delete from tocsin.audit",
    "insert into tocsin.audit (kind, name, change, loaded_by)"
    " values ('variable', 'x', 'added', 'somebody')",
    "insert into tocsin.audit (kind, name, change, at) values ('variable', 'x', 'added', now())",
    "update tocsin.migration set version = 0", "delete from tocsin.installation",
    "alter function tocsin.history_partition(timestamptz) set search_path = public",
    "set role tocsin_owner",
])
def test_the_app_changes_neither_the_schema_nor_what_was_written(app, sql):
    refused(app, sql)


@pytest.fixture(scope="module")
def module_db(sandbox, tmp_path_factory):
    """One set of books for all that only tries."""
    import harness
    db = harness.Database(sandbox, "test_roles_of_the_module")
    runner = harness.Tocsin(tmp_path_factory.mktemp("roles"), db.env)
    runner("init", "--roles")
    yield db
    db.drop()


@pytest.fixture(scope="module")
def app(module_db):
    logins = Logins(module_db)
    connection = logins.connect(logins.add("tocsin_app"))
    yield connection
    connection.close()
    logins.end()


def test_a_reader_sees_all_of_it_and_writes_none_of_it(module_db):
    logins = Logins(module_db)
    reader = logins.connect(logins.add("tocsin_read"))
    try:
        cursor = reader.cursor()
        for table in module_db.all("select oid::regclass::text from pg_class where relkind in ('r', 'p', 'v')"
                                   " and (relnamespace = 'tocsin'::regnamespace"
                                   "  or relname like 'cdr\\_%%') and not relispartition"):
            cursor.execute(f"select count(*) from {table}")
            refused(reader, f"delete from {table}")
        refused(reader, "update tocsin.event set next_call = now()")
        refused(reader, "select tocsin.history_partition(now())")
        refused(reader, "select nextval('tocsin.schedule')")
    finally:
        reader.close()
        logins.end()


def test_the_measuring_role_does_not_see_the_books(module_db):
    connection = Logins(module_db).connect("tocsin_measure")
    refused(connection, "select * from tocsin.run")
    refused(connection, "select * from cdr_history")
    refused(connection, "select tocsin.history_partition(now())")
    connection.close()


# What a read-only transaction alone would let through; see tocsin-books(5).
ATTACKS = {
    "commits": ("select 1; commit; insert into account values (7)", "multiple commands"),
    "opens": ("set transaction read write", "must be set before any query|returns no rows"),
    "locks": ("lock table account in access exclusive mode", "permission denied for table account"),
    "inserts": ("insert into account values (7) returning 1", "read-only transaction"),
    "draws": ("select nextval('counter')", "permission denied for sequence counter"),
    "becomes": ("set role tocsin_app", "permission denied to set role"),
    "session": ("set session authorization postgres", "permission denied to set session"),
    "reads": ("select pg_read_file('/etc/passwd')", "permission denied for function pg_read_file"),
    "kills": ("select pg_terminate_backend(pid)::text from pg_stat_activity"
              " where usename = 'postgres'", "must be a superuser|permission denied"),
    "runs": ("copy (select 1) to program 'touch /tmp/x'", "permission denied to COPY|superuser"),
}


def test_a_measurement_writes_nowhere_whatever_it_tries(db, tocsin, tmp_path, logins):
    """Those who may write definitions get no more than what tocsin_measure may."""
    db.run("create table account as select 42 as amount; create sequence counter;"
           " grant select on account to tocsin_measure")
    text = "".join(f'[variables.{name}]\nsql = """{sql}"""\n' for name, (sql, _) in ATTACKS.items())
    # What PostgreSQL allows, harmlessly: nothing of it outlives the transaction.
    text += """
        [variables.notifies]
        sql = "select pg_notify('money', 'x')::text"
        [variables.endless]
        sql = "select set_config('statement_timeout', '0', true), pg_sleep(60)::text"
        soft_time_limit = "500ms"
        [variables.huge]
        sql = "select length(repeat('x', 500000000))"
        [evidences.tried]
        definition = "count(%s, notifies, endless, huge) > 0"
        [events.attack]
        definition = "tried"
        interval = 0
        """ % ", ".join(ATTACKS)
    tocsin.env.update(PGUSER=logins.add("tocsin_app"),
                      TOCSIN_MEASURING_URL=logins.url("tocsin_measure"))
    tocsin("load", definitions(tmp_path, text))
    listener = db.connect()
    listener.cursor().execute("listen money")
    tocsin("cycle", "--local", "--executors", "sql", status=1)
    errors = dict(db.all("select name, error from tocsin.job where kind = 'variable'"))
    for name, (sql, said) in ATTACKS.items():
        assert errors[name] and re.search(said, errors[name]), (sql, errors[name])
    assert "soft time limit" in errors["endless"]
    assert db.one("select amount from account") == 42
    assert db.one("select is_called from counter") is False
    listener.cursor().execute("select 1")
    listener.poll()
    assert listener.notifies == []
    listener.close()


def test_who_may_not_create_roles_is_told_who_may(sandbox, tmp_path):
    """On a server where nobody has made them yet."""
    import harness
    fresh = harness.Sandbox()
    fresh.up("postgresql")
    try:
        db = harness.Database(fresh, "books")
        db.run("create role owner login; create role maker login createrole;"
               " alter database books owner to owner")
        tocsin = harness.Tocsin(tmp_path, db.env)
        r = tocsin("init", "--roles", env={"PGUSER": "owner"}, status=75)
        assert r.stderr == (
            "tocsin init: role owner may not create roles, and there is no tocsin_owner, tocsin_app,"
            " tocsin_read, tocsin_measure: let a superuser run 'tocsin init --roles', or the"
            " database's owner with createrole\n")
        assert db.all("select rolname from pg_roles where rolname like 'tocsin%%'") == []
        # One who may make roles, but whose the books are not.
        r = tocsin("init", "--roles", env={"PGUSER": "maker"}, status=75)
        assert "alter schema tocsin owner" in r.stderr or "permission denied" in r.stderr
        assert db.all("select rolname from pg_roles where rolname like 'tocsin%%'") == []
        # The owner of the database, no superuser.
        db.run("alter role owner createrole")
        r = tocsin("init", "--roles", env={"PGUSER": "owner"})
        assert r.lines[-1] == ("-- left to a superuser: "
                               "alter role tocsin_measure set temp_file_limit = '1GB';")
        assert db.one("select pg_get_userbyid(nspowner) from pg_namespace"
                      " where nspname = 'tocsin'") == "tocsin_owner"
        assert "create role" not in tocsin("init", "--roles").stdout
        db._connection.close()
    finally:
        fresh.down()


def test_an_upgrade_by_a_member_of_the_owner_keeps_owner_and_rights(db, tocsin, logins):
    """A migration that adds a table: it is the owner's, and the others get theirs."""
    keeper = logins.add("tocsin_owner")
    tasks = db.one("select version from tocsin.migration where name = 'tasks'")

    def take_back():
        """The migration, and those after it, which make no tables."""
        db.run("drop table tocsin.delayed_task, tocsin.revoked_task;"
               " delete from tocsin.migration where version >= %s", tasks)

    def owner():
        return db.one("select tableowner from pg_tables where tablename = 'revoked_task'")
    take_back()
    r = tocsin("init", env={"PGUSER": keeper})
    assert f"applied {tasks:03}-tasks" in r.lines
    assert "grant select on tocsin.revoked_task to tocsin_read;" in r.lines
    assert owner() == "tocsin_owner"
    app = logins.connect(logins.add("tocsin_app"))
    app.cursor().execute("insert into tocsin.revoked_task (id) values ('x')")
    app.close()
    # And a plain superuser's does not make it his own.
    take_back()
    tocsin("init")
    assert owner() == "tocsin_owner"


def test_the_owner_prunes(db, tocsin, logins):
    keeper = logins.add("tocsin_owner")
    db.run("select tocsin.history_partition(now() - interval '10 days')")
    tocsin("prune", "--older-than", "5d", env={"PGUSER": keeper})
    assert db.all("select inhrelid from pg_inherits where inhparent = 'tocsin.history'::regclass") == []
