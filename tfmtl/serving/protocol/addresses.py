"""Hosts and ports, as gRPC and HTTP write them."""

import ipaddress
import re

_MAX_PORT = 2**16 - 1
_HOST = re.compile(
    r"(?:https?://|dns:(?://[^/]*/)?|ipv[46]:)?(?:[^@/]*@)?(?:\[(?P<ip>[^]]*)\]|(?P<name>[^:/]*))", re.IGNORECASE
)


def check_port(name: str, port: int) -> int:
    """`port`, if there is one of that number; 0 asks the system for a free one.

    Raises:
        ValueError: there is none. gRPC would take the rest of a division by 65536.
    """
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"`{name}` must be in 0..{_MAX_PORT}. Received: {name}={port}")
    return port


def joined(host: str, port: int | None) -> str:
    """`host:port`; the colons of an IPv6 address need brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_this_machine(address: str) -> bool:
    """Whether a gRPC target or a URL leads to this machine itself: a proxy would look for it on its own."""
    match = _HOST.match(address)
    host = match["ip"] or match["name"] if match else ""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return ip.is_loopback or ip.is_unspecified
