"""tocsin init: the books are made once, whoever asks and however often."""

import os
import re
import signal

import pytest

from harness import wait_for

pytestmark = pytest.mark.commands

TABLES = ["audit", "delayed_task", "delivery", "event", "evidence", "history", "installation", "job",
          "migration", "reaction", "revoked_task", "run", "signal", "variable", "version"]
LATER_TABLES = ["audit", "delayed_task", "revoked_task"]	# not of the first migration
VIEWS = ["cdr_control_variable", "cdr_evaluation_cycle", "cdr_evidence", "cdr_history",
         "cdr_system_event"]

OTHER_COMMANDS = [["load", "none.toml"], ["cycle", "--local"], ["status"], ["status", "1"],
                  ["show", "x"], ["explain", "x"], ["graph"], ["prune"]]
FIRST_TABLES = [table for table in TABLES if table not in LATER_TABLES]


def tables(db):
    return db.all("select tablename from pg_tables where schemaname = 'tocsin' order by 1")


def views(db):
    return db.all("""select viewname from pg_views where schemaname = 'public' order by 1""")


def is_whole(db):
    assert tables(db) == TABLES
    assert views(db) == VIEWS
    versions = db.all("select version from tocsin.migration order by 1")
    assert versions == list(range(1, len(versions) + 1))
    assert db.one("select count(*) from tocsin.installation") == 1


def test_init_creates_the_books(db, tocsin):
    r = tocsin("init")
    is_whole(db)
    assert r.stderr == ""
    names = db.all("select version, name from tocsin.migration order by 1")
    assert r.lines == [f"applied {version:03}-{name}" for version, name in names]


def test_init_may_be_repeated(db, tocsin):
    tocsin("init")
    before = db.all("select * from tocsin.migration"), db.one("select uuid from tocsin.installation")
    r = tocsin("init")
    assert re.fullmatch(r"the books are up to date \(schema version \d+\)\n", r.stdout)
    assert before == (db.all("select * from tocsin.migration"),
                      db.one("select uuid from tocsin.installation"))
    assert tocsin("init", "--json").json() == {
        "schema": db.one("select max(version) from tocsin.migration")}


@pytest.mark.fault("F-F08")
@pytest.mark.parametrize("n", [2, 10])
def test_inits_at_once_make_one_set_of_books(db, tocsin, n):
    started = [tocsin.spawn("init") for _ in range(n)]
    assert [s.wait(50) for s in started] == [0] * n, started
    is_whole(db)
    applied = [line for s in started for line in s.stdout.splitlines() if line.startswith("applied")]
    assert len(applied) == db.one("select count(*) from tocsin.migration"), started


def hold_back(db):
    """Someone holds the lock of inits; give the lock back to let them go on."""
    other = db.connect()
    other.cursor().execute("select pg_advisory_lock(1953457011)")
    return other


def waiting(db):
    return db.all("select pid from pg_locks where locktype = 'advisory' and not granted"
                  " and database = (select oid from pg_database where datname = current_database())")


def test_an_init_waits_for_another_one(db, tocsin):
    other = hold_back(db)
    first = tocsin.spawn("init")
    wait_for(lambda: waiting(db))
    assert tables(db) == [] and first.alive
    other.close()
    assert first.wait() == 0
    is_whole(db)


def half_made(db):
    """Stop an init in its second migration: somebody holds a name that it wants."""
    other = db.connect()
    other.autocommit = False
    other.cursor().execute("create view public.cdr_history as select 1 as x")
    return other


def stuck_init(db, tocsin):
    other = half_made(db)
    init = tocsin.spawn("init")
    pid = wait_for(lambda: db.one(
        "select pid from pg_stat_activity where datname = current_database()"
        " and application_name = 'tocsin' and wait_event_type = 'Lock'"))
    return other, init, pid


@pytest.mark.fault("F-F08")
def test_an_init_whose_session_is_ended_half_way_is_taken_up_by_the_next(db, tocsin):
    other, init, pid = stuck_init(db, tocsin)
    assert tables(db) == FIRST_TABLES and views(db) == []
    db.run("select pg_terminate_backend(%s)", pid)
    assert init.wait() == 75
    assert re.fullmatch(r"tocsin init: migration 2 \(views\): PostgreSQL: .*administrator.*\n",
                        init.stderr), init.stderr
    other.rollback()
    other.close()
    r = tocsin("init")
    assert r.stdout.startswith("applied 002-views\n") and "001" not in r.stdout
    is_whole(db)


@pytest.mark.fault("F-F08")
def test_an_init_that_is_killed_half_way_is_taken_up_by_the_next(db, tocsin):
    other, init, pid = stuck_init(db, tocsin)
    init.kill()
    other.rollback()
    other.close()
    tocsin("init")
    is_whole(db)


@pytest.mark.fault("F-F09")
def test_an_older_program_refuses_newer_books(db, tocsin):
    tocsin("init")
    known = db.one("select max(version) from tocsin.migration")
    db.run("insert into tocsin.migration (version, name, hash) values (99, 'later', '')")
    for args in [["init"], ["worker"], *OTHER_COMMANDS]:
        r = tocsin(*args, status=78)
        assert r.stdout == ""
        assert len(r.stderr.splitlines()) == 1
        assert "99" in r.stderr and re.search(rf"\b{known}\b", r.stderr), r
        assert r.stderr.startswith(f"tocsin {args[0]}: the books have schema version 99"), r


def test_without_books_every_command_says_to_run_init(db, tocsin):
    for args in [["worker"], *OTHER_COMMANDS]:
        r = tocsin(*args, status=78)
        assert r.stderr == (f"tocsin {args[0]}: database \"{db.name}\" has no books of tocsin: "
                            "run 'tocsin init'\n")
    assert db.one("select to_regnamespace('tocsin') is null")


def test_with_older_books_commands_say_to_run_init(db, tocsin):
    tocsin("init")
    last = db.one("select max(version) from tocsin.migration")
    db.run("delete from tocsin.migration where version = %s", last)
    for args in OTHER_COMMANDS[:3]:
        r = tocsin(*args, status=78)
        assert "run 'tocsin init'" in r.stderr, r
        assert f"version {last - 1}," in r.stderr and f"needs {last}:" in r.stderr, r


def test_a_name_that_something_else_bears_is_left_alone(db, tocsin):
    db.run("create table public.cdr_evidence (mine int); insert into cdr_evidence values (7)")
    db.run("create type public.cdr_history as (mine int)")
    tocsin("init")
    assert db.all("select mine from public.cdr_evidence") == [7]
    assert set(VIEWS) - set(views(db)) == {"cdr_evidence", "cdr_history"}


def test_books_need_no_schema_public(db, tocsin):
    db.run("drop schema public cascade")
    tocsin("init")
    assert tables(db) == TABLES and views(db) == []


@pytest.fixture
def owner(db):
    """A role that owns the database and can do nothing else."""
    name = f"owner_{os.getpid()}_{db.name}"
    db.run(f"create role {name} login nosuperuser nocreatedb nocreaterole")
    db.run(f"alter database {db.name} owner to {name}")
    yield name
    db.run(f"alter database {db.name} owner to postgres; drop owned by {name} cascade")
    db.run(f"drop role {name}")


def test_the_owner_of_the_database_needs_no_more_rights(db, tocsin, owner, tmp_path):
    tocsin.env["PGUSER"] = owner
    tocsin("init")
    is_whole(db)
    path = tmp_path / "d.toml"
    path.write_text("""
        variables.x.sql = "select 1"
        evidences.e.definition = "x > 0"
        events.v.definition = "e"
    """)
    tocsin("load", path)
    tocsin("cycle", "--local")
    assert db.one("select state from cdr_system_event") == "raising"
    tocsin("status", 1)
    tocsin("prune", "--older-than", "1d")


def test_a_role_that_may_not_create_is_told_so(db, tocsin):
    db.run(f"create role nobody_{db.name} login")
    try:
        r = tocsin("init", env={"PGUSER": f"nobody_{db.name}"}, status=None)
        assert r.status in (1, 75, 78)
        assert r.stderr == (f"tocsin init: PostgreSQL: permission denied for database {db.name}\n")
    finally:
        db.run(f"drop role nobody_{db.name}")
    assert db.one("select to_regnamespace('tocsin') is null")


def test_the_settings_of_the_database_do_not_matter(db, tocsin):
    db.run(f"alter database {db.name} set timezone = 'Asia/Tokyo'")
    db.run(f"alter database {db.name} set datestyle = 'German, DMY'")
    tocsin("init")
    is_whole(db)
    assert tocsin("status", "--json").json()["cycles"] == []


def test_a_stopped_init_ends(db, tocsin):
    other = hold_back(db)
    init = tocsin.spawn("init")
    wait_for(lambda: waiting(db))
    init.signal(signal.SIGINT)
    assert init.wait() == -signal.SIGINT
    other.close()
    tocsin("init")
    is_whole(db)
