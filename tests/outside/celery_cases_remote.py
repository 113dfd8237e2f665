"""Conformance cases: events, inspection and control."""

import json
import re
import time

import amqp

from celery_talk import Events, case, shape
from harness import wait_for


# --- events ---


def keys_of(events):
    return [{k: (shape(v) if k in ("timestamp", "local_received", "clock", "pid", "utcoffset",
                                   "runtime") else v) for k, v in e.items()
             if k not in ("local_received",)} for e in events]


def events_of(task, *args, last="task-succeeded", **options):
    def see(c):
        with Events(c) as events:
            result = c.call(task, *args, **options)
            seen = keys_of(events.of(result, last))
        return [{**e, "traceback": shape(e["traceback"])} if "traceback" in e else e for e in seen]
    return see


def received_again(stock):
    """A delayed task comes from the books as a message of its own."""
    found, due = [], None
    for event in stock:
        if event["type"] == "task-started" and due:
            found.append({**due, "eta": None})
            due = None
        if event["type"] == "task-received" and event["eta"]:
            due = event
        found.append(event)
    return found


def with_last(**changed):
    return lambda stock: [*stock[:-1], {**stock[-1], **changed}]


for name, see in {
    "success": events_of("t.add", 1, 2),
    "text": events_of("t.echo", "it's \u2603 'both' \"quotes\""),
    "nothing": events_of("t.nothing"),
    "nested": events_of("t.echo", {"a": [1, 2.5, True, None]}),
    "failure": events_of("t.fail", "it burns", last="task-failed"),
    "wrong_call": events_of("t.add", 1, last="task-failed"),
    "expired": events_of("t.add", 1, 2, expires=-5, last="task-revoked"),
    "keywords": events_of("t.add", 1, kwargs={"y": 2}),
    "shadow": events_of("t.add", 1, 2, shadow="shown.instead"),
}.items():
    case("control", name="events_of_" + name)(see)

case("control", name="events_of_unregistered", differs="tracebacks",
     tocsin=with_last(traceback="<text>"))(events_of("t.unheard_of", last="task-failed"))
case("control", name="events_of_delayed", differs="delayed tasks",
     tocsin=received_again)(events_of("t.add", 1, 2, countdown=0.5))
case("control", name="events_of_hard_limit", differs="events",
     tocsin=with_last(exception="TimeLimitExceeded(1)"))(
         events_of("t.sleep", 10, time_limit=1, last="task-failed"))


@case("control", differs="delayed tasks", tocsin=received_again)
def events_of_a_retry(c):
    with Events(c) as events:
        result = c.call("t.flaky", c.path(), 1)
        seen = keys_of(events.of(result, "task-succeeded"))
    return [{**e, "traceback": shape(e["traceback"])} if "traceback" in e else e for e in seen]


@case("control")
def events_of_a_terminated_task(c):
    with Events(c) as events:
        result = c.call("t.sleep", 30)
        c.begun(result)
        c.control("revoke", task_id=result.id, terminate=True, signal="SIGTERM")
        return keys_of(events.of(result, "task-revoked"))


@case("control")
def events_of_a_large_argument(c):
    with Events(c) as events:
        result = c.call("t.echo", "x" * 5000)
        seen = events.of(result, "task-succeeded")
    return [{k: len(str(e[k])) for k in ("args", "kwargs", "result") if k in e} for e in seen]


@case("control")
def events_of_the_worker(c):
    with Events(c, enable=False) as events:
        events.until(lambda: len([e for e in events.seen if e["type"] == "worker-heartbeat"]) >= 2)
        beats = [e for e in events.seen if e["type"] == "worker-heartbeat"]
    return {"keys": shape({k: v for k, v in beats[-1].items() if k != "loadavg"}),
            "loads": len(beats[-1]["loadavg"]), "freq": beats[-1]["freq"],
            "apart": 1 < beats[-1]["timestamp"] - beats[-2]["timestamp"] < 4}


@case("control")
def no_events_when_nobody_wants_them(c):
    with Events(c, enable=False) as events:
        c.outcome(c.call("t.add", 1, 2))
        events.until(lambda: any(e["type"] == "worker-heartbeat" for e in events.seen))
        return sorted({e["type"] for e in events.seen})


@case("control")
def events_switched(c):
    return [c.control(command) for command in
            ("enable_events", "enable_events", "disable_events", "disable_events")]


# --- inspection ---


@case("control")
def ping(c):
    return c.control("ping")


@case("control", differs="acknowledged late",
      tocsin=lambda stock: [{**info, "acknowledged": False} for info in stock])
def inspect_active(c):
    result = c.call("t.sleep", 1, shadow="shown.instead")
    info, = [r for r in c.begun(result) if r["id"] == result.id]
    safe, = [r for r in c.control("active", safe=True) if r["id"] == result.id]
    c.outcome(result)
    return [{**i, "time_start": shape(i["time_start"]), "worker_pid": shape(i["worker_pid"])}
            for i in (info, safe)]


@case("narrow")
def inspect_reserved(c):
    first = c.call("t.sleep", 1)
    c.begun(first)
    second = c.call("t.add", 1, kwargs={"y": 2})
    c.known(second)
    info, = [r for r in c.control("reserved") if r["id"] == second.id]
    ways = {r: c.control("query_task", ids=[r])[r][0] for r in (first.id, second.id)}
    c.outcome(second)
    return [info, ways, c.control("query_task", ids=["nobody", first.id]),
            c.control("query_task", ids=second.id)]


@case("control", differs="delayed tasks", tocsin=lambda stock: {
    **stock, "request": {**stock["request"], "acknowledged": True}})
def inspect_scheduled(c):
    result = c.call("t.add", 1, 2, countdown=300)
    entry, = c.inspect_until("scheduled", lambda all: all)
    c.control("revoke", task_id=result.id)
    return entry


@case("control")
def inspect_scheduled_in_no_query(c):
    return c.control("query_task", ids=["unheard", "of"])


@case("control")
def inspect_revoked(c):
    id = c.id("revoked")
    c.control("revoke", task_id=id)
    return id in c.control("revoked")


@case("control", differs="inspection", tocsin=lambda stock: sorted([*stock, *(
    "tocsin." + kind for kind in ("cycle", "event", "evidence", "reaction", "variable"))]))
def inspect_registered(c):
    return c.control("registered")


@case("control", differs="inspection", tocsin=lambda stock: [
    t for t in stock if t != "celery.chunks"])
def inspect_registered_with_builtins(c):
    return [t for t in c.control("registered", builtins=True) if t.startswith("celery.")]


@case("control")
def inspect_registered_with_limits(c):
    return [t for t in c.control("registered", taskinfoitems=["rate_limit"]) if "rated" in t]


@case("control", differs="inspection", tocsin=lambda stock: {
    **stock, "shape": {**stock["shape"], "events_dropped": "number"}})
def inspect_stats(c):
    c.outcome(c.call("t.add", 1, 2))
    stats = c.control("stats")
    counted = stats["total"].get("t.add", 0) >= 1
    stats["total"] = {}
    stats["pool"]["writes"] = {}
    stats["broker"]["transport_options"] = {}
    numbers = json.loads(re.sub('"(int|float)"', '"number"', json.dumps(shape(stats))))
    return {"shape": numbers, "counted": counted, "transport": stats["broker"]["transport"],
            "hands": stats["pool"]["max-concurrency"]}


@case("control")
def inspect_active_queues(c):
    return [q for q in c.control("active_queues") if q["name"] == "celery"]


@case("control")
def inspect_clock(c):
    return shape(c.control("clock"))


@case("control")
def the_clock_goes_forward(c):
    first = c.control("clock")["clock"]
    return c.control("clock")["clock"] > first


@case("control")
def inspect_report(c):
    return shape(c.control("report"))


@case("control")
def inspect_conf(c):
    return isinstance(c.control("conf"), dict), "guest:guest" in json.dumps(c.control("conf"))


@case("control", differs="inspection",
      tocsin=lambda stock: True)
def inspect_memsample(c):
    sample = c.control("memsample")
    return sample if sample is None else sample.endswith("MB") and float(sample[:-2]) > 1


@case("control")
def hello(c):
    id = c.id("revoked elsewhere")
    answer = c.control("hello", from_node="other@host", revoked={id: [time.time(), id]})
    return [shape({**answer, "revoked": {}}), id in c.control("revoked"),
            all(isinstance(at, float) for at, _ in answer["revoked"].values()),
            c.control("hello", from_node=c.world.node, revoked={})]


@case("control")
def the_old_names_of_commands(c):
    return {command: type(c.control(command)).__name__ for command in (
        "dump_active", "dump_reserved", "dump_schedule", "dump_revoked", "dump_tasks",
        "dump_conf")}


@case("control")
def terminated_by_its_own_command(c):
    result = c.call("t.sleep", 30)
    c.begun(result)
    answer = c.control("terminate", signal="SIGTERM", task_id=result.id)
    return [answer, c.outcome(result)]


@case("control")
def an_unknown_command(c):
    return c.control("dance")


@case("control")
def commands_without_their_arguments(c):
    return {command: shape(c.control(command)) for command in
            ("revoke", "rate_limit", "time_limit", "add_consumer", "cancel_consumer",
             "query_task", "terminate")}


@case("control")
def arguments_too_many(c):
    return [c.control("ping", surprise=1), shape(c.control("active", surprise=1))]


@case("control", differs="not there", tocsin={"pcre": False})
def who_is_asked(c):
    """Destination, pattern and matcher."""
    def ask(**arguments):
        replies = c.app.control.broadcast("ping", reply=True, timeout=0.7, limit=1, **arguments)
        return bool(replies)
    name = c.world.node.partition("@")[0]
    return {"everybody": ask(), "by name": ask(destination=[c.world.node]),
            "others": ask(destination=["nobody@nowhere"]),
            "glob": ask(pattern=name + "@*", matcher="glob"),
            "other glob": ask(pattern="nobody@*", matcher="glob"),
            "pcre": ask(pattern="^" + name + "@.+$", matcher="pcre"),
            "other pcre": ask(pattern="^nobody", matcher="pcre")}


@case("control")
def a_heartbeat_when_asked(c):
    with Events(c, enable=False) as events:
        answer = c.control("heartbeat")
        events.until(lambda: any(e["type"] == "worker-heartbeat" and e["freq"] == 5
                                 for e in events.seen))
    return answer


@case("control")
def rate_limits_changed(c):
    return [c.control("rate_limit", task_name="t.power", rate_limit="10/m"),
            [t for t in c.control("registered", taskinfoitems=["rate_limit"]) if "power" in t],
            c.control("rate_limit", task_name="t.power", rate_limit="0"),
            c.control("rate_limit", task_name="t.unheard_of", rate_limit="1/s"),
            shape(c.control("rate_limit", task_name="t.power", rate_limit="often")),
            c.outcome(c.call("t.power", 3))]


@case("control", differs="time limits by remote control",
      tocsin={"outcome": {"state": "FAILURE",
                          "raises": "billiard.exceptions.SoftTimeLimitExceeded", "args": []}})
def time_limits_changed(c):
    answers = [c.control("time_limit", task_name="t.sleep", soft=1, hard=10),
               c.control("time_limit", task_name="t.unheard_of", soft=1)]
    outcome = c.outcome(c.call("t.sleep", 2))
    c.control("time_limit", task_name="t.sleep", soft=None, hard=None)
    return {"answers": answers, "outcome": outcome}


@case("control")
def consumers_added_and_taken_away(c):
    queue = "added-queue"
    answers = [c.control("add_consumer", queue=queue)]
    answers.append(c.control("add_consumer", queue=queue))
    result = c.outcome(c.call("t.add", 1, 2, queue=queue))
    answers.append(c.control("cancel_consumer", queue=queue))
    answers.append(c.control("cancel_consumer", queue="unheard-of"))
    names = sorted(q["name"] for q in c.control("active_queues"))
    return {"answers": answers, "result": result, "left": names}


@case("control")
def the_pool_grows_and_shrinks(c):
    return [c.control("pool_grow", n=2), c.outcome(c.call("t.add", 1, 2)),
            c.control("pool_shrink", n=2), c.outcome(c.call("t.add", 1, 2))]


@case("control")
def what_a_pool_cannot(c):
    return [c.control("autoscale", max=10, min=2), c.control("pool_restart")]


@case("control", differs="malformed messages",
      tocsin={"worker": "lives", "ping": {"ok": "pong"}, "call": {"state": "SUCCESS", "value": 3}})
def odd_control_messages(c):
    """Garbage among the commands and events harms nobody."""
    with c.world.broker.connect() as connection:
        channel = connection.channel()
        for body, headers in [
                (b"\xff\xfe", {}), (b"", {}), (b"17", {}), (b"[]", {}), (b"null", {}),
                (b'{"method": 1}', {}), (b'{"method": "ping", "arguments": 5}', {}),
                (b'{"method": "ping", "destination": 7}', {}),
                (b'{"method": "revoke", "arguments": {"task_id": {"a": 1}}}', {}),
                (b'{"method": "ping", "reply_to": 4, "ticket": 3}', {"clock": "x"}),
                (b'{"method": "ping", "reply_to": {"exchange": "no", "routing_key": "x"}}', {}),
                (b"[" * 5000, {}), (b'{"method": "' + b"x" * 100000 + b'"}', {})]:
            channel.basic_publish(amqp.Message(
                body, content_type="application/json", content_encoding="utf-8",
                application_headers=headers), exchange="celery.pidbox")
            channel.basic_publish(amqp.Message(body, content_type="application/json",
                                               content_encoding="utf-8"),
                                  exchange="celeryev", routing_key="worker.heartbeat")
    if c.expected is None:
        try:
            wait_for(lambda: not c.world.alive(), 3)
            return {"worker": "dies"}
        except AssertionError:
            pass
    return {"worker": "lives", "ping": c.control("ping"), "call": c.outcome(c.call("t.add", 1, 2))}


@case("control")
def answers_come_while_all_hands_are_busy(c):
    results = [c.call("t.sleep", 1) for _ in range(c.world.hands)]
    c.inspect_until("active", lambda all: len(all) >= c.world.hands)
    began = time.monotonic()
    answer = c.control("ping")
    quick = time.monotonic() - began < 0.9
    for result in results:
        c.outcome(result)
    return answer, quick
