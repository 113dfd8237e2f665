"""What is too old, missing, or came too late: stale values, unknown truths, and
the hold of an event that is evaluated with gaps."""

import json
from itertools import product

import pytest

from invariants import books  # noqa: F401

pytestmark = pytest.mark.commands

# Each variable is a row of the world; without one, computing it fails.
WORLD = """
    create table world (name text primary key, value jsonb not null);
    create function measured(what text) returns jsonb language plpgsql as $$
    declare found jsonb;
    begin
        select value into strict found from world where name = what;
        return found;
    end $$"""


@pytest.fixture
def world(cycles):
    cycles.db.run(WORLD)
    return World(cycles)


class World:
    def __init__(self, cycles):
        self.cycles, self.db = cycles, cycles.db

    def load(self, events, evidences="e = 'v > 0'", **variables):
        """VARIABLES: name=more keys"""
        lines = []
        for name, more in (variables or {"v": "max_age = '1h'"}).items():
            lines.append(f"[variables.{name}]\nsql = \"select measured('{name}')\"\n{more}")
        for line in evidences.split("; "):
            name, definition = line.split(" = ", 1)
            lines.append(f"[evidences.{name}]\ndefinition = {definition}")
        self.cycles.load("\n".join(lines) + "\n" + events)

    def run(self, at, **values):
        """A cycle at hour AT of the day, in which just VALUES can be measured."""
        self.db.run("delete from world")
        for name, value in values.items():
            self.db.run("insert into world values (%s, %s)", name, json.dumps(value))
        self.cycles.due_again()
        self.cycles.run_at(instant(at), status=None)
        assert self.cycles.state() in ("DONE", "DONE_WITH_ERRORS")
        return self

    def job(self, name):
        return self.db.all("select state, reason, truth, error from tocsin.job"
                           " where run_id = %s and name = %s", self.cycles.last(), name)[0]

    def explain(self, event):
        return self.cycles.tocsin("explain", event, "--json").json()


def instant(hour):
    return f"2026-05-{1 + int(hour) // 24:02}T{int(hour) % 24:02}:{int(hour % 1 * 60):02}:00Z"


EVENT = "[events.x]\ndefinition = \"e\"\ninterval = '1h'"


# Stale values


def test_a_value_older_than_max_age_makes_its_evidence_unknown(world):
    world.load(EVENT, "e = 'v + w > 0'", v="max_age = '1h'", w="")
    world.run(8, v=1, w=1)
    assert world.job("e") == ("done", "ok", True, None)
    world.run(9, w=-5)
    assert world.job("e")[:3] == ("done", "ok", False)	# an hour old: it still counts
    world.run(9.5, w=5)
    state, reason, truth, error = world.job("e")
    assert (state, reason, truth) == ("skipped", "expired", None)
    assert error == "stale: v (as of 2026-05-01T08:00:00Z)"
    assert world.db.all("select value, bool_value from tocsin.evidence") == [(False, False)]
    assert world.db.one("select value from tocsin.variable where name = 'v'") == 1
    world.run(10, v=2, w=1)
    assert world.job("e") == ("done", "ok", True, None)


def test_a_value_that_was_computed_is_never_stale(world):
    world.load(EVENT, v="max_age = 0")
    for hour in (8, 9, 100):
        world.run(hour, v=1)
        assert world.job("e") == ("done", "ok", True, None)
    assert world.db.one("select count(*) from tocsin.job where stale") == 0


def test_without_max_age_the_oldest_value_counts(world):
    world.load(EVENT, "e = 'v + w > 0'", v="", w="")
    world.run(8, v=5, w=1).run(500, w=1)
    assert world.job("e") == ("done", "ok", True, None)


def test_what_was_never_computed_is_none_whatever_its_max_age(world):
    world.load(EVENT, "e = 'v is None and w > 0'", v="max_age = 1", w="")
    world.run(8, w=1)
    assert world.job("e") == ("done", "ok", True, None)


def test_the_age_is_counted_between_instants_and_not_by_the_clock(world):
    # Both cycles run within a second; and a value of later is not old.
    world.load(EVENT, "e = 'v + w > 0'", v="max_age = '1h'", w="")
    world.run(8, v=1, w=1).run(11, w=1)
    assert world.job("e")[1] == "expired"
    world.run(7, w=1)
    assert world.job("e") == ("done", "ok", True, None)
    assert world.db.one("select as_of::text from tocsin.variable where name = 'v'") == (
        "2026-05-01 08:00:00+00")


def test_a_variable_that_is_not_active_grows_old_too(world):
    world.load(EVENT, "e = 'v + w > 0'", v="max_age = '1h'", w="")
    world.run(8, v=1, w=1)
    world.load(EVENT, "e = 'v + w > 0'", v="max_age = '1h'\nactive = false", w="")
    world.run(9, w=1)
    assert world.job("e")[:2] == ("done", "ok")
    world.run(10, w=1)
    assert world.job("e")[:2] == ("skipped", "expired")


def test_a_new_max_age_counts_from_the_next_plan(world):
    world.load(EVENT, "e = 'v + w > 0'", v="", w="")
    world.run(8, v=1, w=1).run(10, w=1)
    assert world.job("e")[:2] == ("done", "ok")
    world.load(EVENT, "e = 'v + w > 0'", v="max_age = 3600.5", w="")
    world.run(10, w=1)
    assert world.job("e")[:2] == ("skipped", "expired")


def test_an_evidence_without_any_new_input_is_unknown_by_a_stale_one_alone(world):
    world.load("[events.x]\ndefinition = \"e or f\"", "e = 'v > 0'; f = 'w > 0'",
               v="max_age = '1h'", w="")
    world.run(8, v=1, w=-1)
    assert world.job("x")[2] is True
    world.run(9, w=-1)
    assert world.job("e")[:2] == ("skipped", "upstream")	# its truth of 8 o'clock counts
    assert world.job("x")[2] is True
    world.run(10, w=-1)
    assert world.job("e")[:3] == ("skipped", "expired", None)
    assert world.job("x") == ("done", "ok", None, None)
    assert world.cycles.event("x") == ("raising", "do_nothing", 2)


def test_show_and_explain_name_what_is_stale(world):
    world.load("[events.x]\ndefinition = \"e or f\"", "e = 'v > 0'; f = 'w > 0'",
               v="max_age = '1h'", w="")
    world.run(8, v=1, w=-1).run(10, w=-1)
    explained = world.explain("x")
    e, f = explained["evidences"]
    assert (e["truth"], e["reason"], f["truth"]) == (None, "expired", False)
    v, w = e["variables"][0], f["variables"][0]
    assert (v["stale"], v["max_age"], v["as_of"]) == (True, "1h", "2026-05-01T08:00:00+00:00")
    assert (w["stale"], w["max_age"]) == (False, None)
    text = world.cycles.tocsin("explain", "x").stdout
    assert "its value as of 2026-05-01 08:00:00Z is stale: max_age is 1h" in text
    assert "e is unknown: v > 0  skipped: stale: v (as of 2026-05-01T08:00:00Z)" in text
    # As of now, which is long after.
    assert world.cycles.tocsin("show", "v", "--json").json()["stale"] is True
    assert world.cycles.tocsin("show", "w", "--json").json()["stale"] is False
    assert "(stale)" in world.cycles.tocsin("show", "v").stdout


# What unknown does to an event

POLICIES = [None, "keep", "raise", "clear"]
SHAPES = {"e": "alone", "not e": "alone", "e and a": "beside", "not e and a": "beside"}
KINDS = {"basic": "interval = '1h'", "held": "interval = '1h'\ntime_to_wait = '3h'",
         "rule": "rrule = 'FREQ=HOURLY'\ndtstart = 2020-01-01T00:00:00Z"}


def every_event():
    """name -> (policy, shape, kind) of every combination"""
    return {f"x{n}": of for n, of in enumerate(product(POLICIES, SHAPES, KINDS))}


def define(policy, shape, kind):
    return f"definition = '{shape}'\n{KINDS[kind]}" + (
        f"\non_unknown = '{policy}'" if policy else "")


def follow(kind, state, hold, truth):
    """state, action and hold after an evaluation that came to TRUTH"""
    if truth is None:
        return state, "do_nothing", hold
    if kind == "rule":
        return ("raising", "raise", 0) if truth else ("not_raising", "do_nothing", 0)
    hold = hold + 1 if truth else 0
    after = truth and (state == "raising" or hold >= (3 if kind == "held" else 1))
    return ("raising" if after else "not_raising",
            {(False, False): "do_nothing", (False, True): "raise", (True, True): "continue_raising",
             (True, False): "stop_raising"}[state == "raising", after], hold)


@pytest.mark.parametrize("first", [1, -1])
def test_unknown_is_what_each_event_makes_of_it(world, first):
    events = every_event()
    world.load("\n".join(f"[events.{name}]\n{define(*of)}" for name, of in events.items()),
               "e = 'v > 0'; a = 'w > 0'", v="max_age = '1h'", w="")
    standing = {name: ("not_raising", "do_nothing", 0) for name in events}
    # Unknown twice, once missing and once stale, so that holds can fill up.
    for at, v in ((8, None), (9, first), (10, first), (12, None), (12.5, None), (13, -first)):
        world.run(at, w=1, **({} if v is None else {"v": v}))
        jobs = {name: rest for name, *rest in world.db.all("""
            select name, state, reason, truth, note from tocsin.job
             where kind = 'event' and run_id = %s""", world.cycles.last())}
        for name, (policy, shape, kind) in events.items():
            where = f"{at}: {policy} {shape} {kind}"
            known = None if v is None else (v > 0) != shape.startswith("not")
            truth = {"raise": True, "clear": False}.get(policy) if known is None else known
            if known is None and SHAPES[shape] == "alone" and truth is None:
                assert jobs[name] == ["skipped", "upstream", None, None], where
                continue
            state, reason, found, note = jobs[name]
            assert (state, reason, found) == ("done", "ok", truth), where
            assert note == (None if known is not None else "unknown for want of e: " + {
                "raise": "on_unknown makes it true", "clear": "on_unknown makes it false"}.get(
                    policy, "state and hold stay")), where
            standing[name] = follow(kind, standing[name][0], standing[name][2], truth)
            assert standing[name][1] == world.cycles.signals().get(name, "do_nothing"), where
        found = {name: tuple(rest) for name, *rest in world.db.all(
            "select name, state, action, hold from tocsin.event")}
        assert found == standing, at


def test_an_event_that_is_not_unknown_is_skipped_without_input_whatever_it_says(world):
    world.load("[events.x]\ndefinition = 'e'\non_unknown = 'raise'", v="max_age = '2h'")
    world.run(8, v=-1).run(9)
    assert world.job("e")[:2] == ("skipped", "upstream")
    assert world.job("x")[:2] == ("skipped", "upstream")
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 0)
    world.run(10.5)
    assert world.job("x")[:3] == ("done", "ok", True)


def test_an_event_is_not_unknown_before_all_is_known_about_it(world):
    # What is slow may still decide it.
    world.load("[events.x]\ndefinition = 'e or s'\non_unknown = 'raise'",
               "e = 'v > 0'; s = 'slow > 0'", v="max_age = 0", slow="max_age = 0")
    world.run(8, v=1, slow=1)
    world.cycles.load("[variables.slow]\nmax_age = 0\nsql = \"\"\"select -1 from (select"
                      " pg_advisory_lock(7)) l\"\"\"")
    holder = world.db.connect()
    holder.cursor().execute("select pg_advisory_lock(7)")
    world.db.run("delete from world")
    world.cycles.due_again()
    cycle = world.cycles.spawn("--at", instant(9), "--force")
    world.cycles.wait_for_job("e", "skipped")
    assert world.cycles.job("x", "state") == "waiting"
    holder.close()
    cycle.wait()
    assert world.job("x")[:3] == ("done", "ok", True)
    assert world.job("s")[:3] == ("done", "ok", False)


def test_explain_names_what_is_missing(world):
    world.load("[events.x]\ndefinition = 'e or f or g'\non_unknown = 'raise'",
               "e = 'v + 1 > 0'; f = 'u > 0'; g = 'w > 0'", v="max_age = '1h'", w="", u="")
    world.run(8, v=-1, w=-1).run(10, w=-1)
    explained = world.explain("x")
    assert explained["missing"] == [
        {"evidence": "e", "variable": "v", "why": "stale"},
        {"evidence": "f", "variable": "u", "why": "never computed"}]
    assert explained["note"] == "unknown for want of e, f: on_unknown makes it true"
    assert (explained["truth"], explained["on_unknown"]) == (True, "raise")
    text = world.cycles.tocsin("explain", "x").stdout
    assert "  unknown for want of e, f: on_unknown makes it true\n" in text
    assert "  missing: e, for want of v (stale)\n" in text
    assert "  missing: f, for want of u (never computed)\n" in text
    note = world.db.one("select decided_by ->> 'note' from tocsin.signal order by run_id desc limit 1")
    assert note == explained["note"]


# Gaps, and cycles of the past

HELD = "[events.x]\ndefinition = 'e'\ninterval = '1h'\ntime_to_wait = '3h'"


def note(world):
    return world.db.one("select note from tocsin.job where kind = 'event' and run_id = %s",
                        world.cycles.last())


def test_a_gap_longer_than_three_intervals_begins_the_hold_afresh_and_says_so(world):
    world.load(HELD, v="")
    world.run(0, v=1).run(3, v=1)
    assert (world.cycles.event("x"), note(world)) == (("not_raising", "do_nothing", 2), None)
    world.run(6.5, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)
    said = ("the hold of 2 begins afresh: the last evaluation, as of 2026-05-01T03:00:00Z, "
            "is 3h30m ago, and max_gap is 3h (where cycles are that far apart, a longer one "
            "lets the hold go on)")
    assert note(world) == said and world.explain("x")["note"] == said
    assert said in world.cycles.tocsin("explain", "x").stdout
    world.run(7, v=1).run(8, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 3)
    world.run(90, v=1)	# what raises goes on
    assert world.cycles.event("x") == ("raising", "continue_raising", 1)


def test_a_gap_is_told_in_the_log(world):
    world.load(HELD, v="")
    world.run(0, v=1)
    world.db.run("update tocsin.event set next_call = '-infinity'")
    r = world.cycles.run_at(instant(20))
    assert "hold did not go on" in r.stderr and "event=x" in r.stderr
    assert "max_gap is 3h (where cycles are that far apart" in r.stderr


def test_where_cycles_come_seldom_a_longer_max_gap_fills_the_hold(world):
    """Every cycle says what is wrong, and what it says mends it."""
    world.load(HELD, v="")
    for hour in (0, 4, 8, 12, 16):
        world.run(hour, v=1)
        assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)
    assert "a longer one lets the hold go on" in world.cycles.tocsin("explain", "x").stdout
    world.load(HELD + "\nmax_gap = '4h'", v="")
    world.run(20, v=1).run(24, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 3)
    assert note(world) is None


def test_max_gap_is_the_users(world):
    world.load(HELD + "\nmax_gap = '12h'", v="")
    world.run(0, v=1).run(12, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 2)
    world.run(24.5, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)


def test_what_did_not_run_neither_counts_nor_resets(world):
    world.load(HELD, v="")
    world.run(0, v=1).run(1, v=1)
    world.run(2)	# skipped
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 2)
    assert world.db.one("select as_of::text from tocsin.event") == "2026-05-01 01:00:00+00"
    world.run(4, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 3)


def test_what_did_not_run_for_too_long_is_a_gap(world):
    world.load(HELD, v="")
    world.run(0, v=1).run(1, v=1).run(2).run(3).run(4).run(5, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)


def test_an_instant_that_is_not_later_neither_counts_nor_resets(world):
    world.load(HELD, v="")
    world.run(5, v=1).run(5, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)
    assert note(world) == ("not later than its last evaluation, as of 2026-05-01T05:00:00Z: "
                           "the hold stays 1")
    world.run(4, v=-1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 1)
    world.run(6, v=1).run(3, v=1)
    assert world.cycles.event("x") == ("not_raising", "do_nothing", 2)
    world.run(7, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 3)
    assert world.db.one("select as_of::text from tocsin.event") == "2026-05-01 07:00:00+00"
    # The state follows the truth that was found, whenever that was true.
    world.run(2, v=-1)
    assert world.cycles.event("x") == ("not_raising", "stop_raising", 3)


def test_an_event_without_holding_time_follows_its_truth_into_the_past(world):
    world.load(EVENT, v="")
    world.run(5, v=-1).run(4, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 0)
    assert note(world) is None


def test_a_changed_schedule_begins_with_any_instant(world):
    world.load(HELD, v="")
    world.run(50, v=1)
    world.load(HELD.replace("1h", "30m"), v="")
    assert world.cycles.event("x", "as_of") is None
    for hour in (1, 1.5, 2, 2.5, 3, 3.5):
        world.run(hour, v=1)
    assert world.cycles.event("x") == ("raising", "raise", 6)


def test_a_cycle_planned_before_the_schedule_changed_leaves_the_hold_alone(world):
    world.load(HELD, v="")
    world.run(50, v=1)
    world.cycles.load("[variables.v]\nsql = \"select 1 from (select pg_advisory_lock(7)) l\"")
    holder = world.db.connect()
    holder.cursor().execute("select pg_advisory_lock(7)")
    world.cycles.due_again()
    cycle = world.cycles.spawn("--at", instant(51), "--force")
    world.cycles.wait_for_job("v", "running")
    world.load(HELD.replace("1h", "30m"), v="")
    holder.close()
    cycle.wait()
    assert world.job("x")[:2] == ("done", "ok")
    assert world.cycles.event("x", "hold") == 0 and world.cycles.event("x", "as_of") is None


def test_a_worker_decides_unknown_as_the_local_cycle_does(world, broker):
    world.load("[events.x]\ndefinition = 'e'\non_unknown = 'raise'", v="max_age = '1h'")
    world.run(8, v=-1)
    world.db.run("delete from world")
    world.cycles.due_again()
    world.cycles.tocsin.spawn("worker").wait_for("is ready", 20)
    world.cycles.tocsin("cycle", "--wait", "--at", instant(10), "--force", status=1)
    assert world.job("x")[:3] == ("done", "ok", True)
    assert world.cycles.signals() == {"x": "raise"}
