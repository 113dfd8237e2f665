"""The fixtures: sandbox, db, broker, redis, tocsin.  See harness.py."""

import ctypes
import itertools
import os
import signal
import sys
import threading

import pytest

sys.dont_write_bytecode = True

import harness  # noqa: E402

pytest_plugins = ["faults"]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked 'long' too")
    parser.addoption("--record-stock", action="store_true",
                     help="run the conformance cases against a stock Celery worker, and record")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.get_closest_marker("first") is None)
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long; runs with --long"))


def pytest_sessionstart(session):
    # A shell that started us in the background may have us ignore it; then the
    # programs that we start would too.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:		# as xdist has it when the machine is slow; Python knows this only of the first
        ctypes.CDLL(None).signal(signal.SIGINT, None)
    harness.adopt_orphans()


homes = []		# where the session's servers work


@pytest.fixture(scope="session")
def sandbox():
    """The servers.  PostgreSQL is up; broker and redis bring up theirs.

    With TOCSIN_SANDBOX=DIR that sandbox is used, and left up."""
    servers = harness.Sandbox(os.environ.get("TOCSIN_SANDBOX"))
    servers.up("postgresql")
    homes.append(servers)
    yield servers
    homes.clear()
    servers.down()


numbers = itertools.count(1)


@pytest.fixture
def db(sandbox):
    """A fresh database."""
    database = harness.Database(sandbox, f"test_{os.getpid()}_{next(numbers)}")
    yield database
    database.drop()


@pytest.fixture
def broker(sandbox):
    """A fresh virtual host of RabbitMQ."""
    return harness.Broker(sandbox)


@pytest.fixture(scope="session")
def shared_broker(sandbox):
    """A virtual host for many tests, each with a queue of its own: much cheaper."""
    return harness.Broker(sandbox)


@pytest.fixture
def redis(sandbox):
    """Redis, empty."""
    return harness.Redis(sandbox)


@pytest.fixture
def tocsin(request, tmp_path):
    """The program, in an environment with the servers that the test asks for."""
    env = {}
    for name in ("db", "broker", "redis"):
        if name in request.fixturenames:
            env.update(request.getfixturevalue(name).env)
    runner = harness.Tocsin(tmp_path, env)
    if request.node.get_closest_marker("commands"):
        runner.short_commands = None
    yield runner
    runner.end()


@pytest.fixture
def failpoints():
    """Skip where the program was built without them."""
    with open(harness.program(), "rb") as file:
        if b"TOCSIN_FAILPOINT" not in file.read():
            pytest.skip("built without --enable-failpoints")


@pytest.fixture(autouse=True)
def nothing_left():
    """No process that a test has started may outlive it."""
    before = harness.descendants()
    yield

    def left():
        return harness.leftovers(before, [h for servers in homes for h in servers.homes()])
    try:
        harness.wait_for(lambda: not left(), timeout=5)
    except AssertionError:
        pids = left()
        names = [harness.describe(pid) for pid in pids]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if names:
            pytest.fail("left behind:\n" + "\n".join(names), pytrace=False)


def pytest_generate_tests(metafunc):
    """What is marked both_transports runs locally, and over AMQP too."""
    if ("cycles" in metafunc.fixturenames
            and metafunc.definition.get_closest_marker("both_transports")):
        metafunc.parametrize("cycles", ["local", "amqp"], indirect=True)


@pytest.fixture
def cycles(request, db, tocsin, tmp_path):
    """The program and fresh books; see cycles.py."""
    from cycles import Cycles, CyclesOverAmqp
    if getattr(request, "param", "local") == "local":
        return Cycles(tocsin, db, tmp_path)
    return CyclesOverAmqp(tocsin, db, tmp_path, request.getfixturevalue("shared_broker"))
