"""What is done about a signal: what is seen of it, when, and how often."""

import json

import pytest

from harness import definitions, wait_for
from invariants import books  # noqa: F401

EVENT = """
    [variables.text]
    sql = "select repeat('x', :n)"
    args = {{ n = {size} }}
    [evidences.there]
    definition = "text != ''"
    [events.bell]
    definition = "there"
    interval = 0
    [reactions.ring]
    events = ["bell"]
    level = "alarm"
    {reaction}
"""


def ring(tmp_path, tocsin, reaction, size=10, status=0, env=None):
    tocsin("init")
    tocsin("load", definitions(tmp_path, EVENT.format(size=size, reaction=reaction)))
    tocsin("cycle", "--local", status=status, env=env)


def test_a_command_gets_the_signal(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, f"""command = 'env | grep ^TOCSIN_ | grep -v ^TOCSIN_JOB= > {tmp_path}/env
        cat > {tmp_path}/signal'""".replace("\n        ", "; "))
    run, key = db.one("select run_id, key::text from tocsin.delivery where state = 'delivered'")
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen == {"TOCSIN_EVENT": "bell", "TOCSIN_SIGNAL": "raise", "TOCSIN_LEVEL": "alarm",
                    "TOCSIN_CYCLE": str(run), "TOCSIN_KEY": key}
    signal = json.loads((tmp_path / "signal").read_text())
    assert (signal["event"], signal["signal"], signal["key"]) == ("bell", "raise", key)


def test_a_command_that_fails_is_told_in_its_delivery(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, "command = 'echo no bell >&2; exit 3'", status=None)
    assert db.one("select state, attempts, error from tocsin.delivery") == \
        ("pending", 1, "exit status 3: no bell")


def test_a_command_whose_output_cannot_be_read_has_failed(tmp_path, db, tocsin, failpoints):
    ring(tmp_path, tocsin, "command = 'echo; sleep 60'", status=None,
         env={"TOCSIN_FAILPOINT": "child.read=error@1"})
    assert db.one("select state, attempts, error from tocsin.delivery") == \
        ("pending", 1, "the output cannot be read: Input/output error")


def test_a_command_has_a_time_limit(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, "command = 'sleep 600'\n    time_limit = '1s'", status=None)
    assert db.one("select error from tocsin.delivery") == "soft time limit (1s) exceeded"


def heard(listener):
    listener.poll()
    return [json.loads(notice.payload) for notice in listener.notifies]


def listen(db):
    listener = db.connect()
    listener.cursor().execute("listen alarms")
    return listener


def test_a_listener_gets_the_signal(tmp_path, db, tocsin):
    listener = listen(db)
    ring(tmp_path, tocsin, 'notify = "alarms"')
    wait_for(lambda: heard(listener))
    [signal] = heard(listener)
    assert (signal["event"], signal["signal"]) == ("bell", "raise")
    listener.close()


def test_a_signal_too_large_for_notify_is_announced(tmp_path, db, tocsin):
    listener = listen(db)
    ring(tmp_path, tocsin, 'notify = "alarms"', size=8000)
    wait_for(lambda: heard(listener))
    run, key = db.one("select run_id, key::text from tocsin.delivery where state = 'delivered'")
    [signal] = heard(listener)
    assert signal == {"event": "bell", "signal": "raise", "cycle": run, "level": "alarm",
                      "key": key, "truncated": True}
    listener.close()


# When, and how often

LEVER = """
    [variables.lever]
    sql = "select on_off from lever"
    [evidences.pulled]
    definition = "lever"
    [events.bell]
    definition = "pulled"
    interval = 0
    """


@pytest.fixture
def lever(cycles, tmp_path):
    """lever.pull(True): a cycle in which it is pulled; lever.lines: what was written."""
    cycles.db.run("create table lever (on_off boolean)")
    cycles.db.run("insert into lever values (false)")
    sink = tmp_path / "sink"
    cycles.sink = sink

    def pull(on_off, *args, **options):
        cycles.db.run("update lever set on_off = %s", on_off)
        return cycles.run(*args, **options)
    cycles.pull = pull
    cycles.lines = lambda: sink.read_text().split() if sink.exists() else []
    cycles.delivery = lambda columns="state, attempts, error": cycles.db.one(
        f"select {columns} from tocsin.delivery")
    return cycles


STORY = (False, True, True, False, False, True)


@pytest.mark.parametrize("on, heard", [
    ("", ["raise", "stop_raising", "raise"]),
    ('on = ["continue_raising"]', ["continue_raising"]),
    ('on = ["raise", "continue_raising", "stop_raising"]',
     ["raise", "continue_raising", "stop_raising", "raise"]),
])
def test_a_reaction_is_to_the_signals_that_it_names(lever, on, heard):
    lever.load(LEVER + f"""
        [reactions.tell]
        events = ["bell"]
        {on}
        command = 'echo "$TOCSIN_SIGNAL" >>{lever.sink}'
        """)
    for on_off in STORY:
        lever.pull(on_off)
    assert lever.lines() == heard
    assert lever.db.all("select distinct state, attempts from tocsin.delivery") == [
        ("delivered", 1)]


def test_every_reaction_to_an_event_is_done_once(lever):
    """More of them than are attempted at once."""
    lever.load(LEVER + "".join(f"""
        [reactions.number_{n}]
        events = ["bell"]
        level = "level{n}"
        command = 'echo "{n}:$TOCSIN_LEVEL:$TOCSIN_KEY" >>{lever.sink}'
        """ for n in range(20)))
    lever.pull(True)
    lines = [line.split(":") for line in lever.lines()]
    assert sorted(int(n) for n, _, _ in lines) == list(range(20))
    assert all(level == "level" + n for n, level, _ in lines)
    assert {key for _, _, key in lines} == set(lever.db.all("select key::text from tocsin.delivery"))
    # the next cycle finds nothing to do
    lever.run()
    assert len(lever.lines()) == 20


@pytest.mark.fault("F-E13")
def test_what_is_measured_never_becomes_a_command(lever, tmp_path):
    hostile = """x'; touch pwned; "$(touch pwned)" `touch pwned` \n touch pwned & | \\"""
    lever.db.run("create table data (data text)")
    lever.db.run("insert into data values (%s)", hostile)
    lever.load(LEVER.replace("select on_off from lever", "select data from data") + f"""
        description = {json.dumps(hostile)}
        [reactions.tell]
        events = ["bell"]
        level = {json.dumps(hostile)}
        command = 'cat >{lever.sink}; echo $TOCSIN_EVENT $TOCSIN_LEVEL >/dev/null'
        """)
    lever.run()
    assert lever.delivery("state") == "delivered"
    signal = json.loads(lever.sink.read_text())
    variable, = signal["decided_by"]["evidences"][0]["variables"]
    assert variable["value"] == hostile and signal["level"] == hostile
    assert signal["description"] == hostile
    assert not list(tmp_path.rglob("pwned"))


def test_the_signal_is_whole(lever):
    lever.load(LEVER + f"""
        owner = "treasury"
        severity = "high"
        runbook = "https://example.com/"
        tags = ["a", "b"]
        [reactions.tell]
        events = ["bell"]
        command = 'cat >{lever.sink}'
        """)
    lever.pull(True)
    signal = json.loads(lever.sink.read_text())
    key, run = lever.db.one("select key::text, run_id from tocsin.delivery")
    assert {k: signal[k] for k in signal if k not in ("at", "as_of", "decided_by")} == {
        "event": "bell", "signal": "raise", "cycle": run, "reaction": "tell", "key": key,
        "agent": "default", "hold": 1, "level": "info", "description": None,
        "owner": "treasury", "severity": "high", "runbook": "https://example.com/",
        "tags": ["a", "b"]}
    evidence, = signal["decided_by"]["evidences"]
    assert evidence["truth"] is True and evidence["variables"][0]["value"] is True


FAILING = LEVER + """
    [reactions.tell]
    events = ["bell"]
    command = 'echo "$TOCSIN_KEY" >>{sink}; {then}'
    """


def test_a_command_that_fails_is_tried_again_later_with_the_same_key(lever, tmp_path):
    works = tmp_path / "works"
    lever.load(FAILING.format(sink=lever.sink, then=f"test -e {works} || exit 9"))
    lever.pull(True, env={"TOCSIN_DELIVERY_BACKOFF": "1h"})
    assert lever.delivery() == ("pending", 1, "exit status 9")
    assert 3500 < lever.delivery("extract(epoch from due_at - now())") <= 3600
    lever.run("--agent", "another")		# it is not due yet
    assert len(lever.lines()) == 1
    lever.db.run("update tocsin.delivery set due_at = now()")
    lever.run("--agent", "another", env={"TOCSIN_DELIVERY_BACKOFF": "1h"})
    assert lever.delivery() == ("pending", 2, "exit status 9")
    assert 7100 < lever.delivery("extract(epoch from due_at - now())") <= 7200
    works.touch()
    lever.db.run("update tocsin.delivery set due_at = now()")
    lever.run("--agent", "another")
    assert lever.delivery() == ("delivered", 3, None)
    assert lever.lines() == 3 * [lever.delivery("key::text")]


def test_a_delivery_fails_when_its_attempts_are_used_up(lever):
    lever.load(FAILING.format(sink=lever.sink, then="echo no >&2; exit 9"))
    env = {"TOCSIN_DELIVERY_BACKOFF": "0s", "TOCSIN_DELIVERY_ATTEMPTS": 3}
    lever.pull(True, env=env)
    lever.run("--agent", "another", env=env)
    assert lever.delivery() == ("failed", 3, "exit status 9: no")
    assert len(lever.lines()) == 3
    # a run does not wait for its deliveries, nor fail with them
    assert lever.db.all("select distinct state from tocsin.run") == ["DONE"]


def test_a_delivery_is_what_was_planned_whatever_is_loaded_later(lever, tmp_path):
    works = tmp_path / "works"
    lever.load(FAILING.format(sink=lever.sink, then=f"test -e {works}"))
    lever.pull(True, env={"TOCSIN_DELIVERY_BACKOFF": "1h"})
    lever.load(LEVER, "--prune")
    works.touch()
    lever.db.run("update tocsin.delivery set due_at = now()")
    lever.run()
    assert lever.delivery("state, attempts") == ("delivered", 2)
    assert len(lever.lines()) == 2


def test_a_reaction_that_takes_longer_than_a_lease_is_done_once(lever):
    """Beside one that ends in between, so that somebody looks what is due."""
    lever.load(LEVER + f"""
        [reactions.long]
        events = ["bell"]
        command = 'echo long >>{lever.sink}; sleep 2'
        [reactions.shorter]
        events = ["bell"]
        command = 'echo shorter >>{lever.sink}; sleep 1.2'
        """)
    lever.pull(True, env={"TOCSIN_LEASE": "600ms"})
    assert sorted(lever.lines()) == ["long", "shorter"]
    assert lever.db.all("select state, attempts from tocsin.delivery") == 2 * [("delivered", 1)]


def test_who_may_not_run_commands_leaves_their_deliveries_alone(lever):
    listener = listen(lever.db)
    lever.load(LEVER + f"""
        [reactions.by_command]
        events = ["bell"]
        command = 'echo "$TOCSIN_KEY" >>{lever.sink}'
        [reactions.by_notify]
        events = ["bell"]
        notify = "alarms"
        """)
    lever.pull(True, "--executors", "sql")
    assert lever.db.all("select reaction, state, attempts from tocsin.delivery order by 1") == [
        ("by_command", "pending", 0), ("by_notify", "delivered", 1)]
    assert lever.lines() == []
    # and whoever may, does
    lever.run("--agent", "another")
    assert lever.db.all("select distinct state from tocsin.delivery") == ["delivered"]
    assert len(lever.lines()) == 1
    wait_for(lambda: heard(listener))
    assert [n["key"] for n in heard(listener)] == lever.db.all(
        "select key::text from tocsin.delivery where reaction = 'by_notify'")
    listener.close()


def test_a_reaction_that_is_not_active_does_nothing(lever):
    lever.load(LEVER + f"""
        [reactions.tell]
        events = ["bell"]
        active = false
        command = 'echo rung >>{lever.sink}'
        """)
    lever.pull(True)
    assert lever.signals() == {"bell": "raise"}
    assert lever.lines() == [] and lever.delivery() is None
