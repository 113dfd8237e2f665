"""Celery's own canvas against tests/celery/plan, without a broker.

Workflows of every kind, many of them made at random, are sent by a stock client and
run by a stock worker's tracer, message by message, chords and all.  What it
publishes, stores, counts and saves is compared with what we plan, in that order;
new ids are called by the order in which they appear.

usage: canvas_agrees.py [PLAN [COUNT [SEED]]]
"""
import datetime as dt
import json
import random
import re
import subprocess
import sys
import warnings

import kombu
from celery import Celery, chain, chord, group, signature
from celery.app.trace import build_tracer
from celery.backends.base import KeyValueStoreBackend
from celery.backends.redis import RedisBackend
from celery.canvas import maybe_signature
from celery.exceptions import ChordError, Retry
from celery.worker.request import Request

warnings.simplefilter("ignore")
NOW = dt.datetime(2026, 11, 22, 3, 48, 34, 78, tzinfo=dt.timezone.utc)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
CHORDS = ["native", "unlock"]


def micros(when):
    return (when - EPOCH) // dt.timedelta(microseconds=1)


class Log(list):
    """What the stock worker does, in order."""


log = Log()


class Recorder(KeyValueStoreBackend):
    """A backend that writes down what it is asked, and counts chords as redis does."""
    native = True
    persistent = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.states = {}
        self.sizes, self.counted, self.groups, self.part = {}, {}, {}, None

    def store_result(self, task_id, result, state, traceback=None, request=None, **kwargs):
        log.append({"step": "store", "id": task_id, "state": state,
                    "error": repr(result) if state == "FAILURE" else None,
                    "children": self.current_task_children(request)})

    def get(self, key):
        return None

    def _get_task_meta_for(self, task_id):
        state, value = self.states.get(task_id, ("PENDING", None))
        return {"status": state, "result": value, "traceback": None, "children": []}

    def set_chord_size(self, group_id, size):
        if self.native:
            self.sizes[group_id] = size
            log.append({"step": "size", "group": group_id, "size": size})

    def save_group(self, group_id, result):
        self.groups[group_id] = result
        log.append({"step": "save", "group": group_id,
                    "document": plain({"result": result.as_tuple()})})

    def apply_chord(self, header_result_args, body, **kwargs):
        if self.native:
            return RedisBackend.apply_chord(self, header_result_args, body, **kwargs)
        return super().apply_chord(header_result_args, body, **kwargs)

    def ensure_chords_allowed(self):
        pass

    def on_chord_part_return(self, request, state, result, **kwargs):
        if not self.native or not request.group or not request.id:
            return
        gid = request.group
        log.append({"step": "count", "group": gid, "id": request.id,
                    "group_index": -1 if request.group_index is None else request.group_index})
        self.counted.setdefault(gid, []).append((request.group_index, request.id, state, result))
        if gid not in self.sizes or len(self.counted[gid]) != self.sizes[gid]:
            return
        members = sorted(self.counted[gid], key=lambda m: (m[0] is None, m[0], m[1]))
        start = len(log)
        callback = maybe_signature(plain(request.chord), app=app)
        part = {"chord": json.dumps(request.chord), "id": app.current_worker_task.request.id,
                "root_id": app.current_worker_task.request.root_id,
                "priority": app.current_worker_task.request.delivery_info["priority"]}
        failed = [m for m in members if m[2] != "SUCCESS"]
        try:
            if failed:
                text = "Dependency %s raised %r" % (failed[0][1], failed[0][3])
                part.update(do="chord_fail", text=text)
                self.chord_error_from_stack(callback, ChordError(text))
            else:
                results = [m[3] for m in members]
                part.update(do="chord_done", results=json.dumps(results))
                callback.delay(results)
        except Exception as exc:
            part["raised"] = exc
        part["log"] = log[start:]
        del log[start:]
        log.parts.append(part)


log.parts = []
app = Celery("tests", broker="memory://")     # current: signatures in signatures ask it
app.now = lambda: NOW
app.conf.task_ignore_result = False


@app.task(name="work", bind=True, max_retries=None)
def work(self, *args, **kwargs):
    return work.does(self)


app.finalize()
backend = Recorder(app=app)
app._local.backend = backend
app._backend_cache = backend


def publish(self, body, **kw):
    headers = plain(kw["headers"])
    log.append({
        "step": "post", "exchange": kw["exchange"], "routing_key": kw["routing_key"],
        "headers": headers, "body": kombu.serialization.dumps(body, "json")[2],
        "properties": {"correlation_id": kw["correlation_id"], "reply_to": kw["reply_to"],
                       "priority": kw.get("priority", 0),
                       "expiration": kw.get("expiration"),
                       "delivery_mode": kw["delivery_mode"]}})


kombu.Producer.publish = publish


def plain(value):
    return json.loads(kombu.serialization.dumps(value, "json")[2])


# --- the stock worker ---

def run(post, does):
    """Let a worker run the message; what it did, and the chords it completed."""
    p = post["properties"]
    message = kombu.Message(
        body=post["body"], content_type="application/json", content_encoding="utf-8",
        headers=dict(post["headers"]), properties=dict(p),
        delivery_info={"exchange": "", "routing_key": "celery", "redelivered": False},
        accept={"application/json"}, channel=None)
    name = post["headers"]["task"]
    task = app.tasks.get(name, work)
    work.does = does
    request = Request(message, app=app, hostname="w@h", task=task)
    args, kwargs, embed = message.payload
    fields = dict(request.request_dict, args=args, kwargs=kwargs, is_eager=False, **embed)
    del log[:], log.parts[:]
    tracer = build_tracer(task.name, task, app=app, hostname="w@h")
    outcome = tracer(request.id, args, kwargs, fields)
    return [dict(s) for s in log], list(log.parts), outcome


# --- comparing ---

plan = None
failures = compared = 0
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def ask(**question):
    plan.stdin.write(json.dumps(question) + "\n")
    plan.stdin.flush()
    line = plan.stdout.readline()
    if not line:
        sys.exit("plan has died at: " + json.dumps(question))
    return json.loads(line)


def renamed(steps, known):
    """New ids by the order of their appearance; keys in order, for both."""
    text = json.dumps(steps, sort_keys=True)
    names = {}
    return json.loads(UUID.sub(
        lambda m: m[0] if m[0] in known else names.setdefault(m[0], "new-%d" % len(names)), text))


HEADERS = ("task", "id", "root_id", "parent_id", "group", "group_index", "shadow", "eta",
           "expires", "retries", "timelimit", "ignore_result", "argsrepr", "kwargsrepr")


def seen(step):
    """A step of either side in one form."""
    kind = step["step"]
    if kind == "post":
        headers = {k: step["headers"].get(k) for k in HEADERS}
        headers["argsrepr"] = re.sub(r",?[])]$", ")", re.sub(r"^[[]", "(", headers["argsrepr"]))
        if headers["task"] == "celery.chord_unlock":    # shows tuples, which JSON has not
            headers["argsrepr"] = headers["kwargsrepr"] = None
        headers["more"] = {k: v for k, v in step["headers"].items()
                           if k not in HEADERS and k not in ("lang", "origin")}
        p = dict(step["properties"])
        p["priority"] = -1 if p["priority"] is None else p["priority"]
        p["expiration"] = p["expiration"] is not None
        exchange, key = step["exchange"], step["routing_key"]
        if step.get("queue"):
            exchange, key = "", step["queue"]
        return ["post", headers["task"], exchange, key, headers, p,
                json.loads(step["body"])]
    if kind == "size":
        return ["size", step["group"], step["size"]]
    if kind == "save":
        document = step["document"]
        return ["save", step["group"],
                json.loads(document) if isinstance(document, str) else document]
    if kind == "fail":
        return ["fail", step["id"]]
    return ["count", step["id"], step["group"], step["group_index"]]


def show(what, ours, theirs):
    global failures
    failures += 1
    if failures > 10:
        return
    print("%s:" % what)
    def walk(path, a, b):
        if type(a) is not type(b) or not isinstance(a, (dict, list)):
            if a != b:
                print("    %s: ours %.300s, theirs %.300s" % (path, json.dumps(a), json.dumps(b)))
        elif isinstance(a, dict):
            for k in sorted(set(a) | set(b)):
                walk(path + "." + k, a.get(k, "(none)"), b.get(k, "(none)"))
        else:
            for i in range(max(len(a), len(b))):
                walk("%s[%d]" % (path, i), a[i] if i < len(a) else "(none)",
                     b[i] if i < len(b) else "(none)")
    walk("", ours, theirs)


def compare(what, reply, theirs, known):
    global compared
    if any(len(s.get("body", "")) > 10**6 for s in theirs):
        return                              # it has grown beyond what we bear
    compared += 1
    if "error" in reply:
        show(what, [["error", reply["error"]]], [seen(s) for s in theirs])
        return
    ours = [seen(s) for s in reply["steps"]]
    theirs = [seen(s) for s in theirs]
    ours, theirs = renamed(ours, known), renamed(theirs, known)
    if ours != theirs:
        show(what, ours, theirs)


SETTING = {"now": micros(NOW), "inherit": False}


def question(post, **more):
    return dict(SETTING, properties=post["properties"], headers=post["headers"],
                body=post["body"], chords=CHORDS.index("native" if backend.native else "unlock"),
                reply_to=app.thread_oid, **more)


def known_ids(post):
    return set(UUID.findall(json.dumps([post["headers"], post["properties"]]) + post["body"]
                            + app.thread_oid))


def boom(task):
    raise ValueError("boom")


def again(task):
    raise task.retry(countdown=5)


def check_success(what, post):
    theirs, parts, outcome = run(post, lambda task: 7)
    own = [s for s in theirs if s["step"] == "store" and s["id"] == post["headers"]["id"]]
    if not own or own[-1]["state"] != "SUCCESS":
        return theirs, parts, False         # the stock worker cannot do this one
    posts = [s for s in theirs if s["step"] not in ("store", "count")]
    reply = ask(**question(post, do="succeed", result="7"))
    compare(what, reply, posts, known_ids(post))
    if "children" in reply:
        ids = known_ids(post)
        ours = renamed([seen(s) for s in reply["steps"]] + [json.loads(reply["children"])], ids)
        their = renamed([seen(s) for s in posts] + [own[-1]["children"]], ids)
        if ours[-1] != their[-1]:
            show(what + ": children", [ours[-1]], [their[-1]])
    return theirs, parts, True


def check_failure(what, post):
    theirs, parts, outcome = run(post, boom)
    own = post["headers"]["id"]
    # Of a flow, Celery counts the flow; we count its tasks, as its size does.
    flows = {s["options"].get("task_id") for s in json.loads(post["body"])[2]["chain"] or []
             if s["subtask_type"]}
    # The task's own result and count are the engine's to see to.
    follow, counted = [], False
    for s in theirs:
        if s["step"] == "store" and s["id"] == own:
            continue
        if s["step"] == "count" and s["id"] in flows:
            continue
        if s["step"] == "count" and s["id"] == own and not counted:
            counted = True
            continue
        follow.append({"step": "fail", "id": s["id"]} if s["step"] == "store" else s)
    reply = ask(**question(post, do="fail"))
    # The bodies of chords, and what is behind them, we fail too.
    ids = {(s["step"], s["id"]) for s in follow if s["step"] != "post"}
    if "steps" in reply:
        reply["steps"] = [s for s in reply["steps"]
                          if s["step"] == "post" or (s["step"], s["id"]) in ids]
    compare(what, reply, follow, known_ids(post))
    return theirs, parts


def check_part(what, part):
    if "raised" in part:
        return
    theirs = [({"step": "fail", "id": s["id"]} if s["step"] == "store" else s)
              for s in part["log"] if s["step"] != "store" or s["id"]]
    known = set(UUID.findall(part["chord"])) | {part["id"], part["root_id"], app.thread_oid}
    reply = ask(**dict(SETTING, do=part["do"], chord=part["chord"], id=part["id"],
                       root_id=part["root_id"], priority=part["priority"],
                       results=part.get("results"),
                       text=part.get("text"), chords=0, reply_to=app.thread_oid))
    if part["do"] == "chord_fail" and "steps" in reply:
        ids = {(s["step"], s["id"]) for s in theirs if s["step"] != "post"}
        reply["steps"] = [s for s in reply["steps"]
                          if s["step"] == "post" or (s["step"], s["id"]) in ids]
        reply["steps"] = without_errbacks(json.loads(part["chord"]), reply["steps"])
        theirs = without_errbacks(json.loads(part["chord"]), theirs)
    compare(what + ": " + part["do"], reply, theirs, known)


def check_unlock(what, post, rng):
    """celery.chord_unlock, when all are there, when one has failed, when one is awaited."""
    def ids(tuples):
        for (task_id, _), members in tuples:
            yield from ids(members) if members is not None else [task_id]
    waited = list(ids(json.loads(post["body"])[1]["result"]))
    if len(set(waited)) < len(waited):
        return [], []
    states = {i: ("SUCCESS", n) for n, i in enumerate(waited)}
    chosen = rng.choice(["SUCCESS", "FAILURE", "PENDING"])
    if waited and chosen != "SUCCESS":
        states[rng.choice(waited)] = (chosen, ValueError("boom"))
    backend.states = states
    backend._cache.clear()
    theirs, parts, outcome = run(post, None)
    backend.states = {}
    reply = ask(**question(post, do="unlock", states=[
        [s, "[\"boom\"]" if s == "FAILURE" else json.dumps(v) if s == "SUCCESS" else "null",
         "ValueError"] for s, v in (states[i] for i in waited)]))
    own = post["headers"]["id"]
    follow = [{"step": "fail", "id": s["id"]} if s["step"] == "store" else s for s in theirs
              if s["step"] != "store" or s["id"] not in (own, None)]
    if outcome.info and outcome.info.state == "FAILURE" or any(
            s["step"] == "store" and s["id"] is None for s in theirs):
        return theirs, parts                # the stock worker cannot do this one
    fails = {s["id"] for s in follow if s["step"] == "fail"}
    if "steps" in reply:
        reply["steps"] = [s for s in reply["steps"] if s["step"] not in ("fail", "count")
                          or s["step"] == "fail" and s["id"] in fails]
    if any(s[0] == "FAILURE" for s in states.values()) and "steps" in reply:
        body = json.loads(post["body"])[0][1]
        reply["steps"] = without_errbacks(body, reply["steps"])
        follow = without_errbacks(body, follow)
    for s in follow + reply.get("steps", []):
        if s["step"] == "post" and s["headers"]["id"] == own:
            args, kwargs, embed = json.loads(s["body"])
            del args[1]                     # the body, which Celery takes apart and we do not
            s["body"] = json.dumps([args, kwargs, embed])
    compare(what, reply, follow, known_ids(post))
    return theirs, parts


def check_retry(what, case):
    del log[:]
    app.signature("work", (1,), {"k": 2}).set(**case).apply_async()
    post = log[0]
    theirs, parts, _ = run(post, again)
    reply = ask(**question(post, do="retry", eta=micros(NOW + dt.timedelta(seconds=5))))
    compare(what, reply, [s for s in theirs if s["step"] == "post"], known_ids(post))


def check_apply(what, canvas):
    """As a client: nobody is the parent."""
    del log[:]
    text = json.dumps(plain(canvas))
    backend.sizes.clear(), backend.counted.clear()
    try:
        signature(json.loads(text), app=app).apply_async((9,))
    except Exception:
        return
    reply = ask(**dict(SETTING, do="apply", signature=text, args="[9]", reply_to=app.thread_oid,
                       chords=CHORDS.index("native" if backend.native else "unlock")))
    compare(what, reply, list(log), set(UUID.findall(text)) | {app.thread_oid})


def without_errbacks(body, steps):
    """Of a body that is a flow, Celery calls no errbacks but those of the flow; we do."""
    return [s for s in steps if s["step"] != "post"] if body["subtask_type"] else steps


def posts_of(theirs, parts):
    found = [s for s in theirs if s["step"] == "post"]
    for part in parts:
        found += [s for s in part["log"] if s["step"] == "post"]
    return found


def check_flow(what, canvas, rng, limit=40):
    """Send it, and run all that comes of it."""
    del log[:], log.parts[:]
    backend.sizes.clear(), backend.counted.clear()
    try:
        canvas.apply_async()
    except Exception as exc:
        return                              # a client refuses it: nobody will see it
    todo = [s for s in log if s["step"] == "post"]
    for n in range(limit):
        if not todo:
            return
        post = todo.pop(0)
        name = "%s: message %d (%s)" % (what, n, post["headers"]["task"])
        if post["headers"]["task"] == "celery.chord_unlock":
            theirs, parts = check_unlock(name, post, rng)
        elif rng.random() < .15:
            theirs, parts = check_failure(name + " fails", post)
        else:
            theirs, parts, _ = check_success(name, post)
        for part in parts:
            check_part(name, part)
        todo += posts_of(theirs, parts)


# --- flows ---

def task(rng, depth=0):
    n = rng.randrange(1000)
    s = app.signature("t%d" % n, args=tuple(rng.choice([(), (1,), ("a", None)])),
                      kwargs=rng.choice([{}, {"k": n}]), immutable=rng.random() < .2)
    if rng.random() < .2:
        s.set(queue="q%d" % rng.randrange(3))
    if rng.random() < .1:
        s.set(priority=rng.randrange(10))
    if rng.random() < .1:
        s.set(countdown=rng.choice([1, 2.5]))
    if rng.random() < .1:
        s.set(time_limit=30, soft_time_limit=2.5)
    if rng.random() < .1:
        s.set(shadow="shown", ignore_result=True)
    if rng.random() < .1:
        s.set(exchange="topics", routing_key="a.b")
    if rng.random() < .1:
        s.set(headers={"x": 1})
    if depth < 3:
        while rng.random() < .15:
            s.link(flow(rng, depth + 2))
        while rng.random() < .15:
            s.link_error(task(rng, 3))
    return s


def many(rng, depth, least=1):
    return [flow(rng, depth + 1) for _ in range(rng.choice([least, 1, 2, 2, 3]))]


def flow(rng, depth=0):
    kind = rng.randrange(10)
    if depth >= 4 or kind < 3:
        return task(rng, depth)
    if kind < 5:
        return chain(*many(rng, depth))
    if kind == 5:                           # put together in another way
        s = task(rng, depth)
        for more in many(rng, depth):
            s = s | more
        return s
    if kind < 8:
        return group(many(rng, depth, 0))
    return chord(many(rng, depth, 0), flow(rng, depth + 1))


RETRIES = [
    {}, {"parent_id": "p", "root_id": "r"}, {"retries": 3, "priority": 5},
    {"link": [task(random.Random(1), 3)], "link_error": [task(random.Random(2), 3)]},
    {"chain": [task(random.Random(3), 3)], "chord": task(random.Random(4), 3),
     "group_id": "g", "group_index": 2},
    {"time_limit": 30, "soft_time_limit": 2.5, "shadow": "shown", "reply_to": "client"},
]


def check_random(count, seed):
    only = sys.argv[4:]
    for i in map(int, only) if only else range(count):
        rng = random.Random("%s/%d" % (seed, i))
        backend.native = rng.random() < .7
        SETTING["inherit"] = app.conf.task_inherit_parent_priority = rng.random() < .3
        try:
            canvas = flow(rng)
        except Exception:
            continue                        # Celery cannot even put it together
        check_apply("random %s/%d applied" % (seed, i), canvas)
        check_flow("random %s/%d" % (seed, i), canvas, rng)
    backend.native = True


def main():
    global plan
    plan = subprocess.Popen([sys.argv[1] if len(sys.argv) > 1 else "tests/celery/plan"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            encoding="ascii", errors="backslashreplace")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 150
    seed = sys.argv[3] if len(sys.argv) > 3 else "tocsin"
    for case in RETRIES:
        check_retry("retry %r" % case, case)
    check_random(count, seed)
    plan.stdin.close()
    if plan.wait(timeout=60):
        sys.exit("plan: exit status %d" % plan.returncode)
    print("%d plans compared, %d differences" % (compared, failures))
    sys.exit(failures > 0 or compared < count)


main()
