"""Result backends: what tocsin stores, and a stock Celery client reads.

The tool tests/outside/backend_probe is wire/backend.h with a line of JSON for
each call and each event; the client is Debian's python3-celery in this process.
"""

import contextlib
import json
import os
import pickle
import signal
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import celery
import celery.exceptions
import pytest
from celery.backends.database import DatabaseBackend
from celery.backends.redis import RedisBackend
from celery.result import AsyncResult, GroupResult

import probe as probe_base
from certificates import certificates  # noqa: F401
from harness import wait_for
from proxy import Proxy

QUICK = {"TOCSIN_CONNECT_TIMEOUT": "5s", "TOCSIN_CONFIRM_TIMEOUT": "2s", "TOCSIN_HEARTBEAT": "2s"}


class Probe(probe_base.Probe):
    program = "backend_probe"

    def open(self, url=None, transport=False):
        self("open", url, transport)
        return self.next("opened")

    def stored(self, **fields):
        """Store it, and wait until it is."""
        fields.setdefault("id", str(uuid.uuid4()))
        self("store", given(**fields))
        assert self.next("stored", 20, id=fields["id"])["ok"]
        return fields["id"]

    def fetched(self, *ids):
        self("fetch", ids)
        event = self.next("fetched")
        return event["results"] if event["ok"] else None

    def count(self, group, id, value=None, state="SUCCESS", index=None, raw=None):
        self("count", {"group": group, "id": id, "state": state, "index": index,
                       "result": raw if raw is not None else json.dumps(value)})
        event = self.next("counted", id=id)
        assert event["ok"]
        return event

    def state(self):
        self("state")
        return self.next("state")


def given(**fields):
    """JSON values as texts."""
    for name in "value", "message", "children", "args", "kwargs":
        if name in fields and not isinstance(fields[name], str):
            fields[name] = json.dumps(fields[name])
        elif name in fields:
            fields[name] = fields[name].removeprefix("raw:") \
                if fields[name].startswith("raw:") else json.dumps(fields[name])
    return {"state": "SUCCESS", **fields}


@pytest.fixture
def new_probe(tmp_path):
    probes = []

    def make(**env):
        probes.append(Probe(tmp_path, len(probes), {**QUICK, **env}))
        return probes[-1]
    yield make
    for each in probes:
        each.end()


def client(backend, broker="memory://", **conf):
    app = celery.Celery("test", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf)
    # One for all databases of a process: it has to look again whether there are tables.
    DatabaseBackend.ResultSession.__defaults__[0].prepared = False
    return app


def sqlalchemy_url(db):
    env = db.env
    return (f"db+postgresql://{env['PGUSER']}@/{db.name}"
            f"?host={env['PGHOST']}&port={env['PGPORT']}")


class Kept:
    """A backend that keeps results, and its stock client."""

    def __init__(self, probe, app):
        self.probe, self.app = probe, app

    def result(self, **fields):
        return AsyncResult(self.probe.stored(**fields), app=self.app)


@pytest.fixture(params=["redis", "db"])
def kept(request, new_probe):
    if request.param == "redis":
        redis = request.getfixturevalue("redis")
        probe, app = new_probe(**redis.env), client(redis.url)
        probe.open("redis")
    else:
        db = request.getfixturevalue("db")
        probe, app = new_probe(**db.env), client(sqlalchemy_url(db))
        probe.open("db+postgresql:///" + db.name)
    yield Kept(probe, app)
    app.close()


# What the client reads


NESTED = {"a": [1, 2.5, None, True, False, {"b": {"c": [[], {}]}}], "é": "\u2028 \U0001f514 \"\\"}
VALUES = [
    None, True, 0, -1, 255, 256, 65536, 2**31 - 1, -2**31, 2**31, 2**63, -2**64, 10**400, -10**400,
    0.1, -2.5e300, 1e22, "", "plain", "Grüße \U0001f514 \u0000 \ud800 end", [], {}, [[[[1]]]], NESTED,
    "x" * (1 << 20), list(range(5000))]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:20])
def test_every_value_comes_back_as_it_was(kept, value):
    result = kept.result(value=value)
    assert result.get(timeout=10) == value and type(result.result) is type(value)
    assert result.state == "SUCCESS" and result.traceback is None


def test_what_json_does_not_know_but_python_writes_comes_back(kept):
    got = kept.result(value="raw:[NaN, Infinity, -Infinity, -0.0, 1E5]").get(timeout=10)
    assert got[0] != got[0] and got[1:3] == [float("inf"), float("-inf")] and got[4] == 1e5


@pytest.mark.parametrize("type, module, message, expected", [
    ("ValueError", "builtins", ["no such customer: 'é'"], ValueError),
    ("KeyError", "builtins", ["a"], KeyError),
    ("TypeError", "builtins", ["f() missing 1 required positional argument: 'x'"], TypeError),
    ("NotRegistered", "celery.exceptions", ["t.none"], celery.exceptions.NotRegistered),
    ("SoftTimeLimitExceeded", "billiard.exceptions", [],
     celery.exceptions.SoftTimeLimitExceeded),
    ("TimeLimitExceeded", "billiard.exceptions", [2], celery.exceptions.TimeLimitExceeded),
    ("WorkerLostError", "billiard.exceptions", ["Worker exited prematurely: signal 9 (SIGKILL)"],
     celery.exceptions.WorkerLostError)])
def test_a_failure_is_raised_with_its_class_and_message(kept, type, module, message, expected):
    result = kept.result(state="FAILURE", type=type, module=module, message=message,
                         traceback="Traceback (most recent call last):\n  é\n")
    with pytest.raises(expected) as raised:
        result.get(timeout=10)
    assert list(raised.value.args) == message
    assert result.state == "FAILURE" and result.failed()
    assert result.traceback == "Traceback (most recent call last):\n  é\n"


def test_a_class_of_nowhere_becomes_one_of_its_name(kept):
    with pytest.raises(Exception) as raised:
        kept.result(state="FAILURE", type="ShopClosed", message=["today", 3]).get(timeout=10)
    assert type(raised.value).__name__ == "ShopClosed" and raised.value.args == ("today", 3)


def test_a_text_as_message_is_the_only_argument(kept):
    with pytest.raises(ValueError) as raised:
        kept.result(state="FAILURE", type="ValueError", module="builtins",
                    message="lonely").get(timeout=10)
    assert raised.value.args == ("lonely",)


def test_revoked_retry_started_and_states_of_ones_own(kept):
    revoked = kept.result(state="REVOKED", type="TaskRevokedError", module="celery.exceptions",
                          message=["terminated"])
    with pytest.raises(celery.exceptions.TaskRevokedError, match="terminated"):
        revoked.get(timeout=10)
    retry = kept.result(state="RETRY", type="ValueError", module="builtins", message=["again"],
                        traceback="somewhere")
    assert retry.state == "RETRY" and not retry.ready() and isinstance(retry.result, ValueError)
    assert retry.date_done is None
    started = kept.result(state="STARTED", value={"pid": 7, "hostname": "tocsin@here"})
    assert started.state == "STARTED" and started.info == {"pid": 7, "hostname": "tocsin@here"}
    assert not started.ready()
    own = kept.result(state="HALFWAY", value={"done": 50})
    assert own.state == "HALFWAY" and own.info == {"done": 50}
    assert AsyncResult("never-heard-of", app=kept.app).state == "PENDING"


def test_states_follow_each_other_but_a_success_stays(kept):
    result = kept.result(state="STARTED", value={"pid": 1})
    for state, more in [("RETRY", {"type": "ValueError", "message": []}),
                        ("FAILURE", {"type": "ValueError", "message": []}), ("SUCCESS", {"value": 1})]:
        kept.result(id=result.id, state=state, **more)
        assert AsyncResult(result.id, app=kept.app).state == state
    kept.result(id=result.id, state="FAILURE", type="ValueError", message=["late"])
    kept.result(id=result.id, state="STARTED")
    kept.result(id=result.id, value=2)
    assert AsyncResult(result.id, app=kept.app).get(timeout=10) == 1


def test_date_done_is_now_in_utc(kept):
    done = kept.result(value=1).date_done
    assert abs(done - datetime.now(timezone.utc).replace(tzinfo=None)) < timedelta(seconds=30)


def test_what_was_stored_can_be_asked_for(kept):
    one = kept.probe.stored(value=NESTED)
    bad = kept.probe.stored(state="FAILURE", type="KeyError", module="builtins", message=["é"])
    by_stock = str(uuid.uuid4())
    kept.app.backend.store_result(by_stock, {"a": (1, 10**40, "\ud800", float("inf"))}, "SUCCESS")
    raised = str(uuid.uuid4())
    kept.app.backend.store_result(raised, ValueError("a", 1), "FAILURE", traceback="tb")
    got = kept.probe.fetched(one, "none", bad, by_stock, raised)
    assert [r["state"] for r in got] == ["SUCCESS", "PENDING", "FAILURE", "SUCCESS", "FAILURE"]
    assert json.loads(got[0]["value"]) == NESTED
    assert got[2]["exception"] == "KeyError('é')"
    assert json.loads(got[3]["value"]) == {"a": [1, 10**40, "\ud800", float("inf")]}
    assert got[4]["exception"] == "ValueError('a', 1)" and got[4]["traceback"] == "tb"


def test_ten_thousand_results_are_asked_for_at_once(kept):
    kept.probe("store_many", "n", 300, 10)
    wait_for(lambda: kept.probe.state()["idle"], 30)
    assert {e["ok"] for e in kept.probe.seen("stored")} == {True}, kept.probe.log()
    ids = [f"n-{i}" for i in range(300)]
    got = kept.probe.fetched(*ids)
    assert [r["id"] for r in got] == ids and {r["state"] for r in got} == {"SUCCESS"}
    assert len(kept.probe.fetched(*(f"n-{i}" for i in range(10000)))) == 10000
    assert kept.probe.fetched(*(f"n-{i}" for i in range(10001))) is None


# Redis


@pytest.fixture
def stock(redis):
    app = client(redis.url)
    yield app
    app.close()


def document(redis, key):
    return json.loads(redis.cli("get", key))


def test_the_document_is_celerys_own(redis, new_probe, stock):
    ours, theirs = str(uuid.uuid4()), str(uuid.uuid4())
    probe = new_probe(**redis.env)
    probe.open("redis")
    fields = {"group": "g", "parent_id": "p", "children": [[["c", None], None]]}
    for state, value, more in [
            ("SUCCESS", 1, {"value": 1}), ("STARTED", {"pid": 1}, {"value": {"pid": 1}}),
            ("FAILURE", ValueError("a", 2),
             {"type": "ValueError", "module": "builtins", "message": ["a", 2], "traceback": "tb"}),
            ("RETRY", ValueError("b"),
             {"type": "ValueError", "module": "builtins", "message": ["b"]})]:
        redis.cli("flushall")
        probe.stored(id=ours, state=state, **fields, **more)
        request = celery.app.task.Context(group="g", parent_id="p", id=theirs)
        request._children = [AsyncResult("c", app=stock)]
        stock.backend.store_result(theirs, value, state, traceback=more.get("traceback"),
                                   request=request)
        one = document(redis, f"celery-task-meta-{ours}")
        other = document(redis, f"celery-task-meta-{theirs}")
        assert list(one) == list(other)
        for name in "date_done", "task_id":
            assert type(one.pop(name)) is type(other.pop(name))
        assert one == other


def test_date_done_has_six_digits_and_no_offset(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    key = "celery-task-meta-" + probe.stored(value=1)
    text = document(redis, key)["date_done"]
    assert len(text) == len("2026-11-22T03:49:25.941644")
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f")


def test_an_extended_result_tells_of_the_call(redis, new_probe, stock):
    probe = new_probe(**redis.env, TOCSIN_RESULT_EXTENDED="true")
    probe.open("redis")
    result = AsyncResult(probe.stored(
        value=1, name="t.add", args=[1, 2], kwargs={"é": None}, worker="tocsin@here", retries=3,
        queue="celery"), app=stock)
    assert (result.name, result.args, result.kwargs, result.worker, result.retries,
            result.queue) == ("t.add", [1, 2], {"é": None}, "tocsin@here", 3, "celery")


def test_results_expire_as_the_setting_says(redis, new_probe):
    for expires, least, most in [("1d", 86390, 86400), ("90s", 80, 90), ("0", -1, -1)]:
        probe = new_probe(**redis.env, TOCSIN_RESULT_EXPIRES=expires)
        probe.open("redis")
        key = "celery-task-meta-" + probe.stored(value=1)
        assert least <= int(redis.cli("ttl", key)) <= most


def test_who_waits_hears_of_it_at_once(redis, new_probe, stock):
    """A client of 5.2 that looks at the key only once needs the PUBLISH."""
    probe = new_probe(**redis.env)
    probe.open("redis")
    result, got = AsyncResult(str(uuid.uuid4()), app=stock), []
    waiter = threading.Thread(target=lambda: got.append(result.get(timeout=20)))
    waiter.start()
    channel = f"celery-task-meta-{result.id}"
    wait_for(lambda: redis.cli("pubsub", "numsub", channel).endswith("1"))
    time.sleep(0.2)		# between its look and its SUBSCRIBE a stock client can lose one
    probe.stored(id=result.id, state="STARTED")
    probe.stored(id=result.id, value="there")
    waiter.join(20)
    assert got == ["there"]


def test_children_lead_to_the_end_of_a_chain(redis, new_probe, stock):
    probe = new_probe(**redis.env)
    probe.open("redis")
    last = probe.stored(value=3)
    group = [probe.stored(value=i) for i in range(2)]
    first = probe.stored(value=1, children=[
        [[last, None], None], [["gid", None], [[[i, None], None] for i in group]]])
    result = AsyncResult(first, app=stock)
    assert isinstance(result.children[0], AsyncResult)
    assert isinstance(result.children[1], GroupResult)
    assert result.children[0].get(timeout=10) == 3
    assert result.children[1].get(timeout=10) == [0, 1]
    assert [v for _, v in AsyncResult(first, app=stock).collect(timeout=10)][:2] == [1, 3]


def test_a_group_that_was_saved_is_restored(redis, new_probe, stock):
    probe = new_probe(**redis.env)
    probe.open("redis")
    ids = [probe.stored(value=i) for i in range(3)]
    members = [[[i, None], None] for i in ids]
    probe("group", {"id": "g-1", "document": json.dumps({"result": [["g-1", None], members]})})
    assert probe.next("stored")["ok"]
    assert GroupResult.restore("g-1", app=stock).get(timeout=10) == [0, 1, 2]


def test_the_url_chooses_database_and_password(redis, new_probe, sandbox):
    probe = new_probe(**redis.env)
    probe.open(redis.url.replace("/0", "/3"))
    key = "celery-task-meta-" + probe.stored(value=1)
    assert redis.cli("-n", "3", "exists", key) == "1" and redis.cli("exists", key) == "0"


# Chords


def members(redis, group):
    return redis.cli("zrange", f"celery-taskset-meta-{group}.j", 0, -1).splitlines()


def test_a_chord_is_complete_with_its_last_member_in_order(redis, new_probe):
    probe = new_probe(**redis.env)
    assert probe.open("redis")["chords"]
    ids = [str(uuid.uuid4()) for _ in range(4)]
    for i in 3, 1, 0:
        assert not probe.count("g", ids[i], {"n": i}, index=i)["complete"]
    probe("size", "g", 4)
    assert probe.next("stored", id="g")["ok"]
    done = probe.count("g", ids[2], {"n": 2}, index=2)
    assert done["complete"] and not done["failed"] and not done["joined"]
    assert [json.loads(r) for r in done["results"]] == [{"n": i} for i in range(4)]
    for suffix in "j", "s":
        assert 86000 < int(redis.cli("ttl", f"celery-taskset-meta-g.{suffix}")) <= 86400
    probe("forget", "g")
    wait_for(lambda: redis.cli("keys", "celery-taskset-meta-g*") == "")


def test_a_member_that_is_counted_again_does_not_count_twice(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    probe("size", "g", 2)
    assert not probe.count("g", "a", 1, index=0)["complete"]
    assert not probe.count("g", "a", 1, index=0)["complete"]
    # delivered again after a failure, and well this time
    assert not probe.count("g", "a", 2, index=0)["complete"]
    assert len(members(redis, "g")) == 2
    done = probe.count("g", "b", 3, index=1)
    assert done["complete"] and [json.loads(r) for r in done["results"]] == [1, 3]
    assert probe.count("g", "b", 3, index=1)["complete"]
    probe("size", "h", 2)
    failed = {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}
    probe.count("h", "a", failed, state="FAILURE", index=0)
    probe.count("h", "a", 1, index=0)
    done = probe.count("h", "b", 2, index=1)
    assert done["complete"] and not done["failed"]
    assert [json.loads(r) for r in done["results"]] == [1, 2]


def test_the_first_failed_member_is_told_when_all_have_ended(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    probe("size", "g", 3)
    for i, (state, type) in enumerate([("SUCCESS", None), ("REVOKED", "TaskRevokedError"),
                                       ("FAILURE", "KeyError")]):
        value = {"exc_type": type, "exc_message": ["é", i], "exc_module": "x"} if type else 1
        done = probe.count("g", f"id-{i}", value, state=state, index=i)
    assert done["complete"] and done["failed"] == "id-1"
    assert done["exception"] == "TaskRevokedError('é', 1)" and not done["joined"]


def test_members_of_stock_workers_and_ours_are_counted_together(redis, new_probe, stock):
    probe = new_probe(**redis.env)
    probe.open("redis")
    stock.backend.set_chord_size("g", 3)
    body = stock.signature("t.body").set(task_id="body")
    request = celery.app.task.Context(id="stock", group="g", group_index=1, chord=body)
    assert isinstance(stock.backend, RedisBackend)
    stock.backend.on_chord_part_return(request, "SUCCESS", ["stock", 10**30])
    assert not probe.count("g", "a", "ours", index=0)["complete"]
    stock.backend.add_to_chord("g", AsyncResult("more", app=stock))
    assert not probe.count("g", "c", "last", index=2)["complete"]
    done = probe.count("g", "more", "added")
    assert [json.loads(r) for r in done["results"]] == ["ours", ["stock", 10**30], "last", "added"]


def test_a_stock_worker_completes_what_we_have_counted(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    app = client(redis.url)
    app.set_current()		# where a stock worker looks for the GroupResult
    got = []

    @app.task(name="t.body")
    def body(results):
        got.append(results)
    app.conf.task_always_eager = True
    probe("size", "g", 2)
    probe.count("g", "a", {"é": [1]}, index=1)
    request = celery.app.task.Context(id="b", group="g", group_index=0, chord=body.s())
    app.backend.on_chord_part_return(request, "SUCCESS", "theirs")
    assert got == [["theirs", {"é": [1]}]]
    assert redis.cli("keys", "celery-taskset-meta-g*") == ""
    app.close()


def test_a_kept_group_result_gives_the_results_their_nesting(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    ids = [probe.stored(value=i) for i in range(5)]
    leaf = [[[i, None], None] for i in ids]
    header = [["g", None], [leaf[0], [["h", None], [leaf[1], [["k", None], [leaf[2]]], leaf[3]]],
                            leaf[4]]]
    probe("group", {"id": "g", "document": json.dumps({"result": header})})
    probe("size", "g", 5)
    for i in range(5):
        done = probe.count("g", ids[i], i, index=i)
    assert done["complete"] and [json.loads(r) for r in done["results"]] == [0, [1, [2], 3], 4]
    failed = probe.stored(state="FAILURE", type="ValueError", module="builtins", message=["x"])
    header[1][2] = [[failed, None], None]
    probe("group", {"id": "g", "document": json.dumps({"result": header})})
    done = probe.count("g", ids[0], 0, index=0)
    assert done["complete"] and done["joined"] and done["failed"] == failed
    assert done["exception"] == "ValueError('x')"


def test_lists_of_result_chord_ordered_false_are_counted_too(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    app = client(redis.url, result_backend_transport_options={"result_chord_ordered": False})
    body = app.signature("t.body").set(task_id="body")
    app.backend.set_chord_size("g", 3)
    request = celery.app.task.Context(id="stock", group="g", chord=body)
    app.backend.on_chord_part_return(request, "SUCCESS", "stock")
    assert not probe.count("g", "a", 1, index=1)["complete"]
    assert not probe.count("g", "a", 1, index=1)["complete"]
    done = probe.count("g", "b", 2, index=0)
    assert [json.loads(r) for r in done["results"]] == ["stock", 1, 2]
    app.close()


@pytest.mark.parametrize("garbage", ["not json", "[1, 2]", '["x"]', '[1, 2, "SUCCESS", 3]', "\xff"])
def test_a_member_that_nobody_can_read_fails_the_chord(redis, new_probe, garbage):
    probe = new_probe(**redis.env)
    probe.open("redis")
    redis.cli("zadd", "celery-taskset-meta-g.j", 0, garbage)
    probe("size", "g", 2)
    done = probe.count("g", "a", 1, index=1)
    assert done["complete"] and "cannot be read" in done["exception"]


def test_other_backends_count_no_chords(db, new_probe):
    probe = new_probe(**db.env)
    assert not probe.open("db+postgresql://")["chords"]
    probe("count", {"group": "g", "id": "a", "state": "SUCCESS", "result": "1"})
    assert not probe.next("counted")["ok"]
    none = new_probe()
    assert not none.open("")["chords"]
    none.stored(value=1)
    assert none.fetched("x") is None


# rpc


def test_an_rpc_client_gets_its_results(broker, new_probe):
    probe = new_probe(**broker.env)
    probe.open("rpc", True)
    app = client("rpc://", broker.url)
    calls = [app.send_task("t.x", queue="nobody") for _ in range(6)]
    to = {"reply_to": app.thread_oid}
    probe.stored(id=calls[0].id, state="STARTED", value={"pid": 1}, **to)
    probe.stored(id=calls[0].id, value=NESTED, children=[[[calls[1].id, None], None]], **to)
    assert calls[0].get(timeout=10) == NESTED
    assert calls[0].children[0].id == calls[1].id
    probe.stored(id=calls[1].id, value="raw:" + str(10**50), **to)
    assert calls[1].get(timeout=10) == 10**50
    probe.stored(id=calls[2].id, state="FAILURE", type="KeyError", module="builtins",
                 message=["é"], traceback="tb", **to)
    with pytest.raises(KeyError, match="é"):
        calls[2].get(timeout=10)
    assert calls[2].traceback == "tb"
    probe.stored(id=calls[3].id, state="REVOKED", type="TaskRevokedError",
                 module="celery.exceptions", message=["revoked"], **to)
    with pytest.raises(celery.exceptions.TaskRevokedError):
        calls[3].get(timeout=10)
    probe.stored(id=calls[4].id, value="x" * (1 << 20), **to)
    assert len(calls[4].get(timeout=20)) == 1 << 20
    # nobody there, or nobody asked: as good as done
    probe.stored(id=calls[5].id, value=1, reply_to="has-gone")
    probe.stored(id=calls[5].id, value=1, reply_to="")
    probe.stored(id=calls[5].id, value=1, reply_to="x" * 300)
    assert probe.fetched(calls[0].id) is None
    app.close()


def test_an_rpc_client_is_served_beside_redis(redis, broker, new_probe, stock):
    probe = new_probe(**redis.env, **broker.env)
    probe.open("redis", True)
    app = client("rpc://", broker.url)
    call = app.send_task("t.x", queue="nobody")
    probe.stored(id=call.id, value="twice", reply_to=app.thread_oid)
    assert call.get(timeout=10) == "twice"
    assert AsyncResult(call.id, app=stock).get(timeout=10) == "twice"
    app.close()


def test_the_reply_is_celerys_own(broker, new_probe):
    probe = new_probe(**broker.env)
    probe.open("rpc", True)
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("mine", auto_delete=False)
        probe.stored(id="i", value=1, reply_to="mine", correlation_id="c")
        message = channel.basic_get("mine", no_ack=True)
        assert json.loads(message.body) == {
            "task_id": "i", "status": "SUCCESS", "result": 1, "traceback": None, "children": []}
        properties = message.properties
        assert properties["correlation_id"] == "c" and properties["delivery_mode"] == 1
        assert properties["content_type"] == "application/json"
        assert properties["content_encoding"] == "utf-8"
        assert properties.get("application_headers", {}) == {}
        channel.queue_delete("mine")


# PostgreSQL


def test_the_tables_are_as_sqlalchemy_makes_them(db, new_probe, sandbox):
    probe = new_probe(**db.env)
    probe.open("db+postgresql://")
    probe.stored(value=1)
    shape = ("select table_name, column_name, data_type, character_maximum_length, is_nullable,"
             " column_default from information_schema.columns where table_name like 'celery_%'"
             " order by 1, ordinal_position")
    keys = ("select conrelid::regclass::text, contype, pg_get_constraintdef(oid) from pg_constraint"
            " where conrelid::regclass::text like 'celery_%' order by 1, 2, 3")
    sequences = "select sequencename, increment_by from pg_sequences order by 1"
    ours = [db.all(q) for q in (shape, keys, sequences)]
    db.run("drop table celery_taskmeta, celery_tasksetmeta")
    db.run("drop sequence task_id_sequence, taskset_id_sequence")
    app = client(sqlalchemy_url(db))
    app.backend.store_result("i", 1, "SUCCESS")
    assert [db.all(q) for q in (shape, keys, sequences)] == ours
    app.close()


def test_rows_of_stock_workers_and_ours_stand_side_by_side(db, new_probe):
    app = client(sqlalchemy_url(db), result_extended=True)
    app.backend.store_result("theirs", 1, "SUCCESS")
    probe = new_probe(**db.env, TOCSIN_RESULT_EXTENDED="true")
    probe.open("db+postgresql+psycopg2://")
    probe.stored(id="ours", value=2, name="t.add" * 100, args=[1, "é"], kwargs={"a": 1},
                 worker="w", retries=2, queue="q")
    app.backend.store_result("theirs too", 3, "SUCCESS")
    assert len(set(db.all("select id from celery_taskmeta"))) == 3
    meta = app.backend.get_task_meta("ours")
    assert (meta["args"], meta["kwargs"], meta["retries"], meta["queue"], meta["name"]) == (
        [1, "é"], {"a": 1}, 2, "q", ("t.add" * 100)[:155])
    app.close()


def test_what_is_no_plain_value_in_a_pickle_is_not_obeyed(db, new_probe, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/evil",)
    probe = new_probe(**db.env)
    probe.open("db+postgresql://")
    one = probe.stored(value=1)
    for protocol in range(2, 6):
        db.run("update celery_taskmeta set result = %s where task_id = %s",
               pickle.dumps(Evil(), protocol), one)
        got, = probe.fetched(one)
        assert got["state"] == "SUCCESS" and got["value"] is None
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickles_of_every_protocol_are_read(db, new_probe, protocol):
    probe = new_probe(**db.env)
    probe.open("db+postgresql://")
    one = probe.stored(value=1)
    shared = ["again"]
    for value in [*VALUES, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [shared, shared, (shared,)],
                  {1: "a", True: "b", None: "c"}, 2**2000, -2**2000, -1, -256, -2**15, -2**63]:
        db.run("update celery_taskmeta set result = %s where task_id = %s",
               pickle.dumps(value, protocol), one)
        got, = probe.fetched(one)
        assert json.loads(got["value"]) == json.loads(json.dumps(value))


def test_a_row_that_cannot_be_stored_is_told_and_the_next_is_stored(db, new_probe):
    probe = new_probe(**db.env)
    probe.open("db+postgresql://")
    probe("store", given(id="x" * 200, value=1))
    assert not probe.next("stored")["ok"]
    probe.stored(value=1)
    assert "a result is refused" in probe.log()


# Servers that go


@pytest.fixture
def proxied(redis, new_probe):
    host, port = redis.url.split("//")[1].split("/")[0].split(":")
    with Proxy((host, int(port))) as proxy:
        probe = new_probe()
        probe.proxy = proxy
        probe.open(f"redis://127.0.0.1:{proxy.port}/0")
        yield probe


def all_stored(probe, prefix, n, timeout=60):
    wait_for(lambda: len({e["id"] for e in probe.seen("stored") if e["ok"]
                          and e["id"].startswith(prefix)}) == n, timeout)


def test_redis_that_is_killed_in_the_middle_has_all_results_in_the_end(redis, new_probe, sandbox):
    probe = new_probe(**redis.env)
    probe.open("redis")
    try:
        for part in range(4):
            probe("store_many", f"k{part}", 400, 1000)
            probe.next("stored")
            if part in (0, 2):
                sandbox.kill("redis")
                probe("store_many", f"k{part}9", 400, 1000)
                wait_for(lambda: probe.state()["trouble"])
                sandbox.start("redis")
                all_stored(probe, f"k{part}9-", 400)
        for part in range(4):
            all_stored(probe, f"k{part}-", 400)
    finally:
        sandbox.up("redis")
    assert int(redis.cli("dbsize")) == 2400
    assert probe.log().count("cannot be used") == 2 == probe.log().count("is there again")
    assert not [e for e in probe.seen("stored") if not e["ok"]]
    assert len(probe.seen("stored")) == 2400


def test_a_redis_that_is_silent_is_left_and_the_result_stored_later(proxied):
    proxied.stored(value=1)
    proxied.proxy.black_hole()
    proxied("store", given(id="later", value=2))
    wait_for(lambda: "no answer within 2s" in proxied.log(), 20)
    assert "no answer" in proxied.state()["trouble"] and not proxied.state()["idle"]
    assert not proxied.seen("stored")[1:]
    proxied.proxy.heal()
    assert proxied.next("stored", 40, id="later")["ok"]
    assert proxied.state()["trouble"] is None


def test_a_redis_that_says_nothing_at_all_is_told_of(new_probe):
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = new_probe(TOCSIN_CONNECT_TIMEOUT="1s")
        probe.open(f"redis://127.0.0.1:{server.getsockname()[1]}")
        wait_for(lambda: "not ready within 1s; it was logging in" in probe.log(), 20)


def test_an_idle_connection_that_died_is_noticed_before_it_is_needed(proxied):
    proxied.stored(value=1)
    proxied.proxy.black_hole()
    wait_for(lambda: proxied.state()["trouble"], 20)
    proxied.proxy.heal()
    wait_for(lambda: not proxied.state()["trouble"], 40)


def test_a_slow_redis_is_waited_for(proxied):
    proxied.proxy.to_server.drip(20000, 0.02)
    proxied.proxy.to_client.drip(20000, 0.02)
    proxied.stored(id="large", value="x" * (3 << 20))
    assert "cannot be used" not in proxied.log()


def test_connections_that_are_reset_lose_nothing(proxied, redis):
    for part in range(5):
        proxied("store_many", f"r{part}", 100, 20000)
        proxied.next("stored", 20)
        proxied.proxy.reset()
    for part in range(5):
        all_stored(proxied, f"r{part}-", 100)
    assert int(redis.cli("dbsize")) == 500


def test_a_restart_between_started_and_failure_leaves_the_failure(proxied, redis):
    proxied.proxy.shut()
    for state, more in [("STARTED", {}), ("FAILURE", {"type": "ValueError", "message": ["x"]})]:
        proxied("store", given(id="i", state=state, **more))
    proxied.proxy.heal()
    for _ in range(2):
        assert proxied.next("stored", 40)["ok"]
    assert document(redis, "celery-task-meta-i")["status"] == "FAILURE"


def test_a_redis_that_takes_no_writes_is_asked_again(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    probe.stored(value=1)
    used = int(redis.cli("info", "memory").split("used_memory:")[1].split()[0])
    try:
        redis.cli("config", "set", "maxmemory", used // 2)
        probe("store", given(id="later", value=2))
        wait_for(lambda: "OOM" in (probe.state()["trouble"] or ""), 10)
    finally:
        redis.cli("config", "set", "maxmemory", 0)
    assert probe.next("stored", 40, id="later")["ok"]
    assert probe.log().count("cannot be used") == 1


def test_a_key_of_another_kind_is_refused_and_told(redis, new_probe):
    probe = new_probe(**redis.env)
    probe.open("redis")
    redis.cli("rpush", "celery-task-meta-i", 1)
    probe("store", given(id="i", value=2))
    assert not probe.next("stored")["ok"]
    assert "WRONGTYPE" in probe.log() and probe.state()["trouble"] is None


def test_too_much_that_waits_is_told_and_the_rest_kept(proxied):
    proxied.proxy.shut()
    proxied("store_many", "w", 150, 1 << 20)
    wait_for(lambda: len(proxied.seen("stored")) >= 20, 30)
    assert {e["ok"] for e in proxied.seen("stored")} == {False}
    assert proxied.log().count("too many results wait") == 1
    proxied.proxy.heal()
    wait_for(lambda: proxied.state()["idle"], 60)
    kept = [e for e in proxied.seen("stored") if e["ok"]]
    assert 120 <= len(kept) <= 128 and len(proxied.seen("stored")) == 150


def test_what_waits_at_the_end_is_told(proxied):
    proxied.proxy.shut()
    for i in range(3):
        proxied("store", given(id=f"i{i}", value=1))
    proxied("fetch", ["a"])
    proxied("count", {"group": "g", "id": "a", "state": "SUCCESS", "result": "1"})
    proxied("free")
    proxied.next("freed")
    assert [e["ok"] for e in proxied.seen("stored")] == [False] * 3
    assert not proxied.seen("fetched")[0]["ok"] and not proxied.seen("counted")[0]["ok"]


def test_postgresql_that_is_killed_in_the_middle_has_all_results_in_the_end(db, new_probe, sandbox):
    probe = new_probe(**db.env)
    probe.open("db+postgresql://")
    probe.stored(value=1)
    try:
        probe("store_many", "k", 600, 1000)
        probe.next("stored")
        sandbox.kill("postgresql")
        probe("store_many", "l", 600, 1000)
        wait_for(lambda: probe.state()["trouble"], 20)
    finally:
        sandbox.start("postgresql")
    for prefix in "k-", "l-":
        all_stored(probe, prefix, 600)
    assert db.one("select count(*) from celery_taskmeta") == 1201
    assert probe.log().count("cannot be used") == 1 == probe.log().count("is there again")


def test_a_broker_that_restarts_gets_the_replies_again(broker, new_probe, sandbox):
    probe = new_probe(**broker.env)
    probe.open("rpc", True)
    with broker.connect() as connection:
        connection.channel().queue_declare("mine", durable=True, auto_delete=False)
    probe.stored(id="i", value=1, reply_to="mine")
    sandbox.stop("rabbitmq")
    for i in range(50):
        probe("store", given(id=f"i{i}", value=i, reply_to="mine"))
    sandbox.start("rabbitmq")
    all_stored(probe, "i", 51, 60)
    assert broker.depth("mine") >= 50


# Who may connect, and how


@contextlib.contextmanager
def own_redis(directory, *options):
    """A Redis of this test's; its port."""
    import socket
    import subprocess
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (directory / "redis").mkdir(exist_ok=True)
    server = subprocess.Popen(
        ["redis-server", "--bind", "127.0.0.1", "--save", "", "--dir", str(directory / "redis"),
         *(o.replace("PORT", str(port)) for o in options)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_up():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
    try:
        if "--unixsocket" not in options:
            wait_for(is_up)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def looked(probe):
    probe("look")
    return probe.next("looked", 20)


def test_a_password_is_used_and_a_wrong_one_is_told_without_it(new_probe, tmp_path):
    with own_redis(tmp_path, "--port", "PORT", "--requirepass", "s3cret/é") as port:
        url = f"redis://:%s@127.0.0.1:{port}/2"
        probe = new_probe()
        probe.open(url % "s3cret%2F%C3%A9")
        probe.stored(value=1)
        for login in "wr0ngword", "any:wr0ngword":
            wrong = new_probe(TOCSIN_REDIS_URL=f"redis://:{login}@127.0.0.1:{port}"
                              if ":" not in login else f"redis://{login}@127.0.0.1:{port}",
                              TOCSIN_RESULT_BACKEND="redis")
            wrong.open()
            wait_for(lambda: "WRONGPASS" in wrong.log())
            told = looked(wrong)
            assert told["class"] == 78 and "WRONGPASS" in told["text"]
            assert "wr0ngword" not in wrong.log() + json.dumps(wrong.events)
        none = new_probe()
        none.open(f"redis://127.0.0.1:{port}/2")
        wait_for(lambda: "NOAUTH" in none.log())


def test_a_user_with_rights_of_his_own_logs_in(new_probe, tmp_path):
    with own_redis(tmp_path, "--port", "PORT", "--user", "tocsin", "on", ">pw", "~celery-*",
                   "&celery-*", "+@all") as port:
        probe = new_probe()
        probe.open(f"redis://tocsin:pw@127.0.0.1:{port}")
        probe.stored(value=1)


def test_a_socket_in_the_file_system_will_do(new_probe, tmp_path):
    path = tmp_path / "r.sock"
    with own_redis(tmp_path, "--port", "0", "--unixsocket", str(path)):
        wait_for(path.exists)
        probe = new_probe()
        probe.open(f"redis+socket://{path}?virtual_host=1")
        probe.stored(value=1)


def test_tls_with_a_private_authority(new_probe, tmp_path, certificates):  # noqa: F811
    def tls(name):
        return own_redis(tmp_path, "--port", "0", "--tls-port", "PORT",
                         "--tls-cert-file", str(certificates / f"{name}.pem"),
                         "--tls-key-file", str(certificates / f"{name}.key"),
                         "--tls-ca-cert-file", str(certificates / "ca.pem"),
                         "--tls-auth-clients", "no")
    ca = {"TOCSIN_REDIS_CA": str(certificates / "ca.pem")}
    with tls("good") as port:
        for host in "localhost", "127.0.0.1":
            probe = new_probe(**ca)
            probe.open(f"rediss://{host}:{port}")
            probe.stored(value="x" * (1 << 20))
        probe = new_probe()
        probe.open(f"rediss://localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs="
                   f"{certificates / 'ca.pem'}")
        app = client(f"rediss://localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs="
                     f"{certificates / 'ca.pem'}")
        assert AsyncResult(probe.stored(value=5), app=app).get(timeout=10) == 5
        app.close()
        strange = new_probe()
        strange.open(f"rediss://localhost:{port}")
        wait_for(lambda: "certificate is not accepted" in strange.log())
        plain = new_probe()
        plain.open(f"redis://localhost:{port}")
        plain("store", given(id="i", value=1))
        wait_for(lambda: "cannot be used" in plain.log())
    for name, words in ("expired", "expired"), ("elsewhere", "mismatch"):
        with tls(name) as port:
            probe = new_probe(**ca, TOCSIN_RESULT_BACKEND=f"rediss://localhost:{port}")
            probe.open()
            wait_for(lambda: "certificate is not accepted" in probe.log())
            assert words in probe.log()
            assert words in looked(probe)["text"]


@pytest.mark.parametrize("url, words", [
    ("http://h", "must be redis"), ("redis", "redis_url is empty"), ("redis://h:0", "port"),
    ("redis://h:x", "port"), ("redis://h/x", "database"), ("redis://h/99999999", "database"),
    ("redis://u:p%zz@h", "hexadecimal"), ("redis://:a/b@h", "percent-encoded"),
    ("redis://u@h", "without a password"), ("redis://h?x=1", "parameters"),
    ("rediss://h?ssl_cert_reqs=none", "required"), ("redis+socket://", "path"),
    ("rpc://", "needs a broker"), ("db+sqlite:///x", "must be redis"), ("mongodb://h", "must be")])
def test_an_address_that_cannot_be_understood_is_refused(new_probe, url, words):
    probe = new_probe()
    probe("open", url)
    event = probe.next("refused")
    assert event["class"] == 78 and words in event["text"] and "a/b" not in event["text"]


def test_a_server_that_is_none_is_told(new_probe):
    """It answers what is no Redis, promises a giant, or floods."""
    import socket
    for answer, words in [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
                          (b"*2147483647\r\n", "protocol"),
                          (b"-ERR max number of clients reached\r\n", "max number"),
                          (b"+OK\r\n" * 100, "nobody asked"), (b"", "closed")]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(10)
            probe = new_probe()
            probe.open(f"redis://127.0.0.1:{server.getsockname()[1]}")
            connection, _ = server.accept()
            connection.recv(100)
            connection.sendall(answer)
            connection.close()
            wait_for(lambda: words in probe.log(), message=lambda: probe.log())


def test_look_tells_what_is_there(redis, db, new_probe, sandbox):
    assert looked(new_probe(**redis.env, TOCSIN_RESULT_BACKEND="redis"))["text"].startswith("Redis 7")
    told = looked(new_probe(**db.env, TOCSIN_RESULT_BACKEND="db+postgresql://"))
    assert told["ok"] and "will be made" in told["text"]
    assert looked(new_probe())["text"].startswith("none")
    gone = looked(new_probe(TOCSIN_RESULT_BACKEND="redis://127.0.0.1:1/0"))
    assert not gone["ok"] and gone["class"] == 75 and "refused" in gone["text"]


def test_doctor_tells_whether_the_backend_can_be_used(tocsin, db, broker, redis):
    tocsin("init")
    found = tocsin("doctor", "--json").json()
    assert not [f for f in found if f["about"] == "results"]
    found = tocsin("doctor", "--json", env={"TOCSIN_RESULT_BACKEND": "redis"}).json()
    result, = (f for f in found if f["about"] == "results")
    assert result["level"] == "ok" and result["finding"].startswith("Redis 7")
    gone = tocsin("doctor", "--json", status=75,
                  env={"TOCSIN_RESULT_BACKEND": "redis://:pa55word@127.0.0.1:1/0"})
    result, = (f for f in gone.json() if f["about"] == "results")
    assert result["level"] == "FAILED" and "refused" in result["finding"]
    assert "pa55word" not in gone.stdout + gone.stderr
