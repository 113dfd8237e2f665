"""Conformance cases: delays, expiry, revocation, limits, retries, order, and the
worker's own end."""

import json
import time

from celery import chain

from celery_talk import EVERYWHERE, TIMEOUT, Events, case, soon
from harness import wait_for


# --- time ---


@case()
def a_countdown(c):
    began = time.monotonic()
    seen = c.outcome(c.call("t.add", 1, 2, countdown=1))
    return [seen, 0.9 <= time.monotonic() - began < 5]


@case()
def an_eta_in_the_past(c):
    return c.outcome(c.call("t.add", 1, 2, eta=soon(-3600)))


@case()
def forms_of_eta(c):
    seen = {}
    for form in ("2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00Z", "2020-01-01T02:00:00.123456",
                 "2020-01-01T00:00:00-07:30", "2020-01-01T00:00:00.5+00:00", None):
        id = c.id(f"eta {form}")
        c.publish([[1, 2], {}, {}], {"lang": "py", "task": "t.add", "id": id, "eta": form})
        seen[str(form)] = c.outcome(c.result(id))
    return seen


@case()
def delayed_tasks_do_not_keep_others_waiting(c):
    ids = [c.call("t.add", 1, 2, countdown=600).id for _ in range(40)]
    seen = [c.outcome(c.call("t.add", n, n)) for n in range(3)]
    c.inspect_until("scheduled", lambda all: len(all) >= 40)
    c.control("revoke", task_id=ids)
    return seen


@case(*EVERYWHERE)
def expired(c):
    return c.outcome(c.call("t.add", 1, 2, expires=-10))


@case()
def not_expired_yet(c):
    return c.outcome(c.call("t.add", 1, 2, expires=60))


@case()
def expired_when_its_eta_comes(c):
    return c.outcome(c.call("t.add", 1, 2, countdown=1.2, expires=0.6))


@case("narrow")
def expired_while_it_waits(c):
    first = c.call("t.sleep", 1.2)
    c.begun(first)
    second = c.id("second")
    c.publish([[1, 2], {}, {}], {"lang": "py", "task": "t.add", "id": second,
                                 "expires": soon(0.5).isoformat()})
    return [c.outcome(first), c.outcome(c.result(second))]


@case()
def revoked_before_it_arrives(c):
    id = c.id("revoked")
    answer = c.control("revoke", task_id=id)
    c.app.send_task("t.add", (1, 2), task_id=id)
    return [answer, c.outcome(c.result(id))]


@case("narrow")
def revoked_while_it_waits(c):
    first = c.call("t.sleep", 1)
    c.begun(first)
    second = c.call("t.add", 1, 2)
    c.known(second)
    c.control("revoke", task_id=second.id)
    return [c.outcome(first), c.outcome(second)]


@case()
def revoked_while_it_is_delayed(c):
    result = c.call("t.add", 1, 2, countdown=1.5)
    c.inspect_until("scheduled", lambda all: any(s["request"]["id"] == result.id for s in all))
    c.control("revoke", task_id=result.id)
    return c.outcome(result)


@case(*EVERYWHERE)
def revoked_while_it_runs(c):
    result = c.call("t.sleep", 30)
    c.begun(result)
    answer = c.control("revoke", task_id=result.id, terminate=True, signal="SIGTERM")
    return [answer, c.outcome(result)]


@case()
def revoked_without_mercy(c):
    result = c.call("t.sleep", 30)
    c.begun(result)
    c.control("revoke", task_id=result.id, terminate=True, signal="SIGKILL")
    return c.outcome(result)


@case()
def revoked_while_it_runs_but_not_terminated(c):
    result = c.call("t.sleep", 0.7)
    c.begun(result)
    return [c.control("revoke", task_id=result.id), c.outcome(result)]


@case()
def several_revoked(c):
    ids = [c.id(f"task {i}") for i in range(3)]
    c.control("revoke", task_id=ids)
    for id in ids:
        c.app.send_task("t.add", (1, 2), task_id=id)
    return [c.outcome(c.result(id)) for id in ids]


@case()
def terminated_before_it_runs(c):
    id = c.id("revoked")
    answer = c.control("revoke", task_id=id, terminate=True)
    c.app.send_task("t.add", (1, 2), task_id=id)
    return [answer, c.outcome(c.result(id))]


@case(*EVERYWHERE)
def a_soft_limit(c):
    return c.outcome(c.call("t.sleep", 20, soft_time_limit=1))


@case(*EVERYWHERE)
def a_hard_limit(c):
    return c.outcome(c.call("t.sleep", 20, time_limit=1))


@case()
def both_limits(c):
    return c.outcome(c.call("t.sleep", 20, soft_time_limit=1, time_limit=4))


@case()
def limits_of_the_task_itself(c):
    return [c.outcome(r) for r in [c.call("t.limited", 20), c.call("t.killed", 20)]]


@case()
def a_limit_of_the_message_counts_more(c):
    return c.outcome(c.call("t.limited", 1.5, soft_time_limit=10))


@case()
def within_its_limits(c):
    return c.outcome(c.call("t.sleep", 0.1, soft_time_limit=5, time_limit=10))


@case()
def the_document_of_a_hard_limit(c):
    return c.document(c.call("t.sleep", 20, time_limit=1))


@case()
def a_lost_process(c):
    return c.outcome(c.call("t.die", 9))


@case("redis", "db")
def a_retry(c):
    path = c.path()
    result = c.call("t.flaky", path, 1)
    c.wait(lambda: len(c.lines(path)) == 1)
    between = c.wait(lambda: (s := c.seen(result))["state"] != "PENDING" and s)
    return [between, c.outcome(result), len(c.lines(path))]


@case("rpc")
def a_retry_is_told_by_rpc(c):
    seen = []
    result = c.call("t.flaky", c.path(), 1)
    result.get(timeout=TIMEOUT, on_message=lambda m: m["task_id"] == result.id and seen.append(
        m["status"]))
    return seen


@case(differs="tracebacks", tocsin={"traceback": None})
def the_document_of_a_retry(c):
    result = c.call("t.flaky", c.path(), 1)
    key = "celery-task-meta-" + result.id
    document = json.loads(c.wait(lambda: (text := c.world.redis("get", key))
                                 and "RETRY" in text and text))
    del document["children"]		# of a stock worker: itself
    return document


@case()
def retries_that_are_exhausted(c):
    path = c.path()
    result = c.call("t.flaky", path, 99, link_error=c.sig("t.told", label="errback"))
    return [c.outcome(result), len(c.lines(path)), c.outcome(c.of("errback"))]


@case()
def a_retried_task_calls_its_followers_once(c):
    path = c.path()
    c.call("t.flaky", c.path("tries"), 1, link=c.si("t.note", path, "linked", label="link"),
           link_error=c.si("t.note", path, "failed"))
    c.outcome(c.of("link"))
    return c.lines(path)


@case()
def the_steps_after_a_retry(c):
    return c.outcome(c.apply(chain(c.sig("t.flaky", c.path(), 1), c.sig("t.add", 10))))


@case("narrow")
def priorities(c):
    path = c.path()
    first = c.call("t.sleep", 1)
    c.begun(first)
    # two that a prefetch may take before the others are there
    for n in range(2):
        c.call("t.note", path, f"plug {n}", queue="prio", priority=9)
    c.wait(lambda: c.control("reserved"))
    for priority in (1, 5, 0, 9, 3):
        c.call("t.note", path, f"priority {priority}", queue="prio", priority=priority)
    lines = c.lines_of(path, 7)
    return [line for line in lines if "plug" not in line]


@case("narrow")
def one_hand_works_in_order(c):
    path = c.path()
    for n in range(10):
        c.call("t.note", path, str(n))
    return c.lines_of(path, 10)


@case("narrow")
def a_rate_limit(c):
    began = time.monotonic()
    results = [c.call("t.rated", n) for n in range(3)]
    seen = [c.outcome(r)["value"] for r in results]
    return [seen, 0.9 <= time.monotonic() - began < 6]


@case("narrow")
def a_rate_limit_keeps_no_others_waiting(c):
    results = [c.call("t.rated", n) for n in range(2)]
    began = time.monotonic()
    c.outcome(c.call("t.add", 1, 2))
    quick = time.monotonic() - began < 5
    return [quick, [c.outcome(r)["value"] for r in results]]


# --- what the worker does not survive, or must ---


@case("fresh", differs="elections",
      tocsin={"worker": "lives"})
def an_election(c):
    c.control("election", reply=False, id=c.id("election"), topic="topic", action=None)
    try:
        wait_for(lambda: not c.world.alive(), 2 if c.expected is None else 0.3)
        return {"worker": "dies"}
    except AssertionError:
        return {"worker": "lives"} if c.control("ping") == {"ok": "pong"} else {}


@case("fresh")
def shut_down_by_command(c):
    with Events(c, enable=False) as events:
        running = c.call("t.sleep", 1)
        c.begun(running)
        c.control("shutdown", reply=False)
        events.until(lambda: any(e["type"] == "worker-offline" for e in events.seen))
    c.world.worker.wait(20)
    return [c.outcome(running), c.world.worker.returncode]


@case("fresh")
def a_kill_in_the_middle_of_a_late_task(c):
    path = c.path()
    result = c.call("t.late", path, 1.5)
    c.lines_of(path, 1)
    c.world.kill()
    c.world.start()
    return [c.outcome(result), c.lines(path)]


@case("fresh")
def a_delayed_task_survives_its_worker(c):
    result = c.call("t.add", 1, 2, countdown=3)
    c.inspect_until("scheduled", lambda all: all)
    c.world.kill()
    c.world.start()
    return c.outcome(result)


@case("fresh", differs="revocations",
      tocsin=lambda stock: {"state": "REVOKED", "raises": "celery.exceptions.TaskRevokedError",
                            "args": ["revoked"]})
def a_revocation_survives_its_worker(c):
    id = c.id("revoked")
    c.control("revoke", task_id=id)
    c.world.stop()
    c.world.start()
    c.app.send_task("t.add", (1, 2), task_id=id)
    return c.outcome(c.result(id))
