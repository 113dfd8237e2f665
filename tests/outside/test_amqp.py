"""One AMQP connection: what goes through it, and what ends it.

The tool tests/outside/amqp_probe is io/amqp.h with a line of JSON for each call
and each event.  `broker' is a real RabbitMQ; `Hostile' only claims to be one.
"""

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import threading
import time
from collections import Counter

import pytest

import probe as probe_base
from certificates import certificates  # noqa: F401
from harness import wait_for

FRAME_BODY = 131072 - 8


class Probe(probe_base.Probe):
    program = "amqp_probe"

    def connect(self, url, **settings):
        self("new", {"url": url, **settings})
        return self.next("ready")

    def refused(self, url, **settings):
        """The text of the failure, and how long it took."""
        began = time.monotonic()
        self("new", {"url": url, **settings})
        event = self.next("closed", 15)
        return event["text"], time.monotonic() - began

    def answered(self, method, **fields):
        return self.next("answered", asked=f"AMQP_{method}_METHOD", **fields)

    def declare(self, queue, channel=1, **more):
        self("queue", channel, {"name": queue, **more})
        return self.answered("QUEUE_DECLARE", channel=channel)

    def state(self):
        self("state")
        return self.next("state")

    def delivered(self, timeout=10):
        event = self.next("delivered", timeout)
        event["body"] = (self.directory / event["body"]).read_bytes()
        return event

    def leave(self):
        self("quit")


@pytest.fixture
def new_probe(tmp_path):
    probes = []

    def make():
        probes.append(Probe(tmp_path, len(probes)))
        return probes[-1]
    yield make
    for each in probes:
        each.end()


@pytest.fixture
def probe(new_probe):
    return new_probe()


# What goes through


def test_twenty_thousand_messages_come_back_byte_for_byte(broker, new_probe):
    out, back = new_probe(), new_probe()
    out.connect(broker.url)
    out.declare("numbered")
    back.connect(broker.url)
    back("qos", 1, 500)
    back("drain", 1, 20000)
    back("consume", 1, "numbered", "drain")
    sizes = [400] * 46 + [0, 1, FRAME_BODY, FRAME_BODY + 1]
    out("pump", 1, {"queue": "numbered", "count": 20000, "sizes": sizes})
    out.next("pumped", 120)
    drained = back.next("drained", 120)
    assert drained["got"] == 20000 and drained["wrong"] == 0
    print("published", out.events[-1], "consumed", drained)


@pytest.mark.parametrize("size", [0, 1, FRAME_BODY - 1, FRAME_BODY, FRAME_BODY + 1, 8 << 20])
def test_a_body_of_any_size_comes_back(broker, probe, tmp_path, size):
    body = os.urandom(size)
    (tmp_path / "body").write_bytes(body)
    probe.connect(broker.url)
    probe.declare("sizes")
    probe("confirms", 1)
    probe("publish", 1, {"exchange": "", "key": "sizes", "file": "body"})
    probe.next("confirmed", tag=1, ack=True)
    probe("consume", 1, "sizes", "c")
    assert probe.delivered()["body"] == body


HEADERS = {"lang": "py", "retries": 0, "eta": None, "big": -2**63, "float": 1.5, "utf8": "zwölf ☃",
           "yes": True, "no": False, "empty": {}, "none": [],
           "stamped": {"deep": [{"deeper": [[], [None, {"deepest": "x" * 300}]]}]}}


def test_nested_headers_come_back(broker, probe):
    probe.connect(broker.url)
    probe.declare("tables")
    probe("publish", 1, {"exchange": "", "key": "tables", "headers": HEADERS})
    probe("consume", 1, "tables", "c")
    properties = probe.delivered()["properties"]
    assert properties["headers"] == HEADERS
    assert properties["content_type"] == "application/x-probe"


def test_another_client_reads_and_writes_the_same(broker, probe):
    import amqp
    headers = {k: v for k, v in HEADERS.items() if k != "big"}
    probe.connect(broker.url)
    probe.declare("shared")
    probe("publish", 1, {"exchange": "", "key": "shared", "headers": headers, "size": 5})
    with broker.connect() as connection:
        channel = connection.channel()
        message = wait_for(lambda: channel.basic_get("shared", no_ack=True))
        assert message.headers == headers and len(message.body) == 5
        channel.basic_publish(amqp.Message(b"\x00\xff", application_headers=headers),
                              routing_key="shared")
    probe("consume", 1, "shared", "c")
    event = probe.delivered()
    assert event["properties"]["headers"] == headers and event["body"] == b"\x00\xff"


def test_headers_larger_than_a_frame_are_refused_before_anything_is_sent(broker, probe):
    probe.connect(broker.url)
    probe.declare("large")
    probe("confirms", 1)
    probe("publish", 1, {"exchange": "", "key": "large", "blob": 131072})
    assert "do not fit into a frame" in probe.next("not_published")["text"]
    probe("publish", 1, {"exchange": "", "key": "k" * 256})
    assert "longer than 255" in probe.next("not_published")["text"]
    assert probe.state()["backlog"] == 0
    probe("publish", 1, {"exchange": "", "key": "large", "blob": 131000})
    probe.next("confirmed", tag=1)


def test_headers_that_nest_too_deeply_are_handed_over_as_not_understood(broker, probe):
    import amqp
    deep = {}
    for _ in range(70):
        deep = {"d": deep}
    probe.connect(broker.url)
    probe.declare("deep")
    with broker.connect() as connection:
        connection.channel().basic_publish(
            amqp.Message(b"body", application_headers=deep), routing_key="deep")
    probe("consume", 1, "deep", "c")
    event = probe.delivered()
    assert event["properties"] is None and event["body"] == b"body"


def test_a_return_comes_before_its_confirm(broker, probe):
    probe.connect(broker.url)
    probe("confirms", 1)
    for n in range(100):
        probe("publish", 1, {"exchange": "", "key": f"nowhere-{n}", "size": n, "mandatory": True})
    confirmed = 0
    while confirmed < 100:
        event = probe.next("confirmed")
        confirmed = event["tag"] if event["multiple"] else confirmed + 1
    returned = []
    for event in [e for _, e in probe.events]:
        if event["event"] == "returned":
            assert event["code"] == 312 and event["size"] == len(returned)
            returned.append(event["key"])
        elif event["event"] == "confirmed":
            assert len(returned) >= event["tag"]
    assert len(returned) == 100


def test_a_nack_is_told(broker, probe):
    probe.connect(broker.url)
    probe.declare("short", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    probe("confirms", 1)
    for _ in range(5):
        probe("publish", 1, {"exchange": "", "key": "short"})
    probe.next("confirmed", ack=False)


def test_what_is_nacked_comes_again(broker, probe):
    probe.connect(broker.url)
    probe.declare("again")
    probe("qos", 1, 1)
    probe("publish", 1, {"exchange": "", "key": "again"})
    probe("consume", 1, "again", "c")
    event = probe.delivered()
    assert not event["redelivered"]
    probe("nack", 1, event["tag"], True)
    event = probe.delivered()
    assert event["redelivered"]
    probe("ack", 1, event["tag"], False)
    probe("cancel", 1, "c")
    probe.answered("BASIC_CANCEL", name="c")
    probe("purge", 1, "again")
    assert probe.answered("QUEUE_PURGE")["messages"] == 0


def test_exchanges_and_bindings_route(broker, probe):
    probe.connect(broker.url)
    probe("exchange", 1, {"name": "x", "type": "topic", "durable": True})
    probe.answered("EXCHANGE_DECLARE")
    name = probe.declare("", auto_delete=True)["name"]
    assert name.startswith("amq.gen")
    probe("bind", 1, name, "x", "worker.#")
    probe.answered("QUEUE_BIND")
    probe("consume", 1, name, "")
    assert probe.answered("BASIC_CONSUME")["name"].startswith("amq.ctag")
    probe("publish", 1, {"exchange": "x", "key": "task.sent"})
    probe("publish", 1, {"exchange": "x", "key": "worker.online"})
    assert probe.delivered()["key"] == "worker.online"
    assert len(probe.seen("delivered")) == 1


def test_a_consumer_hears_that_its_queue_is_gone(broker, probe):
    probe.connect(broker.url)
    probe.declare("gone")
    probe("consume", 1, "gone", "c")
    probe.answered("BASIC_CONSUME")
    with broker.connect() as connection:
        connection.channel().queue_delete("gone")
    assert probe.next("cancelled")["consumer"] == "c"


# Channels


def test_answers_may_overtake_each_other(broker, probe):
    """The consumer's comes from the process of its queue, the others from the
    channel's own: all that is said in one write is answered, in any order."""
    probe.connect(broker.url)
    probe.declare("overtaken")
    rounds = 50
    for n in range(rounds):
        probe.say_all(["consume", 1, "overtaken", f"c{n}"], *[["qos", 1, n + 1]] * 5)
        probe.answered("BASIC_CONSUME", name=f"c{n}")
        probe.say_all(["cancel", 1, f"c{n}"], *[["qos", 1, n + 2]] * 5)
    wait_for(lambda: len(probe.seen("answered")) == 1 + 12 * rounds or probe.seen("closed"), 10)
    assert probe.seen("closed") == []
    kinds = [event["asked"] for event in probe.seen("answered")]
    assert Counter(kinds) == {
        "AMQP_QUEUE_DECLARE_METHOD": 1, "AMQP_BASIC_QOS_METHOD": 10 * rounds,
        "AMQP_BASIC_CONSUME_METHOD": rounds, "AMQP_BASIC_CANCEL_METHOD": rounds}
    # They did, when this was written: a consume-ok came third or fourth.


def test_after_a_channel_error_another_channel_works_and_this_one_opens_again(broker, probe):
    probe.connect(broker.url)
    probe.declare("mine", durable=True)
    probe("open", 2)
    probe("queue", 2, {"name": "mine"})
    closed = probe.next("channel_closed", channel=2)
    assert closed["code"] == 406 and "inequivalent arg 'durable'" in closed["text"]
    probe.declare("other")
    probe("open", 2)
    assert probe.declare("mine", channel=2, passive=True)["messages"] == 0
    probe("queue", 2, {"name": "nowhere", "passive": True})
    assert probe.next("channel_closed", channel=2)["code"] == 404
    probe("ack", 1, 77, False)
    assert probe.next("channel_closed", channel=1)["code"] == 406
    probe("publish", 1, {"exchange": "", "key": "mine"})
    assert "not connected" in probe.next("not_published")["text"]
    probe("open", 1)
    probe.declare("other")


def test_a_channel_can_be_closed(broker, probe):
    probe.connect(broker.url)
    probe("open", 3)
    probe("consume", 3, probe.declare("q")["name"], "c")
    probe("shut", 3)
    probe.answered("CHANNEL_CLOSE", channel=3)
    probe("open", 3)
    probe.answered("CHANNEL_OPEN", channel=3)


def test_a_name_too_long_ends_the_connection_and_says_so(broker, probe):
    probe.connect(broker.url)
    probe("queue", 1, {"name": "q" * 256})
    assert "longer than 255" in probe.next("closed")["text"]


# Alarms, silence, ends


def test_under_an_alarm_nothing_blocks_and_then_it_goes_on(broker, sandbox, probe):
    probe.connect(broker.url, heartbeat=2, high_water=1 << 20)
    probe.declare("alarm")
    sandbox.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
    try:
        probe.state()
        waited = probe.waited()
        began = time.monotonic()
        probe("pump", 1, {"queue": "alarm", "count": 20000, "sizes": [4000]})
        assert "memory" in probe.next("blocked")["reason"]
        wait_for(lambda: time.monotonic() - began > 6)	# longer than two heartbeats
        state = probe.state()
        assert state["full"] and state["ready"] and state["backlog"] < (1 << 20) + 20000
        # For what neighbours take of the machine nobody can answer.
        assert state["lag"] < 0.1 + probe.waited() - waited
    finally:
        sandbox.rabbitmqctl("set_vm_memory_high_watermark", "0.4")
    probe.next("blocked", reason=None)
    probe.next("pumped", 60)
    print("lag", state["lag"], "and then", probe.state()["lag"])
    assert not probe.seen("closed")
    assert broker.depth("alarm") == 20000


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_silent_broker_is_given_up_after_two_heartbeats(broker, sandbox, probe):
    probe.connect(broker.url, heartbeat=2)
    with stopped(sandbox.pid("rabbitmq")):
        began = time.monotonic()
        text = probe.next("closed", 10)["text"]
        assert probe.when - began < 5
    assert "silent for two heartbeats" in text


def test_an_idle_connection_lives_and_so_does_one_that_was_stopped(broker, probe):
    probe.connect(broker.url, heartbeat=2)
    with pytest.raises(AssertionError):
        probe.next("closed", 7)
    # Less than the broker's patience, more than ours.
    with stopped(probe.process.pid):
        time.sleep(3)
    probe.declare("still-there")
    assert not probe.seen("closed")


def test_a_broker_that_goes_down_says_so(broker, sandbox, probe):
    probe.connect(broker.url)
    sandbox.stop("rabbitmq")
    try:
        assert "CONNECTION_FORCED" in probe.next("closed", 20)["text"]
    finally:
        sandbox.start("rabbitmq")


def test_a_broker_that_is_killed_is_noticed_and_found_again(broker, sandbox, probe):
    probe.connect(broker.url, reconnect=False)
    sandbox.kill("rabbitmq")
    try:
        assert "lost" in (text := probe.next("closed")["text"]) or "closed" in text
        probe("connect")
        assert "Connection refused" in probe.next("closed")["text"]
    finally:
        sandbox.start("rabbitmq")
    probe("connect")
    probe.next("ready")


def test_goodbye_is_said_after_all_that_was_written(broker, probe):
    probe.connect(broker.url)
    probe.declare("last")
    for _ in range(50):
        probe("publish", 1, {"exchange": "", "key": "last", "size": 200000})
    probe("close", 5000)
    assert probe.next("closed")["text"] is None
    assert broker.depth("last") == 50


def test_it_may_be_freed_where_it_ends(broker, probe):
    probe("new", {"url": broker.url, "free_when_closed": True})
    probe.next("ready")
    probe("close", 5000)
    probe.next("closed")


# Who is not let in


def test_a_wrong_password_is_told_and_never_shown(broker, probe):
    text, _ = probe.refused(broker.url.replace("guest:guest", "guest:s3cr%20et"))
    assert "ACCESS_REFUSED" in text and "code 403" in text and "s3cr" not in text
    assert probe.seen("closed")[0]["class"] == 78


def test_a_virtual_host_that_is_not_there_is_told(broker, probe):
    text, _ = probe.refused(broker.url + "-not")
    assert "not found" in text and "code 530" in text
    assert probe.seen("closed")[0]["class"] == 78


@pytest.mark.parametrize("url, words", [
    ("amqp://u:p@h/?heartbeat=10", "parameters after"),
    ("http://u:p@h/", "must begin with amqp://"),
    ("amqp://u:p@h:99999/", "from 1 to 65535"),
    ("amqp://u:p%zz@h/", "two hexadecimal digits"),
    ("amqp://u:p%00@h/", "two hexadecimal digits"),
    ("amqp://u:p/word@h/", "percent-encoded"),
    ("amqp://u:p@[::1/", "must end in ']'"),
])
def test_an_address_that_is_wrong_is_refused_without_repeating_it(probe, url, words):
    probe("new", {"url": url})
    text = probe.next("refused")["text"]
    assert words in text and "u:p" not in text


def test_a_refused_port_and_an_unknown_name_are_told_at_once(probe):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        text, took = probe.refused(f"amqp://localhost:{port}/")
    assert f"localhost:{port}: cannot connect: Connection refused" in text and took < 2
    text, _ = probe.refused("amqp://no-such-host.invalid/", timeout=12000)
    assert "the name cannot be found" in text


def test_every_address_of_a_name_is_tried(broker, probe):
    # localhost is ::1 first, where nobody listens
    probe.connect(broker.url.replace("127.0.0.1", "localhost"))


@contextlib.contextmanager
def listening(backlog=1):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server, server.getsockname()[1]


def test_a_black_hole_and_a_mute_server_are_given_up_in_time(probe):
    with listening(0) as (server, port), contextlib.ExitStack() as stack:
        # A full queue of connections: SYNs are not answered any more.
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        text, took = probe.refused(f"amqp://127.0.0.1:{port}/", timeout=1000)
        assert "not ready within 1s; it was connecting to 127.0.0.1" in text and 0.9 < took < 2
    with listening() as (server, port):
        text, took = probe.refused(f"amqp://127.0.0.1:{port}/", timeout=1000)
        assert "not ready within 1s; it was connected" in text and took < 2


# TLS


class TlsDoor:
    """TLS in front of a broker that speaks without."""

    def __init__(self, url, directory, name):
        self.broker = re.search(r"@([^:/]+):(\d+)/", url).groups()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.sockets = [self.server]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.context.wrap_bio(into, out, server_side=True)
            upstream = socket.create_connection(self.broker)
            self.sockets.append(upstream)
            lock = threading.Lock()

            def push():
                if data := out.read():
                    client.sendall(data)

            def back():
                with contextlib.suppress(OSError):
                    while data := upstream.recv(65536):
                        with lock:
                            tls.write(data)
                            push()
                    client.shutdown(socket.SHUT_RDWR)
            shaken = False
            while data := client.recv(65536):
                into.write(data)
                plain = b""
                with lock:
                    try:
                        if not shaken:
                            tls.do_handshake()
                            shaken = True
                            threading.Thread(target=back, daemon=True).start()
                        while piece := tls.read(65536):
                            plain += piece
                    except ssl.SSLWantReadError:
                        pass
                    finally:
                        push()
                upstream.sendall(plain)

    def close(self):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def tls_door(broker, certificates):
    doors = []

    def make(name, host="localhost"):
        doors.append(TlsDoor(broker.url, certificates, name))
        url = broker.url.replace("amqp://", "amqps://")
        return re.sub(r"@[^/]+/", f"@{host}:{doors[-1].port}/", url)
    yield make
    for door in doors:
        door.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_a_good_certificate_carries_everything(tls_door, certificates, new_probe, host):
    url = tls_door("good", host)
    out, back = new_probe(), new_probe()
    out.connect(url, ca_file=str(certificates / "ca.pem"))
    out.declare("tls")
    back.connect(url, ca_file=str(certificates / "ca.pem"))
    back("drain", 1, 500)
    back("consume", 1, "tls", "drain")
    sizes = [0, 1, 400, FRAME_BODY, FRAME_BODY + 1]
    out("pump", 1, {"queue": "tls", "count": 500, "sizes": sizes})
    out.next("pumped", 60)
    drained = back.next("drained", 60)
    assert drained["got"] == 500 and drained["wrong"] == 0


def test_tls_refuses_who_cannot_be_trusted(tls_door, certificates, probe):
    ca = {"ca_file": str(certificates / "ca.pem")}
    text, _ = probe.refused(tls_door("elsewhere"), **ca)
    assert "certificate is not accepted: hostname mismatch" in text
    text, _ = probe.refused(tls_door("elsewhere", "127.0.0.1"), **ca)
    assert "certificate is not accepted: IP address mismatch" in text
    text, _ = probe.refused(tls_door("expired"), **ca)
    assert "certificate has expired" in text
    text, _ = probe.refused(tls_door("good"))
    assert "certificate is not accepted" in text
    text, _ = probe.refused(tls_door("good"), ca_file="/nowhere/ca.pem")
    assert "cannot use the CA file /nowhere/ca.pem" in text
    assert {e["class"] for e in probe.seen("closed")} == {78}
    probe.connect(tls_door("elsewhere"), insecure=True)


def test_tls_to_a_server_without_it_and_the_reverse_fail_at_once(broker, tls_door, probe):
    text, took = probe.refused(broker.url.replace("amqp://", "amqps://"))
    assert took < 5
    text, took = probe.refused(tls_door("good").replace("amqps://", "amqp://"), timeout=2000)
    assert took < 5


# A server that means ill


def method(channel, class_id, number, arguments=b""):
    return frame(1, channel, struct.pack(">HH", class_id, number) + arguments)


def frame(kind, channel, payload, end=b"\xce"):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def header(channel, size, properties=b"\x00\x00"):
    return frame(2, channel, struct.pack(">HHQ", 60, 0, size) + properties)


def start(table=b"", mechanisms=b"PLAIN"):
    return method(0, 10, 10, b"\x00\x09" + struct.pack(">I", len(table)) + table +
                  struct.pack(">I", len(mechanisms)) + mechanisms +
                  struct.pack(">I", 5) + b"en_US")


def nested(kind, depth):
    content = b""
    for _ in range(depth):
        content = kind + struct.pack(">I", len(content)) + (b"\x01d" + content
                                                            if kind == b"F" else content)
        # a table's length counts the key of what is in it
        if kind == b"F":
            body = content[5:]
            content = b"F" + struct.pack(">I", len(body)) + body
    return b"\x01d" + content


TUNE = method(0, 10, 30, struct.pack(">HIH", 2047, 131072, 60))
OPEN_OK = method(0, 10, 41, b"\x00")
CHANNEL_OK = method(1, 20, 11, struct.pack(">I", 0))
DELIVER = method(1, 60, 60, b"\x01c" + struct.pack(">QB", 1, 0) + b"\x00\x01k")
LOGIN = start() + TUNE + OPEN_OK + CHANNEL_OK

HOSTILE = {
    "garbage": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not AMQP"),
    "another version": (b"AMQP\x00\x00\x08\x00", "not AMQP"),
    "no PLAIN": (start(mechanisms=b"EXTERNAL PLAINER"), "PLAIN"),
    "closes at the login": (start() + b"hang up", "wrong password"),
    "steps left out": (start() + OPEN_OK, "out of place"),
    "small frames": (start() + method(0, 10, 30, struct.pack(">HIH", 0, 1000, 0)), "4096"),
    "a frame too large": (LOGIN + struct.pack(">BHI", 1, 1, 0xffffffff), "agreed on"),
    "a frame a bit too large": (LOGIN + struct.pack(">BHI", 3, 1, 131065), "agreed on"),
    "no end of frame": (LOGIN + frame(8, 0, b"", b"\x00"), "without its end"),
    "a short method": (LOGIN + frame(1, 1, b"\x00\x3c"), "cannot be decoded"),
    "an unknown method": (LOGIN + method(1, 60, 999), "cannot be decoded"),
    "arguments cut": (LOGIN + method(1, 60, 60, b"\xff"), "cannot be decoded"),
    "arguments cut on channel 0": (LOGIN + method(0, 10, 50, b"\x01"), "cannot be decoded"),
    "a channel that is not open": (LOGIN + method(2, 20, 11, bytes(4)), "not open"),
    "a channel that cannot be": (LOGIN + method(60000, 20, 11, bytes(4)), "not open"),
    "an answer to nothing": (LOGIN + method(1, 50, 11, b"\x01q" + bytes(8)), "not asked"),
    "a request": (LOGIN + method(1, 50, 10, bytes(8)), "not asked"),
    "a header alone": (LOGIN + header(1, 0), "header out of place"),
    "a short header": (LOGIN + DELIVER + frame(2, 1, b"\x00\x3c"), "header out of place"),
    "a body alone": (LOGIN + frame(3, 1, b"x"), "body out of place"),
    "a body too long": (LOGIN + DELIVER + header(1, 2) + frame(3, 1, b"xxx"), "body out of place"),
    "a body too large": (LOGIN + DELIVER + header(1, 2**63), "more than 1000 are not taken"),
    "a method instead of a body": (LOGIN + DELIVER + header(1, 2) + DELIVER, "without its body"),
    "content on channel 0": (LOGIN + header(0, 0), "message on channel 0"),
    "a heartbeat on a channel": (LOGIN + frame(8, 1, b""), "heartbeat"),
    "a deep table": (start(nested(b"F", 15000)), "cannot be decoded"),
    "a deep array": (start(nested(b"A", 25000)), "cannot be decoded"),
    "a close with control characters": (
        LOGIN + method(0, 10, 50, struct.pack(">H", 320) + b"\x0abye\x1b[31m\r\n" + bytes(4)),
        r"bye\x1b[31m\r\n"),
}


def serve_once(server, data):
    client, _ = server.accept()
    with client, contextlib.suppress(OSError):
        client.settimeout(5)
        client.recv(65536)
        hang_up = data.endswith(b"hang up")
        client.sendall(data.removesuffix(b"hang up"))
        while not hang_up and client.recv(65536):
            pass


@pytest.mark.parametrize("ill", HOSTILE)
def test_a_server_that_breaks_the_rules_is_left(probe, ill):
    data, words = HOSTILE[ill]
    with listening() as (server, port):
        thread = threading.Thread(target=serve_once, args=(server, data))
        thread.start()
        text, took = probe.refused(f"amqp://127.0.0.1:{port}/", largest_body=1000)
        assert words in text and took < 5
        thread.join()


def test_a_server_may_send_byte_by_byte(probe):
    def drip(server):
        client, _ = server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, contextlib.suppress(OSError):
            for byte in LOGIN + DELIVER + header(1, 3) + frame(3, 1, b"ab") + frame(3, 1, b"c"):
                client.sendall(bytes([byte]))
            while client.recv(65536):
                pass
    with listening() as (server, port):
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        probe.connect(f"amqp://127.0.0.1:{port}/")
        assert probe.delivered()["body"] == b"abc"
        probe("new", {"url": "refuse:"})
        probe.next("refused")
        thread.join()
