"""What the conformance cases are made of: a case, and a client's talk with a worker.

A case is a function.  It gets a Conversation with a worker, which it does not
know to be a stock Celery's or tocsin's, and returns what it has seen, as JSON:
ids have labels, times and process ids are blotted out.  What a stock worker
shows is kept in celery_stock.json; tocsin's has to be the same.  Where it is
another on purpose, the case says where tocsin-wire(7) tells of it ("differs": a
heading in its section on differences), and what is other ("tocsin": a dict laid
over the outcome of stock, or a function of it)."""

import json
import os
import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import amqp
from celery.result import AsyncResult, GroupResult
from celery.exceptions import TimeoutError as NoResult

from harness import wait_for

CASES = {}		# name -> Case
TIMEOUT = float(os.environ.get("TOCSIN_CASE_TIMEOUT", 20))


class Case:
    def __init__(self, function, world, differs, tocsin, long, sees):
        self.function = function
        self.world = world
        self.differs = differs
        self.tocsin = tocsin
        self.long = long
        self.sees = sees	# a function of outcome and world, for tocsin alone

    def expected(self, stock):
        """What tocsin has to show, where stock Celery shows STOCK."""
        if callable(self.tocsin):
            return self.tocsin(stock)
        return {**stock, **self.tocsin} if self.tocsin else stock


def case(*worlds, differs=None, tocsin=None, long=False, name=None, sees=None):
    """Make a case of a function, in each of WORLDS (see celery_worlds.py)."""
    def add(function):
        for world in worlds or ("redis",):
            full = (name or function.__name__) + (f"-{world}" if len(worlds) > 1 else "")
            assert full not in CASES, full
            assert bool(differs) == bool(tocsin), full
            CASES[full] = Case(function, world, differs, tocsin, long, sees)
        return function
    return add


EVERYWHERE = ("redis", "rpc", "db")

A_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(\+00:00)?$")
A_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def shape(value):
    """The types of JSON, so deep as they are there."""
    if isinstance(value, dict):
        return {key: shape(of) for key, of in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


class Conversation:
    """A stock client's talk with the worker of a world, in one case."""

    def __init__(self, world, directory, expected=None):
        self.world = world
        self.app = world.app
        self.app.set_current()		# chords within chains ask for it
        self.directory = directory
        self.expected = expected	# what a stock worker showed, or None: it is to be seen
        self.labels = {}		# id -> label
        self.hidden = {}		# text -> how it is shown

    # --- asking ---

    def sig(self, task, *args, kwargs=None, label=None, immutable=False, **options):
        """A signature; with a LABEL its id is known beforehand."""
        if label:
            options["task_id"] = self.id(label)
        return self.app.signature(task, args=args, kwargs=kwargs or {}, options=options,
                                  immutable=immutable)

    def si(self, task, *args, **options):
        return self.sig(task, *args, immutable=True, **options)

    def id(self, label):
        made = str(uuid.uuid4())
        self.labels[made] = label
        return made

    def result(self, id):
        return AsyncResult(id, app=self.app)

    def of(self, label):
        """The result of what bears LABEL."""
        return self.result(next(id for id, known in self.labels.items() if known == label))

    def call(self, task, *args, kwargs=None, label=None, **options):
        """Have TASK done.  Its result is called after it, or LABEL."""
        if label:
            options["task_id"] = self.id(label)
        result = self.app.send_task(task, args, kwargs or {}, **options)
        self.labels.setdefault(result.id, label or task.rpartition(".")[2])
        return result

    def apply(self, canvas, *args, **options):
        """Send a canvas; its results are labelled: last, parent, grandparent..."""
        result = canvas.apply_async(args, **options)
        self.label(result)
        return result

    def label(self, result, name="last"):
        while result is not None:
            self.labels.setdefault(result.id, name)
            if isinstance(result, GroupResult):
                for i, member in enumerate(result.results):
                    self.label(member, f"{name}[{i}]")
            result, name = result.parent, "before " + name

    def path(self, name="notes"):
        made = str(self.directory / name)
        self.hidden[made] = f"<{name}>"
        return made

    def publish(self, body, headers=None, queue="celery", without=(), **properties):
        """A message made by hand."""
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        with self.world.broker.connect() as connection:
            connection.channel().basic_publish(amqp.Message(
                body, application_headers=headers, **{
                    "content_type": "application/json", "content_encoding": "utf-8",
                    "delivery_mode": 2, **properties}), routing_key=queue)

    # --- seeing ---

    def outcome(self, result, timeout=TIMEOUT):
        """How RESULT ends."""
        if self.world.kind == "rpc":
            try:
                result.get(timeout=timeout, propagate=False)
            except NoResult:
                pass
        else:
            # not get(): it may miss what is published between its look and its listening
            self.wait(result.ready, timeout, lambda: f"no end of {self.shown(result.id)}")
        return self.seen(result)

    def wait(self, condition, timeout=TIMEOUT, message="the condition did not come true"):
        def alive_and_true():
            found = condition()
            assert found or self.world.alive(), "the worker has died: " + self.world.log()[-3000:]
            return found
        return wait_for(alive_and_true, timeout, lambda: (
            message() if callable(message) else message) + "; " + self.world.log()[-2000:])

    def seen(self, result):
        """How RESULT is now."""
        state, value = result.state, result.result
        if isinstance(value, BaseException):
            plain = (str, int, float, list, dict, type(None))
            return {"state": state, "raises": type(value).__module__ + "." + type(value).__name__,
                    "args": [a if isinstance(a, plain) else repr(a) for a in value.args]}
        return {"state": state, "value": value}

    def state(self, result):
        return self.outcome(result)["state"]

    def family(self, result):
        """The outcomes of RESULT and of what came before it."""
        found = {}
        name = "last"
        while result is not None:
            if isinstance(result, GroupResult):
                for i, member in enumerate(result.results):
                    found[f"{name}[{i}]"] = self.outcome(member)
            else:
                found[name] = self.outcome(result)
            result, name = result.parent, "before " + name
        return found

    def get(self, result, **options):
        """What result.get() gives or raises.

        Where it waits itself it may miss what is published between its first
        look and its listening; so it is called when there is something."""
        try:
            last = result.results if isinstance(result, GroupResult) else [result]
            for r in last:
                self.wait(lambda: r.ready() or self.failed_before(r))
            return {"value": result.get(timeout=TIMEOUT, **options)}
        except Exception as raised:
            return {"raises": type(raised).__module__ + "." + type(raised).__name__,
                    "says": str(raised)}

    def failed_before(self, result):
        """Something that RESULT waits for has failed."""
        while (result := result.parent) is not None:
            members = result.results if isinstance(result, GroupResult) else [result]
            if any(m.failed() for m in members):
                return True
        return False

    def document(self, result):
        """The document of a result as it stands in Redis."""
        self.outcome(result)
        return json.loads(self.world.redis("get", "celery-task-meta-" + result.id))

    def aside(self):
        """A queue where nobody consumes."""
        queue = self.id("queue")
        with self.world.broker.connect() as connection:
            channel = connection.channel()
            channel.exchange_declare(queue, "direct", durable=True, auto_delete=False)
            channel.queue_declare(queue, durable=True, auto_delete=False)
            channel.queue_bind(queue, queue, queue)
        return queue

    def observed(self, queue, n=1):
        """N messages that wait in QUEUE, where nobody consumes."""
        found = []
        with self.world.broker.connect() as connection:
            channel = connection.channel()

            def take():
                message = channel.basic_get(queue, no_ack=True)
                if message:
                    found.append(message)
                return len(found) >= n
            self.wait(take, message=lambda: f"{len(found)} of {n} messages in {queue}")
        return [{"headers": dict(m.headers), "body": json.loads(m.body),
                 "properties": self.properties(m.properties)} for m in found]

    def properties(self, all):
        """Those that mean something: a priority of 0 is none, a message_id is for
        its sender, and a worker's own queue of replies has nobody who listens."""
        kept = {k: v for k, v in all.items() if k not in ("application_headers", "message_id")}
        if not kept.get("priority"):
            kept.pop("priority", None)
        if kept.get("reply_to") != self.app.oid:
            kept.pop("reply_to", None)
        if "expiration" in kept:
            kept["expiration"] = round(int(kept["expiration"]) / 1000)
        return kept

    def empty(self, queue):
        """Take all that waits in QUEUE, also what a dying worker gives back."""
        with self.world.broker.connect() as connection:
            channel = connection.channel()
            channel.queue_purge(queue)

    def lines(self, path):
        try:
            with open(path) as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def lines_of(self, path, n, timeout=TIMEOUT):
        return self.wait(lambda: len(found := self.lines(path)) >= n and found, timeout,
                         lambda: f"{self.lines(path)} in the notes, not {n}")

    def control(self, command, reply=True, destination=True, timeout=5, **arguments):
        """What the worker answers to a control command."""
        answers = self.app.control.broadcast(
            command, arguments=arguments, reply=reply, timeout=timeout, limit=1,
            destination=[self.world.node] if destination is True else destination)
        if not reply:
            return None
        return answers[0][self.world.node] if answers else "no answer"

    def inspect_until(self, command, condition, **arguments):
        found = []

        def true():
            found[:] = [self.control(command, **arguments)]
            return condition(found[0])
        self.wait(true, message=lambda: f"{command} says {found}")
        return found[0]

    def begun(self, result):
        """Wait until it runs."""
        return self.inspect_until("active", lambda all: any(r["id"] == result.id for r in all))

    def known(self, result):
        """Wait until the worker has received it."""
        return self.inspect_until("query_task", lambda found: result.id in found, ids=[result.id])

    # --- telling ---

    def shown(self, value):
        """JSON, with ids as labels, and without what is never the same."""
        if isinstance(value, dict):
            return {str(self.shown(k)): "<text>" if k == "traceback" and v else self.shown(v)
                    for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.shown(v) for v in value]
        if not isinstance(value, str):
            return value
        if A_TIME.match(value):
            return "<time>"
        if self.app.oid in value:
            value = value.replace(self.app.oid, "<client>")
        for text, shown in self.hidden.items():
            value = value.replace(text, shown)
        value = value.replace(self.world.node, "<node>")
        value = re.sub(r" Job: \d+\.", "", value)
        value = re.sub(r"^gen\d+@.*", "<origin>", value)
        return A_UUID.sub(lambda m: f"<{self.labels.get(m[0], 'id')}>", value)


class Events:
    """What the worker tells of tasks while this is open."""

    def __init__(self, c, enable=True):
        self.c = c
        self.enable = enable
        self.seen = []

    def __enter__(self):
        if self.enable:
            self.c.control("enable_events")
        self.connection = self.c.app.connection_for_read()
        self.receiver = self.c.app.events.Receiver(
            self.connection, handlers={"*": self.seen.append})
        channel = self.connection.default_channel
        self.consumer, = self.receiver.get_consumers(
            lambda *a, **k: self.receiver_consumer(channel, **k), channel)
        self.consumer.consume()
        return self

    def receiver_consumer(self, channel, **options):
        from kombu import Consumer
        return Consumer(channel, **options)

    def __exit__(self, *_):
        self.connection.release()
        if self.enable:
            self.c.control("disable_events")

    def until(self, condition, timeout=TIMEOUT):
        limit = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < limit, f"only {self.seen}"
            try:
                self.connection.drain_events(timeout=0.2)
            except (TimeoutError, OSError):
                pass

    def of(self, result, last):
        """The events of a task, up to the one of type LAST."""
        self.until(lambda: any(e["type"] == last and e.get("uuid") == result.id
                               for e in self.seen))
        return [e for e in self.seen if e.get("uuid") == result.id]


def soon(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)
