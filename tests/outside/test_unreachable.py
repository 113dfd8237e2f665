"""Servers that cannot be reached: exit status 75 in time, and one clear line.

A port at which nobody listens refuses at once.  A black hole is worse: a
listener that accepts and never answers, as a machine that hangs, or one whose
packets are dropped on the way.
"""

import contextlib
import socket

import pytest

from harness import definitions
from invariants import books  # noqa: F401

# connect_timeout is in whole seconds for libpq, and 2 is its least.
ENV = {"TOCSIN_CONNECT_TIMEOUT": "2s"}

GRAPH = """
    [variables.v]
    sql = "select 1"
    [evidences.e]
    definition = "v == 1"
    [events.a]
    definition = "e"
    """

# Every command that needs the books.
COMMANDS = [["init"], ["load", "definitions.toml"], ["cycle"], ["cycle", "--wait"],
            ["cycle", "--local"], ["status"], ["status", "--json"], ["show", "v"],
            ["explain", "a"], ["graph"], ["prune"]]


@pytest.fixture
def closed():
    """A port at which nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def hole():
    """A port at which connections are accepted, by the kernel, and that is all."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


@pytest.fixture
def silence():
    """A port that does not even answer a SYN: its queue of connections is full."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def is_one_line(process, *words):
    """It has ended with 75 and one line that says all WORDS."""
    assert process.wait(30) == 75, process
    assert not process.stdout and len(process.stderr.splitlines()) == 1, process
    for word in words:
        assert word in process.stderr, process


def all_are_refused(tocsin, tmp_path, port, *words):
    definitions(tmp_path, GRAPH)
    env = {**ENV, "PGHOST": "127.0.0.1", "PGPORT": port}
    for process in [tocsin.spawn(*command, env=env) for command in COMMANDS]:
        is_one_line(process, "cannot connect to PostgreSQL", *words)


def test_a_database_that_refuses_is_status_75(tocsin, tmp_path, closed):
    all_are_refused(tocsin, tmp_path, closed, f"port {closed}", "Connection refused")


def test_a_database_that_never_answers_is_status_75(tocsin, tmp_path, hole):
    all_are_refused(tocsin, tmp_path, hole, f"port {hole}", "timeout expired")


def test_a_database_behind_a_black_hole_is_status_75(tocsin, tmp_path, silence):
    all_are_refused(tocsin, tmp_path, silence, f"port {silence}", "timeout expired")


@pytest.mark.parametrize("where, words", [("closed", "Connection refused"),
                                          ("hole", "not ready within 2s; it was connected"),
                                          ("silence", "not ready within 2s; it was connecting")])
def test_a_broker_that_cannot_be_reached_is_status_75(
        request, cycles, books, where, words):  # noqa: F811
    port = request.getfixturevalue(where)
    cycles.load(GRAPH)
    books.open_runs = True
    env = {**ENV, "TOCSIN_BROKER_URL": f"amqp://guest:canary-4711@127.0.0.1:{port}//"}
    agent = cycles.tocsin.spawn("cycle", env=env)
    is_one_line(agent, f"broker 127.0.0.1:{port}", words, "cycle 1 is in the books")
    assert "canary" not in agent.stderr
    assert cycles.state() == "CREATED"


@pytest.mark.parametrize("where", ["closed", "hole", "silence"])
def test_a_worker_waits_for_them_and_can_be_stopped_meanwhile(request, cycles, where):
    port = request.getfixturevalue(where)
    no_broker = {"TOCSIN_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{port}//"}
    no_books = {"PGHOST": "127.0.0.1", "PGPORT": port}
    started = [(cycles.tocsin.spawn("worker", env={**ENV, **env}), text) for env, text in (
        (no_broker, "the broker cannot be used.*failures=2"),
        (no_books, "the books cannot be used.*failures=2"))]
    for worker, text in started:
        worker.wait_for(text, 20)
        assert worker.stop() == 0


def test_a_worker_that_looks_for_its_books_stops_at_once(tocsin):
    """However long it may wait for a server that is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        worker = tocsin.spawn("worker", env={"TOCSIN_CONNECT_TIMEOUT": "1h", "PGHOST": "127.0.0.1",
                                             "PGPORT": server.getsockname()[1]})
        server.settimeout(20)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1)		# it has said who it is, and waits
            assert worker.stop() == 0
