"""contrib/bench: that it runs, and believes no time whose results are wrong.
How fast anything is, no test asks."""

import json
import os
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from harness import SOURCE, program, wait_for

ENV = {**os.environ, "TOCSIN": program()}


def start(sandbox, *args):
    sandbox.up("postgresql", "rabbitmq")
    return subprocess.Popen(
        [SOURCE / "contrib/bench", "--quick", "--sandbox", sandbox.directory, *map(str, args)],
        env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)


def bench(sandbox, *args):
    process = start(sandbox, *args)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def test_the_bench_measures_what_it_has_checked(sandbox, tmp_path):
    ways = ["celery", "batch-history", "local", "amqp", "quorum-2"]
    status, said = bench(sandbox, "--only", ",".join(ways), "--single",
                         "--json", tmp_path / "json", "--svg", tmp_path / "svg")
    assert status == 0, said
    found = json.loads((tmp_path / "json").read_text())
    assert [row["way"] for row in found["rows"]] == ways
    assert [row["jobs"] for row in found["rows"]] == [1100, 400, 400, 400, 400]
    for sample in found["samples"]:
        assert sample["seconds"] > 0 and sample["peak"] > 0, sample
    for row in found["rows"]:
        assert row["times_celery"] > 0
    assert not found["wrong"]
    # Of servers that do not wait for the disk no figure is to be believed.
    assert (found["about"]["postgresql"]["fsync"] == "off") == \
        any("does not wait for the disk" in text for text in found["warnings"])
    for row in found["rows"][3:]:       # a message each for variables, few for the rest
        assert 100 <= row["messages"] < 400 and row["of_limit"] > 0
    for figure in ("agent_alone", "latency", "idle_celery", "idle_amqp", "round_trip_ms",
                   "limit_messages_per_s"):
        assert found["single"][figure], figure
    assert xml.etree.ElementTree.parse(tmp_path / "svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("what, complaint", [
    ("variable", "that is not what its variables make"),
    ("evidence", "evidence e7 is"),
    ("event", "event x7 is"),
    ("signal", "signal|event x7 is"),
    ("evaluation", "evaluations of kind evidence|evidence 7 has run 2 times"),
])
def test_the_bench_believes_no_time_whose_results_are_wrong(sandbox, tmp_path, what, complaint):
    status, said = bench(sandbox, "--only", "batch,local", "--spoil", what,
                         "--json", tmp_path / "json")
    assert status == 1, said
    found = json.loads((tmp_path / "json").read_text())
    assert not found["samples"] and len(found["wrong"]) == 2, said
    for text in found["wrong"]:
        assert any(words in text for words in complaint.split("|")), text


def test_the_bench_leaves_nothing_when_it_is_interrupted(sandbox, db):
    """conftest.py looks for processes."""
    process = start(sandbox, "--only", "amqp-2")
    try:
        wait_for(lambda: db.one("select count(*) from pg_stat_activity"
                                " where datname like %s", f"bench_{process.pid}_2%") > 2, 60)
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "ended early by SIGINT" in said, said
    assert db.one("select count(*) from pg_database where datname like %s",
                  f"bench_{process.pid}_%") == 0
