"""A worker among Celery's: events, inspection, control, beside a stock worker."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid

import pytest

from cycles import BY_MESSAGE, QUICK
from harness import wait_for

celery = pytest.importorskip("celery")

SLOW = """
    [variables]
    {variables}
    [evidences]
    total.definition = "{names} > 0"
    [events]
    one.definition = "total"
    """


def slow(n, seconds):
    names = [f"v{i}" for i in range(n)]
    return SLOW.format(variables="\n    ".join(
        f'{name}.sql = "select 1 from pg_sleep({seconds})"' for name in names),
        names=" + ".join(names))


def environment():
    return {**{k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR")},
            "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "TZ": "UTC"}


class Stock:
    """Celery's own worker."""

    def __init__(self, directory, url, *args):
        (directory / "stock_app.py").write_text(
            "from celery import Celery\n"
            f"app = Celery('stock_app', broker={url!r})\n"
            "@app.task(name='stock.add')\n"
            "def add(x, y):\n"
            "    return x + y\n")
        self.log = directory / "stock.log"
        self.node = f"stock@{socket.gethostname()}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "celery", "-A", "stock_app", "worker", "-l",
                 "DEBUG", "-n", self.node, "-c", "1", "-P", "threads", *args], cwd=directory,
                env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        wait_for(lambda: "ready." in self.text, 30, lambda: self.text)

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    expects_errors = False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        if self.expects_errors:
            return
        # what a broker says while a connection closes is no fault of anybody's
        assert not re.search(r"ERROR|CRITICAL|Traceback|WARNING/MainProcess\] (?!Received method)",
                             self.text), self.text


@pytest.fixture
def stock(tmp_path, broker):
    started = []

    def start(*args):
        started.append(Stock(tmp_path, broker.url, *args))
        return started[-1]
    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def app(broker):
    found = celery.Celery(broker=broker.url, set_as_current=False)
    found.conf.broker_connection_retry_on_startup = True
    yield found
    found.close()


def command_line(broker, *args, timeout=30):
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "celery", "-b", broker.url, *args],
                          env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout)
    return done.stdout + done.stderr


@pytest.fixture
def node(cycles, broker, app):
    """node(...) starts a worker, which answers, and says its name."""
    def start(*args, env=None, answers=True):
        worker = cycles.tocsin.spawn("worker", *args, env={**QUICK, **(env or {})})
        worker.wait_for("worker is ready", 20)
        worker.node = re.search(r"node=(\S+)", worker.stderr).group(1)
        if answers:
            wait_for(lambda: is_there(app, worker), 20)
        return worker
    return start


def ask(app, worker, method, timeout=5, **arguments):
    """What WORKER, one of ours, answers."""
    replies = app.control.broadcast(method, arguments, destination=[worker.node], reply=True,
                                    timeout=timeout, limit=1)
    assert len(replies) == 1, replies
    return replies[0][worker.node]


def is_there(app, worker):
    try:
        return app.control.broadcast("ping", destination=[worker.node], reply=True, timeout=0.5,
                                     limit=1)
    except OSError:		# our own connection: another one, then
        app.close()
        return None


class Events:
    """All events of the broker, from now on."""

    def __init__(self, broker):
        self.connection = broker.connect()
        self.channel = self.connection.channel()
        self.channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        queue = self.channel.queue_declare(exclusive=True).queue
        self.channel.queue_bind(queue, "celeryev", "#")
        self.messages = []
        self.channel.basic_consume(queue, no_ack=True, callback=self.messages.append)

    def all(self):
        try:
            while True:
                self.connection.drain_events(timeout=0.05)
        except socket.timeout:
            pass
        found = []
        for message in self.messages:
            body = json.loads(message.body)
            found += body if isinstance(body, list) else [body]
        return found

    def of(self, worker, *types):
        return [e for e in self.all() if e["hostname"] == worker.node
                and (not types or e["type"] in types)]

    def close(self):
        self.connection.close()


@pytest.fixture
def events(broker):
    found = Events(broker)
    yield found
    found.close()


# Being seen


def test_status_and_ping_have_it_beside_a_stock_worker(node, stock, broker):
    worker, other = node(), stock()
    shown = command_line(broker, "status")
    assert f"{worker.node}: OK" in shown and f"{other.node}: OK" in shown, shown
    assert "2 nodes online" in shown
    assert command_line(broker, "inspect", "ping").count("pong") == 2
    assert command_line(broker, "control", "enable_events").count("task events enabled") == 2
    assert "tocsin:" in command_line(broker, "inspect", "report", "-d", worker.node)
    assert "2 nodes online" in command_line(broker, "inspect", "stats")
    # mingle and gossip: the stock worker has met ours, and then loses it without a word
    assert "sync with 1 nodes" in other.text and "sync complete" in other.text
    wait_for(lambda: f"{worker.node} joined the party" in other.text, 20)
    worker.stop()
    wait_for(lambda: f"{worker.node} left" in other.text, 20)


def same_shape(ours, theirs, where="answer"):
    """All that a stock worker says is said, with values of the same kind."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        for key in theirs:
            assert key in ours, f"{where} has no {key}"
            same_shape(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list) and theirs:
        assert isinstance(ours, list), where
        for one in ours:
            same_shape(one, theirs[0], where + "[]")
    elif theirs is not None and ours is not None:
        kinds = (int, float) if isinstance(theirs, (int, float)) else type(theirs)
        assert isinstance(ours, kinds), f"{where}: {ours!r} and {theirs!r}"


def test_answers_have_the_shape_of_a_stock_workers(node, stock, app):
    worker, other = node(), stock()
    for method, arguments in [
            ("ping", {}), ("active", {}), ("dump_active", {"safe": True}), ("reserved", {}),
            ("dump_reserved", {}), ("scheduled", {}), ("dump_schedule", {}), ("active_queues", {}),
            ("stats", {}), ("report", {}), ("clock", {}), ("registered", {}),
            ("dump_tasks", {"builtins": True}), ("query_task", {"ids": ["x"]}), ("revoked", {}),
            ("heartbeat", {}), ("election", {"id": "e", "topic": "nothing"}),
            ("nonesuch", {}), ("pool_restart", {}), ("autoscale", {"max": 3, "min": 1}),
            ("enable_events", {}), ("enable_events", {}), ("disable_events", {}),
            ("disable_events", {}), ("cancel_consumer", {"queue": "unheard-of"})]:
        if method == "election":	# a lone 5.2.6 worker dies of it
            assert ask(app, worker, method, **arguments) is None
            continue
        theirs = app.control.broadcast(method, arguments, destination=[other.node], reply=True,
                                       timeout=5, limit=1)[0][other.node]
        if method == "stats":
            theirs["total"] = {}
            theirs["pool"]["writes"] = {}
            theirs["pool"].pop("implementation", None)
            theirs["pool"].pop("threads", None)
        ours = ask(app, worker, method, **arguments)
        same_shape(ours, theirs, method)
        if method in ("nonesuch", "pool_restart", "autoscale", "enable_events", "disable_events",
                      "heartbeat", "ping", "query_task"):
            assert ours == theirs, method
    other.expects_errors = True


def test_settings_are_told_without_their_passwords(node, app, broker):
    worker = node(env={"TOCSIN_DATABASE_URL": "", "TOCSIN_GRACE": "700ms"})
    conf = ask(app, worker, "conf")
    assert conf["grace"] == "700ms"
    assert conf["broker_url"] == broker.url.replace("guest@", "********@")
    assert "lease" in conf and "shell" not in conf
    assert ask(app, worker, "dump_conf", with_defaults=True)["shell"] == "/bin/sh"
    assert "guest:guest" not in ask(app, worker, "report")["ok"]


# Whom it is for


def test_a_request_reaches_those_whom_it_names(node, app):
    one, two = node(env={"TOCSIN_NODE_NAME": "one@%h"}), node(env={"TOCSIN_NODE_NAME": "two@here"})
    assert one.node == f"one@{socket.gethostname()}" and two.node == "two@here"
    one_only, both = [one.node], sorted([one.node, two.node])

    def names(**how):
        replies = app.control.broadcast("ping", reply=True, timeout=0.7, **how)
        return sorted(name for reply in replies for name in reply)
    assert names() == both
    assert names(destination=[one.node]) == one_only
    assert names(destination=["one@elsewhere"]) == []
    assert names(pattern="one@*", matcher="glob") == one_only
    assert names(pattern="*", matcher="glob") == both
    assert names(pattern="[!o]*", matcher="glob") == ["two@here"]
    assert names(pattern="one.*", matcher="pcre") == []
    one.wait_for("nodes can be matched by 'glob', not by 'pcre'")
    assert names() == both


def test_it_answers_while_all_hands_are_busy(cycles, node, app):
    cycles.load(slow(6, 2))
    worker = node("-c", 2)
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: len(ask(app, worker, "active")) == 2)
    before = time.monotonic()
    assert ask(app, worker, "ping", timeout=1) == {"ok": "pong"}
    active = ask(app, worker, "active", timeout=1)
    assert time.monotonic() - before < 1.5
    assert {task["name"] for task in active} == {"tocsin.variable"}
    for task in active:
        assert task["args"][0] in [f"v{i}" for i in range(6)]
        assert task["kwargs"]["run"] == 1 and task["hostname"] == worker.node
        assert abs(task["time_start"] - time.time()) < 60
        assert task["worker_pid"] == worker.pid and task["acknowledged"] is False
        assert task["delivery_info"]["routing_key"] == "tocsin"
    safe = ask(app, worker, "active", safe=True)
    assert all(re.fullmatch(r"\('v\d',\)", task["args"]) for task in safe)
    reserved = ask(app, worker, "reserved")
    assert len(reserved) == 4 and all(task["time_start"] is None for task in reserved)
    ids = [active[0]["id"], reserved[0]["id"], "unknown"]
    found = ask(app, worker, "query_task", ids=ids)
    assert {id: state for id, (state, info) in found.items()} == {
        ids[0]: "active", ids[1]: "reserved"}
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert ask(app, worker, "stats")["total"]["tocsin.variable"] == 6
    assert ask(app, worker, "active") == ask(app, worker, "reserved") == []


# Events


def test_heartbeats_come_as_often_as_they_say(node, events):
    worker = node()
    wait_for(lambda: len(events.of(worker, "worker-heartbeat")) >= 3, 15)
    online, = events.of(worker, "worker-online")
    beats = events.of(worker, "worker-heartbeat")
    assert online["freq"] == 2.0 and online["sw_ident"] == "tocsin"
    gaps = [b["timestamp"] - a["timestamp"] for a, b in zip(beats, beats[1:])]
    assert all(1 < gap < 3.9 for gap in gaps), gaps
    assert all(abs(e["timestamp"] - time.time()) < 60 and e["utcoffset"] == 0 for e in beats)
    clocks = [e["clock"] for e in events.of(worker)]
    assert clocks == sorted(set(clocks))
    keys = {m.delivery_info["routing_key"] for m in events.messages}
    assert keys == {"worker.online", "worker.heartbeat"}
    assert all(m.headers["hostname"] == worker.node and m.properties["delivery_mode"] == 1
               for m in events.messages)
    worker.stop()
    wait_for(lambda: events.of(worker, "worker-offline"))


GRAPH = """
    [variables]
    a.sql = "select 'x'::text"
    bad.sql = "select 1/0"
    [evidences]
    ea.definition = "a == 'x'"
    eb.definition = "bad == 1"
    [events]
    one.definition = "ea"
    two.definition = "eb"
    """


def test_events_of_tasks_come_while_somebody_wants_them(cycles, node, app, events):
    cycles.load(GRAPH)
    worker = node(env=BY_MESSAGE)
    tasks = ["task-received", "task-started", "task-succeeded", "task-failed"]
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert not events.of(worker, *tasks)
    assert ask(app, worker, "enable_events") == {"ok": "task events enabled"}
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    wait_for(lambda: len(events.of(worker, "task-succeeded")) == 3)
    received = {e["uuid"]: e for e in events.of(worker, "task-received")}
    assert sorted((e["name"], e["args"]) for e in received.values()) == [
        ("tocsin.event", "('one',)"), ("tocsin.evidence", "('ea',)"),
        ("tocsin.variable", "('a',)"), ("tocsin.variable", "('bad',)")]
    assert len(events.of(worker, "task-started")) == 4
    ended = {received[e["uuid"]]["args"]: e for e in events.of(worker, *tasks[2:])}
    assert ended["('a',)"]["result"] == "'x'" and ended["('a',)"]["runtime"] >= 0
    assert ended["('bad',)"]["exception"].startswith("RuntimeError('division by zero")
    assert {m.delivery_info["routing_key"] for m in events.messages
            if isinstance(json.loads(m.body), list)} == {"task.multi"}
    seen = len(events.of(worker, *tasks))
    assert ask(app, worker, "disable_events") == {"ok": "task events disabled"}
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert len(events.of(worker, *tasks)) == seen


def test_celerys_own_readers_understand_the_events(cycles, node, app, broker):
    cycles.load(GRAPH)
    worker = node(env={"TOCSIN_ENABLE_EVENTS": "true", **BY_MESSAGE})
    state = app.events.State()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})

        def listen():
            while not receiver.should_stop:
                try:
                    receiver.capture(limit=None, timeout=None, wakeup=False)
                except OSError:
                    pass
        listener = threading.Thread(target=listen)
        listener.start()
        try:
            wait_for(lambda: worker.node in state.workers, 20)
            cycles.tocsin("cycle", "--wait", env=QUICK, status=1)

            def seen():
                return sorted((t.state, t.args) for _, t in state.tasks_by_time())
            wait_for(lambda: seen() == [
                ("FAILURE", "('bad',)"), ("SUCCESS", "('a',)"), ("SUCCESS", "('ea',)"),
                ("SUCCESS", "('one',)")], 20, seen)
        finally:
            receiver.should_stop = True
            listener.join(20)
    assert state.workers[worker.node].alive
    dumped = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "celery", "-b", broker.url, "events", "--dump"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert "heartbeat" in next(line for line in dumped.stdout if worker.node in line)
    finally:
        dumped.kill()
        dumped.communicate()


def test_elections_of_others_are_not_held_up(node, stock, app):
    worker, other = node(), stock()
    wait_for(lambda: f"{worker.node} joined the party" in other.text, 20)
    app.control.election(str(uuid.uuid4()), "task", {
        "task": "stock.add", "args": [20, 3], "kwargs": {}, "options": {}, "subtask_type": None,
        "immutable": False})
    wait_for(lambda: re.search(r"stock.add\[.* succeeded in .*: 23", other.text), 15)
    assert worker.alive


# Being told


def test_shutdown_stops_one_or_all(cycles, node, app, events):
    one, two = node(), node()
    app.control.shutdown(destination=[one.node])
    assert one.wait() == 0
    assert "remote control stops the worker" in one.stderr
    wait_for(lambda: events.of(one, "worker-offline"))
    assert ask(app, two, "ping") == {"ok": "pong"}
    app.control.shutdown()
    assert two.wait() == 0


def test_a_process_of_several_that_was_stopped_is_not_replaced(cycles, broker, app):
    many = cycles.tocsin.spawn("worker", "--processes", 3,
                               env={**QUICK, "TOCSIN_NODE_NAME": "many@here"})
    wait_for(lambda: many.stderr.count("worker is ready") == 3, 20)
    names = sorted(re.findall(r"node=(\S+)", many.stderr))
    assert names == ["many-1@here", "many-2@here", "many-3@here"]

    def there():
        return sorted(name for reply in app.control.ping(timeout=1) for name in reply)
    wait_for(lambda: there() == names)
    app.control.shutdown(destination=["many-2@here"])
    wait_for(lambda: there() == ["many-1@here", "many-3@here"])
    # one that dies is replaced still, under the same name
    pid = app.control.inspect(["many-1@here"], timeout=2).stats()["many-1@here"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: many.stderr.count("worker is ready") == 4, 20)
    wait_for(lambda: there() == ["many-1@here", "many-3@here"])
    assert "many-2@here" not in re.findall(r"node=(\S+)", many.stderr)[3:]
    app.control.shutdown()
    assert many.wait(30) == 0


def test_a_queue_is_consumed_when_it_is_told_and_no_longer(cycles, node, app):
    cycles.load("""
        [variables]
        a.sql = "select 1"
        a.queue = "elsewhere"
        [evidences]
        ea.definition = "a == 1"
        [events]
        one.definition = "ea"
        """)
    worker = node()
    cycles.tocsin("cycle", env=QUICK)
    assert cycles.job("a", "state") == "queued"
    assert ask(app, worker, "add_consumer", queue="elsewhere") == {"ok": "add consumer elsewhere"}
    assert ask(app, worker, "add_consumer", queue="elsewhere") == {"ok": "add consumer elsewhere"}
    wait_for(lambda: cycles.state() == "DONE")
    queues = ask(app, worker, "active_queues")
    assert [q["name"] for q in queues] == ["tocsin", "elsewhere"]
    assert ask(app, worker, "cancel_consumer", queue="elsewhere") == {
        "ok": "no longer consuming from elsewhere"}
    assert [q["name"] for q in ask(app, worker, "active_queues")] == ["tocsin"]
    cycles.due_again()
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: cycles.job("a", "state") == "queued")
    assert ask(app, worker, "add_consumer", queue="elsewhere")["ok"]
    wait_for(lambda: cycles.state() == "DONE")
    assert ask(app, worker, "add_consumer", queue="bound", exchange="topics",
               exchange_type="topic", routing_key="a.#")["ok"]
    wait_for(lambda: ask(app, worker, "active_queues")[-1]["exchange"]["type"] == "topic")
    assert "error" in ask(app, worker, "add_consumer", queue="x" * 300)
    assert ask(app, worker, "add_consumer") == {
        "error": "TypeError(\"add_consumer() missing 1 required positional argument: 'queue'\")"}
    assert ask(app, worker, "ping") == {"ok": "pong"}


def test_who_takes_no_orders_is_only_heard(cycles, node, app, events):
    worker = node(env={"TOCSIN_REMOTE_CONTROL": "false"}, answers=False)
    wait_for(lambda: events.of(worker, "worker-heartbeat"))
    app.control.shutdown()
    assert not is_there(app, worker)
    cycles.load(GRAPH)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert worker.alive
    worker.stop()
    wait_for(lambda: events.of(worker, "worker-offline"))


@pytest.mark.parametrize("name", ["a b@h", "@h", "a@", "a@b@c", "%z@h", "a@h%", "x" * 201 + "@h"])
def test_a_name_that_is_none_is_refused(cycles, broker, name):
    ended = cycles.tocsin("worker", env={"TOCSIN_NODE_NAME": name}, status=78)
    assert "node_name" in ended.stderr


# Tasks of clients


TASKS = """
    [tasks."t.add"]
    sql = "select :x::int + :y::int"
    args = ["x", "y"]
    [tasks."t.sleep"]
    sql = "select 'slept'::text from pg_sleep(:seconds)"
    args = ["seconds"]
    [tasks."t.limited"]
    sql = "select 1"
    rate_limit = "10/m"
    [tasks."t.fail"]
    sql = "select 1/0"
    """


@pytest.fixture
def tasks(node, redis, app, tmp_path):
    """tasks(...) starts a worker that does TASKS, with results in Redis."""
    path = tmp_path / "tocsin.toml"
    path.write_text(textwrap.dedent(TASKS))
    app.conf.result_backend = redis.url

    def start(*args, env=None):
        return node("--config", path, *args, env={"TOCSIN_RESULT_BACKEND": redis.url,
                                                  **(env or {})})
    return start


def send(app, name, *args, **options):
    return app.send_task(name, args, queue="tocsin", **options)


def test_tasks_of_clients_are_seen_where_they_are(tasks, stock, app):
    worker, other = tasks("-c", 1), stock()
    running = send(app, "t.sleep", 30)
    wait_for(lambda: ask(app, worker, "active"))
    waiting = send(app, "t.add", 1, 2, shadow="sum")
    later = send(app, "t.add", 3, 4, countdown=3600)
    wait_for(lambda: ask(app, worker, "reserved") and ask(app, worker, "scheduled"))
    info, = ask(app, worker, "active")
    assert info["id"] == running.id and info["name"] == info["type"] == "t.sleep"
    assert info["args"] == [30] and info["kwargs"] == {} and info["hostname"] == worker.node
    assert info["delivery_info"] == {"exchange": "", "routing_key": "tocsin", "priority": 0,
                                     "redelivered": False}
    assert abs(info["time_start"] - time.time()) < 60
    assert ask(app, worker, "active", safe=True)[0]["args"] == "(30,)"
    reserved, = ask(app, worker, "reserved")
    assert reserved["name"] == "sum" and reserved["type"] == "t.add"
    assert reserved["args"] == [1, 2] and reserved["time_start"] is None
    scheduled, = ask(app, worker, "scheduled")
    assert scheduled["request"]["id"] == later.id and scheduled["priority"] == 6
    assert re.fullmatch(r"....-..-..T..:..:..\.\d{6}\+00:00", scheduled["eta"])
    found = ask(app, worker, "query_task", ids=[running.id, waiting.id, later.id, "x"])
    assert {id: state for id, (state, _) in found.items()} == {
        running.id: "active", waiting.id: "reserved"}
    app.send_task("stock.add", (1, 2), queue="celery", countdown=3600)
    theirs = wait_for(lambda: app.control.inspect([other.node], timeout=2).scheduled()[other.node])
    same_shape([scheduled], theirs)
    app.control.terminate(running.id)
    assert waiting.get(timeout=20) == 3
    wait_for(lambda: running.state == "REVOKED")
    registered = ask(app, worker, "registered")
    assert "t.add" in registered and "t.limited [rate_limit=10/m]" in registered
    assert registered == sorted(registered) and not any(n.startswith("celery.") for n in registered)
    assert "celery.map" in ask(app, worker, "registered", builtins=True)
    assert "t.limited" in ask(app, worker, "registered", taskinfoitems=["exchange"])
    assert ask(app, worker, "stats")["total"] == {"t.sleep": 1, "t.add": 1}


def test_tasks_of_clients_are_told_of(tasks, app, events):
    worker = tasks("-c", 1, env={"TOCSIN_ENABLE_EVENTS": "true"})

    def told(result):
        return [e for e in events.of(worker) if e.get("uuid") == result.id]
    good, bad, stopped = send(app, "t.add", 1, 2), send(app, "t.fail"), send(app, "t.sleep", 60)
    wait_for(lambda: [e["type"] for e in told(stopped)] == ["task-received", "task-started"])
    dropped = send(app, "t.add", 3, 4)
    wait_for(lambda: told(dropped))
    app.control.revoke(dropped.id)
    app.control.revoke(stopped.id, terminate=True, signal="SIGINT")
    wait_for(lambda: told(dropped)[-1]["type"] == "task-revoked")
    received, started, succeeded = told(good)
    assert received["name"] == "t.add" and received["args"] == "(1, 2)"
    assert received["kwargs"] == "{}" and received["root_id"] == good.id
    assert received["parent_id"] is received["eta"] is received["expires"] is None
    assert succeeded["type"] == "task-succeeded" and succeeded["result"] == "3"
    assert 0 <= succeeded["runtime"] < 60
    failed = told(bad)[-1]
    assert failed["type"] == "task-failed"
    assert failed["exception"].startswith("RuntimeError('division by zero")
    end = told(stopped)[-1]
    assert end["type"] == "task-revoked"
    assert (end["terminated"], end["signum"], end["expired"]) == (True, signal.SIGINT, False)
    end = told(dropped)[-1]
    assert (end["terminated"], end["signum"], end["expired"]) == (False, None, False)
    expired = send(app, "t.add", 1, 2, expires=-10)
    wait_for(lambda: told(expired) and told(expired)[-1]["expired"])


def test_what_is_revoked_is_known_to_whoever_comes_later(tasks, stock, app):
    one = tasks()
    ids = [f"id-{i}" for i in range(3)]
    assert ask(app, one, "revoke", task_id=ids[0]) == {"ok": "tasks id-0 flagged as revoked"}
    other = stock()
    assert "sync with 1 nodes" in other.text
    theirs = app.control.inspect([other.node], timeout=2)
    wait_for(lambda: theirs.revoked()[other.node] == ids[:1])
    one.stop()
    app.control.revoke(ids[1])
    two = tasks()
    wait_for(lambda: set(ids[:2]) <= set(ask(app, two, "revoked")))
    late = send(app, "t.add", 1, 2, task_id=ids[1])
    wait_for(lambda: late.state == "REVOKED")


def test_tasks_are_revoked_and_terminated_by_id_and_by_stamp(tasks, app):
    worker = tasks("-c", 1)
    running = send(app, "t.sleep", 60)
    wait_for(lambda: ask(app, worker, "active"))
    stamped = send(app, "t.add", 1, 2, headers={"stamped_headers": ["order"],
                                                "stamps": {"order": ["7", "8"]}})
    other = send(app, "t.add", 2, 2, headers={"stamped_headers": ["order"],
                                              "stamps": {"order": "9"}})
    wait_for(lambda: len(ask(app, worker, "reserved")) == 2)
    assert "flagged as revoked" in ask(app, worker, "revoke_by_stamped_headers",
                                       headers={"order": ["8"]})["ok"]
    assert ask(app, worker, "terminate", task_id=["none"], signal="KILL") == {
        "ok": "terminate: tasks unknown"}
    assert "error" in ask(app, worker, "terminate", task_id=running.id, signal="NONESUCH")
    assert ask(app, worker, "terminate", task_id=running.id, signal="TERM") == {
        "ok": f"terminate: {running.id}"}
    wait_for(lambda: running.state == stamped.state == "REVOKED")
    assert other.get(timeout=20) == 4
    late = send(app, "t.add", 1, 2, headers={"stamped_headers": ["order"],
                                             "stamps": {"order": "8"}})
    wait_for(lambda: late.state == "REVOKED")


def test_limits_and_hands_are_changed_from_afar(tasks, app):
    worker = tasks("-c", 1)
    assert ask(app, worker, "rate_limit", task_name="t.add", rate_limit="5/s") == {
        "ok": "new rate limit set successfully"}
    assert "t.add [rate_limit=5/s]" in ask(app, worker, "registered")
    assert ask(app, worker, "rate_limit", task_name="t.add", rate_limit=None) == {
        "ok": "rate limit disabled successfully"}
    assert "t.add" in ask(app, worker, "registered")
    assert ask(app, worker, "rate_limit", task_name="none", rate_limit="5/s") == {
        "error": "unknown task"}
    assert ask(app, worker, "rate_limit", task_name="t.add", rate_limit="fast")["error"].startswith(
        "Invalid rate limit string: ")
    assert ask(app, worker, "time_limit", task_name="none", soft=1, hard=2) == {
        "error": "unknown task"}
    assert ask(app, worker, "time_limit", task_name="t.sleep", soft=None, hard=0.3) == {
        "ok": "time limits set successfully"}
    late = send(app, "t.sleep", 60)
    wait_for(lambda: late.state == "FAILURE")
    assert "TimeLimitExceeded" in repr(late.result)
    ask(app, worker, "time_limit", task_name="t.sleep", soft=None, hard=None)
    assert ask(app, worker, "pool_grow", n=40) == {"ok": "pool will grow"}
    stats = ask(app, worker, "stats")
    assert stats["pool"]["max-concurrency"] == 41 and stats["prefetch_count"] == 82
    running = [send(app, "t.sleep", 60) for _ in range(3)]
    wait_for(lambda: len(ask(app, worker, "active")) == 3)
    assert "error" in ask(app, worker, "pool_shrink", n=41)
    assert ask(app, worker, "pool_shrink", n=40) == {"ok": "pool will shrink"}
    assert ask(app, worker, "stats")["pool"]["max-concurrency"] == 1
    app.control.terminate([r.id for r in running])
    wait_for(lambda: not ask(app, worker, "active"))


# What may go wrong


def test_garbage_harms_nobody(node, app, broker):
    worker = node()
    with broker.connect() as connection:
        channel = connection.channel()
        from amqp import Message
        for exchange in ("celery.pidbox", "celeryev"):
            for body, how in [
                    ("", {}), ("x", {}), ("[]", {}), ("null", {}), ("[" * 5000, {}),
                    ('{"method": 5}', {}), ('{"method": "ping", "arguments": [1]}', {}),
                    ('{"method": "ping", "destination": 5, "reply_to": []}', {}),
                    ('{"method": "ping", "reply_to": {"exchange": "", "routing_key": "nowhere"}}',
                     {}),
                    ('{"method": "ping", "reply_to": {"exchange": "amq.nonesuch",'
                     ' "routing_key": "x"}}', {}),
                    ('{"method": "ping", "reply_to": {"exchange": "celeryev",'
                     ' "routing_key": "x"}}', {}),
                    ('{"method": "revoke", "arguments": {"task_id": {"a": 1}}}', {}),
                    ('{"method": "query_task", "arguments": {"ids": 7}}', {}),
                    ('{"clock": 9223372036854775807, "type": "worker-elect"}', {}),
                    ("\xff\xfe", {}), ('{"method": "ping"}', {"content_type": "text/plain"}),
                    ('{"method": "ping"}', {"application_headers": {"clock": "x", "b": b"\xff"}})]:
                channel.basic_publish(
                    Message(body, **{"content_type": "application/json", **how}), exchange,
                    "worker.x")
        channel.basic_publish(Message('{"method": "ping"}'), "celery.pidbox", "")
    wait_for(lambda: is_there(app, worker), 10)
    assert ask(app, worker, "clock")["clock"] < 1000000
    worker.wait_for("a message of remote control is not understood")
    assert worker.stderr.count("not understood") < 10


def test_what_is_declared_otherwise_is_used_or_done_without(cycles, node, app, broker):
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("celery.pidbox", "fanout", durable=True, auto_delete=False)
        channel.exchange_declare("celeryev", "topic", durable=False, auto_delete=False)
        channel.exchange_declare("reply.celery.pidbox", "direct", durable=True, auto_delete=False)
        queue = channel.queue_declare("answers").queue
        channel.queue_bind(queue, "reply.celery.pidbox", "k")
        channel.queue_bind(queue, "celeryev", "#")
        worker = node(answers=False)
        from amqp import Message
        wait_for(lambda: "celeryev" in worker.stderr)

        def answered():
            channel.basic_publish(Message(json.dumps(
                {"method": "ping", "ticket": "t", "reply_to": {
                    "exchange": "reply.celery.pidbox", "routing_key": "k"}}),
                content_type="application/json"), "celery.pidbox", "")
            found = []
            while message := channel.basic_get(queue, no_ack=True):
                found.append(json.loads(message.body))
            return {worker.node: {"ok": "pong"}} in found
        wait_for(answered, 10)
    cycles.load(GRAPH)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    assert worker.stderr.count("declared otherwise") <= 5


def test_it_is_there_again_when_the_broker_is(cycles, node, app, broker, sandbox):
    cycles.load(slow(2, 2))
    worker = node()
    assert ask(app, worker, "enable_events")["ok"]
    cycles.tocsin("cycle", env=QUICK)
    wait_for(lambda: len(ask(app, worker, "active")) == 2)
    with broker.connect() as connection:
        # its queue, and the exchange of answers, are taken away
        channel = connection.channel()
        channel.queue_delete(f"{worker.node}.celery.pidbox")
        channel.exchange_delete("celeryev")
    app.close()
    wait_for(lambda: is_there(app, worker), 20)
    sandbox.rabbitmqctl("close_all_connections", "away with you")
    app.close()
    wait_for(lambda: is_there(app, worker), 20)
    wait_for(lambda: cycles.state() == "DONE", 30)
    assert ask(app, worker, "stats")["clock"]


@pytest.mark.long
def test_it_survives_the_brokers_restart(cycles, node, app, broker, sandbox):
    worker = node()
    assert is_there(app, worker)
    sandbox.kill("rabbitmq")
    app.close()
    sandbox.start("rabbitmq")
    wait_for(lambda: is_there(app, worker), 60)


@pytest.mark.first
def test_under_an_alarm_a_limited_number_of_events_waits(cycles, node, app, sandbox, broker):
    """Variables that are there when the alarm comes are measured all the same."""
    groups = [[f"v{g}_{i}" for i in range(100)] for g in range(12)]
    cycles.load("[variables]\n" + "".join(
        f"{name}.sql = \"select repeat('x', 2000)\"\n" for group in groups for name in group)
        + "[evidences]\n" + "".join(
            f"e{g}.definition = \"{' == 0 or '.join(group)} == 0\"\n"
            for g, group in enumerate(groups))
        + "[events]\n" + "".join(f"o{g}.definition = \"e{g}\"\n" for g in range(12)))
    worker = node("-c", 50, env={"TOCSIN_ENABLE_EVENTS": "true", "TOCSIN_PREFETCH": "5000"})
    worker.signal(signal.SIGSTOP)
    cycles.tocsin("cycle", env=QUICK)
    try:
        sandbox.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
        worker.signal(signal.SIGCONT)
        worker.wait_for("the broker takes no messages", 20)
        worker.wait_for("events are dropped, for the broker takes none", 60)
        wait_for(lambda: cycles.db.one("select count(*) from tocsin.job where kind = 'variable'"
                                       " and state = 'done'") == 1200, 60)
    finally:
        sandbox.rabbitmqctl("set_vm_memory_high_watermark", "0.4")
    worker.wait_for("the broker takes events again", 30)
    wait_for(lambda: is_there(app, worker), 20)
    assert ask(app, worker, "stats")["events_dropped"] > 0
    wait_for(lambda: cycles.state().startswith("DONE"), 60)


def test_two_of_one_name_are_told_of(node):
    node(env={"TOCSIN_NODE_NAME": "same@here"})
    second = node(env={"TOCSIN_NODE_NAME": "same@here"}, answers=False)
    second.wait_for("another worker has the name of this one")
