"""F-F10: every secret is a canary, and the canary is looked for wherever something
comes out: what is printed and logged, what errors say, the books, the messages, and
what the system shows of our processes.

The servers really ask for the passwords.  What somebody's own query or command
returns as a value is data, and what pass_environment names is passed on because
somebody wanted it.
"""

import base64
import os
import re
import signal
from pathlib import Path
from urllib.parse import quote

import amqp
import pytest

import harness
from cycles import QUICK
from harness import Tocsin, definitions, wait_for
from invariants import books  # noqa: F401

WORD = "c4nary"			# in all of them
DATABASE, MEASURING, BROKER, REDIS, RESULTS, LIBPQ = (
    f"{WORD}-{name}@/ %'\"x" for name in ("db", "measure", "broker", "redis", "results", "libpq"))
# what a URL, a shell's dump or a protocol may have made of it
DISGUISES = re.compile("|".join([WORD, WORD.encode().hex(), "%63%34", *(
    base64.b64encode(b"x" * n + WORD.encode()).decode()[4 if n else 0:8] for n in range(3))]), re.I)


def coded(secret):
    """As a part of an address."""
    return quote(secret, safe="")


@pytest.fixture
def scram(db):
    """Two roles of whom PostgreSQL wants their passwords, over TCP.

    (At the socket it trusts everybody, as the sandbox has it.)"""
    hba = Path(db.one("show hba_file"))
    before = hba.read_bytes()
    roles = {f"owner_{db.name}": DATABASE, f"looker_{db.name}": MEASURING}
    for role, password in roles.items():
        db.run(f"create role {role} superuser login password %s", password)
    hba.write_bytes("".join(f"host all {role} 127.0.0.1/32 scram-sha-256\n"
                            for role in roles).encode() + before)
    db.run("select pg_reload_conf()")
    wait_for(lambda: db.one("select count(*) from pg_hba_file_rules where user_name && %s",
                            list(roles)) == 2)

    def url(role, password=None):
        name = f"{role}_{db.name}"
        return (f"postgresql://{name}:{quote(password or roles[name], safe='')}"
                f"@127.0.0.1:{db.env['PGPORT']}/{db.name}")

    wait_for(lambda: refused(url("owner", "wrong")))
    yield url
    hba.write_bytes(before)
    db.run("select pg_reload_conf()")
    for role in roles:
        db.run(f"reassign owned by {role} to postgres; drop owned by {role}; drop role {role}")


def refused(url):
    import psycopg2
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError as error:
        return "password authentication failed" in str(error)


@pytest.fixture
def rabbit(broker):
    """A user of the broker with a password of his own: rabbit(password) is his URL."""
    name = f"canary-{os.getpid()}"
    broker.sandbox.rabbitmqctl("add_user", name, BROKER)
    broker.sandbox.rabbitmqctl("set_permissions", "-p", broker.vhost, name, ".*", ".*", ".*")
    yield lambda password=BROKER: broker.url.replace(
        "guest:guest", f"{name}:{quote(password, safe='')}")
    broker.sandbox.rabbitmqctl("delete_user", name)


def commands_of(worker):
    """pid -> environment of what the worker has started, its own processes not."""
    found = {}
    for pid, _ in harness.descendants():
        try:
            if os.readlink(f"/proc/{pid}/exe") != os.path.realpath(harness.program()):
                found[pid] = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
    return {pid: env for pid, env in found.items() if "TOCSIN_JOB=" in env}


class Nose:
    """Smells at texts; at the end it must have smelt many, and no canary."""

    def __init__(self):
        self.smelt = 0

    def __call__(self, what, text):
        self.smelt += 1
        found = DISGUISES.search(text)
        assert not found, f"{what}: ...{text[max(0, found.start() - 200):found.end() + 100]}..."


def test_F_F10_secrets(db, broker, scram, rabbit, tmp_path):
    nose = Nose()
    gate, leak = tmp_path / "gate", tmp_path / "leak"
    leak.write_text(f"{DATABASE} {quote(DATABASE, safe='')} {BROKER} {REDIS} {RESULTS} {LIBPQ} {MEASURING}")
    secret = tmp_path / "database_url"
    secret.write_text(scram("owner") + "\n")
    secret.chmod(0o600)
    clocks = "".join(f'{key[7:].lower()} = "{value}"\n' for key, value in QUICK.items())
    settings = clocks + (f'broker_url = "{rabbit()}"\nredis_url = "redis://:{coded(REDIS)}@127.0.0.1:1/0"\n'
                         'pass_environment = ["WANTED"]\nlog_level = "debug"\n')
    config = tmp_path / "tocsin.toml"
    config.write_text(settings)
    config.chmod(0o600)
    tocsin = Tocsin(tmp_path, {
        "TOCSIN_DATABASE_URL_FILE": str(secret), "TOCSIN_MEASURING_URL": scram("looker"),
        "TOCSIN_RESULT_BACKEND": f"redis://:{coded(RESULTS)}@127.0.0.1:1/1", "PGPASSWORD": LIBPQ,
        "WANTED": "as you wish", "TOCSIN_CONFIG": str(config)})

    def run(*args, **options):
        r = tocsin(*args, **options)
        nose(r.command, r.stdout + r.stderr)
        return r

    try:
        run("init")
        db.run("create table vault as select %s as secret", " ".join([DATABASE, MEASURING, BROKER]))
        run("load", definitions(tmp_path, f"""
            [variables]
            fine.sql = "select 1"
            told.sql = "select secret::int from vault"
            shouted.shell = "cat {leak} >&2; exit 3"
            quoted.shell = "sed 's/./\\\\\\\\&/g' {leak} >&2; exit 3"
            around.shell = "env; ps -ef; ulimit -c; while [ ! -e {gate} ]; do sleep 0.05; done"
            far.sql = "select 2"
            far.queue = "nobodys"
            [evidences]
            e.definition = "fine == 1 and told is None and shouted is None and quoted is None"
            f.definition = "int(around) == 1"
            g.definition = "far == 2"
            h.definition = "fine == 2"
            [events]
            v.definition = "e"
            w.definition = "f"
            x.definition = "g"
            y.definition = "h"
            x.agent = "far"
            [reactions]
            shouts = {{ events = ["v"], command = "cat {leak} >&2; exit 1" }}
            notes = {{ events = ["v"], notify = "canary_free" }}
            """))
        worker = tocsin.spawn("worker", "--executors", "sql,shell", "--processes", 2,
                              env={"TOCSIN_DELIVERY_BACKOFF": "100ms", "TOCSIN_DELIVERY_ATTEMPTS": "2"})
        worker.wait_for("worker is ready(.|\n)*worker is ready", 40)
        agent = tocsin.spawn("cycle", "--wait")

        # what the system shows, while a command runs
        running = wait_for(lambda: commands_of(worker), 30)
        for pid, environment in running.items():
            nose(f"environment of {pid}", environment)
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M), limits
        assert any("WANTED=as you wish" in environment for environment in running.values())
        for pid, _ in harness.descendants():
            nose(f"command line of {pid}", harness.describe(pid))
        for row in db.all("select application_name || query from pg_stat_activity"):
            nose("pg_stat_activity", row)
        for args in ["status", "--json"], ["doctor"]:
            run(*args, status=None)

        # settings read again: wrong ones, and others that wait for a restart
        config.write_text(settings + f'redis_url = "redis://:{coded(REDIS)}@127.0.0.1:1/0"\n')
        worker.signal(signal.SIGHUP)
        worker.wait_for("the settings are wrong, the old ones stay")
        config.write_text(settings.replace("127.0.0.1:1/0", "127.0.0.1:2/0"))
        worker.signal(signal.SIGHUP)
        worker.wait_for("wait for a restart")
        gate.touch()
        assert agent.wait(60) == 1
        wait_for(lambda: sorted(db.all("select state from tocsin.delivery")) == ["delivered", "failed"], 30)

        # messages: one that nobody takes, and one that nobody understands
        run("cycle", "--agent", "far")
        with broker.connect() as connection:
            channel = connection.channel()
            channel.basic_publish(amqp.Message("nonsense"), routing_key="tocsin")
            for queue in "nobodys", "tocsin.parked":
                message = wait_for(lambda: broker.depth(queue) and channel.basic_get(queue, no_ack=True))
                nose(queue, f"{message.body} {message.properties} {message.headers}")

        # servers that refuse, for commands and for a worker
        wrong = {"TOCSIN_DATABASE_URL_FILE": None,
                 "TOCSIN_DATABASE_URL": scram("owner", "wrong-" + DATABASE)}
        for args in ["status"], ["cycle", "--local"], ["doctor"], ["status", "--check"]:
            r = run(*args, env=wrong, status=None)
            assert r.status in (3, 75), r
            assert "password authentication failed" in r.stdout + r.stderr, r
        unwelcome = {"TOCSIN_BROKER_URL": rabbit("wrong-" + BROKER), "TOCSIN_CONFIG": "/dev/null"}
        for args in ["cycle", "--event", "v"], ["doctor"]:
            run(*args, env=unwelcome, status=None)
        for env in wrong, unwelcome:
            waiting = tocsin.spawn("worker", env={**env, "TOCSIN_LOG_LEVEL": "debug"})
            waiting.wait_for("password authentication failed|ACCESS_REFUSED|refused")
            waiting.stop()
        # what the agent could not send, the worker has
        wait_for(lambda: not db.one("select count(*) from tocsin.run"
                                    " where agent = 'default' and finished_at is null"), 30)
        run("cycle", "--local", "--event", "y", status=1,
            env={"TOCSIN_MEASURING_URL": scram("looker", "wrong-" + MEASURING)})
        cycle = db.one("select max(id) from tocsin.run")
        assert "password authentication failed" in db.one(
            "select error from tocsin.job where run_id = %s and name = 'fine'", cycle)
        far = tocsin.spawn("worker", "-Q", "nobodys")
        wait_for(lambda: not db.one("select count(*) from tocsin.run where finished_at is null"), 30)
        assert far.stop() == 0 and worker.stop() == 0

        for args in (["settings"], ["settings", "--json"], ["status", "1"], ["status", "1", "--json"],
                     ["status", cycle, "--json"], ["explain", "v"], ["explain", "v", "--json"],
                     ["show", "told"], ["show", "shouts", "--json"], ["show", "around"],
                     ["graph", "--cycle", "1"], ["doctor", "--json"]):
            run(*args, status=None)

        # the books, to the last column of the last row
        for table in db.all("select format('%I.%I', schemaname, tablename) from pg_tables"
                            " where schemaname = 'tocsin'"):
            for row in db.all(f"select t::text from {table} t"):
                nose(table, row)
        errors = db.all("select error from tocsin.job where state = 'failed'"
                        " union all select error from tocsin.delivery where state = 'failed'")
        assert len([error for error in errors if "***" in error]) >= 4, errors
    finally:
        tocsin.end()
    for spawned in tocsin.spawned:
        nose(spawned.name, spawned.stdout + spawned.stderr)
    assert nose.smelt > 100
    # and the nose works
    for disguised in (DATABASE, quote(DATABASE), base64.b64encode(f"\0u\0{BROKER}".encode()).decode(),
                      LIBPQ.encode().hex(), base64.b64encode(f"ab{REDIS}".encode()).decode()):
        assert DISGUISES.search(disguised), disguised
