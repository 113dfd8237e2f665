"""PostgreSQL servers beside the sandbox's: a standby, one whose clock is moved,
and PgBouncer in front of one.

    with Standby(sandbox) as standby:		# follows the sandbox's server
        standby.env				# PGHOST, PGPORT
        standby.promote()
"""

import os
import shutil
import signal
import subprocess
import tempfile
from glob import glob
from pathlib import Path

import psycopg2

from harness import wait_for

BIN = max(glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[-2]), default="/usr/bin")
# PostgreSQL and PgBouncer refuse to be root's.
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] \
    if os.getuid() == 0 else []


class Server:
    """A program in the background, in a short directory of its own."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="tocsin-pg.", dir="/tmp"))
        if AS_POSTGRES:
            shutil.chown(self.home, "postgres", "postgres")
        self.process = None

    def launch(self, *command):
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*AS_POSTGRES, *map(str, command)], cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.home)})

    def log(self):
        return (self.home / "log").read_text(errors="replace")

    def answers(self):
        assert self.process.poll() is None, self.log()
        try:
            psycopg2.connect(host=self.env["PGHOST"], port=self.env["PGPORT"], user="postgres",
                             dbname="postgres", connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def end(self, number=signal.SIGINT):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        shutil.rmtree(self.home)


class Standby(Server):
    """A copy of the server of SANDBOX that follows it, asynchronously, by way of
    PORT on 127.0.0.1 if one is given."""

    def __init__(self, sandbox, port=None):
        super().__init__()
        env = sandbox.env
        self.env = {"PGHOST": str(self.home), "PGPORT": env["PGPORT"], "PGUSER": "postgres"}
        host, port = ("127.0.0.1", port) if port else (env["PGHOST"], env["PGPORT"])
        done = subprocess.run(
            [*AS_POSTGRES, f"{BIN}/pg_basebackup", "-D", self.home / "data", "-R", "-N", "-c",
             "fast", "-X", "stream", "-h", host, "-p", str(port), "-U", "postgres"],
            cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        # The socket alone: nobody else's port can be in the way.
        self.launch(f"{BIN}/postgres", "-D", self.home / "data", "-p", env["PGPORT"],
                    "-c", f"unix_socket_directories={self.home}", "-c", "listen_addresses=")
        wait_for(self.answers, 60, self.log)

    def promote(self):
        connection = psycopg2.connect(host=self.env["PGHOST"], port=self.env["PGPORT"],
                                      user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select pg_promote(true, 60)")
            assert cursor.fetchone()[0]
        connection.close()


class MovedClock(Server):
    """The server of SANDBOX, started again with a clock that move() moves."""

    def __init__(self, sandbox):
        super().__init__()
        self.env = sandbox.env
        self.clock = self.home / "clock"
        library, = glob("/usr/lib/*/faketime/libfaketime.so.1")
        self.move("+0")
        data = os.path.realpath(os.path.join(sandbox.directory, "postgresql"))
        sandbox.stop("postgresql")
        # By env, so that the library is never root's.
        self.launch("env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self.clock}",
                    "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
                    "FAKETIME_DISABLE_SHM=1", f"{BIN}/postgres", "-D", f"{data}/data",
                    "-p", self.env["PGPORT"])
        wait_for(self.answers, 60, self.log)

    def move(self, offset):
        new = self.home / "clock.new"
        new.write_text(f"{offset}\n")
        new.chmod(0o644)
        new.rename(self.clock)


class PgBouncer(Server):
    """In front of the server of SANDBOX, in transaction mode."""

    def __init__(self, sandbox, *settings):
        super().__init__()
        env = sandbox.env
        self.env = {"PGHOST": str(self.home), "PGPORT": "6432", "PGUSER": "postgres"}
        (self.home / "ini").write_text("\n".join([
            "[databases]", f"* = host={env['PGHOST']} port={env['PGPORT']} user=postgres",
            "[pgbouncer]", "listen_port = 6432", f"unix_socket_dir = {self.home}",
            "auth_type = any", "pool_mode = transaction", *settings, ""]))
        self.launch("/usr/sbin/pgbouncer", self.home / "ini")
        wait_for(self.answers, 20, self.log)
