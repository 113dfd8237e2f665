"""Figures that are not of a whole cycle: the agent alone, one value's way to its
signal, a worker that has nothing to do, one task there and back."""

import contextlib
import os
import subprocess
import sys
import time

import proc
from graph import SIZES, Graph
from harness import Broker, wait_for
from report import spread
from ways import HERE, LONGEST, WAYS, Child, must


def agent_alone(servers, limit, size, times):
    """Seconds from the agent's start until the cycle is STARTED, all its variables
    confirmed, while no worker takes a thing; and those that the limit takes, in turn."""
    way, took, least = WAYS["amqp"], [], []
    for _ in range(times):
        least.append(limit.agent(size))
        way.begin(servers, Graph(size))
        try:
            way.worker.end()
            way.remember()
            began = time.time()
            agent = way.child("cycle", "--quiet")
            took.append(agent.wait(LONGEST) - began)
            must(way.db.one("select state from tocsin.run") == "STARTED", "it is not STARTED")
            must(way.broker.depth("tocsin") == way.graph.variables,
                 f"{way.broker.depth('tocsin')} messages instead of {way.graph.variables}")
            way.start()
            wait_for(way.run_closed, 600)
            way.check()
        finally:
            way.end()
    return {"seconds": spread(took, 4), "limit": spread(least, 4),
            "times": spread([a / b for a, b in zip(took, least)], 2)}


def value_to_signal(servers, times):
    """Milliseconds, in a graph of one: until all can see the signal of its event, from
    the claim of the variable, and from the agent's start."""
    way, graph = WAYS["amqp"], Graph("one")
    graph.operand = lambda n: 0.5           # it always rings
    hops, wholes = [], []
    way.begin(servers, graph)
    try:
        for _ in range(times):
            way.remember()
            began = time.time()
            agent = way.child("cycle", "--quiet")
            while not (told := way.db.one("select clock_timestamp() from tocsin.signal"
                                          " where run_id > %s", way.last)):
                must(time.time() - began < 60, "there is no signal")
            agent.wait(60)
            agent.end()
            wait_for(way.run_closed, 60)
            way.check()
            claimed = way.db.one("select started_at from tocsin.job"
                                 " where run_id > %s and kind = 'variable'", way.last)
            hops.append(1000 * (told - claimed).total_seconds())
            wholes.append(1000 * (told.timestamp() - began))
    finally:
        way.end()
    return {"claim_to_signal_ms": spread(hops, 2), "start_to_signal_ms": spread(wholes, 2)}


def percentile(values, share):
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 2)


def idle(servers, name, seconds):
    """A worker with nothing to do: memory, CPU, start to ready."""
    way, ready = WAYS[name], []
    way.begin(servers, Graph("one"))
    try:
        ready.append(way.ready_seconds)
        for _ in range(2):
            way.worker.end()
            way.start()
            ready.append(way.ready_seconds)
        time.sleep(min(3, seconds))
        before = proc.awake(way.worker.pid)
        time.sleep(seconds)
        ran, woken = (now - then for now, then in zip(proc.awake(way.worker.pid), before))
        return {"processes": len(proc.family(way.worker.pid)),
                "resident_mib": round(proc.resident(way.worker.pid), 1),
                "shared_once_mib": round(proc.shared_once(way.worker.pid), 1),
                "cpu_percent": round(100 * ran / seconds, 3),
                "wakeups_per_s": round(woken / seconds, 1), "ready_s": spread(ready)}
    finally:
        way.end()


def round_trips(servers, tasks, blocks):
    """A trivial task from a stock client, there and back, in milliseconds: by Celery's
    worker and by ours, in BLOCKS of TASKS each, one after the other."""
    ways = {name: WAYS[name] for name in ("celery", "amqp")}
    times = {name: [] for name in ways}
    with contextlib.ExitStack() as stack:
        for way in ways.values():
            way.answers = True
            stack.callback(setattr, way, "answers", False)
            way.begin(servers, Graph("one"))
            stack.callback(way.end)
        for _ in range(blocks):
            for name, way in ways.items():
                times[name] += block_of_tasks(servers, way, tasks)
    return {name: {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}
            for name, took in times.items()}


def block_of_tasks(servers, way, tasks):
    queue = "tocsin" if way.name == "amqp" else "peer"
    client = Child([sys.executable, HERE / "peer_client.py", queue, tasks],
                   {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(HERE),
                    "BENCH_BROKER": way.broker.url, "BENCH_BACKEND": "rpc://"},
                   servers.directory, stdout=subprocess.PIPE)
    out, _ = client.process.communicate(timeout=300)
    must(client.process.returncode == 0, f"the client failed: {client.words()}")
    client.end()
    return list(map(float, out.split()))


# --- the limit ---

LIMIT_TABLES = """
create table bench_limit (id integer primary key, value float8, runs integer)
	with (fillfactor = 70);
insert into bench_limit select n, 1, 0 from generate_series(0, 99999) n;
create table bench_limit_job (run_id bigint, id integer, kind text, name text, version bigint,
	queue text, state text, attempts integer, downstream integer[], primary key (run_id, id));
"""
BATCH = 512


class Limit:
    """limit.c on servers of ours: what no worker, no agent can be faster than."""

    def __init__(self, servers):
        self.servers = servers
        self.program = servers.directory / "limit"
        include = subprocess.run(["pg_config", "--includedir"], stdout=subprocess.PIPE, text=True)
        built = subprocess.run(
            ["cc", "-O2", "-I", include.stdout.strip(), "-o", self.program, HERE / "limit.c",
             "-lrabbitmq", "-lpq"], stderr=subprocess.PIPE, text=True)
        must(built.returncode == 0, f"limit.c cannot be compiled: {built.stderr[-500:]}")
        self.db = servers.database()
        self.db.run(LIMIT_TABLES)
        self.broker = Broker(servers.sandbox)

    def run(self, kind, *words):
        """In a queue of its own."""
        with self.broker.connect() as connection:
            channel = connection.channel()
            channel.queue_declare("limit", durable=True, auto_delete=False,
                                  arguments={"x-queue-type": kind})
        child = Child([self.program, *words, "limit"],
                      {**os.environ, **self.db.env, "BENCH_BROKER": self.broker.url},
                      self.servers.directory, stdout=subprocess.PIPE)
        out, _ = child.process.communicate(timeout=300)
        with self.broker.connect() as connection:
            connection.channel().queue_delete("limit")
        must(child.process.returncode == 0, child.words())
        child.end()
        return float(out)

    def loop(self, jobs, rounds):
        """Messages a second, by the kind of queue."""
        took = {"classic": [], "quorum": []}
        for _ in range(rounds):
            for kind in took:
                before = self.db.one("select sum(runs) from bench_limit")
                took[kind].append(self.run(kind, "loop", jobs, BATCH))
                written = self.db.one("select sum(runs) from bench_limit") - before
                must(jobs <= written <= jobs + BATCH, f"the loop has written {written} rows")
        return {kind: spread(rates, 0) for kind, rates in took.items()}

    def agent(self, size):
        """Seconds to copy the jobs of a graph into the books and to send its variables."""
        jobs = sum(SIZES[size])
        self.db.run("truncate bench_limit_job")
        took = self.run("classic", "agent", jobs, SIZES[size][0])
        written = self.db.one("select count(*) from bench_limit_job")
        must(written == jobs, f"the agent has written {written} rows")
        return took

    def end(self):
        self.db.drop()
