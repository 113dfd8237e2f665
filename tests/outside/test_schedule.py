"""When events are due, and how long they must be true until they raise."""

import itertools

import pytest

from invariants import books  # noqa: F401

pytestmark = pytest.mark.both_transports

# What is measured is what the test writes into a table.
LEVER = """
    [variables.lever]
    sql = "select on_off from lever"
    [evidences.pulled]
    definition = "lever"
    """


@pytest.fixture
def lever(cycles):
    """cycles.at("2026-05-01T10:00:00Z", True): a cycle in which it is pulled."""
    cycles.db.run("create table lever (on_off boolean)")
    cycles.db.run("insert into lever values (false)")

    def at(time, pulled, *args):
        cycles.db.run("update lever set on_off = %s", pulled)
        cycles.run_at(time, *args)
        return cycles.signals()
    cycles.at = at
    return cycles


def hours(first=0):
    return (f"2026-05-{1 + h // 24:02}T{h % 24:02}:00:00Z" for h in itertools.count(first))


@pytest.mark.parametrize("interval, time_to_wait, k", [
    ("1h", "0s", 1), ("1h", "59m", 1), ("1h", "1h", 1), ("1h", "119m", 1), ("1h", "2h", 2),
    ("1h", "3h59m", 3), ("20m", "1h", 3), ("0s", "3h", 1), ("0s", "0s", 1),
])
def test_an_event_raises_at_the_end_of_its_holding_time(lever, interval, time_to_wait, k):
    lever.load(LEVER + f"""
        [events.e]
        definition = "pulled"
        interval = "{interval}"
        time_to_wait = "{time_to_wait}"
        """)
    times = hours()
    for n in range(1, k):
        assert lever.at(next(times), True) == {}, n
        assert lever.event("e") == ("not_raising", "do_nothing", n)
    assert lever.at(next(times), True) == {"e": "raise"}
    assert lever.event("e") == ("raising", "raise", k)


def test_a_false_evaluation_begins_the_holding_time_anew(lever):
    lever.load(LEVER + """
        [events.e]
        definition = "pulled"
        time_to_wait = "3h"
        """)
    story = [(True, {}), (True, {}), (False, {}), (True, {}), (True, {}),
             (True, {"e": "raise"}), (True, {"e": "continue_raising"}),
             (False, {"e": "stop_raising"}), (False, {}), (True, {})]
    for time, (pulled, signals) in zip(hours(), story):
        assert lever.at(time, pulled) == signals, time
    assert lever.event("e") == ("not_raising", "do_nothing", 1)


def test_a_basic_event_is_due_every_interval(lever):
    lever.load(LEVER + """
        [events.e]
        definition = "pulled"
        interval = "90m"
        """)
    assert lever.event("e", "next_call::text") == "-infinity"
    assert lever.at("2026-05-01T10:00:00Z", True) == {"e": "raise"}
    assert lever.event("e", "next_call::text") == "2026-05-01 11:30:00+00"
    lever.at("2026-05-01T11:29:59Z", True)
    assert lever.jobs() == {}
    # late is late: the next is counted from the cycle
    assert lever.at("2026-05-01T12:00:00Z", True) == {"e": "continue_raising"}
    assert lever.event("e", "next_call::text") == "2026-05-01 13:30:00+00"


def test_interval_zero_is_in_every_cycle(lever):
    lever.load(LEVER + """
        [events.e]
        definition = "pulled"
        interval = 0
        time_to_wait = "1h"
        """)
    for signals in ({"e": "raise"}, {"e": "continue_raising"}):
        assert lever.at("2026-05-01T10:00:00Z", True) == signals
    assert lever.event("e", "next_call::text") == "2026-05-01 10:00:00+00"


def test_next_call_may_be_changed_by_hand(lever):
    lever.load(LEVER + '[events.e]\ndefinition = "pulled"\n')
    lever.at("2026-05-01T10:00:00Z", True)
    lever.db.run("update tocsin.event set next_call = '2026-05-01T10:10:00Z'")
    assert lever.at("2026-05-01T10:10:00Z", True) == {"e": "continue_raising"}


def test_an_event_that_comes_out_unknown_was_evaluated(lever):
    """Over an evidence that was never computed, beside one that was."""
    lever.load(LEVER + """
        [variables.bad]
        shell = "exit 1"
        [evidences.never]
        definition = "bad"
        [events.e]
        definition = "pulled and never"
        time_to_wait = "2h"
        [events.decided]
        definition = "pulled or never"
        [events.negated]
        definition = "not never and pulled"
        """)
    lever.db.run("update lever set on_off = true")
    lever.run_at("2026-05-01T10:00:00Z", status=1)
    assert lever.jobs()["event e"] == "done" and lever.jobs()["never"] == "skipped"
    assert lever.event("e", "state, action, hold, next_call::text") == (
        "not_raising", "do_nothing", 0, "2026-05-01 11:00:00+00")
    assert lever.signals() == {"decided": "raise"}
    assert lever.db.one("select truth is null from tocsin.history where name = 'e'")
    assert lever.event("negated") == ("not_raising", "do_nothing", 0)


def test_unknown_leaves_state_and_hold_as_they_were(lever):
    """The hold of an event, half way there, survives an unknown evaluation."""
    text = LEVER + """
        [variables.bad]
        shell = "exit 1"
        [evidences.never]
        definition = "bad"
        [events.held]
        definition = "{definition}"
        time_to_wait = "3h"
        [events.raising]
        definition = "{definition}"
        """
    lever.load(text.format(definition="pulled"))
    lever.at("2026-05-01T10:00:00Z", True)
    lever.load(text.format(definition="pulled and never"))
    lever.run_at("2026-05-01T11:00:00Z", status=1)
    assert lever.signals() == {}
    assert lever.event("held") == ("not_raising", "do_nothing", 1)
    assert lever.event("raising") == ("raising", "do_nothing", 1)
    lever.load(text.format(definition="pulled"))
    lever.at("2026-05-01T12:00:00Z", True)
    assert lever.event("held") == ("not_raising", "do_nothing", 2)
    assert lever.signals() == {"raising": "continue_raising"}


def test_what_failed_leaves_the_schedule_as_it_is(lever):
    lever.load("""
        [variables.lever]
        sql = "select 1 / case when on_off then 1 else 0 end from lever"
        [evidences.pulled]
        definition = "lever"
        [events.e]
        definition = "pulled"
        time_to_wait = "2h"
        """)
    lever.at("2026-05-01T10:00:00Z", True)
    before = lever.event("e", "state, action, hold, next_call, run_id")
    assert before[2] == 1
    lever.db.run("update lever set on_off = false")
    lever.run_at("2026-05-01T11:00:00Z", status=1)
    assert lever.event("e", "state, action, hold, next_call, run_id") == before
    assert lever.at("2026-05-01T11:00:00Z", True) == {"e": "raise"}


def test_loading_a_changed_schedule_begins_afresh_and_an_unchanged_one_does_not(lever):
    text = LEVER + """
        [events.e]
        definition = "{definition}"
        interval = "{interval}"
        time_to_wait = "2h"
        priority = {priority}
        """
    lever.load(text.format(definition="pulled", interval="1h", priority=1))
    lever.at("2026-05-01T10:00:00Z", True)
    lever.load(text.format(definition="pulled or pulled", interval="60m", priority=2))
    assert lever.event("e", "hold, next_call::text, priority") == (
        1, "2026-05-01 11:00:00+00", 2)
    assert lever.at("2026-05-01T11:00:00Z", True) == {"e": "raise"}
    lever.load(text.format(definition="pulled", interval="2h", priority=1))
    assert lever.event("e", "state, hold, next_call::text") == ("raising", 0, "-infinity")
    assert lever.at("2026-05-01T12:00:00Z", True) == {"e": "continue_raising"}


# Recurrent events


def occurrences(lever, first, count):
    """The cycles at the event's own next calls, after one at FIRST."""
    lever.at(first, True, "--event", "e")
    times = []
    for _ in range(count):
        times.append(lever.event("e", "to_char(next_call at time zone 'UTC',"
                                      " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"))
        assert lever.at(times[-1], True) == {"e": "raise"}
    return times


RECURRENT = LEVER + """
    [events.e]
    definition = "pulled"
    rrule = "{rule}"
    timezone = "Europe/Berlin"
    dtstart = {dtstart}
    """


@pytest.mark.fault("F-F04")
def test_a_daily_event_follows_the_clock_when_it_is_set_forward(lever):
    lever.load(RECURRENT.format(rule="FREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0",
                                dtstart="2026-03-01T00:00:00"))
    assert occurrences(lever, "2026-03-27T08:00:00Z", 3) == [
        "2026-03-28T07:00:00Z", "2026-03-29T06:00:00Z", "2026-03-30T06:00:00Z"]


@pytest.mark.fault("F-F04")
def test_a_daily_event_follows_the_clock_when_it_is_set_back(lever):
    lever.load(RECURRENT.format(rule="FREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0",
                                dtstart="2026-03-01T00:00:00"))
    assert occurrences(lever, "2026-10-23T08:00:00Z", 3) == [
        "2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z", "2026-10-26T07:00:00Z"]


@pytest.mark.fault("F-F04")
def test_a_local_time_that_does_not_exist_moves_forward_and_a_doubled_one_counts_once(lever):
    lever.load(RECURRENT.format(rule="FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0",
                                dtstart="2026-03-01T00:00:00"))
    assert occurrences(lever, "2026-03-27T12:00:00Z", 3) == [
        "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    assert occurrences(lever, "2026-10-24T12:00:00Z", 2) == [
        "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]


def test_a_recurrent_event_raises_at_each_true_evaluation_and_never_stops(lever):
    lever.load(RECURRENT.format(rule="FREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0",
                                dtstart="2026-05-01T00:00:00"))
    story = [("2026-05-01T06:00:00Z", True, "raising", {"e": "raise"}),
             ("2026-05-02T06:00:00Z", True, "raising", {"e": "raise"}),
             ("2026-05-03T06:00:00Z", False, "not_raising", {}),
             ("2026-05-04T06:00:00Z", True, "raising", {"e": "raise"})]
    lever.db.run("update tocsin.event set next_call = '2026-05-01T06:00:00Z'")
    for time, pulled, state, signals in story:
        assert lever.at(time, pulled) == signals
        assert lever.event("e", "state") == state


def test_a_new_recurrent_event_is_due_at_its_first_occurrence(lever):
    lever.load(RECURRENT.format(rule="FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=0;BYMINUTE=0;"
                                     "BYSECOND=0", dtstart="2090-05-01T00:00:00"))
    assert lever.event("e", "next_call::text") == "2090-12-31 23:00:00+00"
    lever.run()
    assert lever.jobs() == {}


def test_a_rule_that_has_ended_is_never_due_again(lever):
    lever.load(RECURRENT.format(rule="FREQ=DAILY;COUNT=2", dtstart="2090-05-01T08:00:00"))
    assert lever.at("2090-05-01T06:00:00Z", True) == {"e": "raise"}
    assert lever.at("2090-05-02T06:00:00Z", True) == {"e": "raise"}
    assert lever.event("e", "next_call::text") == "infinity"
    lever.at("2095-05-02T06:00:00Z", True)
    assert lever.jobs() == {}


def test_missed_occurrences_are_not_made_up_for(lever):
    lever.load(RECURRENT.format(rule="FREQ=HOURLY", dtstart="2026-05-01T00:00:00"))
    lever.db.run("update tocsin.event set next_call = '2026-05-01T06:00:00Z'")
    assert lever.at("2026-05-01T09:20:00Z", True) == {"e": "raise"}
    assert lever.event("e", "next_call::text") == "2026-05-01 10:00:00+00"
