"""A row of the fault matrix that takes three brokers: a network that falls apart.

The queue is a quorum queue, so that the side of the many goes on, and what the
side of the few has taken alone is confirmed to nobody.
"""

import subprocess

import pytest

from brokers import Brokers, Network
from cycles import Cycles
from harness import Tocsin, wait_for
from invariants import books, check  # noqa: F401
from test_faults_wire import GATED, WIRE, Rows

QUEUE = {"durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}


@pytest.fixture
def network():
    tried = subprocess.run(["unshare", "--net", "true"], stderr=subprocess.PIPE, text=True)
    if tried.returncode:
        pytest.skip(f"no network may be made here: {tried.stderr.strip()}")
    with Network() as network:
        yield network


@pytest.fixture
def brokers(network):
    with Brokers(network) as brokers:
        yield brokers


@pytest.fixture
def rows(db, network, brokers, tmp_path):
    """Speak to the first broker, which comes to stand alone."""
    with network.entered():
        with brokers[0].connect() as connection:
            connection.channel().queue_declare("tocsin", **QUEUE)
        tocsin = Tocsin(tmp_path, {**db.env, **brokers[0].env})
        yield Rows(Cycles(tocsin, db, tmp_path), brokers[0], tmp_path)
        tocsin.end()
        with brokers[1].connect() as connection:
            connection.channel().queue_delete("tocsin")


def starts(node):
    return node.log().count("Server startup complete")


class Apart:
    """The first broker stands alone, and has understood it."""

    def __init__(self, network, node):
        self.network, self.node = network, node

    def understood(self):
        self.node.wait_for("Cluster minority", self.times)

    def __enter__(self):
        self.times = self.node.log().count("Cluster minority") + 1
        self.starts = starts(self.node)
        self.network.cut(0)
        return self

    def __exit__(self, *_):
        self.network.heal(0)
        self.node.wait_for("Server startup complete", self.starts + 1)


@pytest.mark.long
def test_F_B09_the_side_of_the_few(network, brokers, rows, tmp_path, record_property):
    """What it is given waits in the books, and is told of now and then; the side
    of the many goes on with it, and nothing is lost or done twice: L S."""
    rows.load(GATED)
    worker = rows.worker()
    rows.open_gate()
    with Apart(network, brokers[0]) as apart:
        # At first nobody knows, and the broker takes what it cannot confirm.
        agent = rows.tocsin("cycle", env=WIRE, status=75, timeout=60)
        assert "is in the books and will be sent" in agent.stderr.splitlines()[-1]
        apart.understood()
        told = worker.stderr.count("\n")
        worker.wait_for("(?s)(trying again.*){6}", 60)
        assert rows.cycles.state() == "CREATED"
        assert set(rows.cycles.jobs().values()) == {"queued", "waiting"}
        # Each connection by its own back-off.
        assert worker.stderr.count("\n") - told < 20, worker
    rows.is_done()

    # In the middle: v is measured on the side of the few.
    (tmp_path / "gate").unlink()
    rows.cycles.due_again()
    rows.tocsin("cycle", env=WIRE)
    wait_for(lambda: rows.ran() == {"v": 2, "w": 2}, 20)
    rows.cycles.wait_for_job("ew", "done")
    with Apart(network, brokers[0]) as apart:
        apart.understood()
        rows.open_gate()
        rows.cycles.wait_for_job("v", "done")
        other = rows.worker(env={**WIRE, **brokers[1].env})
        rows.broker = brokers[1]
        rows.is_done()
        rows.cycles.due_again()
        agent = rows.tocsin("cycle", "--wait", env={**WIRE, **brokers[2].env}, timeout=60)
        rows.is_done()

    rows.broker = brokers[0]
    rows.cycles.due_again()
    rows.tocsin("cycle", "--wait", env=WIRE, timeout=60)
    rows.is_done()
    assert rows.ran() == {"v": 4, "w": 4}
    assert rows.db.one("select max(attempts) from tocsin.job") == 1
    assert [worker.stop(), other.stop()] == [0, 0]
    record_property("times", 2)
