"""Tasks of Celery's clients: what a worker holds to while it does them.

What they come to, case by case, is compared with a stock worker in
test_celery_conformance.py; here is what happens when somebody dies, waits,
stops or comes twice."""

import json
import signal
import time
import uuid

import celery
import pytest
from celery.exceptions import TaskRevokedError

from cycles import QUICK
from harness import wait_for

SETTINGS = """
    result_backend = "redis"
    executors = ["sql", "shell"]
    [tasks."t.add"]
    sql = "select :x::int + :y::int"
    args = ["x", "y"]
    [tasks."t.note"]
    shell = 'echo "$TOCSIN_ARG_WORD" >>{notes}; echo "$TOCSIN_ARG_WORD"'
    args = ["word"]
    [tasks."t.wait"]
    shell = 'echo begun >>{notes}; while ! [ -e {gate} ]; do sleep 0.02; done; echo through'
    time_limit = 60
    [tasks."t.wait_early"]
    shell = 'echo begun >>{notes}; while ! [ -e {gate} ]; do sleep 0.02; done; echo through'
    acks_late = false
    time_limit = 60
    [tasks."t.flaky"]
    shell = 'echo tried >>{notes}; [ $(wc -l <{notes}) -ge 3 ] && echo at last'
    max_retries = 5
    retry_backoff = "50ms"
    [tasks."t.suicide"]
    shell = 'echo tried >>{notes}; [ $(wc -l <{notes}) -ge 2 ] && echo alive && exit; kill -9 $$'
    reject_on_worker_lost = true
    [tasks."t.slow"]
    shell = 'echo "$TOCSIN_ARG_WORD" >>{notes}'
    args = ["word"]
    rate_limit = "2/s"
    """


class Shop:
    """A client, the files that its tasks write, and workers."""

    def __init__(self, tocsin, db, broker, redis, directory):
        self.tocsin, self.db, self.broker = tocsin, db, broker
        self.notes, self.gate = directory / "notes", directory / "gate"
        self.notes.write_text("")
        self.settings = directory / "tocsin.toml"
        self.settings.write_text(SETTINGS.format(notes=self.notes, gate=self.gate))
        self.app = celery.Celery("client", broker=broker.url, backend=redis.url)
        self.app.conf.task_default_queue = "tocsin"
        tocsin("init")

    def worker(self, *args, env=None):
        started = self.tocsin.spawn("worker", *args, env={**QUICK, **(env or {})})
        started.wait_for("worker is ready", 20)
        return started

    def send(self, name, *args, **options):
        return self.app.send_task(name, args, **options)

    def noted(self):
        return self.notes.read_text().split()

    def wait_until_noted(self, *words):
        wait_for(lambda: self.noted() == list(words), 20, lambda: f"noted: {self.noted()}")


@pytest.fixture
def shop(tocsin, db, broker, redis, tmp_path):
    made = Shop(tocsin, db, broker, redis, tmp_path)
    yield made
    made.app.close()


def test_a_task_whose_worker_dies_is_done_by_another(shop):
    first = shop.worker()
    result = shop.send("t.wait")
    shop.wait_until_noted("begun")
    first.kill()
    shop.worker()
    shop.wait_until_noted("begun", "begun")
    shop.gate.touch()
    assert result.get(timeout=20) == "through"


def test_one_that_is_acknowledged_early_is_not_begun_twice(shop):
    first = shop.worker()
    shop.send("t.wait_early")
    shop.wait_until_noted("begun")
    first.kill()
    shop.worker()
    shop.gate.touch()
    assert shop.send("t.add", 1, 2).get(timeout=20) == 3
    assert shop.broker.depth("tocsin") == 0
    assert shop.noted() == ["begun"]


def test_what_runs_when_the_broker_goes_is_not_begun_again(shop, sandbox):
    shop.worker()
    late, early = shop.send("t.wait"), shop.send("t.wait_early")
    shop.wait_until_noted("begun", "begun")
    sandbox.stop("rabbitmq")
    sandbox.start("rabbitmq")
    assert shop.send("t.add", 1, 2).get(timeout=60) == 3
    shop.gate.touch()
    assert late.get(timeout=20) == "through" and early.get(timeout=20) == "through"
    assert shop.noted() == ["begun", "begun"]
    wait_for(lambda: shop.broker.depth("tocsin") == 0, 10)


def test_a_stop_gives_back_what_waits_and_lets_end_what_runs(shop):
    first = shop.worker("-c", 1, env={"TOCSIN_GRACE": "20s"})
    runs, waits = shop.send("t.wait"), shop.send("t.note", "waited")
    shop.wait_until_noted("begun")
    first.signal(signal.SIGTERM)
    first.wait_for("stopping")
    wait_for(lambda: shop.broker.depth("tocsin") == 1, 20)
    shop.gate.touch()
    assert first.wait() == 0
    assert runs.get(timeout=20) == "through"
    shop.worker()
    assert waits.get(timeout=20) == "waited"
    assert shop.noted() == ["begun", "waited"]


def test_after_grace_a_late_one_goes_back_and_an_early_one_has_failed(shop):
    first = shop.worker(env={"TOCSIN_GRACE": "100ms"})
    late, early = shop.send("t.wait"), shop.send("t.wait_early")
    shop.wait_until_noted("begun", "begun")
    assert first.stop() == 0
    with pytest.raises(Exception, match="the worker was stopped"):
        early.get(timeout=20)
    shop.gate.touch()
    shop.worker()
    assert late.get(timeout=20) == "through"


def test_a_delayed_task_outlives_its_worker_and_holds_up_nobody(shop):
    first = shop.worker("-c", 1, env={"TOCSIN_PREFETCH": "1"})
    late = [shop.send("t.note", f"late{n}", countdown=2) for n in range(5)]
    wait_for(lambda: shop.db.one("select count(*) from tocsin.delayed_task") == 5, 10)
    assert shop.send("t.add", 2, 2).get(timeout=10) == 4
    wait_for(lambda: shop.broker.depth("tocsin") == 0, 10)
    assert shop.noted() == []
    first.kill()
    shop.worker()
    assert [result.get(timeout=20) for result in late] == [f"late{n}" for n in range(5)]
    assert sorted(shop.noted()) == [f"late{n}" for n in range(5)]
    wait_for(lambda: shop.db.one("select count(*) from tocsin.delayed_task") == 0, 10)


def test_a_delayed_task_is_not_begun_before_its_time(shop):
    shop.worker()
    sent = time.time()
    assert shop.send("t.note", "now", countdown=1).get(timeout=20) == "now"
    assert time.time() - sent >= 1


def test_a_revoked_task_does_not_run_and_a_later_worker_knows_it(shop):
    first = shop.worker()
    doomed = str(uuid.uuid4())
    # what nobody listens to yet is said in vain
    wait_for(lambda: shop.app.control.ping(timeout=0.5), 20)
    shop.app.control.revoke(doomed)
    wait_for(lambda: shop.db.all("select id from tocsin.revoked_task") == [doomed], 10)
    assert first.stop() == 0
    shop.worker()
    with pytest.raises(TaskRevokedError):
        shop.send("t.note", "doomed", task_id=doomed).get(timeout=20)
    assert shop.noted() == []


def test_a_failed_task_is_tried_again_by_its_rule(shop):
    shop.worker()
    assert shop.send("t.flaky").get(timeout=20) == "at last"
    assert shop.noted() == ["tried"] * 3


def test_a_command_that_is_killed_comes_back_where_that_is_wanted(shop):
    shop.worker()
    assert shop.send("t.suicide").get(timeout=20) == "alive"


def test_a_rate_is_kept_and_others_pass(shop):
    shop.worker()
    slow = [shop.send("t.slow", f"s{n}") for n in range(3)]
    assert shop.send("t.add", 1, 1).get(timeout=10) == 2
    began = time.time()
    for result in slow:
        result.get(timeout=20)
    # three of them, half a second apart; the first began at once
    assert time.time() - began > 0.6
    assert shop.noted() == ["s0", "s1", "s2"]


def test_tasks_and_cycles_share_the_hands_of_a_worker(shop, tmp_path):
    graph = tmp_path / "graph.toml"
    graph.write_text('[variables.v]\nsql = "select 1"\n[evidences.e]\ndefinition = "v == 1"\n'
                     '[events.x]\ndefinition = "e"\ninterval = 0\n')
    shop.tocsin("load", graph)
    shop.worker("-c", 1)
    blocked = shop.send("t.wait")
    shop.wait_until_noted("begun")
    shop.tocsin("cycle")
    assert shop.db.one("select state from tocsin.job where name = 'v'") == "queued"
    shop.gate.touch()
    assert blocked.get(timeout=20) == "through"
    wait_for(lambda: shop.db.one("select state from tocsin.run") == "DONE", 20)


def test_the_tasks_are_read_again_with_the_settings(shop):
    worker = shop.worker()
    shop.settings.write_text(shop.settings.read_text() + '\n    [tasks."t.new"]\n    sql = "select 42"\n')
    worker.signal(signal.SIGHUP)
    worker.wait_for("changed=tasks")
    assert shop.send("t.new").get(timeout=20) == 42


def test_a_worker_with_wrong_tasks_says_where(shop):
    shop.settings.write_text('[tasks."t.new"]\nsql = "select :x"\n')
    refused = shop.tocsin("worker", status=78)
    assert "tocsin.toml:2:15: tasks.t.new: sql: args does not name 'x'" in refused.stderr


def test_results_wait_for_a_redis_that_is_away(shop, sandbox):
    shop.worker()
    assert shop.send("t.add", 1, 1).get(timeout=20) == 2
    sandbox.stop("redis")
    try:
        message = shop.app.amqp.as_task_v2("11111111-2222-3333-4444-555555555555", "t.note", ["x"], {})
        with shop.app.amqp.producer_pool.acquire() as producer:
            shop.app.amqp.send_task_message(producer, "t.note", message)
        shop.wait_until_noted("x")
    finally:
        sandbox.start("redis")
    result = shop.app.AsyncResult("11111111-2222-3333-4444-555555555555")
    wait_for(lambda: result.state == "SUCCESS", 30)
    assert result.result == "x" and shop.noted() == ["x"]


def test_a_cycle_is_a_task_and_asked_twice_it_is_one_run(shop, tmp_path):
    graph = tmp_path / "graph.toml"
    graph.write_text('[variables.v]\nsql = "select 1"\n[evidences.e]\ndefinition = "v == 1"\n'
                     '[events.x]\ndefinition = "e"\ninterval = 0\n')
    shop.tocsin("load", graph)
    shop.worker("-c", 1)
    task_id = str(uuid.uuid4())
    first = shop.send("tocsin.cycle", kwargs={"wait": True}, task_id=task_id).get(timeout=30)
    assert first["state"] == "DONE" and first["cycle"] == 1
    assert shop.db.one("select origin from tocsin.run") == task_id
    shop.app.AsyncResult(task_id).forget()
    again = shop.send("tocsin.cycle", kwargs={"wait": True}, task_id=task_id).get(timeout=30)
    assert again["cycle"] == 1 and again["state"] == "DONE"
    other = shop.send("tocsin.cycle", kwargs={"agent": "nobody"}).get(timeout=30)
    assert other["cycle"] == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'nix'"):
        shop.send("tocsin.cycle", kwargs={"nix": 1}).get(timeout=30)
    with pytest.raises(TaskRevokedError):
        shop.send("tocsin.cycle", expires=-1).get(timeout=30)
    assert shop.db.one("select count(*) from tocsin.run") == 2


def test_a_task_whose_answer_cannot_be_read_has_failed(shop, failpoints):
    shop.worker("-c", 1, env={"TOCSIN_FAILPOINT": "child.read=error"})
    why = r"the output cannot be read( \(on standard error\))?: Input/output error"
    with pytest.raises(Exception, match=why):
        shop.send("t.note", "x").get(timeout=30)
    with pytest.raises(RuntimeError, match=why):
        shop.send("tocsin.cycle").get(timeout=30)


def test_the_settings_of_a_cycle_that_is_a_task_are_seen_by_nobody(shop, tmp_path):
    shop.settings.write_text(shop.settings.read_text().replace(
        'result_backend', 'queue = "tocsin"\n    result_backend', 1))
    shop.worker()
    done = shop.send("tocsin.cycle", kwargs={"agent": "it's $(x)"}).get(timeout=30)
    assert done["agent"] == "it's $(x)" and json.dumps(done)


def test_results_in_a_database_are_dropped_when_they_are_old(shop):
    shop.settings.write_text(shop.settings.read_text().replace(
        '"redis"', f'"db+postgresql:///{shop.db.name}"\n    result_expires = "1h"', 1))
    shop.app.conf.result_backend = None
    shop.worker()
    for word in "old", "new":
        shop.send("t.note", word, task_id=word)
    done = "select count(*) from celery_taskmeta where status = 'SUCCESS'"
    wait_for(lambda: shop.db.one("select to_regclass('celery_taskmeta') is not null"), 20)
    wait_for(lambda: shop.db.one(done) == 2, 20)
    shop.db.run("update celery_taskmeta set date_done = date_done - interval '2 hours'"
                " where task_id = 'old'")
    shop.send("celery.backend_cleanup")
    wait_for(lambda: shop.db.all("select task_id from celery_taskmeta where task_id in ('old', 'new')")
             == ["new"], 20)


@pytest.mark.parametrize("options, error", [
    ({"exchange": "nowhere", "routing_key": "x"}, "no exchange 'nowhere'"),
    ({"exchange": "amq.rabbitmq.trace", "routing_key": "x"}, "amq.rabbitmq.trace"),
    ({"exchange": "e" * 256, "routing_key": "x"}, "longer than 255 bytes"),
    ({"queue": "q" * 256}, "longer than 255 bytes"),
    ({"queue": "amq.nobody"}, "no queue 'amq.nobody'"),
    ({"headers": {"h" * 256: 1}}, "the name of a header"),
    ({"reply_to": "q" * 256}, None),
    ({"expires": 1e12}, None),
], ids=["no_exchange", "forbidden_exchange", "long_exchange", "long_queue", "no_queue",
        "long_header", "long_reply_to", "far_expires"])
def test_what_can_never_be_sent_fails_its_task_and_holds_up_nobody(shop, options, error):
    worker = shop.worker()
    follower = {"task": "t.add", "args": [1, 2], "kwargs": {}, "options": options,
                "subtask_type": None, "immutable": True}
    result = shop.send("t.note", "x", link=[follower])
    if error:
        with pytest.raises(ValueError, match=error):
            result.get(timeout=20)
    else:
        assert result.get(timeout=20) == "x"
    chain = shop.app.signature("t.add", (1, 1)) | shop.app.signature("t.add", (3,))
    assert chain.apply_async().get(timeout=20) == 5
    wait_for(lambda: shop.broker.depth("tocsin") == 0, 10)
    assert worker.stop() == 0
    assert shop.noted() == ["x"]


def test_a_delayed_task_whose_headers_hold_a_nul_is_done(shop):
    shop.worker()
    late = shop.send("t.note", "x", countdown=1, shadow="a\0b", headers={"own": "c\0d"})
    assert late.get(timeout=20) == "x"
    wait_for(lambda: shop.db.one("select count(*) from tocsin.delayed_task") == 0, 10)


def test_tasks_stay_with_the_broker_while_too_many_results_wait(shop, sandbox):
    shop.settings.write_text(shop.settings.read_text() + """
    [tasks."t.early"]
    sql = "select length(:word::text)"
    args = ["word"]
    acks_late = false
    """)
    shop.worker()
    assert shop.send("t.add", 1, 1).get(timeout=20) == 2
    ids = [str(uuid.uuid4()) for _ in range(450)]
    sandbox.stop("redis")
    try:
        with shop.app.amqp.producer_pool.acquire() as producer:
            for id in ids:
                message = shop.app.amqp.as_task_v2(id, "t.early", ["x" * 200_000], {})
                shop.app.amqp.send_task_message(producer, "t.early", message)
        depths = [0]

        def stands():
            time.sleep(1)
            depths.append(shop.broker.depth("tocsin"))
            return depths[-1] == depths[-2]
        wait_for(stands, 60)
        assert depths[-1] > 0
    finally:
        sandbox.start("redis")
    shop.app.backend.client.connection_pool.disconnect()  # those of before
    wait_for(lambda: shop.app.backend.client.exists(*[f"celery-task-meta-{id}" for id in ids]) == 450, 60)
    assert shop.broker.depth("tocsin") == 0


def test_cycles_that_are_waited_for_do_not_keep_their_variables_out(shop, tmp_path):
    graph = tmp_path / "graph.toml"
    graph.write_text('[variables.v]\nsql = "select 1"\n[evidences.e]\ndefinition = "v == 1"\n'
                     '[events.x]\ndefinition = "e"\ninterval = 0\n')
    shop.tocsin("load", graph)
    cycles = [shop.send("tocsin.cycle", kwargs={"wait": True, "if_busy": "wait"}) for _ in range(3)]
    shop.worker("-c", 1, env={"TOCSIN_PREFETCH": "2"})
    assert [cycle.get(timeout=30)["state"] for cycle in cycles] == ["DONE"] * 3
    assert shop.send("t.add", 1, 1).get(timeout=20) == 2


def test_a_call_that_is_answered_while_it_asks_the_store_too_ends_well(shop):
    shop.worker()
    for n in range(20):
        called = shop.tocsin("call", "t.add", f"x={n}", "y=1", "--queue", "tocsin", "--wait")
        assert called.stdout == f"{n + 1}\n"
