"""What a run of the bench has shown, in words, in JSON and as a picture."""

import math
import statistics

KINDS = ("worker", "broker", "database")


def spread(values, digits=3):
    """The median, and the least and the most."""
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits),
            "max": round(max(values), digits), "n": len(values)}


def sum_up(samples, way, size):
    """The figures of a way at a size; None if it was not run there."""
    mine = [s for s in samples if (s["way"], s["size"]) == (way, size)]
    if not mine:
        return None
    found = {"way": way, "size": size, "jobs": mine[0]["jobs"],
             "busy": sum(s["busy"] for s in mine), "cycles": len(mine),
             "peak_mib": round(max(s["peak"] for s in mine), 1)}
    for name, those in (("first", [s for s in mine if s["first"]]),
                        ("later", [s for s in mine if not s["first"]])):
        if those:
            found[name] = spread([s["seconds"] for s in those], 4)
    steady = [s for s in mine if not s["first"]] or mine
    found["seconds"] = spread([s["seconds"] for s in steady], 4)
    found["jobs_per_s"] = round(found["jobs"] / found["seconds"]["median"])
    jobs = sum(s["jobs"] for s in steady)
    found["cpu_s_per_1000_jobs"] = {
        kind: round(1000 * sum(s["cpu"][kind] for s in steady) / jobs, 4) for kind in KINDS}
    found["cpu_s_per_cycle"] = {
        kind: round(sum(s["cpu"][kind] for s in steady) / len(steady), 3) for kind in KINDS}
    return found


def stretch(row, size, jobs):
    """What a peer would take for a larger graph, if it took as long for each job."""
    factor = jobs / row["jobs"]
    seconds = {k: round(v * factor, 1) if k != "n" else v for k, v in row["seconds"].items()}
    return {**row, "size": size, "jobs": jobs, "seconds": seconds, "later": seconds,
            "first": None, "from": row["size"]}


def compare(rows):
    """Add to each row how often it fits into Celery's times, and how often the
    batch that writes the same fits into its own."""
    for row in rows:
        for peer in ("celery", "celery-safe"):
            other = [r for r in rows if (r["way"], r["size"]) == (peer, row["size"])]
            if other:
                row[f"times_{peer}"] = round(
                    other[0]["seconds"]["median"] / row["seconds"]["median"], 2)
        batch = [r for r in rows if (r["way"], r["size"]) == ("batch-history", row["size"])]
        if batch:
            row["of_batch"] = round(row["seconds"]["median"] / batch[0]["seconds"]["median"], 2)


# --- the table ---


def number(x):
    if x is None:
        return "-"
    return f"{x:.0f}" if x >= 1000 else f"{x:.3g}" if x >= 0.1 else f"{x:.3f}"


def with_spread(s):
    return f"{number(s['median'])} ({number(s['min'])}-{number(s['max'])})" if s else "-"


COLUMNS = (
    ("", lambda r, t: t), ("first cycle, s", lambda r, t: with_spread(r.get("first"))),
    ("later cycles, s", lambda r, t: with_spread(r.get("later"))),
    ("x tuned", lambda r, t: number(r.get("times_celery"))),
    ("x safe", lambda r, t: number(r.get("times_celery-safe"))),
    ("/ batch", lambda r, t: number(r.get("of_batch"))),
    ("jobs/s", lambda r, t: number(r["jobs_per_s"])),
    ("worker", lambda r, t: number(r["cpu_s_per_1000_jobs"]["worker"])),
    ("broker", lambda r, t: number(r["cpu_s_per_1000_jobs"]["broker"])),
    ("database", lambda r, t: number(r["cpu_s_per_1000_jobs"]["database"])),
    ("MiB", lambda r, t: number(r["peak_mib"])),
    ("", lambda r, t: f"from {r['from']}" if r.get("from") else "busy!" if r["busy"] else ""),
)


def table(rows, titles, sizes):
    """Lines: for each size a block, medians with the least and the most."""
    lines = []
    for size, (variables, evidences, events) in sizes.items():
        block = [[head for head, _ in COLUMNS]]
        block += [[cell(row, titles[row["way"]]) for _, cell in COLUMNS]
                  for row in rows if row["size"] == size]
        widths = [max(len(line[i]) for line in block) for i in range(len(COLUMNS))]
        lines += ["", f"{size}: {variables} variables, {evidences} evidences, {events} events"
                  "; CPU seconds are for 1000 jobs executed"]
        lines += ["  ".join(text.ljust(w) if i in (0, len(COLUMNS) - 1) else text.rjust(w)
                            for i, (text, w) in enumerate(zip(line, widths))).rstrip()
                  for line in block]
    return lines


def judge_messages(rows, messages, limits):
    """Of each row that sends: messages a second, and as a share of the limit."""
    for row in rows:
        if n := messages.get((row["way"], row["size"])):
            kind = "quorum" if row["way"].startswith("quorum") else "classic"
            row["messages"] = round(n, 1)
            row["messages_per_s"] = round(n / row["seconds"]["median"])
            if limits and kind in limits:
                row["of_limit"] = round(row["messages_per_s"] / limits[kind]["median"], 3)
                row["jobs_of_limit"] = round(row["jobs_per_s"] / limits[kind]["median"], 3)


def message_lines(rows, titles):
    for row in rows:
        if "messages" in row:
            share = (f", {100 * row['of_limit']:.0f} % of the limit; the jobs that they bring are"
                     f" {100 * row['jobs_of_limit']:.0f} % of it" if "of_limit" in row else "")
            yield (f"messages, {row['size']}, {titles[row['way']]}: {number(row['messages'])} a cycle,"
                   f" {number(row['messages_per_s'])} a second{share}")


def age_lines(rows, samples):
    """Old books beside young ones, cycle by cycle."""
    for row in rows:
        pairs = [s for s in samples if s["size"] == row["size"] and "beside" in s and not s["first"]]
        if row["way"] == "aged" and pairs:
            row["of_young"] = spread([s["seconds"] / s["beside"]["seconds"] for s in pairs])
            row["database_of_young"] = round(sum(s["cpu"]["database"] for s in pairs) /
                                             sum(s["beside"]["cpu"]["database"] for s in pairs), 3)
            yield (f"old books, {row['size']}: {with_spread(row['of_young'])} times as long as in young"
                   f" ones, {len(pairs)} pairs; the database's CPU {row['database_of_young']} times\n")


def growth(rows, sizes):
    """For each way: what a job costs at each size beside the first of them."""
    found = {}
    for row in rows:
        if not row.get("from"):
            per_job = row["seconds"]["median"] / row["jobs"] * 1e6
            found.setdefault(row["way"], {})[row["size"]] = {
                "us_per_job": round(per_job, 1), "peak_mib": row["peak_mib"],
                "cpu_us_per_job": {k: round(v * 1000) for k, v in
                                   row["cpu_s_per_1000_jobs"].items()}}
    return {way: at for way, at in found.items() if len(at) > 1}


def growth_lines(found, titles):
    lines = ["", "growth: microseconds a job (and CPU of worker + broker + database), MiB"]
    for way, at in found.items():
        steps = [f"{size} {number(x['us_per_job'])} ({'+'.join(map(str, x['cpu_us_per_job'].values()))}),"
                 f" {number(x['peak_mib'])} MiB" for size, x in at.items()]
        lines.append(f"  {titles[way]}: " + "  ->  ".join(steps))
    return lines


# --- the picture ---

INK = ("#c0392b", "#e67e22", "#8e44ad", "#7f8c8d", "#2c3e50", "#16a085", "#2980b9", "#1f3a93",
       "#27ae60", "#0b6623")
WIDTH, HEIGHT, LEFT, TOP, ROOM = 900, 520, 70, 50, 290


def decades(low, high):
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


def svg(rows, titles, sizes):
    """Seconds of a cycle over the nodes of its graph, both axes by powers of ten.
    What was only reckoned from a smaller size is a dashed line."""
    nodes = {size: sum(n) for size, n in sizes.items()}
    seconds = [row["seconds"]["median"] for row in rows]
    xs, ys = decades(min(nodes.values()), max(nodes.values())), decades(min(seconds), max(seconds))
    wide, high = WIDTH - LEFT - ROOM, HEIGHT - TOP - 60

    def x(n):
        return LEFT + wide * (math.log10(n) - xs[0]) / max(1, xs[-1] - xs[0])

    def y(s):
        return TOP + high * (1 - (math.log10(s) - ys[0]) / max(1, ys[-1] - ys[0]))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
           ' font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">Seconds of a cycle, by the nodes of its'
           ' graph (medians; bars: least and most)</text>']
    for power in xs:
        at = x(10 ** power)
        out += [f'<path d="M{at:.1f} {TOP}V{TOP + high}" stroke="#ddd"/>',
                f'<text x="{at:.1f}" y="{TOP + high + 18}" text-anchor="middle">{10 ** power}</text>']
    for power in ys:
        at = y(10 ** power)
        out += [f'<path d="M{LEFT} {at:.1f}H{LEFT + wide}" stroke="#ddd"/>',
                f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0 ** power:g}</text>']
    for size, n in nodes.items():
        out.append(f'<text x="{x(n):.1f}" y="{TOP + high + 38}" text-anchor="middle"'
                   f' font-weight="bold">{size}</text>')
    for number_, (way, title) in enumerate(titles.items()):
        ink, mine = INK[number_ % len(INK)], [r for r in rows if r["way"] == way]
        for before, row in zip([None, *mine], mine):
            at, s = x(nodes[row["size"]]), row["seconds"]
            if before:
                dashed = ' stroke-dasharray="5 4"' if row.get("from") else ""
                out.append(f'<path d="M{x(nodes[before["size"]]):.1f}'
                           f' {y(before["seconds"]["median"]):.1f}L{at:.1f} {y(s["median"]):.1f}"'
                           f' stroke="{ink}" fill="none" stroke-width="1.8"{dashed}/>')
            out += [f'<path d="M{at:.1f} {y(s["min"]):.1f}V{y(s["max"]):.1f}" stroke="{ink}"/>',
                    f'<circle cx="{at:.1f}" cy="{y(s["median"]):.1f}" r="3.5" fill="{ink}"/>']
        legend = TOP + 10 + 20 * number_
        out += [f'<rect x="{LEFT + wide + 20}" y="{legend - 9}" width="12" height="10" fill="{ink}"/>',
                f'<text x="{LEFT + wide + 38}" y="{legend}">{title}</text>']
    return "\n".join(out + ["</svg>", ""])
