"""tocsin load: what changes is told, applied as a whole or not at all, and
whatever did not change goes on as it was."""

import hashlib
import json
import os
import pwd
import re
import time

import pytest

from harness import SOURCE, definitions, wait_for

pytestmark = pytest.mark.commands

BASE = """
    [variables.x]
    sql = "select 7"

    [evidences.high]
    definition = "x"
    operator = ">"
    operand = 5

    [events.alarm]
    definition = "high"
    interval = "1h"
    time_to_wait = "3h"
"""


@pytest.fixture
def books(db, tocsin):
    tocsin("init")
    return db


def standing(db):
    """All that loading might disturb."""
    return (db.all("select name, version, active, value, run_id, computed_at from tocsin.variable order by 1"),
            db.all("select name, version, active, value, bool_value from tocsin.evidence order by 1"),
            db.all("select name, version, state, action, hold, next_call, dtstart, schedule, priority, agent"
                   " from tocsin.event order by 1"),
            db.all("select name, version from tocsin.reaction order by 1"),
            db.one("select count(*) from tocsin.version"))


def event(db, name="alarm"):
    return dict(zip(("state", "action", "hold", "next_call", "schedule", "version"), db.one(
        "select state, action, hold, next_call::text, schedule, version from tocsin.event"
        " where name = %s", name)))


# What is told


def test_the_difference_is_told_line_by_line(books, tocsin, tmp_path):
    r = tocsin("load", definitions(tmp_path, BASE))
    assert r.stdout == """\
  + variable x
  + evidence high
  + event alarm
3 added, 0 changed, 0 removed, 0 unchanged
"""
    assert tocsin("load", definitions(tmp_path, BASE)).stdout == \
        "0 added, 0 changed, 0 removed, 3 unchanged\n"
    changed = BASE.replace("operand = 5", 'operand = 6\n    description = "much"') \
                  .replace('    operator = ">"\n', '    operator = ">="\n') \
                  .replace('"1h"', '"2h"')
    r = tocsin("load", definitions(tmp_path, changed))
    assert sorted(r.lines[1:4]) == ["      description: (none) -> \"much\"",
                                    "      operand: 5 -> 6", '      operator: ">" -> ">="']
    assert [r.lines[0], *r.lines[4:]] == [
        "  ~ evidence high", "  ~ event alarm", '      interval: "1h" -> "2h"',
        "      (a new schedule: next_call and hold begin afresh)",
        "0 added, 2 changed, 0 removed, 1 unchanged"]
    r = tocsin("load", definitions(tmp_path, BASE))
    assert '      description: "much" -> (none)' in r.lines


def test_a_long_text_is_told_from_where_it_differs(books, tocsin, tmp_path):
    long = "select 1 -- " + "the same ä " * 20
    tocsin("load", definitions(tmp_path, f'variables.x.sql = "{long} once"'))
    r = tocsin("load", definitions(tmp_path, f'variables.x.sql = "{long} now{"!" * 100}"'))
    line = r.lines[1]
    assert len(line) < 160 and re.search(r'\.\.\..* once" -> \.\.\..* now!+\.\.\.$', line), line


def test_the_difference_obeys_no_terminal(books, tocsin, tmp_path):
    for text in r"\u001b[31mred\u009b\u007f", "plain":
        r = tocsin("load", definitions(tmp_path, f"""
            variables.x.sql = "select 1"
            variables.x.description = "{text}"
        """))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", r.stdout + r.stderr), r


def test_the_difference_as_json(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    added = [{"kind": "variable", "name": "x"}, {"kind": "evidence", "name": "high"},
             {"kind": "event", "name": "alarm"}]
    nothing = {"added": [], "changed": [], "removed": [], "unchanged": 0, "dry_run": False}
    assert tocsin("load", path, "--json", "--dry-run").json() == {
        **nothing, "added": added, "dry_run": True}
    assert tocsin("load", path, "--json").json() == {**nothing, "added": added}
    assert tocsin("load", path, "--json").json() == {**nothing, "unchanged": 3}
    definitions(tmp_path, BASE.replace("select 7", "select 8"))
    assert tocsin("load", path, "--json").json() == {
        **nothing, "changed": added[:1], "unchanged": 2}


def test_a_dry_run_changes_nothing(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    before = standing(books)
    dry = tocsin("load", path, "--dry-run")
    assert standing(books) == before
    wet = tocsin("load", path)
    assert dry.lines[-1] == "(dry run) " + wet.lines[-1] and dry.lines[:-1] == wet.lines[:-1]
    tocsin("cycle", "--local")
    before = standing(books)
    definitions(tmp_path, BASE.replace("1h", "2h").replace("select 7", "select 1")
                .replace("[events.alarm]", "[events.other]"))
    r = tocsin("load", path, "--dry-run", "--prune")
    assert r.lines[-1] == "(dry run) 1 added, 1 changed, 1 removed, 1 unchanged"
    assert standing(books) == before


def test_what_nothing_uses_is_a_warning(books, tocsin, tmp_path):
    r = tocsin("load", definitions(tmp_path, 'variables.x.sql = "select 1"'))
    assert re.fullmatch(f"{tmp_path}/definitions.toml:1:[0-9]+: warning: variables.x: "
                        "no evidence uses this variable, so it is never computed\n", r.stderr), r


# All or nothing


@pytest.mark.parametrize("bad, place, message", [
    ('[evidences.high]\ndefinition = "x +"', "7:18", "evidences.high.definition"),
    ('[evidences.high]\ndefinition = "y > 1"', "7:15", "there is no variable 'y'"),
    ('[evidences.high]\ndefinition = "x"\noperatr = ">"', "8:1", "operatr"),
    ('[events.alarm]\ndefinition = "x"', "7:15", "'x' is a variable"),
    ('[evidences.high', "6:16", ""),
    ('[variables.x]\nshell = "true"', "6:1", "variables.x"),
])
@pytest.mark.fault("F-E04")
def test_one_bad_object_and_nothing_is_applied(books, tocsin, tmp_path, bad, place, message):
    path = definitions(tmp_path, f"""\
[variables.x]
sql = "select 1"
[variables.fine]
sql = "select 2"

{bad}
""")
    r = tocsin("load", path, status=1)
    assert r.stdout == ""
    *problems, last = r.stderr.splitlines()
    assert any(p.startswith(f"{path}:{place}: ") and message in p for p in problems), r
    assert re.fullmatch(r"tocsin load: \d+ problems? found; nothing was done", last)
    assert books.one("select count(*) from tocsin.version") == 0


def test_every_problem_of_every_file_is_told(books, tocsin, tmp_path):
    a = definitions(tmp_path, 'variables.a.sql = ""\nvariables.b.sqll = "select 1"', "a.toml")
    b = definitions(tmp_path, 'evidences.c.definition = "1 +"', "b.toml")
    r = tocsin("load", a, b, status=1)
    assert {line.split(":")[0] for line in r.stderr.splitlines()[:-1]} == {str(a), str(b)}
    assert f"{a}:1:" in r.stderr and f"{a}:2:" in r.stderr and f"{b}:1:" in r.stderr


def test_a_failure_of_the_database_leaves_nothing_half_done(books, tocsin, tmp_path):
    books.run("alter table tocsin.event add check (name <> 'alarm')")
    before = standing(books)
    r = tocsin("load", definitions(tmp_path, BASE), status=1)
    assert "violates check constraint" in r.stderr and r.stdout == ""
    assert standing(books) == before


# Schedules


def test_an_unchanged_schedule_goes_on(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    tocsin("load", path)
    tocsin("cycle", "--local")
    before = event(books)
    assert before["hold"] == 1 and before["next_call"] != "-infinity"
    definitions(tmp_path, BASE.replace('definition = "high"', 'definition = "not high"')
                + '    priority = 3\n    description = "new"\n    agent = "night"')
    tocsin("load", path)
    after = event(books)
    assert after.pop("version") != before.pop("version")
    assert after == before
    assert books.one("select priority, agent from tocsin.event") == (3, "night")
    # the same length of time in other words is the same schedule; the holding
    # time is none of it
    definitions(tmp_path, BASE.replace('"1h"', '"60m"').replace('"3h"', '"4h"'))
    assert "new schedule" not in tocsin("load", path).stdout
    after = event(books)
    del after["version"]
    assert after == before


@pytest.mark.parametrize("old, new", [
    ('interval = "1h"', 'interval = "30m"'), ('interval = "1h"', "")])
def test_a_changed_schedule_begins_afresh_and_keeps_its_state(books, tocsin, tmp_path, old, new):
    path = definitions(tmp_path, BASE.replace('"1h"', '"45m"') if not new else BASE)
    tocsin("load", path)
    tocsin("cycle", "--local")
    books.run("update tocsin.event set state = 'raising', action = 'raise'")
    before = event(books)
    definitions(tmp_path, BASE.replace(old, new))
    assert "(a new schedule: next_call and hold begin afresh)" in tocsin("load", path).stdout
    after = event(books)
    assert (after["hold"], after["next_call"]) == (0, "-infinity")
    assert (after["state"], after["action"]) == ("raising", "raise")
    assert after["schedule"] > before["schedule"]


def test_a_recurrent_event_is_due_at_its_first_occurrence(books, tocsin, tmp_path):
    rule = """
        variables.x.sql = "select 7"
        evidences.high.definition = "x > 5"
        [events.alarm]
        definition = "high"
        rrule = "FREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0"
        timezone = "Europe/Berlin"
        dtstart = 2199-01-01T08:00:00
    """
    path = definitions(tmp_path, rule)
    tocsin("load", path)
    first = event(books)["next_call"]
    assert books.one("select next_call = '2199-01-01 07:00Z' from tocsin.event")
    definitions(tmp_path, rule.replace("BYHOUR=8", "BYHOUR=9"))
    tocsin("load", path)
    assert books.one("select next_call = '2199-01-01 08:00Z' from tocsin.event"), first
    definitions(tmp_path, rule.replace("Europe/Berlin", "Asia/Tokyo"))
    tocsin("load", path)
    assert books.one("select next_call = '2198-12-31 23:00Z' from tocsin.event")


def test_a_next_call_set_by_hand_survives_a_load(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    tocsin("load", path)
    books.run("update tocsin.event set next_call = '2100-01-01Z'")
    definitions(tmp_path, BASE + '    description = "new"')
    tocsin("load", path)
    assert books.one("select next_call = '2100-01-01Z' from tocsin.event")


# Removing


def test_without_prune_nothing_is_removed(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE))
    r = tocsin("load", definitions(tmp_path, 'variables.y.sql = "select 1"'))
    assert r.lines[-1] == "1 added, 0 changed, 0 removed, 0 unchanged"
    assert books.all("select name from tocsin.variable order by 1") == ["x", "y"]


def test_prune_removes_what_the_files_do_not_have(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE + """
        [reactions.ring]
        events = ["alarm"]
        notify = "bell"
    """))
    tocsin("cycle", "--local")
    r = tocsin("load", "--prune", definitions(tmp_path, 'variables.x.sql = "select 7"'))
    assert sorted(r.lines[:-1]) == ["  - event alarm", "  - evidence high", "  - reaction ring"]
    assert r.lines[-1] == "0 added, 0 changed, 3 removed, 1 unchanged"
    assert books.all("select name from tocsin.event union all select name from tocsin.evidence") == []
    # what has been stays on record
    assert books.one("select count(*) from tocsin.history where name = 'alarm'") == 1
    assert books.one("select count(*) from tocsin.version where name = 'alarm'") == 1


def test_prune_does_not_lean_on_what_it_removes(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE))
    before = standing(books)
    path = definitions(tmp_path, 'evidences.low.definition = "x < 5"')
    r = tocsin("load", "--prune", path, status=1)
    assert r.stderr.startswith(f"{path}:1:"), r
    assert "there is no variable 'x'" in r.stderr
    assert standing(books) == before
    tocsin("load", path)


def test_an_object_that_comes_back_is_new(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    tocsin("load", path)
    tocsin("cycle", "--local")
    tocsin("load", "--prune", definitions(tmp_path, 'variables.y.sql = "select 1"', "other.toml"))
    tocsin("load", path)
    after = event(books)
    assert (after["hold"], after["next_call"]) == (0, "-infinity")


# Where definitions come from


def test_definitions_may_stand_in_files_directories_and_standard_input(books, tocsin, tmp_path):
    d = tmp_path / "d"
    d.mkdir()
    definitions(d, 'variables.x.sql = "select 7"', "one.toml")
    definitions(d, 'evidences.high.definition = "x > 5"', "two.toml")
    definitions(d, "this is no TOML", "readme.txt")
    single = definitions(tmp_path, 'variables.y.sql = "select 7"', "single.toml")
    r = tocsin("load", d, single, "-", input='events.alarm.definition = "high"')
    assert r.lines[-1] == "4 added, 0 changed, 0 removed, 0 unchanged"
    r = tocsin("load", "-", input="variables.z.sql = 3", status=1)
    assert r.stderr.startswith("(standard input):1:19: variables.z.sql: "), r


def test_a_file_that_is_not_there_is_named(books, tocsin, tmp_path):
    r = tocsin("load", "none.toml", status=1)
    assert "none.toml" in r.stderr and "No such file" in r.stderr
    (tmp_path / "empty").mkdir()
    r = tocsin("load", "empty", "--prune", status=1)
    assert r.stderr.startswith("empty: there is no *.toml below this directory\n"), r


@pytest.mark.fault("F-E06")
def test_an_object_in_two_files_is_refused(books, tocsin, tmp_path):
    a = definitions(tmp_path, 'variables.x.sql = "select 1"', "a.toml")
    b = definitions(tmp_path, 'variables.x.sql = "select 2"', "b.toml")
    r = tocsin("load", a, b, status=1)
    assert f"{b}:1:" in r.stderr and "a.toml" in r.stderr, r
    assert books.one("select count(*) from tocsin.variable") == 0


# What is in the books already


def test_names_may_refer_to_the_books(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, 'variables.x.sql = "select 7"', "1.toml"))
    tocsin("load", definitions(tmp_path, 'evidences.high.definition = "x > 5"', "2.toml"))
    tocsin("load", definitions(tmp_path, 'events.alarm.definition = "high"', "3.toml"))
    tocsin("load", definitions(tmp_path, 'reactions.r = {events = ["alarm"], notify = "n"}', "4.toml"))
    assert "3 jobs" in tocsin("cycle", "--local").stdout


@pytest.mark.parametrize("first, second, other", [
    ('variables.a.sql = "select 1"', 'evidences.a.definition = "True"', "a variable"),
    ('evidences.a.definition = "True"', 'variables.a.sql = "select 1"', "an evidence")])
def test_a_name_of_the_books_is_not_taken_twice(books, tocsin, tmp_path, first, second, other):
    tocsin("load", definitions(tmp_path, first, "1.toml"))
    path = definitions(tmp_path, second, "2.toml")
    r = tocsin("load", path, status=1)
    assert r.stderr.startswith(f"{path}:1:"), r
    assert f"'a' is {other} in the books already" in r.stderr
    # with --prune the old one leaves, and the name is free
    r = tocsin("load", "--prune", path)
    assert r.lines[-1] == "1 added, 0 changed, 1 removed, 0 unchanged"


# Versions


def test_versions_are_kept_and_tell_who_and_when(books, tocsin, tmp_path):
    path = definitions(tmp_path, BASE)
    tocsin("load", path)
    first = books.all("select * from tocsin.version order by id")
    definitions(tmp_path, BASE.replace("select 7", "select 8"))
    books.run("create role loader superuser login")
    try:
        tocsin("load", path, env={"PGUSER": "loader"})
    finally:
        books.run("reassign owned by loader to postgres; drop role loader")
    assert books.all("select * from tocsin.version order by id limit 3") == first
    rows = books.all("""select kind, name, loaded_by, loaded_at > now() - interval '1 min',
                        body->>'sql', upstream from tocsin.version where name = 'x' order by id""")
    assert rows == [("variable", "x", "postgres", True, "select 7", []),
                    ("variable", "x", "loader", True, "select 8", [])]
    body, digest = books.one("select body, hash from tocsin.version where name = 'high'")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    # back to what was: a third version, for it is a third load
    definitions(tmp_path, BASE)
    tocsin("load", path)
    assert books.one("select count(*) from tocsin.version where name = 'x'") == 3


def test_who_loaded_what_is_told(books, tocsin, tmp_path):
    """Also what is gone; and what does not get through is not in it."""
    path = definitions(tmp_path, BASE)
    tocsin("load", path)
    tocsin("load", path)
    tocsin("load", "--dry-run", definitions(tmp_path, BASE.replace("select 7", "select 9")))
    tocsin("load", definitions(tmp_path, BASE.replace("select 7", "select"), "broken.toml"),
           definitions(tmp_path, BASE, "again.toml"), status=1)
    books.run(f"create role loader_{books.name} superuser login")
    try:
        tocsin("load", definitions(tmp_path, BASE.replace("select 7", "select 8"), "new.toml"),
               env={"PGUSER": f"loader_{books.name}"})
    finally:
        books.run(f"reassign owned by loader_{books.name} to postgres; drop role loader_{books.name}")
    definitions(tmp_path, '[variables.y]\nsql = "select 1"', "few.toml")
    tocsin("load", "--prune", tmp_path / "few.toml")
    user, host = pwd.getpwuid(os.getuid()).pw_name, os.uname().nodename
    rows = books.all("""select change, loaded_by, os_user, host, address, file, body->>'sql',
                        at > now() - interval '1 min'
                        from tocsin.audit where kind = 'variable' and name = 'x' order by id""")
    assert rows == [
        ("added", "postgres", user, host, None, str(path), "select 7", True),
        ("changed", f"loader_{books.name}", user, host, None, str(tmp_path / "new.toml"), "select 8", True),
        ("removed", "postgres", user, host, None, None, None, True)]
    # one instant for all of a load; and each row has the hash of its version
    assert books.one("select count(distinct at) from tocsin.audit") == 3
    assert books.all("select a.id from tocsin.audit a left join tocsin.version v using (kind, name, hash)"
                     " where v.id is null and a.change <> 'removed'") == []


def test_what_was_loaded_before_there_was_an_audit_is_in_it(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE))
    tocsin("load", definitions(tmp_path, BASE.replace("select 7", "select 8")))
    told = books.all("select at, loaded_by, kind, name, change, hash, body from tocsin.audit order by id")
    books.run("drop table tocsin.audit")
    books.run((SOURCE / "sql" / "005-audit.sql").read_text())
    assert books.all("select at, loaded_by, kind, name, change, hash, body"
                     " from tocsin.audit order by id") == told


def test_the_order_of_keys_and_comments_are_no_change(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE))
    r = tocsin("load", definitions(tmp_path, """
        # a comment
        events.alarm = { time_to_wait = "3h", interval = "1h", definition = 'high' }
        evidences.high = { operand = 5, operator = ">", definition = "x" }
        variables.x.sql = 'select 7'
    """))
    assert r.lines[-1] == "0 added, 0 changed, 0 removed, 3 unchanged"


# Many, and at once


def many(n):
    lines = [f'[variables.v{i}]\nsql = "select {i}"\n[evidences.e{i}]\n'
             f'definition = "v{i} > v{(i * 7 + 1) % n}"' for i in range(n)]
    return "\n".join(lines)


def test_two_thousand_objects_are_loaded_in_a_few_statements(books, tocsin, tmp_path):
    path = definitions(tmp_path, many(1000))
    started = time.monotonic()
    r = tocsin("load", path)
    assert time.monotonic() - started < 15
    assert r.lines[-1] == "2000 added, 0 changed, 0 removed, 0 unchanged"
    # one statement has written them all
    assert books.one("select count(distinct (xmin::text, cmin::text)) from tocsin.version") == 1
    assert books.one("select count(distinct (xmin::text, cmin::text)) from tocsin.variable") == 1
    path.write_text(many(1000).replace("select 1", "select 2"))
    r = tocsin("load", path)
    assert re.fullmatch(r"0 added, 111 changed, 0 removed, 1889 unchanged", r.lines[-1]), r.lines[-1]
    assert books.one("select count(distinct (xmin::text, cmin::text)) from tocsin.version") == 2


def test_two_loads_at_once_come_one_after_the_other(books, tocsin, tmp_path):
    def text(n):
        return f'variables.x.sql = "select {n}"\nvariables.y.sql = "select {n}"'
    tocsin("load", definitions(tmp_path, text(0)))
    loads = [tocsin.spawn("load", definitions(tmp_path, text(n), f"{n}.toml")) for n in (1, 2, 3)]
    assert [load.wait(30) for load in loads] == [0, 0, 0], loads
    bodies = books.all("select v.body->>'sql' from tocsin.variable x join tocsin.version v"
                       " on v.id = x.version")
    assert len(set(bodies)) == 1, bodies
    assert books.one("select count(*) from tocsin.version") == 8


def test_a_load_that_is_killed_has_changed_nothing(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, BASE))
    other = books.connect()
    other.autocommit = False
    other.cursor().execute("lock table tocsin.event in share mode")
    before = standing(books)
    load = tocsin.spawn("load", definitions(tmp_path, BASE.replace("7", "8").replace("1h", "2h")))
    wait_for(lambda: books.one("select count(*) from pg_locks where not granted"
                               " and relation = 'tocsin.event'::regclass"))
    load.kill()
    other.rollback()
    other.close()
    wait_for(lambda: books.one("select count(*) from pg_stat_activity where application_name = 'tocsin'"
                               " and datname = current_database()") == 0)
    assert standing(books) == before
