"""The ways to compute a cycle that are compared.

Each is prepared with fresh books, then asked for cycles one after the other;
after each, check() compares all that it has written with what must come out.
Wall times begin where the agent begins, and end where the books say so.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import peer_books
import proc
from graph import QUERY
from harness import Broker, Database, Tocsin, program, wait_for

HERE = Path(__file__).resolve().parent
LONGEST = 3600                  # seconds that a cycle may take
COPIED = 10000                  # variables; books with so many are loaded once and copied


class Wrong(Exception):
    """A result that is not what it must be: its time is not to be believed."""


def must(condition, text):
    if not condition:
        raise Wrong(text)


class Child:
    """A program of ours in the background.  Its last words are kept."""

    def __init__(self, command, env, directory, **streams):
        self.errors = directory / f"{Path(command[0]).name}-{time.monotonic_ns()}.stderr"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command], env=env, cwd=directory, stderr=errors,
                start_new_session=True, **{"stdin": subprocess.DEVNULL,
                                           "stdout": subprocess.DEVNULL, **streams})
        self.pid = self.process.pid
        self.usage = None
        self.peak = 0
        children.append(self)

    @property
    def alive(self):
        return self.process.returncode is None and self.process.poll() is None

    def wait(self, timeout):
        """To the end; then .usage is what it cost, and .peak its memory in MiB.

        Not what wait4() says of memory: that begins with ours, which it was
        born from."""
        handle = os.pidfd_open(self.pid)
        limit = time.monotonic() + timeout
        try:
            while not select.select([handle], [], [], 0.01)[0]:
                self.peak = max(self.peak, proc.memory(self.pid, "VmHWM") / 1024)
                if time.monotonic() > limit:
                    raise Wrong(f"no end after {timeout} s: {self.words()}")
        finally:
            os.close(handle)
        ended = time.time()
        _, status, self.usage = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return ended

    def words(self):
        return self.errors.read_text(errors="replace")[-2000:]

    def end(self, patience=10):
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                for pid in proc.family(self.pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait()
        if self in children:
            children.remove(self)


children = []                   # those that may still run


def end_children():
    for child in list(children):
        child.end(patience=2)


class Servers:
    """Where all ways work, and what that costs the servers and the machine."""

    def __init__(self, sandbox, directory, settings):
        self.sandbox, self.directory, self.settings = sandbox, directory, settings
        sandbox.up("postgresql", "rabbitmq")
        self.postgresql, self.rabbitmq = sandbox.pid("postgresql"), sandbox.pid("rabbitmq")
        self.number = 0
        self.loaded = {}        # size -> a database with its definitions, to copy

    def messages(self):
        """How many the broker has confirmed since it came up."""
        return int(self.sandbox.rabbitmqctl(
            "eval", "maps:get(messages_received_confirm_total,"
            " maps:get([{protocol, amqp091}], rabbit_global_counters:overview()))."))

    def database(self, template="template1"):
        self.number += 1
        return Database(self.sandbox, f"bench_{os.getpid()}_{self.number}", template)

    def end(self):
        for db in self.loaded.values():
            db.drop()

    def clocks(self, roots):
        return {"worker": proc.cpu(*roots), "broker": proc.cpu(self.rabbitmq),
                "database": proc.cpu(self.postgresql), "machine": proc.machine(),
                "known": proc.cpu(os.getpid(), self.rabbitmq, self.postgresql, *roots)}

    def measured(self, roots, work):
        """Let WORK make a cycle.  It returns a sample; what was used meanwhile is
        added to that, the agent's with the worker's."""
        before, began = self.clocks(roots), time.monotonic()
        sample = work()
        took, after = time.monotonic() - began, self.clocks(roots)
        used = {kind: after[kind] - before[kind] for kind in after}
        other = max(0, used.pop("machine") - used.pop("known"))
        used["worker"] += sample.pop("agent_cpu", 0)
        sample.update(cpu={kind: round(seconds, 3) for kind, seconds in used.items()},
                      other_cpu=round(other, 2), busy=other > 0.1 * took + 0.05)
        return sample


class Way:
    answers = False             # its workers do the trivial task of peer_client.py, too
    sends = False               # its messages are counted
    later = 2                   # cycles after the first, in the same books
    tidies = ""                 # tables, "" for all: what autovacuum would come to meanwhile

    def __init__(self, name, title):
        self.name, self.title = name, title

    def begin(self, servers, graph):
        """Fresh books, and workers that are ready."""
        self.servers, self.graph = servers, graph
        self.roots, self.db, self.connection = [], None, None
        self.db = self.database()
        self.prepare()

    def database(self):
        return self.servers.database()

    def refresh(self):
        """What a database that is in use gets by itself sooner or later."""
        self.db.run(f"vacuum analyze {self.tidies}")

    def cycle(self, first):
        if not first:
            self.refresh()
        self.remember()
        sample = self.servers.measured(self.roots, self.one)
        sample.update(way=self.name, size=self.graph.size, first=first)
        return sample

    def end(self):
        for child in list(children):
            child.end()
        if self.connection:
            self.connection.close()
        if self.db:
            self.db.drop()


# --- tocsin ---


class OfTocsin(Way):
    load_seconds = None         # of the books that were loaded last

    def env(self):
        return {**self.db.env, **self.servers.settings}

    def prepare(self):
        self.run_in_directory(self.env())
        if not self.is_copied():
            self.load()

    def run_in_directory(self, env):
        self.directory = self.servers.directory / f"{self.name}-{self.servers.number}"
        self.directory.mkdir()
        self.tocsin = Tocsin(self.directory, env)

    def load(self):
        self.tocsin("init")
        began = time.monotonic()
        for files in self.graph.write(self.directory):
            self.tocsin("load", *files, timeout=LONGEST)
        self.load_seconds = time.monotonic() - began

    def is_copied(self):
        return self.graph.variables >= COPIED

    def database(self):
        """To load many definitions takes longer than a cycle of them."""
        loaded, size = self.servers.loaded, self.graph.size
        self.load_seconds = None
        if not self.is_copied():
            return self.servers.database()
        if size not in loaded:
            loaded[size] = self.servers.database()
            self.run_in_directory(loaded[size].env)
            self.load()
        return self.servers.database(loaded[size].name)

    def child(self, *args, **streams):
        return Child([program(), *args], self.tocsin.env, self.directory, **streams)

    def remember(self):
        """What the next cycle starts from."""
        self.before = dict(self.db.all("select name, state from tocsin.event"))
        self.last = self.db.one("select coalesce(max(id), 0) from tocsin.run")

    def run_closed(self):
        return self.db.one("select id from tocsin.run where id > %s and finished_at is not null",
                           self.last)

    def check(self):
        graph, db = self.graph, self.db
        runs = db.all("select id, state, jobs, failed from tocsin.run where id > %s", self.last)
        must(len(runs) == 1, f"{len(runs)} cycles instead of one")
        run, state, jobs, failed = runs[0]
        must((state, jobs, failed) == ("DONE", graph.nodes, 0),
             f"cycle {run} is {state}, {failed} of {jobs} jobs failed")
        for kind, n in (("variable", graph.variables), ("evidence", graph.evidences),
                        ("event", graph.events)):
            counts = db.one("select count(*), count(distinct name),"
                            " count(*) filter (where state = 'done') from tocsin.job"
                            " where run_id = %s and kind = %s", run, kind)
            must(counts == (n, n, n), f"jobs of kind {kind}: {counts} instead of {n}")
            counts = db.one("select count(*), count(distinct name) from tocsin.history"
                            " where run_id = %s and kind = %s", run, kind)
            must(counts == (n, n), f"evaluations of kind {kind}: {counts} instead of {n}")
        self.check_values(run)

    def numbered(self, sql, *args):
        """Rows whose first column is a name: by the number in it."""
        return {int(name[1:]): rest for name, *rest in self.db.all(sql, *args)}

    def check_values(self, run):
        graph = self.graph
        values = {n: value for n, (value,) in self.numbered(
            "select name, value from tocsin.variable where run_id = %s", run).items()}
        must(len(values) == graph.variables, f"{len(values)} variables have a value of the cycle")
        truths = {}
        for n, (value, truth) in self.numbered("select name, value, bool_value from"
                                               " tocsin.evidence where run_id = %s", run).items():
            must(graph.evidence_is(n, value, values) and
                 truth == graph.evidence_is_true(n, values),
                 f"evidence e{n} is {value}, {truth}; that is not what its variables make")
            truths[n] = truth
        must(len(truths) == graph.evidences, f"{len(truths)} evidences are of the cycle")
        self.check_events(run, truths)

    def check_events(self, run, truths):
        signals = self.db.all("select event, action from tocsin.signal where run_id = %s", run)
        must(len(signals) == len(dict(signals)), "an event has two signals")
        signals = dict(signals)
        events = self.numbered("select name, state, action from tocsin.event"
                               " where run_id = %s", run)
        must(len(events) == self.graph.events, f"{len(events)} events are of the cycle")
        for n, (state, action) in events.items():
            wanted = peer_books.outcome(self.before[f"x{n}"], self.graph.event_is_true(n, truths))
            must((state, action) == wanted, f"event x{n} is {state}, {action}; not {wanted}")
            signal_of = signals.pop(f"x{n}", "do_nothing")
            must(signal_of == action, f"event x{n} has signalled {signal_of}, not {action}")
        must(not signals, f"{len(signals)} signals of no event")

    SPOIL = {
        "variable": "update tocsin.variable set value = to_jsonb((value #>> '{}')::float8 + 1)"
                    " where name = 'v7'",
        "evidence": "update tocsin.evidence set bool_value = not bool_value where name = 'e7'",
        "event": "update tocsin.event set state = case state when 'raising' then 'not_raising'"
                 " else 'raising' end where name = 'x7'",
        "signal": "delete from tocsin.signal where ctid = (select min(ctid) from tocsin.signal)",
        "evaluation": "insert into tocsin.history select * from tocsin.history"
                      " where name = 'e7' limit 1",
    }

    def spoil(self, what):
        self.db.run(self.SPOIL[what])


class Local(OfTocsin):
    def one(self):
        began = time.time()
        child = self.child("cycle", "--local", "--quiet")
        ended = child.wait(LONGEST)
        child.end()
        must(child.process.returncode == 0, f"the cycle failed: {child.words()}")
        return {"seconds": ended - began, "jobs": self.graph.nodes, "peak": child.peak,
                "agent_cpu": child.usage.ru_utime + child.usage.ru_stime}


class Amqp(OfTocsin):
    sends = True

    def __init__(self, name, title, processes=1, quorum=False, version=None):
        super().__init__(name, title)
        self.processes, self.quorum, self.version = processes, quorum, version

    def env(self):
        env = {**super().env(), **self.broker.env}
        if self.answers:
            env.update(TOCSIN_CONFIG=str(self.servers.directory / "answers.toml"),
                       TOCSIN_RESULT_BACKEND="rpc://")
            Path(env["TOCSIN_CONFIG"]).write_text('[tasks."peer.one"]\nsql = "select 1"\n')
        return env

    def prepare(self):
        self.broker = Broker(self.servers.sandbox)
        if self.quorum:
            with self.broker.connect() as connection:
                channel = connection.channel()
                channel.exchange_declare("tocsin", "direct", durable=True, auto_delete=False)
                channel.queue_declare("tocsin", durable=True, auto_delete=False,
                                      arguments={"x-queue-type": "quorum"})
                channel.queue_bind("tocsin", "tocsin", "tocsin")
        if self.version:
            self.servers.sandbox.rabbitmqctl(
                "set_policy", "-p", self.broker.vhost, "--apply-to", "queues", "version", ".*",
                json.dumps({"queue-version": self.version}))
        super().prepare()
        self.start()

    def start(self):
        """A worker, or several processes; the seconds until all are ready."""
        began = time.monotonic()
        self.worker = self.child("worker", "--processes", self.processes)
        wait_for(self.is_ready, 60, lambda: f"the worker is not ready: {self.worker.words()}")
        self.roots = [self.worker.pid]
        self.ready_seconds = time.monotonic() - began

    def is_ready(self):
        must(self.worker.alive, f"the worker has ended: {self.worker.words()}")
        said = self.worker.errors.read_text(errors="replace")
        return said.count("worker is ready") >= self.processes

    def one(self):
        began = time.time()
        agent = self.child("cycle", "--quiet")
        sent = agent.wait(LONGEST) - began
        agent.end()
        must(agent.process.returncode == 0, f"the agent failed: {agent.words()}")
        while not self.run_closed():
            must(self.worker.alive, f"the worker has ended: {self.worker.words()}")
            must(time.time() - began < LONGEST, "the cycle does not end")
            time.sleep(max(0.002, (time.time() - began) / 200))
        return {"seconds": time.time() - began, "sent_seconds": sent, "jobs": self.graph.nodes,
                "peak": proc.peak(*self.roots),
                "agent_cpu": agent.usage.ru_utime + agent.usage.ru_stime}


class Aged(Amqp):
    """In books that have seen much, made so in some minutes; each cycle comes
    after one in young books, for the two to be compared."""

    HISTORY, CYCLES, DAYS = 10_000_000, 1000, 30
    sends = False               # the other's would be counted, too
    later = 10
    tidies = "tocsin.variable, tocsin.evidence, tocsin.event"

    def begin(self, servers, graph):
        self.young = Amqp("young", "young books")
        self.young.tidies = self.tidies
        super().begin(servers, graph)
        self.young.begin(servers, graph)

    def cycle(self, first):
        beside = self.young.cycle(first)
        self.young.check()
        return {**super().cycle(first), "beside": {key: beside[key] for key in ("seconds", "cpu")}}

    def end(self):
        self.young.end()
        super().end()

    def start(self):
        if not self.db.one("select count(*) from tocsin.run"):
            super().start()
            self.age()
            self.worker.end()
        super().start()

    def age(self):
        """One cycle is computed, and copied into the past."""
        self.remember()
        self.one()
        self.check()
        db = self.db
        for day in range(self.DAYS + 1):
            db.run("select tocsin.history_partition(now() - %s * interval '1 day')", day)
        db.run("insert into tocsin.history (run_id, kind, name, value, truth, at)"
               " select h.run_id, h.kind, h.name, h.value, h.truth, now() - n * interval '1 day' / %s"
               " from generate_series(1, %s) n cross join tocsin.history h",
               self.copies() / self.DAYS, self.copies())
        db.run("insert into tocsin.run (agent, as_of, state, created_at, started_at, finished_at,"
               "  jobs, unsettled, failed)"
               " select agent, at, state, at, at, at, jobs, unsettled, failed"
               " from tocsin.run, lateral (select as_of - n * interval '1 hour' as at"
               "  from generate_series(1, %s) n) past", self.CYCLES - 1)
        for table in ("job", "signal"):
            self.copy_to_all_runs(table)
        db.run("vacuum analyze")
        db.run("checkpoint")
        counts = db.one("select (select count(*) from tocsin.history),"
                        " (select count(*) from tocsin.run)")
        must(counts[0] >= self.HISTORY and counts[1] == self.CYCLES, f"the past is {counts}")

    def copy_to_all_runs(self, table):
        """The pages get as full as rows make them that have grown where they were:
        else each of the cycle's would find room in another page of the past."""
        db, name = self.db, f"tocsin.{table}"
        room = db.one("select substring(array_to_string(reloptions, ' ') from 'fillfactor=([0-9]+)')"
                      " from pg_class where oid = %s::regclass", name)
        columns = db.all("select attname from pg_attribute where attrelid = %s::regclass"
                         " and attnum > 0 and not attisdropped and attname <> 'run_id'", name)
        values = ["'{}'::jsonb" if column == "decided_by" else f"x.{column}" for column in columns]
        db.run(f"alter table {name} set (fillfactor = 95)")
        db.run(f"insert into {name} (run_id, {', '.join(columns)})"
               f" select r.id, {', '.join(values)} from tocsin.run r cross join {name} x"
               " where r.id <> x.run_id")
        db.run(f"alter table {name} " + (f"set (fillfactor = {room})" if room else
                                         "reset (fillfactor)"))

    def copies(self):
        return -(-self.HISTORY // self.graph.nodes)


# --- the peers ---


class Peer(Way):
    def prepare(self):
        self.connection = self.db.connect()
        self.connection.autocommit = False
        peer_books.fill(self.connection, self.graph, QUERY)
        self.refresh()

    def remember(self):
        self.before = dict(self.db.all("select id, state from peer.event"))

    def times(self):
        """How often each variable, evidence and event is to run."""
        graph = self.graph
        return [1] * graph.variables, [1] * graph.evidences, [1] * graph.events

    def check(self):
        graph = self.graph
        cycle = self.db.one("select max(id) from peer.cycle")
        rows = {kind: {row[0]: row[1:] for row in self.db.all(
            f"select id, runs, {columns} from peer.{kind} where cycle = %s", cycle)}
            for kind, columns in (("variable", "value"), ("evidence", "value, truth"),
                                  ("event", "state, action"))}
        for kind, wanted in zip(rows, self.times()):
            must(len(rows[kind]) == len(wanted), f"{len(rows[kind])} rows of kind {kind} are"
                 " of the cycle")
            for n, times in enumerate(wanted):
                must(rows[kind][n][0] == times,
                     f"{kind} {n} has run {rows[kind][n][0]} times instead of {times}")
        values = {n: row[1] for n, row in rows["variable"].items()}
        truths = {}
        for n, (_, value, truth) in rows["evidence"].items():
            must(graph.evidence_is(n, value, values) and
                 truth == graph.evidence_is_true(n, values),
                 f"evidence e{n} is {value}, {truth}; that is not what its variables make")
            truths[n] = truth
        for n, (_, state, action) in rows["event"].items():
            wanted = peer_books.outcome(self.before[n], graph.event_is_true(n, truths))
            self.check_event(n, (state, action), wanted)

    def check_event(self, n, is_, wanted):
        must(is_ == wanted, f"event x{n} is {is_}, not {wanted}")

    SPOIL = {
        "variable": "update peer.variable set value = value + 10 where id = 7",
        "evidence": "update peer.evidence set truth = not truth where id = 7",
        "event": "update peer.event set state = case state when 'raising' then 'not_raising'"
                 " else 'raising' end where id = 7",
        "signal": "update peer.event set action = 'none' where id = 7",
        "evaluation": "update peer.evidence set runs = runs + 1 where id = 7",
    }

    def spoil(self, what):
        self.db.run(self.SPOIL[what])


class Batch(Peer):
    def __init__(self, name, title, history=False):
        super().__init__(name, title)
        self.history = history

    def prepare(self):
        super().prepare()
        self.process = Child([sys.executable, HERE / "peer_batch.py",
                              *["--history"] * self.history],
                             {**os.environ, **self.db.env, "PYTHONDONTWRITEBYTECODE": "1"},
                             self.servers.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.roots = [self.process.pid]

    def one(self):
        streams = self.process.process
        streams.stdin.write(b"cycle\n")
        streams.stdin.flush()
        line = streams.stdout.readline()
        must(line, f"the batch has ended: {self.process.words()}")
        return {"seconds": json.loads(line)["seconds"], "jobs": self.graph.nodes,
                "peak": proc.peak(*self.roots)}


class Celery(Peer):
    later = 0

    def __init__(self, name, title, processes=2, safe=False):
        super().__init__(name, title)
        self.processes, self.safe = processes, safe

    def env(self):
        env = {**os.environ, **self.db.env, "PYTHONDONTWRITEBYTECODE": "1", "C_FORCE_ROOT": "1",
               "PYTHONPATH": str(HERE), "BENCH_BROKER": self.broker.url,
               "BENCH_READY": str(self.servers.directory / f"ready-{self.servers.number}")}
        if self.answers:
            env["BENCH_BACKEND"] = "rpc://"
        return {**env, "BENCH_SAFE": "1"} if self.safe else env

    def prepare(self):
        self.broker = Broker(self.servers.sandbox)
        super().prepare()
        self.start()
        self.agent = Child([sys.executable, HERE / "peer_agent.py"], self.env(),
                           self.servers.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self):
        env = self.env()
        began = time.monotonic()
        self.worker = Child(
            [sys.executable, "-m", "celery", "-A", "peer_celery", "worker", "-l", "WARNING",
             "-c", self.processes, "-Q", "peer", "-n", f"bench{self.servers.number}@localhost",
             "--without-gossip", "--without-mingle", "--without-heartbeat"],
            env, self.servers.directory)
        wait_for(lambda: os.path.exists(env["BENCH_READY"]) or not self.worker.alive, 60)
        must(self.worker.alive, f"Celery's worker has ended: {self.worker.words()}")
        self.ready_seconds = time.monotonic() - began
        os.unlink(env["BENCH_READY"])
        self.roots = [self.worker.pid]

    def check_event(self, n, is_, wanted):
        """It has run several times: what it did last is relative to what it did before."""
        may = {"raising": ("raise", "continue_raising"),
               "not_raising": ("stop_raising", "do_nothing")}
        must(is_[0] == wanted[0] and is_[1] in may[is_[0]],
             f"event x{n} is {is_}, not {wanted[0]}")

    def times(self):
        graph = self.graph
        evidences = [len(use) for use in graph.uses]
        return ([1] * graph.variables, evidences,
                [sum(evidences[e] for e in rule[::2]) for rule in graph.rules])

    def one(self):
        before = proc.cpu(self.agent.pid)
        streams = self.agent.process
        streams.stdin.write(b"cycle\n")
        streams.stdin.flush()
        line = streams.stdout.readline()
        must(line, f"Celery's agent has ended: {self.agent.words()}")
        sample = json.loads(line)
        must(sample["jobs"] == self.graph.repeated,
             f"{sample['jobs']} jobs were planned instead of {self.graph.repeated}")
        return {**sample, "peak": proc.peak(*self.roots),
                "agent_cpu": proc.cpu(self.agent.pid) - before}


WAYS = {way.name: way for way in (
    Celery("celery", "Celery, tuned, prefork 2"),
    Celery("celery-4", "Celery, tuned, prefork 4", processes=4),
    Celery("celery-safe", "Celery, safe, prefork 2", safe=True),
    Batch("batch", "batch SQL"),
    Batch("batch-history", "batch SQL with history", history=True),
    Local("local", "tocsin --local"),
    Amqp("amqp", "tocsin, 1 process"),
    Amqp("amqp-2", "tocsin, 2 processes", processes=2),
    Amqp("quorum", "tocsin, 1 process, quorum queue", quorum=True),
    Amqp("quorum-2", "tocsin, 2 processes, quorum queue", processes=2, quorum=True),
    Amqp("amqp-v2", "tocsin, 1 process, classic queue v2", version=2),
    Amqp("amqp-16", "tocsin, 16 processes", processes=16),
    Aged("aged", "tocsin, 1 process, old books"),
)}
ASKED = ("amqp-v2", "amqp-16", "aged")          # only if they are asked for
