"""Conformance cases: messages that cannot be understood."""

import time

from celery_talk import TIMEOUT, case, soon
from harness import wait_for


# --- malformed messages ---


def malformed(name, body=None, headers=None, without=(), parked=None, ends=None, **properties):
    """A message that is wrong.  PARKED: the words of the reasons that tocsin may
    give; ENDS: how it ends there, if not as with stock Celery."""
    def see(c):
        if not c.world.alive():		# the one before has killed it
            c.world.start()
        id = c.id("bad")
        own = {"lang": "py", "task": "t.add", "id": id, "x-case": name, **(headers or {})}
        own = {k: v for k, v in own.items() if k not in without}
        text = body(id) if callable(body) else [[1, 2], {}, {}] if body is None else body
        c.publish(text, own, **properties)
        bad, good = c.result(id), c.call("t.add", 1, 1, label="good")
        wanted = c.expected and c.expected["bad"]["state"]

        def over():
            return (not c.world.alive() or good.ready() and (
                bad.ready() if wanted is not None and wanted != "PENDING"
                else time.monotonic() > limit))
        limit = time.monotonic() + (1.5 if wanted is None else 0.2)
        wait_for(over, TIMEOUT, lambda: f"good: {c.seen(good)}, bad: {c.seen(bad)}, "
                 + c.world.log()[-2000:])
        if not c.world.alive():
            c.empty("celery")
            return {"bad": {"state": "PENDING"}, "worker": "dies"}
        state = c.seen(bad)
        if "args" in state and state["raises"] != "celery.exceptions.NotRegistered":
            del state["args"]		# a matter of words
        state.pop("value", None)
        return {"bad": state, "worker": "lives"}

    def sees(outcome, world):
        found = {}

        def look():
            for x_case, reason in world.parked():
                found[x_case] = reason
            return name in found or None in found
        if parked is None:
            return
        wait_for(look, 5, lambda: f"{name} is not parked")
        assert found.get(name, found.get(None)) in parked.split(), found
    if parked and ends is None:
        ends = INVALID
    case("malformed", name="malformed_" + name.replace(" ", "_"), tocsin=ends, sees=sees,
         differs=ends and "malformed messages")(see)


INVALID = {"bad": {"state": "FAILURE", "raises": "celery.exceptions.InvalidTaskError"},
           "worker": "lives"}
NO_TASK = {}		# as stock Celery does
NO_ID = {"bad": {"state": "PENDING"}, "worker": "lives"}
DONE = {"bad": {"state": "SUCCESS"}, "worker": "lives"}

malformed("not json", "this is no JSON}", parked="json")
malformed("truncated", '[[1, 2], {}, {"callbacks"', parked="json")
malformed("not utf-8", b'[["\xff\xfe\xc0", 2], {}, null]', parked="json")
malformed("too deep", "[" * 100000 + "]" * 100000, parked="depth json body")
malformed("type not accepted", "(1)", content_type="application/x-yaml", parked="content-type")
malformed("pickle", b"\x80\x02]q\x00.", content_type="application/x-python-serialize",
          content_encoding="binary", parked="content-type")
malformed("type unknown", content_type="application/x-strange", parked="content-type")
malformed("no type", content_type="", parked="content-type")
malformed("empty body", "", parked="body json")
malformed("number", "17", parked="body")
malformed("null", "null", parked="body")
malformed("text", '"text"', parked="body")
malformed("two elements", [[1, 2], {}], parked="body")
malformed("four elements", [[1, 2], {}, {}, 4], parked="body")
malformed("no elements", [], parked="body")
malformed("other json", {"some": "thing"}, without=["task", "lang"], parked="unknown-message",
          ends=NO_TASK)
malformed("a list without a task", [[1, 2], {}, {}], without=["task"], parked="unknown-message",
          ends=NO_TASK)
malformed("task is a table", headers={"task": {"a": 1}}, parked="task")
malformed("task is a number", headers={"task": 17}, parked="task unregistered")
malformed("task is null", headers={"task": None}, parked="task unregistered unknown-message")
malformed("task is empty", headers={"task": ""}, parked="task unregistered")
malformed("task is unknown", headers={"task": "t.never"}, parked="unregistered", ends=NO_TASK)
malformed("no id", without=["id"], parked="id", ends=NO_ID)
malformed("id is a number", headers={"id": 17}, parked="id", ends=NO_ID)
malformed("id is a table", headers={"id": {"a": 1}}, parked="id", ends=NO_ID)
malformed("timelimit is a text", headers={"timelimit": "soon"}, ends=DONE)
malformed("timelimit of one", headers={"timelimit": [1]}, ends=DONE)
malformed("timelimit of texts", headers={"timelimit": ["a", "b"]}, ends=DONE)
malformed("eta is no time", headers={"eta": "tomorrow"}, parked="eta")
malformed("eta is a number", headers={"eta": 17}, parked="eta")
malformed("eta of a month 13", headers={"eta": "2026-13-45T99:99:99"}, parked="eta")
malformed("expires is no time", headers={"expires": "soon"}, parked="expires")
malformed("expires is a list", headers={"expires": [1]}, parked="expires")
malformed("retries is a text", headers={"retries": "many"})
malformed("kwargs is a list", [[1, 2], [3], {}], parked="kwargs")
malformed("kwargs is a number", [[1, 2], 3, {}], parked="kwargs")
malformed("embed is a text", [[1, 2], {}, "x"], parked="embed")
malformed("embed is a list", [[1, 2], {}, [1]], parked="embed")
malformed("args is a number", [17, {}, {}], parked="args")
malformed("args is an object", [{"x": 1, "y": 2}, {}, {}], parked="args")
malformed("args is a text", ["ab", {}, {}], parked="args")
malformed("callbacks is a number", [[1, 2], {}, {"callbacks": 17}], parked="callbacks")
malformed("callbacks of numbers", [[1, 2], {}, {"callbacks": [17]}], parked="callbacks")
malformed("callbacks without a task", [[1, 2], {}, {"callbacks": [{"no": "task"}]}],
          parked="callbacks")
malformed("errbacks is a number", [[1], {}, {"errbacks": 17}], parked="errbacks")
malformed("errbacks without a task", [[1], {}, {"errbacks": [{"no": "task"}]}], parked="errbacks")
malformed("chain is a text", [[1, 2], {}, {"chain": "x"}], parked="chain")
malformed("chain without a task", [[1, 2], {}, {"chain": [{"no": "task"}]}], parked="chain")
malformed("chord is a number", [[1, 2], {}, {"chord": 17}], parked="chord")
malformed("chord without a task", [[1, 2], {}, {"chord": {"no": "task"}}], parked="chord")
malformed("chord without a group", [[1, 2], {}, {"chord": {
    "task": "t.tsum", "args": [], "kwargs": {}, "options": {}}}])
malformed("compression unknown", headers={"compression": "application/x-strange"},
          parked="compression")
malformed("compression corrupt", headers={"compression": "application/x-gzip"},
          parked="compression")
malformed("compression is a number", headers={"compression": 17}, parked="compression")
malformed("encoding unknown", b"[[1, 2], {}, {}]", content_encoding="strange")
malformed("headers are unusual", headers={"group": 17, "root_id": [1], "shadow": {"a": 1},
                                          "argsrepr": 5, "origin": None, "lang": None})
malformed("a key twice", '[[1, 2], {"x": 1, "x": 2}, {}]', parked="duplicate-key")
