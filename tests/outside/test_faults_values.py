"""The fault matrix, E: definitions and values that are wrong, hostile or huge.

What other modules show bears the mark of its row there.  Where memory is
weighed the plain program is taken, for a sanitizer keeps what is freed.
"""

import json
import os
import re
import resource
import subprocess

import pytest

from cycles import QUICK
from harness import Tocsin, definitions, program, refuse_sanitizer, wait_for
from invariants import books  # noqa: F401
from test_executors import sanitized
from test_show import HOSTILE

# Bytes that a terminal or a reader of lines would obey, in what was decoded.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plainly():
    return os.environ.get("TOCSIN_PLAIN") or program()


def measured(tocsin, *args, cpu=60, input=""):
    """The result of a command, and the most memory that it had, in KiB.  One that
    works for more than CPU seconds is killed: of its own time, whatever else runs."""
    command, env = tocsin._command(args, {"ASAN_OPTIONS": "detect_leaks=0"})
    command[0] = plainly()
    out, err, most = (tocsin.directory / f"measured.{name}" for name in ("out", "err", "most"))
    # A child that we make has had our own memory before it became the program;
    # the children of time(1) have had little.
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        status = subprocess.run(
            ["/usr/bin/time", "-q", "-f", "%M", "-o", most, *command], env=env, input=input.encode(),
            stdout=stdout, stderr=stderr, cwd=tocsin.directory, start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))).returncode
    text = err.read_text(errors="replace")
    refuse_sanitizer("tocsin", text)
    return status, out.read_text(errors="replace"), text, int(most.read_text())


# Names


def late(cycles, name, definition):
    """The definition of NAME as somebody might change it behind our back."""
    cycles.db.run("update tocsin.version set body = jsonb_set(body, '{definition}', to_jsonb(%s::text))"
                  " where name = %s", definition, name)


def test_F_E04_names_that_a_late_edit_has_left_unknown(cycles):
    """Loading refuses it, with its place (test_load.py).  In the books it may be
    all the same: then it is that node's failure and nobody else's."""
    cycles.load("""
        [variables]
        a.sql = "select 1"
        [evidences]
        ea.definition = "a == 1"
        eb.definition = "a == 1"
        [events]
        good.definition = "ea"
        half.definition = "ea or eb"
        bad.definition = "eb"
        lost.definition = "ea"
        """)
    late(cycles, "eb", "a == nobody")
    late(cycles, "lost", "ea and nothing")
    cycles.run(status=1)
    assert cycles.state() == "DONE_WITH_ERRORS"
    state, reason, error = cycles.job("eb", "state, reason, error")
    assert (state, reason) == ("failed", "error") and error.startswith("1:6: unknown name 'nobody'")
    jobs = cycles.jobs()
    assert jobs["ea"] == "done" and jobs["event good"] == "done" and jobs["event half"] == "done"
    assert jobs["event bad"] == "skipped"
    # as an evidence that is not active: it is unknown, and so is the event
    assert cycles.event("lost", "state, action") == ("not_raising", "do_nothing")
    assert cycles.signals() == {"good": "raise", "half": "raise"}


@pytest.mark.parametrize("text, place", [
    ("""
        [evidences]
        a.definition = "b"
        b.definition = "a"
        """, r"3:17: .*'b' is an evidence; an evidence's definition names variables"),
    ("""
        [evidences]
        a.definition = "not a"
        """, r"3:21: .*'a' is an evidence; an evidence's definition names variables"),
    ("""
        variables.x.sql = "select 1"
        evidences.e.definition = "x > 0 and v"
        events.v.definition = "e"
        """, r"3:37: .*'v' is an event; an evidence's definition names variables"),
    ("""
        variables.x.sql = "select 1"
        evidences.e.definition = "x"
        events.v.definition = "e and w"
        events.w.definition = "v"
        """, r"4:30: .*'w' is an event; an event's definition names evidences"),
], ids=["two evidences", "one evidence", "evidence and event", "two events"])
def test_F_E05_what_would_be_a_circle(cycles, tmp_path, text, place):
    """Events name evidences, evidences variables: a step that could begin a circle
    is refused where it stands."""
    path = definitions(tmp_path, text)
    for command in "check", "load":
        r = cycles.tocsin(command, path, status=1)
        assert re.search(rf"definitions\.toml:{place}", r.stdout + r.stderr), r
    assert cycles.db.one("select count(*) from tocsin.version") == 0


# Expressions


# what is written, or how it begins -> what is said of it
BOMBS = [
    ("(" * 10000 + "1" + ")" * 10000, "nested deeper than 100 levels"),
    ("[" * 10000 + "]" * 10000, "nested deeper than 100 levels"),
    ("not " * 10000 + "1", "nested deeper than 100 levels"),
    ("1 if 1 else " * 5000 + "1", "nested deeper than 100 levels"),
    ("2" + "**2" * 10000, "nested deeper than 100 levels"),
    ("1" + "+1" * 524288, "longer than 64 KiB"),
    ("'" + "x" * 1048576 + "'", "longer than 64 KiB"),
    ("9**9**9", "integer overflow"),
    ("9**9**9**9", "integer overflow"),
    ("9.0**999999", "float overflow"),
    ("'x' * 10**9", "a value larger than 1048576 bytes"),
    ("[0] * 10**9", "a value larger than 1048576 bytes"),
    ("[[0] * 1000] * 1000 * 1000", "more than 1000000 steps"),
    ("sum([1] * 1000000) + sum([1] * 1000000)", "more than 1000000 steps"),
    ("str([[[['x' * 1000] * 100] * 100] * 10])", "more than 1000000 steps|a value larger than"),
    ("[[[[[[[1] * 10] * 10] * 10] * 10] * 10] * 10] * 10 == [[[[[[[1] * 10] * 10] * 10] * 10]"
     " * 10] * 10] * 10", "more than 1000000 steps"),
    ("(" + " or ".join(["max([0] * 100000)"] * 100) + ")", "more than 1000000 steps"),
]


def test_F_E07_expression_bombs(tocsin, db, tmp_path):
    """Each is refused by a bound that is counted.  All of them together may have
    ten seconds of a processor's own time, sanitizers included, and no more memory
    than a harmless one and a few MiB."""
    lines = "".join(f"[evidences.e{n}]\ndefinition = {json.dumps(bomb)}\n"
                    for n, (bomb, _) in enumerate(BOMBS[:7]))
    path = definitions(tmp_path, lines)
    status, out, err, bombed = measured(tocsin, "check", path, cpu=10)
    assert status == 1
    for n, (_, message) in enumerate(BOMBS[:7]):
        assert re.search(rf"evidences\.e{n}\.definition.*{message}", out + err), (n, out, err)
    _, _, _, usual = measured(tocsin, "check", "-", cpu=10)
    for bomb, message in BOMBS[7:]:
        status, out, err, memory = measured(tocsin, "eval", bomb, cpu=10)
        assert status == 1 and re.search(rf"^tocsin eval: 1:\d+: .*({message})", err), (bomb[:60], err)
        assert len(err) < 2000
        bombed = max(bombed, memory)
    if not sanitized() or "TOCSIN_PLAIN" in os.environ:
        assert bombed - usual < 24 * 1024


def test_F_E07_bombs_in_a_cycle_hurt_only_themselves(cycles):
    """The values are small, what is made of them is not."""
    bombs = ["sum(x) + sum(x * 900)", "'x' * a", "a ** a ** a", "x * a == []"]
    cycles.load("variables.x.sql = 'select array_agg(n) from generate_series(1, 1000) n'\n"
                "variables.a.sql = 'select 1000000000'\n"
                "evidences.good.definition = 'a > 0 and len(x) == 1000'\n"
                "events.fine.definition = 'good'\n"
                + "".join(f'evidences.e{n}.definition = "{bomb}"\nevents.v{n}.definition = "e{n}"\n'
                          for n, bomb in enumerate(bombs)))
    cycles.run(status=1)
    assert cycles.signals() == {"fine": "raise"}
    errors = dict(cycles.db.all("select name, error from tocsin.job where state = 'failed'"))
    assert errors.keys() == {f"e{n}" for n in range(len(bombs))}
    assert all(re.match(r"1:\d+: ", error) for error in errors.values()), errors


# Numbers


def strictly(text):
    """As JSON that every reader takes: no NaN, no infinities, no key twice."""
    def refuse(word):
        raise AssertionError(f"{word} is no JSON: {text[:500]}")

    def pairs(items):
        assert len(dict(items)) == len(items), items
        return dict(items)
    return json.loads(text, parse_constant=refuse, object_pairs_hook=pairs)


# an evidence's definition over b = 2**63 - 1, z = 0, f = 1e308, m = -0.0 -> its value, or the error
SUMS = [
    ("b + 1", "integer overflow"), ("-b - 2", "integer overflow"), ("b * b", "integer overflow"),
    ("(-b - 1) // -1", "integer overflow"), ("-(-b - 1)", "integer overflow"),
    ("abs(-b - 1)", "integer overflow"), ("b ** 2", "integer overflow"), ("int(f)", "overflow"),
    ("1 / z", "division by zero"), ("1 // z", "division or modulo by zero"), ("1 % z", "modulo by zero"),
    ("1.0 / m", "division by zero"), ("z ** -1", "negative power"), ("f * 10", "float overflow"),
    ("f + f", "float overflow"), ("float('nan')", "NaN|nan"), ("float('inf')", "infinit|inf"),
    ("f * 10 - f * 10", "float overflow"), ("(-8) ** 0.5", "complex|negative|not supported|math"),
    ("int('9' * 40)", "overflow|64 bits|too large"),
    ("b", 2**63 - 1), ("-b - 1", -2**63), ("b - 1", 2**63 - 2), ("b == b - 1", False),
    ("0.1 + 0.2", 0.1 + 0.2), ("b / 1", 9.223372036854775807e18), ("m == 0", True), ("b % 10", 7),
]


@pytest.mark.fault("F-E09", "F-E10")
@pytest.mark.both_transports
def test_sums_beyond_their_type_are_errors_and_all_others_exact(cycles):
    cycles.load("variables.b.sql = 'select 9223372036854775807'\nvariables.z.sql = 'select 0'\n"
                "variables.f.sql = 'select 1e308::float8'\n"
                "variables.m.sql = \"select '-0'::float8\"\n"
                + "".join(f"evidences.e{n}.definition = {json.dumps('(z * 0 == 1) or ' + text)}\n"
                          for n, (text, _) in enumerate(SUMS))
                + "events.v.definition = '" + " or ".join(f"e{n}" for n in range(len(SUMS))) + "'\n")
    cycles.run(status=1)
    for n, (text, wanted) in enumerate(SUMS):
        state, reason, error = cycles.job(f"e{n}", "state, reason, error")
        if isinstance(wanted, str):
            assert (state, reason) == ("failed", "error") and re.search(wanted, error), (text, error)
            assert re.match(r"1:\d+: ", error), (text, error)
            continue
        assert state == "done", (text, error)
        shown = strictly(cycles.tocsin("show", f"e{n}", "--json").stdout)["value"]
        assert repr(shown) == repr(wanted) or shown == wanted and text == "b / 1", text
    assert cycles.signals() == {"v": "raise"}
    for args in (["status", "1", "--json"], ["explain", "v", "--json"], ["status", "--json"],
                 ["graph", "--cycle", 1, "--format", "json"], ["show", "v", "--json"]):
        strictly(cycles.tocsin(*args).stdout)


# SQL or a command -> what is in the books, as its JSON
FIGURES = [
    ("sql", "select 9223372036854775807", "9223372036854775807"),
    ("sql", "select -9223372036854775808::numeric", "-9223372036854775808"),
    ("sql", "select 9007199254740993", "9007199254740993"),
    ("sql", "select 9007199254740993::numeric", "9007199254740993"),
    ("shell", "echo 9007199254740993", "9007199254740993"),
    ("sql", "select array[9007199254740993]", "[9007199254740993]"),
    ("sql", "select jsonb_build_object('a', 9007199254740993)", '{"a": 9007199254740993}'),
    ("sql", "select 0.1::float8 + 0.2::float8", "0.30000000000000004"),
    ("sql", "select 0.1 + 0.2", "0.3"),
    ("sql", "select 0.1234567890123456789012345678901234567890", "0.12345678901234568"),
    ("shell", "echo 0.1234567890123456789012345678901234567890", "0.12345678901234568"),
    ("sql", "select 1234567890123456789.5", "1234567890123456768.0"),
    ("sql", "select 9223372036854775808", None),
    ("sql", "select 1234567890123456789012345678901234567890", None),
    ("shell", "echo 1234567890123456789012345678901234567890", None),
    ("shell", "echo '[1e400]'", None),
    ("sql", "select '{\"a\": 9223372036854775808}'::jsonb", None),
]


@pytest.mark.fault("F-E10")
def test_whole_numbers_are_exact_or_refused_and_fractions_the_nearest_float(cycles):
    cycles.load("".join(f"variables.v{n}.{way} = {json.dumps(body)}\n"
                        f"evidences.e{n}.definition = 'v{n} is not None'\nevents.event{n}.definition = 'e{n}'\n"
                        for n, (way, body, _) in enumerate(FIGURES)))
    cycles.run(status=1)
    for n, (_, body, wanted) in enumerate(FIGURES):
        state, text, error = cycles.job(f"v{n}", "state, value::text, error")
        if wanted is None:
            assert state == "failed" and re.search("64 bits|too large", error), (body, error)
            continue
        assert state == "done", (body, error)
        assert text == wanted, body
        shown = cycles.tocsin("show", f"v{n}", "--json").json()["value"]
        assert repr(shown) == repr(json.loads(wanted)), body


# Text


# What a command may write, on either side of it; and what a query may.
WRITINGS = [
    r"printf '\033]0;owned\007\033[2J\233'", r"printf '\033[31mred\r\nlevel=error msg=forged\n'",
    r"printf 'a\342\200\256b\342\200\250c'", r"printf '\302\233 \302\205'", r"printf 'e\314\201 \303\251'",
    r"printf 'a\000b'", r"printf '\377\376'", r"printf '\355\240\200'", r"printf '\360\237\222\251'",
]


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_F_E11_text_in_any_form(cycles, broker, tmp_path, form):
    """As an answer it is stored as it is or refused with the reason; as a complaint
    it comes into the books and into the log, of which no line is broken."""
    text = "".join(f"variables.out{n}.shell = {json.dumps(writing)}\n"
                   f"variables.err{n}.shell = {json.dumps(writing + ' >&2; exit 3')}\n"
                   for n, writing in enumerate(WRITINGS))
    text += 'variables.sql.sql = """select E\'\\\\033[31m\\\\u202e\\\\nlevel=error\'::int"""\n'
    names = re.findall(r"^variables\.(\w+)\.", text, re.M)
    text += f"evidences.e.definition = 'count({', '.join(names)}) > 3'\nevents.v.definition = 'e'\n"
    cycles.load(text)
    worker = cycles.tocsin.spawn("worker", "--executors", "sql,shell",
                                 env={**QUICK, "TOCSIN_LOG_FORMAT": form})
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1)
    wait_for(lambda: "cycle closed" in worker.stderr)
    assert worker.stop() == 0
    for n, writing in enumerate(WRITINGS):
        state, value, error = cycles.job(f"out{n}", "state, value, error")
        written = subprocess.run(["sh", "-c", writing], stdout=subprocess.PIPE).stdout
        try:
            stored = b"\0" not in written and written.decode().rstrip("\n")
        except UnicodeDecodeError:
            stored = False
        assert (state, value) == (("done", stored) if stored is not False else ("failed", None)), writing
        assert state == "done" or re.search("NUL|UTF-8", error), error
        state, error = cycles.job(f"err{n}", "state, error")
        assert state == "failed" and error.startswith("exit status 3"), writing
    log = worker.stderr
    assert not OBEYED.search(log.replace("\n", ""))
    line = {"json": r"\{.*\}", "logfmt": r'time=\S+ level=\w+ pid=\d+ msg=("[^"]*"|\w+)( \w+=("(\\.|[^"\\])*"|[^\s"]+))*'}
    for record in log.splitlines():
        assert re.fullmatch(line[form], record), record
        if form == "json":
            strictly(record)
    assert len(re.findall("a job failed", log)) == cycles.db.one(
        "select count(*) from tocsin.job where state = 'failed'")
    for args in ["status", "1"], ["explain", "v"], ["show", "out2"], ["graph", "--cycle", "1"], ["doctor"]:
        r = cycles.tocsin(*args, status=None)
        assert not OBEYED.search((r.stdout + r.stderr).replace("\n", "")), r


@pytest.mark.fault("F-E11")
@pytest.mark.parametrize("name", ["é", "e\u0301", "\u202ea", "a\u200b", "а", "a\\u0000", "a\\u001b"])
def test_a_name_is_of_ascii_and_any_other_is_refused_with_its_place(db, tocsin, tmp_path, name):
    """So no two names look alike, composed or not, in whatever script."""
    path = definitions(tmp_path, f'variables.x.sql = "select 1"\n[evidences."{name}"]\ndefinition = "x"\n')
    r = tocsin("check", path, status=1)
    assert re.search(r"definitions\.toml:2:\d+: ", r.stdout + r.stderr), r
    assert not OBEYED.search((r.stdout + r.stderr).replace("\n", "")), r


@pytest.mark.fault("F-E11")
def test_doctor_and_svg_obey_nothing_of_the_books(cycles, broker):
    """Names of roles, queues and agents come from elsewhere, too."""
    queue = "q\u202e\u009b\033[31m"
    cycles.load(f"""
        variables.x.sql = "select 1"
        variables.x.queue = "{queue.replace(chr(27), '').replace(chr(155), '')}"
        variables.y.sql = '''select E'<script>&"\\033[31m\\u202e' '''
        evidences.e.definition = "x and y"
        events.v.definition = "e"
        """)
    cycles.tocsin("cycle", env=QUICK)
    cycles.db.run("update tocsin.run set agent = %s, state = 'STARTED'", "a\033[31m\u202e\u009b" + HOSTILE)
    cycles.db.run("update tocsin.job set error = %s, worker = %s", HOSTILE, "w\u202e\033[2J")
    for args in (["doctor"], ["status"], ["status", "1"], ["explain", "v"], ["graph", "--cycle", "1"],
                 ["graph", "--cycle", "1", "--format", "svg"],
                 ["graph", "--cycle", "1", "--format", "mermaid"]):
        r = cycles.tocsin(*args, status=None)
        assert r.status in (0, 1, 75), r
        assert not OBEYED.search((r.stdout + r.stderr).replace("\n", "").replace("\t", "")), (args, r)
        assert "<script>" not in r.stdout, args
    cycles.db.run("delete from tocsin.job; delete from tocsin.run")


# Injection


SQL_BOMBS = ["'); drop table victim; --", "\\'; drop table victim; --", "$1", ":x", "\"; drop table victim; --",
             "x', 'y'); drop table victim; commit; --", "$$; drop table victim; $$", "\n;drop table victim;\n",
             "%s%n", "{}", "NULL", "\\", "'"]


@pytest.mark.both_transports
def test_F_E12_sql_in_arguments_names_and_operands(cycles):
    cycles.db.run("create table victim as select 1 as a")
    text = "variables.one.sql = 'select 1'\n"
    for n, bomb in enumerate(SQL_BOMBS):
        quoted = json.dumps(bomb)
        column = bomb.replace('"', '""')
        text += (f"variables.v{n} = {{ sql = {json.dumps(f'select :x as {chr(34)}{column}{chr(34)}, 2 as b')},"
                 f" args = {{ x = {quoted} }}, description = {quoted} }}\n"
                 f"variables.w{n} = {{ sql = 'select :x::text', args = {{ x = {quoted} }} }}\n"
                 f"evidences.e{n} = {{ definition = 'w{n}', operator = '==', operand = {quoted} }}\n"
                 f"evidences.f{n} = {{ definition = 'len(v{n})', operator = '==', operand = 2,"
                 f" description = {quoted} }}\n"
                 f"events.v{n} = {{ definition = 'e{n} and f{n}', description = {quoted} }}\n".replace(
                     f"variables.v{n} ", f"variables.v{n} "))
    text = text.replace("events.v", "events.event")
    text += "reactions.tell = { events = [" + ", ".join(f"'event{n}'" for n in range(len(SQL_BOMBS))) + \
        "], notify = \"x'; drop table victim; --\", description = \"'); drop table victim; --\" }\n"
    cycles.load(text)
    cycles.run()
    for n, bomb in enumerate(SQL_BOMBS):
        assert cycles.job(f"v{n}", "value") == {bomb: bomb, "b": 2}
        assert cycles.db.one("select value from tocsin.variable where name = %s", f"w{n}") == bomb
        assert cycles.db.one("select description from cdr_evidence where name = %s", f"f{n}") == bomb
    assert cycles.signals() == {f"event{n}": "raise" for n in range(len(SQL_BOMBS))}
    for bomb in SQL_BOMBS[:2]:
        cycles.tocsin("show", bomb, status=1)
        cycles.tocsin("explain", bomb, status=1)
        cycles.tocsin("cycle", "--local", "--agent", bomb)
        cycles.tocsin("cycle", "--local", "--event", bomb, status=1)
        cycles.tocsin("status", bomb, status=2)
    wait_for(lambda: cycles.db.one("select count(*) from tocsin.delivery where state <> 'delivered'") == 0)
    assert cycles.db.one("select a from victim") == 1
    assert cycles.db.one("select count(*) from tocsin.run where agent = any (%s)", SQL_BOMBS) == 2


SHELL_BOMBS = ["$(touch {0}/pwned)", "`touch {0}/pwned`", "; touch {0}/pwned", "\ntouch {0}/pwned\n",
               "' ; touch {0}/pwned ; '", '" ; touch {0}/pwned ; "', "| touch {0}/pwned", "&& touch {0}/pwned",
               "${{IFS}}$(touch${{IFS}}{0}/pwned)", "() {{ :; }}; touch {0}/pwned", "-rf", "\\", "*", "~"]


@pytest.mark.both_transports
def test_F_E13_shell_syntax_in_arguments_and_event_data(cycles, tmp_path):
    bombs = [bomb.format(tmp_path) for bomb in SHELL_BOMBS]
    text = ""
    for n, bomb in enumerate(bombs):
        quoted = json.dumps(bomb)
        text += (f"variables.env{n} = {{ shell = 'printf \"<%s>\" \"$TOCSIN_ARG_X\"', args = {{ x = {quoted} }} }}\n"
                 f"variables.in{n} = {{ shell = 'cat', args = {{ x = {quoted} }} }}\n"
                 f"evidences.e{n} = {{ definition = 'in{n}.x == env{n} or True', description = {quoted} }}\n")
    text += ("events.event = { definition = '" + " and ".join(f"e{n}" for n in range(len(bombs)))
             + f"', description = {json.dumps(' '.join(bombs))} }}\n"
             + f"reactions.tell = {{ events = ['event'], command = 'cat >{tmp_path}/told; "
             + f"env >{tmp_path}/environment', description = {json.dumps(bombs[0])} }}\n")
    cycles.load(text)
    cycles.run()
    for n, bomb in enumerate(bombs):
        assert cycles.job(f"env{n}", "value") == f"<{bomb}>", bomb
        assert cycles.job(f"in{n}", "value") == {"x": bomb}, bomb
    wait_for(lambda: cycles.db.all("select state from tocsin.delivery") == ["delivered"], 20)
    told = json.loads((tmp_path / "told").read_text())
    assert told["description"] == " ".join(bombs)
    values = {v["name"]: v["value"] for e in told["decided_by"]["evidences"] for v in e["variables"]}
    for n, bomb in enumerate(bombs):
        assert values[f"in{n}"] == {"x": bomb}
    assert "TOCSIN_EVENT=event\n" in (tmp_path / "environment").read_text()
    assert not (tmp_path / "pwned").exists()


# Size


def high_water(pid):
    """The most memory that a process has had, in KiB."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.M).group(1))


def test_F_E14_huge_results(cycles, broker, monkeypatch):
    """Each is refused by a budget, or by PostgreSQL; what stands beside it is done.
    The worker has no more memory after it than the budgets of those at once."""
    monkeypatch.setenv("TOCSIN", plainly())
    huge = {
        "rows": ("sql", "select n from generate_series(1, 1000000) n"),
        "table": ("sql", "select n as a, n as b, repeat('x', 100) as c from generate_series(1, 1000000) n"),
        "value": ("sql", "select repeat('x', 100000000)"),
        "array": ("sql", "select array_agg(n) from generate_series(1, 1000000) n"),
        "wide": ("sql", "select " + ", ".join(f"repeat('x', 1000) as c{n}" for n in range(1600))),
        "wider": ("sql", "select " + ",".join("1" for _ in range(10000))),
        "json": ("sql", "select (select jsonb_object_agg('c' || n, repeat('x', 1000)) from generate_series(1, 10000) n)"),
        "output": ("shell", "head -c 100000000 /dev/zero | tr '\\0' x"),
        "lines": ("shell", "yes | head -c 100000000"),
        "complaint": ("shell", "yes | head -c 100000000 >&2; exit 1"),
    }
    cycles.load("variables.small.sql = 'select 5'\nvariables.other.shell = 'echo 5'\n"
                "evidences.fine.definition = 'small == other'\nevents.fine.definition = 'fine'\n"
                + "".join(f"variables.{name}.{way} = {json.dumps(body)}\n"
                          f"evidences.e_{name}.definition = '{name} is None and small == 5'\n"
                          f"events.event_{name}.definition = 'e_{name}'\n" for name, (way, body) in huge.items()))
    worker = cycles.tocsin.spawn("worker", "-c", "4", "--executors", "sql,shell", env=QUICK)
    worker.wait_for("worker is ready", 20)
    cycles.tocsin("cycle", "--wait", "--event", "fine", env=QUICK)
    before = high_water(worker.pid)
    cycles.due_again()
    cycles.tocsin("cycle", "--wait", env=QUICK, status=1, timeout=120)
    grown = high_water(worker.pid) - before
    for name in huge:
        state, reason, error = cycles.job(name, "state, reason, error")
        assert state == "failed" and re.search(
            "larger than|target lists can have at most 1664|exit status 1|tables can have at most", error), (name, error)
        assert len(error) <= 4096
        assert cycles.job(name, "attempts") == 1
    assert cycles.jobs()["fine"] == "done" and cycles.jobs()["event fine"] == "done"
    # a failed neighbour counts with its old value, which is none
    assert cycles.signals() == {"fine": "continue_raising", **{f"event_{name}": "raise" for name in huge}}
    print(f"the worker grew by {grown} KiB")
    if not sanitized():
        assert grown < 64 * 1024
    assert worker.stop() == 0


def graph(n):
    """N variables, twice as many evidences, half as many events, much shared."""
    lines = [f"variables.v{i}.sql = 'select {i}'" for i in range(n)]
    lines += [f"evidences.e{i}.definition = 'v{i % n} + v{(i * 7 + 1) % n} + v{(i * 13 + 2) % n} >= {i % 3}'"
              for i in range(2 * n)]
    lines += [f"events.event{i}.definition = 'e{4 * i} and (e{4 * i + 1} or not e{4 * i + 2}) and e{4 * i + 3}'"
              for i in range(n // 2)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("n", [1000, pytest.param(10000, marks=pytest.mark.long)])
def test_F_E15_huge_graph(db, tmp_path, n):
    """Memory is weighed at nothing, half and the whole: from one to the next it
    grows by as much."""
    tocsin = Tocsin(tmp_path, db.env)
    tocsin("init")
    memory = {}
    for size in 0, n // 2, n:
        path = definitions(tmp_path, graph(size) if size else "")
        for args in ["check", path], ["load", path], ["cycle", "--local"]:
            status, out, err, memory[args[0], size] = measured(tocsin, *args, cpu=600)
            assert status == 0, (args, size, out[-2000:], err[-2000:])
        if size:
            jobs = db.one("select jobs from tocsin.run order by id desc limit 1")
            assert jobs == size + 2 * size + size // 2
            db.run("update tocsin.event set next_call = '-infinity'")
    assert db.one("select state from tocsin.run order by id desc limit 1") == "DONE"
    assert db.one("select count(*) from tocsin.job j where state <> 'done'") == 0
    print(memory)
    if sanitized() and "TOCSIN_PLAIN" not in os.environ:
        return
    for command in "check", "load", "cycle":
        none, half, whole = (memory[command, size] for size in (0, n // 2, n))
        assert 0 < none < half < whole and whole - half < 1.2 * (half - none) + 2048, (command, memory)


def test_F_E17_nothing_at_all(cycles, tmp_path):
    """Nothing loaded; something loaded and no event; a query without rows, of which
    None comes.  Never is the broker touched, where none is."""
    nothing = {"TOCSIN_BROKER_URL": "amqp://127.0.0.1:1/"}

    def done(jobs):
        r = cycles.tocsin("cycle", "--wait", env=nothing)
        assert cycles.db.one("select state, jobs, unsettled from tocsin.run order by id desc limit 1") == (
            "DONE", jobs, 0), r
    done(0)
    for args in (["status"], ["status", "--json"], ["graph"], ["graph", "--format", "json"],
                 ["status", 1], ["prune"]):
        cycles.tocsin(*args)
    cycles.tocsin("explain", "v", status=1)
    for text in ("", "# nothing\n", "[variables]\n[evidences]\n[events]\n[reactions]\n"):
        cycles.tocsin("check", definitions(tmp_path, text))
        cycles.load(text)
        done(0)
    cycles.load("variables.x.sql = 'select 1'\nevidences.e.definition = 'x'\n")
    done(0)
    cycles.load("events.v.definition = 'e'\nevents.v.active = false\n"
                "variables.x.sql = 'select 1'\nevidences.e.definition = 'x'\n")
    done(0)
    cycles.load("""
        variables.x.sql = "select 1 where false"
        variables.y.sql = "select 1 as a, 2 as b where false"
        variables.z.shell = "true"
        evidences.e.definition = "x is None and y is None and z == ''"
        events.v.definition = "e"
        """)
    cycles.run()
    assert cycles.state() == "DONE" and cycles.signals() == {"v": "raise"}
    done(0)
