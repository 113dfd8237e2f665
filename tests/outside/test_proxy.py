"""The fault proxy itself does what it says, before a Redis that echoes."""

import re
import socket

import pytest

from harness import wait_for
from proxy import Proxy, anything, cut, drop, reset_after


def echo(text):
    return b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(text), text)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.got = b""

    def say(self, text):
        self.socket.sendall(echo(text))

    def hears(self, text):
        while text not in self.got:
            more = self.socket.recv(65536)
            assert more, "the connection has ended"
            self.got += more
        self.got = b""

    def hears_nothing(self):
        self.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            self.socket.recv(1)
        self.socket.settimeout(10)


@pytest.fixture
def proxy(redis):
    port = int(re.search(r":(\d+)/", redis.url).group(1))
    with Proxy(("127.0.0.1", port)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    client = Client(proxy.port)
    client.say(b"hello")
    client.hears(b"hello")
    yield client
    client.socket.close()


def test_what_it_is_not_told_to_harm_passes(client):
    text = bytes(range(32, 127)) * 10000
    client.say(text)
    client.hears(text)


def test_a_cut_passes_so_many_bytes_and_resets(proxy, client):
    proxy.to_client.rule = cut(anything, after=6)
    client.say(b"abcdef")
    with pytest.raises(ConnectionResetError):
        client.hears(b"abcdef")
    assert client.got == b"$6\r\nab" and proxy.faults == 1


def test_a_reset_comes_after_that_many_bytes(proxy, client):
    proxy.to_server.rule = reset_after(100)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        for n in range(100):
            client.say(b"0123456789")
            client.hears(b"0123456789")
    assert n == 100 // len(echo(b"0123456789"))


def test_one_direction_is_dropped_and_nothing_is_closed(proxy, client):
    proxy.to_client.rule = drop()
    client.say(b"lost")
    wait_for(lambda: proxy.seen["bytes"] >= 4)
    client.hears_nothing()
    proxy.to_client.rule = None
    client.say(b"heard")
    client.hears(b"heard")


def test_a_stall_holds_back_and_then_lets_go(proxy, client):
    proxy.to_server.stall()
    client.say(b"late")
    client.hears_nothing()
    proxy.to_server.stall(False)
    client.hears(b"late")


def test_a_drip_delivers_all_in_small_pieces(proxy, client):
    proxy.to_client.drip(1)
    client.say(b"x" * 200)
    assert len(client.socket.recv(4096)) < 50
    client.hears(b"x" * 20)
    proxy.to_client.drip(0)
    client.hears(b"\r\n")
    client.say(b"fast")
    client.hears(b"fast")


def test_a_black_hole_swallows_the_old_and_the_new_and_the_healed_pass(proxy, client):
    proxy.black_hole()
    other = Client(proxy.port)
    other.say(b"nobody")
    client.say(b"nobody")
    other.hears_nothing()
    client.hears_nothing()
    proxy.heal()
    client.say(b"still dead")
    client.hears_nothing()
    third = Client(proxy.port)
    third.say(b"alive")
    third.hears(b"alive")
    for each in other, third:
        each.socket.close()


def test_a_server_that_is_shut_ends_all_at_once(proxy, client):
    proxy.shut()
    with pytest.raises(ConnectionResetError):
        client.hears(b"x")
    with pytest.raises((ConnectionResetError, BrokenPipeError, AssertionError)):
        other = Client(proxy.port)
        other.say(b"x")
        other.hears(b"x")
