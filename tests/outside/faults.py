"""Which rows of the fault matrix a run of the tests has shown.

A row of tests/faults.tsv is shown by the tests that bear its name,
test_F_A01_..., or the mark fault("F-A01").  A test that repeats its fault says
how often with record_property("times", n).  Where TOCSIN_FAULTS names a file,
the results are written there; tests/fault_page makes tocsin-faults(7) of it.
"""

import json
import os
import re

NAME = re.compile(r"\btest_F_([A-F]\d\d)_")


def rows_of(item):
    """The rows that a test shows."""
    rows = [f"F-{row}" for row in NAME.findall(item.name)]
    for mark in item.iter_markers("fault"):
        rows += mark.args
    return rows


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(row, ...): a row of the fault matrix that it shows")
    if os.environ.get("TOCSIN_FAULTS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(os.environ["TOCSIN_FAULTS"]), "fault-results")


def pytest_itemcollected(item):
    for row in rows_of(item):
        item.user_properties.append(("fault", row))


class Results:
    """Lives where the reports of all processes come together."""

    def __init__(self, path):
        self.path = path
        self.rows = {}

    def pytest_runtest_logreport(self, report):
        names = [value for key, value in report.user_properties if key == "fault"]
        for name in names:
            row = self.rows.setdefault(
                name, {"passed": 0, "failed": 0, "skipped": 0, "times": 0, "seconds": 0.0})
            row["seconds"] += report.duration
            if report.when == "call" or report.outcome != "passed":
                row[report.outcome] += 1
            if report.when == "call" and report.outcome == "passed":
                row["times"] += dict(report.user_properties).get("times", 1)

    def pytest_sessionfinish(self):
        with open(self.path, "w") as f:
            json.dump(dict(sorted(self.rows.items())), f, indent=1)
