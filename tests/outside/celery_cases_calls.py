"""Conformance cases: calls and their results."""

import json

from celery import chain, chord, group

from celery_talk import EVERYWHERE, TIMEOUT, case, shape
from harness import wait_for


# --- calls ---


@case(*EVERYWHERE)
def a_call(c):
    return c.outcome(c.call("t.add", 2, 3))


@case(*EVERYWHERE)
def keyword_arguments(c):
    return [c.outcome(c.call("t.add", kwargs={"x": 2, "y": 3})),
            c.outcome(c.call("t.add", 2, kwargs={"y": 4})),
            c.outcome(c.call("t.power", 5)),
            c.outcome(c.call("t.power", 5, 3)),
            c.outcome(c.call("t.power", kwargs={"exponent": 4, "base": 2}))]


@case(*EVERYWHERE)
def a_failure(c):
    return c.outcome(c.call("t.fail", "it burns"))


@case()
def a_failure_of_a_query(c):
    return c.outcome(c.call("t.divide", 1, 0))


@case()
def a_failure_in_other_letters(c):
    return c.outcome(c.call("t.fail", "\u00fc \u2603 'quoted' \"twice\" \U0001f514"))


@case(*EVERYWHERE)
def no_value(c):
    return c.outcome(c.call("t.nothing"))


VALUES = {
    "unicode": "Gr\u00fc\u00dfe \u2603 \U0001f514 \u65e5\u672c\u8a9e \x7f tab\t newline\n end",
    "empty_text": "",
    "text_that_looks_like_json": '{"a": [1, 2]}',
    "text_with_quotes": "\"'\\ \\\\ \\u0041 }",
    "zero_byte": "a\x00b",
    "true_and_false": [True, False, None],
    "integer": 42,
    "large_integers": [2**31, 2**63 - 1, -2**63],
    "integers_beyond_64_bits": [2**64, -2**64, 10**30],
    "fractions": [0.1, -0.0, 1e22, 1e-7, 123456.789, 1e300, 5e-324],
    "nested": {"a": [{"b": [[], {}, [None, {"c": "d"}]]}], "": {"x": [1, 2.5, "3"]}},
    "deep": None,		# made below
    "empty_list": [],
    "empty_object": {},
    "celery_look_alike": {"__type__": "strange", "__value__": 1},
    "signature_look_alike": {"task": "t.add", "args": [1, 2], "kwargs": {}, "options": {}},
    "long_list": list(range(2000)),
}
deep = []
for _ in range(90):
    deep = [deep]
VALUES["deep"] = deep


def echo_case(name, value):
    @case(*(EVERYWHERE if name in ("unicode", "integers_beyond_64_bits", "fractions", "nested")
            else ("redis",)), name="echo_" + name)
    def echo(c):
        seen = c.outcome(c.call("t.echo", value))
        # as text: 1 == 1.0 == True, and -0.0 == 0
        return {**seen, "same": json.dumps(seen.get("value")) == json.dumps(value)}


for name, value in VALUES.items():
    echo_case(name, value)


@case()
def not_a_number(c):
    return {text: repr(c.outcome(c.call("t.echo", value)).get("value"))
            for text, value in {"nan": float("nan"), "inf": float("inf"),
                                "-inf": -float("inf"), "list": [float("nan")]}.items()}


@case()
def a_lone_surrogate(c):
    id = c.id("surrogate")
    c.publish(r'[["a\ud800b"], {}, null]', {"lang": "py", "task": "t.echo", "id": id})
    return {"value": ascii(c.outcome(c.result(id)).get("value"))}


@case(*EVERYWHERE)
def a_mebibyte_argument(c):
    text = "0123456789abcde\u00fc" * 65536
    seen = c.outcome(c.call("t.echo", text))
    return {"state": seen["state"], "same": seen["value"] == text}


@case("redis", "rpc")
def a_large_value(c):
    seen = c.outcome(c.call("t.big", 1000000))
    return {"state": seen["state"], "same": seen["value"] == "x" * 1000000}


@case()
def wrong_arguments(c):
    return {what: c.outcome(c.call(task, *args, kwargs=kwargs)) for what, task, args, kwargs in [
        ("one missing", "t.add", [1], {}),
        ("two missing", "t.add", [], {}),
        ("two of three missing", "t.note", [], {}),
        ("one of two missing", "t.power", [], {}),
        ("one too many", "t.add", [1, 2, 3], {}),
        ("two too many, one optional", "t.power", [1, 2, 3, 4], {}),
        ("where there are none", "t.nothing", [1], {}),
        ("unknown keyword", "t.add", [1, 2], {"z": 3}),
        ("unknown and missing", "t.add", [1], {"z": 3}),
        ("twice", "t.add", [1, 2], {"x": 3}),
        ("twice and missing", "t.add", [1], {"x": 3}),
        ("too many, with a keyword", "t.add", [1, 2, 3], {"z": 3}),
        ("one allowed", "t.echo", [1, 2], {}),
    ]}


@case(*EVERYWHERE)
def an_unregistered_task(c):
    return c.outcome(c.call("t.unheard_of", 1))


@case(*EVERYWHERE)
def many_at_once(c):
    # a client of rpc:// asks for each reply with a round trip of its own
    results = [c.call("t.add", n, n) for n in range(15 if c.world.kind == "rpc" else 60)]
    return [c.outcome(r)["value"] for r in results]


@case()
def an_ignored_result(c):
    path = c.path()
    first = c.call("t.ignored", path, "by the task")
    second = c.call("t.note", path, "by the message", ignore_result=True)
    lines = sorted(c.lines_of(path, 2))
    c.outcome(c.call("t.add", 1, 1))
    return {"lines": lines, "by the task": c.seen(first), "by the message": c.seen(second)}


@case()
def an_ignored_result_calls_its_followers(c):
    follower = c.sig("t.echo", label="follower")
    c.call("t.ignored", c.path(), "word", link=follower)
    return c.outcome(c.of("follower"))


@case(*EVERYWHERE)
def protocol_1(c):
    app = c.world.client(task_protocol=1)
    try:
        results = [app.send_task("t.add", (4, 5)), app.send_task("t.add", (4,), {"y": 6}),
                   app.send_task("t.fail", ("old",))]
        if c.world.kind == "rpc":
            return [c.outcome(r) for r in results]
        return [c.outcome(c.result(r.id)) for r in results]
    finally:
        app.close()


@case()
def protocol_1_with_followers(c):
    id, first, second = c.id("first"), c.sig("t.add", 10, label="link"), \
        c.sig("t.told", label="errback")
    c.publish({"task": "t.add", "id": id, "args": [1, 2], "kwargs": {}, "callbacks": [first],
               "errbacks": None}, headers={})
    bad = c.id("bad")
    c.publish({"task": "t.fail", "id": bad, "args": ["x"], "kwargs": {}, "callbacks": None,
               "errbacks": [second]}, headers={})
    return [c.outcome(c.result(id)), c.outcome(c.of("link")), c.outcome(c.result(bad)),
            c.outcome(c.of("errback"))]


@case()
def a_bare_message(c):
    """As celery-node sends it."""
    ids = [c.id("a"), c.id("b"), c.id("c")]
    headers = [{"lang": "js", "task": "t.add", "id": id} for id in ids]
    c.publish([[1, 2], {}, {}], headers[0])
    c.publish([[1], {"y": 3}, None], headers[1], reply_to="")
    c.publish([[1, 4], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
              headers[2], content_encoding="UTF-8")
    return [c.outcome(c.result(id)) for id in ids]


@case()
def a_hybrid_message(c):
    id = c.id("hybrid")
    c.publish({"task": "x", "id": "x", "args": [3], "kwargs": {"y": 4}, "retries": 9},
              {"lang": "py", "task": "t.add", "id": id})
    return c.outcome(c.result(id))


@case()
def an_id_that_is_no_uuid(c):
    return c.outcome(c.app.send_task("t.add", (1, 2), task_id="an id / with \u00fc ' spaces"))


@case("redis", "rpc")
def compressed(c):
    return {how: c.outcome(c.call("t.add", 1, 2, compression=how))
            for how in ("zlib", "gzip", "bzip2")}


@case()
def compressed_and_large(c):
    seen = c.outcome(c.call("t.echo", "long " * 200000, compression="zlib"))
    return {"state": seen["state"], "length": len(seen["value"])}


@case()
def a_task_by_another_exchange(c):
    c.app.send_task("t.add", (1, 2), exchange="celery", routing_key="celery",
                    task_id=c.id("one"))
    return c.outcome(c.of("one"))


# --- documents in Redis ---


@case()
def document_of_success(c):
    return c.document(c.call("t.add", 2, 3))


@case(differs="tracebacks", tocsin={"traceback": None})
def document_of_failure(c):
    return c.document(c.call("t.fail", "it burns"))


@case(differs="tracebacks", tocsin={"traceback": None})
def document_of_a_wrong_call(c):
    return c.document(c.call("t.add", 1))


@case()
def document_of_an_unregistered_task(c):
    return c.document(c.call("t.unheard_of"))


@case()
def document_of_revoked(c):
    return c.document(c.call("t.add", 1, 2, expires=-10))


@case()
def a_result_that_is_waited_for(c):
    return c.call("t.sleep", 0.5).get(timeout=TIMEOUT)


@case()
def documents_of_a_chain(c):
    result = c.apply(chain(c.sig("t.add", 1, 2), c.sig("t.add", 3), c.sig("t.add", 4)))
    return [c.document(result), c.document(result.parent), c.document(result.parent.parent)]


@case()
def documents_of_a_group(c):
    result = c.apply(group(c.sig("t.add", i, i) for i in range(2)))
    return [c.document(r) for r in result.results]


@case()
def documents_of_a_chord(c):
    result = c.apply(chord([c.sig("t.add", i, i) for i in range(2)], c.sig("t.tsum")))
    body, *members = [c.document(result), *(c.document(r) for r in result.parent.results)]
    # that of the member which happens to be the last
    assert body.pop("parent_id") in [member["task_id"] for member in members]
    return [body, *members]


@case("extended")
def an_extended_document(c):
    return c.document(c.call("t.add", 2, kwargs={"y": 3}))


@case("extended", differs="tracebacks", tocsin={"traceback": None})
def an_extended_document_of_a_failure(c):
    return c.document(c.call("t.fail", "it's \u2603", shadow="shown.instead"))


@case("extended")
def an_extended_document_of_a_retry(c):
    result = c.call("t.flaky", c.path(), 1)
    return c.document(result)


@case()
def a_document_expires_in_a_day(c):
    result = c.call("t.add", 1, 2)
    c.outcome(result)
    left = int(c.world.redis("ttl", "celery-task-meta-" + result.id))
    return 86000 < left <= 86400


@case()
def a_document_is_published(c):
    """On the key's channel: what get() waits for."""
    id = c.id("one")
    import redis
    listener = redis.Redis.from_url(c.world.redis_url).pubsub()
    listener.subscribe("celery-task-meta-" + id)
    wait_for(lambda: (m := listener.get_message(timeout=1)) and m["type"] == "subscribe")
    c.app.send_task("t.add", (1, 2), task_id=id)
    heard = wait_for(lambda: listener.get_message(timeout=1))
    listener.close()
    return json.loads(heard["data"])


@case()
def a_started_task_tells(c):
    result = c.call("t.tracked", 0.7)
    c.wait(lambda: result.state == "STARTED")
    started = json.loads(c.world.redis("get", "celery-task-meta-" + result.id))
    started["result"] = shape(started["result"])
    return [started, c.outcome(result)]


@case("rpc")
def a_started_task_tells_by_rpc(c):
    result = c.call("t.tracked", 0.3)
    seen = []
    result.get(timeout=TIMEOUT, on_message=lambda m: m["task_id"] == result.id and seen.append(
        m["status"]))
    return seen


@case("rpc", differs="tracebacks", tocsin=lambda stock: [
    {**stock[0], "body": {**stock[0]["body"], "traceback": None}}, *stock[1:]])
def the_message_of_an_rpc_result(c):
    queue = c.id("replies")
    with c.world.broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, auto_delete=False)
        for n, (task, args) in enumerate({"t.add": [1, 2], "t.fail": ["x"]}.items()):
            c.publish([args, {}, {}], {"lang": "py", "task": task, "id": c.id(f"id {n}")},
                      reply_to=queue, correlation_id=c.id(f"correlation {n}"))
    found = c.observed(queue, 2)
    return sorted(found, key=lambda m: m["body"]["status"])


def no_traceback(stock):
    return {task: [*row[:2], True, *row[3:]] for task, row in stock.items()}


@case("db", differs="tracebacks", tocsin=no_traceback)
def the_row_of_a_result(c):
    ids = {}
    for task, args in {"t.add": [1, 2], "t.fail": ["x"]}.items():
        result = c.call(task, *args)
        c.outcome(result)
        ids[task] = result.id
    rows = {}
    for task, id in ids.items():
        rows[task] = c.world.database.one("""
            select status, abs(extract(epoch from date_done - (now() at time zone 'UTC'))) < 60,
                   traceback is null, id > 0
              from celery_taskmeta where task_id = %s""", id)
    return rows
