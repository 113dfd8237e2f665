"""A cycle as one writes it with stock Celery: a task for each kind of node.

A variable that is done starts its evidences, an evidence its events, by links:
so a node runs once for each of its inputs.  Acknowledged early and published
without confirms, or with BENCH_SAFE=1 late and confirmed, which loses nothing.
The worker is "celery -A peer_celery worker"; class Agent begins the cycles.
"""

import os

import psycopg2
from celery import Celery
from celery.signals import worker_process_init, worker_ready

import peer_books

QUEUE = "peer"
app = Celery("peer_celery", broker=os.environ.get("BENCH_BROKER"),
             backend=os.environ.get("BENCH_BACKEND") or None)
app.conf.update(
    task_default_queue=QUEUE, task_ignore_result=not app.conf.result_backend,
    worker_prefetch_multiplier=32, worker_disable_rate_limits=True,
    worker_send_task_events=False, broker_heartbeat=0)
if os.environ.get("BENCH_SAFE"):
    app.conf.update(task_acks_late=True, broker_transport_options={"confirm_publish": True})

connection = None               # one for each process


@worker_process_init.connect
def forget(**_):
    global connection
    connection = None


@worker_ready.connect
def tell(**_):
    if os.environ.get("BENCH_READY"):
        open(os.environ["BENCH_READY"], "w").close()


def books():
    global connection
    if connection is None or connection.closed:
        connection = psycopg2.connect(options="-c search_path=peer")
    return connection


@app.task(name="peer.one")
def one():
    return 1


@app.task(name="peer.variable")
def variable(cycle, n):
    with books() as db, db.cursor() as cursor:
        cursor.execute("select query from variable where id = %s", (n,))
        cursor.execute(cursor.fetchone()[0])
        cursor.execute("update variable set value = %s, cycle = %s,"
                       " runs = case cycle when %s then runs + 1 else 1 end where id = %s",
                       (cursor.fetchone()[0], cycle, cycle, n))


@app.task(name="peer.evidence")
def evidence(cycle, n):
    """The row is locked before the values are read: of two that run at once the
    later would else overwrite new with old."""
    with books() as db, db.cursor() as cursor:
        cursor.execute("select definition, operator, operand from evidence"
                       " where id = %s for update", (n,))
        definition, how, operand = cursor.fetchone()
        cursor.execute("select 'v' || id, value from variable join evidence_use on variable = id"
                       " where evidence = %s", (n,))
        value = peer_books.compute(definition, dict(cursor.fetchall()))
        cursor.execute("update evidence set value = %s, truth = %s, cycle = %s,"
                       " runs = case cycle when %s then runs + 1 else 1 end where id = %s",
                       (value, peer_books.compare(value, how, operand), cycle, cycle, n))


@app.task(name="peer.event")
def event(cycle, n):
    with books() as db, db.cursor() as cursor:
        cursor.execute("select definition, state from event where id = %s for update", (n,))
        definition, before = cursor.fetchone()
        cursor.execute("select 'e' || id, truth from evidence join event_use on evidence = id"
                       " where event = %s", (n,))
        state, action = peer_books.outcome(
            before, peer_books.compute(definition, dict(cursor.fetchall())))
        cursor.execute("update event set state = %s, action = %s, cycle = %s,"
                       " runs = case cycle when %s then runs + 1 else 1 end,"
                       " next_call = (select created_at from cycle where id = %s),"
                       " evaluated_at = clock_timestamp() where id = %s",
                       (state, action, cycle, cycle, cycle, n))


@app.task(name="peer.failed")
def failed(cycle):
    with books() as db, db.cursor() as cursor:
        cursor.execute("update cycle set state = 'ERRORED', failed = failed + 1 where id = %s",
                       (cycle,))


class Agent:
    """Selects the due events, reads what they need, sends the variables."""

    def __init__(self, db):
        cursor = db.cursor()
        cursor.execute("insert into peer.cycle default values returning id, created_at")
        self.cycle, at = cursor.fetchone()
        cursor.execute("select id, u.evidence from peer.event join peer.event_use u on event = id"
                       " where next_call <= %s order by priority, id", (at,))
        self.events = self.gather((e, x) for x, e in cursor.fetchall())
        cursor.execute("select variable, evidence from peer.evidence_use"
                       " where evidence = any(%s)", (list(self.events),))
        self.evidences = self.gather(cursor.fetchall())
        db.commit()

    @staticmethod
    def gather(pairs):
        found = {}
        for upper, lower in pairs:
            found.setdefault(upper, []).append(lower)
        return found

    def jobs(self):
        """How many are going to run, and how many of them are events."""
        evidences = sum(map(len, self.evidences.values()))
        events = sum(len(self.events[e]) for es in self.evidences.values() for e in es)
        return len(self.evidences) + evidences + events, events

    def signature(self, task, n, then=()):
        signature = task.si(self.cycle, n)
        signature.link_error(failed.si(self.cycle))
        for follower in then:
            signature.link(follower)
        return signature

    def send(self):
        with app.producer_or_acquire() as producer:
            for v, evidences in self.evidences.items():
                self.signature(variable, v, [
                    self.signature(evidence, e, [self.signature(event, x)
                                                 for x in self.events[e]])
                    for e in evidences]).apply_async(producer=producer)
