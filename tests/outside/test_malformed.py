"""Messages that cannot be understood: every kind that celery-wire.md names in
its section on malformed input, many of each, good ones between them.

Of the kinds that section has, those about results and events are not ours: a
worker of jobs stores no results and hears no events."""

import json
import random
import uuid

import amqp
import pytest

from cycles import QUICK
from harness import wait_for
from invariants import books  # noqa: F401
from test_faults_wire import frugal, resident

GRAPH = "[variables]\n" + "".join(f"v{i}.sql = 'select {i}'\n" for i in range(20)) + \
    "[evidences]\n" + "".join(f"e{i}.definition = 'v{i} == {i}'\n" for i in range(20)) + \
    "[events]\n" + "".join(f"a{i}.definition = 'e{i}'\n" for i in range(20))


class Maker:
    """Takes a good message and makes bad ones."""

    def __init__(self, seed, good):
        self.random = random.Random(seed)
        self.good = good
        self.parts = json.loads(good.body)

    def any_text(self):
        return "".join(self.random.choices('abc/\\"é☃ \t{}[]', k=self.random.randrange(1, 40)))

    def anything_but(self, *kinds):
        values = [None, True, 0, -1, 2**63 - 1, 1.5, "", self.any_text(), [], [1, [2]], {}, {"a": 1}]
        return self.random.choice([v for v in values if type(v) not in kinds])

    def message(self, body=None, headers=(), without=(), **properties):
        """The good one with another BODY, other HEADERS, other properties."""
        kept = {**self.good.properties, "application_headers": {
            k: v for k, v in {**self.good.headers, **dict(headers)}.items() if k not in without},
            **properties}
        body = self.good.body if body is None else body
        body = body.encode() if isinstance(body, str) else body
        return amqp.Message(body, **{k: v for k, v in kept.items() if v is not None})

    def three(self, args=None, kwargs=None, embed=None):
        own = [v if new is None else new for v, new in zip(self.parts, (args, kwargs, embed))]
        return self.message(json.dumps(own))

    def kwargs(self, **changed):
        own = {k: v for k, v in {**self.parts[1], **changed}.items() if v is not KeyError}
        return self.three(kwargs=own)

    def embed(self, **changed):
        return self.three(embed={**self.parts[2], **changed})


NOT_UTF8 = b'[[], {"a": "\xff\xfe\xc0"}, null]'

# (kind of the section, the words it may be parked with, how to make one)
KINDS = [
    ("body is not JSON", "json", lambda m: m.message(m.any_text() + "}")),
    ("body is truncated", "json", lambda m: m.message(
        m.good.body[:m.random.randrange(1, len(m.good.body) - 1)])),
    ("body is no UTF-8", "json", lambda m: m.message(NOT_UTF8)),
    ("body nests too deeply", "depth count", lambda m: m.message(
        "[" * (n := m.random.choice([2000, 5000, 100000])) + "]" * n)),
    ("content type is not accepted", "content-type", lambda m: m.message(
        content_type=m.random.choice(["application/x-python-serialize", "application/x-yaml",
                                      "application/x-msgpack", "application/data", ""]))),
    ("content type is unknown", "content-type", lambda m: m.message(
        content_type=m.any_text().replace("\t", ""))),
    ("no content type", "content-type", lambda m: m.message(content_type=None)),
    ("body is empty", "body", lambda m: m.message("")),
    ("body is a number or null", "body", lambda m: m.message(
        m.random.choice(["null", "1", "-2.5e3", "true", '"text"']))),
    ("body has 2 or 4 elements", "body", lambda m: m.message(
        json.dumps((m.parts + [None])[:m.random.choice([0, 1, 2, 4])]))),
    ("other JSON without a task", "unknown-message", lambda m: m.message(
        json.dumps(m.anything_but()), without=["task"])),
    ("task is no text", "task", lambda m: m.message(
        headers={"task": m.anything_but(str)})),
    ("id is missing", "id", lambda m: m.message(without=["id"])),
    ("id is no text", "id", lambda m: m.message(headers={"id": m.anything_but(str)})),
    ("eta cannot be parsed", "eta", lambda m: m.message(
        headers={"eta": m.random.choice(["tomorrow", "2026-13-45T99:99:99", 17, {"a": 1}])})),
    ("eta is in the future", "eta", lambda m: m.message(
        headers={"eta": "2999-01-01T00:00:00+00:00"})),
    ("expires cannot be parsed", "expires", lambda m: m.message(
        headers={"expires": m.random.choice(["soon", "99", 17, [1]])})),
    ("kwargs is no object", "kwargs", lambda m: m.three(kwargs=m.anything_but(dict, type(None)))),
    ("embed is no object", "embed", lambda m: m.three(embed=m.anything_but(dict, type(None)))),
    ("args is no array", "args", lambda m: m.three(args=m.anything_but(list, type(None)))),
    ("args where there are none", "args", lambda m: m.three(args=[m.anything_but()])),
    ("callbacks of the wrong type", "callbacks", lambda m: m.embed(
        callbacks=m.random.choice([17, "x", {"a": 1}, [17], [{"no": "task"}]]))),
    ("errbacks of the wrong type", "errbacks", lambda m: m.embed(
        errbacks=m.random.choice([17, "x", {"a": 1}, [None], [{"task": 1}]]))),
    ("chain of the wrong type", "chain", lambda m: m.embed(
        chain=m.random.choice([17, "x", {"a": 1}, [[]], [{"task": ""}]]))),
    ("chord of the wrong type", "chord", lambda m: m.embed(
        chord=m.random.choice([17, "x", [1], {}, {"task": None}]))),
    ("signatures where none may follow", "callbacks errbacks chain chord", lambda m: m.embed(
        **{name: sig if name == "chord" else [sig] for sig in [{
            "task": "proj.tasks.add", "args": [], "kwargs": {}, "options": {}}]
           for name in [m.random.choice(["callbacks", "errbacks", "chain", "chord"])]})),
    ("unregistered task", "unregistered kwargs", lambda m: m.message(
        headers={"task": m.random.choice(["proj.tasks.add", "tocsin.nothing", "tocsin.cycles",
                                          "celery.chords", m.any_text()])})),
    ("compression is unknown or corrupt", "compression", lambda m: m.message(
        headers={"compression": m.random.choice(
            ["application/x-gzip", "application/x-bz2", "zstd", "", 17])})),
    ("run is no run", "kwargs", lambda m: m.kwargs(run=m.random.choice(
        [None, 0, -1, 1.5, "1", [1], 2**63, KeyError]))),
    ("jobs are no jobs", "kwargs", lambda m: m.kwargs(jobs=m.random.choice(
        ["all", [], [-1], [1.5], [2**31], {"a": 1}, [[1]], list(range(10001)), KeyError]))),
    ("installation is no UUID", "kwargs", lambda m: m.kwargs(installation=m.random.choice(
        [None, 17, "x", [], str(uuid.uuid4())[:-1], KeyError]))),
    ("an unknown member", "kwargs", lambda m: m.kwargs(surprise=m.anything_but())),
    ("a key that is there twice", "duplicate-key", lambda m: m.message(
        b'[[], {"run": 1, "run": 2}, {}]')),
    ("huge", "json content-type", lambda m: m.message("x" * m.random.choice([70000, 300000]))),
    # Not wrong, or not for us: acknowledged, and not parked.
    ("time limits of the wrong type", "", lambda m: m.message(
        headers={"timelimit": m.random.choice(["x", [1], [None, None, None], {}])})),
    ("content encoding is unknown", "", lambda m: m.message(
        content_encoding=m.random.choice(["gzip", "latin-1", "utf-16"]))),
    ("of another installation", "", lambda m: m.kwargs(installation=str(uuid.uuid4()))),
    ("no such run or job", "", lambda m: m.kwargs(
        **m.random.choice([{"run": 4711}, {"jobs": [2**31 - 1]}]))),
    ("no headers that matter", "", lambda m: m.message(
        without=["lang", "origin", "argsrepr", "kwargsrepr", "retries", "group", "root_id"])),
]


@pytest.mark.fault("F-E01", "F-E02")
@pytest.mark.parametrize("many", [500, pytest.param(5000, marks=pytest.mark.long)])
def test_many_messages_of_every_malformed_kind_harm_nobody(cycles, broker, many):
    seed = 20261122
    cycles.load(GRAPH)
    env = {**frugal(QUICK), "TOCSIN_LEASE": "60s"}	# else the good ones are sent again
    cycles.tocsin("cycle", env=env)
    seeded = random.Random(seed)
    expected, found = {}, {}		# number of the message -> what
    with broker.connect() as connection:
        channel = connection.channel()
        good = []
        while message := channel.basic_get("tocsin", no_ack=True):
            good.append(message)
        assert len(good) == 20
        maker = Maker(seed, good[0])
        kinds = [KINDS[n % len(KINDS)] for n in range(many)]
        seeded.shuffle(kinds)

        def send(n):
            kind, words, make = kinds[n]
            message = make(maker)
            headers = message.properties["application_headers"]
            message.properties["application_headers"] = {**headers, "x-number": n}
            channel.basic_publish(message, routing_key="tocsin")
            if words:
                expected[n] = (kind, words.split())

        def all_are_parked():
            while message := channel.basic_get("tocsin.parked", no_ack=True):
                assert len(message.body) <= 65536 and message.headers["x-tocsin-error"]
                assert message.headers["x-tocsin-queue"] == "tocsin"
                found[message.headers["x-number"]] = message.headers["x-tocsin-reason"]
            return len(found) >= len(expected)

        def wait_until_all_are_parked():
            wait_for(all_are_parked, 30, lambda: "missing: " + str(sorted(
                (kind, n) for n, (kind, _) in expected.items() if n not in found)))

        channel.queue_declare("tocsin.parked", durable=True, auto_delete=False)
        worker = cycles.tocsin.spawn("worker", env=env)
        worker.wait_for("worker is ready", 20)
        for n in range(100):
            send(n)
        wait_until_all_are_parked()
        early = resident(worker)
        for n in range(100, many):
            send(n)
            if n % 20 == 0 and good:
                m = good.pop()
                channel.basic_publish(amqp.Message(m.body, **m.properties), routing_key="tocsin")
        assert not good
        wait_until_all_are_parked()
        wait_for(lambda: cycles.state() == "DONE", 20)
        late = resident(worker)
    wrong = {(n, kind, found.get(n)) for n, (kind, words) in expected.items()
             if found.get(n) not in words}
    assert not wrong and found.keys() == expected.keys(), sorted(wrong)
    assert len({kind for kind, _ in expected.values()}) >= 30
    assert len(cycles.signals()) == 20
    assert cycles.db.one("select max(attempts) from tocsin.job") == 1
    assert late - early < 8 << 20, (early, late)
    assert broker.depth("tocsin") == 0 and broker.depth("tocsin.parked") == 0
    assert worker.stop() == 0
