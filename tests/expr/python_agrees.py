"""Does Python agree?

Every expression of the tables and many random ones are evaluated twice: by
tests/expr/evaluate, and by Python's own eval().  Both must fail, or both must
give the same repr(), which tells 1 from 1.0 and from True, 0.0 from -0.0 and
a list from a tuple.

Where the language differs on purpose, Python is held to it, and nowhere else:
an int that leaves 64 bits *at any step*, a NaN, an infinity, a complex number
or a value larger than the bounds fails there, and so does formatting by %.

usage: python_agrees [--seed N] [--count N] [--evaluate PROGRAM]
"""
import argparse
import ast
import datetime as dt
import glob
import json
import math
import operator
import os
import random
import subprocess
import sys
import warnings

LIMIT = 1024 * 1024
UTC = dt.timezone.utc
NOW = dt.datetime(2026, 5, 1, 9, 30, 15, 250000, UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MICRO = dt.timedelta(microseconds=1)

NAMES = {
    "zero": 0, "one": 1, "n": 42, "neg": -7, "big": 2**63 - 1, "least": -2**63,
    "pi": 3.25, "tenth": 0.1, "huge": 1e300, "tiny": 5e-324, "minus0": -0.0,
    "yes": True, "no": False, "none": None,
    "s": "abc", "empty": "", "word": "gr\u00fc\u00dfe \U0001f514", "num": " 12 ", "quote": "it's",
    "xs": [1, 2.5, "x", None, [True]], "ints": [3, 1, 2, 2], "nothing": [],
    "floats": [0.1, 0.2, 0.3, 1e16, -1e16], "texts": ["b", "a", "\u00e9"],
    "d": {"a": 1, "b": {"c": [1, 2]}, "s": "text", "f": 0.5}, "hollow": {},
    "rows": [{"id": 1, "v": 1.5}, {"id": 2, "v": None}],
    "when": "2026-04-30T23:59:59.5Z", "day": "2024-02-29",
}


class Refused(Exception):
    """What the language does not have, though Python does."""


def checked(v):
    """V, if it is a value of the language."""
    if isinstance(v, bool) or v is None:
        return v
    if isinstance(v, int) and not -2**63 <= v < 2**63:
        raise Refused("integer overflow")
    if isinstance(v, float) and not math.isfinite(v):
        raise Refused("not finite")
    if isinstance(v, complex):
        raise Refused("complex")
    if isinstance(v, dt.timedelta) and not -2**63 <= v // MICRO < 2**63:
        raise Refused("timedelta")
    if isinstance(v, str) and len(v.encode()) > LIMIT:
        raise Refused("size")
    if isinstance(v, (list, tuple, dict)) and len(v) > LIMIT:
        raise Refused("size")
    return v


def power(a, b):
    if isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and b > 64:
        raise Refused("integer overflow")
    return a ** b


def times(a, b):
    for x, n in ((a, b), (b, a)):
        if isinstance(x, (str, list, tuple)) and isinstance(n, int):
            if len(x) * n > 4 * LIMIT:
                raise Refused("size")
    return a * b


def modulo(a, b):
    if isinstance(a, str):
        raise Refused("formatting")
    return a % b


def attribute(v, name):
    if isinstance(v, dict):
        return v[name]
    parts = {dt.datetime: "year month day hour minute second microsecond",
             dt.date: "year month day", dt.timedelta: "days seconds microseconds"}
    if name in parts.get(type(v), "").split():
        return getattr(v, name)
    raise AttributeError(name)


def method(v, name):
    methods = {dt.datetime: "weekday isoweekday date isoformat timestamp",
               dt.date: "weekday isoweekday isoformat", dt.timedelta: "total_seconds"}
    if name in methods.get(type(v), "").split():
        return getattr(v, name)()
    raise AttributeError(name)


def summed(items, start=0):
    if isinstance(start, str):
        raise TypeError("strings")
    for x in items:
        start = checked(start + x)
    return start


def as_datetime(v):
    if isinstance(v, str):
        v = dt.datetime.fromisoformat(v)
        return v.replace(tzinfo=UTC) if v.tzinfo is None else v.astimezone(UTC)
    if isinstance(v, dt.datetime):
        return v
    if isinstance(v, dt.date):
        return dt.datetime(v.year, v.month, v.day, tzinfo=UTC)
    raise TypeError(v)


def as_date(v):
    return as_datetime(v).date()


def as_int(*args, **keywords):
    if "base" in keywords or len(args) > 1:
        base = keywords.get("base", args[1] if len(args) > 1 else 10)
        if base == 0:
            raise Refused("base 0")
    return int(*args, **keywords)


FUNCTIONS = {
    "abs": abs, "min": min, "max": max, "sum": summed, "len": len, "round": round,
    "any": any, "all": all, "int": as_int, "float": float, "str": str, "bool": bool,
    "count": lambda *a: sum(map(bool, a)), "timedelta": dt.timedelta,
    "datetime": as_datetime, "date": as_date, "now": NOW,
    "_checked": checked, "_power": power, "_times": times, "_modulo": modulo,
    "_attribute": attribute, "_method": method, "__builtins__": {},
}


def call(name, *args):
    return ast.Call(ast.Name(name, ast.Load()), list(args), [])


class Watch(ast.NodeTransformer):
    """Every step of an evaluation passes through checked()."""

    def visit_UnaryOp(self, node):
        inner = node.operand
        if (isinstance(node.op, ast.USub) and isinstance(inner, ast.Constant)
                and inner.value == 2**63):
            return call("_checked", node)
        return self.generic(node)

    def visit_BinOp(self, node):
        self.generic_visit(node)
        name = {ast.Pow: "_power", ast.Mult: "_times", ast.Mod: "_modulo"}.get(type(node.op))
        if name:
            node = call(name, node.left, node.right)
        return call("_checked", node)

    def visit_Attribute(self, node):
        return call("_checked", call("_attribute", self.visit(node.value),
                                     ast.Constant(node.attr)))

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute):
            if node.args or node.keywords:
                raise SyntaxError("method arguments")
            return call("_checked", call("_method", self.visit(node.func.value),
                                         ast.Constant(node.func.attr)))
        node.args = [self.visit(a) for a in node.args]
        for k in node.keywords:
            k.value = self.visit(k.value)
        return call("_checked", node)

    def generic(self, node):
        self.generic_visit(node)
        return call("_checked", node)

    visit_Constant = visit_Name = visit_List = visit_Tuple = visit_Dict = generic
    visit_BoolOp = visit_Compare = visit_IfExp = visit_Subscript = generic


def by_python(text, names):
    """('repr', text) or ('error', text)."""
    try:
        if not text.strip():
            raise SyntaxError("nothing")
        tree = Watch().visit(ast.parse(f"({text}\n)", mode="eval"))
        code = compile(ast.fix_missing_locations(tree), "<expression>", "eval")
        return "repr", repr(eval(code, dict(FUNCTIONS), dict(names)))
    except Exception as e:
        return "error", f"{type(e).__name__}: {e}"


def by_tocsin(program, questions):
    now = (NOW - EPOCH) // MICRO
    lines = "".join(json.dumps({"e": e, "names": n, "now": now}) + "\n" for e, n in questions)
    out = subprocess.run([program], input=lines, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{program} died: {out.returncode}\n{out.stderr}")
    for line in out.stdout.splitlines():
        reply = json.loads(line)
        if "repr" in reply:
            yield "repr", reply["repr"]
        else:
            yield "error", f"{reply['line']}:{reply['column']} {reply['error']}"


class Random:
    """Expressions of a wanted type, most of the time."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *choices):
        return self.r.choice(choices)

    def any(self, depth):
        kind = self.pick("int", "int", "float", "float", "bool", "str", "list", "tuple",
                         "dict", "none", "datetime", "date", "timedelta")
        return self.of(kind, depth)

    def of(self, kind, depth):
        if self.r.random() < 0.06:
            kind = self.pick("int", "float", "bool", "str", "list", "tuple", "dict", "none",
                             "datetime", "date", "timedelta")
        if depth <= 0:
            return self.leaf(kind)
        if self.r.random() < 0.1:
            return (f"({self.of(kind, depth - 1)} if {self.of('bool', depth - 1)} "
                    f"else {self.of(kind, depth - 1)})")
        if self.r.random() < 0.05:
            return f"({self.of(kind, depth - 1)} {self.pick('and', 'or')} {self.of(kind, depth - 1)})"
        return getattr(self, kind)(depth - 1)

    def leaf(self, kind):
        r = self.r
        if kind == "int":
            return self.pick("zero", "one", "n", "neg", "big", "least", "0", "1", "2", "3",
                             "10", "0x1f", "1_000", str(r.randint(-9, 99)),
                             str(r.randint(-2**63, 2**63 - 1)), str(2**r.randint(0, 62)))
        if kind == "float":
            return self.pick("pi", "tenth", "huge", "tiny", "minus0", "0.0", "1.0", "2.5", "1e3",
                             "-1.5", ".5", "1e-7", repr(r.uniform(-100, 100)),
                             repr(math.ldexp(r.randint(1, 2**53), r.randint(-900, 900))),
                             repr(2.0 ** r.randint(-1074, 1023)), repr(round(r.uniform(0, 50), 2)))
        if kind == "bool":
            return self.pick("yes", "no", "True", "False")
        if kind == "str":
            return self.pick("s", "empty", "word", "num", "quote", "when", "day", "'x'", "''",
                             '"a\\tb\\x00\\u00e9"', "'''it's'''", "r'\\d'", "'a' 'b'", "'12'",
                             "'-0x1f'", "' 1_0.5e1 '", "'c'", "'\u00e9\u4e16'")
        if kind == "list":
            return self.pick("xs", "ints", "nothing", "floats", "texts", "rows", "[]", "[1, 2]",
                             "[0.5]", "['a', 'b']", "[[1], [2]]")
        if kind == "tuple":
            return self.pick("()", "(1,)", "(1, 'a')", "(1.0, 2)", "(None,)")
        if kind == "dict":
            return self.pick("d", "hollow", "{}", "{'a': 1}", "{1: 'x', True: 'y'}",
                             "{'a': 1, 'b': {'c': [1, 2]}}", "{(1, 2): None, 0.5: 1}")
        if kind == "none":
            return self.pick("none", "None")
        if kind == "datetime":
            return self.pick("now", "datetime(when)", "datetime(day)",
                             "datetime('2026-05-01T09:30:15.25+00:00')",
                             "datetime('1999-12-31')", "datetime('0001-01-01T00:00')",
                             "datetime('2026-05-01T11:30:00+02:00')")
        if kind == "date":
            return self.pick("now.date()", "date(day)", "date('9999-12-31')", "date(now)")
        return self.pick("timedelta(1)", "timedelta(hours=1.5)", "timedelta()", "timedelta(0, 1)",
                         "timedelta(weeks=-1, microseconds=1)", "timedelta(days=0.1, seconds=1e-7)",
                         f"timedelta(seconds={r.uniform(-1e6, 1e6)!r})", "timedelta(1, 2, 3)")

    def int(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('int', d)} {self.pick('+', '-', '*', '//', '%')} {o('int', d)})",
            lambda: f"({o('int', d)} {self.pick('+', '-', '*', '//', '%')} {o('bool', d)})",
            lambda: f"{o('int', d)} ** {self.pick('0', '1', '2', '3', '7', o('int', 0))}",
            lambda: f"-{o('int', d)}", lambda: f"abs({o('int', d)})",
            lambda: f"len({o(self.pick('str', 'list', 'dict', 'tuple'), d)})",
            lambda: f"int({o(self.pick('float', 'str', 'bool'), d)})",
            lambda: f"int('{self.r.randint(0, 255):x}', {self.pick('16', 'base=16', '36', '8')})",
            lambda: f"round({o(self.pick('float', 'int'), d)})",
            lambda: f"round({o('int', d)}, {self.pick('-1', '-2', '1', '0', '-19', '-30')})",
            lambda: f"sum({self.pick('ints', o('list', d))})",
            lambda: f"ints[{o('int', 0)}]", lambda: f"d.a + rows[{self.pick('0', '1', '-1')}].id",
            lambda: f"min({o('int', d)}, {o('int', d)})", lambda: f"max({o('list', d)}, default=3)",
            lambda: f"count({o('bool', d)}, {o('int', d)}, {o('str', d)})",
            lambda: f"{o('datetime', d)}.{self.pick('year', 'month', 'day', 'hour', 'microsecond', 'weekday()', 'isoweekday()')}",
            lambda: f"{o('timedelta', d)}.{self.pick('days', 'seconds', 'microseconds')}",
            lambda: f"({o('timedelta', d)} // {o('timedelta', d)})",
            lambda: f"-9223372036854775808 {self.pick('+', '//', '%', '-')} {o('int', d)}",
        )()

    def float(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('float', d)} {self.pick('+', '-', '*', '/', '//', '%')} {o('float', d)})",
            lambda: f"({o('float', d)} {self.pick('+', '-', '*', '/', '//', '%')} {o('int', d)})",
            lambda: f"({o('int', d)} {self.pick('+', '-', '*', '/', '//', '%')} {o('float', d)})",
            lambda: f"({o('int', d)} / {o('int', d)})",
            lambda: f"({o('float', d)} ** {self.pick('2', '0.5', '-1', o('float', 0), o('int', 0))})",
            lambda: f"({o('int', d)} ** {self.pick('-1', '-2', '0.5')})",
            lambda: f"round({o('float', d)}, {self.pick('0', '1', '2', '3', '15', '-1', '-2', '-300', '400', 'ndigits=1')})",
            lambda: f"-{o('float', d)}", lambda: f"+{o('float', d)}", lambda: f"abs({o('float', d)})",
            lambda: f"float({o(self.pick('int', 'str', 'bool'), d)})", lambda: f"sum(floats, {o('float', d)})",
            lambda: f"({o('timedelta', d)} / {o('timedelta', d)})",
            lambda: f"{o('timedelta', d)}.total_seconds()", lambda: f"{o('datetime', d)}.timestamp()",
            lambda: f"sum([{o('float', d)}, {o('int', d)}, {o('float', d)}])",
        )()

    def bool(self, d):
        o = self.of
        compare = ("==", "!=", "<", "<=", ">", ">=")
        kind = self.pick("int", "float", "str", "list", "tuple", "datetime", "date", "timedelta",
                         "bool")
        return self.pick(
            lambda: f"({o(kind, d)} {self.pick(*compare)} {o(kind, d)})",
            lambda: f"({o('int', d)} {self.pick(*compare)} {o('float', d)})",
            lambda: f"({o('int', d)} < {o('int', d)} {self.pick(*compare)} {o('float', d)})",
            lambda: f"({self.any(d)} {self.pick('==', '!=')} {self.any(d)})",
            lambda: f"({o('str', d)} {self.pick('in', 'not in')} {o('str', d)})",
            lambda: f"({self.any(d)} {self.pick('in', 'not in')} {o(self.pick('list', 'tuple', 'dict'), d)})",
            lambda: f"({self.any(d)} {self.pick('is', 'is not')} {self.pick('None', 'True', 'False')})",
            lambda: f"(not {self.any(d)})", lambda: f"bool({self.any(d)})",
            lambda: f"{self.pick('any', 'all')}({o(self.pick('list', 'tuple', 'str', 'dict'), d)})",
            lambda: f"({o('bool', d)} {self.pick('and', 'or')} {self.any(d)})",
        )()

    def str(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('str', d)} + {o('str', d)})", lambda: f"({o('str', d)} * {self.pick('0', '2', '-1', '3')})",
            lambda: f"({self.pick('2', 'True')} * {o('str', d)})",
            lambda: f"str({self.any(d)})", lambda: f"{o('str', d)}[{self.pick('0', '-1', '1', '2')}]",
            lambda: f"{o('str', d)}[{self.slice(d)}]", lambda: f"d.s", lambda: f"max({o('str', d)}, {o('str', d)})",
            lambda: f"{o(self.pick('datetime', 'date'), d)}.isoformat()", lambda: f"min({o('str', d)})",
        )()

    def slice(self, d):
        part = lambda: self.pick("", "", "0", "1", "-1", "2", "-3", "100", self.of("int", 0))
        return f"{part()}:{part()}" + self.pick("", "", ":", ":2", ":-1", ":-2", ":0")

    def list(self, d):
        o = self.of
        return self.pick(
            lambda: f"[{self.any(d)}, {self.any(d)}]", lambda: f"[{o('int', d)}, {o('int', d)},]",
            lambda: f"({o('list', d)} + {o('list', d)})", lambda: f"({o('list', d)} * {self.pick('0', '2', '3')})",
            lambda: f"{o('list', d)}[{self.slice(d)}]", lambda: f"sum([{o('list', d)}, {o('list', d)}], [])",
            lambda: "d.b.c", lambda: "d['b']['c']", lambda: f"xs[{self.pick('4', '-1')}]",
        )()

    def tuple(self, d):
        return self.pick(
            lambda: f"({self.any(d)}, {self.any(d)})", lambda: f"({self.any(d)},)",
            lambda: f"({self.of('tuple', d)} + {self.of('tuple', d)})", lambda: f"{self.of('tuple', d)}[{self.slice(d)}]",
            lambda: f"{self.of('tuple', d)} * 2",
        )()

    def dict(self, d):
        return self.pick(
            lambda: f"{{{self.of('str', d)}: {self.any(d)}, {self.any(d)}: {self.any(d)}}}",
            lambda: f"{{'a': {self.any(d)}}}", lambda: "d.b", lambda: "rows[0]",
        )()

    def none(self, d):
        return self.pick("none", "rows[1].v", "xs[3]", "None")

    def datetime(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('datetime', d)} {self.pick('+', '-')} {o('timedelta', d)})",
            lambda: f"({o('timedelta', d)} + {o('datetime', d)})", lambda: f"max(now, {o('datetime', d)})",
            lambda: f"datetime({o(self.pick('date', 'datetime'), d)})",
        )()

    def date(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('date', d)} {self.pick('+', '-')} {o('timedelta', d)})",
            lambda: f"{o('datetime', d)}.date()", lambda: f"date({o(self.pick('datetime', 'date'), d)})",
        )()

    def timedelta(self, d):
        o = self.of
        return self.pick(
            lambda: f"({o('datetime', d)} - {o('datetime', d)})", lambda: f"({o('date', d)} - {o('date', d)})",
            lambda: f"({o('timedelta', d)} {self.pick('+', '-', '%')} {o('timedelta', d)})",
            lambda: f"({o('timedelta', d)} {self.pick('*', '/', '//')} {o('int', d)})",
            lambda: f"({o('timedelta', d)} {self.pick('*', '/')} {o('float', d)})",
            lambda: f"({o('float', d)} * {o('timedelta', d)})",
            lambda: f"-{o('timedelta', d)}", lambda: f"abs({o('timedelta', d)})",
            lambda: f"timedelta({o('int', 0)}, {o('float', d)}, minutes={o('int', 0)})",
            lambda: f"timedelta(microseconds={o('float', d)}, milliseconds={o('float', d)})",
            lambda: f"timedelta(days={o('float', d)}, hours={o('float', d)}, seconds={o('float', d)})",
            lambda: f"sum([{o('timedelta', d)}, {o('timedelta', d)}], timedelta())",
        )()


def table_questions(folder):
    """Expressions of the tables; those of refused.test are not Python's."""
    for path in sorted(glob.glob(os.path.join(folder, "values-*.test"))):
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if line.strip() and not line.startswith("#"):
                    expression, names, _ = line.rstrip("\n").split(" | ")
                    yield (f"{os.path.basename(path)}:{number}", expression.strip(),
                           json.loads(names or "{}"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--evaluate", default=os.path.join("tests", "expr", "evaluate"))
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**9)
    warnings.simplefilter("ignore")

    folder = os.path.dirname(os.path.abspath(__file__))
    questions = list(table_questions(folder))
    tables = len(questions)
    source = Random(seed)
    for i in range(args.count):
        questions.append((f"random {i}", source.any(source.r.randint(1, 4)), NAMES))

    replies = list(by_tocsin(args.evaluate, [q[1:] for q in questions]))
    assert len(replies) == len(questions), "an answer for each question"
    bad = errors = 0
    for (where, text, names), (kind, ours) in zip(questions, replies):
        python_kind, theirs = by_python(text, names)
        errors += kind == "error"
        if kind == python_kind == "error" or (kind, ours) == (python_kind, theirs):
            continue
        bad += 1
        if bad <= 20:
            print(f"{where}: {text}\n    tocsin: {ours}\n    Python: {theirs}")
    print(f"python_agrees: seed {seed}: {tables} from tables, {args.count} random, "
          f"{errors} of all are errors, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
