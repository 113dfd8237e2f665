"""The command line, the settings and the secrets: what a user may get wrong,
and what is said of it."""

import os
import pty
import re
import socket
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.commands

COMMANDS = ["init", "check", "load", "eval", "cycle", "worker", "status", "show", "explain", "graph",
            "prune", "call", "inspect", "doctor", "settings"]
CANARY = "c4nary+s3cret/!"
QUOTED = "c4nary%2Bs3cret%2F%21"


def said(r):
    """The one line on standard error, and nothing else anywhere."""
    assert r.stdout == ""
    assert r.stderr.endswith("\n") and r.stderr.count("\n") == 1, r
    return r.stderr[:-1]


# Words


@pytest.mark.parametrize("args, message", [
    (["staus"], "tocsin: there is no command 'staus'; did you mean 'status'?"),
    (["frobnicate"], "tocsin: there is no command 'frobnicate'; 'tocsin --help' lists them"),
    (["--verson"], "tocsin: there is no command '--verson'; 'tocsin --help' lists them"),
    (["help", "lod"], "tocsin: there is no command 'lod'; did you mean 'load'?"),
    ([""], "tocsin: there is no command ''; 'tocsin --help' lists them"),
    (["status", "--jsn"], "tocsin status: there is no option '--jsn'; did you mean '--json'?"),
    (["status", "--databse-url", "x"],
     "tocsin status: there is no option '--databse-url'; did you mean '--database-url'?"),
    (["load", "--frobnicate"],
     "tocsin load: there is no option '--frobnicate'; see 'tocsin load --help'"),
    (["graph", "--json=yes"], "tocsin graph: there is no option '--json'; see 'tocsin graph --help'"),
    (["status", "-x"], "tocsin status: there is no option '-x'; see 'tocsin status --help'"),
    (["status", "--json=yes"], "tocsin status: --json takes no value"),
    (["prune", "--older-than"],
     "tocsin prune: --older-than needs a value; see 'tocsin prune --help'"),
    (["call"], "tocsin call: an argument is missing: see 'tocsin call --help'"),
    (["inspect"], "tocsin inspect: an argument is missing: see 'tocsin inspect --help'"),
    (["load"], "tocsin load: an argument is missing: see 'tocsin load --help'"),
    (["show", "a", "b"],
     "tocsin show: 'b' is one argument too many: see 'tocsin show --help'"),
    (["init", "x"], "tocsin init: 'x' is one argument too many: see 'tocsin init --help'"),
    (["eval", "-1"], "tocsin eval: there is no option '-1'; an argument that begins with '-' "
     "stands behind '--': tocsin eval -- -1"),
    (["status", "abc"], "tocsin status: CYCLE should be a number above 0, not 'abc'"),
    (["status", "99999999999999999999"],
     "tocsin status: CYCLE should be a number above 0, not '99999999999999999999'"),
    (["show", "x", "--history", "0"], "tocsin show: --history should be a number above 0, not '0'"),
    (["graph", "--format", "png"],
     "tocsin graph: --format is dot, mermaid, json or svg, not 'png'"),
    (["graph", "--cycle", "x"], "tocsin graph: --cycle should be a number above 0, not 'x'"),
    (["cycle", "--local", "--if-busy", "maybe"],
     "tocsin cycle: --if-busy is skip, fail or wait, not 'maybe'"),
    (["status", "--max-age", "5m"], "tocsin status: --max-age belongs to --check"),
    (["prune", "--older-than", "soon"], "tocsin prune: --older-than: 'soon' is not a length of "
     "time; write it as 90s, 15m, 1h30m or 7d"),
    (["status", "--lease", "soon"], "tocsin status: --lease: 'soon' is not a length of time; "
     "write it as 90s, 15m, 1h30m or 7d"),
])
def test_a_wrong_word_is_named_and_the_right_one_guessed(tocsin, args, message):
    assert said(tocsin(*args, status=2)) == message


def test_without_a_command_the_commands_are_listed(tocsin):
    r = tocsin(status=2)
    assert r.stdout == "" and re.findall(r"^  ([a-z]+) ", r.stderr, re.M) == COMMANDS


def test_every_command_has_help(tocsin):
    listed = tocsin("--help")
    assert re.findall(r"^  ([a-z]+) ", listed.stdout, re.M) == COMMANDS
    for command in COMMANDS:
        r = tocsin(command, "--help")
        assert r.stdout.startswith(f"usage: tocsin {command}") and r.stderr == ""
        assert all(len(line) <= 100 for line in r.lines), r
    assert tocsin("load", "-h").stdout == tocsin("help", "load").stdout
    assert re.fullmatch(r"tocsin \d+\.\d+\.\d+\n", tocsin("--version").stdout)


def test_help_needs_neither_arguments_nor_settings_nor_servers(tocsin):
    tocsin("load", "--help", env={"TOCSIN_LEASE": "nonsense"})


def test_a_terminal_obeys_nothing_of_a_message(tocsin):
    for args in [["\033[31mx\nroot: all is lost"], ["status", "--\033[31mx"],
                 ["status", "\033]0;x\a"], ["graph", "--format", "\x9b\x7f"]]:
        r = tocsin(*args, status=2)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said(r)), r


# Settings


def setting(tocsin, name, *args, env=None):
    got = tocsin("settings", "--json", *args, env=env).json()[name]
    return got["value"], got["from"]


def test_a_flag_beats_the_environment_which_beats_the_file(tocsin, tmp_path):
    assert setting(tocsin, "lease") == ("1m", "default")
    (tmp_path / "tocsin.toml").write_text('agent = "file"\n\nlease = "11s"\n')
    assert setting(tocsin, "lease") == ("11s", "tocsin.toml:3:1")
    assert setting(tocsin, "agent") == ("file", "tocsin.toml:1:1")
    env = {"TOCSIN_LEASE": "12s"}
    assert setting(tocsin, "lease", env=env) == ("12s", "TOCSIN_LEASE")
    assert setting(tocsin, "agent", env=env) == ("file", "tocsin.toml:1:1")
    assert setting(tocsin, "lease", "--lease", "13s", env=env) == ("13s", "--lease")
    assert setting(tocsin, "lease", "--lease=13s", "--lease=14s", env=env) == ("14s", "--lease")


def test_an_empty_variable_is_none(tocsin):
    assert setting(tocsin, "lease", env={"TOCSIN_LEASE": ""}) == ("1m", "default")


def test_the_file_is_looked_for_in_this_order(tocsin, tmp_path):
    (tmp_path / "tocsin.toml").write_text('agent = "here"')
    (tmp_path / "a.toml").write_text('agent = "variable"')
    (tmp_path / "b.toml").write_text('agent = "flag"')
    env = {"TOCSIN_CONFIG": "a.toml"}
    assert setting(tocsin, "agent")[0] == "here"
    assert setting(tocsin, "agent", env=env)[0] == "variable"
    assert setting(tocsin, "agent", "--config", "b.toml", env=env)[0] == "flag"


@pytest.mark.parametrize("text, message", [
    ('lease = "5s"\nleasse = 3\n',
     "tocsin.toml:2:1: there is no setting 'leasse'; did you mean 'lease'?"),
    ('\nlease = "soon"\n', "tocsin.toml:2:1: lease: 'soon' is not a length of time; "
     "write it as 90s, 15m, 1h30m or 7d"),
    ("lease = [1]\n", 'tocsin.toml:1:1: lease: must be a length of time as "90s", '
     "or a number of seconds, not an array"),
    ("processes = 1000\n", r"tocsin.toml:1:1: processes: .*256.*"),
    ("lease = \n", r"tocsin.toml:1:9: .*"),
    ('lease = "5s"\nlease = "6s"\n', r"tocsin.toml:2:\d+: .*"),
    ("lease = '\xff'\n".encode("latin-1"), r"tocsin.toml:1:\d+: .*"),
])
def test_a_bad_setting_in_the_file_is_named_with_its_place(tocsin, tmp_path, text, message):
    (tmp_path / "tocsin.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    for args in ["settings"], ["status", "--lease", "7s"]:
        line = said(tocsin(*args, status=78))
        literal = ".*" not in message
        assert (line == f"tocsin {args[0]}: {message}" if literal else
                re.fullmatch(f"tocsin {args[0]}: {message}", line)), line


@pytest.mark.parametrize("env, message", [
    ({"TOCSIN_LEASE": "soon"}, "TOCSIN_LEASE: 'soon' is not a length of time; "
     "write it as 90s, 15m, 1h30m or 7d"),
    ({"TOCSIN_LEAS": "5s"}, "TOCSIN_LEAS: there is no such setting; did you mean TOCSIN_LEASE?"),
    ({"TOCSIN_CONFIG": "none.toml"}, "none.toml: cannot open it: No such file or directory"),
    ({"TOCSIN_DATABASE_URL_FILE": "none"},
     "TOCSIN_DATABASE_URL_FILE: cannot read none: No such file or directory"),
    ({"TOCSIN_DATABASE_URL": "a", "TOCSIN_DATABASE_URL_FILE": "b"},
     "TOCSIN_DATABASE_URL_FILE: TOCSIN_DATABASE_URL is set as well; keep one of them"),
])
def test_a_bad_setting_in_the_environment_is_named(tocsin, env, message):
    assert said(tocsin("status", env=env, status=78)) == f"tocsin status: {message}"


def test_settings_shows_every_setting_with_its_help_and_variable(tocsin):
    values = tocsin("settings", "--json").json()
    text = tocsin("settings").stdout
    for name in values:
        assert re.search(rf"^{name} = .*\n    .*\.\n    environment: TOCSIN_{name.upper()}$",
                         text, re.M), name


# Secrets


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"postgresql://u:{QUOTED}@127.0.0.1:1/x\n")
    path.chmod(0o600)
    return path


def hides(r):
    for text in (r.stdout, r.stderr):
        assert "c4nary" not in text and "s3cret" not in text, r
    return r


@pytest.mark.parametrize("env", [
    {"TOCSIN_DATABASE_URL": f"postgresql://u:{QUOTED}@127.0.0.1:1/x"},
    {"TOCSIN_DATABASE_URL": f"postgresql://u@127.0.0.1:1/x?password={QUOTED}"},
    {"TOCSIN_DATABASE_URL": f"host=127.0.0.1 port=1 user=u password='{CANARY}'"},
    {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGPASSWORD": CANARY},
    {"TOCSIN_DATABASE_URL_FILE": "secret"},
    {"TOCSIN_CONFIG": "config.toml"},
], ids=["url", "query", "conninfo", "libpq", "file", "toml"])
@pytest.mark.fault("F-F10")
def test_a_password_is_never_printed(tocsin, secret, tmp_path, env):
    (tmp_path / "config.toml").write_text(
        f'database_url = "postgresql://u:{QUOTED}@127.0.0.1:1/x"\n')
    shown = hides(tocsin("settings", env=env))
    if "PGHOST" not in env:
        assert re.search(r"^database_url = .*\*\*\*", shown.stdout, re.M), shown
    assert "port 1 failed" in said(hides(tocsin("status", env=env, status=75)))
    assert "port 1 failed" in hides(
        tocsin("status", "--check", "--log-level", "debug", env=env, status=3)).stdout


@pytest.mark.parametrize("url", [
    f"postgresql://u:{QUOTED}@[bad", f"postgresql://u:{QUOTED}@h:port/x",
    f"host=127.0.0.1 password={CANARY} port=x", f"password={CANARY} nonsense=1",
    f"postgresql://u:{CANARY}@127.0.0.1:1/x", f"password='{CANARY}",
])
@pytest.mark.fault("F-F10")
def test_a_password_in_a_broken_address_is_not_printed_either(tocsin, url):
    r = hides(tocsin("status", "--database-url", url, status=None))
    assert r.status in (75, 78), r
    said(r)
    hides(tocsin("status", f"--databse-url={url}", status=2))
    hides(tocsin("settings", env={"TOCSIN_DATABASE_URL": url}))


@pytest.mark.fault("F-F10")
def test_other_secrets_are_hidden_too(tocsin):
    env = {"TOCSIN_BROKER_URL": f"amqp://u:{QUOTED}@h//", "TOCSIN_REDIS_URL": f"redis://:{QUOTED}@h",
           "TOCSIN_RESULT_BACKEND": f"redis://:{QUOTED}@h/1",
           "TOCSIN_MEASURING_URL": f"postgresql://u:{QUOTED}@h/x"}
    for args in [], ["--json"]:
        assert hides(tocsin("settings", *args, env=env)).stdout.count("***") == 4


@pytest.mark.fault("F-F10")
def test_a_secret_that_the_server_repeats_is_hidden(db, tocsin):
    """A database's name is no secret; but this one is the password, too."""
    url = f"host={db.env['PGHOST']} port={db.env['PGPORT']} user=postgres " \
          f"password=c4nary dbname=c4nary"
    r = hides(tocsin("status", "--database-url", url, status=75))
    assert 'database "***" does not exist' in said(r)


# Servers that are not there


def test_a_refused_connection_ends_at_once(tocsin):
    started = time.monotonic()
    r = tocsin("status", env={"PGHOST": "127.0.0.1", "PGPORT": "1"}, status=75)
    assert time.monotonic() - started < 9
    assert said(r).startswith(
        'tocsin status: cannot connect to PostgreSQL: connection to server at "127.0.0.1", '
        "port 1 failed: Connection refused")


def test_a_server_that_never_answers_is_given_up_in_time(tocsin):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        env = {"PGHOST": "127.0.0.1", "PGPORT": hole.getsockname()[1],
               "TOCSIN_CONNECT_TIMEOUT": "2s"}
        started = time.monotonic()
        r = tocsin("status", env=env, status=75)
        assert 1.5 < time.monotonic() - started < 10
    assert re.search("cannot connect to PostgreSQL: .*timeout", said(r)), r


def test_every_command_tells_of_an_unreachable_server(tocsin, tmp_path):
    path = harness.definitions(tmp_path, 'variables.x.sql = "select 1"')
    for args in (["init"], ["load", path], ["cycle", "--local"], ["status"], ["show", "x"],
                 ["explain", "x"], ["graph"], ["prune"]):
        line = said(tocsin(*args, env={"PGHOST": str(tmp_path)}, status=75))
        assert line.startswith(f"tocsin {args[0]}: cannot connect to PostgreSQL: "), line


def test_commands_that_need_no_server_need_none(tocsin, tmp_path):
    path = harness.definitions(tmp_path, """
        variables.x.sql = "select 1"
        evidences.e.definition = "x > 0"
        events.v.definition = "e"
    """)
    env = {"PGHOST": str(tmp_path)}
    tocsin("check", path, env=env)
    tocsin("eval", "1 + 1", env=env)
    tocsin("graph", path, env=env)
    tocsin("settings", env=env)


def test_an_unknown_database_and_role_are_refused_by_name(db, tocsin):
    assert 'database "nonsense" does not exist' in said(
        tocsin("status", env={"PGDATABASE": "nonsense"}, status=75))
    assert 'role "nobody" does not exist' in said(
        tocsin("status", env={"PGUSER": "nobody"}, status=75))


def test_an_address_that_is_none_is_a_matter_of_configuration(tocsin):
    for url in "hst=x dbname=y", "postgresql://[bad", "postgresql://h/x?nonsense=1":
        assert "cannot connect to PostgreSQL: " in said(
            tocsin("status", "--database-url", url, status=78))


# Standard streams


def redirected(tocsin, how, *args):
    command, env = tocsin._command(args, None)
    return subprocess.run(["sh", "-c", f'exec "$@" {how}', "sh", *command], env=env,
                          cwd=tocsin.directory, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, timeout=30)


@pytest.mark.parametrize("how", [">&-", ">/dev/full"])
def test_output_that_gets_nowhere_is_a_failure(tocsin, how):
    for args in (["--help"], ["--version"], ["help", "load"], ["load", "--help"], ["settings"],
                 ["eval", "1"]):
        r = redirected(tocsin, how, *args)
        assert r.returncode == 1 and r.stderr.startswith("tocsin: cannot write to standard output"), \
            (args, r)


def test_output_never_goes_into_the_connection(db, tocsin):
    """Without a standard output, a socket may get its number."""
    tocsin("init")
    r = redirected(tocsin, ">&-", "status", "--watch")
    assert r.returncode == 1 and r.stderr.startswith("tocsin: cannot write to standard output"), r
    assert redirected(tocsin, "2>&-", "status").returncode == 0
    assert redirected(tocsin, "<&-", "status").returncode == 0


def test_a_reader_that_has_gone_ends_a_watch(db, tocsin):
    tocsin("init")
    command, env = tocsin._command(["status", "--watch"], None)
    process = subprocess.Popen(command, env=env, cwd=tocsin.directory, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 1


# Colours


def on_a_terminal(tocsin, *args, env=None):
    """What the program writes to a terminal."""
    command, merged = tocsin._command(args, {"TERM": "xterm", **(env or {})})
    ours, its = pty.openpty()
    process = subprocess.Popen(command, env=merged, cwd=tocsin.directory, stdin=subprocess.DEVNULL,
                               stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:		# the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait(20) == 0
    return text.decode()


def test_colours_are_for_terminals_that_want_them(db, tocsin, tmp_path):
    tocsin("init")
    tocsin("load", harness.definitions(tmp_path, """
        variables.x.sql = "select 1"
        evidences.e.definition = "x > 0"
        events.v.definition = "e"
    """))
    tocsin("cycle", "--local")
    for args in ["status"], ["status", "1"], ["show", "v"], ["explain", "v"]:
        assert "\033" in on_a_terminal(tocsin, *args), args
        assert "\033" not in on_a_terminal(tocsin, *args, env={"NO_COLOR": "1"})
        assert "\033" not in tocsin(*args).stdout
    assert "\033" not in on_a_terminal(tocsin, "status", env={"TERM": "dumb"})
    assert "\033" not in on_a_terminal(tocsin, "status", "--json")
