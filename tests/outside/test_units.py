"""contrib/systemd: the units are right, closed, and what they start works.

No service manager runs here.  systemd-analyze judges the units as they are, and
a worker is started by hand as its unit says, under strace: what it calls must be
what SystemCallFilter lets through.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from harness import SOURCE, definitions, program, wait_for

UNITS = SOURCE / "contrib/systemd"
SERVICES = sorted(UNITS.glob("*.service"))
NAMES = [path.name for path in SERVICES]


def analyze(*args, status=0):
    done = subprocess.run(["systemd-analyze", "--no-pager", *map(str, args)], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == status, done.stdout
    return done.stdout


def settings(path):
    """The [Service] of a unit: name -> values."""
    found = {}
    section = None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The units as an administrator has them, with the program where it is."""
    directory = tmp_path_factory.mktemp("units")
    for path in UNITS.iterdir():
        text = path.read_text().replace("/usr/local/bin/tocsin", program())
        (directory / path.name).write_text(text)
    return directory


def test_systemd_finds_nothing_wrong(installed):
    assert analyze("verify", "--man=no", *sorted(installed.iterdir())) == ""


def test_a_unit_that_is_wrong_is_found(installed, tmp_path):
    """So that the one before this means something."""
    bad = tmp_path / "tocsin-worker.service"
    bad.write_text((installed / bad.name).read_text().replace("KillMode=mixed", "KillMode=most"))
    assert "kill mode" in analyze("verify", "--man=no", bad)


@pytest.mark.parametrize("name, most", [
    ("tocsin-worker.service", 20), ("tocsin-cycle.service", 20), ("tocsin-worker-shell.service", 30)])
def test_a_service_is_exposed_to_little(installed, name, most):
    """In tenths, as systemd-analyze counts."""
    analyze("security", "--offline=yes", f"--threshold={most}", installed / name)


@pytest.mark.parametrize("path", SERVICES, ids=NAMES)
def test_secrets_come_as_credentials_and_never_as_arguments(path, tocsin, tmp_path):
    """Each credential is read by a setting that there is."""
    service = settings(path)
    loaded = dict(value.split(":", 1) for value in service["LoadCredential"])
    env = dict(value.split("=", 1) for value in service["Environment"])
    assert {name.rpartition("/")[2] for name in env.values()} == set(loaded)
    for name in loaded:
        (tmp_path / name).write_text(f"amqp://me:canary-{name}@127.0.0.1/\n"
                                     if "broker" in name else f"postgresql://me:canary@/{name}\n")
    shown = tocsin("settings", env={k: v.replace("%d", str(tmp_path)) for k, v in env.items()}).stdout
    for variable in env:
        assert f"({variable})" in shown, shown
    assert "canary" not in shown
    assert "://" not in " ".join(service["ExecStart"])


def test_only_one_service_runs_commands(tocsin):
    allowed = {}
    for path in SERVICES:
        match = re.search(r"--executors (\S+)", settings(path)["ExecStart"][0])
        allowed[path.name] = match and match.group(1)
    assert allowed == {"tocsin-worker.service": "sql", "tocsin-worker-shell.service": "shell",
                       "tocsin-cycle.service": None}
    users = {path.name: settings(path)["User"] for path in SERVICES}
    assert users["tocsin-worker-shell.service"] not in (users["tocsin-worker.service"], ["root"])


def expand(sets):
    """The names of the system calls in SETS of systemd's."""
    calls = set()
    for name in sets:
        if not name.startswith("@"):
            calls.add(name)
            continue
        lines = analyze("syscall-filter", name).splitlines()[1:]
        words = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        calls |= expand(words)
    return calls


def let_through(path):
    calls = set()
    for value in settings(path)["SystemCallFilter"]:
        if value.startswith("~"):
            calls -= expand(value[1:].split())
        else:
            calls |= expand(value.split())
    # Always there: what a process needs to begin and to end.
    return calls | expand(["@default"])


def arguments(path):
    words = shlex.split(settings(path)["ExecStart"][0])
    assert words[0] == "/usr/local/bin/tocsin"
    return words[1:]


@pytest.mark.parametrize("name", ["tocsin-worker.service", "tocsin-worker-shell.service"])
def test_a_worker_as_its_unit_starts_it_serves(db, broker, tocsin, tmp_path, name):
    path = UNITS / name
    service = settings(path)
    (tmp_path / "database_url").write_text(
        f"host={db.env['PGHOST']} port={db.env['PGPORT']} user=postgres dbname={db.name}\n")
    shutil.copy(tmp_path / "database_url", tmp_path / "measuring_url")
    (tmp_path / "broker_url").write_text(broker.url + "\n")
    for secret in ("database_url", "measuring_url", "broker_url"):
        (tmp_path / secret).chmod(0o600)
    env = {k: v.replace("%d", str(tmp_path))
           for k, v in (value.split("=", 1) for value in service["Environment"])}
    tocsin("init")
    kind = "shell" if "shell" in name else "sql"
    tocsin("load", definitions(tmp_path, f"""
        [variables.x]
        {kind} = "{'echo 7' if kind == 'shell' else 'select 7'}"
        {'queue = "tocsin.shell"' if kind == 'shell' else ''}
        [evidences.e]
        definition = "x > 0"
        [events.v]
        definition = "e"
        interval = 0
        """))
    quiet = {"TOCSIN_BROKER_URL": None, **{k: None for k in db.env}}
    calls = tmp_path / "calls"
    merged = {k: v for k, v in {**tocsin.env, **env}.items() if k not in quiet}
    merged["ASAN_OPTIONS"] = "detect_leaks=0"	# which cannot be done under strace
    plain = os.environ.get("TOCSIN_PLAIN") or program()
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["strace", "-f", "-qq", "-o", calls, plain, *arguments(path)],
                                   env=merged, cwd=tmp_path, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    def said(text):
        return text in (tmp_path / "log").read_text()
    try:
        wait_for(lambda: said("worker is ready"), 30, lambda: (tmp_path / "log").read_text())
        tocsin("cycle", "--wait")
        worker = int(calls.read_text().split(None, 1)[0])
        subprocess.run(shlex.split(service["ExecReload"][0].replace("$MAINPID", str(worker))),
                       check=True)
        wait_for(lambda: said("the settings are read again"))
        subprocess.run(["kill", "-TERM", str(worker)], check=True)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert db.one("select value from tocsin.variable") == 7
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z]\w+)(?:\(| resumed)", calls.read_text(), re.M))
    assert {"connect", "epoll_wait"} & made and "read" in made, made
    refused = made - let_through(path)
    assert not refused, refused


def test_the_page_of_dependencies_has_what_the_packages_are():
    """contrib/DEPENDENCIES.md names each, and nothing else."""
    listed = set(subprocess.run([SOURCE / "contrib/packages", "--list"], text=True, check=True,
                                stdout=subprocess.PIPE).stdout.split())
    told = set()
    for line in (SOURCE / "contrib/DEPENDENCIES.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| package ")):
            told |= set(line.split("|")[1].replace(" ", "").split(","))
    assert told == listed
