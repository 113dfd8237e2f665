"""Rows of the fault matrix: the broker, and the ways to the servers.

Each test is a row; its docstring is what the row promises.  The faults are put
between us and real servers by proxy.py.  What is bounded is counted work: how
often something was computed, claimed, published, connected.
"""

import random
import re

import pytest

from cycles import QUICK
from harness import wait_for
from invariants import check
from proxy import Amqp, Postgres, Proxy, called, cut, drop, says

WIRE = {**QUICK, "TOCSIN_CONFIRM_TIMEOUT": "1s", "TOCSIN_HEARTBEAT": "2s"}

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
        proxy.env = {**WIRE, "PGHOST": "127.0.0.1", "PGPORT": proxy.port}
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


def test_F_B04_reset_in_the_middle_of_a_publish_frame(rows, amqp):
    """A connection that is reset in the middle of a message, at whatever byte,
    costs a reconnection: L S B."""
    rows.load()
    rows.worker(env=amqp.env)
    seeded = random.Random(0xb04)
    # 4 messages of the agent come first, then those of the worker.  A method
    # frame is some 30 bytes, the header frame 500, the body 150.
    cases = [(0, 0), (1, None)] + [(seeded.randrange(6), n) for n in
                                   (1, 7, seeded.randrange(8, 40), seeded.randrange(40, 500),
                                    seeded.randrange(500, 700))]
    for skip, after in cases:
        amqp.to_server.rule = cut(called("basic.publish"), after=after, skip=skip)
        faults, made = amqp.faults, amqp.made
        rows.tocsin("cycle", "--wait", env=amqp.env, status=1, timeout=30)
        rows.is_right()
        assert amqp.faults == faults + 1, (skip, after)
        # the agent's connection, and one for the one that was cut
        assert amqp.made - made in (2, 4), (skip, after)
        rows.cycles.due_again()


def test_F_B05_confirm_never_delivered(rows, amqp):
    """A message that is never confirmed is sent again after the deadline, on a
    new connection, and changes nothing when it was there before: L S T."""
    rows.load()
    rows.worker(env=amqp.env)
    amqp.to_client.rule = drop(called("basic.ack"))
    agent = rows.tocsin.spawn("cycle", "--wait", env=amqp.env)
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
    worker = rows.worker(env=amqp.env)
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
