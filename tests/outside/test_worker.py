"""Cycles over AMQP: the agent, the broker, the workers, and what they survive."""

import json
import signal
import uuid

import pytest

from cycles import BY_MESSAGE, QUICK
from harness import wait_for
from invariants import check

GRAPH = """
    [variables]
    a.sql = "select 1"
    b.sql = "select 2"
    c.sql = "select 3 from pg_sleep(0.1)"
    bad.sql = "select 1/0"
    [evidences]
    ea.definition = "a == 1"
    eab.definition = "a + b == 3"
    ec.definition = "c == 4"
    ebad.definition = "bad == 1"
    [events]
    one.definition = "ea and eab"
    two.definition = "ec"
    three.definition = "ebad"
    """


@pytest.fixture
def workers(cycles, broker):
    """workers(n) starts n of them, ready."""
    def start(n, *args, env=None):
        started = [cycles.tocsin.spawn("worker", *args, env={**QUICK, **(env or {})})
                   for _ in range(n)]
        for worker in started:
            worker.wait_for("worker is ready", 20)
        return started
    return start


def is_as_it_should_be(cycles, run=None):
    assert cycles.state(run) == "DONE_WITH_ERRORS"
    assert cycles.jobs(run) == {
        "a": "done", "b": "done", "c": "done", "bad": "failed", "ea": "done", "eab": "done",
        "ec": "done", "ebad": "skipped", "event one": "done", "event two": "done",
        "event three": "skipped"}
    assert cycles.signals(run) == {"one": "raise"}
    check(cycles.db)


def test_a_cycle_over_two_workers_ends(cycles, workers):
    cycles.load(GRAPH)
    workers(2)
    ended = cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert "DONE_WITH_ERRORS, 11 jobs, 1 failed" in ended.stdout
    is_as_it_should_be(cycles)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1


def test_a_message_names_its_jobs_as_celery_does(cycles, broker):
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    assert cycles.state() == "STARTED"
    found = {}
    with broker.connect() as connection:
        channel = connection.channel()
        while message := channel.basic_get("tocsin", no_ack=True):
            found[message.headers["argsrepr"]] = message
    assert sorted(found) == ["('a',)", "('b',)", "('bad',)", "('c',)"]
    a = found["('a',)"]
    assert a.headers["task"] == "tocsin.variable"
    assert a.properties["content_type"] == "application/json"
    assert a.properties["delivery_mode"] == 2
    assert a.properties["correlation_id"] == a.headers["id"]
    args, kwargs, embed = json.loads(a.body)
    assert args == [] and kwargs["run"] == 1 and len(kwargs["jobs"]) == 1
    assert kwargs["installation"] == cycles.db.one("select uuid::text from tocsin.installation")


# --- the agent ---


NOWHERE = {"TOCSIN_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/"}


def test_an_agent_without_a_broker_leaves_the_cycle_for_the_next(cycles, workers):
    cycles.load(GRAPH)
    left = cycles.tocsin("cycle", env={**QUICK, **NOWHERE}, status=75, timeout=10)
    assert len(left.stderr.splitlines()) == 1 and "127.0.0.1:1" in left.stderr
    assert cycles.state() == "CREATED"
    busy = cycles.tocsin("cycle", env={"TOCSIN_LEASE": "60s"})
    assert "has cycle 1 open" in busy.stdout
    assert cycles.tocsin("cycle", "--if-busy", "fail", env={"TOCSIN_LEASE": "60s"},
                         status=1).stderr
    wait_for(lambda: cycles.db.one(
        "select max(queued_at) < now() - interval '2.1 s' from tocsin.job"))
    resumed = cycles.tocsin("cycle", env=QUICK)
    assert "STARTED" in resumed.stdout
    workers(1)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    is_as_it_should_be(cycles)
    assert cycles.db.one("select count(*) from tocsin.run") == 1


def test_a_cycle_without_anything_due_does_not_touch_the_broker(cycles):
    assert "DONE, 0 jobs" in cycles.tocsin("cycle", "--wait", env=NOWHERE).stdout


def test_a_broker_that_refuses_the_agent_is_named(cycles, broker):
    cycles.load(GRAPH)
    url = broker.url.replace("guest:guest", "guest:secret-word")
    refused = cycles.tocsin("cycle", env={**QUICK, "TOCSIN_BROKER_URL": url}, status=75)
    assert "ACCESS_REFUSED" in refused.stderr and "secret-word" not in refused.stderr


def test_an_agent_that_waits_may_be_left(cycles, broker):
    cycles.load(GRAPH)
    waiting = cycles.tocsin.spawn("cycle", "--wait", env=QUICK)
    wait_for(lambda: cycles.db.one("select state from tocsin.run") == "STARTED")
    assert waiting.stop() == 75
    assert "the workers go on with cycle 1" in waiting.stderr


# --- what workers survive ---


GATED = """
    [variables]
    v.shell = "echo x >>{dir}/ran; while [ ! -e {dir}/gate ]; do sleep 0.02; done; echo 1"
    w.shell = "echo 2"
    [evidences]
    ev.definition = "v == 1"
    ew.definition = "w == 2"
    [events]
    e.definition = "ev and ew"
    """


def gated(cycles, directory):
    """Load it, and return what opens the gate."""
    cycles.load(GATED.format(dir=directory))
    return (directory / "gate").touch


def test_a_worker_killed_in_the_middle_is_replaced_after_the_lease(cycles, workers, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, = workers(1, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    cycles.wait_for_job("ew", "done")
    first.kill()
    workers(1, "--executors", "sql,shell")
    open_gate()
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.signals() == {"e": "raise"}
    assert cycles.job("v", "attempts") == 2
    assert cycles.job("w", "attempts") == 1
    check(cycles.db)


def test_a_worker_that_is_stopped_hands_back_without_charging(cycles, workers, broker, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, = workers(1, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    cycles.wait_for_job("ew", "done")
    assert first.stop() == 0
    assert cycles.job("v", "state, attempts, worker, lease_until") == ("queued", 0, None, None)
    wait_for(lambda: broker.depth("tocsin") == 1)
    check(cycles.db, open_runs=True)
    open_gate()
    workers(1, "--executors", "sql,shell")
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert cycles.signals() == {"e": "raise"}


def test_what_ends_within_grace_is_settled_by_the_worker_that_stops(cycles, workers, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, = workers(1, "--executors", "sql,shell", env={"TOCSIN_GRACE": "20s"})
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    first.signal(signal.SIGTERM)
    first.wait_for("stopping")
    open_gate()
    assert first.wait() == 0
    assert cycles.job("v", "state, attempts") == ("done", 1)
    workers(1)
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.signals() == {"e": "raise"}


def test_a_second_signal_ends_a_worker_at_once(cycles, workers, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, = workers(1, "--executors", "sql,shell", env={"TOCSIN_GRACE": "60s"})
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    first.signal(signal.SIGTERM)
    first.wait_for("stopping")
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    open_gate()
    workers(1, "--executors", "sql,shell")
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.signals() == {"e": "raise"}


def test_a_long_variable_is_acknowledged_once_it_is_claimed(cycles, workers, broker, tmp_path):
    """The broker would not keep it for so long; handed back, it is published again."""
    open_gate = gated(cycles, tmp_path)
    first, = workers(1, "--executors", "sql,shell", env={"TOCSIN_CONSUMER_TIMEOUT": "10s"})
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    cycles.wait_for_job("ew", "done")
    wait_for(lambda: "tocsin\t0" in broker.sandbox.rabbitmqctl(
        "list_queues", "-p", broker.vhost, "name", "messages").splitlines())
    assert first.stop() == 0
    assert broker.depth("tocsin") == 1
    open_gate()
    workers(1, "--executors", "sql,shell")
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.job("v", "attempts") == 1


# --- messages ---


def drain(channel):
    messages = []
    while message := channel.basic_get("tocsin", no_ack=True):
        messages.append(message)
    return messages


def test_messages_that_come_three_times_in_any_order_change_nothing(cycles, workers, broker):
    import random

    import amqp
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    with broker.connect() as connection:
        channel = connection.channel()
        messages = drain(channel) * 3
        random.Random(3).shuffle(messages)
        for m in messages:
            channel.basic_publish(amqp.Message(m.body, **m.properties), routing_key="tocsin")
    workers(2)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    wait_for(lambda: broker.depth("tocsin") == 0)
    is_as_it_should_be(cycles)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1


def test_what_cannot_be_understood_is_parked_and_what_is_foreign_is_dropped(
        cycles, workers, broker):
    import amqp
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    with broker.connect() as connection:
        channel = connection.channel()
        good = drain(channel)

        def send(body, **properties):
            channel.basic_publish(amqp.Message(body, **properties), routing_key="tocsin")

        def altered(headers=(), kwargs=(), **properties):
            m = good[0]
            args, kw, embed = json.loads(m.body)
            changed = {**m.properties, "application_headers": {**m.headers, **dict(headers)},
                       **properties}
            send(json.dumps([args, {**kw, **dict(kwargs)}, embed]), **changed)

        send(b"\xff\xfe nothing", content_type="application/json")
        send("[" * 100000, content_type="application/json", application_headers={
            "task": "tocsin.variable", "id": "x"})
        send("x" * 200000)
        send("", application_headers={"task": "tocsin.variable", "id": "x"})
        altered({"task": "proj.tasks.add"})
        altered({"task": "tocsin.reaction"})
        altered(kwargs={"jobs": "all"})
        altered(kwargs={"jobs": [-1]})
        altered(kwargs={"surprise": 1})
        altered(content_type="application/x-python-serialize")
        altered(kwargs={"installation": str(uuid.uuid4())})	# dropped
        altered(kwargs={"jobs": [4711]})			# no such job: nothing to do
        for m in good:
            send(m.body, **m.properties)
        worker, = workers(1)
        wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
        wait_for(lambda: broker.depth("tocsin.parked") == 10)
        wait_for(lambda: broker.depth("tocsin") == 0)
        is_as_it_should_be(cycles)
        reasons = {}
        while message := channel.basic_get("tocsin.parked", no_ack=True):
            assert len(message.body) <= 65536
            reasons.setdefault(message.headers["x-tocsin-reason"], []).append(message)
        assert {k: len(v) for k, v in reasons.items()} == {
            "unregistered": 1, "kwargs": 4, "content-type": 3, "json": 1, "depth": 1}, reasons
        assert "messages of another installation are dropped" in worker.stderr
        assert worker.stop() == 0


def test_a_queue_that_somebody_declared_otherwise_is_used_as_it_is(cycles, workers, broker):
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("tocsin", "fanout", durable=False, auto_delete=False)
        channel.queue_declare("tocsin", durable=True, auto_delete=False,
                              arguments={"x-max-priority": 5})
    cycles.load(GRAPH)
    workers(1)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    is_as_it_should_be(cycles)


def test_a_queue_that_is_deleted_is_made_again(cycles, workers, broker, tmp_path):
    open_gate = gated(cycles, tmp_path)
    workers(2, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    with broker.connect() as connection:
        connection.channel().queue_delete("tocsin")
    open_gate()
    wait_for(lambda: cycles.state() == "DONE", 20)
    assert cycles.signals() == {"e": "raise"}
    assert broker.depth("tocsin") == 0


def test_a_broker_that_dies_in_mid_cycle_comes_back_to_its_work(cycles, workers, broker, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, second = workers(2, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    broker.sandbox.kill("rabbitmq")
    try:
        open_gate()
        first.wait_for("broker cannot be used", 20)
        cycles.wait_for_job("v", "done")
    finally:
        broker.sandbox.start("rabbitmq")
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.signals() == {"e": "raise"}
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK, timeout=60)
    assert cycles.signals() == {"e": "continue_raising"}
    check(cycles.db)
    assert first.alive and second.alive


def test_a_database_that_dies_in_mid_cycle_comes_back_to_its_work(
        cycles, workers, sandbox, tmp_path):
    open_gate = gated(cycles, tmp_path)
    first, second = workers(2, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "ran").exists(), 15)
    cycles.wait_for_job("ew", "done")
    sandbox.kill("postgresql")
    try:
        open_gate()
        first.wait_for("books cannot be used", 20)
        second.wait_for("books cannot be used", 20)
        down = cycles.tocsin("cycle", env=QUICK, status=75)
        assert len(down.stderr.splitlines()) == 1
    finally:
        sandbox.start("postgresql")
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.signals() == {"e": "raise"}
    assert (tmp_path / "ran").read_text().count("x") <= 2
    check(cycles.db)
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK, timeout=60)
    assert cycles.signals() == {"e": "continue_raising"}
    assert first.alive and second.alive


def test_a_database_that_dies_again_and_again_under_full_load_loses_nothing(
        cycles, workers, sandbox, tmp_path):
    """Claims, settlings and sweeps are cut wherever they happen to be."""
    n = 60
    cycles.load("[variables]\n" +
                "".join(f"v{i}.shell = 'echo v{i} >>{tmp_path}/ran; echo {i}'\n" for i in range(n)) +
                "[evidences]\n" +
                "".join(f"e{i}.definition = 'v{i} + v{(i + 1) % n} >= 0'\n" for i in range(n)) +
                "[events]\n" + "".join(f"a{i}.definition = 'e{i} and e{(i + 7) % n}'\n"
                                       for i in range(n)))
    workers(2, "-c", 2, "--executors", "sql,shell")
    cycles.tocsin("cycle", env=QUICK)
    for done in (5, 60):
        wait_for(lambda: cycles.db.one("select count(*) from tocsin.job where state = 'done'"
                                       " and run_id = 1") >= done, 30)
        sandbox.kill("postgresql")
        sandbox.start("postgresql")
    wait_for(lambda: cycles.state() == "DONE", 60)
    assert cycles.signals() == {f"a{i}": "raise" for i in range(n)}
    ran = (tmp_path / "ran").read_text().split()
    assert max(map(ran.count, set(ran))) <= 3
    check(cycles.db)


def test_a_worker_waits_for_servers_that_are_away(cycles, tmp_path):
    worker = cycles.tocsin.spawn("worker", env={**QUICK, **NOWHERE})
    worker.wait_for("the broker cannot be used.*failures=2")
    assert worker.stop() == 0
    worker = cycles.tocsin.spawn("worker", env={**QUICK, "PGHOST": str(tmp_path / "nobody")})
    worker.wait_for("the books cannot be used.*failures=2")
    assert worker.stop() == 0


@pytest.fixture
def alarm(broker):
    """alarm(True) makes the broker take no more messages."""
    def set_alarm(on):
        broker.sandbox.rabbitmqctl("set_vm_memory_high_watermark", "0" if on else "0.6")
    yield set_alarm
    set_alarm(False)


@pytest.mark.fault("F-B07")
def test_under_an_alarm_of_the_broker_time_limits_go_on_and_all_is_published_after_it(
        cycles, workers, alarm, tmp_path):
    cycles.load(GATED.format(dir=tmp_path) + """
        [variables.slow]
        shell = "touch {dir}/slow; sleep 60"
        soft_time_limit = 3
        time_limit = 4
        [evidences.eslow]
        definition = "slow == 1"
        [events.late]
        definition = "eslow"
        """.format(dir=tmp_path))
    env = {"TOCSIN_CONFIRM_TIMEOUT": "1s"}
    worker, = workers(1, "--executors", "sql,shell", env={**env, **BY_MESSAGE})
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: (tmp_path / "slow").exists() and (tmp_path / "ran").exists(), 15)
    alarm(True)
    (tmp_path / "gate").touch()
    cycles.wait_for_job("v", "done")
    worker.wait_for("takes no messages")
    wait_for(lambda: cycles.job("slow", "state, reason") == ("failed", "timeout"), 15)
    assert cycles.job("ev", "state") == "queued"
    assert cycles.state() == "ERRORED"
    agent = cycles.tocsin.spawn("cycle", "--agent", "other", env={**QUICK, **env})
    assert agent.wait() == 0		# nothing is due: the broker is not asked
    alarm(False)
    wait_for(lambda: cycles.state(1) == "DONE_WITH_ERRORS", 20)
    assert cycles.signals(1) == {"e": "raise"}
    assert "broker cannot be used" not in worker.stderr


@pytest.mark.fault("F-B07")
def test_an_agent_under_an_alarm_sends_when_it_is_over(cycles, workers, alarm):
    cycles.load(GRAPH)
    workers(1)
    alarm(True)
    agent = cycles.tocsin.spawn("cycle", "--wait", env=QUICK)
    wait_for(lambda: cycles.last() is not None)
    agent.wait_for("takes no messages")
    assert cycles.state() == "CREATED"
    alarm(False)
    assert agent.wait() == 1
    is_as_it_should_be(cycles)


def test_of_ten_agents_at_once_one_makes_the_cycle(cycles, workers):
    cycles.load(GRAPH)
    agents = [cycles.tocsin.spawn("cycle") for _ in range(10)]
    for agent in agents:
        assert agent.wait(60) == 0
    assert sum(a.stdout.startswith("cycle 1 ") for a in agents) == 1
    assert sum("has cycle 1 open" in a.stdout for a in agents) == 9
    workers(2)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    is_as_it_should_be(cycles)


def test_a_queue_that_is_purged_is_filled_again(cycles, workers, broker):
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    with broker.connect() as connection:
        assert connection.channel().queue_purge("tocsin") == 4
    workers(2)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    is_as_it_should_be(cycles)
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1


def stands_still(cycles, lease="2 s"):
    wait_for(lambda: cycles.db.one(
        f"select max(queued_at) < now() - interval '{lease}' from tocsin.job"))


def test_jobs_whose_messages_wait_are_not_sent_again_and_purged_ones_are(cycles, workers, broker):
    """The workers of the queue are away; one of another queue sweeps."""
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    sweeper, = workers(1, "-Q", "other")
    stands_still(cycles, "4 s")				# four sweeps
    assert broker.depth("tocsin") == 4
    assert cycles.db.one("select max(resends) from tocsin.job") == 0
    with broker.connect() as connection:
        assert connection.channel().queue_purge("tocsin") == 4
    wait_for(lambda: broker.depth("tocsin") == 4)
    assert sweeper.stop() == 0
    assert sweeper.stderr.count("jobs are sent again") == 1
    workers(1)
    wait_for(lambda: cycles.state() == "DONE_WITH_ERRORS", 20)
    is_as_it_should_be(cycles)


@pytest.mark.parametrize("state", ["CREATED", "STARTED"])
def test_an_agent_that_resumes_sends_what_is_lost_alone(cycles, broker, state):
    cycles.load(GRAPH)
    cycles.tocsin("cycle", env=QUICK)
    if state == "CREATED":		# as if its agent had died before it said so
        cycles.db.run("update tocsin.run set state = 'CREATED', started_at = null")
    stands_still(cycles)
    assert "STARTED" in cycles.tocsin("cycle", env=QUICK).stdout
    assert broker.depth("tocsin") == 4
    with broker.connect() as connection:
        assert connection.channel().queue_delete("tocsin") == 4
    assert "STARTED" in cycles.tocsin("cycle", env=QUICK).stdout
    assert broker.depth("tocsin") == 4
    assert cycles.db.one("select min(resends) = 1 and max(resends) = 1 from tocsin.job"
                         " where state = 'queued'")
    check(cycles.db, open_runs=True)


@pytest.mark.fault("F-A22")
def test_a_variable_that_kills_its_workers_is_lost_alone(cycles, broker, workers):
    """The workers are started again, as an operator's system would."""
    cycles.load("""
        [variables]
        killer.shell = "kill -9 $PPID; sleep 60"
        n1.shell = "sleep 0.3; echo 1"
        n2.shell = "sleep 0.3; echo 2"
        n3.sql = "select 3"
        [evidences]
        e.definition = "n1 + n2 + n3 == 6"
        k.definition = "killer == 1"
        [events]
        good.definition = "e"
        bad.definition = "k"
        """)
    cycles.tocsin("cycle", env=QUICK)
    current, = workers(1, "--executors", "sql,shell")

    def closed():
        nonlocal current
        if not current.alive:
            current = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env=QUICK)
        return cycles.state() == "DONE_WITH_ERRORS"
    wait_for(closed, 40)
    assert cycles.job("killer", "state, reason, attempts") == ("failed", "lost", 3)
    assert {cycles.job(n, "state") for n in ("n1", "n2", "n3")} == {"done"}
    assert cycles.signals() == {"good": "raise"}


@pytest.mark.long
def test_an_agent_that_is_killed_at_any_moment_leaves_a_cycle_that_ends(cycles, workers):
    import random
    import subprocess
    seeds = random.Random(20261122)
    cycles.load(GRAPH)
    workers(2)
    for _ in range(20):
        agent = cycles.tocsin.spawn("cycle", env=QUICK)
        try:
            agent.process.wait(seeds.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            agent.kill()
        wait_for(lambda: cycles.db.one("select count(*) = 0 from tocsin.run"
                                       " where finished_at is null"), 20)
        check(cycles.db)
        cycles.due_again()
