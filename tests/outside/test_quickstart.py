"""contrib/quickstart, from its first line to its last, with the program that
is built already."""

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness import PASSED_ON, SOURCE, descendants, program, wait_for

QUICKSTART = SOURCE / "contrib" / "quickstart"


class Quickstart:
    """Runs the script where TMPDIR is ours, so that what it leaves is seen."""

    def __init__(self, directory):
        self.directory = directory / "tmp"
        self.directory.mkdir()
        self.env = {k: v for k, v in os.environ.items() if PASSED_ON.match(k)}
        # neither may be heeded: a database of the caller's, and a wrong setting
        self.env.update(HOME=str(directory), LANG="C.UTF-8", TMPDIR=str(self.directory),
                        PGDATABASE="somebody_elses", TOCSIN_LEASE="a while")

    def start(self, *args, with_program=None):
        return subprocess.Popen(
            [QUICKSTART, "--program", with_program or program(), *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env)

    def __call__(self, *args, status=0, **options):
        process = self.start(*args, **options)
        output = process.communicate(timeout=300)[0]
        assert process.returncode == status, output
        return output

    def left(self):
        return list(self.directory.iterdir())


@pytest.fixture
def quickstart(tmp_path):
    runner = Quickstart(tmp_path)
    before = descendants()
    yield runner
    for work in runner.left():
        subprocess.run([QUICKSTART, "--stop", work], timeout=60)
    wait_for(lambda: not descendants() - before, 10)


def answer(output, command):
    """What a command that was shown has printed."""
    [_, *after] = re.split(rf"^\$ {re.escape(command)}\n", output, flags=re.M)
    assert after, f"{command} is not in: {output}"
    return re.split(r"^(?:\$|==) ", after[-1], flags=re.M)[0]


def in_shell(work, command):
    """As its last lines say that one goes on."""
    done = subprocess.run(["bash", "-c", f"cd {work} && . ./environment && {command}"],
                          env={k: v for k, v in os.environ.items() if PASSED_ON.match(k)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_it_shows_what_it_promises_and_what_is_kept_can_be_used_and_stopped(quickstart):
    before = descendants()
    output = quickstart("--keep")
    [work] = quickstart.left()

    assert "raise shop_silent, cycle 2\n" in answer(output, "cat bell.log")
    assert {"raise shop_silent, cycle 2", "stop_raising shop_silent, cycle 5",
            "raise debtor_risk, cycle 5"} <= set((work / "bell.log").read_text().splitlines())
    assert "shop_silent is raising (raise)" in answer(output, "tocsin explain shop_silent")
    assert "orders_3h = 0 " in answer(output, "tocsin explain shop_silent")
    picture = ET.parse(work / "cycle2.svg").getroot()
    assert picture.tag.endswith("}svg")
    assert "shop_silent" in "".join(picture.itertext())

    killed = int(re.search(r"^\$ kill -9 (\d+)$", output, re.M).group(1))
    assert killed not in (pid for pid, _ in descendants())
    third = answer(output, "tocsin status 3")
    assert "cycle 3 of agent default: DONE\n" in third
    assert re.search(r"^shelves_counted +variable +2 ", third, re.M), third
    assert not re.search(rf"^shelves_counted .*:{killed}:", third, re.M), third
    fourth = answer(output, "tocsin status 4")
    assert "DONE_WITH_ERRORS" in fourth and "division by zero" in fourth
    rows = answer(output, "psql -c 'select * from cdr_evaluation_cycle"
                          " order by create_date desc limit 10;'")
    assert re.findall(r"^ +(\d) \|.*\| (\w+)$", rows, re.M) == [
        ("5", "DONE"), ("4", "DONE_WITH_ERRORS"), ("3", "DONE"), ("2", "DONE"), ("1", "DONE")]

    assert f"\n    cd {work}\n    . ./environment\n    tocsin status\n" in output
    assert "DONE" in in_shell(work, "tocsin cycle --wait --event overdraft")
    assert "Cash" not in in_shell(work, "tocsin status") and "morning" not in str(
        list(Path(quickstart.env["HOME"]).iterdir()))
    [stop] = re.findall(r"^    (\S+ --stop \S+)$", output, re.M)
    assert f"{work} is gone" in subprocess.check_output(stop.split(), text=True, timeout=60)
    assert quickstart.left() == []
    wait_for(lambda: not descendants() - before)


def test_a_signal_ends_it_and_nothing_is_left(quickstart):
    before = descendants()
    process = quickstart.start()
    wait_for(lambda: list(quickstart.directory.glob("*/worker2.log")), 120)
    process.terminate()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 143, output
    assert "quickstart: stopped at: " in output
    assert quickstart.left() == []
    wait_for(lambda: not descendants() - before)


def test_a_failure_is_named_and_its_logs_stay(quickstart, tmp_path):
    before = descendants()
    (tmp_path / "bin").mkdir()
    broken = tmp_path / "bin" / "epmd"		# without which RabbitMQ cannot come up
    broken.write_text("#!/bin/sh\necho out of order; exit 1\n")
    broken.chmod(0o755)
    quickstart.env["PATH"] = f"{broken.parent}:{quickstart.env['PATH']}"
    output = quickstart(status=1)
    [work] = quickstart.left()
    assert "rabbitmq did not start" in output and "out of order" in output
    assert "FAILED at: the servers; " in output and f"logs are in {work}" in output
    assert "rabbitmq did not start" in (work / "servers.log").read_text()
    wait_for(lambda: not descendants() - before)


def test_wrong_usage_is_told(quickstart, tmp_path):
    for args, status, text in [(["--fly"], 2, "usage:"), (["--stop"], 2, "usage:"),
                               (["--stop", tmp_path], 1, "is not a directory that"),
                               (["--program", tmp_path / "none"], 1, "is no program"),
                               (["--help"], 0, "usage:")]:
        done = subprocess.run([QUICKSTART, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=quickstart.env)
        assert done.returncode == status and text in done.stdout, done.stdout
    assert quickstart.left() == []
