"""tocsin as a client of other people's Celery workers: stock ones, unchanged."""

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

pytest.importorskip("celery")

from cycles import Cycles  # noqa: E402
from harness import wait_for  # noqa: E402
from invariants import books  # noqa: E402, F401
from stock_tasks import Stock  # noqa: E402

CLOCKS = {"TOCSIN_LEASE": "2s", "TOCSIN_SWEEP": "200ms", "TOCSIN_GRACE": "500ms"}


class World(Cycles):
    """Books, a broker, tocsin's workers and stock ones."""

    def __init__(self, tocsin, db, broker, directory):
        tocsin.env.update(CLOCKS)
        super().__init__(tocsin, db, directory)
        self.broker = broker
        self.stocks = []

    def worker(self, *args, env=None):
        worker = self.tocsin.spawn("worker", *args, env=env)
        worker.wait_for("worker is ready", 30)
        return worker

    def stock(self, *args, env=None):
        stock = Stock(self.directory, self.broker, *args, env=env)
        self.stocks.append(stock)
        wait_for(lambda: " ready." in stock.said, 60, lambda: stock.said)
        return stock

    def measure(self, *args, status=None, timeout=90):
        """A cycle of all events, to its end."""
        self.due_again()
        return self.tocsin("cycle", "--wait", *args, status=status, timeout=timeout)

    def load_variables(self, variables):
        """Each in TOML, and an event that needs all of them."""
        text = "".join(f"[variables.{name}]\n{body}\n" for name, body in variables.items())
        text += "".join(f'[evidences.e_{name}]\ndefinition = "{name} is not None"\n'
                        for name in variables)
        text += ('[events.everything]\ninterval = 0\ndefinition = "'
                 + " and ".join(f"e_{name}" for name in variables) + '"\n')
        self.load(text)

    def errors(self):
        return dict(self.db.all("select name, reason || ': ' || error from tocsin.job"
                                " where run_id = %s and state = 'failed'", self.last()))

    def values(self):
        return dict(self.db.all("select name, value from tocsin.job where run_id = %s"
                                " and kind = 'variable' and state = 'done'", self.last()))


@pytest.fixture
def world(tocsin, db, broker, tmp_path):
    made = World(tocsin, db, broker, tmp_path)
    yield made
    for stock in made.stocks:
        stock.kill()


def celery(task, queue=None, limit=None, **args):
    body = f'celery = "{task}"\nargs = {{ {", ".join(f"{k} = {json.dumps(v)}" for k, v in args.items())} }}\n'
    if queue:
        body += f'queue = "{queue}"\n'
    if limit:
        body += f'time_limit = {limit}\n'
    return body


def test_a_cycle_is_computed_half_by_tocsin_and_half_by_a_stock_worker(world):
    world.load_variables({
        **{f"ours{i}": f'sql = "select {i}"' for i in range(4)},
        **{f"theirs{i}": celery("stock.add", "analytics", x=i, y=10) for i in range(4)},
        "default": celery("stock.echo", text="ü", nested=[1, 2.5, [False, "x"]]),
    })
    world.stock("-P", "prefork", "-c", 2, "-Q", "analytics,celery")
    worker = world.worker()
    world.measure(status=0)
    assert world.values() == {
        **{f"ours{i}": i for i in range(4)}, **{f"theirs{i}": i + 10 for i in range(4)},
        "default": {"text": "ü", "nested": [1, 2.5, [False, "x"]]}}
    assert world.signals() == {"everything": "raise"} and world.state() == "DONE"
    assert world.db.one("select count(*) from tocsin.job where run_id = %s and attempts <> 1",
                        world.last()) == 0
    assert world.broker.depth("tocsin") == 0 and world.broker.depth("tocsin.parked") is None
    assert worker.stop() == 0


def test_a_task_that_fails_says_which_and_what_no_value_can_be_says_why(world):
    names = ["nan", "inf", "big", "half", "nul", "set", "long"]
    world.load_variables({"bad": celery("stock.fail", text="boom"),
                          "good": celery("stock.add", x=1),
                          **{f"v_{n}": celery("stock.odd", what=n) for n in names}})
    world.stock("-P", "solo")
    world.worker(env={"TOCSIN_MAX_VALUE": "1MiB"})
    world.measure(status=1)
    errors = world.errors()
    [task_id] = [w.strip("().,") for w in errors["bad"].split() if len(w.strip("().,")) == 36]
    uuid.UUID(task_id)
    assert "stock.fail" in errors["bad"] and errors["bad"].startswith("error: "), errors["bad"]
    for name, why in [("nan", "a NaN or an Infinity"), ("inf", "a NaN or an Infinity"),
                      ("big", "too large"), ("half", "half a character"), ("nul", "NUL"),
                      ("long", "value larger than 1048576 bytes")]:
        assert why in errors.get("v_" + name, ""), (name, errors)
    assert "v_set" in errors	# cannot be sent as JSON: the task fails there
    assert world.values() == {"good": 1}


# A worker that loses what it was asked


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_F_F15_a_stock_worker_that_is_killed_has_lost_its_task_and_is_asked_once_more(world, pool):
    flag = world.directory / "flag"
    world.load_variables({
        "lost": celery("stock.once", "analytics", limit=3, path=str(flag), value=7),
        "ours": 'sql = "select 1"'})
    first = world.stock("-P", pool, "-c", 1, "-Q", "analytics")
    world.worker()
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: first.noted, 30)		# it runs, and was acknowledged before
    first.kill()
    world.stock("-P", pool, "-c", 1, "-Q", "analytics")
    assert cycle.wait(60) == 0
    assert world.values() == {"lost": 7, "ours": 1} and world.state() == "DONE"
    # A solo worker is too busy to acknowledge; then the broker has the task still.
    times = 2 if pool == "prefork" else 1
    assert world.job("lost", "attempts, fence, asks, alone") == (times, times, times, False)
    assert world.db.all("select event, action from tocsin.signal") == [("everything", "raise")]
    assert world.db.one("select count(*) from tocsin.history where name = 'lost'") == 1


def test_F_F15_what_nobody_answers_twice_has_failed(world):
    world.load_variables({"nobody": celery("stock.add", "nowhere", limit=1, x=1),
                          "unknown": celery("stock.unknown", "analytics", limit=1),
                          "ours": 'sql = "select 1"'})
    world.stock("-P", "solo", "-Q", "analytics")
    world.worker("-c", 1)
    world.measure(status=1)
    for name, task, queue in [("nobody", "stock.add", "nowhere"),
                              ("unknown", "stock.unknown", "analytics")]:
        error = world.errors()[name]
        assert error.startswith("timeout: Celery was asked twice"), error
        assert f"task {task} with id " in error and f" in queue {queue}" in error, error
        assert world.job(name, "attempts, asks, alone") == (2, 2, False)
    assert world.values() == {"ours": 1} and world.state() == "DONE_WITH_ERRORS"
    # Nobody has taken them, but they have expired by now.
    wait_for(lambda: world.broker.depth("nowhere") == 0)


# Answers that come twice, late, or from nowhere


def answer(broker, kwargs, args=(5,), queue="tocsin", task="tocsin.answer"):
    """As Celery sends a callback."""
    import amqp
    with broker.connect() as connection:
        connection.channel().basic_publish(amqp.Message(
            json.dumps([list(args), kwargs, {}]), content_type="application/json",
            content_encoding="utf-8", delivery_mode=2,
            application_headers={"lang": "py", "task": task, "id": str(uuid.uuid4())}),
            routing_key=queue)


def test_an_answer_counts_once_and_only_under_the_fence_it_was_asked_under(world):
    world.load_variables({"asked": celery("stock.add", "nowhere", limit=60, x=1),
                          "ours": 'sql = "select 1 from pg_sleep(0)"'})
    worker = world.worker("--executors", "sql,celery")
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: world.db.one("select count(*) from tocsin.job where asked_at is not null"))
    world.db.run("update tocsin.job set fence = 5 where name = 'asked'")
    run, job, fence = world.db.one("select run_id, id, fence from tocsin.job where name = 'asked'")
    evidence = world.db.one("select id from tocsin.job where name = 'e_asked'")
    about = {"installation": str(world.db.one("select uuid from tocsin.installation")),
             "run": run, "job": job, "fence": fence, "name": "asked"}
    for wrong in [{"fence": fence - 1}, {"fence": fence + 1}, {"run": run + 1},
                  {"job": evidence}, {"job": 100000}, {"fence": -1}, {"installation": "x"},
                  {"installation": str(uuid.uuid4())}, {"run": 0}, {"job": "1"}, {"failed": 1},
                  {"more": 1}]:
        answer(world.broker, {**about, **wrong}, args=(6,))
    answer(world.broker, about, args=())
    answer(world.broker, about, args=(1, 2))
    wait_for(lambda: world.broker.depth("tocsin") == 0)
    # An evidence is nobody else's to decide, even while it is running.
    world.db.run("update tocsin.job set state = 'running', fence = 1, lease_until = now() + '1h'"
                 " where id = %s", evidence)
    answer(world.broker, {**about, "job": evidence, "fence": 1})
    wait_for(lambda: world.broker.sandbox.rabbitmqctl(
        "list_queues", "-p", world.broker.vhost, "name", "messages").count("tocsin\t0"))
    assert world.job("asked", "state") == world.job("e_asked", "state") == "running"
    world.db.run("update tocsin.job set state = 'waiting', fence = 0, lease_until = null"
                 " where id = %s", evidence)
    for _ in range(3):
        answer(world.broker, about)
    assert cycle.wait(30) == 0
    answer(world.broker, about, args=(7,))
    wait_for(lambda: world.broker.depth("tocsin") == 0)
    assert worker.stop() == 0
    assert world.values()["asked"] == 5
    assert world.db.all("select value from tocsin.history where name = 'asked'") == [5]
    assert world.db.all("select event, action from tocsin.signal") == [("everything", "raise")]
    # What was no answer at all is kept for people: the last six, and the two without a value.
    assert world.broker.depth("tocsin.parked") == 8


@pytest.mark.parametrize("answers", [
    [{"name": "no_such_name"}],
    [{"failed": "stock.add"}, {}],
    [{}, {"failed": "stock.add"}],
], ids=["under_another_name", "failed_and_done", "done_and_failed"])
def test_what_an_answer_has_come_to_stands_in_the_books(world, tmp_path, answers):
    """A worker remembers what it has settled; of two answers at once one counts."""
    gate = tmp_path / "gate"
    world.load(f"""
        variables.asked = {{ celery = "stock.add", queue = "nowhere", args = {{ x = 1 }} }}
        variables.later.shell = "while [ ! -e {gate} ]; do sleep 0.02; done; echo 1"
        evidences.e.definition = "later == 1 and (asked is None or asked == 5)"
        events.x = {{ definition = "e", interval = 0 }}
        """)
    worker = world.worker("--executors", "shell,celery")
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: world.db.one("select count(*) from tocsin.job where asked_at is not null"))
    run, job, fence = world.db.one("select run_id, id, fence from tocsin.job where name = 'asked'")
    about = {"installation": str(world.db.one("select uuid from tocsin.installation")),
             "run": run, "job": job, "fence": fence, "name": "asked"}
    os.kill(worker.pid, signal.SIGSTOP)
    for wrong in answers:
        answer(world.broker, {**about, **wrong})
    os.kill(worker.pid, signal.SIGCONT)
    wait_for(lambda: world.job("asked", "state") in ("done", "failed"))
    gate.touch()
    state, value = world.db.one("select state, value from tocsin.job where name = 'asked'")
    assert cycle.wait(30) == (state == "failed")
    assert (state, value) in [("done", 5), ("failed", None)]
    [evidence] = world.db.one("select decided_by -> 'evidences' from tocsin.signal")
    told = {v["name"]: (v["state"], v["value"]) for v in evidence["variables"]}
    assert told == {"asked": (state, value), "later": ("done", 1)}
    assert worker.stop() == 0


def test_any_worker_takes_the_answer_and_none_need_live_meanwhile(world):
    world.load_variables({"slow": celery("stock.slow", "analytics", limit=60, seconds=3, value=4)})
    stock = world.stock("-P", "prefork", "-c", 1, "-Q", "analytics")
    first = world.worker("-c", 1)
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: stock.noted and world.db.one(
        "select count(*) from tocsin.job where asked_at is not null"), 30)
    first.kill()
    world.worker()
    assert cycle.wait(60) == 0
    assert world.values() == {"slow": 4} and world.job("slow", "attempts, asks") == (1, 1)


def test_a_slow_task_keeps_no_hand_of_ours_busy(world):
    world.load_variables({**{f"slow{i}": celery("stock.slow", "analytics", seconds=2, value=i)
                             for i in range(4)},
                          **{f"ours{i}": 'sql = "select 1"' for i in range(4)}})
    world.stock("-P", "threads", "-c", 4, "-Q", "analytics")
    world.worker("-c", 1)
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: world.db.one("""select count(*) filter (where state = 'done') = 4
        and count(*) filter (where state = 'running') = 4
        from tocsin.job where kind = 'variable'"""), 30)
    assert cycle.wait(60) == 0


@pytest.mark.parametrize("where", ["ask.before_send", "ask.confirmed", "ask.before_record",
                                   "ask.recorded", "ask.on_answer"])
def test_a_worker_that_dies_while_it_asks_or_is_answered_loses_nothing(world, where):
    world.load_variables({"theirs": celery("stock.add", "analytics", limit=20, x=1, y=1)})
    world.stock("-P", "solo", "-Q", "analytics")
    dies = world.worker(env={"TOCSIN_FAILPOINT": f"{where}=kill@1"})
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    assert dies.wait(30) == -signal.SIGKILL
    world.worker()
    assert cycle.wait(60) == 0
    assert world.values() == {"theirs": 2}
    assert world.db.all("select event, action from tocsin.signal") == [("everything", "raise")]
    assert world.db.one("select count(*) from tocsin.history where name = 'theirs'") == 1


def test_without_a_broker_it_is_refused_in_words(world):
    world.load_variables({"theirs": celery("stock.add", x=1)})
    world.tocsin("cycle", "--local", status=1)
    assert world.errors()["theirs"].startswith("refused: a task of Celery is asked for by workers")
    world.worker("--executors", "sql")
    world.measure(status=1)
    assert "the executor 'celery' is not allowed here" in world.errors()["theirs"]


def test_F_F16_the_result_backend_is_gone_while_a_task_answers(world, redis):
    world.load_variables({"theirs": celery("stock.slow", "analytics", limit=15, seconds=1, value=3)})
    stock = world.stock("-P", "prefork", "-c", 1, "-Q", "analytics", env={"STOCK_BACKEND": redis.url})
    world.worker()
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: stock.noted, 30)
    world.broker.sandbox.stop("redis")
    try:
        assert cycle.wait(90) in (0, 1)
    finally:
        world.broker.sandbox.start("redis")
    # The link is followed before the result is stored, so it needs no backend.
    assert world.values() == {"theirs": 3} and world.state() == "DONE"
    assert world.db.all("select event, action from tocsin.signal") == [("everything", "raise")]


# Reactions


def test_a_reaction_is_a_task_with_the_signal_in_its_arguments(world):
    world.load("""
        [variables.cash]
        sql = "select 5"
        [evidences.low]
        definition = "cash < 10"
        [events.bell]
        definition = "low"
        interval = 0
        [reactions.ring]
        events = ["bell"]
        level = "alarm"
        celery = "stock.alarm"
        queue = "alarms"
        """)
    stock = world.stock("-P", "solo", "-Q", "alarms")
    world.tocsin("cycle", "--local")
    assert world.db.all("select state, attempts from tocsin.delivery") == [("pending", 0)]
    worker = world.worker()
    wait_for(lambda: stock.noted, 30)
    key = world.db.one("select key from tocsin.delivery")
    assert [json.loads(line) for line in stock.noted] == [{
        "event": "bell", "signal": "raise", "cycle": world.last(), "level": "alarm", "key": str(key),
        "values": {"cash": 5}, "hold": 1, "id": str(uuid.uuid5(uuid.UUID(str(key)), "celery"))}]
    wait_for(lambda: world.db.all("select state, attempts from tocsin.delivery")
             == [("delivered", 1)])
    assert worker.stop() == 0


def test_a_reaction_waits_for_the_broker(world):
    world.load("""
        [variables.cash]
        sql = "select 5"
        [evidences.low]
        definition = "cash < 10"
        [events.bell]
        definition = "low"
        interval = 0
        [reactions.ring]
        events = ["bell"]
        celery = "stock.alarm"
        """)
    world.tocsin("cycle", "--local")
    world.broker.sandbox.stop("rabbitmq")
    try:
        worker = world.worker()
        worker.wait_for("the broker cannot be used")
    finally:
        world.broker.sandbox.start("rabbitmq")
    wait_for(lambda: world.db.all("select state, attempts from tocsin.delivery")
             == [("delivered", 1)], 60)
    assert world.broker.depth("celery") == 1


# tocsin call


RPC = {"STOCK_BACKEND": "rpc://"}


def call(world, *args, env=None, **options):
    return world.tocsin("call", *args, env=env, **options)


def test_a_call_prints_what_the_task_came_to(world):
    world.stock("-P", "solo", "-Q", "celery,other", env=RPC)
    r = call(world, "stock.add", "x=2", "y=3", "--wait")
    assert r.stdout == "5\n" and r.stderr == ""
    assert call(world, "stock.add", "--args", "[2]", "y=0.5", "--wait", "-Q", "other").stdout == "2.5\n"
    assert call(world, "stock.add", "x=" + "9" * 40, "-w").stdout == "9" * 40 + "\n"
    assert call(world, "stock.echo", 'value={"b": [null, "ü\\u00fc"], "a": 1e400}', "-w").stdout \
        in ('{"b": [null, "\\u00fc\\u00fc"], "a": Infinity}\n',)
    assert call(world, "stock.odd", 'what="nan"', "-w").stdout == "NaN\n"
    r = call(world, "stock.add", "x=1", "--json", "--wait").json()
    assert (r["task"], r["state"], r["result"], r["traceback"]) == ("stock.add", "SUCCESS", 1, None)
    uuid.UUID(r["task_id"])
    # Nothing is left behind.
    assert "answers" not in world.broker.sandbox.rabbitmqctl(
        "list_consumers", "-p", world.broker.vhost)


def test_a_call_that_fails_says_what_python_said(world):
    stock = world.stock("-P", "solo", env=RPC)
    r = call(world, "stock.fail", 'text="no such customer"', "--wait", status=1)
    assert r.stdout == "" and r.stderr.startswith("tocsin call: stock.fail (")
    assert r.stderr.endswith("): ValueError('no such customer')\n")
    r = call(world, "stock.fail", "-w", "-j", status=1)
    assert r.json()["state"] == "FAILURE" and r.json()["result"]["exc_type"] == "ValueError"
    assert "raise ValueError" in r.json()["traceback"]
    r = call(world, "stock.unknown", "-w", status=1)
    assert "NotRegistered('stock.unknown')" in r.stderr
    # expired before it begins
    r = call(world, "stock.add", "x=1", "-w", "--countdown", "2s", "--expires", "1ms", status=1)
    assert "TaskRevokedError('expired')" in r.stderr
    assert stock.alive


def test_a_call_does_not_wait_for_ever(world):
    r = call(world, "stock.add", "x=1", "--wait", "--timeout", "300ms", status=75)
    assert "no result of stock.add within 300ms; its id is " in r.stderr
    r = call(world, "stock.add", "x=1")
    uuid.UUID(r.stdout.strip())
    stock = world.stock("-P", "solo")
    wait_for(lambda: stock.noted == ["add 1 0"] * 2)
    r = call(world, "stock.add", "x=1", "--broker-url", "amqp://127.0.0.1:1//", status=75)
    assert "tocsin call: " in r.stderr and r.stderr.count("\n") == 1


def test_a_call_finds_the_result_in_the_workers_backend(world, redis):
    world.stock("-P", "solo", env={"STOCK_BACKEND": redis.url})
    env = {"TOCSIN_RESULT_BACKEND": redis.url}
    assert call(world, "stock.add", "x=2", "-w", env=env).stdout == "2\n"
    r = call(world, "stock.fail", "-w", env=env, status=1)
    assert r.stderr.endswith("): ValueError('boom')\n")


@pytest.mark.parametrize("args, message", [
    (["x", "y"], "'y' should be ARG=JSON"),
    (["x", "=1"], "'=1' should be ARG=JSON"),
    (["x", "y=text"], "y: "),
    (["x", "y=1", "y=2"], "y is given twice"),
    (["x", "--args", "{}"], "--args is an array of JSON, such as '[1, \"two\"]'"),
    (["x", "--args", "[1"], "--args: "),
    (["x", "--timeout", "1s"], "--timeout belongs to --wait"),
    (["x", "--countdown", "soon"], "--countdown: 'soon' is not a length of time"),
    ([""], "the name of a task has 1 to 1024 bytes"),
])
def test_a_wrong_call_is_told_of_before_anything_is_sent(tocsin, args, message):
    r = tocsin("call", *args, status=2)
    assert r.stderr.startswith("tocsin call: " + message) and r.stdout == "", r


# tocsin inspect


def test_stock_workers_are_inspected_and_controlled(world):
    stock = world.stock("-P", "prefork", "-c", 1, "-n", "one@here")
    world.stock("-P", "solo", "-n", "two@here", "-Q", "other")

    def ask(*args, status=0):
        return world.tocsin("inspect", *args, "--timeout", "2s", status=status)

    def tell(*args):
        return ask(*args, "-d", "one@here", "--json").json()["one@here"]

    assert ask("status").lines == ["one@here: OK", "two@here: OK", "", "2 nodes online."]
    assert ask("ping").lines == ["->  one@here: OK", "        pong", "->  two@here: OK",
                                 "        pong", "", "2 nodes online."]
    assert ask("registered", "-d", "one@here").lines == [
        "->  one@here: OK", "    * stock.add", "    * stock.alarm", "    * stock.echo",
        "    * stock.fail", "    * stock.odd", "    * stock.once", "    * stock.slow", "",
        "1 node online."]
    assert tell("active") == [] == tell("reserved") == tell("scheduled") == tell("revoked")
    assert "    - empty -" in ask("active").lines
    task = call(world, "stock.slow", "seconds=60").stdout.strip()
    wait_for(lambda: [t["id"] for t in tell("active")] == [task])
    assert tell("query_task", f'ids=["{task}"]')[task][0] == "active"
    assert '"id": "' + task in ask("active").stdout
    assert "terminate: " + task in tell("revoke", f'task_id="{task}"', "terminate=true")["ok"]
    wait_for(lambda: tell("active") == [])
    assert tell("revoked") == [task]
    assert tell("stats")["pool"]["max-concurrency"] == 1
    assert tell("active_queues")[0]["name"] == "celery"
    assert tell("rate_limit", 'task_name="stock.add"', 'rate_limit="10/m"') \
        == {"ok": "new rate limit set successfully"}
    assert "stock.add [rate_limit=10/m]" in tell("registered", 'taskinfoitems=["rate_limit"]')
    assert tell("pool_grow", "n=1") == {"ok": "pool will grow"}
    assert tell("add_consumer", 'queue="more"') == {"ok": "add consumer more"}
    assert tell("cancel_consumer", 'queue="more"') == {"ok": "no longer consuming from more"}
    assert "clock" in tell("clock") and tell("heartbeat") is None
    assert "ok" in tell("enable_events") and "ok" in tell("disable_events")
    assert "software ->" in ask("report", "-d", "one@here").stdout
    assert tell("conf")["broker_url"].startswith("amqp://guest:****")
    r = ask("frobnicate", "-d", "one@here", status=1)
    assert r.lines[0] == "->  one@here: ERROR"
    assert ask("shutdown", "-d", "one@here").stdout == ""
    wait_for(lambda: not stock.alive, 30)
    assert ask("status").lines == ["two@here: OK", "", "1 node online."]
    assert ask("ping", "-d", "one@here", status=75).stderr \
        == "tocsin inspect: no node has answered within 2s\n"


def test_our_own_workers_are_inspected_too(world):
    world.worker()
    r = world.tocsin("inspect", "ping", "--timeout", "2s", "--json").json()
    assert list(r.values()) == [{"ok": "pong"}]


@pytest.mark.parametrize("args, message", [
    (["act ive"], "'act ive' is no command"),
    (["active", "x"], "'x' should be ARG=JSON"),
    (["active", "-d", ""], "--destination: the name of a node has"),
    (["active", "--timeout", "x"], "--timeout: 'x' is not a length of time"),
])
def test_a_wrong_inspection_is_told_of(tocsin, args, message):
    r = tocsin("inspect", *args, status=2)
    assert r.stderr.startswith("tocsin inspect: " + message) and r.stdout == "", r


def test_what_is_asked_is_told_by_status(world):
    world.load_variables({"asked": celery("stock.add", "nowhere", limit=60, x=1)})
    worker = world.worker()
    world.tocsin("cycle")
    wait_for(lambda: world.db.one("select count(*) from tocsin.job where asked_at is not null"))
    assert "Celery: task stock.add with id " in world.tocsin("status", world.last()).stdout
    [job] = world.tocsin("status", world.last(), "--json").json()["running"]
    assert job["asked"].endswith(" in queue nowhere")
    # A worker that is told to go has nothing to wait for, and takes nothing back.
    assert worker.stop() == 0
    assert world.job("asked", "state, attempts") == ("running", 1)
    world.db.run("update tocsin.job set lease_until = now() - interval '1s', asks = 2")
    world.worker()
    wait_for(lambda: world.state() == "DONE_WITH_ERRORS", 30)


def test_a_variable_may_be_a_task_of_our_own_workers(world, redis):
    (world.directory / "tocsin.toml").write_text(
        'executors = ["sql", "celery", "shell"]\n[tasks."our.twice"]\nargs = ["n"]\n'
        'sql = "select 2 * :n::int"\n[tasks."our.fault"]\nshell = "exit 3"\n')
    world.load_variables({"twice": celery("our.twice", "tocsin", n=21),
                          "fault": celery("our.fault", "tocsin")})
    world.worker()
    world.measure(status=1)
    assert world.values() == {"twice": 42}
    assert "the Celery task our.fault failed" in world.errors()["fault"]


WRAPPED = [
    ({"__type__": "decimal", "__value__": "12.50"}, 12.5),
    ({"__type__": "decimal", "__value__": "12.00"}, 12),
    ({"__type__": "decimal", "__value__": "-7"}, -7),
    ({"__type__": "decimal", "__value__": "NaN"}, "NaN"),
    ({"__type__": "datetime", "__value__": "2026-05-01T09:00:00+00:00"}, "2026-05-01T09:00:00+00:00"),
    ({"__type__": "date", "__value__": "2026-05-01"}, "2026-05-01"),
    ({"__type__": "uuid", "__value__": {"hex": "6f2c0a5e000040008000000000000001"}},
     "6f2c0a5e-0000-4000-8000-000000000001"),
    ({"__type__": "tree", "__value__": 1}, {"__type__": "tree", "__value__": 1}),
    ({"__type__": "decimal", "__value__": "1", "x": 1}, {"__type__": "decimal", "__value__": "1", "x": 1}),
]


def test_what_newer_versions_of_celery_wrap_is_unwrapped(world):
    world.load_variables({"asked": celery("stock.add", "nowhere", limit=60, x=1)})
    world.worker()
    world.due_again()
    cycle = world.tocsin.spawn("cycle", "--wait")
    wait_for(lambda: world.db.one("select count(*) from tocsin.job where asked_at is not null"))
    run, job, fence = world.db.one("select run_id, id, fence from tocsin.job where name = 'asked'")
    answer(world.broker, {"installation": str(world.db.one("select uuid from tocsin.installation")),
                          "run": run, "job": job, "fence": fence, "name": "asked"},
           args=[{"all": [wrapped for wrapped, _ in WRAPPED]}])
    assert cycle.wait(30) == 0
    got = world.values()["asked"]["all"]
    assert got == [plain for _, plain in WRAPPED]
    assert [type(value) for value in got] == [type(plain) for _, plain in WRAPPED]
