"""Ports that there are, addresses as they are written, and which of them are this machine."""

import pytest

from tfmtl.serving.protocol.addresses import check_port, is_this_machine, joined


def test_ports():
    assert [check_port("port", port) for port in (0, 65535)] == [0, 65535]
    for port in (-1, 65536):
        with pytest.raises(ValueError, match=f"`port` must be in 0..65535. Received: port={port}"):
            check_port("port", port)


def test_the_colons_of_ipv6_are_in_brackets():
    assert joined("127.0.0.1", 8500) == "127.0.0.1:8500"
    assert joined("::1", 8500) == "[::1]:8500"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8500",
        "127.5.0.1",
        "0.0.0.0:8500",
        "localhost:8500",
        "[::1]:8500",
        "dns:localhost:8500",
        "dns:///localhost:8500",
        "dns://8.8.8.8/localhost:8500",
        "ipv4:127.0.0.1:8500",
        "ipv6:[::1]:8500",
        "http://LOCALHOST",
        "http://127.0.0.1:8501/prefix",
        "https://user:word@[::1]:8501",
    ],
)
def test_this_machine(address):
    assert is_this_machine(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1:8500",
        "ranker:8500",
        "localhost.example.com:8500",
        "dns:///ranker-grpc:8500",
        "http://127.0.0.1.example.com",
        "http://example.com/localhost",
        "http://localhost@example.com",
        "unix:/run/ranker",
        "",
    ],
)
def test_another_machine(address):
    assert not is_this_machine(address)
