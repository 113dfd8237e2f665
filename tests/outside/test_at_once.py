"""What a settling makes ready it decides itself, as long as that is not too much and
nothing has gone wrong before; the rest comes as messages.  And who holds how many
of those."""

import re
import signal
from collections import Counter
from urllib.parse import urlsplit

import pytest

from cycles import BY_MESSAGE, QUICK
from harness import wait_for
from invariants import books, check  # noqa: F401
from proxy import Amqp, Proxy


@pytest.fixture
def line(broker):
    """A proxy before the broker; .jobs counts what is published of cycles, .env
    leads through it."""
    at = urlsplit(broker.url)

    def count(unit):
        proxy.jobs += unit.name == "basic.publish" and b"\6tocsin" in unit.data
        return unit.data
    with Proxy((at.hostname, at.port), Amqp) as proxy:
        proxy.jobs = 0
        proxy.to_server.rule = count
        proxy.env = {**QUICK, "TOCSIN_BROKER_URL": re.sub(
            r"@[^/]+/", f"@127.0.0.1:{proxy.port}/", broker.url)}
        yield proxy


def cycle_of(cycles, line):
    """Run one with a worker behind LINE: how many messages has that sent?"""
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env=line.env)
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK)
    assert worker.stop() == 0
    check(cycles.db)
    return line.jobs


def as_if_claimed(cycles):
    assert cycles.db.all("select distinct attempts, fence, worker is not null,"
                         " started_at <= finished_at from tocsin.job") == [(1, 1, True, True)]


def test_few_evidences_and_events_need_no_message(cycles, line):
    cycles.load("".join(f"""
        variables.v{n}.sql = "select {n}"
        evidences.e{n}.definition = "v{n} + v{(n + 1) % 20} > 10"
        events.x{n}.definition = "e{n} and e{(n + 7) % 20}"
        """ for n in range(20)))
    assert cycle_of(cycles, line) == 0
    truths = [n + (n + 1) % 20 > 10 for n in range(20)]
    assert cycles.signals() == {f"x{n}": "raise" for n in range(20)
                                if truths[n] and truths[(n + 7) % 20]}
    as_if_claimed(cycles)


def test_too_many_for_one_transaction_are_sent(cycles, line):
    cycles.load('variables.v.sql = "select 1"\n' + "".join(f"""
        evidences.e{n}.definition = "v == {n % 2}"
        """ for n in range(3000)) + f"""
        events.every.definition = "count({', '.join(f'e{n}' for n in range(3000))}) == 1500"
        """)
    sent = cycle_of(cycles, line)
    assert (3000 - 2048) // 64 <= sent <= 2 * (3000 - 2048) // 64
    assert cycles.signals() == {"every": "raise"}
    as_if_claimed(cycles)


def test_an_event_is_decided_once_though_its_last_evidence_comes_with_it(cycles, line, tmp_path):
    """In one batch: the outcome of an evidence that decides the event early, and the
    variable from which its other evidence follows at once."""
    cycles.load(f"""
        variables.large.shell = "printf '\\"%9000s\\"' x"
        variables.before.shell = "while [ ! -e {tmp_path}/before ]; do sleep 0.01; done; echo 1"
        variables.last.shell = "while [ ! -e {tmp_path}/last ]; do sleep 0.01; done; echo 1"
        evidences.of_large.definition = "len(large) == 9000"
        evidences.of_both.definition = "before == 1 and last == 1"
        events.either.definition = "of_large or of_both"
        """)
    cycles.db.run("""
        create function linger() returns trigger language plpgsql as $$ begin
            perform pg_sleep(0.7);
            return new;
        end $$;
        create trigger linger before update on tocsin.variable for each row
            when (new.name <> 'last') execute function linger()""")

    def settling(name):
        return cycles.db.one("select count(*) from pg_stat_activity where query like"
                             " 'with s as (select x.id%' and wait_event = 'PgSleep'") and \
            cycles.db.one("select count(*) from tocsin.job where name = %s"
                          " and state = 'running'", name)
    worker = cycles.tocsin.spawn("worker", "--executors", "shell", "-c", 4, env=line.env)
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: settling("large"), 20)
    (tmp_path / "before").touch()
    wait_for(lambda: not settling("large") and settling("before"), 20)
    (tmp_path / "last").touch()
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert worker.stop() == 0
    check(cycles.db)
    assert line.jobs == 1       # of_large
    as_if_claimed(cycles)
    assert cycles.signals() == {"either": "raise"}


def test_large_values_are_handed_to_a_job_of_its_own(cycles, line):
    cycles.load("""
        variables.large.sql = "select string_agg(md5(n::text), '') from generate_series(1, 1000) n"
        variables.small.sql = "select 1"
        evidences.of_large.definition = "'c4ca4238' in large and small == 1"
        evidences.of_small.definition = "small == 1"
        events.both.definition = "of_large and of_small"
        """)
    assert cycle_of(cycles, line) == 1
    assert cycles.signals() == {"both": "raise"}
    assert "(larger than 8 KiB)" in cycles.db.one("select decided_by::text from tocsin.signal")
    as_if_claimed(cycles)


GRAPH = """
    variables.v.sql = "select 1"
    variables.never.sql = "select 1 / 0"
    evidences.e.definition = "v == 1 and never is None"
    events.x.definition = "e"
    """


def test_nobody_is_blamed_for_what_he_feeds(cycles, broker):
    """A worker that dies while it decides takes with it what it was settling; from
    then on each job stands for itself, and the guilty one alone is lost."""
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    deadly = {**QUICK, "TOCSIN_FAILPOINT": "worker.decide=kill"}
    for attempts in (0, 1, 2, 3):
        worker = cycles.tocsin.spawn("worker", env=deadly)
        assert worker.wait(20) == -signal.SIGKILL
        assert cycles.job("e", "attempts") == attempts
        check(cycles.db, open_runs=True)
    cycles.tocsin.spawn("worker", env=deadly)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    assert cycles.job("v", "state") == "done"
    assert cycles.job("never", "state, reason") == ("failed", "error")
    assert cycles.db.one("select max(attempts) from tocsin.job where kind = 'variable'") == 2
    assert cycles.job("e", "state, reason") == ("failed", "lost")
    assert cycles.job("x", "state, reason") == ("skipped", "upstream")


def test_what_was_never_computed_is_null_in_the_signal(cycles):
    cycles.load(GRAPH)
    cycles.run(status=1)
    evidence, = cycles.db.one("select decided_by -> 'evidences' from tocsin.signal")
    values = {v["name"]: (v["value"], v["computed_at"] is None, v["state"], v["reason"])
              for v in evidence["variables"]}
    assert values == {"v": (1, False, "done", "ok"), "never": (None, True, "failed", "error")}


def test_slow_variables_are_left_to_others_though_quick_ones_came_before(cycles, broker):
    """A worker that has got used to quick ones holds hundreds of messages."""
    cycles.load("".join(f"""
        variables.quick{n}.sql = "select 1"
        evidences.q{n}.definition = "quick{n} == 1"
        events.quick{n} = {{ definition = "q{n}", agent = "quick", interval = 0 }}
        """ for n in range(300)) + "".join(f"""
        variables.slow{n}.sql = "select 1 from pg_sleep(0.5)"
        evidences.s{n}.definition = "slow{n} == 1"
        events.slow{n} = {{ definition = "s{n}", agent = "slow" }}
        """ for n in range(100)))
    first = cycles.tocsin.spawn("worker", "-c", 4, env=QUICK)
    first.wait_for("worker is ready", 20)
    for _ in range(2):
        cycles.tocsin("cycle", "--agent", "quick", "--wait", env=QUICK)
    cycles.tocsin("cycle", "--agent", "slow", env=QUICK)
    wait_for(lambda: not broker.depth("tocsin"), 10)	# it has them all
    cycles.tocsin.spawn("worker", "-c", 4, env=QUICK).wait_for("worker is ready", 20)
    wait_for(lambda: cycles.state() == "DONE", 60)
    shares = Counter(cycles.db.all("select worker from tocsin.job where run_id = %s"
                                   " and kind = 'variable'", cycles.last()))
    assert len(shares) == 2 and min(shares.values()) >= 25, shares
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1


def test_what_cannot_be_stored_fails_alone_though_it_was_decided_at_once(cycles):
    cycles.load(r"""
        variables.v.sql = "select 1"
        evidences.bad.definition = '"a\u0000" if v == 1 else "b"'
        evidences.good.definition = "v == 1"
        events.x.definition = "good"
        events.y.definition = "bad"
        """)
    cycles.run(status=1)
    assert cycles.jobs() == {"v": "done", "bad": "failed", "good": "done",
                             "event x": "done", "event y": "skipped"}
    assert "cannot be stored" in cycles.job("bad", "error")
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert cycles.signals() == {"x": "raise"}


def test_a_worker_that_dies_among_many_quick_ones_is_replaced(cycles, broker):
    """It had claimed more than it had hands for; each of those runs alone then, among
    others that need not."""
    cycles.load("".join(f"""
        variables.v{n}.sql = "select 1"
        evidences.e{n}.definition = "v{n} == 1"
        """ for n in range(300)) + f"""
        events.every.definition = "count({', '.join(f'e{n}' for n in range(300))}) == 300"
        """)
    cycles.tocsin("cycle", env=QUICK)
    dying = cycles.tocsin.spawn("worker", env={
        **QUICK, "TOCSIN_FAILPOINT": "worker.after_claim=kill@4"})
    assert dying.wait(20) == -signal.SIGKILL
    held = cycles.db.one("select count(*) from tocsin.job where state = 'running'")
    assert 8 < held < 200
    check(cycles.db, open_runs=True)
    wait_for(lambda: cycles.db.one("select max(lease_until) < now() - interval '2.1 s' from tocsin.job"), 20)
    assert "which had stood still" in cycles.tocsin("cycle", env=QUICK).stdout
    cycles.tocsin.spawn("worker", env=QUICK)
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.signals() == {"every": "raise"}
    assert cycles.db.all("select attempts, count(*) from tocsin.job where kind = 'variable'"
                         " group by 1 order by 1") == [(1, 300 - held), (2, held)]


# What is done is remembered

TOLD = """
    variables.fast.sql = "select 21"
    variables.slow.shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 2"
    variables.never.sql = "select 1 / 0"
    evidences.of_fast = {{ definition = "fast", operator = ">", operand = 20 }}
    evidences.of_both.definition = "fast * slow == 42"
    evidences.of_none.definition = "never is None and slow == 2"
    events.x.definition = "of_both and (of_fast or of_none)"
    """
CHANGING = ("computed_at", "age", "hold")


def without_what_changes(told):
    """And without the order of keys."""
    if isinstance(told, dict):
        return {k: without_what_changes(v) for k, v in told.items() if k not in CHANGING}
    return [without_what_changes(x) for x in told] if isinstance(told, list) else told


def test_a_signal_tells_the_same_whoever_has_settled_what(cycles, broker, tmp_path):
    """All at once, by messages, and by one worker that takes over from another."""
    gate = tmp_path / "gate"
    cycles.load(TOLD.format(gate=gate))

    def told():
        cycles.wait_for_job("x", "done")
        told = cycles.db.one("select decided_by from tocsin.signal where run_id = %s", cycles.last())
        for evidence in told["evidences"]:
            for variable in evidence["variables"]:
                if variable["name"] != "never":
                    assert variable["computed_at"] and 0 <= variable["age"] < 60, variable
        return without_what_changes(told)

    def cycle(*envs):
        """With a worker of each environment, one after the other: the second does slow."""
        gate.unlink(missing_ok=True)
        cycles.due_again()
        cycles.tocsin("cycle", env=QUICK)
        for env in envs:
            worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env={**QUICK, **env})
            if env is envs[-1]:
                gate.touch()
            else:
                cycles.wait_for_job("fast", "done")
                cycles.wait_for_job("never", "failed")
                worker.kill()
        found = told()
        assert worker.stop() == 0
        check(cycles.db)
        return found
    at_once = cycle({})
    assert [e["name"] for e in at_once["evidences"]] == ["of_both", "of_fast", "of_none"]
    assert at_once["evidences"][1]["operator"] == ">" and at_once["evidences"][1]["operand"] == 20
    assert {v["name"]: (v["value"], v["state"], v["stale"])
            for e in at_once["evidences"] for v in e["variables"]} == {
        "fast": (21, "done", False), "slow": (2, "done", False), "never": (None, "failed", False)}
    assert cycle(BY_MESSAGE) == at_once
    assert cycle({}, {}) == at_once
    assert cycle(BY_MESSAGE, {}) == at_once
    assert cycle({}, BY_MESSAGE) == at_once


def test_nothing_is_remembered_of_books_that_were_set_back(cycles, broker, tmp_path):
    """A restored backup gives the numbers of its cycles once more."""
    cycles.db.run("create table number (n integer); insert into number values (1)")
    cycles.load("""
        variables.number.sql = "select n from number"
        variables.later.sql = "select 1 from pg_sleep(0.3)"
        evidences.large.definition = "number + later > 10"
        events.x.definition = "large"
        """)
    worker = cycles.tocsin.spawn("worker", env=QUICK)

    def cycle():
        cycles.due_again()
        cycles.tocsin("cycle", "--wait", env=QUICK)
        return cycles.last(), cycles.signals(), cycles.db.one("select value from tocsin.variable"
                                                              " where name = 'number'")
    assert cycle() == (1, {}, 1)
    cycles.db.run("truncate tocsin.run, tocsin.job, tocsin.signal, tocsin.delivery, tocsin.history")
    cycles.db.run("alter sequence tocsin.run_id_seq restart; update number set n = 20")
    cycles.db.run("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where datname = current_database() and pid <> pg_backend_pid()")
    assert cycle() == (1, {"x": "raise"}, 20)
    assert worker.stop() == 0
