"""What is done about a signal: what a command and a listener get to see."""

import json

from harness import definitions, wait_for

EVENT = """
    [variables.text]
    sql = "select repeat('x', :n)"
    args = {{ n = {size} }}
    [evidences.there]
    definition = "text != ''"
    [events.bell]
    definition = "there"
    interval = 0
    [reactions.ring]
    events = ["bell"]
    level = "alarm"
    {reaction}
"""


def ring(tmp_path, tocsin, reaction, size=10, status=0):
    tocsin("init")
    tocsin("load", definitions(tmp_path, EVENT.format(size=size, reaction=reaction)))
    tocsin("cycle", "--local", status=status)


def test_a_command_gets_the_signal(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, f"""command = 'env | grep ^TOCSIN_ | grep -v ^TOCSIN_JOB= > {tmp_path}/env
        cat > {tmp_path}/signal'""".replace("\n        ", "; "))
    run, key = db.one("select run_id, key::text from tocsin.delivery where state = 'delivered'")
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen == {"TOCSIN_EVENT": "bell", "TOCSIN_SIGNAL": "raise", "TOCSIN_LEVEL": "alarm",
                    "TOCSIN_CYCLE": str(run), "TOCSIN_KEY": key}
    signal = json.loads((tmp_path / "signal").read_text())
    assert (signal["event"], signal["signal"], signal["key"]) == ("bell", "raise", key)


def test_a_command_that_fails_is_told_in_its_delivery(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, "command = 'echo no bell >&2; exit 3'", status=None)
    assert db.one("select state, attempts, error from tocsin.delivery") == \
        ("pending", 1, "exit status 3: no bell")


def test_a_command_has_a_time_limit(tmp_path, db, tocsin):
    ring(tmp_path, tocsin, "command = 'sleep 600'\n    time_limit = '1s'", status=None)
    assert db.one("select error from tocsin.delivery") == "soft time limit (1s) exceeded"


def heard(listener):
    listener.poll()
    return [json.loads(notice.payload) for notice in listener.notifies]


def listen(db):
    listener = db.connect()
    listener.cursor().execute("listen alarms")
    return listener


def test_a_listener_gets_the_signal(tmp_path, db, tocsin):
    listener = listen(db)
    ring(tmp_path, tocsin, 'notify = "alarms"')
    wait_for(lambda: heard(listener))
    [signal] = heard(listener)
    assert (signal["event"], signal["signal"]) == ("bell", "raise")
    listener.close()


def test_a_signal_too_large_for_notify_is_announced(tmp_path, db, tocsin):
    listener = listen(db)
    ring(tmp_path, tocsin, 'notify = "alarms"', size=20000)
    wait_for(lambda: heard(listener))
    run, key = db.one("select run_id, key::text from tocsin.delivery where state = 'delivered'")
    [signal] = heard(listener)
    assert signal == {"event": "bell", "signal": "raise", "cycle": run, "level": "alarm",
                      "key": key, "truncated": True}
    listener.close()
