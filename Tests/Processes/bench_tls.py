#!/usr/bin/env python3
"""What TLS costs at the client port: the same load on one member's plain and secure address in turn, at fixed rates, and new connections.

    bench_tls.py WEFT [--rounds N] [--seconds N]

Medians of the rounds are printed, and ratios. The processor time is the member's.
"""
import argparse
import socket
import ssl
import statistics
import time

from bench import load, processor_seconds
from tls import Authority, Secure

LOADS = {
    "one client's puts": ["put"],
    "1,000 puts/s": ["put", "--clients", 100, "--connections", 30, "--rate", 1000],
    "5,000 ranges/s": ["range", "--fill", "--clients", 100, "--connections", 30, "--rate", 5000],
    "50 ranges/s of 1 MB": ["range", "--fill", "--keys", 4000, "--all", "--limit", 4000, "--clients", 10, "--connections", 10, "--rate", 50],
    "1,000 JSON puts/s": ["put", "--protocol", "json", "--clients", 50, "--connections", 50, "--rate", 1000],
}
FIGURES = ["p50 ms", "p99 ms", "processor s"]
CONNECTIONS = 300


def measure(weft, secure, url, words, seconds):
    before = processor_seconds(secure.member)
    report = load(weft, url, *words, "--cacert", secure.ca, "--seconds", seconds)
    return report["latencyMilliseconds"]["p50"], report["latencyMilliseconds"]["p99"], processor_seconds(secure.member) - before


def connect(secure, context):
    """Milliseconds of the member's processor time, and of waiting, for each of many new connections with a request."""
    port = secure.port if context else secure.member.client_port
    before, waits = processor_seconds(secure.member), []
    for _ in range(CONNECTIONS):
        began = time.perf_counter()
        link = socket.create_connection(("127.0.0.1", port))
        # As clients do: else the request waits for the acknowledgement of the handshake.
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            link = context.wrap_socket(link, server_hostname="127.0.0.1")
        link.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while link.recv(4096):
            pass
        waits.append(1000 * (time.perf_counter() - began))
        link.close()
    return statistics.median(waits), sorted(waits)[-CONNECTIONS // 100], 1000 * (processor_seconds(secure.member) - before) / CONNECTIONS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    found = {}
    with Authority() as authority:
        authority.leaf("server")
        with Secure(options.weft, authority) as secure:
            secure.ca = authority.path("ca.pem")
            ways = {"plain": (secure.member.client_url, None), "TLS": (secure.url, authority.context())}
            for number in range(options.rounds):
                for way in list(ways) if number % 2 == 0 else list(reversed(ways)):
                    print(f"round {number + 1} of {options.rounds}, {way}", flush=True)
                    url, context = ways[way]
                    for name, words in LOADS.items():
                        found.setdefault((name, "processor s"), {}).setdefault(way, []).append(
                            measure(options.weft, secure, url, words, options.seconds))
                    found.setdefault((f"{CONNECTIONS} connections", "processor ms each"), {}).setdefault(way, []).append(
                        connect(secure, context))
    print("\n| load | figure | plain | TLS | ratio |\n|---|---|---|---|---|")
    for (name, processor), ways in found.items():
        for place, figure in enumerate([*FIGURES[:2], processor]):
            plain, tls = [statistics.median(row[place] for row in ways[way]) for way in ("plain", "TLS")]
            print(f"| {name} | {figure} | {plain:.2f} | {tls:.2f} | {tls / max(plain, 1e-9):.2f} |")


if __name__ == "__main__":
    main()
