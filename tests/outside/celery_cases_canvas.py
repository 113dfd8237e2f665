"""Conformance cases: what a task makes follow, and what is sent for it."""

import random
import re
import time

from celery import chain, chord, group
from celery.result import GroupResult

from celery_talk import EVERYWHERE, Events, case


# --- links ---


@case(*EVERYWHERE)
def a_link(c):
    result = c.call("t.add", 1, 2, link=c.sig("t.add", 10, label="link"))
    seen = [c.outcome(result)]
    if c.world.kind != "rpc":	# the link's result goes to another's queue there
        seen.append(c.outcome(c.of("link")))
    return seen


@case()
def an_immutable_link(c):
    c.call("t.add", 1, 2, link=c.si("t.add", 10, 20, label="link"))
    return c.outcome(c.of("link"))


@case()
def a_link_with_keywords(c):
    c.call("t.add", 1, 2, link=c.sig("t.add", kwargs={"y": 7}, label="link"))
    return c.outcome(c.of("link"))


@case()
def several_links(c):
    result = c.call("t.add", 1, 2, link=[c.sig("t.add", i, label=f"link {i}") for i in range(3)])
    seen = [c.outcome(c.of(f"link {i}")) for i in range(3)]
    return [c.outcome(result), *seen]


@case()
def links_of_links(c):
    inner = c.sig("t.add", 100, label="inner")
    c.call("t.add", 1, 2, link=c.sig("t.add", 10, label="outer", link=[inner]))
    return [c.outcome(c.of("outer")), c.outcome(c.of("inner"))]


@case()
def a_link_to_a_chain(c):
    c.call("t.add", 1, 2, link=chain(c.sig("t.add", 10, label="one"),
                                     c.sig("t.add", 100, label="two")))
    return [c.outcome(c.of("one")), c.outcome(c.of("two"))]


@case()
def a_link_to_a_group(c):
    c.call("t.add", 1, 2, link=group(c.sig("t.add", 10, label="one"),
                                     c.sig("t.add", 100, label="two")))
    return [c.outcome(c.of("one")), c.outcome(c.of("two"))]


@case()
def a_link_to_a_chord(c):
    c.call("t.add", 1, 2, link=chord([c.sig("t.add", 10, label="one"),
                                      c.sig("t.add", 100, label="two")],
                                     c.sig("t.tsum", label="sum")))
    return [c.outcome(c.of(label)) for label in ("one", "two", "sum")]


@case()
def a_link_of_a_failed_task_is_not_called(c):
    result = c.call("t.fail", "x", link=c.sig("t.add", 1, label="link"))
    seen = c.outcome(result)
    c.outcome(c.call("t.add", 1, 1))
    return [seen, c.seen(c.of("link"))]


@case()
def children(c):
    """AsyncResult.children: what a task has called."""
    result = c.call("t.add", 1, 2, link=[c.sig("t.add", 10, label="link")])
    c.outcome(c.of("link"))
    child, = c.wait(lambda: result.children)
    several = c.call("t.add", 1, 2, link=[c.sig("t.add", i, label=f"one of {i}") for i in range(2)])
    c.outcome(c.of("one of 1"))
    kinds = c.wait(lambda: c.result(several.id).children)
    return {"child": child.id, "of several": [[type(r).__name__, [m.id for m in r.results]]
            if isinstance(r, GroupResult) else r.id for r in kinds],
            "tree": [[p and p.id, r.id] for p, r in result.iterdeps(intermediate=True)]}


@case()
def collect(c):
    result = c.call("t.add", 1, 2, link=c.sig("t.add", 10, label="link",
                                              link=[c.sig("t.add", 100, label="last link")]))
    c.outcome(c.of("last link"))
    return [[r.id, value] for r, value in result.collect()]


@case(*EVERYWHERE)
def a_link_error(c):
    result = c.call("t.fail", "x", link_error=c.sig("t.told", label="errback"))
    seen = [c.outcome(result)]
    if c.world.kind != "rpc":
        seen.append(c.outcome(c.of("errback")))
    return seen


@case()
def an_immutable_link_error(c):
    c.call("t.fail", "x", link_error=c.si("t.echo", "burnt", label="errback"))
    return c.outcome(c.of("errback"))


@case()
def several_link_errors(c):
    c.call("t.fail", "x", link_error=[c.sig("t.told", label=f"errback {i}")
                                      for i in range(3)])
    return [c.outcome(c.of(f"errback {i}")) for i in range(3)]


@case()
def a_link_error_is_told_of_a_wrong_call(c):
    c.call("t.add", 1, link_error=c.sig("t.told", label="errback"))
    return c.outcome(c.of("errback"))


@case()
def a_link_error_is_told_of_a_hard_limit(c):
    c.call("t.sleep", 20, time_limit=1, link_error=c.sig("t.told", label="errback"))
    return c.outcome(c.of("errback"))


@case()
def a_link_error_of_a_success_is_not_called(c):
    result = c.call("t.add", 1, 2, link_error=c.sig("t.told", label="errback"))
    seen = c.outcome(result)
    c.outcome(c.call("t.add", 1, 1))
    return [seen, c.seen(c.of("errback"))]


@case(differs="unregistered tasks",
      tocsin={"errback": {"state": "SUCCESS", "value": "<unheard_of>"}})
def a_link_error_of_an_unregistered_task(c):
    result = c.call("t.unheard_of", link_error=c.sig("t.told", label="errback"))
    seen = {"task": c.outcome(result)}
    errback = c.of("errback")
    if c.expected is not None:
        c.outcome(errback)
    c.outcome(c.call("t.add", 1, 1))
    return {**seen, "errback": c.seen(errback)}


# --- chains ---


@case(*EVERYWHERE)
def a_chain(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3), c.sig("t.add", 4)))
    seen = c.outcome(result)
    return [seen, c.get(result)] if c.world.kind != "rpc" else seen


@case()
def a_chain_and_all_of_it(c):
    return c.family(c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3), c.sig("t.add", 4))))


@case()
def a_long_chain(c):
    return c.outcome(c.apply(chain(c.sig("t.add", 0, 1), *(c.sig("t.add", 1) for _ in range(30)))))


@case()
def a_chain_with_immutable_steps(c):
    return c.family(c.apply(chain(c.sig("t.add", 1, 2), c.si("t.add", 10, 20), c.sig("t.add", 4))))


@case("redis", "db")
def a_chain_that_fails_in_the_middle(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), c.si("t.fail", "x"), c.sig("t.add", 3),
                           c.sig("t.add", 4)))
    return [c.family(result), c.get(result), c.get(result, disable_sync_subtasks=False)]


@case()
def a_chain_that_fails_at_once(c):
    result = c.apply(chain(c.sig("t.fail", "x"), c.sig("t.add", 3)))
    return [c.family(result), c.get(result)]


@case()
def a_chain_of_chains(c):
    inner = chain(c.sig("t.add", 3), c.sig("t.add", 4))
    return c.family(c.apply(chain(c.sig("t.add", 1, 2), inner, c.sig("t.add", 5))))


@case()
def a_chain_with_a_link(c):
    work = chain(c.sig("t.add", 1, 2), c.sig("t.add", 3))
    work.link(c.sig("t.add", 100, label="link"))
    result = c.apply(work)
    return [c.outcome(result), c.outcome(c.of("link"))]


@case()
def a_chain_with_a_link_error(c):
    """It is appended to every step."""
    told = c.sig("t.told", label="errback")
    result = c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.divide", 0), c.sig("t.add", 3)),
                     link_error=told)
    return [c.family(result), c.outcome(c.of("errback"))]


@case()
def a_chain_over_queues(c):
    return c.outcome(c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3, queue="prio"),
                                   c.sig("t.add", 4))))


@case()
def a_chain_whose_step_waits(c):
    began = time.monotonic()
    seen = c.outcome(c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3, countdown=1))))
    return [seen, time.monotonic() - began >= 0.9]


@case()
def a_chain_with_an_expired_step(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3, expires=-5),
                           c.sig("t.add", 4)))
    seen = [c.outcome(result.parent.parent), c.outcome(result.parent)]
    return [*seen, c.seen(result)]


# --- groups ---


@case(*EVERYWHERE)
def a_group(c):
    result = c.apply(group(c.sig("t.add", i, i) for i in range(5)))
    return [c.outcome(r) for r in result.results]


@case()
def a_group_with_a_failure(c):
    result = c.apply(group(c.sig("t.add", 1, 1), c.sig("t.fail", "x"), c.sig("t.add", 2, 2)))
    seen = c.family(result)
    return [seen, c.get(result), result.successful(), result.failed(), result.completed_count()]


@case()
def a_group_of_groups(c):
    result = c.apply(group(c.sig("t.add", 1, 1), group(c.sig("t.add", 2, 2), c.sig("t.add", 3, 3))))
    return c.get(result)


@case()
def a_group_of_chains(c):
    result = c.apply(group(chain(c.sig("t.add", i, i), c.sig("t.add", 10)) for i in range(3)))
    return c.get(result)


@case()
def a_group_with_a_link_error(c):
    work = group(c.sig("t.add", 1, 1), c.sig("t.fail", "x"))
    work.link_error(c.sig("t.told", label="errback"))
    result = c.apply(work)
    return [c.family(result), c.outcome(c.of("errback"))]


@case()
def a_group_after_a_task(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), group(c.sig("t.add", 10), c.sig("t.add", 20))))
    return [c.get(result), c.family(result)]


@case()
def a_saved_group(c):
    result = c.apply(group(c.sig("t.add", i, i) for i in range(3)))
    result.save()
    return [c.outcome(r) for r in GroupResult.restore(result.id, app=c.app).results]


# --- chords ---


@case("redis", "db")
def a_chord(c):
    return c.outcome(c.apply(chord([c.sig("t.add", i, i) for i in range(5)], c.sig("t.tsum"))))


@case()
def a_chord_keeps_the_order_of_its_members(c):
    return c.outcome(c.apply(chord([c.sig("t.sleep", s) for s in (0.5, 0.1, 0.3, 0)],
                                   c.sig("t.echo"))))


@case()
def a_chord_of_one(c):
    return c.outcome(c.apply(chord([c.sig("t.add", 1, 2)], c.sig("t.tsum"))))


@case()
def a_chord_of_many(c):
    return c.outcome(c.apply(chord([c.sig("t.add", i, i) for i in range(40)], c.sig("t.tsum"))))


@case()
def a_chord_of_none(c):
    return c.outcome(c.apply(chord([], c.sig("t.tsum"))))


@case()
def a_chord_with_an_immutable_body(c):
    return c.outcome(c.apply(chord([c.sig("t.add", i, i) for i in range(3)],
                                   c.si("t.add", 1, 2))))


def says_which(stock):
    told = {**stock[2], "args": ["Dependency <two> raised RuntimeError('exit status 1: x')"]}
    return [*stock[:2], told, *stock[3:]]


@case("redis", "db", differs="chords that fail", tocsin=says_which)
def a_chord_with_a_failed_member(c):
    body = c.sig("t.tsum", label="body")
    result = c.apply(chord([c.sig("t.add", 1, 1, label="one"),
                            c.sig("t.fail", "x", label="two")], body))
    seen = [c.outcome(c.of("one")), c.outcome(c.of("two")), c.outcome(c.result(result.id))]
    return [*seen, c.get(result)]


@case(differs="tracebacks", tocsin={"traceback": None})
def the_document_of_a_chord_that_failed(c):
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.fail", "x", label="bad")],
                           c.sig("t.tsum", label="body")))
    return c.document(c.result(result.id))


@case()
def a_chord_with_a_failed_member_tells_the_errbacks_of_its_body(c):
    body = c.sig("t.tsum", label="body", link_error=[c.sig("t.told", label="errback")])
    c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.fail", "x")], body))
    return [c.outcome(c.of("body"))["state"], c.outcome(c.of("errback"))]


@case()
def a_chord_whose_body_fails(c):
    body = c.si("t.divide", 1, 0, link_error=[c.sig("t.told", label="errback")])
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.add", 2, 2)], body))
    return [c.outcome(result), c.outcome(c.of("errback"))]


@case()
def a_chord_in_a_chain(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), group(c.sig("t.add", 10), c.sig("t.add", 20)),
                           c.sig("t.tsum"), c.sig("t.add", 1000)))
    return [c.outcome(result), c.get(result)]


@case()
def chords_in_a_row(c):
    result = c.apply(chain(group(c.sig("t.add", 1, 2), c.sig("t.add", 3, 4)), c.sig("t.tsum"),
                           group(c.sig("t.add", 10), c.sig("t.add", 20)), c.sig("t.tsum")))
    return c.outcome(result)


@case()
def groups_in_a_row(c):
    result = c.apply(chain(group(c.si("t.add", 1, 2), c.si("t.add", 3, 4)),
                           group(c.sig("t.tsum"), c.sig("t.echo"))))
    return c.get(result)


@case(differs="chords that fail", tocsin=lambda stock: {**stock, **{step: {
          "state": "FAILURE", "raises": "celery.exceptions.ChordError",
          "args": ["Dependency <bad> raised RuntimeError('exit status 1: x')"]}
          for step in ("body", "after")}})
def a_chord_in_a_chain_that_fails(c):
    last = c.sig("t.add", 1000, label="after")
    result = c.apply(chain(c.sig("t.add", 1, 2),
                           group(c.sig("t.add", 10), c.si("t.fail", "x", label="bad")),
                           c.sig("t.tsum", label="body"), last))
    c.outcome(c.of("bad"))
    if c.expected is not None:
        c.outcome(c.of("after"))
    time.sleep(0.5 if c.expected is None else 0)
    return {"body": c.seen(c.of("body")), "after": c.seen(c.of("after")), "get": c.get(result)}


@case()
def a_chord_of_chains(c):
    header = [chain(c.sig("t.add", i, i), c.sig("t.add", 10)) for i in range(3)]
    return c.outcome(c.apply(chord(header, c.sig("t.echo"))))


@case()
def a_chord_of_chains_one_of_which_fails_early(c):
    header = [chain(c.sig("t.add", 1, 1), c.sig("t.add", 10)),
              chain(c.sig("t.fail", "x", label="early"), c.sig("t.add", 10))]
    result = c.apply(chord(header, c.sig("t.echo", label="body")))
    return c.outcome(c.result(result.id))["raises"]


@case()
def a_chord_of_groups(c):
    header = group(c.sig("t.add", 1, 1), group(c.sig("t.add", 2, 2), c.sig("t.add", 3, 3)))
    seen = c.outcome(c.apply(chord(header, c.sig("t.tsum"))))
    return seen


@case()
def a_chord_of_chains_that_end_in_groups(c):
    header = [chain(c.sig("t.add", 1, 1), group(c.sig("t.add", 10), c.sig("t.add", 20))),
              c.sig("t.add", 5, 5)]
    return c.outcome(c.apply(chord(header, c.sig("t.echo"))))


@case()
def a_chord_of_chords(c):
    inner = [chord([c.sig("t.add", i, i), c.sig("t.add", 1, 1)], c.sig("t.tsum"))
             for i in range(2)]
    return c.outcome(c.apply(chord(inner, c.sig("t.tsum"))))


@case()
def a_chord_whose_body_is_a_chain(c):
    body = chain(c.sig("t.tsum"), c.sig("t.add", 100), c.sig("t.add", 1000))
    return c.outcome(c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.add", 2, 2)], body)))


@case()
def a_chord_whose_body_is_a_group(c):
    body = group(c.sig("t.tsum"), c.sig("t.echo"))
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.add", 2, 2)], body))
    return c.get(result)


@case()
def a_chord_with_an_expired_member(c):
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.add", 2, 2, expires=-5)],
                           c.sig("t.tsum")))
    return c.outcome(c.result(result.id))


@case(differs="unregistered tasks",
      tocsin={"body": {"state": "FAILURE", "raises": "celery.exceptions.ChordError",
                       "args": ["Dependency <bad> raised NotRegistered('t.unheard_of')"]}})
def a_chord_with_an_unregistered_member(c):
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.unheard_of", label="bad")],
                           c.sig("t.tsum")))
    body = c.result(result.id)
    bad = c.outcome(c.of("bad"))
    if c.expected is not None:
        c.outcome(body)
    return {"member": bad, "body": c.seen(body)}


@case()
def a_chord_with_a_retried_member(c):
    result = c.apply(chord([c.sig("t.add", 1, 1), c.sig("t.flaky", c.path(), 1)],
                           c.sig("t.tsum")))
    return c.outcome(result)


@case()
def a_chord_with_a_slow_revoked_member(c):
    slow = c.sig("t.sleep", 20, label="slow")
    result = c.apply(chord([c.sig("t.add", 1, 1), slow], c.sig("t.tsum")))
    c.begun(c.of("slow"))
    c.control("revoke", task_id=c.of("slow").id, terminate=True, signal="SIGTERM")
    return [c.outcome(c.of("slow")), c.outcome(c.result(result.id))]


@case()
def what_a_chord_leaves_in_redis(c):
    result = c.apply(chord([c.sig("t.add", i, i) for i in range(3)], c.sig("t.tsum")))
    c.outcome(result)
    group_id = result.parent.id
    c.wait(lambda: "taskset" not in c.world.redis("keys", f"celery-taskset-meta-{group_id}*"))
    return c.world.redis("keys", f"celery-taskset-meta-{group_id}*")


# --- all in one another ---


def any_canvas(c, rng, depth, takes):
    """A canvas of any kind, which takes a number, a list of them, something nested
    or nothing; and what it gives."""
    def plain():
        if takes == "list":
            return c.sig("t.tsum"), "number"
        if takes == "nested":
            return c.sig("t.echo"), "nested"
        if takes == "number":
            return c.sig("t.add", rng.randrange(100)), "number"
        return c.sig("t.add", rng.randrange(100), rng.randrange(100)), "number"

    def group_of(takes):
        members = [any_canvas(c, rng, depth - 1, takes) for _ in range(rng.randrange(1, 4))]
        return group(*(m for m, _ in members)), [gives for _, gives in members]
    if depth == 0:
        return plain()
    kind = rng.choice(["plain", "chain", "chain", "chord", "chord", "group"])
    if kind == "chain":
        steps, gives = [], takes
        for _ in range(rng.randrange(2, 4)):
            step, gives = any_canvas(c, rng, depth - 1, gives)
            steps.append(step)
        return chain(*steps), gives
    if kind == "chord":
        header, gives = group_of(takes)
        if any(g != "number" for g in gives):
            return chord(header, c.sig("t.echo")), "nested"
        body, gives = any_canvas(c, rng, depth - 1, "list")
        return chord(header, body), gives
    if kind == "group" and takes != "list":
        header, _ = group_of(takes)
        return chain(header, c.sig("t.echo")), "nested"
    return plain()


def random_case(seed):
    @case(name=f"random_canvas_{seed}", long=seed >= 12)
    def random_canvas(c):
        rng = random.Random(seed)
        while True:
            work, gives = any_canvas(c, rng, 3, None)
            text = re.sub("(@| at )0x[0-9a-f]+", "", str(work))
            if 60 < len(text) < 1200:
                break
        result = c.apply(work)
        return {"canvas": text, **c.outcome(c.result(result.id), timeout=10)}


for seed in range(40):
    random_case(seed)


# --- builtin tasks ---


@case()
def map_over_items(c):
    return c.outcome(c.apply(c.app.signature(
        "celery.map", kwargs={"task": c.sig("t.tsum"), "it": [[1, 2], [3, 4], []]},
        subtask_type="xmap")))


@case()
def starmap_over_items(c):
    return c.outcome(c.apply(c.app.signature(
        "celery.starmap", kwargs={"task": c.sig("t.add"), "it": [[1, 2], [3, 4], [5, 6]]},
        subtask_type="xstarmap")))


@case()
def a_map_with_a_failure(c):
    return c.outcome(c.apply(c.app.signature(
        "celery.starmap", kwargs={"task": c.sig("t.divide"), "it": [[4, 2], [1, 0], [5, 6]]},
        subtask_type="xstarmap")))


@case()
def a_map_over_nothing(c):
    return c.outcome(c.apply(c.app.signature(
        "celery.map", kwargs={"task": c.sig("t.tsum"), "it": []}, subtask_type="xmap")))


@case()
def chunks(c):
    from celery.canvas import chunks as make
    work = make(c.sig("t.add"), [(i, i) for i in range(7)], 3, app=c.app)
    return c.get(c.apply(work.group()))


@case()
def chunks_in_a_chord(c):
    from celery.canvas import chunks as make
    work = make(c.sig("t.add"), [(i, i) for i in range(4)], 2, app=c.app)
    return c.outcome(c.apply(chord(work.group(), c.sig("t.echo"))))


@case()
def accumulate(c):
    return [c.outcome(c.call("celery.accumulate", 1, "two", [3])),
            c.outcome(c.call("celery.accumulate", "a", "b", "c", kwargs={"index": 1}))]


# --- messages that a worker sends ---


@case()
def the_message_of_a_link(c):
    queue = c.aside()
    c.call("t.add", 1, 2, link=c.sig("t.add", 10, queue=queue))
    return c.observed(queue)


@case()
def the_message_of_a_link_with_options(c):
    queue = c.aside()
    c.call("t.add", 1, 2, link=c.sig(
        "t.add", kwargs={"y": None}, queue=queue, label="link", priority=3, expires=60,
        countdown=5, soft_time_limit=2, time_limit=3.5, shadow="shown", headers={"mine": [1]}))
    return c.observed(queue)


@case()
def the_message_of_a_chains_step(c):
    queue = c.aside()
    c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3, queue=queue, label="second"),
                  c.sig("t.add", 4, label="third"), c.sig("t.add", 5, label="fourth")))
    return c.observed(queue)


@case()
def the_messages_of_a_group(c):
    queue = c.aside()
    c.apply(chain(c.sig("t.add", 1, 2), group(c.sig("t.add", 3, queue=queue, label="one"),
                                              c.sig("t.add", 4, queue=queue, label="two"))))
    return sorted(c.observed(queue, 2), key=lambda m: m["body"][0][1])


@case()
def the_messages_of_a_chords_members(c):
    queue = c.aside()
    c.apply(chain(c.sig("t.add", 1, 2), group(c.sig("t.add", 3, queue=queue, label="one"),
                                              c.sig("t.add", 4, queue=queue, label="two")),
                  c.sig("t.tsum", label="body"), c.sig("t.add", 5, label="after")))
    return sorted(c.observed(queue, 2), key=lambda m: m["body"][0][1])


@case()
def the_message_of_a_chords_body(c):
    queue = c.aside()
    c.apply(chord([c.sig("t.add", 1, 2), c.sig("t.add", 3, 4)],
                  c.sig("t.tsum", queue=queue, label="body")))
    message, = c.shown(c.observed(queue))
    # that of the member which happens to be the last
    for header in ("parent_id", "root_id"):
        assert message["headers"].pop(header) in ("<before last[0]>", "<before last[1]>")
    return message


@case()
def the_message_of_an_errback(c):
    queue = c.aside()
    c.call("t.fail", "x", link_error=c.sig("t.told", queue=queue, label="errback"))
    return c.observed(queue)


@case("db")
def the_message_of_a_chord_unlock(c):
    """Backends that do not count: the chord is asked after."""
    queue = c.aside()
    c.apply(chain(c.sig("t.add", 1, 2), group(c.sig("t.add", 3, label="one"),
                                              c.sig("t.add", 4, label="two")),
                  c.sig("t.tsum", queue=queue, label="body")))
    message, = c.observed(queue)
    for header in ("argsrepr", "kwargsrepr"):
        del message["headers"][header]		# Python tells a tuple from a list
    return message


@case()
def followers_inherit_their_root(c):
    """root_id and parent_id, as the event stream has them."""
    with Events(c) as events:
        result = c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3), c.sig("t.add", 4)))
        seen = events.of(result, "task-succeeded")
        received = {e["uuid"]: (e["root_id"], e["parent_id"]) for e in events.seen
                    if e["type"] == "task-received"}
    assert seen
    return {c.shown(id): ids for id, ids in received.items()}
