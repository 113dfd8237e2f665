"""Celery's own classes against tests/celery/recode, without a broker.

What app.amqp.as_task_v2 and as_task_v1 make, we read; what we write has their
headers, field by field, and a worker's Request takes it; argsrepr is saferepr's.

usage: stock_agrees.py [RECODE]
"""
import datetime as dt
import json
import random
import subprocess
import sys
import uuid

import kombu
from celery import Celery, chord, group
from celery.utils.saferepr import saferepr
from celery.worker.request import Request
from celery.worker.strategy import hybrid_to_proto2, proto1_to_proto2

app = Celery("tests", broker="memory://", set_as_current=False)


@app.task(name="add")
def add(x, y):
    return x + y


def ours(**kwargs):
    return kwargs


for kind in ("variable", "evidence", "event", "reaction", "cycle"):
    app.task(name="tocsin." + kind)(ours)
app.finalize()

recode = None
failures = 0


def ask(**question):
    recode.stdin.write(json.dumps(question) + "\n")
    recode.stdin.flush()
    line = recode.stdout.readline()
    if not line:
        sys.exit("recode has died at: " + json.dumps(question))
    return json.loads(line)


def expect(what, ours, theirs):
    global failures
    if ours != theirs:
        failures += 1
        print("%s:\n    ours   %r\n    theirs %r" % (what, ours, theirs))


def serialised(message):
    """What kombu would put on the wire: properties, headers, body in bytes."""
    content_type, encoding, body = kombu.serialization.dumps(message.body, "json")
    properties = dict(message.properties, content_type=content_type,
                      content_encoding=encoding, delivery_mode=2, priority=0)
    return properties, message.headers, body.encode(encoding)


def plain(value):
    """As JSON has it: tuples are arrays."""
    return json.loads(json.dumps(value))


def headers_of(message):
    """As a transport hands them over: lone surrogates are no UTF-8."""
    return {k: v.encode(errors="surrogatepass").decode(errors="replace")
            if isinstance(v, str) else v for k, v in plain(message.headers).items()}


def given(do, message, **more):
    properties, _, body = serialised(message)
    return ask(do=do, properties=properties, headers=headers_of(message), body=body.hex(),
               **more)


def kombu_message(reply):
    p = reply["properties"]
    return kombu.Message(
        body=reply["body"], content_type=p["content_type"],
        content_encoding=p["content_encoding"], headers=reply["headers"], properties=p,
        delivery_info={"exchange": "", "routing_key": "q", "redelivered": False},
        accept={"application/json"}, channel=None)


def request(message):
    return Request(message, app=app, hostname="w@h")


def micros(text):
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    return (dt.datetime.fromisoformat(text) - epoch) // dt.timedelta(microseconds=1)


# --- the messages ---

soon = dt.datetime(2026, 11, 22, 3, 48, 34, 78, tzinfo=dt.timezone.utc)
elsewhere = soon.astimezone(dt.timezone(dt.timedelta(hours=-3, minutes=-30)))
sig = app.signature("add", (1, 2))
workflow = chord(group(sig, sig), sig)

CASES = [
    {},
    {"args": (2, 3), "kwargs": {"x": None, "y": True}},
    {"args": ["a 'quoted' text\n", {"nested": [[[1], {}]]}, -0.0, 1e22, 1e16, 0.1, 123456789.0]},
    {"args": (float("nan"), float("inf"), -float("inf"), 2**70, -(2**64), "\ud800", "\u20ac\U0001f514")},
    {"kwargs": {"\u00fc": "x" * 3000, "more": list(range(2000))}},
    {"args": tuple(range(1000))},
    {"eta": soon, "expires": soon + dt.timedelta(days=1)},
    {"eta": elsewhere, "expires": soon - dt.timedelta(days=4000)},
    {"eta": soon.replace(microsecond=0)},
    {"retries": 3, "parent_id": "p", "root_id": "r", "group_id": "g", "group_index": 7},
    {"time_limit": 30, "soft_time_limit": 2.5},
    {"time_limit": None, "soft_time_limit": 9},
    {"shadow": "shown", "ignore_result": True, "reply_to": "client"},
    {"callbacks": [sig, workflow], "errbacks": [sig]},
    {"chain": [sig, sig.set(queue="other")], "chord": sig},
    {"chain": [], "callbacks": []},
    {"origin": "gen1@h", "argsrepr": "shown (args)", "kwargsrepr": ""},
]
ONLY_V2 = {"root_id", "parent_id", "shadow", "ignore_result", "origin", "argsrepr",
           "kwargsrepr", "chain"}


def check_meaning(what, ours, headers, embed, args, kwargs):
    for key in ("task", "id", "root_id", "parent_id", "group", "shadow", "origin"):
        expect("%s: %s" % (what, key), ours[key], headers.get(key))
    for key in ("eta", "expires"):
        theirs = headers.get(key)
        expect("%s: %s" % (what, key), ours[key], theirs and micros(theirs))
    index = headers.get("group_index")
    expect(what + ": group_index", ours["group_index"], -1 if index is None else index)
    expect(what + ": retries", ours["retries"], headers.get("retries", 0))
    limits = [ours["time_limit"] or None, ours["soft_time_limit"] or None]
    expect(what + ": timelimit", limits, list(headers["timelimit"]))
    # By their text: NaN is not equal to itself.
    expect(what + ": args", json.dumps(json.loads(ours["args"])), json.dumps(plain(args)))
    expect(what + ": kwargs", json.dumps(json.loads(ours["kwargs"])), json.dumps(plain(kwargs)))
    for key in ("callbacks", "errbacks", "chain", "chord"):
        expect("%s: %s" % (what, key), json.loads(ours[key] or "null"), plain(embed[key]))


def check_v2(what, case):
    message = app.amqp.as_task_v2(str(uuid.uuid4()), "add", **case)
    args, kwargs, embed = message.body
    ours = given("decode", message)
    expect(what + ": protocol", ours.get("protocol"), 2)
    if "refused" in ours:
        return
    check_meaning(what, ours, message.headers, embed, args, kwargs)
    for key in ("argsrepr", "kwargsrepr"):
        expect("%s: %s" % (what, key), ours[key], headers_of(message)[key])

    # Written again, it is the same message, in the same order.
    again = given("recode", message, now=0)
    theirs = headers_of(message)
    for key in ("eta", "expires"):
        for headers in (again["headers"], theirs):
            headers[key] = headers[key] and micros(headers[key])
    expect(what + ": headers", list(again["headers"].items()), list(theirs.items()))
    expect(what + ": body", again["body"], serialised(message)[2].decode())
    for key in ("content_type", "content_encoding", "correlation_id", "reply_to",
                "priority", "delivery_mode"):
        expect("%s: property %s" % (what, key), again["properties"][key],
               serialised(message)[0][key])


def check_made_by_us(what, case):
    """We make argsrepr ourselves when it is missing; a stock worker takes all."""
    message = app.amqp.as_task_v2(str(uuid.uuid4()), "add", **case)
    for key in ("argsrepr", "kwargsrepr"):
        del message.headers[key]
    reply = given("recode", message, now=0)
    args, kwargs, embed = message.body
    if "\ud800" not in args:
        expect(what + ": our argsrepr", reply["headers"]["argsrepr"], saferepr(tuple(args), 1024))
        expect(what + ": our kwargsrepr", reply["headers"]["kwargsrepr"], saferepr(kwargs, 1024))
    taken = request(kombu_message(reply))
    expect(what + ": request id", taken.id, message.headers["id"])
    expect(what + ": request eta", taken.eta and taken.eta.timestamp(),
           case.get("eta") and case["eta"].timestamp())
    expect(what + ": request expires", taken.expires and taken.expires.timestamp(),
           case.get("expires") and case["expires"].timestamp())
    expect(what + ": request limits", list(taken.time_limits),
           [case.get("time_limit"), case.get("soft_time_limit")])
    payload = taken.message.payload
    expect(what + ": request values", json.dumps(payload), json.dumps(plain(message.body)))


def check_v1(what, case):
    case = {k: v for k, v in case.items() if k not in ONLY_V2}
    message = app.amqp.as_task_v1(str(uuid.uuid4()), "add", **case)
    ours = given("decode", message)
    expect(what + ": protocol", ours.get("protocol"), 1)
    if "refused" in ours:
        return
    received = plain(message.body)
    (args, kwargs, embed), headers, _, _ = proto1_to_proto2(
        kombu.Message(body="", headers={}), received)
    headers["timelimit"] = message.body["timelimit"]
    check_meaning(what, ours, headers, embed, args, kwargs)
    # Sent on in protocol 2, a stock worker takes it.
    taken = request(kombu_message(given("recode", message, now=0)))
    expect(what + ": request", (taken.id, taken.name), (message.body["id"], "add"))


def check_hybrid():
    body = app.amqp.as_task_v1("of-body", "add", args=(1, 2), retries=1, group_id="g",
                               callbacks=[sig]).body
    headers = {"lang": "py", "task": "add", "id": "of-header", "retries": 5, "group": None}
    message = kombu.Message(body="", headers=headers)
    (args, kwargs, embed), merged, _, _ = hybrid_to_proto2(message, plain(body))
    ours = ask(do="decode", properties={"content_type": "application/json"},
               headers=headers, body=json.dumps(body).encode().hex())
    expect("hybrid: protocol", ours.get("protocol"), 1)
    # Celery does not look at taskset here; group of the header wins anyway, null as it is.
    check_meaning("hybrid", ours, merged, embed, args, kwargs)


def check_jobs():
    installation = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    for task, jobs, names in (("tocsin.variable", [0], ["orders_today"]),
                              ("tocsin.evidence", [4, 5, 6], ["a", "b", "gr\u00fc\u00df'"]),
                              ("tocsin.event", list(range(500)), list("abcdefghij")),
                              ("tocsin.reaction", [], ["gr\u00fc\u00df", "tell"]),
                              ("tocsin.cycle", [], [])):
        own = {"jobs": jobs}
        of_delivery = {}
        first = str(jobs[0] if jobs else -1)
        if task == "tocsin.reaction":
            own = of_delivery = {"event": names[0], "reaction": names[1]}
            first = "/".join(names)
        reply = ask(do="job", task=task, installation=str(installation), run=2**53 + 1,
                    jobs=jobs, names=names, origin="gen7@host", **of_delivery)
        taken = request(kombu_message(reply))
        expect(task + ": id", taken.id,
               str(uuid.uuid5(installation, "%d/%s" % (2**53 + 1, first))))
        expect(task + ": name", taken.name, task)
        args, kwargs, embed = taken.message.payload
        shown = names if len(names) <= 5 else names[:5] + ["..."]
        expect(task + ": kwargs", kwargs, {
            "installation": str(installation), "run": 2**53 + 1,
            **(of_delivery or {"jobs": jobs, "names": shown})})
        expect(task + ": argsrepr", taken.argsrepr, saferepr(tuple(shown), 1024))
        theirs = app.amqp.as_task_v2(
            taken.id, task, (), kwargs, origin="gen7@host", ignore_result=True,
            root_id=str(uuid.uuid5(installation, "%d/-1" % (2**53 + 1))),
            argsrepr=taken.argsrepr)
        expect(task + ": headers", list(reply["headers"].items()),
               list(plain(theirs.headers).items()))
        expect(task + ": body", json.loads(reply["body"]), plain(theirs.body))
        back = ask(do="own", properties=reply["properties"], headers=reply["headers"],
                   body=reply["body"].encode().hex())
        expect(task + ": back", back, {"task": task, "installation": str(installation),
                                       "run": 2**53 + 1, **own})


# --- argsrepr ---

def some_value(rng, depth=0):
    kind = rng.randrange(11 if depth < 6 else 8)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([0, -1, 7, 2**31, -(2**63), 10**30, 123456789])
    if kind == 2:
        return rng.choice([0.0, -0.0, 1e16, 1e15, 9999999999999998.0, 1e-4, 1e-5, 1.5e300, 0.1,
                           5e-324, 100.0, 123.456, float("inf"), float("-inf"), float("nan")])
    if kind == 3:
        return rng.uniform(-1, 1) * 10 ** rng.randrange(-30, 30)
    if kind < 8:
        return "".join(rng.choice(["a", "b ", "'", '"', "\\", "\n", "\u00fc", "\u20ac", "\U0001f514", "]"])
                       for _ in range(rng.choice([0, 1, 3, 8, 30])))
    size = rng.choice([0, 1, 2, 3, 6])
    if kind == 8:
        return {str(some_value(rng, 99)): some_value(rng, depth + 1) for _ in range(size)}
    return [some_value(rng, depth + 1) for _ in range(size)]


def check_reprs(n):
    rng = random.Random(20261122)
    for i in range(n):
        value = some_value(rng, rng.choice([-2, 0, 1]))
        text = json.dumps(value, ensure_ascii=rng.random() < .5,
                          indent=rng.choice([None, None, 1]))
        limit = rng.choice([1024, 1024, 1, 2, 3, 5, 8, 13, 20, 40, 80])
        as_tuple = isinstance(value, list) and rng.random() < .5
        value = json.loads(text)    # no object is there twice
        theirs = saferepr(tuple(value) if as_tuple else value, limit)
        ours = ask(do="repr", json=text, tuple=as_tuple, limit=limit)
        expect("repr of %s, %d" % (text, limit), ours.get("repr"), theirs)


def main():
    global recode
    recode = subprocess.Popen([sys.argv[1] if len(sys.argv) > 1 else "tests/celery/recode"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              encoding="ascii", errors="backslashreplace")
    for i, case in enumerate(CASES):
        check_v2("v2 %d" % i, case)
        check_made_by_us("made %d" % i, case)
        check_v1("v1 %d" % i, case)
    check_hybrid()
    check_jobs()
    check_reprs(3000)
    recode.stdin.close()
    if recode.wait(timeout=60):
        sys.exit("recode: exit status %d" % recode.returncode)
    print("%d cases, %d differences" % (3 * len(CASES), failures))
    sys.exit(failures > 0)


main()
