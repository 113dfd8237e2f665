"""What others say about recurrence rules and time zones.

    schedule_oracle.py rules SEED N

prints N lines "zone|rrule|dtstart|after|next" by python3-dateutil, times as
seconds since 1970, "-" where there is no next one.  Days and slower rules run
in local time, as ours do; of hours and faster ones dateutil knows nothing but
UTC.  Exit status 77 where dateutil is not installed.

    schedule_oracle.py zones SEED N

prints, by Python's zoneinfo, for N zones lines "zone|utc|t|offset" and
"zone|local|t|instant", at random and about the moments when clocks are set.
"""
import datetime
import random
import sys
import zoneinfo

try:
    from dateutil import rrule
except ImportError:
    if sys.argv[1] == "rules":
        sys.exit(77)

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


def some(random, values, most):
    return sorted(random.sample(list(values), random.randint(1, most)))


def by(name, values):
    return ";%s=%s" % (name, ",".join(str(v) for v in values))


def slow_rule(r):
    """A rule of days, weeks, months or years."""
    freq = r.choice(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
    text = "FREQ=" + freq
    parts = 0
    if r.random() < 0.5:
        text += ";INTERVAL=%d" % r.choice([1, 2, 3, 4, 5, 7, 10, 13])
    if r.random() < 0.3:
        text += by("BYMONTH", some(r, range(1, 13), 4))
        parts += 1
    if freq in ("MONTHLY", "YEARLY", "DAILY") and r.random() < 0.3:
        text += by("BYMONTHDAY", some(r, list(range(1, 32)) + [-1, -2, -10], 4))
        parts += 1
    elif freq == "YEARLY" and r.random() < 0.2:
        text += by("BYYEARDAY", some(r, list(range(1, 367)) + [-1, -100], 4))
        parts += 1
    if r.random() < 0.4:
        days = r.sample(DAYS, r.randint(1, 3))
        if freq in ("MONTHLY", "YEARLY") and "BYMONTHDAY" not in text \
                and "BYYEARDAY" not in text and r.random() < 0.5:
            days = [r.choice(["1", "2", "-1", "+3"]) + d for d in days]
        text += by("BYDAY", days)
        parts += 1
    if r.random() < 0.2 and "BYWEEKNO" not in text:
        text += ";WKST=" + r.choice(DAYS)
    if r.random() < 0.4:
        text += by("BYHOUR", some(r, range(4, 24), 3))
        parts += 1
    if r.random() < 0.3:
        text += by("BYMINUTE", some(r, range(60), 3))
        parts += 1
    if r.random() < 0.1:
        text += by("BYSECOND", some(r, range(60), 3))
        parts += 1
    if parts and r.random() < 0.2:
        text += by("BYSETPOS", [r.choice([1, 2, -1, -2])])
    return text


def fast_rule(r):
    """A rule of hours, minutes or seconds."""
    freq = r.choice(["HOURLY", "MINUTELY", "SECONDLY"])
    text = "FREQ=" + freq
    if r.random() < 0.6:
        text += ";INTERVAL=%d" % r.choice([1, 2, 3, 5, 7, 10, 15, 25, 45])
    slow = freq != "SECONDLY"           # or dateutil would be
    if slow and r.random() < 0.2:
        text += by("BYMONTH", some(r, range(1, 13), 6))
    if slow and r.random() < 0.3:
        text += by("BYDAY", r.sample(DAYS, r.randint(2, 5)))
    elif slow and r.random() < 0.2:
        text += by("BYMONTHDAY", some(r, list(range(1, 29)) + [-1, -2], 8))
    if r.random() < 0.3:
        text += by("BYHOUR", some(r, range(24), 12))
    if r.random() < 0.3:
        text += by("BYMINUTE", some(r, range(60), 20))
    if r.random() < 0.2:
        text += by("BYSECOND", some(r, range(60), 20))
    return text


def seconds(t):
    return int((t - EPOCH).total_seconds())


def following(text, zone, start, after):
    """The first instant after AFTER, or None.  A local time that was moved
    out of a gap can come to lie behind later ones."""
    best = None
    for i, local in enumerate(rrule.rrulestr(text, dtstart=start.replace(tzinfo=None))):
        t = local.replace(tzinfo=zone).astimezone(UTC)
        if best is not None and local > best.astimezone(zone).replace(tzinfo=None):
            return best
        if t > after and (best is None or t < best):
            best = t
        if i > 3000:
            raise OverflowError
    return best


def line(r):
    fast = r.random() < 0.3
    zone = zoneinfo.ZoneInfo("UTC" if fast else r.choice(ZONES))
    text = fast_rule(r) if fast else slow_rule(r)
    start = EPOCH + datetime.timedelta(seconds=r.randrange(1577836800, 1893456000))
    span = r.choice([3600, 86400]) if fast else r.choice([10, 100, 800]) * 86400
    after = start + datetime.timedelta(seconds=r.randrange(-3600, span))
    local = start.astimezone(zone)
    if local.astimezone(UTC).astimezone(zone).replace(fold=0).utcoffset() != local.utcoffset():
        raise OverflowError     # the doubled hour, the second time
    if r.random() < 0.15:
        text += ";COUNT=%d" % r.choice([1, 5, 50])
    elif r.random() < 0.15:
        until = start + datetime.timedelta(seconds=r.randrange(0, 2 * span))
        # dateutil's start has no zone, so its UNTIL must have none either.
        text += until.astimezone(zone).strftime(";UNTIL=%Y%m%dT%H%M%S")
    found = following(text, zone, local, after)
    return "%s|%s|%d|%d|%s" % (zone.key, text, seconds(start), seconds(after),
                               seconds(found) if found else "-")


def rules(r, n):
    while n > 0:
        try:
            print(line(r))
            n -= 1
        except (OverflowError, ValueError):     # dateutil would search for ever
            continue


def offset(zone, t):
    return int((EPOCH + datetime.timedelta(seconds=t)).astimezone(zone)
               .utcoffset().total_seconds())


def instant(zone, local):
    t = EPOCH.replace(tzinfo=None) + datetime.timedelta(seconds=local)
    return seconds(t.replace(tzinfo=zone).astimezone(UTC))


def changes(zone):
    """When clocks are set, from 1970 to 2060."""
    week = 7 * 86400
    for late in range(week, 2840140800, week):
        early = late - week
        if offset(zone, early) == offset(zone, late):
            continue
        while late - early > 1:
            middle = (early + late) // 2
            if offset(zone, middle) == offset(zone, late):
                late = middle
            else:
                early = middle
        yield late


def zones(r, n):
    names = ZONES[:]
    names += r.sample(sorted(zoneinfo.available_timezones() - set(names)), n - len(names))
    for name in names:
        zone = zoneinfo.ZoneInfo(name)
        times = [r.randrange(-2200000000, 7000000000) for _ in range(50)]
        for t in changes(zone):
            times += [t + d for d in (-1, 0, 1, r.randrange(-90000, 90000))]
        for t in times:
            print("%s|utc|%d|%d" % (name, t, offset(zone, t)))
            for d in (-3600, -1800, -1, 0, 1, 1800, 3600):
                local = t + offset(zone, t - 1) + d
                print("%s|local|%d|%d" % (name, local, instant(zone, local)))


def main():
    {"rules": rules, "zones": zones}[sys.argv[1]](
        random.Random(int(sys.argv[2])), int(sys.argv[3]))


main()
