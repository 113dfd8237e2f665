"""What the outside tests stand on: servers, databases, and the program itself.

The program is met as a user meets it: a command with arguments, an environment
and a terminal's worth of output.  Nothing here knows what is inside.  Nothing
waits for time either; wait_for() waits for a condition.

conftest.py hands these out as fixtures:

    def test_an_event_raises_once(tmp_path, db, broker, tocsin):
        tocsin("init")
        tocsin("load", definitions(tmp_path, '''...'''))
        worker = tocsin.spawn("worker", "-c", 4)
        tocsin("cycle", "--wait", timeout=30)
        wait_for(lambda: db.one("select count(*) from tocsin.signal") == 1)
        worker.stop()
"""

import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

import psycopg2

SOURCE = Path(__file__).resolve().parents[2]
CONTRIB_SANDBOX = SOURCE / "contrib" / "sandbox"

# What a test's program sees of our own environment.  Sanitizers are told what
# to do by the environment, and must be, wherever the program runs.
PASSED_ON = re.compile(r"^(PATH|TMPDIR|(A|L|M|T|UB)SAN_(OPTIONS|SYMBOLIZER_PATH))$")

# A program that a sanitizer has stopped may still look like one that failed
# for good reasons.
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|: runtime error: ")


def wait_for(condition, timeout=10, message="the condition did not come true"):
    """Wait until CONDITION() is true, and return what it returned.

    MESSAGE, a text or a function that makes one, says what was awaited."""
    limit = time.monotonic() + timeout
    pause = 0.005
    while not (result := condition()):
        if time.monotonic() > limit:
            raise AssertionError(
                f"waited {timeout} s: {message() if callable(message) else message}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return result


def definitions(directory, text, name="definitions.toml"):
    """Write a file of definitions, and return its path."""
    path = Path(directory) / name
    path.write_text(textwrap.dedent(text))
    return path


# Servers


vhost_numbers = itertools.count()


class Sandbox:
    """contrib/sandbox in a directory of its own, or in one that is there.

    DURABLE servers wait for the disk, which only a measurement wants."""

    def __init__(self, directory=None, durable=False):
        self.durable = durable and directory is None
        self.borrowed = directory is not None
        self.parent = None if self.borrowed else tempfile.mkdtemp(prefix="tocsin-test.")
        # root's servers run as other users, who must come through
        if self.parent:
            os.chmod(self.parent, 0o755)
        self.directory = directory or os.path.join(self.parent, "sandbox")
        self._env = None
        self._vhosts = []
        self._vhosts_made = []
        self._shown = {}		# service -> certificate

    def _call(self, verb, *args, check=True):
        options = [arg for arg in args if arg == "--durable"]
        args = [arg for arg in args if arg != "--durable"]
        done = subprocess.run(
            [CONTRIB_SANDBOX, verb, *options, self.directory, *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180)
        if done.returncode and check:
            raise AssertionError(f"sandbox {verb} {' '.join(args)}: status {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout

    def up(self, *services):
        self._call(*["up", "--durable"] if self.durable else ["up"], *services)
        self._env = None

    def start(self, service):
        self._call("start", service)

    def stop(self, service):
        self._call("stop", service)

    def kill(self, service):
        self._call("kill", service)

    def tls(self, service, directory, name):
        """Let it show the certificate NAME from now on; see certificates.py."""
        if self._shown.get(service) == directory / name:
            return
        self._call("tls", service, str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
        self._shown[service] = directory / name
        self._env = None

    def rabbitmqctl(self, *args):
        return self._call("rabbitmqctl", "-q", *args)

    def pid(self, service):
        """The server's pid, for SIGSTOP and SIGCONT."""
        status = self._call("status", check=False)
        return int(re.search(rf"^{service} is up: pid (\d+)", status, re.M).group(1))

    @property
    def env(self):
        """The variables that programs need: PGHOST, TOCSIN_BROKER_URL, ..."""
        if self._env is None:
            lines = self._call("env").splitlines()
            self._env = dict(re.match(r"export (\w+)='(.*)'$", line).groups() for line in lines)
        return self._env

    def homes(self):
        """Where the servers work; by that their processes are known."""
        return [os.path.realpath(os.path.join(self.directory, service))
                for service in ("postgresql", "rabbitmq", "redis")]

    def take_vhost(self):
        """A virtual host that nobody has used.  They are made in batches, for
        each call of rabbitmqctl costs most of a second."""
        if not self._vhosts:
            self._vhosts = [f"test-{os.getpid()}-{next(vhost_numbers)}" for _ in range(8)]
            self._vhosts_made += self._vhosts
            self._eval(f'rabbit_vhost:add(<<"{vhost}">>, <<"test">>), '
                       f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{vhost}">>, '
                       '<<".*">>, <<".*">>, <<".*">>, <<"test">>)' for vhost in self._vhosts)
        return self._vhosts.pop(0)

    def lost_vhosts(self, but):
        """The broker has none any more, BUT this one."""
        self._vhosts, self._vhosts_made = [], [but]

    def _eval(self, calls):
        self.rabbitmqctl("eval", ", ".join(calls) + ".")

    def down(self):
        if not self.borrowed:
            self._call("down")
            shutil.rmtree(self.parent)
        elif self._vhosts_made:
            self._eval(f'rabbit_vhost:delete(<<"{vhost}">>, <<"test">>)'
                       for vhost in self._vhosts_made)


class Database:
    """A fresh database: db.one("select ...", x), db.all(...), db.run(...).

    Or a copy of TEMPLATE, which nobody may be connected with."""

    def __init__(self, sandbox, name, template="template1"):
        self.sandbox = sandbox
        self.name = name
        self._connection = None
        self._as_owner(f"create database {name} template {template} strategy file_copy")
        self.env = {**{k: v for k, v in sandbox.env.items() if k.startswith("PG")},
                    "PGDATABASE": name}

    def connect(self, database=None, **options):
        """Another connection, autocommit, for a test that needs two."""
        env = self.sandbox.env
        connection = psycopg2.connect(
            host=env["PGHOST"], port=env["PGPORT"], user=env["PGUSER"],
            dbname=database or self.name, connect_timeout=10, **options)
        connection.autocommit = True
        return connection

    def _as_owner(self, sql):
        try:
            connection = self.connect(self.sandbox.env["PGDATABASE"])
        except psycopg2.OperationalError:
            # stopped or killed by a test that did not start it again
            self.sandbox.up("postgresql")
            connection = self.connect(self.sandbox.env["PGDATABASE"])
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()

    def run(self, sql, *args):
        """Execute, and return the cursor.  A server that was killed since the
        last time has closed our connection; then we take another."""
        if self._connection is not None and self._connection.closed:
            self._connection = None
        fresh = self._connection is None
        if fresh:
            self._connection = self.connect()
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, args or None)
        except psycopg2.DatabaseError as error:
            # of one that went down at once the driver may not know that it is closed
            lost = self._connection.closed or "server closed the connection" in str(error)
            if fresh or not lost:
                raise
            self._connection = None
            return self.run(sql, *args)
        return cursor

    def all(self, sql, *args):
        """The rows: tuples, or plain values if there is one column."""
        rows = self.run(sql, *args).fetchall()
        return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows

    def one(self, sql, *args):
        """The only row, or the only value of it; None if there is no row."""
        rows = self.all(sql, *args)
        assert len(rows) <= 1, f"{len(rows)} rows: {sql}"
        return rows[0] if rows else None

    def drop(self):
        if self._connection is not None:
            self._connection.close()
        self._as_owner(f"drop database if exists {self.name} with (force)")


class Broker:
    """A virtual host of RabbitMQ for each test."""

    def __init__(self, sandbox):
        sandbox.up("rabbitmq")
        self.sandbox = sandbox
        self.vhost = sandbox.take_vhost()
        self.url = sandbox.env["TOCSIN_BROKER_URL"].replace("%2F", self.vhost)
        self.env = {"TOCSIN_BROKER_URL": self.url}

    def connect(self):
        """A connection of py-amqp."""
        import amqp
        host, port = re.search(r"@([^:/]+):(\d+)/", self.url).groups()
        # A broker that holds a fast publisher up for a second has not died.
        patience = {socket.TCP_USER_TIMEOUT: 60000}
        connection = amqp.Connection(host=f"{host}:{port}", userid="guest", password="guest",
                                     virtual_host=self.vhost, socket_settings=patience)
        connection.connect()
        return connection

    def depth(self, queue):
        """How many messages are ready in QUEUE; None if there is no such queue."""
        import amqp
        with self.connect() as connection:
            try:
                return connection.channel().queue_declare(queue, passive=True).message_count
            except amqp.exceptions.NotFound:
                return None


class Redis:
    """The sandbox's Redis, emptied for each test."""

    def __init__(self, sandbox):
        sandbox.up("redis")
        self.url = sandbox.env["TOCSIN_REDIS_URL"]
        self.env = {"TOCSIN_REDIS_URL": self.url}
        self.cli("flushall")

    def cli(self, *args):
        """What redis-cli prints."""
        done = subprocess.run(["redis-cli", "-e", "-u", self.url, *map(str, args)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()


# The program


def program():
    """$TOCSIN, or the one that was built in the source tree."""
    path = os.path.abspath(os.environ.get("TOCSIN") or SOURCE / "tocsin")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"there is no program {path}: build it, or set TOCSIN")
    return path


def tool(name):
    """A program of the tests: in $TOCSIN_TEST_BUILD, or beside the program."""
    build = os.environ.get("TOCSIN_TEST_BUILD") or os.path.dirname(program())
    path = os.path.join(os.path.abspath(build), "tests/outside", name)
    assert os.access(path, os.X_OK), f"there is no program {path}: make check builds it"
    return path


class Result:
    def __init__(self, command, status, stdout, stderr):
        self.command = command
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def json(self):
        return json.loads(self.stdout)

    @property
    def lines(self):
        return self.stdout.splitlines()

    def __repr__(self):
        return (f"{self.command}: status {self.status}\n"
                f"--- stdout\n{clip(self.stdout)}--- stderr\n{clip(self.stderr)}---")


def clip(text, limit=8000):
    if len(text) > limit:
        text = text[:limit // 2] + "\n[...]\n" + text[-limit // 2:]
    return text if not text or text.endswith("\n") else text + "\n"


def refuse_sanitizer(where, text):
    assert not SANITIZER.search(text), f"a sanitizer stopped {where}:\n{clip(text, 20000)}"


class Tocsin:
    """tocsin("cycle", "--local") runs the program to its end;
    tocsin.spawn("worker") starts one that goes on."""

    def __init__(self, directory, env):
        self.directory = Path(directory)
        self.env = {k: v for k, v in os.environ.items() if PASSED_ON.match(k)}
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        # A database that nobody has asked for must not be found by chance.
        self.env.update(HOME=str(home), LANG="C.UTF-8", TZ="UTC", PGHOST=str(home / "no-database"))
        self.env.update(env)
        self.short_commands = os.environ.get("TOCSIN_COMMANDS")
        self.spawned = []
        self._numbers = itertools.count()

    def _command(self, args, env, short=False):
        merged = {**self.env, **{k: str(v) for k, v in (env or {}).items() if v is not None}}
        for k, v in (env or {}).items():
            if v is None:
                merged.pop(k, None)
        path = self.short_commands if short and self.short_commands else program()
        return [path, *map(str, args)], merged

    def __call__(self, *args, env=None, input=None, timeout=60, status=0):
        """Run to the end.  STATUS is the exit status that is expected, None for
        any; ENV is added to the environment, and what is None there is taken away."""
        command, merged = self._command(args, env, short=True)
        # To look for leaks takes half the time of a short command, and nobody
        # minds those of a process that ends; daemons are looked at.
        merged["ASAN_OPTIONS"] = merged.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        name = " ".join(["tocsin", *command[1:]])
        # Files, not pipes: a pipe would also wait for whoever has inherited it.
        with tempfile.TemporaryFile("w+", errors="replace") as stdin, \
                tempfile.TemporaryFile("w+", errors="replace") as stdout, \
                tempfile.TemporaryFile("w+", errors="replace") as stderr:
            stdin.write(input or "")
            stdin.seek(0)
            process = subprocess.Popen(
                command, cwd=self.directory, env=merged, stdin=stdin, stdout=stdout,
                stderr=stderr, start_new_session=True)
            try:
                ended = process.wait(timeout)
            except subprocess.TimeoutExpired:
                ended = None
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            stdout.seek(0)
            stderr.seek(0)
            result = Result(name, ended, stdout.read(), stderr.read())
        assert ended is not None, f"no end after {timeout} s: {result}"
        refuse_sanitizer(name, result.stderr)
        assert status is None or result.status == status, f"expected status {status}: {result}"
        return result

    def spawn(self, *args, env=None):
        """Start one that goes on; it is stopped when the test is over."""
        command, merged = self._command(args, env)
        spawned = Spawned(command, merged, self.directory, next(self._numbers))
        self.spawned.append(spawned)
        return spawned

    def end(self):
        """Stop what still runs; what does not obey is killed and complained of."""
        complaints = []
        for spawned in self.spawned:
            try:
                if spawned.alive:
                    spawned.stop()
            except AssertionError as complaint:
                complaints.append(str(complaint))
                spawned.kill()
            print(repr(spawned))
        for spawned in self.spawned:
            refuse_sanitizer(spawned.name, spawned.stderr)
        assert not complaints, "\n".join(complaints)


class Spawned:
    """A program in the background, in a session of its own."""

    def __init__(self, command, env, directory, number):
        self.name = " ".join(["tocsin", *command[1:]])
        self._out = directory / f"spawned-{number}.stdout"
        self._err = directory / f"spawned-{number}.stderr"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True)
        self.pid = self.process.pid

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def stdout(self):
        return self._out.read_text(errors="replace")

    @property
    def stderr(self):
        return self._err.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=20):
        """Its exit status, as subprocess has it (-9 for SIGKILL)."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {timeout} s: {self!r}") from None

    def stop(self, timeout=20):
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL to it alone: its children are its own affair."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait_for(self, text, timeout=10):
        """Wait until TEXT, a regular expression, is in what it has written."""
        def found():
            match = re.search(text, self.stderr) or re.search(text, self.stdout)
            assert match or self.alive, f"ended before it wrote {text!r}: {self!r}"
            return match
        return wait_for(found, timeout, lambda: f"no {text!r} from {self!r}")

    def __repr__(self):
        return repr(Result(self.name, self.process.returncode, self.stdout, self.stderr))


# Processes that a test must not leave behind


def adopt_orphans():
    """From now on every orphan among our descendants becomes our child, so
    that none can hide by losing its parents."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def processes():
    """pid -> (parent, state, birth) of all processes."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found[int(entry)] = (int(fields[1]), fields[0], int(fields[19]))
    return found


def descendants():
    """The living descendants of ours, as pairs of pid and birth.  The dead
    children, which nobody else will bury, are buried."""
    found, us = processes(), os.getpid()

    def is_ours(pid):
        while pid in found and pid != us:
            pid = found[pid][0]
        return pid == us

    ours = set()
    for pid, (parent, state, birth) in found.items():
        if pid == us or not is_ours(pid):
            continue
        if state not in "ZX":
            ours.add((pid, birth))
        elif parent == us:
            os.waitpid(pid, os.WNOHANG)
    return ours


def works_in(pid, directories):
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        # another user's, such as root's PostgreSQL where even root is not
        # told; or it has just died
        return True
    return any(cwd == d or cwd.startswith(d + "/") for d in directories)


def leftovers(before, homes):
    """Pids of descendants that were not there BEFORE, except servers in HOMES."""
    return [pid for pid, _ in descendants() - before if not works_in(pid, homes)]


def describe(pid):
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        command = b"(gone)"
    return f"{pid}: {command.replace(bytes(1), b' ').decode(errors='replace')[:300]}"
