"""tocsin doctor: what is wrong is found, and said with what to do about it."""

import pytest

from harness import SOURCE, definitions, wait_for

pytestmark = pytest.mark.commands

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


def measuring(tocsin, **env):
    [told] = [f for f in findings(tocsin("doctor", "--json", env=env)) if f["about"] == "measuring"]
    return told["level"], told["finding"]


def test_a_role_that_may_do_more_than_measure_is_told(shop, tocsin, request):
    login = f"looker_{shop.name}"
    url = {"TOCSIN_MEASURING_URL": f"user={login} dbname={shop.name} host={shop.env['PGHOST']}"}
    assert measuring(tocsin) == ("warning", "user SQL runs as postgres, which is a superuser")
    shop.run(f"create role {login} login; create role other_{shop.name}; create schema attic;"
             f" create table ledger (n int, m int); create sequence attic.counter;"
             f" create view seen as select * from ledger;"
             f" grant select on ledger to {login}; grant usage on schema attic to {login}")
    try:
        well = ("ok", f"user SQL runs as {login}, which may only read")
        assert measuring(tocsin, **url) == well
        for grant, take, said in GRANTS:
            names = {"login": login, "other": f"other_{shop.name}", "database": shop.name}
            shop.run(grant.format(**names))
            level, finding = measuring(tocsin, **url)
            assert (level, finding) == ("warning", f"user SQL runs as {login}, which "
                                        + said.format(**names)), grant
            shop.run(take.format(**names))
            assert measuring(tocsin, **url) == well, take
    finally:
        shop.run(f"drop owned by {login}, other_{shop.name}; drop role {login}, other_{shop.name}")


GRANTS = [
    ("grant insert on ledger to {login}", "revoke insert on ledger from {login}",
     "may write to table ledger"),
    ("grant update (m) on ledger, seen to {login}", "revoke update (m) on ledger, seen from {login}",
     "may write to table ledger and 1 more"),
    ("grant delete on ledger to {other}; grant {other} to {login}; alter role {login} noinherit",
     "revoke {other} from {login}; alter role {login} inherit; revoke delete on ledger from {other}",
     "may write to table ledger"),
    ("alter role {login} createdb bypassrls", "alter role {login} nocreatedb nobypassrls",
     "has the attribute bypassrls and 1 more"),
    ("grant pg_read_server_files to {login}", "revoke pg_read_server_files from {login}",
     "is a member of pg_read_server_files"),
    ("grant postgres to {login}", "revoke postgres from {login}",
     "can become a superuser postgres"),
    ("grant create on schema attic to {login}; grant create on database {database} to {login}",
     "revoke create on schema attic from {login}; revoke create on database {database} from {login}",
     "may create in database {database}; may create in schema attic"),
    ("grant usage on sequence attic.counter to {login}",
     "revoke usage on sequence attic.counter from {login}", "may draw from sequence attic.counter"),
    ("create function attic.wipe() returns void language sql security definer as 'delete from ledger'",
     "drop function attic.wipe()", "may call, as its owner, function attic.wipe()"),
]


def test_a_session_that_can_change_back_to_more_is_told(shop, tocsin):
    shop.run(f"create role looker_{shop.name}")
    try:
        level, finding = measuring(tocsin, TOCSIN_MEASURING_ROLE=f"looker_{shop.name}")
        assert level == "warning"
        assert finding == (f"user SQL runs as looker_{shop.name}, but can change back to postgres,"
                           " which can become a superuser postgres")
    finally:
        shop.run(f"drop role looker_{shop.name}")


@pytest.mark.parametrize("url, told", [
    ("host=db.invalid dbname=x", "db.invalid, sslmode=prefer"),
    ("postgresql://db.invalid/x?sslmode=require", "db.invalid, sslmode=require"),
    ("host=/tmp,db.invalid sslmode=verify-ca", "/tmp,db.invalid, sslmode=verify-ca"),
    ("host=db.invalid hostaddr=192.0.2.1", "192.0.2.1, sslmode=prefer"),
    ("host=db.invalid sslmode=verify-full sslrootcert=system", None),
    ("host=127.0.0.1 port=1", None), ("host=localhost,::1 port=1", None), ("host=/nowhere", None),
])
def test_a_server_whose_identity_nobody_verifies_is_told(tocsin, url, told):
    """By the worker, once, at its start; and by doctor."""
    quick = {"TOCSIN_CONNECT_TIMEOUT": "1s", "TOCSIN_BROKER_URL": "amqp://127.0.0.1:1/"}
    worker = tocsin.spawn("worker", "--processes", 2, env={**quick, "TOCSIN_DATABASE_URL": url})
    worker.wait_for("the books cannot be used", 20)
    assert worker.stop() == 0
    warned = [line for line in worker.stderr.splitlines() if "the right server" in line]
    assert len(warned) == (1 if told else 0), worker
    assert not told or (told in warned[0] and "database_url" in warned[0]), warned
    if told:
        return
    found = findings(tocsin("doctor", "--json", env={**quick, "TOCSIN_DATABASE_URL": url}, status=None))
    assert not [f for f in found if "right server" in f["finding"]]


def test_doctor_tells_of_a_measuring_server_that_nobody_verifies(shop, tocsin):
    result = tocsin("doctor", "--json", status=75, env={
        "TOCSIN_CONNECT_TIMEOUT": "1s", "TOCSIN_MEASURING_URL": "host=192.0.2.1 dbname=x"})
    [told] = [f for f in about(result, "warning", "measuring") if "right server" in f["finding"]]
    assert "192.0.2.1, sslmode=prefer" in told["finding"]
    assert "sslmode=verify-full" in told["advice"] and "measuring_url" in told["advice"]


def test_nothing_turns_verification_off_without_saying_insecure(tocsin):
    names = [line.split(" = ")[0] for line in tocsin("settings").lines if " = " in line]
    assert "broker_ca" in names
    assert not [name for name in names if "verif" in name and "insecure" not in name]
    for word in ["verify=verify_none", "verify=none", "ssl_options.verify=verify_none"]:
        r = tocsin("doctor", env={"TOCSIN_BROKER_URL": f"amqps://127.0.0.1:1/?{word}"}, status=None)
        assert r.status in (75, 78) and "not known here" in r.stdout, r
    for path in (SOURCE / "src").rglob("*.c"):
        for line in path.read_text().splitlines():
            assert "SSL_VERIFY_NONE" not in line or "insecure" in line, (path, line)
