"""Deliveries over AMQP: who attempts them, how often, and in which order.

A settler works for the queue of jobs and has another for deliveries, in which
they wait for the workers that a test starts; so it is the test that says who
may attempt them, and when."""

import json
import random
import uuid

import pytest

from cycles import QUICK
from harness import wait_for
from invariants import books  # noqa: F401

NEVER = "1h"
DELIVERIES = {**QUICK, "TOCSIN_QUEUE": "deliveries"}
SETTLER = {**DELIVERIES, "TOCSIN_SWEEP": NEVER}


class Post:
    """Cycles of one event, a lever that raises it, and a file for what was sent."""

    def __init__(self, cycles, broker, directory):
        self.cycles, self.broker, self.db = cycles, broker, cycles.db
        self.sink, self.gate = directory / "sink", directory / "gate"
        self.db.run("create table lever (on_off boolean)")
        self.db.run("insert into lever values (false)")
        self.settler = None

    def load(self, then="true", reactions=1, *flags):
        self.cycles.load("""
            [variables.lever]
            sql = "select on_off from lever"
            [evidences.pulled]
            definition = "lever"
            [events.bell]
            definition = "pulled"
            interval = 0
            """ + "".join(f"""
            [reactions.ring{n}]
            events = ["bell"]
            command = 'echo "$TOCSIN_SIGNAL:$TOCSIN_KEY" >>{self.sink}; {then}'
            """ for n in range(reactions)), *flags)

    def worker(self, *args, env=None):
        worker = self.cycles.tocsin.spawn("worker", *args, env={**DELIVERIES, **(env or {})})
        worker.wait_for("worker is ready", 30)
        return worker

    def postman(self, env=None):
        """Works for deliveries alone."""
        return self.worker("-Q", "deliveries", "--executors", "sql,shell", env=env)

    def pull(self, on_off=True, **options):
        """A cycle in which the lever is so, settled by somebody who attempts nothing."""
        self.settler = self.settler or self.worker("-Q", "tocsin", env=SETTLER)
        self.db.run("update lever set on_off = %s", on_off)
        self.cycles.due_again()
        self.cycles.tocsin("cycle", "--wait", env=QUICK, timeout=60)

    @property
    def sent(self):
        lines = self.sink.read_text().split() if self.sink.exists() else []
        return [line.split(":")[0] for line in lines]

    def keys(self):
        return [line.split(":")[1] for line in self.sink.read_text().split()]

    def all(self, columns="state, attempts"):
        return self.db.all(f"select {columns} from tocsin.delivery order by id")

    def wait_for(self, *states, timeout=30):
        """Until the deliveries are so: "delivered 1" is its state and attempts."""
        wait_for(lambda: self.all("state || ' ' || attempts") == list(states), timeout,
                 lambda: f"{self.all('state, attempts, error')} is not {states}")

    def wait_until_acknowledged(self):
        wait_for(lambda: "deliveries\t0" in self.broker.sandbox.rabbitmqctl(
            "list_queues", "-p", self.broker.vhost, "name", "messages").splitlines(), 20)

    def wait_for_time(self, condition):
        """By the clock of the books."""
        wait_for(lambda: self.db.one(f"select count(*) = 0 from tocsin.delivery"
                                     f" where not ({condition})"), 20)


@pytest.fixture
def post(cycles, broker, tmp_path):
    return Post(cycles, broker, tmp_path)


def test_a_delivery_is_a_message_of_its_own(post):
    post.load(reactions=3)
    post.pull()
    assert post.all() == 3 * [("pending", 0)]
    found = []
    with post.broker.connect() as connection:
        channel = connection.channel()
        while message := channel.basic_get("deliveries", no_ack=True):
            found.append(message)
    installation = post.db.one("select uuid::text from tocsin.installation")
    assert sorted(m.headers["argsrepr"] for m in found) == [
        f"('bell', 'ring{n}')" for n in range(3)]
    for m in found:
        args, kwargs, embed = json.loads(m.body)
        assert m.headers["task"] == "tocsin.reaction" and args == []
        assert kwargs == {"installation": installation, "run": post.cycles.last(),
                          "event": "bell", "reaction": kwargs["reaction"]}
        assert m.headers["id"] == str(uuid.uuid5(
            uuid.UUID(installation), f"{post.cycles.last()}/bell/{kwargs['reaction']}"))
        assert m.properties["delivery_mode"] == 2


def test_messages_that_come_three_times_to_two_workers_make_one_attempt_each(post):
    import amqp
    post.load(reactions=12)
    post.pull()
    with post.broker.connect() as connection:
        channel = connection.channel()
        messages = []
        while message := channel.basic_get("deliveries", no_ack=True):
            messages.append(message)
        assert len(messages) == 12
        messages *= 3
        random.Random(5).shuffle(messages)
        for m in messages:
            channel.basic_publish(amqp.Message(m.body, **m.properties), routing_key="deliveries")
    first, second = post.postman(), post.postman()
    post.wait_for(*12 * ["delivered 1"])
    wait_for(lambda: post.broker.depth("deliveries") == 0)
    assert first.stop() == second.stop() == 0
    assert sorted(post.keys()) == sorted(post.all("key::text"))
    assert post.broker.depth("deliveries.parked") is None


def test_who_may_not_run_a_delivery_leaves_it_and_another_runs_it(post):
    post.load()
    post.pull()
    without = post.worker("-Q", "deliveries", env={"TOCSIN_SWEEP": NEVER})
    post.wait_until_acknowledged()
    assert without.stop() == 0
    assert post.all("state, attempts, fence") == [("pending", 0, 0)]
    post.postman()
    post.wait_for("delivered 1")
    assert post.sent == ["raise"]


def test_who_works_for_other_queues_sends_a_lost_delivery_again_and_attempts_none(post):
    post.load()
    postman = post.postman(env={"TOCSIN_SWEEP": NEVER})
    post.settler = post.worker("-Q", "tocsin", env={**SETTLER, "TOCSIN_QUEUE": "elsewhere"})
    post.pull()
    assert post.broker.depth("elsewhere") == 1
    assert post.all() == [("pending", 0)]
    sweeper = post.worker("-Q", "other", "--executors", "shell")
    post.wait_for("delivered 1")
    assert post.db.one("select worker from tocsin.delivery").split(":")[1] == str(postman.pid)
    assert "deliveries are sent again" in sweeper.stderr


def test_a_delivery_whose_message_waits_is_not_sent_again_and_a_purged_one_is(post):
    post.load(reactions=3)
    post.pull()
    sweeper = post.worker("-Q", "other")
    post.wait_for_time("resend_at < now() - interval '1.5 s'")		# three sweeps
    assert post.broker.depth("deliveries") == 3
    with post.broker.connect() as connection:
        assert connection.channel().queue_purge("deliveries") == 3
    wait_for(lambda: post.broker.depth("deliveries") == 3)
    sweeper.stop()
    assert sweeper.stderr.count("deliveries are sent again") == 1
    post.postman()
    post.wait_for(*3 * ["delivered 1"])


@pytest.mark.fault("F-A13")
@pytest.mark.parametrize("point, left, attempts, sent", [
    ("delivery.on_message", ("pending", 0), 1, 1),
    ("delivery.after_claim", ("sending", 1), 2, 1),
    ("delivery.before_send", ("sending", 1), 2, 1),
    ("delivery.before_record", ("sending", 1), 2, 2),
    ("delivery.after_record", ("delivered", 1), 1, 1)])
def test_a_postman_that_dies_is_replaced_after_the_lease(
        post, failpoints, point, left, attempts, sent):
    post.load()
    dying = post.postman(env={"TOCSIN_FAILPOINT": f"{point}=kill@1"})
    post.pull()
    wait_for(lambda: not dying.alive, 20)
    assert post.all() == [left]
    assert len(post.sent) == (1 if point.endswith("_record") else 0)
    post.postman()
    post.wait_for(f"delivered {attempts}")
    wait_for(lambda: not post.broker.depth("deliveries"))
    assert len(post.sent) == sent
    assert set(post.keys()) == set(post.all("key::text"))


def test_a_delivery_that_fails_is_tried_again_and_in_the_end_fails(post):
    post.load(then="exit 9")
    post.postman(env={"TOCSIN_DELIVERY_BACKOFF": "50ms", "TOCSIN_DELIVERY_ATTEMPTS": 3})
    post.pull()
    post.wait_for("failed 3")
    assert post.sent == 3 * ["raise"] and len(set(post.keys())) == 1
    assert post.all("error") == ["exit status 9"]


def test_a_retry_travels_as_a_message_to_whoever_may_run_it(post):
    """The reaction has been removed meanwhile: what was planned is done."""
    post.load(then=f"test -e {post.gate}")
    first = post.postman(env={"TOCSIN_DELIVERY_BACKOFF": "1h"})
    post.pull()
    post.wait_for("pending 1")
    first.stop()
    post.load("", 0, "--prune")
    post.gate.touch()
    postman = post.postman(env={"TOCSIN_SWEEP": NEVER})
    post.db.run("update tocsin.delivery set due_at = now(), resend_at = now()")
    post.worker("-Q", "other")
    post.wait_for("delivered 2")
    assert post.db.one("select worker from tocsin.delivery").split(":")[1] == str(postman.pid)


def test_slow_deliveries_keep_no_place_from_variables(post):
    """More of them than are prefetched, and than are attempted at once."""
    post.load(then=f"while [ ! -e {post.gate} ]; do sleep 0.05; done", reactions=40)
    worker = post.worker("-Q", "tocsin,deliveries", "-c", 2, "--executors", "sql,shell")
    post.settler = worker
    post.pull(True)
    wait_for(lambda: len(post.sent) == 8, 20)
    wait_for(lambda: post.broker.depth("deliveries") == 0)
    for _ in range(2):
        post.pull(True)
    assert post.cycles.state() == "DONE"
    assert post.db.one("select count(*) from tocsin.delivery where state = 'pending'") == 32
    post.gate.touch()
    post.wait_for(*40 * ["delivered 1"])
    assert len(post.sent) == 40


def test_a_postman_that_is_stopped_hands_back_uncharged(post):
    post.load(then=f"while [ ! -e {post.gate} ]; do sleep 0.05; done", reactions=10)
    postman = post.postman()
    post.pull()
    wait_for(lambda: len(post.sent) == 8, 20)
    assert postman.stop() == 0
    assert post.all("state, attempts, worker, lease_until") == 10 * [("pending", 0, None, None)]
    assert post.broker.depth("deliveries") == 8
    post.gate.touch()
    post.postman()
    post.wait_for(*10 * ["delivered 1"])


def test_a_delivery_that_ends_within_grace_is_recorded_by_who_stops(post):
    post.load(then=f"while [ ! -e {post.gate} ]; do sleep 0.05; done")
    postman = post.postman(env={"TOCSIN_GRACE": "30s"})
    post.pull()
    wait_for(lambda: post.sent, 20)
    postman.signal(15)
    postman.wait_for("stopping")
    post.gate.touch()
    assert postman.wait() == 0
    assert post.all() == [("delivered", 1)]


def test_what_is_told_of_an_event_is_told_in_its_order(post):
    """The raise could not be told: that it is over is not told before."""
    post.load(then=f"test -e {post.gate}")
    post.postman(env={"TOCSIN_DELIVERY_BACKOFF": "1h"})
    post.pull(True)
    post.wait_for("pending 1")
    post.pull(False)
    post.wait_until_acknowledged()
    post.wait_for_time("now() - (select max(s.at) from tocsin.signal s) > interval '1 s'")
    assert post.all() == [("pending", 1), ("pending", 0)]
    post.gate.touch()
    post.db.run("update tocsin.delivery set due_at = now() where attempts = 1")
    post.wait_for("delivered 2", "delivered 1")
    assert post.sent == ["raise", "raise", "stop_raising"]


def test_a_delivery_that_has_failed_holds_up_nothing(post):
    post.load(then="""case "$TOCSIN_SIGNAL" in raise) exit 9; esac""")
    post.postman(env={"TOCSIN_DELIVERY_ATTEMPTS": 1})
    for on_off in (True, False):
        post.pull(on_off)
    post.wait_for("failed 1", "delivered 1")


def test_status_tells_which_deliveries_wait_and_why(post):
    post.load(then="exit 9", reactions=2)
    post.pull(True)
    post.db.run("""update tocsin.delivery set due_at = now() + interval '1 h', attempts = 1,
        error = 'exit status 9' where reaction = 'ring1'""")
    post.pull(False)
    post.db.run("update tocsin.delivery set due_at = now() - interval '1 h' where attempts = 0")
    tell = post.cycles.tocsin
    status = tell("status", "--json", env={"TOCSIN_LEASE": "60s"}).json()["deliveries"]
    assert {k: status[k] for k in ("pending", "sending", "failed", "unclaimed")} == {
        "pending": 4, "sending": 0, "failed": 0, "unclaimed": 1}
    why = {(w["reaction"], w["signal"]): (w["why"], w["needs"]) for w in status["waiting"]}
    assert why == {("ring0", "raise"): ("unclaimed", "shell"),
                   ("ring0", "stop_raising"): ("older", "shell"),
                   ("ring1", "raise"): ("retry", "shell"),
                   ("ring1", "stop_raising"): ("older", "shell")}
    text = tell("status").stdout
    assert "no worker may run it: start one with --executors shell" in text
    assert "exit status 9" in text and "waits for an older one" in text
