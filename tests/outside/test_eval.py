"""tocsin eval: the expression language from the command line."""

import json
import re
import shlex
import time

import pytest

from harness import SOURCE

pytestmark = pytest.mark.commands

# EXPR NAME=JSON... -> the value, or the error that is told
TABLE = r"""
1                                                       | 1
2 ** 10 - 1                                             | 1023
7 // 2, -7 // 2, -7 % 3, 7 / 2                          | [3, -4, 2, 3.5]
liquidity - due * 1.1       liquidity=1000 due=900      | 9.999999999999886
0.1 + 0.2                                               | 0.30000000000000004
1e22, 2.0, 1.5e-7                                       | [1e22, 2.0, 1.5e-7]
True and not False                                      | true
None is None                                            | true
x is None                   x=null                      | true
x or 5                      x=0                         | 5
1 < x < 3                   x=2                         | true
'a' in x                    x=["a","b"]                 | true
'a' not in x                x={"b":1}                   | true
x[-1]                       x=[1,2,3]                   | 3
x['k']                      x={"k":[true]}              | [true]
x.k.deep                    x={"k":{"deep":"ü"}}        | "ü"
'yes' if x > 1 else 'no'    x=1                         | "no"
(1, 2) == (1, 2)                                        | true
{'a': 1, 'b': [2]}                                      | {"a": 1, "b": [2]}
abs(-3) + min(4, 2) + max([1, 9])                       | 14
sum(x) / len(x)             x=[1,2,3,6]                 | 3.0
round(2.5), round(2.675, 2)                             | [2, 2.67]
any([0, 1]), all([0, 1])                                | [true, false]
int('12'), float('1.5'), str(3), bool('')               | [12, 1.5, "3", false]
count(a, b, c)              a=true b=0 c="x"            | 2
now                                                     | "2026-05-01T09:00:00Z"
now.isoweekday()                                        | 5
9223372036854775807                                     | 9223372036854775807
9223372036854775807 + 1                                 | 1:21: integer overflow
1 / zero                    zero=0                      | 1:3: division by zero
x + 1                                                   | 1:1: unknown name 'x'
counter                     coutner=1                   | 1:1: unknown name 'counter'; did you mean 'coutner'?
lenn(x)                     x=1                         | 1:1: unknown function 'lenn'; did you mean 'len'?
'a' + x                     x=1                         | 1:5: can only concatenate str (not "int") to str
x.b                         x={"a":1}                   | 1:3: 'dict' object has no attribute 'b' (x is a dict)
x[5]                        x=[1]                       | 1:2: list index out of range: 5 of 1
1 +                                                     | 1:4: the expression ends
'a' * 100000000                                         | 1:5: a value larger than 1048576
10 ** 10 ** 10                                          | 1:4: integer overflow
1e308 * 10                                              | 1:7: float overflow
__import__('os')                                        | 1:1: unknown function
().__class__                                            | 1:4: 'tuple' object has no attribute '__class__'
[x for x in y]              y=[1]                       | 1:4: a comprehension is not part of
lambda: 1                                               | 1:1: 'lambda' is not part of
x = 1                       x=1                         | 1:3: '=' is not part of
"""


def rows():
    for line in TABLE.strip().splitlines():
        words, wanted = line.rsplit("| ", 1)
        expression, *names = re.split(r"\s{2,}", words.strip())
        yield pytest.param(expression, names[0].split() if names else [], wanted, id=expression)


@pytest.mark.parametrize("expression, names, wanted", rows())
def test_an_expression_has_the_value_of_the_table(tocsin, expression, names, wanted):
    is_error = re.match(r"\d+:", wanted)
    r = tocsin("eval", "--now", "2026-05-01T09:00:00Z", "--", expression, *names,
               status=1 if is_error else 0)
    if is_error:
        assert r.stdout == "" and r.stderr.count("\n") == 1
        assert r.stderr.startswith(f"tocsin eval: {wanted}"), r
    else:
        assert r.stderr == "" and r.stdout.count("\n") == 1
        got = json.loads(r.stdout)
        assert got == json.loads(wanted) and repr(got) == repr(json.loads(wanted)), r


def test_the_examples_of_the_manual_are_true(tocsin):
    page = (SOURCE / "man/tocsin-eval.1").read_text()
    text = re.search(r"\.Sh EXAMPLES\n\.Bd.*?\n(.*?)\.Ed", page, re.S).group(1)
    examples = re.findall(r"^\$ tocsin (.*)\n(.*)$", text.replace(r"\e", "\\"), re.M)
    assert len(examples) >= 5
    for words, answer in examples:
        r = tocsin(*shlex.split(words), status=None)
        assert r.stdout + r.stderr == answer + "\n", words


def test_errors_in_later_lines_are_placed_there(tocsin):
    assert tocsin("eval", "a +\n  'ä' + b", 'a="x"', status=1).stderr.startswith(
        "tocsin eval: 2:9: unknown name 'b'")


@pytest.mark.parametrize("word, message", [
    ("x", "'x' should be NAME=JSON"),
    ("x=abc", "x: not JSON: invalid token near 'abc' (a text needs quotes: x='\"text\"')"),
    ("x=", "x: not JSON: .*"),
    ("x=1 2", "x: not JSON: .*"),
    ("x=[1,]", "x: not JSON: .*"),
    ('x={"a":1,"a":2}', "x: not JSON: duplicate object key.*"),
    ("x=NaN", "x: not JSON: .*"),
    ("x=1e400", "x: .*real number overflow.*"),
    ("x=99999999999999999999", "x: .*too big integer.*"),
    ('x="\\u0000"', "x: .*"),
    ("x='a'", "x: not JSON: .*"),
    ("=3", "a name is missing"),
    ("1x=3", "'1x' is not a name: .*"),
    ("ä=3", "'ä' is not a name: .*"),
    ("x y=3", "'x y' is not a name: .*"),
    ("if=3", "'if' is a keyword of the expression language"),
    ("len=3", "'len' is a function of the expression language"),
    ("now=3", "'now' is the time of the cycle in the expression language"),
    ("\033[31m=3", r"'\\x1b\[31m' is not a name: .*"),
    ('x="\033[31m"', "x: .*"),
    ("y=1", "y is given twice"),
])
def test_what_is_no_value_is_a_mistake_in_usage(tocsin, word, message):
    r = tocsin("eval", "y", "y=1", word, status=2)
    assert r.stdout == "" and r.stderr.count("\n") == 1
    line = r.stderr[len("tocsin eval: "):-1]
    assert line == message or re.fullmatch(message, line), r
    assert "\033" not in line


def test_bytes_that_are_no_utf8_are_refused(tocsin):
    r = tocsin("eval", "x", b"x=\xff\x9b".decode(errors="surrogateescape"), status=None)
    assert r.status == 2 and "\ufffd" not in r.stderr, r
    r = tocsin("eval", b"'\xff'".decode(errors="surrogateescape"), status=1)
    assert "\ufffd" not in r.stderr and r.stderr.startswith("tocsin eval: 1:"), r


@pytest.mark.parametrize("value", ["[" * 100000 + "]" * 100000, '{"a":' * 50000 + "1" + "}" * 50000],
                         ids=["lists", "objects"])
def test_depth_is_an_error_and_no_crash(tocsin, value):
    """One argument of the system may have 128 KiB; so may a value."""
    value = value[:120000]
    r = tocsin("eval", "x == x", "x=" + value, status=2)
    assert r.stderr.startswith("tocsin eval: x: ") and len(r.stderr) < 2000


@pytest.mark.parametrize("expression", [
    "(" * 50000 + "1" + ")" * 50000, "not " * 20000 + "1", "-" * 60000 + "1", "1" + "+1" * 30000,
    "x" * 65000, "[" * 60000, "'" + "a" * 70000, "9" * 60000, "1 if " * 12000, "a[" * 30000])
def test_a_hostile_expression_is_an_answer_and_no_crash(tocsin, expression):
    started = time.monotonic()
    r = tocsin("eval", "--", expression, status=None)
    assert r.status in (0, 1), r
    assert time.monotonic() - started < 5
    assert len(r.stderr) < 2000


def test_work_is_bounded(tocsin):
    big = json.dumps(list(range(20000)))
    started = time.monotonic()
    r = tocsin("eval", "sum(" + " + ".join(["sum(x)"] * 500) + ")", "x=" + big, status=1)
    assert time.monotonic() - started < 5
    assert r.stderr.startswith("tocsin eval: 1:"), r


def test_now_is_the_clock_or_what_is_said(tocsin):
    assert abs(json.loads(tocsin("eval", "now.timestamp()").stdout) - time.time()) < 10
    for text in "infinity", "-infinity", "tomorrow", "":
        r = tocsin("eval", "now", f"--now={text}", status=2)
        assert re.fullmatch("tocsin eval: --now: .+\n", r.stderr), r


def test_nothing_of_the_value_is_lost(tocsin):
    value = {"ü": ["\u001b[31m", "\u009b", "\\", '"', "\u2028", "𝄞"], "": None, "n": -0.0,
             "big": -2 ** 63, "f": 1e-320}
    r = tocsin("eval", "x", "x=" + json.dumps(value))
    assert r.json() == value and "\033" not in r.stdout
