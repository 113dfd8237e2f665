"""The tasks of the conformance cases, for a stock Celery worker.

The same ones stand in celery_cases.py as tocsin has them, in its settings: same
names, same arguments, same values, and where they fail the same exception.
Started as "python3 -m celery -A celery_app worker", with the servers in
CASES_BROKER and CASES_BACKEND."""

import os
import signal
import time

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded  # noqa: F401 (raised by time.sleep)
from kombu import Queue

app = Celery("cases", broker=os.environ.get("CASES_BROKER"),
             backend=os.environ.get("CASES_BACKEND"))
app.conf.update(
    task_default_queue="celery",
    task_queues=[Queue(name, queue_arguments={"x-max-priority": 9} if name == "prio" else None)
                 for name in os.environ.get("CASES_QUEUES", "celery").split(",")],
    worker_prefetch_multiplier=int(os.environ.get("CASES_PREFETCH", 4)),
    worker_hijack_root_logger=False,
    result_extended=bool(os.environ.get("CASES_EXTENDED")),
)


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.power")
def power(base, exponent=2):
    return base ** exponent


@app.task(name="t.tsum")
def tsum(numbers):
    return sum(numbers)


@app.task(name="t.echo")
def echo(x):
    return x


@app.task(name="t.nothing")
def nothing():
    return None


@app.task(name="t.big")
def big(n):
    return "x" * n


@app.task(name="t.fail")
def fail(message):
    raise RuntimeError("exit status 1: " + message)


@app.task(name="t.divide")
def divide(x, y):
    if not y:
        raise RuntimeError("division by zero (SQLSTATE 22012)")
    return x // y


@app.task(name="t.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="t.limited", soft_time_limit=1, time_limit=5)
def limited(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="t.killed", time_limit=1)
def killed(seconds):
    time.sleep(seconds)
    return seconds


def try_once(path, failures):
    with open(path, "a+") as file:
        file.seek(0)
        tried = len(file.readlines())
        file.write("\n")
    if tried < failures:
        raise RuntimeError("exit status 1: not yet")
    return tried


RETRIED = {"autoretry_for": (RuntimeError,), "max_retries": 2, "retry_backoff": True,
           "retry_jitter": False}


@app.task(name="t.flaky", **RETRIED)
def flaky(path, failures):
    return try_once(path, failures)


@app.task(name="t.note")
def note(path, word):
    with open(path, "a") as file:
        file.write(word + "\n")
    return word


@app.task(name="t.ignored", ignore_result=True)
def ignored(path, word):
    with open(path, "a") as file:
        file.write(word + "\n")
    return word


@app.task(name="t.tracked", track_started=True)
def tracked(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="t.die")
def die(signum):
    os.kill(os.getpid(), signum or signal.SIGKILL)
    time.sleep(10)


@app.task(name="t.late", acks_late=True)
def late(path, seconds):
    with open(path, "a") as file:
        file.write("begun\n")
    time.sleep(seconds)
    return seconds


@app.task(name="t.rated", rate_limit="2/s")
def rated(x):
    return x


@app.task(name="t.told")
def told(failed):
    """An errback of the old style: of one argument, the id of what has failed.

    One of more arguments would be called within the process that has failed, with
    the request, the exception and the traceback, and have no result."""
    return failed
