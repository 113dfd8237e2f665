"""A TCP proxy that does to connections what networks do, when a test says so.

    with Proxy(("127.0.0.1", 5672), Amqp) as proxy:
        broker_url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/..."
        proxy.to_client.rule = drop(called("basic.ack"))	# confirms are swallowed
        wait_for(lambda: proxy.seen["basic.publish"] > 3)
        proxy.to_client.rule = None
        proxy.to_server.rule = cut(called("basic.publish"), after=17)
        proxy.black_hole()		# half-open: nobody hears anything, nothing is closed
        proxy.heal()			# for connections that are made from now on

It cuts the stream into messages where it knows the protocol (Amqp, Postgres),
so that a rule is asked about one whole message at a time, and a fault hits the
very message that the test means.  A rule gets a Unit and returns what is to be
passed on of it; a Cut ends the connection behind that, with a reset.  Rules
may be changed at any time; they are asked in the proxy's own thread.
"""

import asyncio
import collections
import itertools
import re
import socket
import struct
import threading

Unit = collections.namedtuple("Unit", "name text data")
Unit.__doc__ = """One message: what it is, what is in it for people, and its bytes."""


class Cut(bytes):
    """Pass these bytes on, then reset the connection."""


# Rules


def called(*names):
    """Is it a message with one of these names?"""
    return lambda unit: unit.name in names


def says(name, pattern):
    """Is it called NAME, with something in it that PATTERN finds?"""
    return lambda unit: unit.name == name and re.search(pattern, unit.text)


def anything(unit):
    return True


def cut(where=anything, after=0, skip=0):
    """Of the messages that WHERE takes pass SKIP; of the next only AFTER bytes
    (None: all), and the connection ends.  Once; all else passes."""
    count = itertools.count()

    def rule(unit):
        if not where(unit) or next(count) != skip:
            return unit.data
        return Cut(unit.data[:after])
    return rule


def reset_after(n):
    """When N bytes have passed, on whatever connections, one of them ends."""
    left = n

    def rule(unit):
        nonlocal left
        before, left = left, left - len(unit.data)
        return Cut(unit.data[:before]) if before > 0 >= left else unit.data
    return rule


def drop(where=anything):
    """What WHERE takes is swallowed."""
    return lambda unit: b"" if where(unit) else unit.data


# Protocols: of a stream, its messages


class Bytes:
    """Any protocol: what arrives is passed on as it comes."""

    def __init__(self, link, to_server):
        pass

    def feed(self, data):
        return [Unit("bytes", "", data)]


class Messages:
    """What comes in pieces is kept until it is a message."""

    def __init__(self, link, to_server):
        self.link, self.to_server = link, to_server
        self.kept = b""

    def feed(self, data):
        self.kept += data
        found = []
        while self.kept and (unit := self.first()):
            found.append(unit)
            self.kept = self.kept[len(unit.data):]
        return found


class Amqp(Messages):
    """AMQP 0-9-1.  A basic.publish has its content with it."""

    METHODS = {(60, 40): "basic.publish", (60, 50): "basic.return", (60, 60): "basic.deliver",
               (60, 80): "basic.ack", (60, 120): "basic.nack", (10, 11): "connection.start-ok",
               (60, 10): "basic.qos", (60, 20): "basic.consume", (50, 10): "queue.declare", (10, 50): "connection.close"}
    KINDS = {2: "header", 3: "body", 8: "heartbeat"}

    begun = False

    def frame(self, at):
        """Kind, payload and end of the frame AT there; None if it is not all there."""
        if len(self.kept) < at + 7:
            return None
        kind, _, size = struct.unpack_from(">BHI", self.kept, at)
        if len(self.kept) < at + size + 8:
            return None
        return kind, self.kept[at + 7:at + 7 + size], at + size + 8

    def content(self, at):
        """Where the content ends that begins AT; None if it is not all there."""
        left = None
        while left != 0:
            frame = self.frame(at)
            if not frame:
                return None
            kind, payload, at = frame
            if kind == 2:
                left = struct.unpack_from(">Q", payload, 4)[0]
            elif kind == 3:
                left -= len(payload)
        return at

    def first(self):
        if self.to_server and not self.begun:
            self.begun = len(self.kept) >= 8
            return Unit("begin", "", self.kept[:8]) if self.begun else None
        frame = self.frame(0)
        if not frame:
            return None
        kind, payload, end = frame
        name = self.KINDS.get(kind)
        if kind == 1:
            method = struct.unpack_from(">HH", payload)
            name = self.METHODS.get(method, "%d.%d" % method)
        if name == "basic.publish":
            end = self.content(end)
            if end is None:
                return None
        return Unit(name, "", self.kept[:end])


class Postgres(Messages):
    """PostgreSQL, version 3.  An Execute says which SQL it executes, a
    CommandComplete what was completed."""

    def __init__(self, link, to_server):
        super().__init__(link, to_server)
        self.begun = not to_server
        self.statements, self.portals = {}, {}

    def startup(self):
        if len(self.kept) < 8:
            return None
        size, code = struct.unpack_from(">II", self.kept)
        if len(self.kept) < size:
            return None
        if code in (80877103, 80877104):	# TLS or GSSAPI? The answer is one byte.
            self.link.bare += 1
        else:
            self.begun = True
        return Unit("startup", "", self.kept[:size])

    def first(self):
        if not self.begun:
            return self.startup()
        if not self.to_server and self.link.bare:
            self.link.bare -= 1
            return Unit("bare", "", self.kept[:1])
        if len(self.kept) < 5:
            return None
        end = 1 + struct.unpack_from(">I", self.kept, 1)[0]
        if len(self.kept) < end:
            return None
        name, payload = chr(self.kept[0]), self.kept[5:end]
        text = self.sql(name, payload) if self.to_server else \
            payload.rstrip(b"\0").decode(errors="replace") if name in "CZ" else ""
        return Unit(name, text, self.kept[:end])

    def sql(self, name, payload):
        words = payload.split(b"\0", 2)
        if name == "P":
            self.statements[words[0]] = words[1].decode(errors="replace")
            return self.statements[words[0]]
        if name == "B":
            self.portals[words[0]] = self.statements.get(words[1], "")
        elif name == "E":
            return self.portals.get(words[0], "")
        elif name == "Q":
            return words[0].decode(errors="replace")
        return ""


# The proxy


class Way:
    """One direction of all connections."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.rule = None		# None: all passes
        self.piece, self.pause = 0, 0.0
        self.stalled = False
        self.held = None		# or what is kept back, and by whom

    def hold(self):
        """Messages are read and counted, but kept until the release."""
        self.held = []

    def release(self):
        """All of it at once."""
        def pass_on():
            held, self.held = self.held, None
            for half in dict.fromkeys(half for half, _ in held):
                half.write(b"".join(data for by, data in held if by is half))
        self.proxy.call(pass_on)

    def drip(self, piece, pause=0.001):
        """PIECE bytes at a time, PAUSE seconds between them; 0: no more of it."""
        self.piece, self.pause = piece, pause

    def stall(self, on=True):
        """Nothing more is read, until the sender's buffers are full."""
        self.stalled = on
        self.proxy.call(lambda: [half.read_on() for link in self.proxy.links
                                 for half in link.halves if half.way is self])


class Half(asyncio.Protocol):
    """One socket of a link; what arrives there goes out of the other one."""

    def __init__(self, link, way):
        self.link, self.way = link, way
        self.proxy = way.proxy
        self.transport = self.other = None
        self.framer = self.proxy.protocol(link, way is self.proxy.to_server)
        self.dripping = b""
        self.early = b""		# came before there was another one
        self.choked = True		# the other one takes no more
        self.over = False

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self is self.link.client:
            self.proxy.loop.create_task(self.link.connect())

    def read_on(self):
        if self.transport is None or self.transport.is_closing():
            return
        if self.choked or self.way.stalled or self.dripping:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def pause_writing(self):
        self.other.choked = True
        self.other.read_on()

    def resume_writing(self):
        self.other.choked = False
        self.other.read_on()

    def data_received(self, data):
        if not self.other.transport and not self.link.dead:
            self.early += data
            return
        for unit in self.framer.feed(data):
            self.proxy.seen[unit.name] += 1
            if self.link.dead:
                continue
            rule = self.way.rule
            passed = rule(unit) if rule else unit.data
            if self.way.held is not None:
                self.way.held.append((self, passed))
                continue
            self.write(passed)
            if isinstance(passed, Cut):
                self.proxy.faults += 1
                self.link.reset()
                return

    def write(self, data):
        if self.way.piece and data:
            if not self.dripping:
                self.proxy.loop.call_later(self.way.pause, self.drip_on)
            self.dripping += data
            self.read_on()
        elif self.dripping:
            self.dripping += data
        else:
            self.other.transport.write(data)

    def drip_on(self):
        n = self.way.piece or len(self.dripping)
        if self.other.transport.is_closing():
            return
        self.other.transport.write(self.dripping[:n])
        self.dripping = self.dripping[n:]
        if self.dripping:
            self.proxy.loop.call_later(self.way.pause, self.drip_on)
        elif self.over:
            self.other.transport.close()
        self.read_on()

    def connection_lost(self, exc):
        self.over = True
        self.proxy.links.discard(self.link)
        if self.other and self.other.transport and not self.link.dead and not self.dripping:
            self.other.transport.close()


class Link:
    """A connection of a client, and ours to the server for it."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.bare = 0			# see Postgres.startup()
        self.dead = proxy.is_black_hole
        self.client = Half(self, proxy.to_server)
        self.server = Half(self, proxy.to_client)
        self.client.other, self.server.other = self.server, self.client
        self.halves = (self.client, self.server)
        proxy.links.add(self)
        proxy.made += 1

    def die(self):
        self.dead = True
        for half in self.halves:
            half.choked, half.dripping = False, b""
            half.read_on()

    async def connect(self):
        if self.dead:
            self.die()
            return
        if self.proxy.is_shut:
            self.reset()
            return
        try:
            await self.proxy.loop.create_connection(lambda: self.server, *self.proxy.server)
        except OSError:
            self.reset()
            return
        for half in self.halves:
            half.choked = False
            half.read_on()
        if self.client.early:
            self.client.data_received(self.client.early)

    def reset(self):
        for half in self.halves:
            if half.transport and not half.transport.is_closing():
                half.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                half.transport.abort()


class Proxy:
    """In front of SERVER, a host and a port; itself on 127.0.0.1, port .port."""

    def __init__(self, server, protocol=Bytes):
        self.server, self.protocol = server, protocol
        self.to_server, self.to_client = Way(self), Way(self)
        self.links = set()
        self.seen = collections.Counter()	# name of a message -> how many
        self.made = 0			# connections, ever
        self.faults = 0			# connections that a rule has cut
        self.is_black_hole = self.is_shut = False
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def call(self, function):
        """Have it called in the proxy's thread; what it returns."""
        async def run():
            return function()
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def accept(self):
        return Link(self).client

    def __enter__(self):
        self.thread.start()
        listener = asyncio.run_coroutine_threadsafe(
            self.loop.create_server(self.accept, "127.0.0.1", 0), self.loop).result(10)
        self.listener = listener
        self.port = listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.call(self.listener.close)
        self.reset()
        self.call(lambda: None)		# what the resets have left to do
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def reset(self):
        """End all connections that there are."""
        self.call(lambda: [link.reset() for link in list(self.links)])

    def shut(self):
        """As if the server were gone: connections end, and new ones at once."""
        self.is_shut = True
        self.reset()

    def black_hole(self):
        """All that is said is lost, on both sides and for new connections too,
        and nobody hears of it."""
        self.is_black_hole = True
        self.call(lambda: [link.die() for link in self.links])

    def heal(self):
        """New connections work again.  What is dead stays dead."""
        self.is_black_hole = self.is_shut = False
        self.to_server.rule = self.to_client.rule = None
        self.to_server.drip(0)
        self.to_client.drip(0)
        self.to_server.stall(False)
        self.to_client.stall(False)
