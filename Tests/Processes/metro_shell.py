"""The rig by hand: commands on standard input, faults by name. See scripts/metro."""
import argparse
import subprocess
import sys

from metro import Metro, available
from nodes import Nodes

TERA = 10**12
HELP = "cut SITE | half cut SITE | slow SITE MS | kill SITE | start SITE | rtt MS | rtt SITE SITE MS | heal | status | " \
       "domains | volumes | endpoints | quit"


def ask(metro, *arguments):
    """The weft command, of whoever answers."""
    subprocess.run([metro.weft, *arguments, "--endpoints", ",".join(m.client_url for m in metro.members if m.site != metro.witness)],
                   timeout=30)


def obey(metro, nodes, words):
    match words:
        case ["cut", site]:
            metro.cut(site)
        case ["half", "cut", site]:
            metro.cut(site, both=False)
        case ["slow", site, rtt]:
            metro.slow(site, float(rtt.removesuffix("ms")))
        case ["kill", site]:
            metro.kill_site(site)
            nodes.silent |= {n for n, spec in nodes.specs.items() if spec["domain"] == site}
        case ["start", site]:
            metro.start_site(site)
            nodes.silent -= {n for n, spec in nodes.specs.items() if spec["domain"] == site}
        case ["rtt", rtt]:
            metro.set_rtt(float(rtt))
        case ["rtt", one, other, rtt]:
            metro.set_rtts({(one, other): float(rtt), (other, one): float(rtt)})
        case ["heal"]:
            metro.heal()
        case ["status"]:
            ask(metro, "status")
        case ["domains"]:
            ask(metro, "domain", "list")
        case ["volumes"]:
            ask(metro, "volume", "list")
        case ["endpoints"]:
            for member in metro.members:
                print(f"{member.name:4} {member.site:8} {member.client_url}")
        case []:
            pass
        case _:
            print(HELP)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weft")
    parser.add_argument("--rtt", type=float, default=10, help="milliseconds between all sites")
    options = parser.parse_args()
    if not available():
        sys.exit("namespaces and TUN devices cannot be made here: root, iproute2 and /dev/net/tun are needed")
    with Metro(options.weft, rtt=options.rtt) as metro:
        data = [m for m in metro.members if m.site != metro.witness]
        specs = {f"{site[0]}n{n}": {"domain": site, "capacityBytes": TERA, "ttlSeconds": 5} for site in ("east", "west") for n in (1, 2, 3)}
        with Nodes(data, specs) as nodes:
            print(f"two sites and a tie-breaker, {options.rtt} ms apart; {len(specs)} storage nodes\n{HELP}", flush=True)
            for line in sys.stdin:
                words = line.split()
                if words == ["quit"]:
                    break
                try:
                    obey(metro, nodes, words)
                except (AssertionError, KeyError, ValueError, OSError) as error:
                    print(f"no: {error}")
                sys.stdout.flush()


main()
