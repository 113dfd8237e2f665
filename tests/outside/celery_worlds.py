"""Where the conformance cases take place: a broker, a result backend, and one
worker, a stock Celery's or tocsin's, with the same tasks.

A world is asked for by its kind, and started when it is first needed:

	redis	most cases: four hands, queues "celery" and "prio"
	rpc	results go to the client's own queue
	db	results are rows of celery_taskmeta
	narrow	one hand and next to no prefetch, for what depends on order
	extended	documents tell of the call, too: result_extended
	control	for commands that change the worker
	fresh	never shared: for what the worker does not survive
"""

import itertools
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from celery import Celery
from kombu import Queue

import harness
from harness import wait_for
from test_faults_wire import frugal

HERE = Path(__file__).resolve().parent
HANDS = {"narrow": 1}
# For tocsin one more: a task that runs counts, as it is acknowledged late.
PREFETCH = {"narrow": 1}
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

LOUD = {"TOCSIN_LEASE": "20s", "TOCSIN_SWEEP": "500ms", "TOCSIN_GRACE": "2s",
        "TOCSIN_MAX_VALUE": "4MiB"}


def priority_queue():
    return Queue("prio", queue_arguments={"x-max-priority": 9})


class World:
    """One worker and a stock client of it."""

    queues = "celery,prio"

    def __init__(self, kind, sandbox, directory, database, number):
        self.kind = kind
        self.sandbox = sandbox
        self.directory = directory
        self.database = database
        self.broker = harness.Broker(sandbox)
        # A broker's virtual host and a numbered database of Redis are ours alone.
        self.redis_url = None
        if kind not in ("rpc", "db"):
            sandbox.up("redis")
            self.redis_url = re.sub(r"/\d+$", f"/{number % 15 + 1}",
                                    sandbox.env["TOCSIN_REDIS_URL"])
            self.redis("flushdb")
        self.hands = HANDS.get(kind, 4)
        self.backend = self.backend_url()
        self.app = self.client()
        self.started = []

    def backend_url(self):
        if self.kind == "rpc":
            return "rpc://"
        if self.kind == "db":
            env = self.sandbox.env
            return (f"db+postgresql://{env['PGUSER']}@/{self.database.name}"
                    f"?host={env['PGHOST']}&port={env['PGPORT']}")
        return self.redis_url

    def client(self, **conf):
        """A stock client that knows no task but by its name."""
        app = Celery("client", broker=self.broker.url, backend=self.backend,
                     set_as_current=False)
        app.conf.update(task_queues=[Queue("celery"), priority_queue()],
                        task_default_queue="celery", broker_connection_max_retries=3,
                        database_short_lived_sessions=True, **conf)
        return app

    def redis(self, *args):
        done = subprocess.run(["redis-cli", "-e", "-u", self.redis_url, *map(str, args)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=30)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def alive(self):
        return self.worker.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self, node=None):
        """It answers, whatever its name, or as NODE."""
        def answers():
            assert self.alive(), self.log()
            found = self.app.control.ping(timeout=0.5, limit=1, destination=node and [node])
            return found and next(iter(found[0]))
        self.node = wait_for(answers, 40, lambda: "no answer to ping: " + self.log()[-3000:])

    def tell_to_stop(self):
        if self.alive():
            self.worker.terminate()

    def close(self):
        self.app.close()


class StockWorld(World):
    """python3 -m celery worker, as Debian has it."""

    numbers = itertools.count()

    @classmethod
    def beside(cls, world):
        """A second worker, on the queues of another WORLD."""
        own = cls.__new__(cls)
        own.__dict__.update(world.__dict__, app=world.client())
        own.start()
        return own

    def start(self):
        node = f"stock-{uuid.uuid4().hex[:8]}@cases"
        self.log_path = self.directory / f"stock-{self.kind}-{next(self.numbers)}.log"
        env = {**os.environ, "CASES_BROKER": self.broker.url, "CASES_BACKEND": self.backend,
               "CASES_EXTENDED": "yes" if self.kind == "extended" else "",
               "CASES_QUEUES": self.queues, "CASES_PREFETCH": str(PREFETCH.get(self.kind, 4)),
               "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC"}
        with open(self.log_path, "wb") as log:
            self.worker = subprocess.Popen(
                [PYTHON, "-m", "celery", "-A", "celery_app", "worker", "-c", str(self.hands),
                 "-n", node, "--without-mingle", "-l", "info"],
                cwd=HERE, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        self.wait_until_ready(node)

    def kill(self):
        os.killpg(self.worker.pid, 9)
        self.worker.wait()

    def stop(self, told=False):
        if not told:
            self.tell_to_stop()
        try:
            self.worker.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class TocsinWorld(World):
    """tocsin worker, with the same tasks in its settings."""

    def __init__(self, *args):
        super().__init__(*args)
        env = {**self.database.env, **LOUD, "TOCSIN_BROKER_URL": self.broker.url,
               "TOCSIN_RESULT_BACKEND": self.backend, "TOCSIN_EXECUTORS": "sql,shell",
               "TOCSIN_CONCURRENCY": self.hands, "TOCSIN_QUEUE": "celery"}
        if self.kind in PREFETCH:
            env["TOCSIN_PREFETCH"] = PREFETCH[self.kind] + 1
        if self.kind == "extended":
            env["TOCSIN_RESULT_EXTENDED"] = "true"
        home = self.directory / f"tocsin-{self.kind}"
        home.mkdir()
        (home / "tocsin.toml").write_text((HERE / "celery_tasks.toml").read_text())
        self.tocsin = harness.Tocsin(home, {k: str(v) for k, v in frugal(env).items()})
        self.tocsin("init")

    def start(self):
        with self.broker.connect() as connection:
            connection.channel().queue_declare("prio", durable=True, auto_delete=False,
                                               arguments={"x-max-priority": 9})
        self.spawned = self.tocsin.spawn("worker", "-Q", self.queues)
        self.worker, self.log_path = self.spawned.process, self.spawned._err
        self.spawned.wait_for("worker is ready", 30)
        self.wait_until_ready()

    def kill(self):
        self.spawned.kill()

    def stop(self, told=False):
        if told or self.alive():
            if not told:
                self.tell_to_stop()
            assert self.spawned.wait() == 0, self.log()
        harness.refuse_sanitizer("tocsin worker", self.log())

    def parked(self, queue="celery"):
        """What stands in QUEUE.parked, taken: pairs of the task's id and the reason."""
        found = []
        with self.broker.connect() as connection:
            channel = connection.channel()
            channel.queue_declare(queue + ".parked", durable=True, auto_delete=False)
            while message := channel.basic_get(queue + ".parked", no_ack=True):
                found.append((message.headers.get("x-case"), message.headers["x-tocsin-reason"]))
        return found


database_numbers = itertools.count()


class Worlds:
    """All of one session, of one sort."""

    def __init__(self, sort, sandbox, directory):
        self.sort = sort
        self.sandbox = sandbox
        self.directory = directory
        self.numbers = itertools.count()
        self.databases = []
        self.shared = {}
        self.before = harness.descendants()

    def make(self, kind):
        number = next(self.numbers)
        name = f"cases_{os.getpid()}_{self.sort.__name__.lower()}_{next(database_numbers)}"
        database = harness.Database(self.sandbox, name)
        self.databases.append(database)
        directory = self.directory / f"{self.sort.__name__}-{number}"
        directory.mkdir()
        world = self.sort(kind, self.sandbox, directory, database, number)
        world.start()
        return world

    def get(self, kind):
        """The world of this KIND, alive."""
        if kind == "fresh":
            return self.make(kind)
        world = self.shared.get(kind)
        if world is None or not world.alive():
            if world:
                world.close()
            world = self.shared[kind] = self.make(kind)
        return world

    def end(self):
        """Stop all; nothing may be left of any."""
        complaints = []
        for world in self.shared.values():
            world.tell_to_stop()
        for world in self.shared.values():
            try:
                world.stop(told=True)
            except AssertionError as complaint:
                complaints.append(str(complaint))
                world.kill()
            world.close()
        for database in self.databases:
            database.drop()
        homes = self.sandbox.homes()
        try:
            wait_for(lambda: not harness.leftovers(self.before, homes), 5)
        except AssertionError:
            complaints += ["left behind: " + harness.describe(pid)
                           for pid in harness.leftovers(self.before, homes)]
        assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="module")
def worlds(request, sandbox, tmp_path_factory):
    """Worlds for a whole module.  Where stock outcomes are recorded: stock ones."""
    sort = StockWorld if request.config.getoption("--record-stock") else TocsinWorld
    worlds = Worlds(sort, sandbox, tmp_path_factory.mktemp("celery"))
    yield worlds
    worlds.end()


@pytest.fixture(autouse=True)
def nothing_left():
    """A worker serves many tests; what it leaves is looked for when it ends."""
