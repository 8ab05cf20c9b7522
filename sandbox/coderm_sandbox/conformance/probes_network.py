"""Programs that try to reach the network and other programs" sockets; see probes."""

from __future__ import annotations

__all__ = ["ABSTRACT_SOCKETS", "FAMILIES", "IPV4", "IPV6", "NAMES", "UNIX_SOCKETS"]

_REACH = """
def connect(kind, address):
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.connect(address)
def divert(address):
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, two:
        one.sendto(b"x", address)
"""

IPV4 = """
def probe(port):
    return which([
        ("connected", lambda: succeeded(socket.create_connection, ("127.0.0.1", port), 1)),
    ])
"""

IPV6 = """
def probe(port):
    return which([("connected", lambda: succeeded(socket.create_connection, ("::1", port), 1))])
"""

NAMES = """
QUERY = bytes.fromhex("123401000001000000000000076578616d706c65036f72670000010001")
def ask(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
        name_server.settimeout(0.2)
        name_server.sendto(QUERY, ("127.0.0.1", port))
        name_server.recv(512)
def probe(port):
    return which([
        ("a name server answered", lambda: succeeded(ask, port)),
        ("a name was resolved", lambda: succeeded(socket.getaddrinfo, "example.org", 80)),
    ])
"""

UNIX_SOCKETS = (
    _REACH
    + """
def probe(stream, datagram):
    return which([
        ("connected", lambda: succeeded(connect, socket.SOCK_STREAM, stream)),
        ("connected for datagrams", lambda: succeeded(connect, socket.SOCK_DGRAM, datagram)),
        ("sent from a pair", lambda: succeeded(divert, datagram)),
    ])
"""
)

ABSTRACT_SOCKETS = (
    _REACH
    + """
def probe(stream, datagram):
    return which([
        ("connected", lambda: succeeded(connect, socket.SOCK_STREAM, chr(0) + stream)),
        ("connected for datagrams", lambda: succeeded(connect, socket.SOCK_DGRAM, chr(0) + datagram)),
        ("sent from a pair", lambda: succeeded(divert, chr(0) + datagram)),
    ])
"""
)

FAMILIES = """
KINDS = [("netlink", 16, 3), ("packet", 17, 3), ("can", 29, 3), ("alg", 38, 5), ("vsock", 40, 1)]
KINDS.append(("xdp", 44, 3))
def probe():
    attempts = [(n, lambda f=f, k=k: succeeded(socket.socket, f, k)) for n, f, k in KINDS]
    attempts.append(("raw", lambda: succeeded(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)))
    return which(attempts)
"""
