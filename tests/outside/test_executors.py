"""What an executor makes of a variable: values, errors, and what must not happen.

The tool tests/outside/measure is the executors without books and messages: it
computes one variable for each line of its input.  At the end whole cycles say
that what was computed comes into the books as it is.
"""

import json
import os
import re
import resource
import subprocess
import time
from pathlib import Path

import pytest

from harness import PASSED_ON, program, refuse_sanitizer, tool, wait_for
from invariants import check


@pytest.fixture
def measure(request, tmp_path):
    """measure({"sql": ...}, ..., options=("-j", "4")) computes; .start() does not wait."""
    return Measure(tmp_path, request.getfixturevalue("db").env
                   if "db" in request.fixturenames else {"PGHOST": str(tmp_path)})


class Measure:
    def __init__(self, directory, env):
        self.directory = directory
        self.env = {k: v for k, v in os.environ.items() if PASSED_ON.match(k)}
        self.env.update(HOME=str(directory), TOCSIN=program(), **env)

    def start(self, *bodies, options=(), env=None, files=None):
        path = tool("measure")
        lines = self.directory / "bodies"
        lines.write_text("".join(json.dumps(body) + "\n" for body in bodies))
        with open(lines) as stdin, open(self.directory / "errors", "w") as stderr:
            return subprocess.Popen(
                [path, "-s", "grace=1s", *options], stdin=stdin, stdout=subprocess.PIPE,
                stderr=stderr, text=True, cwd=self.directory, env={**self.env, **(env or {})},
                preexec_fn=files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))))

    def __call__(self, *bodies, **more):
        process = self.start(*bodies, **more)
        out, _ = process.communicate(timeout=120)
        errors = (self.directory / "errors").read_text()
        refuse_sanitizer("measure", errors)
        assert process.returncode == 0, errors
        outcomes = [json.loads(line) for line in out.splitlines()]
        assert len(outcomes) == len(bodies), errors
        return outcomes

    def value(self, body, **more):
        [outcome] = self(body, **more)
        assert outcome["reason"] == "ok", outcome
        return outcome["value"]


def exactly(value):
    """1, 1.0 and True are equal in Python, and are not here."""
    return json.dumps(value, sort_keys=True)


# SQL: what comes back

VALUES = [
    ("select 1", 1),
    ("select true", True),
    ("select null", None),
    ("select 9223372036854775807", 2**63 - 1),
    ("select -9223372036854775808", -2**63),
    ("select 1::int2", 1),
    ("select 4294967295::oid", 4294967295),
    ("select 1.5::float8", 1.5),
    ("select 2::float8", 2.0),
    ("select '-0'::float8", -0.0),
    ("select 0.1::float4", 0.1),
    ("select 1e300::float8", 1e300),
    ("select 12.00", 12),
    ("select 12.50", 12.5),
    ("select 0.1::numeric + 0.2", 0.3),
    ("select 0.1::float8 + 0.2::float8", 0.1 + 0.2),
    ("select 3.14159265358979323846264338327950288419", 3.141592653589793),
    ("select 1e18::numeric", 10**18),
    ("select 1e-400::numeric", 0.0),
    ("select 'text'", "text"),
    ("select ''", ""),
    ("select 'x'::varchar(3)", "x"),
    ("select 'x'::char(3)", "x  "),
    ("select 'grüß \"Gott\" \\ ' || chr(10) || chr(1)", 'grüß "Gott" \\ \n\x01'),
    ("select 'a\u202eb'", "a\u202eb"),
    ("select date '2026-05-01'", "2026-05-01"),
    ("select timestamp '2026-05-01 09:00:00'", "2026-05-01T09:00:00"),
    ("select timestamptz '2026-05-01 11:00:00.25+02'", "2026-05-01T09:00:00.25+00:00"),
    ("select 'infinity'::timestamptz", "infinity"),
    ("select time '09:00'", "09:00:00"),
    ("select interval '1 day 2 hours'", "P1DT2H"),
    ("select timestamptz '0044-03-15 12:00+00 BC'", "0044-03-15T12:00:00+00:00 BC"),
    ("select '\\x00ff'::bytea", "\\x00ff"),
    ("select 'a1c1b7a5-6a3c-4f43-9d7c-111111111111'::uuid", "a1c1b7a5-6a3c-4f43-9d7c-111111111111"),
    ("select '{\"b\": [1, 2.5, null], \"a\": {\"c\": true}}'::jsonb", {"a": {"c": True}, "b": [1, 2.5, None]}),
    ("select '[1.0]'::json", [1.0]),
    ("select 'null'::jsonb", None),
    ("select array[1, null, 3]", [1, None, 3]),
    ("select array['a', 'b,\"c\\', null, 'NULL', '']", ["a", 'b,"c\\', None, "NULL", ""]),
    ("select array[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    ("select '[0:1]={7,8}'::int[]", [7, 8]),
    ("select '{}'::text[]", []),
    ("select array[1.0, 2.5]", [1, 2.5]),
    ("select array[true, false]", [True, False]),
    ("select array['{\"a\": 1}'::jsonb]", [{"a": 1}]),
    ("select array[timestamptz '2026-05-01 00:00+00']", ["2026-05-01T00:00:00+00:00"]),
    ("select '1 2'::int2vector", "1 2"),
    ("select '1.2.3.4'::inet", "1.2.3.4"),
    ("select row(1, 'a')", "(1,a)"),
    # shapes
    ("select 1 as a, 'x' as b", {"a": 1, "b": "x"}),
    ("select n from generate_series(1, 3) n", [1, 2, 3]),
    ("select n as a, n * n as b from generate_series(1, 2) n", [{"a": 1, "b": 1}, {"a": 2, "b": 4}]),
    ("select 1 where false", None),
    ("select 1 as a, 2 as b where false", None),
    ("values (1), (null)", [1, None]),
    ("with a as (select 5) select * from a", 5),
    ("show transaction_read_only", "on"),
    ("select 1 as \"odd \"\"name\"\"\", 2 as b", {'odd "name"': 1, "b": 2}),
    ("table pg_catalog.pg_tables limit 0", None),
    ("explain (costs off) select 1", "Result"),
    # what looks like a parameter and is none
    ("select ':x' || \":y\".a || $q$:z$q$ /* :w */ from (values ('1'::text)) \":y\"(a) -- :v", ":x1:z"),
    ("select (array[1, 2, 3])[2:3]", [2, 3]),
]

ERRORS = [
    ("select 'NaN'::float8", "the value is NaN"),
    ("select '-Infinity'::float8", "the value is -Infinity"),
    ("select 'NaN'::numeric", "the value is NaN"),
    ("select 'Infinity'::numeric", "the value is Infinity"),
    ("select 1 as a, 'NaN'::float4 as b", "column 'b': the value is NaN"),
    ("select array[1, 'NaN'::float8]", "the value is NaN"),
    ("select 9223372036854775808", "the value is an integer beyond 64 bits: 9223372036854775808"),
    ("select 1234567890123456789012345678901234567890", "the value is an integer beyond 64 bits"),
    ("select '1e400'::numeric + 0.5", "the value is beyond the largest float"),
    ("select '{\"a\": 9223372036854775808}'::jsonb", "the value is JSON with a number that is too large"),
    ("select 1 as a, 2 as a", "two columns are named 'a'"),
    ("select", "the result has no columns"),
    ("select 1 / 0", "division by zero (SQLSTATE 22012)"),
    ("select\n  nope", '2:3: column "nope" does not exist (SQLSTATE 42703)'),
    ("select 'é', :now, nope", '1:19: column "nope" does not exist'),
    ("selec 1", '1:1: syntax error at or near "selec" (SQLSTATE 42601)'),
    ("select 1; select 2", "cannot insert multiple commands into a prepared statement"),
    ("copy (select 1) to stdout", "COPY cannot be used here"),
    ("set work_mem = '1MB'", "the statement returns no rows"),
    ("commit", "the statement returns no rows"),
    ("-- nothing", "the statement is empty"),
    ("select pg_terminate_backend(pg_backend_pid())", "57P01"),
]


@pytest.mark.fault("F-E10")
def test_a_query_gives_the_value_that_its_types_say(db, measure):
    outcomes = measure(*({"sql": sql} for sql, _ in VALUES))
    for (sql, value), outcome in zip(VALUES, outcomes):
        assert outcome["reason"] == "ok", (sql, outcome)
        assert exactly(outcome["value"]) == exactly(value), sql


@pytest.mark.fault("F-E09", "F-E10")
def test_what_is_no_value_fails_and_says_why(db, measure):
    outcomes = measure(*({"sql": sql} for sql, _ in ERRORS))
    for (sql, error), outcome in zip(ERRORS, outcomes):
        assert outcome["reason"] == "error" and error in outcome["error"], (sql, outcome)


@pytest.mark.fault("F-E11")
def test_text_of_another_encoding_fails(db, measure):
    db.run("create database ascii_" + db.name + " encoding sql_ascii locale 'C' template template0")
    try:
        [outcome] = measure({"sql": "select convert_from('\\xff', 'SQL_ASCII')"},
                            env={"PGDATABASE": "ascii_" + db.name})
        assert outcome["error"] == 'invalid byte sequence for encoding "UTF8": 0xff (SQLSTATE 22021)'
    finally:
        db.run("drop database ascii_" + db.name + " with (force)")


# SQL: what goes there

ARGUMENTS = [
    (1, "integer"), (-2**31, "integer"), (2**31, "bigint"), (-2**63, "bigint"),
    (1.5, "double precision"), (2.0, "double precision"), (1e300, "double precision"),
    (True, "boolean"), ({"a": [1, None]}, "jsonb"), ([1, "x"], "jsonb"), ([], "jsonb"),
]

HOSTILE = [
    "'; drop table victim; --", "\\'; drop table victim; --", "$1", ":x", "$$", "$q$", "/*", "*/",
    "\"", "' || (select 1) || '", "%s %n", "\u2019", "x' union select 'y", "\n;\n", "\\x00", "NULL",
]


def test_an_argument_has_its_own_type(db, measure):
    outcomes = measure(*({"sql": "select pg_typeof(:x)::text as t, :x as v", "args": {"x": x}}
                         for x, _ in ARGUMENTS))
    for (x, name), outcome in zip(ARGUMENTS, outcomes):
        assert exactly(outcome["value"]) == exactly({"t": name, "v": x}), outcome


@pytest.mark.fault("F-E12")
def test_an_argument_is_never_read_as_sql(db, measure):
    db.run("create table victim as select 1 as a")
    outcomes = measure(*({"sql": "select :x as x, /* :x */ ':x' as y, :x::text as z", "args": {"x": x}}
                         for x in HOSTILE))
    for x, outcome in zip(HOSTILE, outcomes):
        assert outcome["value"] == {"x": x, "y": ":x", "z": x}, outcome
    assert db.one("select a from victim") == 1


def test_untyped_arguments_take_the_type_that_is_wanted(db, measure):
    assert measure.value({"sql": "select :d::date + :n", "args": {"d": "2026-01-31", "n": 1}}) == "2026-02-01"
    assert measure.value({"sql": "select date '2026-02-01' > :d", "args": {"d": "2026-01-31"}}) is True
    assert measure.value({"sql": "select coalesce(:n, 5)", "args": {"n": None}}) == 5
    assert measure.value({"sql": "select :s as a, :e as b", "args": {"s": "x", "e": ""}}) == {"a": "x", "b": ""}
    assert measure.value({"sql": "select (:o)->'a'->>1", "args": {"o": {"a": [1, "x"]}}}) == "x"


def test_now_is_the_time_of_the_cycle(db, measure):
    assert measure.value({"sql": "select :now::date + :n", "args": {"n": 30}}) == "2026-05-31"
    assert measure.value({"sql": "select pg_typeof(:now)::text"}) == "timestamp with time zone"


# SQL: what must not happen

WRITING = [
    "insert into victim values (2) returning a",
    "with x as (insert into victim values (2) returning a) select a from x",
    "delete from victim returning a",
    "select nextval('counter')",
    "select write_it()",
    "select 1 from victim for update",
    "create temp table t as select 1",
    "create table t ()",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', false)",
    "select set_config('transaction_read_only', 'off', true), write_it()",
    "set session characteristics as transaction read write",
    "do $$ begin commit; insert into victim values (2); end $$",
    "call write_and_commit()",
    "commit and chain",
    "commit; insert into victim values (2)",
    "/* */ commit",
    "prepare transaction 'x'",
    "copy victim from stdin",
    "truncate victim",
    "refresh materialized view seen",
    "listen channel",
]


def test_a_measurement_does_not_write(db, measure):
    db.run("create table victim as select 1 as a")
    db.run("create sequence counter")
    db.run("create materialized view seen as select count(*) from victim")
    db.run("create function write_it() returns int language sql volatile as "
           "'insert into victim values (2) returning a'")
    db.run("create procedure write_and_commit() language plpgsql as "
           "$$ begin commit; insert into victim values (2); commit; end $$")
    before = db.one("select count(*) from pg_class")
    measure({"sql": "select lo_create(0)"})	# allowed before PostgreSQL 16, and rolled back
    outcomes = measure(*({"sql": sql} for sql in WRITING))
    for sql, outcome in zip(WRITING, outcomes):
        assert outcome["reason"] == "error", (sql, outcome)
    assert db.all("select a from victim") == [1]
    assert db.one("select is_called from counter") is False
    assert db.one("select count(*) from pg_class") == before
    assert db.one("select count(*) from pg_largeobject_metadata") == 0


def test_what_is_done_is_rolled_back(db, measure):
    listener = db.connect()
    listener.cursor().execute("listen channel")
    measure.value({"sql": "select pg_notify('channel', 'x')::text"})
    listener.cursor().execute("select 1")
    listener.poll()
    assert listener.notifies == []
    listener.close()


def test_nothing_reaches_the_next_measurement(db, measure):
    dirt = [
        "select set_config('work_mem', '77MB', false)",
        "select set_config('search_path', 'nowhere', false)",
        "select set_config('my.own', 'x', false)",
        "select pg_advisory_lock(7)::text",
        "prepare x as select 1",
        "declare c cursor with hold for select 1",
        "set session characteristics as transaction isolation level serializable",
        "set role pg_monitor",
        "select set_config('role', 'pg_monitor', false)",
        "select 1 / 0",
        "rollback",
        "commit and chain",
        "savepoint s",
    ]
    look = {"sql": """
        select pg_backend_pid() as pid, current_setting('work_mem') as work_mem,
               current_setting('search_path') as search_path,
               coalesce(current_setting('my.own', true), '') as own,
               (select count(*) from pg_locks where locktype = 'advisory') as locks,
               (select count(*) from pg_prepared_statements) as prepared,
               (select count(*) from pg_cursors where name <> '') as cursors,
               current_setting('transaction_isolation') as isolation,
               current_setting('transaction_read_only') as read_only,
               current_user::text as who"""}
    bodies = [look]
    for sql in dirt:
        bodies += [{"sql": sql}, look]
    outcomes = measure(*bodies)
    for sql, outcome in zip([""] + dirt, outcomes[::2]):
        assert outcome["value"] == outcomes[0]["value"], sql


def active(db):
    return db.one("select count(*) from pg_stat_activity where application_name = 'tocsin measuring' "
                  "and datname = current_database()")


# Whoever swallows a cancel goes on: only the hard limit ends that.
STUBBORN = """
    create function stubborn() returns int language plpgsql as $$ begin
        loop
            begin
                perform pg_sleep(60);
            exception when query_canceled then null;
            end;
        end loop;
    end $$"""


def test_the_soft_limit_cancels(db, measure):
    limits = {"soft_time_limit": "500ms", "time_limit": "30s"}
    for sql in [
            "select pg_sleep(60)",
            "select set_config('statement_timeout', '0', true), pg_sleep(60)",
            "select count(*) from generate_series(1, 1000000000000) a",
            "select count(*) from generate_series(1, 1000000000000) a where a < 0"]:
        [outcome, after] = measure({"sql": sql, **limits}, {"sql": "select 5"})
        assert outcome["reason"] == "timeout"
        assert outcome["error"] == "soft time limit (500ms) exceeded"
        assert 500 <= outcome["ms"] < 10000
        assert after["value"] == 5


def test_the_hard_limit_closes_the_connection(db, measure):
    db.run(STUBBORN)
    [outcome, after] = measure(
        {"sql": "select stubborn()", "soft_time_limit": "500ms", "time_limit": "1s"}, {"sql": "select 5"})
    assert outcome["reason"] == "timeout"
    assert outcome["error"] == "hard time limit (1s) exceeded"
    assert after["value"] == 5
    # The server finds the connection closed, and the loop without a client.
    wait_for(lambda: active(db) == 0, timeout=20)


def test_a_query_dies_with_its_worker(db, measure):
    process = measure.start({"sql": "select pg_sleep(600)"})
    wait_for(lambda: active(db) == 1)
    process.kill()
    process.communicate()
    wait_for(lambda: active(db) == 0, timeout=20)


def test_what_runs_can_be_killed(db, measure):
    bodies = [{"sql": "select pg_sleep(600)"}, {"shell": "trap '' TERM; sleep 600 & setsid -f sleep 600; wait"},
              {"sql": "select n from generate_series(1, 1000000000000) n where n < 0"}]
    for ms in (1, 20, 500):
        before = time.monotonic()
        process = measure.start(*bodies, options=("-j", "3", "-k", str(ms)))
        process.communicate(timeout=30)
        refuse_sanitizer("measure", (measure.directory / "errors").read_text())
        assert process.returncode == 0
        assert time.monotonic() - before < 5
    wait_for(lambda: active(db) == 0, timeout=20)


def test_a_lost_connection_fails_one_measurement(db, measure):
    [lost, after] = measure({"sql": "select pg_terminate_backend(pg_backend_pid())"}, {"sql": "select 5"})
    assert lost["reason"] == "error" and "terminating connection" in lost["error"]
    assert after["value"] == 5


def test_without_a_database_a_query_says_so(measure):
    [outcome] = measure({"sql": "select 1"})
    assert outcome["reason"] == "error"
    assert outcome["error"].startswith("cannot reach the measuring database: ")


def test_a_measuring_role_is_a_wall(db, measure):
    db.run("create table secret as select 1 as a")
    outcomes = measure({"sql": "select current_user::text"}, {"sql": "select a from secret"},
                       options=("-s", "measuring_role=pg_monitor"))
    assert outcomes[0]["value"] == "pg_monitor"
    assert "permission denied for table secret" in outcomes[1]["error"]


@pytest.mark.fault("F-E14")
def test_a_huge_result_is_cut(db, measure):
    [small, _] = measure({"sql": "select 1"}, {"sql": "select repeat('x', 1000000)"})
    outcomes = measure(
        {"sql": "select n from generate_series(1, 1000000) n"},
        {"sql": "select repeat('x', 100000000)"},
        {"sql": "select repeat(chr(1), 500000)"},
        {"sql": "select " + ", ".join(f"repeat('x', 1000) as c{n}" for n in range(1600))},
        {"sql": "select 5"})
    for outcome in outcomes[:4]:
        assert outcome["reason"] == "error" and "larger than" in outcome["error"], outcome
    assert outcomes[4]["value"] == 5
    if not sanitized():         # a row is refused before its bytes are read
        assert outcomes[1]["error"].startswith("a row larger than"), outcomes[1]
        assert outcomes[4]["rss"] - small["rss"] < 64 * 1024


def sanitized():
    """A sanitizer keeps what is freed for a while: memory says nothing then."""
    return b"__asan_init" in Path(program()).read_bytes()


def test_measurements_wait_side_by_side(db, measure):
    before = time.monotonic()
    outcomes = measure(*[{"sql": "select pg_sleep(1)::text || pg_backend_pid()"}] * 12, options=("-j", "12"))
    assert len({outcome["value"] for outcome in outcomes}) == 12
    assert time.monotonic() - before < 8


def test_connections_are_used_again(db, measure):
    outcomes = measure(*[{"sql": "select pg_backend_pid()"}] * 20)
    assert len({outcome["value"] for outcome in outcomes}) == 1


# Commands

OUTPUTS = [
    ("echo 5", 5), ("echo ' 5 '", 5), ("echo 2.50", 2.5), ("echo true", True), ("echo null", None),
    ("echo '\"x\"'", "x"), ("printf '{\"a\": [1, 2]}\n\n'", {"a": [1, 2]}),
    ("echo hello world", "hello world"), ("printf 'two\nlines\n\n'", "two\nlines"),
    ("true", ""), ("echo", ""), ("echo NaN", "NaN"), ("echo '[1, NaN]'", "[1, NaN]"),
    ("echo Infinity", "Infinity"), ("echo '{\"a\": '", '{"a":'.strip() + " "), ("echo 1 2", "1 2"),
    ("echo True", "True"), ("echo 9223372036854775807", 2**63 - 1),
    ("echo 99999999999999999999 apples", "99999999999999999999 apples"),
    ("echo '[99999999999999999999'", "[99999999999999999999"), ("echo 'grüß'", "grüß"),
    ("echo 2; echo oops >&2", 2),
]

FAILURES = [
    ("echo oops >&2; exit 7", "exit", "exit status 7: oops"),
    ("exit 3", "exit", "exit status 3"),
    ("kill -9 $$", "signal", "signal 9"),
    ("echo dying >&2; kill -TERM $$", "signal", "signal 15: dying"),
    ("no-such-program-at-all", "exit", "exit status 127: /bin/sh: 1: no-such-program-at-all: not found"),
    ("printf 'a\\000b'", "error", "the output holds a NUL byte, so it is no text"),
    ("printf '\\377'", "error", "the output is not UTF-8"),
    ("echo 9223372036854775808", "error",
     "the output is JSON with a number that is too large (integers have 64 bits)"),
    ("echo '{\"a\": [1e400, \"\\\"9\"]}'", "error",
     "the output is JSON with a number that is too large (integers have 64 bits)"),
    ("printf '\"\\\\u0000\"'", "error", "the output is JSON with a NUL character in it"),
    ("head -c 5000000 /dev/zero | tr '\\0' x", "error", "output larger than 4194304 bytes"),
    ("head -c 2000000 /dev/zero | tr '\\0' x", "error", "value larger than 1048576 bytes"),
]


def test_a_command_answers_json_or_text(measure):
    outcomes = measure(*({"shell": command} for command, _ in OUTPUTS))
    for (command, value), outcome in zip(OUTPUTS, outcomes):
        assert outcome["reason"] == "ok", (command, outcome)
        assert exactly(outcome["value"]) == exactly(value), command


def test_a_command_that_fails_says_how(measure):
    outcomes = measure(*({"shell": command} for command, _, _ in FAILURES))
    for (command, reason, error), outcome in zip(FAILURES, outcomes):
        assert (outcome["reason"], outcome["error"]) == (reason, error), command


@pytest.mark.parametrize("command, error", [
    # What is read first is what comes first.
    ("echo 2; sleep 60", "the output cannot be read: Input/output error"),
    ("echo oops >&2; sleep 60", "the output cannot be read (on standard error): Input/output error"),
])
def test_output_that_cannot_be_read_is_no_value(measure, failpoints, command, error):
    [outcome] = measure({"shell": command}, env={"TOCSIN_FAILPOINT": "child.read=error@1"})
    assert (outcome["reason"], outcome["error"]) == ("error", error)


def test_half_of_an_output_is_no_value(measure, failpoints):
    # After the first read comes one that finds nothing, or the end.
    [outcome] = measure({"shell": "echo 2; sleep 60"}, env={"TOCSIN_FAILPOINT": "child.read=error@2"})
    assert outcome["error"] == "the output cannot be read: Input/output error"


def test_only_the_end_of_a_long_complaint_is_told(measure):
    [outcome] = measure({"shell": "seq 100000 >&2; exit 1"})
    assert outcome["error"].startswith("exit status 1: ")
    assert outcome["error"].endswith("\n99999\n100000")
    assert len(outcome["error"]) <= 4096


def test_a_command_has_its_limits(measure):
    limits = {"soft_time_limit": "1s", "time_limit": "2s"}
    outcomes = measure({"shell": "sleep 60", **limits},
                       {"shell": "trap '' TERM; while :; do sleep 60; done", **limits},
                       {"shell": "trap 'echo 5; exit 0' TERM; sleep 60 & wait", **limits})
    assert [(o["reason"], o["error"]) for o in outcomes] == [
        ("timeout", "soft time limit (1s) exceeded"), ("timeout", "hard time limit (2s) exceeded"),
        ("timeout", "soft time limit (1s) exceeded")]


@pytest.mark.fault("F-E13")
def test_arguments_come_on_standard_input_and_in_the_environment(measure):
    args = {"days": 30, "name": "it's; rm -rf $HOME `id`\n", "deep": {"a": [1, 2.5]}, "no": None,
            "long": "x" * 70000}
    assert measure.value({"shell": "cat", "args": args}) == args
    assert measure.value({"shell": "cat"}) == {}
    assert measure.value({"shell": 'printf %s "$TOCSIN_ARG_NAME"', "args": args}) == args["name"].rstrip("\n")
    assert measure.value({"shell": 'echo "$TOCSIN_ARG_DAYS,$TOCSIN_ARG_NO"', "args": args}) == "30,null"
    assert measure.value({"shell": 'echo "$TOCSIN_ARG_DEEP"', "args": args}) == args["deep"]
    assert measure.value({"shell": 'echo "${TOCSIN_ARG_LONG-unset}"', "args": args}) == "unset"


@pytest.mark.fault("F-F10")
def test_a_command_does_not_see_our_environment(measure):
    names = "env | cut -d= -f1 | grep -v -e ^PWD -e ^OLDPWD -e ^SHLVL -e ^_ | sort"
    env = {"PGPASSWORD": "canary", "LANG": "C.UTF-8", "TZ": "UTC", "WANTED": "1", "TOCSIN_QUEUE": "q"}
    assert measure.value({"shell": names}, env=env) == "HOME\nLANG\nPATH\nTOCSIN_JOB\nTZ"
    assert measure.value({"shell": "echo $WANTED"}, env=env, options=("-s", "pass_environment=WANTED")) == 1


def limits(text):
    """/proc/self/limits as name -> (soft, hard)"""
    return {m[1]: (m[2], m[3])
            for m in re.finditer(r"^(Max [a-z ]+?) {2,}(\w+) +(\w+)", text, re.M)}


def test_a_command_has_no_more_than_its_limits(measure):
    look = {"shell": "umask; cat /proc/self/limits"}
    mask, _, text = measure.value(look).partition("\n")
    assert mask == "0077"
    usual = limits(text)
    assert usual["Max core file size"] == ("0", "0")
    assert usual["Max file size"] == (str(1 << 30),) * 2
    assert int(usual["Max open files"][1]) <= 1024
    ours = limits(measure.value({"shell": "cat /proc/self/limits"}, options=(
        "-s", "command_memory=2GiB", "-s", "command_file_size=0", "-s", "command_files=33",
        "-s", "command_processes=4321", "-s", "command_cpu=5s")))
    assert ours["Max address space"] == (str(2 << 30),) * 2
    assert ours["Max file size"] == limits(Path("/proc/self/limits").read_text())["Max file size"]
    assert ours["Max open files"] == ("33", "33")
    assert ours["Max processes"] == ("4321", "4321")
    assert ours["Max cpu time"] == ("5", "6")


def test_a_command_that_takes_more_than_it_may_fails(measure):
    outcomes = measure(
        {"shell": "head -c 200000 /dev/zero > large"},
        {"shell": "ulimit -f unlimited"},
        {"shell": "ulimit -c unlimited"},
        {"shell": "while :; do :; done"},
        options=("-s", "command_file_size=100KiB", "-s", "command_cpu=1s"))
    assert outcomes[0]["reason"] in ("exit", "signal"), outcomes
    assert (measure.directory / "large").stat().st_size <= 100 * 1024
    assert [o["reason"] for o in outcomes[1:3]] == ["exit", "exit"]
    assert outcomes[3]["reason"] == "signal" and outcomes[3]["error"].startswith("signal 24"), outcomes


def test_a_command_inherits_three_descriptors(measure):
    """Of a worker that has many, and several commands at once."""
    outcomes = measure(*[{"shell": "ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> .*\\)/\\1/'"}] * 4,
                       options=("-j", "4"))
    for outcome in outcomes:
        open_now = dict(line.split(" -> ") for line in outcome["value"].splitlines()[1:])
        # ls itself has its directory open
        assert set(open_now) - {"3"} == {"0", "1", "2"}, outcome
        assert "/proc/" in open_now["3"], outcome
        assert all(open_now[fd].startswith("pipe:") for fd in "12"), outcome


def test_a_command_is_in_a_session_of_its_own_and_has_no_terminal(measure):
    pid, group, session, tty = measure.value(
        {"shell": "ps -o pid=,pgid=,sess=,tty= -p $$"}).split()
    assert pid == group == session and tty == "?"


def test_a_start_that_finds_no_descriptor_waits_for_one(measure):
    outcomes = measure(*[{"shell": "sleep 0.3; echo 5"}] * 12, options=("-j", "12"), files=28)
    assert [outcome["value"] for outcome in outcomes] == [5] * 12
    assert max(outcome["ms"] for outcome in outcomes) > 600
    [outcome] = measure({"shell": "echo 5", "soft_time_limit": "1s"}, files=10)
    assert outcome["reason"] == "error"
    assert outcome["error"] == "cannot start a process: Too many open files"


def test_an_executor_that_is_not_allowed_is_refused(measure):
    [outcome] = measure({"shell": "echo 5"}, options=("-e", "sql"))
    assert outcome["reason"] == "refused"
    assert "'shell' is not allowed here" in outcome["error"]


def test_a_worker_that_dies_takes_its_commands_along(measure):
    process = measure.start({"shell": "trap '' TERM; echo $$ > pid; setsid -f sleep 600; sleep 600"})
    pid = measure.directory / "pid"
    wait_for(lambda: pid.exists() and pid.read_text())
    process.kill()
    process.communicate()
    # The daemon is looked for by nothing_left, in conftest.py.
    wait_for(lambda: has_gone(int(pid.read_text())))


def has_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# Through a cycle

def as_jsonb(value):
    """PostgreSQL knows one kind of number: 2.0 may come back as 2, and -0.0 as 0."""
    def number(text):
        x = float(text)
        return int(x) if x.is_integer() else x
    return exactly(json.loads(json.dumps(value), parse_float=number))


@pytest.mark.both_transports
@pytest.mark.fault("F-E09", "F-E10", "F-E11")
def test_what_was_computed_comes_into_the_books_as_it_is(cycles):
    """All values and all failures in one cycle."""
    bodies = [("sql", sql, value, None, None) for sql, value in VALUES]
    bodies += [("shell", command, value, None, None) for command, value in OUTPUTS]
    bodies += [("sql", sql, None, "error", error) for sql, error in ERRORS]
    bodies += [("shell", command, None, reason, error) for command, reason, error in FAILURES]
    text = "".join(f"[variables.v{n}]\n{way} = {json.dumps(body, ensure_ascii=False)}\n"
                   for n, (way, body, *_) in enumerate(bodies))
    names = [f"v{n}" for n in range(len(bodies))]
    evidences = range(0, len(names), 10)
    text += "".join(f"[evidences.e{n}]\ndefinition = 'count({', '.join(names[n:n + 10])}) >= 0'\n"
                    for n in evidences)
    text += "[events.everything]\ndefinition = '" + " or ".join(f"e{n}" for n in evidences) + "'\n"
    cycles.load(text)
    cycles.run(status=1)
    found = {name: row for name, *row in cycles.db.all(
        "select name, state, reason, value, error from tocsin.job where kind = 'variable'")}
    for name, (way, body, value, reason, error) in zip(names, bodies):
        state, why, computed, complaint = found[name]
        if reason is None:
            assert (state, why) == ("done", "ok"), (body, complaint)
            assert as_jsonb(computed) == as_jsonb(value), body
        else:
            assert (state, why) == ("failed", reason), body
            assert error in complaint, body
    assert not cycles.db.all("select name, error from tocsin.job where state = 'failed'"
                             " and kind <> 'variable'")
    check(cycles.db)
