"""tocsin status: what is, what failed and why, for people, for programs and
for monitoring systems."""

import json
import re

import pytest

from harness import definitions, wait_for

pytestmark = pytest.mark.commands

SHOP = """
    [variables.stock]
    sql = "select 3"

    [variables.broken]
    sql = "select 1/0"

    [evidences.low_stock]
    definition = "stock < 5"

    [evidences.lost]
    definition = "broken > 1"

    [events.reorder]
    description = "Buy more"
    definition = "low_stock"
    interval = 0
    priority = 2

    [events.despair]
    definition = "lost"
    interval = 0
"""
HEALTHY = """
    variables.stock.sql = "select 3"
    evidences.low_stock.definition = "stock < 5"
    events.reorder = { definition = "low_stock", interval = "1h" }
"""


@pytest.fixture
def books(db, tocsin):
    tocsin("init")
    return db


@pytest.fixture
def shop(books, tocsin, tmp_path):
    """Cycle 1 has found the stock low, and something broken."""
    tocsin("load", definitions(tmp_path, SHOP))
    tocsin("cycle", "--local", status=1)
    return books


def test_empty_books_say_so(books, tocsin):
    assert tocsin("status").stdout == """\
0 variables, 0 evidences, 0 events (0 due), 0 reactions

no cycle has run yet

no event is raising
"""


def test_status_tells_the_cycles_and_what_is_raising(shop, tocsin):
    text = tocsin("status").stdout
    assert text.startswith("2 variables, 2 evidences, 2 events (2 due), 0 reactions\n")
    assert re.search(r"^1 +default +DONE_WITH_ERRORS +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +\S+ +6 +1",
                     text, re.M), text
    assert re.search(r"^reorder +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +\S+ +raise +Buy more$", text, re.M), text
    assert "despair" not in text


def test_status_of_a_cycle_tells_what_failed_and_why(shop, tocsin):
    text = tocsin("status", 1).stdout
    assert text.startswith("cycle 1 of agent default: DONE_WITH_ERRORS\n")
    assert "events: 1 done 1 skipped\n" in text
    assert "variables: 1 done 1 failed\n" in text
    assert re.search(r"^variable +broken +failed +error +1 +.*division by zero", text, re.M), text
    assert re.search(r"^evidence +lost +skipped +upstream +0", text, re.M), text
    assert re.search(r"^reorder +raise", text, re.M), text


def test_status_as_json_keeps_its_shape(shop, tocsin):
    s = tocsin("status", "--json").json()
    assert set(s) == {"now", "installation", "schema", "definitions", "due", "cycles", "raising",
                      "deliveries"}
    assert s["definitions"] == {"variables": 2, "evidences": 2, "events": 2, "reactions": 0}
    assert s["due"] == 2
    assert s["deliveries"] == {"pending": 0, "sending": 0, "failed": 0, "unclaimed": 0,
                               "waiting": []}
    [cycle] = s["cycles"]
    assert set(cycle) == {"id", "kind", "agent", "state", "origin", "as_of", "created_at",
                          "started_at", "finished_at", "seconds", "jobs", "unsettled", "failed",
                          "stalled", "trouble", "trouble_age"}
    assert (cycle["id"], cycle["state"], cycle["jobs"], cycle["failed"]) == (1, "DONE_WITH_ERRORS", 6, 1)
    [raising] = s["raising"]
    assert set(raising) == {"event", "agent", "priority", "action", "since", "evaluated_at",
                            "age", "description"}
    assert (raising["event"], raising["priority"], raising["action"]) == ("reorder", 2, "raise")
    c = tocsin("status", 1, "--json").json()
    assert set(c) == set(cycle) | {"counts", "troubled", "repeated", "running", "signals", "deliveries"}
    assert c["counts"] == {"variable": {"done": 1, "failed": 1}, "evidence": {"done": 1, "skipped": 1},
                           "event": {"done": 1, "skipped": 1}}
    assert [(t["name"], t["state"], t["reason"]) for t in c["troubled"]] == [
        ("broken", "failed", "error"), ("lost", "skipped", "upstream"),
        ("despair", "skipped", "upstream")]
    assert [(t["event"], t["action"]) for t in c["signals"]] == [("reorder", "raise")]


def test_a_cycle_that_is_not_there_is_named(books, tocsin):
    assert tocsin("status", 7, status=1).stderr == "tocsin status: there is no cycle 7\n"
    assert tocsin("status", 9223372036854775807, status=1).stderr == \
        "tocsin status: there is no cycle 9223372036854775807\n"


def test_only_the_last_cycles_are_listed(shop, tocsin):
    shop.run("insert into tocsin.run (agent, state, as_of, finished_at)"
             " select 'default', 'DONE', now(), now() from generate_series(1, 30)")
    assert [c["id"] for c in tocsin("status", "--json").json()["cycles"]] == list(range(31, 21, -1))


@pytest.mark.fault("F-E11")
def test_errors_cannot_disturb_the_table(shop, tocsin):
    shop.run("update tocsin.job set error = E'one\\ntwo\\x1b[31m\\tthree ' || repeat('ä', 5000)"
             " where name = 'broken'")
    for args in ["status", "1"], ["explain", "despair", "--cycle", "1"]:
        r = tocsin(*args)
        assert r"one\ntwo\x1b[31m\tthree ää" in r.stdout and "\033" not in r.stdout
    assert tocsin("status", 1, "--json").json()["troubled"][0]["error"].startswith("one\ntwo\033")


# Watching


def test_a_watch_of_a_cycle_ends_with_the_cycle(shop, tocsin):
    shop.run("""update tocsin.run set state = 'STARTED', finished_at = null, unsettled = 1;
                update tocsin.job set state = 'running', started_at = now(), worker = 'w@h:1',
                lease_until = now() + interval '1 min' where name = 'stock'""")
    watch = tocsin.spawn("status", 1, "--watch")
    watch.wait_for("cycle 1 of agent default: STARTED")
    assert re.search(r"^stock +\d{4}-.*Z +1 +w@h:1$", watch.stdout, re.M), watch.stdout
    assert watch.alive
    shop.run("update tocsin.run set state = 'DONE', finished_at = now(), unsettled = 0")
    assert watch.wait(10) == 0
    assert "cycle 1 of agent default: DONE\n" in watch.stdout
    assert "\033" not in watch.stdout


def test_a_watch_of_a_closed_cycle_ends_at_once(shop, tocsin):
    assert tocsin("status", 1, "--watch", timeout=20).stdout == tocsin("status", 1).stdout


def test_a_watch_of_everything_goes_on_until_it_is_stopped(shop, tocsin):
    watch = tocsin.spawn("status", "--watch", "--json")
    wait_for(lambda: watch.stdout.count("\n") >= 2, timeout=15)
    assert all(json.loads(line)["cycles"] for line in watch.stdout.splitlines())
    assert watch.alive
    assert watch.stop() == -15


def test_a_watch_ends_when_the_server_goes(shop, tocsin):
    watch = tocsin.spawn("status", "--watch")
    watch.wait_for("no cycle has run yet|default")
    shop.run("select pg_terminate_backend(pid) from pg_stat_activity"
             " where application_name = 'tocsin' and datname = current_database()")
    assert watch.wait(15) == 75
    assert re.fullmatch("tocsin status: PostgreSQL: .*\n", watch.stderr), watch.stderr


# For monitoring systems


def check(tocsin, status, *args, env=None):
    r = tocsin("status", "--check", *args, env=env, status=status)
    assert r.stderr == "" and r.stdout.count("\n") == 1, r
    word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][status]
    assert r.stdout.startswith(f"TOCSIN {word} - "), r
    return r.stdout


@pytest.fixture
def healthy(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, HEALTHY))
    tocsin("cycle", "--local")
    return books


def test_check_is_ok_while_cycles_are_in_time(healthy, tocsin):
    assert check(tocsin, 0) == \
        "TOCSIN OK - 1 agent, all cycles in time | 'default raising'=1\n"
    assert tocsin("status", "--check", "--json").json() == {
        "state": "OK", "status": 0, "text": "1 agent, all cycles in time"}


def test_a_cycle_with_errors_is_a_warning(shop, tocsin):
    assert "cycle 1 ended with 1 failed job" in check(tocsin, 1)


def test_a_cycle_that_is_overdue_is_critical(healthy, tocsin):
    healthy.run("update tocsin.run set finished_at = finished_at - interval '10 min',"
                " created_at = created_at - interval '10 min'")
    check(tocsin, 0)
    assert re.search(r"agent default: overdue, the last cycle \(1\) ended \d{4}-",
                     check(tocsin, 2, "--max-age", "5m"))


def test_an_agent_that_has_never_run_is_critical(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, HEALTHY))
    assert "agent default: no cycle has ended yet" in check(tocsin, 2)


def test_a_cycle_that_is_stuck_is_critical(healthy, tocsin):
    healthy.run("""insert into tocsin.run (agent, state, as_of, created_at, jobs, unsettled)
        values ('default', 'STARTED', now(), now() - interval '5 min', 3, 3)""")
    assert re.search(r"cycle 2 is stuck \(STARTED, 3 jobs open, created \d{4}-", check(tocsin, 2))
    # it lives as long as somebody works on it, but not for ever
    healthy.run("""insert into tocsin.job (run_id, id, kind, name, version, queue, state, unsettled,
        started_at, lease_until) values (2, 1, 'variable', 'x', 1, 'q', 'running', 0, now(),
        now() + interval '1 min')""")
    check(tocsin, 0)
    assert "stuck" in check(tocsin, 2, "--max-age", "2m")


def test_failed_deliveries_are_a_warning(books, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, HEALTHY + """
        reactions.ring = { events = ["reorder"], command = "exit 3" }
    """))
    tocsin("cycle", "--local", "--delivery-attempts", "1")
    assert "deliveries have failed" in check(tocsin, 1)
    text = tocsin("status").stdout
    assert "1 failed lately" in text
    assert re.search(r"^reorder +raise +ring +failed +exit status 3", tocsin("status", 1).stdout, re.M)


def test_every_agent_counts_unless_one_is_named(healthy, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, """
        events.other = { definition = "low_stock", agent = "night" }
    """))
    text = check(tocsin, 2)
    assert "agent night: no cycle has ended yet" in text and "'night raising'=0" in text
    check(tocsin, 0, "--agent", "default")
    check(tocsin, 2, "--agent", "night")
    check(tocsin, 2, env={"TOCSIN_AGENT": "night"})
    assert "no active event" in check(tocsin, 1, "--agent", "nobody")


def test_what_cannot_be_found_out_is_unknown(db, tocsin):
    assert "has no books of tocsin: run 'tocsin init'" in check(tocsin, 3)
    assert "port 1 failed: Connection refused" in check(
        tocsin, 3, env={"PGHOST": "127.0.0.1", "PGPORT": "1"})
    j = tocsin("status", "--check", "--json", "--max-age", "soon", status=3).json()
    assert (j["state"], j["status"]) == ("UNKNOWN", 3)
    assert "'soon' is not a length of time" in j["text"]


def test_mistakes_in_settings_are_unknown_too(db, tocsin):
    """2 would be taken for critical, and standard error is not read."""
    assert "TOCSIN_LEASE: 'soon' is not" in check(tocsin, 3, env={"TOCSIN_LEASE": "soon"})
    assert "--lease: 'soon' is not" in check(tocsin, 3, "--lease", "soon")
    assert "there is no option '--max-ag'" in check(tocsin, 3, "--max-ag", "5m")
    assert "one argument too many" in check(tocsin, 3, "1", "2")
    assert "--check" in check(tocsin, 3, "--watch")
    assert "--check" in check(tocsin, 3, "1")
