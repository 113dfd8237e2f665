"""Rows of the fault matrix: the broker, and the ways to the servers.

Each test is a row; its docstring is what the row promises.  The faults are put
between us and real servers by proxy.py.  What is bounded is counted work: how
often something was computed, claimed, published, connected.
"""

import random
import re

import celery
import pytest

from certificates import certificates  # noqa: F401
from cycles import BY_MESSAGE, QUICK
from harness import wait_for
from invariants import books, check  # noqa: F401
from proxy import Amqp, Postgres, Proxy, called, cut, drop, says

WIRE = {**QUICK, "TOCSIN_CONFIRM_TIMEOUT": "1s", "TOCSIN_HEARTBEAT": "2s",
        "TOCSIN_CONNECT_TIMEOUT": "2s"}

# What the sender must send again by itself: no sweep does it within the test.
PATIENT = {"TOCSIN_LEASE": "60s"}

# Who runs leaves a line; NAME waits for its gate.
GRAPH = """
    [variables]
    a.shell = "echo a >>{dir}/ran; echo 1"
    b.shell = "echo b >>{dir}/ran; echo 2"
    c.shell = "echo c >>{dir}/ran; echo 3"
    bad.shell = "echo bad >>{dir}/ran; exit 7"
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

GATED = """
    [variables]
    v.shell = "echo v >>{dir}/ran; while [ ! -e {dir}/gate ]; do sleep 0.02; done; echo 1"
    w.shell = "echo w >>{dir}/ran; echo 2"
    [evidences]
    ev.definition = "v == 1"
    ew.definition = "w == 2"
    [events]
    e.definition = "ev and ew"
    """


def address(broker):
    host, port = re.search(r"@([^:/]+):(\d+)/", broker.url).groups()
    return host, int(port)


@pytest.fixture
def amqp(broker):
    """A proxy before the broker; .env leads through it."""
    with Proxy(address(broker), Amqp) as proxy:
        url = re.sub(r"@[^/]+/", f"@127.0.0.1:{proxy.port}/", broker.url)
        proxy.env = {**WIRE, "TOCSIN_BROKER_URL": url}
        yield proxy


@pytest.fixture
def postgres(sandbox):
    """A proxy before PostgreSQL; .env leads through it."""
    with Proxy(("127.0.0.1", int(sandbox.env["PGPORT"])), Postgres) as proxy:
        proxy.env = {**WIRE, "PGHOST": "127.0.0.1", "PGPORT": proxy.port,
                     "PGSSLMODE": "disable"}
        yield proxy


class Rows:
    """What the rows have in common."""

    def __init__(self, cycles, broker, directory):
        self.cycles, self.broker, self.directory = cycles, broker, directory
        self.db, self.tocsin = cycles.db, cycles.tocsin
        self.cycles_run = 0

    def load(self, text=GRAPH):
        self.cycles.load(text.format(dir=self.directory))

    def open_gate(self):
        (self.directory / "gate").touch()

    def worker(self, *args, env=WIRE):
        worker = self.tocsin.spawn("worker", "--executors", "sql,shell", *args, env=env)
        worker.wait_for("worker is ready", 20)
        return worker

    def ran(self):
        """name -> how often it was computed"""
        path = self.directory / "ran"
        words = path.read_text().split() if path.exists() else []
        return {word: words.count(word) for word in words}

    def until_running(self, name="v"):
        wait_for(lambda: name in self.ran(), 20)

    def until_closed(self, run=None, timeout=30):
        wait_for(lambda: self.cycles.state(run) in ("DONE", "DONE_WITH_ERRORS"), timeout,
                 lambda: f"{self.cycles.state(run)}: {self.cycles.jobs(run)}")

    def is_right(self, run=None, attempts=1):
        """GRAPH came out as it must; all is settled, nothing was computed twice."""
        self.until_closed(run)
        cycles = self.cycles
        self.cycles_run += 1
        assert cycles.state(run) == "DONE_WITH_ERRORS"
        assert cycles.jobs(run) == {
            "a": "done", "b": "done", "c": "done", "bad": "failed", "ea": "done", "eab": "done",
            "ec": "done", "ebad": "skipped", "event one": "done", "event two": "done",
            "event three": "skipped"}
        assert list(cycles.signals(run)) == ["one"]
        if attempts:
            assert self.db.one("select max(attempts) from tocsin.job") <= attempts
        if attempts == 1:
            assert set(self.ran().values()) == {self.cycles_run}
        self.nothing_is_left()
        check(self.db)

    def is_done(self, run=None):
        """GATED came out as it must."""
        self.until_closed(run)
        assert self.cycles.state(run) == "DONE"
        assert list(self.cycles.signals(run)) == ["e"]
        self.nothing_is_left()
        check(self.db)

    def nothing_is_left(self):
        wait_for(lambda: not self.broker.depth("tocsin"), 20, "messages are left")

    def drained(self, queue="tocsin"):
        """Take all messages of QUEUE out of it."""
        messages = []
        with self.broker.connect() as connection:
            channel = connection.channel()
            while message := channel.basic_get(queue, no_ack=True):
                messages.append(message)
        return messages

    def send(self, messages, queue="tocsin"):
        import amqp
        with self.broker.connect() as connection:
            channel = connection.channel()
            channel.confirm_select()
            for m in messages:
                channel.basic_publish(amqp.Message(m.body, **m.properties), routing_key=queue)


@pytest.fixture
def rows(cycles, broker, tmp_path):
    return Rows(cycles, broker, tmp_path)


# --- connections that end ---


def test_F_B04_reset_in_the_middle_of_a_publish_frame(rows, amqp, record_property):
    """A connection that is reset in the middle of a message, at whatever byte,
    costs a reconnection: L S B."""
    rows.load()
    rows.worker(env={**amqp.env, **PATIENT})
    wait_for(lambda: amqp.made == 2)
    seeded = random.Random(0xb04)
    # 4 messages of the agent come first, then those of the worker.  A method
    # frame is some 30 bytes, the header frame 500, the body 150.
    cases = [(0, 0), (1, None)] + [(seeded.randrange(6), n) for n in (
        seeded.randrange(1, 40), seeded.randrange(40, 500), seeded.randrange(500, 700))]
    for skip, after in cases:
        amqp.to_server.rule = cut(called("basic.publish"), after=after, skip=skip)
        faults, made = amqp.faults, amqp.made
        rows.tocsin("cycle", "--wait", env={**amqp.env, **PATIENT}, status=1, timeout=30)
        rows.is_right()
        assert amqp.faults == faults + 1, (skip, after)
        # the agent's connection, and one for the one that was cut
        assert 2 <= amqp.made - made <= 4, (skip, after)
        rows.cycles.due_again()
    record_property("times", amqp.faults)


def test_F_B05_confirm_never_delivered(rows, amqp):
    """A message that is never confirmed is sent again after the deadline, on a
    new connection, and changes nothing when it was there before: L S T."""
    rows.load()
    rows.worker(env={**amqp.env, **PATIENT})
    amqp.to_client.rule = drop(called("basic.ack"))
    agent = rows.tocsin.spawn("cycle", "--wait", env={**amqp.env, **PATIENT})
    rows.until_closed()
    wait_for(lambda: amqp.seen["basic.publish"] > 12, 20)
    assert agent.alive
    amqp.heal()
    assert agent.wait() == 1
    rows.is_right()


def test_F_B08_half_open_connection(rows, amqp):
    """A peer that is silent is given up after two heartbeats; meanwhile and
    afterwards the other work goes on: L S T."""
    rows.load(GATED)
    worker = rows.worker(env={**amqp.env, **BY_MESSAGE})
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    rows.cycles.wait_for_job("ew", "done")
    made, beats = amqp.made, amqp.seen["heartbeat"]
    amqp.black_hole()
    rows.open_gate()
    rows.cycles.wait_for_job("v", "done")
    worker.wait_for("silent for two heartbeats", 20)
    # Both ends of two connections beat, once in a half of the interval at most.
    assert amqp.seen["heartbeat"] - beats <= 2 * 2 * 5
    amqp.heal()
    rows.is_done()
    assert amqp.made > made and rows.ran() == {"v": 1, "w": 1}
    assert worker.stop() == 0


# --- the broker says no ---


@pytest.mark.parametrize("name, words", [("expired", "certificate has expired"),
                                         ("elsewhere", "hostname mismatch")])
def test_F_B19_certificate_of_the_broker(rows, sandbox, certificates, name, words):  # noqa: F811
    """A broker whose certificate has expired, or is somebody else's, is refused and
    the reason told; once it has a good one, work goes on: Q."""
    sandbox.tls("rabbitmq", certificates, name)
    env = {**WIRE, "TOCSIN_BROKER_CA": certificates / "ca.pem",
           "TOCSIN_BROKER_URL": sandbox.env["TOCSIN_TLS_BROKER_URL"].replace(
               "%2F", rows.broker.vhost)}
    rows.load()
    worker = rows.worker(env=env)
    agent = rows.tocsin("cycle", env=env, status=75, timeout=30)
    assert len(agent.stderr.splitlines()) == 1
    assert f"its certificate is not accepted: {words}" in agent.stderr
    worker.wait_for(f"broker cannot be used.*{words}")
    assert rows.cycles.state() == "CREATED" and not rows.ran()
    sandbox.tls("rabbitmq", certificates, "good")
    rows.is_right()


def test_F_B06_confirm_nack(rows, broker):
    """A queue that takes no more is told of, in the log, by the agent, which leaves
    the cycle for later, and by whoever asks; nothing is lost: L S T Q."""
    with broker.connect() as connection:
        connection.channel().queue_declare(
            "tocsin", durable=True, auto_delete=False,
            arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    rows.load()
    agent = rows.tocsin("cycle", env=WIRE, status=75, timeout=30)
    assert "refuses messages for queue tocsin" in agent.stderr.splitlines()[-1]
    assert agent.stderr.count("the broker refuses messages, trying again") == 1
    assert rows.cycles.state() == "CREATED"
    assert broker.depth("tocsin") == 2
    waits = "cycle 1 waits: the broker refuses messages for queue tocsin"
    assert waits in rows.tocsin("status").stdout
    assert waits in rows.tocsin("status", 1).stdout
    assert waits in rows.tocsin("doctor").stdout
    rows.worker()
    rows.is_right()
    assert "waits" not in rows.tocsin("status").stdout


def test_F_B06_what_a_worker_sends_is_refused(rows, broker):
    """In the middle of a cycle a worker says it in the books as long as it is so,
    and sends what follows when it is over: L S T Q."""
    rows.load(GATED)
    worker = rows.worker(env={**WIRE, **PATIENT, **BY_MESSAGE})
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    rows.cycles.wait_for_job("ew", "done")
    policy = ("-p", broker.vhost, "full")
    broker.sandbox.rabbitmqctl("set_policy", *policy, "^tocsin$",
                               '{"max-length": 0, "overflow": "reject-publish"}')
    rows.open_gate()
    worker.wait_for("the broker refuses messages, trying again")
    waits = "cycle 1 waits: the broker refuses messages for queue tocsin"
    wait_for(lambda: waits in rows.tocsin("status", "--check", status=None).stdout, 20)
    assert worker.stderr.count("the broker refuses messages, trying again") == 1
    broker.sandbox.rabbitmqctl("clear_policy", *policy)
    rows.is_done()
    assert rows.db.one("select count(*) from tocsin.run where trouble is not null") == 0
    assert rows.ran() == {"v": 1, "w": 1}


def test_F_B16_queue_with_other_arguments(rows, broker):
    """A queue that somebody declared otherwise is used as it is, and one that is
    locked is named; a worker waits for it: Q."""
    rows.load()
    locker = broker.connect()
    locker.channel().queue_declare("tocsin", durable=False, exclusive=True, auto_delete=False)
    worker = rows.worker()
    worker.wait_for("a queue cannot be declared.*RESOURCE_LOCKED")
    agent = rows.tocsin("cycle", env=WIRE, status=75, timeout=30)
    last = agent.stderr.splitlines()[-1]
    assert "queue tocsin" in last and "RESOURCE_LOCKED" in last
    assert worker.alive
    locker.close()
    with broker.connect() as connection:
        # The worker may have been faster.
        connection.channel().queue_delete("tocsin")
        connection.channel().queue_declare("tocsin", durable=True, auto_delete=False,
                                           arguments={"x-max-priority": 5})
    rows.is_right()
    with broker.connect() as connection:
        import amqp
        with pytest.raises(amqp.exceptions.PreconditionFailed):
            connection.channel().queue_declare("tocsin", durable=True, auto_delete=False)
    rows.cycles.due_again()
    rows.tocsin("cycle", "--wait", env=WIRE, status=1, timeout=30)
    rows.is_right()


class Accounts:
    """A user of the broker's own, who may be shown the door."""

    PASSWORD = "canary-4711"

    def __init__(self, broker):
        self.broker = broker
        self.name = broker.vhost + "-user"
        self.url = broker.url.replace("guest:guest", f"{self.name}:{self.PASSWORD}")

    def _eval(self, *calls):
        self.broker.sandbox.rabbitmqctl("eval", ", ".join(calls) + ".")

    def may_use(self, user):
        return (f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>,'
                f' <<"{self.broker.vhost}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)')

    def let_in(self):
        self._eval(f'rabbit_auth_backend_internal:add_user(<<"{self.name}">>,'
                   f' <<"{self.PASSWORD}">>, <<"test">>)', self.may_use(self.name))

    def throw_out(self):
        self._eval(f'rabbit_auth_backend_internal:delete_user(<<"{self.name}">>, <<"test">>)')

    def remove_vhost(self):
        self._eval(f'rabbit_vhost:delete(<<"{self.broker.vhost}">>, <<"test">>)')

    def make_vhost(self, *users):
        self._eval(f'rabbit_vhost:add(<<"{self.broker.vhost}">>, <<"test">>)',
                   *map(self.may_use, ("guest", *users)))


def test_F_B18_credentials_revoked(rows, broker):
    """Without credentials, or without the virtual host, the agent ends with 75
    and workers come back until they are let in; the password is not printed: L Q."""
    accounts = Accounts(broker)
    env = {**WIRE, "TOCSIN_BROKER_URL": accounts.url}
    accounts.let_in()
    try:
        rows.load()
        worker = rows.worker(env=env)
        accounts.throw_out()
        worker.wait_for("broker cannot be used.*failures=[23]", 20)
        agent = rows.tocsin("cycle", env=env, status=75, timeout=30)
        assert len(agent.stderr.splitlines()) == 1 and "ACCESS_REFUSED" in agent.stderr
        accounts.let_in()
        rows.is_right()
        accounts.remove_vhost()
        rows.cycles.due_again()
        agent = rows.tocsin("cycle", env=env, status=75, timeout=30)
        assert len(agent.stderr.splitlines()) == 1 and "not found" in agent.stderr
        worker.wait_for("broker cannot be used.*not found", 20)
        accounts.make_vhost(accounts.name)
        rows.is_right()
        assert worker.stop() == 0
        assert accounts.PASSWORD not in worker.stderr + agent.stderr
    finally:
        accounts.throw_out()


def test_F_B15_queue_deleted_under_the_consumer(rows, broker):
    """A queue that is deleted is declared and bound again, and what was in it is
    sent again: L S T."""
    rows.load(GATED)
    for _ in range(2):
        rows.worker(env={**WIRE, **BY_MESSAGE})
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_delete("tocsin")
        channel.exchange_delete("tocsin")
    rows.open_gate()
    rows.is_done()
    assert rows.ran() == {"v": 1, "w": 1}
    with broker.connect() as connection:
        # 404 if the exchange is not there; unbinding what is not bound is no error
        connection.channel().exchange_declare("tocsin", "direct", passive=True)


# --- messages that come too often, too late, in the wrong order, or at all ---


class Relay:
    """Between the queue that all is published to and the one that is consumed."""

    def __init__(self, rows, seed, copies):
        self.rows, self.copies = rows, copies
        self.random = random.Random(seed)
        self.all, self.late = [], []

    def pass_on(self):
        """What is there goes on in another order; copies of it later, mixed with
        what has come since."""
        fresh = self.rows.drained()
        self.all += fresh
        due = [self.late.pop(self.random.randrange(len(self.late)))
               for _ in range(len(self.late) // (1 if not fresh else 2))]
        self.late += fresh * (self.copies - 1)
        batch = fresh + due
        self.random.shuffle(batch)
        self.rows.send(batch, "inbox")

    def until(self, condition, timeout=30):
        def step():
            self.pass_on()
            return condition()
        wait_for(step, timeout)

    def until_closed(self):
        self.until(lambda: self.rows.cycles.state() == "DONE_WITH_ERRORS")
        while self.late:
            self.pass_on()
        wait_for(lambda: self.rows.broker.depth("inbox") == 0)


def relayed(rows, seed, copies):
    rows.load()
    rows.tocsin("cycle", env=WIRE)
    relay = Relay(rows, seed, copies)
    for _ in range(2):
        rows.worker("-Q", "inbox")
    return relay


def test_F_B10_every_message_three_times(rows, record_property):
    """Every message comes three times, and nothing is computed twice: S B."""
    relay = relayed(rows, 0xb10, 3)
    for n in range(3):
        relay.until_closed()
        rows.is_right()
        if n < 2:
            rows.cycles.due_again()
            rows.tocsin("cycle", env=WIRE)
    assert len(relay.all) >= 3 * 4
    record_property("times", len(relay.all))


def test_F_B11_reordered_delivery(rows, record_property):
    """The order of messages means nothing: B."""
    relay = relayed(rows, 0xb11, 1)
    for n in range(3):
        relay.until_closed()
        rows.is_right()
        if n < 2:
            rows.cycles.due_again()
            rows.tocsin("cycle", env=WIRE)
    record_property("times", 3)


BOOKS = """
    select 'job', to_jsonb(j)::text from tocsin.job j
    union all select 'history', to_jsonb(h)::text from tocsin.history h
    union all select 'signal', to_jsonb(s)::text from tocsin.signal s
    union all select 'event', to_jsonb(e)::text from tocsin.event e
    union all select 'run', to_jsonb(r)::text from tocsin.run r order by 1, 2"""


def test_F_B12_stale_delivery_from_an_earlier_cycle(rows, amqp):
    """What comes days late, of a cycle that has ended or was pruned, is
    acknowledged, counted and without effect: B."""
    rows.load()
    relay = Relay(rows, 0xb12, 1)
    worker = rows.worker("-Q", "inbox", env={**amqp.env, **BY_MESSAGE})
    rows.tocsin("cycle", env=WIRE)
    relay.until_closed()
    rows.is_right()
    stale = list(relay.all)
    assert len(stale) > 4
    rows.cycles.due_again()
    rows.tocsin("cycle", env=WIRE)
    relay.until_closed()
    rows.is_right()
    rows.db.run("update tocsin.run set created_at = created_at - interval '400 days',"
                " finished_at = finished_at - interval '400 days' where id = 1")
    for pruned in (False, True):
        if pruned:
            rows.tocsin("prune")
            assert rows.db.one("select count(*) from tocsin.run") == 1
        before, acks = rows.db.all(BOOKS), amqp.seen["basic.ack"]
        rows.send(stale, "inbox")
        wait_for(lambda: amqp.seen["basic.ack"] == acks + len(stale))
        assert rows.db.all(BOOKS) == before
    assert set(rows.ran().values()) == {2}
    # Each job that they name, at powers of two.
    said = re.findall("what is not to be done, they are dropped.* dropped=([0-9]+)", worker.stderr)
    assert said == [str(1 << n) for n in range(len(said))] and len(said) >= 4


def resident(worker):
    """Bytes of memory that a worker has."""
    with open(f"/proc/{worker.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def frugal(env):
    """The address sanitizer keeps what was freed for long; then nothing is flat."""
    import os
    options = os.environ.get("ASAN_OPTIONS")
    return {**env, "ASAN_OPTIONS": ":".join(filter(None, [options, "quarantine_size_mb=1"]))}


@pytest.mark.parametrize("messages", [2000, pytest.param(100000, marks=pytest.mark.long)])
def test_F_B20_foreign_messages_ahead_in_the_queue(rows, broker, messages):
    """A queue full of other people's messages is worked off in flat memory: those
    of another installation are dropped, the rest is parked, ours behind them
    are done: L R."""
    import json
    import uuid

    import amqp
    rows.load()
    rows.tocsin("cycle", env=WIRE)
    ours = rows.drained()
    args, kwargs, embed = json.loads(ours[0].body)
    foreign = json.dumps([args, {**kwargs, "installation": str(uuid.uuid4())}, embed])
    with broker.connect() as connection:
        channel = connection.channel()
        for n in range(messages):
            properties = dict(ours[0].properties)
            body = foreign
            if n % 2:
                properties["application_headers"] = {
                    **ours[0].headers, "task": f"proj.tasks.add{n}"}
                body = ours[0].body
            channel.basic_publish(amqp.Message(body, **properties), routing_key="tocsin")
        channel.close()
    env = frugal(WIRE)
    worker = rows.worker(env=env)
    wait_for(lambda: (broker.depth("tocsin.parked") or 0) > messages // 8, 60)
    early = resident(worker)
    wait_for(lambda: broker.depth("tocsin") == 0, 60 + messages // 100)
    late = resident(worker)
    rows.send(ours)
    rows.is_right()
    wait_for(lambda: broker.depth("tocsin.parked") == messages // 2)
    assert late - early < 8 << 20, (early, late)
    assert worker.alive


# --- answers of PostgreSQL that are lost ---


def commit_of_a_signal():
    """Is it the answer to the COMMIT of a transaction that has made a signal?"""
    made = []

    def where(unit):
        if says("C", "^INSERT 0 [1-9]")(unit):
            made.append(unit)
        return made and unit.name == "C" and unit.text == "COMMIT"
    return where


@pytest.mark.parametrize("who", ["agent", "worker"])
def test_F_C03_commit_sent_and_answer_lost(rows, postgres, who, record_property):
    """A transaction whose COMMIT was carried out and not answered is read again,
    never done again: one run, one settlement, one signal: S B."""
    rows.load()
    if who == "worker":
        rows.worker(env=postgres.env)
        agent = WIRE
    else:
        rows.worker()
        agent = postgres.env
    commit = says("C", "^COMMIT$")
    rules = [cut(commit), cut(commit, skip=1), cut(commit_of_a_signal())]
    for n, rule in enumerate(rules[:1] if who == "agent" else rules):
        postgres.to_client.rule = rule
        done = rows.tocsin("cycle", "--wait", env=agent, status=None, timeout=30)
        assert postgres.faults == n + 1
        if who == "agent":
            assert done.status == 75 and len(done.stderr.splitlines()) == 1
            assert rows.cycles.state() == "CREATED"
        else:
            assert done.status == 1
        rows.is_right()
        assert rows.cycles.last() == n + 1
        rows.cycles.due_again()
    record_property("times", postgres.faults)


def test_F_C03_what_was_fired_is_published_at_once(rows, postgres, record_property):
    """What a transaction had fired whose COMMIT was not answered waits for no sweep:
    it is read again, and published: S B."""
    rows.load(GRAPH + """
    [reactions.tell]
    events = ["one"]
    on = ["raise", "continue_raising"]
    command = "echo $TOCSIN_KEY >>{dir}/told"
    """)
    worker = rows.worker(env={**postgres.env, "TOCSIN_LEASE": "300s", "TOCSIN_SWEEP": "300s"})
    commit = says("C", "^COMMIT$")
    for n, rule in enumerate([cut(commit), cut(commit, skip=1), cut(commit_of_a_signal())]):
        postgres.to_client.rule = rule
        rows.tocsin("cycle", "--wait", env=WIRE, status=1, timeout=30)
        assert postgres.faults == n + 1
        rows.is_right()
        wait_for(lambda: rows.db.one("select count(*) from tocsin.delivery where state = 'delivered'") == n + 1)
        rows.cycles.due_again()
    worker.wait_for("an unanswered commit had taken effect.* deliveries=1")
    assert len((rows.directory / "told").read_text().split()) == 3
    record_property("times", postgres.faults)


def test_F_C03_any_answer_lost(rows, postgres, record_property):
    """The same for the answers of claims, sweeps and renewals: a statement whose
    answer is lost costs a lease at most: S B."""
    rows.load()
    rows.worker(env=postgres.env)
    seeded = random.Random(0xc03)
    for skip in sorted(seeded.sample(range(12), 3)):
        faults = postgres.faults
        postgres.to_client.rule = cut(says("Z", ""), skip=skip)
        rows.tocsin("cycle", "--wait", env=WIRE, status=1, timeout=30)
        rows.is_right(attempts=2)
        wait_for(lambda: postgres.faults == faults + 1)
        rows.cycles.due_again()
    record_property("times", postgres.faults)


# --- the broker goes and comes ---


def test_the_prefetch_changes_faster_than_the_broker_answers(rows, amqp, broker):
    """A channel of RabbitMQ dies of a cancel that it reads before its own
    consume-ok, so the second change waits until the first consumer has begun."""
    rows.load()
    worker = rows.worker("-c", 16, env=amqp.env)

    def prefetches():
        lines = broker.sandbox.rabbitmqctl("list_consumers", "-p", broker.vhost, "--no-table-headers",
                                           "-q", "queue_name", "prefetch_count").splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == "tocsin"]
    assert prefetches() == [32]
    amqp.to_server.hold()
    told = amqp.seen["basic.qos"]
    with celery.Celery(broker=broker.url, set_as_current=False) as app:
        for _ in range(10):
            app.control.broadcast("pool_grow", arguments={"n": 1})
    wait_for(lambda: amqp.seen["basic.qos"] == told + 10, 10)
    amqp.to_server.release()
    wait_for(lambda: prefetches() == [52], 10, prefetches)
    rows.tocsin("cycle", env=WIRE)
    rows.is_right()
    assert "cannot be used" not in worker.stderr


def test_F_B13_consumer_timeout(rows, broker):
    """What runs for longer than the broker keeps a delivery was acknowledged when
    it was claimed, and is computed once: S."""
    import amqp
    rabbitmqctl = broker.sandbox.rabbitmqctl
    rabbitmqctl("eval", "application:set_env(rabbit, consumer_timeout, 1000),"
                        " application:set_env(rabbit, channel_tick_interval, 300).")
    try:
        rows.load(GATED)
        worker = rows.worker(env={**WIRE, "TOCSIN_CONSUMER_TIMEOUT": "1s"})
        rows.tocsin("cycle", env=WIRE)
        rows.until_running()
        # Somebody else who holds a message for as long hears that it was too long.
        with broker.connect() as connection:
            channel = connection.channel()
            channel.queue_declare("held")
            channel.basic_publish(amqp.Message("x"), routing_key="held")
            channel.basic_consume("held", callback=lambda m: None)
            with pytest.raises(amqp.exceptions.PreconditionFailed):
                while True:
                    connection.drain_events(timeout=20)
        rows.open_gate()
        rows.is_done()
        assert rows.ran() == {"v": 1, "w": 1}
        assert "broker cannot be used" not in worker.stderr
    finally:
        rabbitmqctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000),"
                            " application:set_env(rabbit, channel_tick_interval, 60000).")


def test_F_B14_delivery_limit_reached_by_neighbours(rows, broker):
    """Messages that the broker throws away, for they came back too often with a
    variable that kills its worker, are sent again; only the killer fails: I L."""
    with broker.connect() as connection:
        connection.channel().queue_declare(
            "tocsin", durable=True, auto_delete=False,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": 2})
    n = 40
    rows.load("[variables]\nkiller.shell = 'kill -9 $PPID; sleep 60'\n" +
              "".join(f"n{i}.shell = 'sleep 0.2; echo {i}'\n" for i in range(n)) +
              "[evidences]\nk.definition = 'killer == 1'\n" +
              f"e.definition = '{' + '.join(f'n{i}' for i in range(n))} == {n * (n - 1) // 2}'\n" +
              "[events]\ngood.definition = 'e'\nbad.definition = 'k'\n")
    rows.tocsin("cycle", env=WIRE)
    started = []

    def closed():
        if not started or not started[-1].alive:
            started.append(rows.tocsin.spawn("worker", "-c", 25, "--executors", "sql,shell",
                                             env=WIRE))
        return rows.cycles.state() == "DONE_WITH_ERRORS"
    wait_for(closed, 60)
    assert len(started) == 4
    assert rows.cycles.job("killer", "state, reason, attempts") == ("failed", "lost", 3)
    assert rows.db.one("select count(*) from tocsin.job where state = 'done'"
                       " and kind = 'variable'") == n
    assert rows.cycles.signals() == {"good": "raise"}


@pytest.fixture
def restarted(broker):
    """The broker is up again after the test, whatever it has done to it."""
    yield broker.sandbox
    broker.sandbox.up("rabbitmq")


def test_F_B01_clean_restart_in_mid_cycle(rows, restarted):
    """A broker that is stopped and started in mid-cycle is found again: L S T B."""
    rows.load(GATED)
    worker = rows.worker(env={**WIRE, **BY_MESSAGE})
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    rows.cycles.wait_for_job("ew", "done")
    restarted.rabbitmqctl("stop_app")
    try:
        rows.open_gate()
        rows.cycles.wait_for_job("v", "done")
        assert rows.cycles.job("ev", "state") == "queued"
    finally:
        restarted.rabbitmqctl("start_app")
    rows.is_done()
    assert rows.ran() == {"v": 1, "w": 1}
    assert worker.stop() == 0


def test_F_B02_broker_killed_and_its_queue_empty_afterwards(rows, restarted):
    """A broker that is killed, and has forgotten what it held, costs nothing but
    time: L S T B."""
    rows.load(GATED)
    worker = rows.worker()
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    rows.cycles.wait_for_job("ew", "done")
    restarted.kill("rabbitmq")
    rows.open_gate()
    rows.cycles.wait_for_job("v", "done")
    restarted.start("rabbitmq")
    with rows.broker.connect() as connection:
        connection.channel().queue_declare("tocsin", durable=True, auto_delete=False)
        connection.channel().queue_purge("tocsin")
    rows.is_done()
    assert rows.ran() == {"v": 1, "w": 1}
    assert worker.stop() == 0


@pytest.mark.parametrize("how", [
    "queues", pytest.param("disk", marks=pytest.mark.long)])
def test_F_B03_broker_wiped(rows, restarted, how):
    """A broker that has lost all, queues or even its disk, is set up by its
    operator, and given its queues and all messages by us: L S T."""
    import shutil
    rows.load(GATED)
    rows.worker()
    rows.tocsin("cycle", env=WIRE)
    rows.until_running()
    rows.cycles.wait_for_job("ew", "done")
    accounts = Accounts(rows.broker)
    if how == "queues":
        accounts.remove_vhost()
    else:
        restarted.kill("rabbitmq")
    rows.open_gate()
    rows.cycles.wait_for_job("v", "done")
    if how == "disk":
        home = next(h for h in restarted.homes() if h.endswith("rabbitmq"))
        shutil.rmtree(home + "/mnesia")
        restarted.start("rabbitmq")
        restarted.lost_vhosts(but=rows.broker.vhost)
    accounts.make_vhost()
    rows.is_done()
    assert rows.ran() == {"v": 1, "w": 1}
