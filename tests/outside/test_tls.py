"""Agent and workers over TLS, with certificates of a private authority."""

import pytest

from certificates import certificates  # noqa: F401
from cycles import QUICK
from invariants import books  # noqa: F401

GRAPH = """
    [variables]
    a.sql = "select 1"
    b.shell = "echo 2"
    [evidences]
    ab.definition = "a + b == 3"
    [events]
    e.definition = "ab"
    """


@pytest.fixture
def tls(sandbox, broker, certificates):  # noqa: F811
    """tls("good") makes both servers show that certificate; tls.env leads there."""
    def show(name, *services):
        for service in services or ("postgresql", "rabbitmq"):
            sandbox.tls(service, certificates, name)
    show("good")
    show.env = {**QUICK, "PGHOST": "localhost", "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": certificates / "ca.pem",
                "TOCSIN_BROKER_CA": certificates / "ca.pem",
                "TOCSIN_BROKER_URL": sandbox.env["TOCSIN_TLS_BROKER_URL"].replace(
                    "%2F", broker.vhost)}
    yield show


def test_a_cycle_over_tls_is_done_and_all_connections_are_tls(cycles, tls, db, broker):
    cycles.load(GRAPH)
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell", env=tls.env)
    worker.wait_for("worker is ready", 20)
    assert "DONE" in cycles.tocsin("cycle", "--wait", env=tls.env).stdout
    assert cycles.signals() == {"e": "raise"}
    assert set(db.all("select ssl from pg_stat_ssl join pg_stat_activity using (pid)"
                      " where datname = current_database() and client_addr is not null")) == {True}
    lines = broker.sandbox.rabbitmqctl("list_connections", "vhost", "ssl").splitlines()
    assert lines.count(f"{broker.vhost}\ttrue") == 2
    assert f"{broker.vhost}\tfalse" not in lines
    assert worker.stop() == 0


@pytest.mark.parametrize("name, ca, words", [
    ("expired", "ca.pem", "certificate verify failed"),
    ("elsewhere", "ca.pem", 'does not match host name "localhost"'),
    ("good", "other.pem", "certificate verify failed")])
def test_a_database_that_cannot_be_trusted_is_refused(cycles, tls, certificates,  # noqa: F811
                                                      name, ca, words):
    cycles.load(GRAPH)
    tls(name, "postgresql")
    env = {**tls.env, "PGSSLROOTCERT": certificates / ca}
    worker = cycles.tocsin.spawn("worker", env=env)
    for command in "init", "cycle", "status":
        refused = cycles.tocsin(command, env=env, status=75)
        assert len(refused.stderr.splitlines()) == 1 and words in refused.stderr, refused
        assert not refused.stdout
    worker.wait_for(f"the books cannot be used.*{words.split(' ')[0]}")
    assert worker.stop() == 0
    assert cycles.last() is None


def test_a_broker_of_an_unknown_authority_is_refused(cycles, tls, certificates,  # noqa: F811
                                                     books):  # noqa: F811
    """Of expired and foreign certificates F-B19 tells."""
    cycles.load(GRAPH)
    books.open_runs = True
    env = {**tls.env, "TOCSIN_BROKER_CA": certificates / "other.pem"}
    worker = cycles.tocsin.spawn("worker", env=env)
    refused = cycles.tocsin("cycle", env=env, status=75)
    assert len(refused.stderr.splitlines()) == 1, refused
    assert "its certificate is not accepted: unable to get local issuer" in refused.stderr
    worker.wait_for("broker cannot be used.*unable to get local issuer")
    assert cycles.state() == "CREATED"


def test_a_file_of_authorities_that_is_not_there_is_named(cycles, tls, books):  # noqa: F811
    cycles.load(GRAPH)
    books.open_runs = True
    refused = cycles.tocsin("cycle", env={**tls.env, "TOCSIN_BROKER_CA": "/nowhere/ca.pem"},
                            status=75)
    assert "cannot use the CA file /nowhere/ca.pem" in refused.stderr.splitlines()[-1]
    text = cycles.tocsin("cycle", env={**tls.env, "TOCSIN_BROKER_CA": "ca.pem"}, status=78).stderr
    assert "not an absolute path" in text
