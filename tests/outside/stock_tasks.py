"""Tasks of an unchanged Python worker, and how to start one.

    python3 -m celery -A stock_tasks worker ...

The broker and the result backend come from the environment, as in anybody's
application."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from celery import Celery

app = Celery("stock_tasks", broker=os.environ.get("TOCSIN_BROKER_URL"),
             backend=os.environ.get("STOCK_BACKEND") or None)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)

SINK = os.environ.get("STOCK_SINK", os.devnull)


def note(*words):
    """What happened, for the test that looks."""
    with open(SINK, "a") as sink:
        print(*words, file=sink, flush=True)


@app.task(name="stock.add")
def add(x, y=0):
    note("add", x, y)
    return x + y


@app.task(name="stock.echo")
def echo(value=None, **others):
    return others or value


@app.task(name="stock.odd")
def odd(what):
    """What Python's JSON can say and no other."""
    return {"nan": float("nan"), "inf": [float("inf")], "big": 2 ** 70, "half": "\ud800",
            "nul": "a\0b", "set": {1}, "long": "x" * (1 << 21)}[what]


@app.task(name="stock.fail")
def fail(text="boom"):
    raise ValueError(text)


@app.task(name="stock.slow")
def slow(seconds=60, value=None):
    note("slow", os.getppid() if value == "parent" else os.getpid())
    time.sleep(seconds)
    return value


@app.task(name="stock.once")
def once(path, value):
    """The first call never ends: it is waiting to be killed."""
    note("once", os.getpid())
    if not os.path.exists(path):
        Path(path).touch()
        signal.pause()
    return value


@app.task(name="stock.alarm")
def alarm(event, signal, cycle, level, key, values, details):  # noqa: A002
    import json
    note(json.dumps({"event": event, "signal": signal, "cycle": cycle, "level": level, "key": key,
                     "values": values, "id": alarm.request.id,
                     "hold": details["hold"]}))


class Stock:
    """A stock worker, in a session of its own; `kill' is SIGKILL to all of it."""

    def __init__(self, directory, broker, *args, env=None):
        self.directory = Path(directory)
        self.sink = self.directory / "stock-sink"
        self.log = self.directory / f"stock-{time.monotonic_ns()}.log"
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
                       "PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1",
                       "STOCK_SINK": str(self.sink), **broker.env, **(env or {})}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "stock_tasks", "worker",
                 "--without-mingle", "--without-gossip", "-l", "info", *map(str, args)],
                cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    @property
    def noted(self):
        return self.sink.read_text().splitlines() if self.sink.exists() else []

    @property
    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.alive:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
