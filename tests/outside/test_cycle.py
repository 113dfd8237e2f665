"""A cycle, in one process and over workers: what is computed, evaluated, decided, and when."""

import json
import re
import time

import pytest

import harness
from cycles import QUICK
from harness import wait_for
from invariants import books  # noqa: F401

pytestmark = pytest.mark.both_transports

# The graph of the decision record.  Each variable leaves a line when it runs.
RECORD = """
    [variables.var1]
    shell = "echo var1 >>{log}; echo 1"
    [variables.var2]
    shell = "echo var2 >>{log}; echo 2"
    [variables.var3]
    shell = "echo var3 >>{log}; {var3}"

    [evidences.e1]
    definition = "var1 + var2"
    operator = "=="
    operand = 3
    [evidences.e2]
    definition = "var2 == 2 and var3 is None"
    [evidences.e3]
    definition = "var3 > 0"

    [events.over_e1]
    definition = "e1"
    [events.over_e1_and_e2]
    definition = "e1 and e2"
    [events.over_e3]
    definition = "e3"
    [events.not_over_e3]
    definition = "not e3"
    """


@pytest.fixture
def doomed(cycles, tmp_path):
    """The cycle of that graph in which var3 fails."""
    log = tmp_path / "ran"
    cycles.log = log
    cycles.load(RECORD.format(log=log, var3="echo no luck >&2; exit 7"))
    cycles.result = cycles.run(status=1)
    return cycles


def test_a_variable_that_fails_hurts_only_what_has_no_other_input(doomed):
    assert doomed.state() == "DONE_WITH_ERRORS"
    assert doomed.jobs() == {
        "var1": "done", "var2": "done", "var3": "failed",
        "e1": "done", "e2": "done", "e3": "skipped",
        "event over_e1": "done", "event over_e1_and_e2": "done",
        "event over_e3": "skipped", "event not_over_e3": "skipped"}
    assert doomed.job("var3", "reason, error") == ("exit", "exit status 7: no luck")
    assert doomed.job("e3", "reason") == "upstream"
    assert doomed.job("over_e3", "reason") == "upstream"
    assert doomed.signals() == {"over_e1": "raise", "over_e1_and_e2": "raise"}
    assert "DONE_WITH_ERRORS" in doomed.result.stdout


def test_what_was_skipped_stays_due_and_is_decided_when_the_variable_works_again(doomed):
    assert doomed.db.all("select name from tocsin.event where next_call <= now()"
                         " order by name") == ["not_over_e3", "over_e3"]
    assert doomed.event("over_e3", "state, action, hold, run_id") == (
        "not_raising", "do_nothing", 0, None)
    doomed.load(RECORD.format(log=doomed.log, var3="echo 3"))
    doomed.run()
    assert doomed.state() == "DONE"
    assert doomed.jobs() == {"var3": "done", "e3": "done", "event over_e3": "done",
                             "event not_over_e3": "done"}
    assert doomed.signals() == {"over_e3": "raise"}
    # and now all is decided: nothing is due
    assert "DONE, 0 jobs" in doomed.run().stdout


def test_every_variable_runs_once_however_many_evidences_use_it(doomed):
    assert sorted(doomed.log.read_text().split()) == ["var1", "var2", "var3"]
    assert doomed.db.all("select distinct attempts, fence from tocsin.job"
                         " where kind = 'variable'") == [(1, 1)]


def test_a_variable_of_sql_runs_once_in_a_cycle(cycles):
    # A sequence counts; it is not undone with the read-only transaction, but
    # it cannot be advanced there either.  The statistics of the server can.
    cycles.db.run("create function ran() returns integer language sql stable as 'select 1'")
    cycles.db.run(f"alter database {cycles.db.name} set track_functions = 'all'")
    cycles.db.run("create function counted() returns integer language plpgsql volatile"
                  " as 'begin return ran(); end'")
    cycles.load("""
        [variables.v]
        sql = "select counted()"
        [evidences]
        a.definition = "v == 1"
        b.definition = "v == 2"
        c.definition = "v > 0"
        [events]
        one.definition = "a or b"
        two.definition = "a and c"
        three.definition = "not b"
        """)
    cycles.run()
    assert set(cycles.signals().values()) == {"raise"} and len(cycles.signals()) == 3
    wait_for(lambda: cycles.db.one(
        "select calls from pg_stat_user_functions where funcname = 'counted'"))
    assert cycles.db.one(
        "select calls from pg_stat_user_functions where funcname = 'counted'") == 1


@pytest.mark.fault("F-D01")
def test_three_runaways_fail_within_their_limits_and_nothing_else_does(cycles, tmp_path):
    cycles.load("""
        [variables.sleeps]
        shell = "sleep 61.5"
        soft_time_limit = 1
        [variables.deaf]
        shell = "trap '' TERM; while :; do sleep 62.5; done"
        soft_time_limit = 1
        time_limit = 2
        [variables.query]
        sql = "select pg_sleep(60)"
        soft_time_limit = 1
        [variables.good]
        shell = "echo 5"
        [evidences]
        about_sleeps.definition = "sleeps"
        about_deaf.definition = "deaf"
        about_query.definition = "query"
        about_good.definition = "good == 5"
        mixed.definition = "good == 5 and deaf is None"
        [events]
        bad.definition = "about_sleeps or about_deaf or about_query"
        good.definition = "about_good and mixed"
        """)
    began = time.monotonic()
    cycles.run(status=1)
    assert time.monotonic() - began < 8
    assert cycles.db.all("select name, reason, error from tocsin.job"
                         " where state = 'failed' order by name") == [
        ("deaf", "timeout", "hard time limit (2s) exceeded"),
        ("query", "timeout", "soft time limit (1s) exceeded"),
        ("sleeps", "timeout", "soft time limit (1s) exceeded")]
    took = dict(cycles.db.all("select name, extract(epoch from finished_at - started_at)"
                              " from tocsin.job where kind = 'variable'"))
    assert 1 <= took["sleeps"] < 4 and 1 <= took["query"] < 4 and 2 <= took["deaf"] < 5
    assert cycles.signals() == {"good": "raise"}
    assert cycles.jobs()["event bad"] == "skipped"
    # nothing is left, neither of commands nor in the server
    assert not [pid for pid in harness.processes()
                if re.search(r"sleep 6[12]\.5", harness.describe(pid))]
    wait_for(lambda: not cycles.db.one(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and query like '%%pg_sleep(60)%%' and pid <> pg_backend_pid()"))


@pytest.mark.fault("F-E17")
def test_nothing_due_is_done_at_once(cycles):
    assert "DONE, 0 jobs" in cycles.run().stdout
    assert cycles.state() == "DONE"
    assert cycles.db.one("select finished_at >= created_at from tocsin.run")


# Early decision

SLOW = """
    [variables.quick]
    shell = "echo 1"
    [variables.slow]
    shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
    [evidences]
    fast_yes.definition = "quick == 1"
    fast_no.definition = "quick == 2"
    slow_yes.definition = "slow == 1"
    [events]
    early_or.definition = "fast_yes or slow_yes"
    early_and.definition = "fast_no and slow_yes"
    early_count.definition = "count(fast_yes, not fast_no, slow_yes) >= 2"
    early_if.definition = "fast_yes if fast_yes else slow_yes"
    late_and.definition = "fast_yes and slow_yes"
    late_or.definition = "fast_no or slow_yes"
    late_not.definition = "not (fast_yes and slow_yes)"
    """


def test_an_event_is_decided_as_soon_as_its_truth_cannot_change(cycles, tmp_path):
    gate = tmp_path / "gate"
    cycles.load(SLOW.format(gate=gate))
    cycle = cycles.spawn()
    early = {"early_or": "raise", "early_count": "raise", "early_if": "raise"}
    wait_for(lambda: cycles.db.one("select count(*) from tocsin.signal") == 3)
    wait_for(lambda: cycles.jobs()["event early_and"] == "done")
    assert cycles.signals() == early
    assert cycles.job("slow", "state") == "running"
    assert {k: v for k, v in cycles.jobs().items() if "late" in k} == {
        "event late_and": "waiting", "event late_or": "waiting", "event late_not": "waiting"}
    assert cycles.state() == "STARTED"
    assert cycles.event("early_or") == ("raising", "raise", 1)
    # what had decided it is told as it was
    told = cycles.db.one("select decided_by from tocsin.signal where event = 'early_or'")
    assert {e["name"]: (e["state"], e["truth"]) for e in told["evidences"]} == {
        "fast_yes": ("done", True), "slow_yes": ("waiting", None)}
    gate.touch()
    assert cycle.wait() == 0
    assert cycles.signals() == {**early, "late_and": "raise", "late_or": "raise"}
    assert cycles.state() == "DONE"


def test_an_event_of_which_no_evidence_is_done_is_never_decided_early(cycles):
    """True or anything is true, but somebody must have measured something."""
    cycles.load("""
        [variables.bad]
        shell = "exit 1"
        [evidences.e]
        definition = "bad"
        [events]
        always.definition = "True or e"
        """)
    cycles.run(status=1)
    assert cycles.jobs() == {"bad": "failed", "e": "skipped", "event always": "skipped"}
    assert cycles.event("always", "next_call < now()")


def test_failed_neighbours_count_with_their_old_values_and_standing_truths(cycles, tmp_path):
    flag = tmp_path / "fail"
    cycles.load(f"""
        [variables.good]
        shell = "echo 1"
        [variables.flaky]
        shell = "[ ! -e {flag} ] && echo 42"
        [evidences]
        mixed.definition = "flaky == 42 and good == 1"
        flaky_yes.definition = "flaky == 42"
        good_yes.definition = "good == 1"
        [events]
        values.definition = "mixed"
        truths.definition = "flaky_yes and good_yes"
        alone.definition = "flaky_yes"
        """)
    cycles.run()
    assert cycles.signals() == dict.fromkeys(["values", "truths", "alone"], "raise")
    flag.touch()
    cycles.due_again()
    cycles.run(status=1)
    assert cycles.jobs() == {
        "good": "done", "flaky": "failed", "mixed": "done", "flaky_yes": "skipped",
        "good_yes": "done", "event values": "done", "event truths": "done",
        "event alone": "skipped"}
    assert cycles.signals() == dict.fromkeys(["values", "truths"], "continue_raising")
    # a variable that fails keeps its old value, and when it was computed
    assert cycles.db.one("select value, run_id from tocsin.variable where name = 'flaky'") == (
        42, cycles.last() - 1)
    assert cycles.db.one("select bool_value, run_id from tocsin.evidence"
                         " where name = 'flaky_yes'") == (True, cycles.last() - 1)


def test_a_variable_that_was_never_computed_is_none(cycles):
    cycles.load("""
        [variables]
        good.shell = "echo 1"
        bad.shell = "exit 1"
        [evidences]
        is_none.definition = "good and bad is None"
        [events]
        e.definition = "is_none"
        """)
    cycles.run(status=1)
    assert cycles.signals() == {"e": "raise"}
    assert cycles.db.one("select value is null from tocsin.variable where name = 'bad'")


def test_a_large_float_stays_a_float(cycles):
    """In a definition, as a value, and as what an evidence comes to."""
    cycles.load("""
        [variables]
        large.sql = "select 1e17::float8"
        huge.sql = "select :x * 1e300::float8"
        huge.args = { x = 1e7 }
        [evidences.beyond_integers]
        definition = "large * 1000"
        operator = "=="
        operand = 1e20
        [evidences.no_integers]
        definition = "huge"
        operator = ">"
        operand = 1e306
        [events.e]
        definition = "beyond_integers and no_integers"
        """)
    for action in ("raise", "continue_raising"):
        cycles.run()
        assert cycles.signals() == {"e": action}
        assert cycles.db.one("select value from tocsin.evidence"
                             " where name = 'beyond_integers'") == 1e20
        cycles.due_again()


def test_an_evaluation_error_fails_that_evidence_and_nothing_more(cycles):
    cycles.load("""
        [variables]
        zero.shell = "echo 0"
        [evidences]
        division.definition = "1 / zero"
        fine.definition = "zero == 0"
        [events]
        hurt.definition = "division"
        mixed.definition = "division or fine"
        unknown.definition = "division and fine"
        """)
    cycles.run(status=1)
    assert cycles.jobs() == {"zero": "done", "division": "failed", "fine": "done",
                             "event hurt": "skipped", "event mixed": "done",
                             "event unknown": "done"}
    reason, error = cycles.job("division", "reason, error")
    assert reason == "error" and error.startswith("1:3: division by zero")
    assert cycles.signals() == {"mixed": "raise"}


def test_jobs_without_anything_upstream_are_fired_at_the_start(cycles):
    cycles.load("""
        [evidences.weekend]
        definition = "now.weekday() >= 5"
        [events.e]
        definition = "weekend"
        """)
    if cycles.run_at("2026-05-02T10:00:00Z", status=None).status:
        pytest.skip("no weekday in the language")
    assert cycles.signals() == {"e": "raise"}


# Snapshot


@pytest.mark.fault("F-E06")
def test_a_run_uses_the_definitions_that_it_was_planned_with(cycles, tmp_path):
    gate = tmp_path / "gate"
    text = """
        [variables.slow]
        shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo {value}"
        [evidences.e]
        definition = "slow == {wanted}"
        [events.event]
        definition = "{event}"
        """
    cycles.load(text.format(gate=gate, value=1, wanted=1, event="e"))
    cycle = cycles.spawn()
    cycles.wait_for_job("slow", "running")
    cycles.load(text.format(gate=gate, value=2, wanted=7, event="not e"))
    gate.touch()
    assert cycle.wait() == 0
    assert cycles.signals() == {"event": "raise"}
    assert cycles.db.one("select value from tocsin.history where kind = 'variable'") == 1
    told = cycles.db.one("select decided_by from tocsin.signal")
    assert told["definition"] == "e"
    assert told["evidences"][0]["definition"] == "slow == 1"
    # the next one uses the new: 2 is not 7
    cycles.due_again()
    cycles.run()
    assert cycles.signals() == {"event": "continue_raising"}
    assert cycles.db.one("select decided_by ->> 'definition' from tocsin.signal"
                         " where run_id = %s", cycles.last()) == "not e"


@pytest.mark.fault("F-E06")
def test_removing_definitions_leaves_an_open_run_alone(cycles, tmp_path):
    gate = tmp_path / "gate"
    cycles.load(f"""
        [variables.slow]
        shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        [evidences.e]
        definition = "slow == 1"
        [events.goes]
        definition = "e"
        [events.stays]
        definition = "e"
        """)
    cycle = cycles.spawn()
    cycles.wait_for_job("slow", "running")
    cycles.load("""
        [variables.other]
        shell = "echo 1"
        [evidences.f]
        definition = "other == 1"
        [events.stays]
        definition = "f"
        """, "--prune")
    gate.touch()
    assert cycle.wait() == 0
    assert set(cycles.jobs().values()) == {"done"}
    assert cycles.signals()["stays"] == "raise"
    assert cycles.db.all("select name from tocsin.event") == ["stays"]
    assert cycles.db.all("select name from tocsin.variable") == ["other"]
    # the next one has what bears the new names
    cycles.due_again()
    cycles.run()
    assert cycles.jobs() == {"other": "done", "f": "done", "event stays": "done"}
    assert cycles.signals() == {"stays": "continue_raising"}


def test_a_schedule_changed_during_a_run_is_left_alone_by_it(cycles, tmp_path):
    gate = tmp_path / "gate"
    text = """
        [variables.slow]
        shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        [evidences.e]
        definition = "slow == 1"
        [events.changed]
        definition = "e"
        interval = "{interval}"
        [events.unchanged]
        definition = "e"
        interval = "1h"
        """
    cycles.load(text.format(gate=gate, interval="1h"))
    cycle = cycles.spawn()
    cycles.wait_for_job("slow", "running")
    cycles.load(text.format(gate=gate, interval="2h"))
    gate.touch()
    assert cycle.wait() == 0
    assert cycles.event("changed", "state, hold, next_call::text") == ("raising", 0, "-infinity")
    assert cycles.event("unchanged", "state, hold, next_call > now()") == ("raising", 1, True)


def test_what_is_not_active_is_not_taken_up(cycles):
    text = """
        [variables.off]
        shell = "echo 1"
        active = {active}
        [variables.on]
        shell = "echo 1"
        [evidences.over_off]
        definition = "off == 1"
        [evidences.over_both]
        definition = "off == 1 and on == 1"
        [evidences.off_itself]
        definition = "on == 1"
        active = {active}
        [events.e1]
        definition = "over_off"
        [events.e2]
        definition = "over_both"
        [events.e3]
        definition = "off_itself"
        [events.e4]
        definition = "off_itself or over_both"
        [events.inactive]
        definition = "over_both"
        active = {active}
        """
    cycles.load(text.format(active="true"))
    cycles.run()
    assert len(cycles.signals()) == 5
    cycles.load(text.format(active="false"))
    cycles.due_again()
    cycles.run()
    assert cycles.state() == "DONE"
    assert cycles.jobs() == {
        "off": "skipped", "on": "done", "over_off": "skipped", "over_both": "done",
        "off_itself": "skipped", "event e1": "skipped", "event e2": "done",
        "event e3": "skipped", "event e4": "done"}
    assert cycles.signals() == {"e2": "continue_raising", "e4": "continue_raising"}
    assert cycles.db.one("select value from tocsin.variable where name = 'off'") == 1


# Signals, history, views


def test_a_signal_tells_all_that_decided_it(cycles):
    cycles.load("""
        [variables.cash]
        shell = "echo '{\\"eur\\": [1, 2.5], \\"name\\": \\"x\\"}'"
        [variables.limit]
        shell = "echo 10"
        [evidences.low]
        definition = "cash.eur[1]"
        operator = "<"
        operand = 5
        [evidences.below]
        definition = "limit"
        operator = "=="
        operand = 10
        [events.crisis]
        definition = "low and below"
        interval = 0
        """)
    cycles.run()
    event, action, version, hold, told = cycles.db.one(
        "select event, action, version, hold, decided_by from tocsin.signal")
    assert (event, action, hold) == ("crisis", "raise", 1)
    assert told["definition"] == "low and below" and told["truth"] is True
    assert told["version"] == version and told["hold"] == 1
    assert told["hash"] == cycles.db.one("select hash from tocsin.version where id = %s", version)
    below, low = sorted(told["evidences"], key=lambda e: e["name"])
    assert (low["name"], low["definition"], low["operator"], low["operand"], low["truth"],
            low["value"]) == ("low", "cash.eur[1]", "<", 5, True, 2.5)
    assert below["truth"] is True and below["value"] == 10
    cash, = low["variables"]
    assert cash["value"] == {"eur": [1, 2.5], "name": "x"} and cash["state"] == "done"
    assert 0 <= cash["age"] < 30 and cash["version"] > 0
    assert cycles.db.one("select count(*) from tocsin.version where id = %s", cash["version"]) == 1


def test_history_has_a_row_for_everything_that_was_computed(cycles):
    cycles.load("""
        [variables.v]
        shell = "echo 7"
        [evidences.e]
        definition = "v - 4"
        operator = ">"
        operand = 0
        [events.event]
        definition = "not e"
        """)
    cycles.run()
    assert cycles.db.all("select kind, name, value, truth from tocsin.history order by kind desc"
                         ) == [("variable", "v", 7, None), ("evidence", "e", 3, True),
                               ("event", "event", None, False)]
    assert cycles.db.one("select value, bool_value, run_id from tocsin.evidence") == (
        3, True, cycles.last())
    assert cycles.db.one("select bool_and(computed_at <= now()) from tocsin.variable")


def test_queries_of_the_system_before_work_unchanged(cycles):
    cycles.load("""
        [variables.v]
        description = "seven"
        shell = "echo 7"
        [evidences.e]
        definition = "v"
        operator = ">"
        operand = 0
        [events.event]
        definition = "e"
        priority = 3
        """)
    cycles.run()
    db, run = cycles.db, cycles.last()
    cursor = db.run("select * from cdr_evaluation_cycle order by create_date desc limit 10")
    assert [c.name for c in cursor.description] == [
        "id", "create_uid", "create_date", "write_date", "write_uid", "state"]
    row, = cursor.fetchall()
    assert row[0] == run and row[5] == "DONE" and row[3] >= row[2]
    assert db.one("select name, description, value, cycle, active from cdr_control_variable") == (
        "v", "seven", "7", run, True)
    assert db.one("select name, description, definition, operator, operand, value, bool_value,"
                  " cycle, active from cdr_evidence") == (
        "e", None, "v", ">", "0", "7", True, run, True)
    assert db.one("select name, definition, priority, active, state, action,"
                  " next_call > now() from cdr_system_event") == (
        "event", "e", 3, True, "raising", "raise", True)
    assert db.all("select identifier, cycle, value from cdr_history order by 1") == [
        ("e", run, "7"), ("v", run, "7")]


# Which events, and when

TWO_AGENTS = """
    [variables.v]
    shell = "echo 1"
    [variables.w]
    shell = "echo 1"
    [evidences.e]
    definition = "v == 1"
    [evidences.f]
    definition = "w == 1"
    [events.one]
    definition = "e"
    [events.two]
    definition = "f"
    [events.off]
    definition = "e"
    active = false
    [events.others]
    definition = "e"
    agent = "night"
    """


def test_just_the_events_that_are_named_are_taken_due_or_not(cycles):
    cycles.load(TWO_AGENTS)
    cycles.run("--event", "two")
    assert cycles.jobs() == {"w": "done", "f": "done", "event two": "done"}
    cycles.run("--event", "two", "--event", "one", "--event", "two")
    assert cycles.signals() == {"two": "continue_raising", "one": "raise"}
    cycles.run()
    assert cycles.jobs() == {}


@pytest.mark.parametrize("name, complaint", [
    ("nothing", "there is no event 'nothing'"),
    ("off", "event 'off' is not active"),
    ("others", "event 'others' belongs to agent 'night'"),
])
def test_an_event_that_cannot_be_taken_is_an_error(cycles, name, complaint):
    cycles.load(TWO_AGENTS)
    result = cycles.run("--event", "one", "--event", name, status=1)
    assert complaint in result.stderr
    assert cycles.db.one("select count(*) from tocsin.run") == 0


def test_an_agent_takes_its_own_events(cycles):
    cycles.load(TWO_AGENTS)
    cycles.run("--agent", "night")
    assert cycles.signals() == {"others": "raise"}
    assert cycles.db.one("select agent from tocsin.run") == "night"
    cycles.run("--agent", "nobody")
    assert cycles.jobs() == {}


def test_a_cycle_in_the_future_is_refused_without_force(cycles):
    cycles.load(TWO_AGENTS)
    result = cycles.run("--at", "2090-01-01T00:00:00Z", status=1)
    assert "future" in result.stderr and "--force" in result.stderr
    assert cycles.db.one("select count(*) from tocsin.run") == 0
    cycles.run("--at", "2090-01-01T00:00:00Z", "--force")
    assert cycles.event("one", "next_call::text") == "2090-01-01 01:00:00+00"


def test_a_cycle_in_the_past_has_that_instant_everywhere(cycles):
    cycles.load("""
        [variables.v]
        sql = "select :now"
        [evidences.e]
        definition = "v == '2020-02-29T12:00:00+00:00' or now.year == 2020"
        [events.one]
        definition = "e"
        """)
    cycles.run("--at", "2020-02-29T12:00:00Z", status=None)
    assert "2020-02-29" in cycles.db.one("select value from tocsin.variable")
    assert cycles.db.one("select as_of::text from tocsin.run") == "2020-02-29 12:00:00+00"
    assert cycles.event("one", "next_call::text") == "2020-02-29 13:00:00+00"
    assert cycles.db.one("select bool_and(at > now() - interval '1 minute') from tocsin.history")


@pytest.mark.parametrize("args, status", [
    (["--at", "tomorrow"], 2), (["--at", "infinity"], 2), (["--if-busy", "sulk"], 2),
    (["--executors", "perl"], 78),
])
def test_nonsense_is_refused_before_anything_is_planned(cycles, args, status):
    cycles.run(*args, status=status)
    assert cycles.db.one("select count(*) from tocsin.run") == 0


def test_urgent_events_come_first(cycles):
    """One at a time, so that the order shows."""
    cycles.load("""
        [variables]
        a.shell = "echo 1"
        b.shell = "echo 1"
        c.shell = "echo 1"
        [evidences]
        ea.definition = "a"
        eb.definition = "b"
        ec.definition = "c"
        [events]
        later.definition = "ea"
        later.priority = 20
        first.definition = "ec"
        first.priority = 1
        middle.definition = "eb"
        """)
    cycles.hands = 1
    cycles.run()
    assert cycles.db.all("select name from tocsin.job where kind = 'variable'"
                         " order by started_at") == ["c", "b", "a"]


def test_what_one_event_needs_is_numbered_together(cycles):
    """The graph, as it stands in the books: what each node uses comes before it."""
    cycles.load("""
        [variables]
        a.sql = "select 1"
        b.sql = "select 2"
        c.sql = "select 3"
        d.sql = "select 4"
        [evidences]
        ab.definition = "a + b > 0"
        cb.definition = "c + b > 0"
        d_.definition = "d > 0"
        [events]
        last.definition = "ab and d_"
        last.priority = 30
        first.definition = "d_"
        first.priority = 1
        middle.definition = "cb or ab"
        """)
    cycles.run()
    rows = cycles.db.all("select id, kind, name, upstream, downstream from tocsin.job order by id")
    names = {id: name for id, _, name, _, _ in rows}
    assert list(names) == list(range(1, 11))
    assert [kind for _, kind, *_ in rows] == ["variable"] * 4 + ["evidence"] * 3 + ["event"] * 3
    assert names[1] == "d" and names[5] == "d_"
    assert [names[id] for id in (8, 9, 10)] == ["first", "middle", "last"]
    up = {name: [names[id] for id in upstream] for _, _, name, upstream, _ in rows}
    down = {name: [names[id] for id in downstream] for _, _, name, _, downstream in rows}
    assert {name: sorted(those) for name, those in up.items()} == {
        "a": [], "b": [], "c": [], "d": [], "ab": ["a", "b"], "cb": ["b", "c"], "d_": ["d"],
        "first": ["d_"], "middle": ["ab", "cb"], "last": ["ab", "d_"]}
    assert {name: sorted(those) for name, those in down.items()} == {
        name: sorted(other for other in up if name in up[other]) for name in up}
    for _, _, _, *both in rows:
        assert all(ids == sorted(ids) for ids in both)


# Two at once

GATED = """
    [variables.slow]
    shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
    [evidences.e]
    definition = "slow == 1"
    [events.event]
    definition = "e"
    """


@pytest.fixture
def busy(cycles, tmp_path):
    """A cycle that is open until its gate is."""
    cycles.gate = tmp_path / "gate"
    cycles.load(GATED.format(gate=cycles.gate))
    cycles.open = cycles.spawn()
    cycles.wait_for_job("slow", "running")
    return cycles


def finish(busy):
    busy.gate.touch()
    assert busy.open.wait() == 0


def test_an_agent_that_finds_a_cycle_open_says_so_and_leaves(busy):
    result = busy.run()
    assert re.search(r"agent default has cycle \d+ open .*STARTED, 0 of 3 jobs settled",
                     result.stdout)
    assert busy.run("--json").json()["busy"] is True
    finish(busy)
    assert busy.db.one("select count(*) from tocsin.run") == 1


def test_an_agent_may_fail_where_a_cycle_is_open(busy):
    assert "open" in busy.run("--if-busy", "fail", status=1).stderr
    finish(busy)


def test_an_agent_may_wait_and_then_start_its_own(busy):
    waiter = busy.spawn("--if-busy", "wait", "--event", "event")
    time.sleep(0.3)		# it may be anywhere on its way
    assert waiter.alive
    finish(busy)
    assert waiter.wait() == 0
    assert busy.db.all("select state from tocsin.run") == ["DONE", "DONE"]
    assert busy.signals() == {"event": "continue_raising"}


def test_another_agent_is_not_held_up(busy):
    assert "DONE, 0 jobs" in busy.run("--agent", "night").stdout
    finish(busy)


def test_ten_agents_at_once_make_one_cycle(cycles, tmp_path):
    gate = tmp_path / "gate"
    cycles.load(GATED.format(gate=gate))
    agents = [cycles.spawn("--json") for _ in range(10)]
    wait_for(lambda: sum(agent.alive for agent in agents) == 1, 30)
    assert cycles.db.one("select count(*) from tocsin.run") == 1
    gate.touch()
    assert [agent.wait() for agent in agents] == [0] * 10
    told = [json.loads(agent.stdout) for agent in agents]
    assert sorted(t["busy"] for t in told) == [False] + [True] * 9
    assert len({t["cycle"] for t in told}) == 1
    assert cycles.db.all("select event, action from tocsin.signal") == [("event", "raise")]


def test_a_database_that_cannot_be_reached_is_status_75(tocsin):
    result = tocsin("cycle", "--local", env={"PGHOST": "/nowhere"}, status=75)
    assert "/nowhere" in result.stderr


def test_a_variable_that_its_executor_may_not_run_is_refused(cycles):
    cycles.load("""
        [variables.by_shell]
        shell = "echo 1"
        [variables.by_sql]
        sql = "select 1"
        [evidences]
        e.definition = "by_shell == 1"
        f.definition = "by_sql == 1"
        [events]
        one.definition = "e"
        two.definition = "f"
        """)
    cycles.executors = "sql"
    cycles.run(status=1)
    assert cycles.job("by_shell", "state, reason") == ("failed", "refused")
    assert cycles.signals() == {"two": "raise"}


def test_many_measurements_run_at_once_but_not_too_many(cycles, tmp_path):
    """Each waits until three have started; a fourth must wait for its slot."""
    started, running, counts = tmp_path / "started", tmp_path / "running", tmp_path / "counts"
    started.mkdir()
    running.mkdir()
    cycles.load("".join(f"""
        [variables.{name}]
        shell = '''
        touch {started}/{name} {running}/{name}
        until [ $(ls {started} | wc -l) -ge 3 ]; do sleep 0.02; done
        ls {running} | wc -l >>{counts}
        rm {running}/{name}
        echo 1
        '''
        soft_time_limit = 10
        [evidences.e_{name}]
        definition = "{name}"
        [events.event_{name}]
        definition = "e_{name}"
        """ for name in ("a", "b", "c", "d", "e", "f")))
    cycles.hands = 3
    cycles.run()
    assert len(cycles.signals()) == 6
    at_once = [int(n) for n in counts.read_text().split()]
    assert len(at_once) == 6 and max(at_once) <= 3


def test_what_is_large_is_settled_in_batches(cycles):
    """Hundreds of jobs: more than a batch, more than a message."""
    n = 700
    cycles.load("[variables.v]\nsql = 'select 1'\n" + "".join(
        f"[evidences.e{i}]\ndefinition = 'v == {i % 2}'\n"
        f"[events.event{i}]\ndefinition = 'e{i}'\n" for i in range(n)))
    cycles.run()
    assert cycles.db.one("select jobs, failed, state from tocsin.run") == (2 * n + 1, 0, "DONE")
    assert cycles.db.one("select count(*) from tocsin.signal") == n // 2


def test_a_job_whose_definition_has_gone_fails(cycles, tmp_path):
    gate = tmp_path / "gate"
    cycles.load(GATED.format(gate=gate))
    cycle = cycles.spawn()
    cycles.wait_for_job("slow", "running")
    cycles.db.run("update tocsin.job set version = 999999 where name = 'e'")
    gate.touch()
    assert cycle.wait() == 1
    assert cycles.job("e", "state, error") == ("failed", "its definition is not in the books")
    assert cycles.job("event", "state") == "skipped"
