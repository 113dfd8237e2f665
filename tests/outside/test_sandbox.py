"""contrib/sandbox: what everything else here stands on."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

import psycopg2
import pytest

import harness
from harness import CONTRIB_SANDBOX, definitions, wait_for

pytestmark = pytest.mark.commands


def sandbox_call(verb, directory, *args, user=None, script=CONTRIB_SANDBOX):
    command = [script, verb, directory, *args]
    if user:
        command = ["runuser", "-u", user, "--", *command]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120)


class Own:
    """A sandbox of a test's own, so that it may be ruined."""

    def __init__(self, directory, user=None, script=CONTRIB_SANDBOX):
        self.directory, self.user, self.script = str(directory), user, script

    def __call__(self, verb, *args, status=0):
        done = sandbox_call(verb, self.directory, *args, user=self.user, script=self.script)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def env(self):
        return dict(re.findall(r"^export (\w+)='(.*)'$", self("env"), re.M))

    def connect(self):
        env = self.env()
        connection = psycopg2.connect(host=env["PGHOST"], port=env["PGPORT"],
                                      user=env["PGUSER"], dbname=env["PGDATABASE"])
        connection.autocommit = True
        return connection

    def query(self, sql):
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()

    def redis(self, *args):
        return subprocess.run(["redis-cli", "-u", self.env()["TOCSIN_REDIS_URL"], *args],
                              stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture
def own(tmp_path):
    made = []

    def make(name="sandbox", parent=tmp_path, **options):
        made.append(Own(parent / name, **options))
        return made[-1]
    yield make
    for sandbox in made:
        if os.path.exists(os.path.join(sandbox.directory, "sandbox")):
            sandbox("down")
        assert not os.path.exists(sandbox.directory) or not os.listdir(sandbox.directory)


def private_directories():
    return {name for name in os.listdir("/tmp") if name.startswith("tocsin-sandbox.")}


def shared_memory():
    """What nobody living has made: servers of other tests come and go."""
    with open("/proc/sysvipc/shm") as f:
        segments = [line.split() for line in f][1:]
    return {fields[1] for fields in segments if not os.path.exists(f"/proc/{fields[4]}")}


def all_gone(private, memory=None):
    """Other tests' directories come and go, too."""
    wait_for(lambda: private_directories() <= private
             and (memory is None or shared_memory() <= memory), 90)


def test_all_three_servers_survive_a_kill_and_are_gone_after_down(own):
    private, memory = private_directories(), shared_memory()
    sandbox = own()
    sandbox("up")
    env = sandbox.env()
    assert set(env) == {"PGHOST", "PGPORT", "PGUSER", "PGDATABASE",
                        "TOCSIN_BROKER_URL", "TOCSIN_REDIS_URL"}

    sandbox.query("create table kept as select 42 as x")
    sandbox.redis("set", "kept", "42")
    sandbox("rabbitmqctl", "add_vhost", "kept")
    for service in "postgresql", "rabbitmq", "redis":
        sandbox("kill", service)
        assert f"{service} is down" in sandbox("status", status=1)
        assert "is not up" in sandbox("kill", service, status=1)
    for service in "postgresql", "rabbitmq", "redis":
        sandbox("start", service)
    assert sandbox.env() == env
    assert sandbox.query("select x from kept") == 42
    assert sandbox.redis("get", "kept") == "42"
    assert "kept" in sandbox("rabbitmqctl", "-q", "list_vhosts")

    sandbox("kill", "postgresql")	# what it leaves must go, too
    sandbox("down")
    assert not os.path.exists(sandbox.directory)
    all_gone(private, memory)


def test_stop_and_start_keep_the_data(own):
    sandbox = own()
    sandbox("up", "postgresql", "redis")
    sandbox.query("create table kept as select 42 as x")
    sandbox.redis("set", "kept", "42")
    for service in "postgresql", "redis":
        sandbox("stop", service)
        sandbox("stop", service)
        sandbox("start", service)
        assert "already" in sandbox("start", service)
    assert sandbox.query("select x from kept") == 42
    assert sandbox.redis("get", "kept") == "42"


def test_a_kill_takes_a_busy_backend_with_it(own):
    sandbox = own()
    sandbox("up", "postgresql")
    connection = sandbox.connect()
    backend = connection.get_backend_pid()
    broken = []

    def be_busy():
        try:
            # does not look up from its work to see that the postmaster is gone
            connection.cursor().execute("select sum(sqrt(x)) from generate_series(1, 1e9) x")
        except psycopg2.OperationalError as error:
            broken.append(error)
    thread = threading.Thread(target=be_busy)
    thread.start()
    wait_for(lambda: sandbox.query(
        f"select state from pg_stat_activity where pid = {backend}") == "active")
    sandbox("kill", "postgresql")
    assert backend not in (pid for pid, _ in harness.descendants())
    thread.join(10)
    assert broken


def test_two_side_by_side(own):
    one, two = own("one"), own("two")
    up = [subprocess.Popen([CONTRIB_SANDBOX, "up", s.directory, "postgresql", "redis"],
                           stdout=subprocess.DEVNULL) for s in (one, two)]
    assert [p.wait(60) for p in up] == [0, 0]
    assert one.env()["PGPORT"] != two.env()["PGPORT"]
    one.redis("set", "whose", "one")
    assert two.redis("get", "whose") == ""
    one("down")
    assert two.query("select 1") == 1
    assert two.redis("ping") == "PONG"


def test_up_again_says_so_and_adds_what_is_new(own):
    sandbox = own()
    sandbox("up", "redis")
    assert "already" in sandbox("up")
    assert "PGHOST" not in sandbox.env()
    sandbox("up", "redis", "postgresql")
    assert sandbox.query("select current_setting('synchronous_commit')") == "on"
    assert sandbox.query("select current_setting('fsync')") == "off"


def test_a_durable_sandbox_waits_for_the_disk_and_another_does_not(own):
    asked = "select string_agg(current_setting(s), ' ') from unnest(" \
            "array['fsync', 'full_page_writes', 'synchronous_commit']) s"
    durable, plain = own("durable"), own("plain")
    for sandbox, options, settings in (durable, ["--durable"], "on on on"), (plain, [], "off off on"):
        done = subprocess.run([CONTRIB_SANDBOX, "up", *options, sandbox.directory, "postgresql",
                               "redis"], stdout=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 0, done.stdout
        assert sandbox.query(asked) == settings
    assert plain.redis("config", "get", "appendfsync").split()[-1] == "no"
    assert durable.redis("config", "get", "appendfsync").split()[-1] == "always"
    durable("stop", "postgresql")
    durable("up")			# it stays so
    assert durable.query(asked) == "on on on"
    refused = subprocess.run([CONTRIB_SANDBOX, "up", "--durable", plain.directory],
                             stderr=subprocess.PIPE, text=True, timeout=120)
    assert refused.returncode == 1 and "was not made durable" in refused.stderr


def test_every_server_listens_on_this_machine_only(own):
    sandbox = own()
    sandbox("up", "postgresql", "redis")
    ports = [f"{int(p):04X}" for p in re.findall(r"port (\d+)", sandbox("status"))]
    listening = []
    for table in "tcp", "tcp6":
        with open(f"/proc/net/{table}") as f:
            listening += [line.split()[1] for line in f if line.split()[3] == "0A"]
    mine = [a for a in listening if a.split(":")[1] in ports]
    assert sorted(mine) == sorted(f"0100007F:{p}" for p in ports)


def test_a_deep_and_odd_directory(own, tmp_path):
    private = private_directories()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    sandbox = own("it's a, \"dir\" $HOME", parent=deep)
    sandbox("up", "postgresql", "redis")
    assert len(sandbox.env()["PGHOST"]) < 80
    assert sandbox.query("select 1") == 1
    assert sandbox.redis("ping") == "PONG"
    sandbox("down")
    all_gone(private)


def test_a_directory_that_only_its_owner_may_enter(own, tmp_path):
    private = private_directories()
    sandbox = own("closed")
    os.mkdir(sandbox.directory, 0o700)
    sandbox("up", "postgresql")
    assert sandbox.query("select 1") == 1
    sandbox("down")
    assert os.listdir(sandbox.directory) == []		# found, not made: it stays
    all_gone(private)


def test_a_directory_of_somebody_else_is_refused(own, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter").write_text("dear")
    for verb in "up", "down", "env", "status":
        done = sandbox_call(verb, full)
        assert done.returncode == 1 and "sandbox" in done.stderr
    assert os.listdir(full) == ["letter"]
    assert sandbox_call("up", full / "new" / "deeper").returncode == 1


def test_down_leaves_what_others_have_put_there(own):
    sandbox = own()
    sandbox("up", "redis")
    letter = os.path.join(sandbox.directory, "letter")
    open(letter, "w").close()
    assert "they stay" in sandbox("down")
    assert os.listdir(sandbox.directory) == ["letter"]
    os.unlink(letter)


def test_wrong_usage_is_told(own, tmp_path):
    for args in [[], ["up"], ["fly", tmp_path], ["stop", tmp_path], ["up", tmp_path / "x", "mysql"],
                 ["env", tmp_path, "x"]]:
        done = subprocess.run([CONTRIB_SANDBOX, *args], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2 and "usage:" in done.stderr
    assert not os.path.exists(tmp_path / "x")


def test_what_was_begun_goes_when_one_server_fails(own, tmp_path):
    # a redis-server that fails stands first in the PATH
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "redis-server").write_text("#!/bin/sh\necho out of order; exit 1\n")
    (broken / "redis-server").chmod(0o755)
    done = subprocess.run([CONTRIB_SANDBOX, "up", tmp_path / "s", "postgresql", "redis"],
                          env={**os.environ, "PATH": f"{broken}:{os.environ['PATH']}"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "redis did not start" in done.stderr and "out of order" in done.stderr
    assert not os.path.exists(tmp_path / "s")


def test_a_port_that_is_taken_is_not_the_end(own, tmp_path):
    # a copy of the script that wants taken ports at first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        count = tmp_path / "count"
        script = tmp_path / "script"
        text = CONTRIB_SANDBOX.read_text()
        script.write_text(text.replace("some_port() {\n", f"""some_port() {{
            echo x >>{count}
            [ $(wc -l <{count}) -gt 6 ] || {{ echo {port}; return; }}\n""", 1))
        assert script.read_text() != text
        script.chmod(0o755)
        sandbox = own(script=script)
        sandbox("up", "postgresql", "redis")
        assert sandbox.query("select 1") == 1 and sandbox.redis("ping") == "PONG"
        assert sandbox.env()["PGPORT"] != str(port)
        sandbox("down")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_may_have_one(own):
    # somewhere that nobody may come: our own tree may be closed to others
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        script = shutil.copy(CONTRIB_SANDBOX, directory)
        sandbox = Own(os.path.join(directory, "s"), user="nobody", script=script)
        try:
            sandbox("up", "postgresql", "redis")
            assert sandbox.env()["PGUSER"] == "postgres"
            assert sandbox.query("select rolsuper from pg_roles where rolname = current_user")
            sandbox("kill", "postgresql")
            sandbox("start", "postgresql")
            assert sandbox.query("select 1") == 1
            assert "somebody else's" in sandbox_call("down", sandbox.directory).stderr
        finally:
            sandbox("down")


# The harness itself.


def test_the_database_is_fresh_and_survives_its_server(db, sandbox):
    assert db.one("select current_database()") == db.name
    db.run("create table t as select 1 as x, 'a%' as y")
    assert db.all("select x, y from t") == [(1, "a%")]
    assert db.all("select x from t where y = %s", "a%") == [1]
    assert db.one("select x from t where y like 'b%'") is None
    sandbox.kill("postgresql")
    sandbox.start("postgresql")
    assert db.one("select x from t") == 1


def test_broker_and_redis_are_there_for_who_asks(broker, redis):
    with broker.connect() as connection:
        channel = connection.channel()
        assert broker.depth("q") is None
        channel.queue_declare("q", auto_delete=False)
        import amqp
        channel.basic_publish(amqp.Message("hello"), routing_key="q")
        wait_for(lambda: broker.depth("q") == 1)
    assert redis.cli("set", "a", 1) == "OK"
    assert redis.cli("get", "a") == "1"


@pytest.fixture
def impostor(tmp_path, monkeypatch):
    """A script in the place of the program."""
    def make(text):
        path = definitions(tmp_path, "#!/bin/bash\n" + text, name="impostor")
        path.chmod(0o755)
        monkeypatch.setenv("TOCSIN", str(path))
        monkeypatch.delenv("TOCSIN_COMMANDS", raising=False)
    return make


def test_the_program_runs_with_the_database_of_the_test(db, tocsin, impostor):
    impostor('psql -qtAc "select current_database()"; cat; echo "$EXTRA" >&2; exit 3')
    result = tocsin("x", input="in", env={"EXTRA": 7}, status=3)
    assert result.lines == [db.name, "in"] and result.stderr == "7\n"
    with pytest.raises(AssertionError, match="expected status 0"):
        tocsin("x")


def test_the_program_finds_no_database_by_chance(tocsin, impostor):
    impostor("psql -c 'select 1' || env")
    assert "PGDATABASE" not in tocsin("x", env={"PATH": os.environ["PATH"]}).stdout


def test_the_program_sees_only_what_is_meant_for_it(tmp_path, monkeypatch, impostor):
    monkeypatch.setenv("UBSAN_OPTIONS", "halt_on_error=1")
    monkeypatch.setenv("TOCSIN_QUEUE", "mine")
    impostor('echo "$UBSAN_OPTIONS $TOCSIN_QUEUE"')
    assert harness.Tocsin(tmp_path, {})("x").stdout == "halt_on_error=1 \n"


def test_a_program_that_does_not_end_is_killed(tocsin, impostor):
    impostor("echo begun; sleep 1000")
    with pytest.raises(AssertionError, match=r"no end after 0.5 s: (?s:.*)begun"):
        tocsin("x", timeout=0.5)


def test_what_a_sanitizer_says_is_never_overlooked(tocsin, impostor):
    impostor("echo '==1==ERROR: LeakSanitizer: detected memory leaks' >&2; exit 1")
    with pytest.raises(AssertionError, match="a sanitizer stopped"):
        tocsin("x", status=None)


def test_a_spawned_program_is_stopped(tocsin, impostor):
    impostor("trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    spawned = tocsin.spawn("x")
    spawned.wait_for("ready")
    assert spawned.stop() == 0
    assert spawned.stdout == "ready\nstopped\n"


def test_a_process_that_hides_is_found(tmp_path):
    """In a pytest of its own: this test must see another fail."""
    test = definitions(tmp_path, """
        import subprocess

        def test_that_leaves_something_behind():
            subprocess.run(["setsid", "sh", "-c", "cd /; env -i sleep 987 >/dev/null 2>&1 &"])
        """, name="test_inner.py")
    here = os.path.dirname(os.path.abspath(__file__))
    for name in "conftest.py", "faults.py", "harness.py", "pytest.ini":
        shutil.copy(os.path.join(here, name), tmp_path)
    done = subprocess.run([sys.executable, "-m", "pytest", str(test)], cwd=tmp_path,
                          stdout=subprocess.PIPE, text=True, timeout=60)
    assert "left behind" in done.stdout and "sleep 987" in done.stdout
    assert "1 passed, 1 error" in done.stdout
