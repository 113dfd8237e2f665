"""tocsin doctor: what is wrong is found, and said with what to do about it."""

import pytest

from harness import definitions, wait_for

SHOP = """
    [variables.stock]
    sql = "select 7"
    [evidences.plenty]
    definition = "stock > 5"
    [events.full]
    definition = "plenty"
    interval = 0
    [reactions.tell]
    events = ["full"]
    notify = "shop"
    """


def findings(result, level=None):
    return [f for f in result.json() if level in (None, f["level"])]


def about(result, level, subject):
    found = [f for f in findings(result, level) if f["about"] == subject]
    assert found, f"nothing {level} about {subject}: {result}"
    return found


@pytest.fixture
def shop(db, broker, tocsin, tmp_path):
    tocsin("init")
    tocsin("load", definitions(tmp_path, SHOP))
    tocsin("cycle", "--local")
    return db


def test_where_all_is_well_nothing_is_wrong(shop, tocsin):
    result = tocsin("doctor", "--json")
    assert not findings(result, "FAILED")
    assert "all " in about(result, "ok", "invariants")[0]["finding"]
    plain = tocsin("doctor")
    assert "FAILED" not in plain.stdout and "ok       invariants: all" in plain.stdout


@pytest.mark.parametrize("damage, promise", [
    ("update tocsin.job set state = 'queued', finished_at = null, reason = null"
     " where name = 'plenty'", "a closed run has no open job"),
    ("delete from tocsin.history where kind = 'variable'", "history has what was done, once"),
    ("update tocsin.run set unsettled = 3", "a run counts its jobs"),
    ("delete from tocsin.delivery; delete from tocsin.signal",
     "an event's last action has its signal"),
    ("update tocsin.variable set value = '8'", "a standing value is that of the run"),
    ("delete from tocsin.delivery", "a signal has the deliveries that were planned"),
])
def test_a_breach_in_the_books_is_found(shop, tocsin, damage, promise):
    shop.run(damage)
    result = tocsin("doctor", "--json", status=1)
    assert any(f["finding"].startswith("not so: " + promise)
               for f in about(result, "FAILED", "invariants"))


def test_a_breach_in_an_older_cycle_is_found_when_it_is_asked_for(shop, tocsin):
    shop.run("update tocsin.run set unsettled = 3")
    for _ in range(2):
        tocsin("cycle", "--local")
    tocsin("doctor", "--cycles", 2)
    tocsin("doctor", "--cycles", 3, status=1)
    tocsin("doctor", "--all", status=1)


def test_books_that_are_not_there_are_a_matter_of_configuration(db, broker, tocsin):
    result = tocsin("doctor", "--json", status=78)
    assert "tocsin init" in about(result, "FAILED", "books")[0]["finding"]


@pytest.mark.parametrize("server, subject", [
    ("TOCSIN_DATABASE_URL=postgresql://127.0.0.1:1/none", "database"),
    ("TOCSIN_BROKER_URL=amqp://127.0.0.1:1/", "broker"),
])
def test_a_server_that_cannot_be_reached_is_said_and_the_rest_is_looked_at(
        shop, tocsin, server, subject):
    name, url = server.split("=")
    result = tocsin("doctor", "--json", env={name: url}, status=75)
    about(result, "FAILED", subject)
    about(result, "ok", "broker" if subject == "database" else "invariants")


def test_messages_without_a_worker_and_parked_ones_are_told(shop, broker, tocsin):
    tocsin("cycle", "--event", "full")
    result = tocsin("doctor", "--json")
    assert "tocsin worker -Q tocsin" in about(result, "warning", "broker")[0]["advice"]

    with broker.connect() as connection:
        import amqp
        connection.channel().basic_publish(amqp.Message("no task"), routing_key="tocsin")
    worker = tocsin.spawn("worker")
    wait_for(lambda: broker.depth("tocsin.parked") == 1)
    told = about(tocsin("doctor", "--json"), "warning", "broker")
    assert "could not be understood" in told[0]["finding"]
    worker.stop()


def test_a_role_that_may_do_more_than_measure_is_told(shop, tocsin):
    assert "superuser" in about(tocsin("doctor", "--json"), "warning", "measuring")[0]["finding"]
    shop.run("create role looker; create table ledger (n int);"
             " grant select, insert on ledger to looker")
    try:
        told = about(tocsin("doctor", "--json", env={"TOCSIN_MEASURING_ROLE": "looker"}),
                     "warning", "measuring")
        assert "ledger" in told[0]["finding"]
        shop.run("revoke insert on ledger from looker")
        about(tocsin("doctor", "--json", env={"TOCSIN_MEASURING_ROLE": "looker"}),
              "ok", "measuring")
    finally:
        shop.run("drop owned by looker; drop role looker")
