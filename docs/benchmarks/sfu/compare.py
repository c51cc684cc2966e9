#!/usr/bin/env python3
"""plenary's relay beside the bare WebRTC stack, Janus and mediasoup: a table in Markdown. `run` builds what it needs.

    compare.py --plenary FILE --modules node_modules [N...] [--rounds 3] [--duration 5s] [--rate 1500kbit]

In each round, all servers take turns at the same work; medians are printed, with least and most for the CPU time. A round
during which other processes used more than --quiet cores is repeated, at most --repeats times. A server's disturbed
rounds count only if it has no others.
"""

import argparse
import json
import os
import platform
import re
import shlex
import socket
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# seconds that a call of the benchmark may take for each relay, beside what it measures: a guess
RELAY_MAX = 60
OURS = "plenary, 1 worker"
COLUMNS = ["server", "children", "CPU, µs / packet out", "added delay p50, ms", "p95, ms", "delivered, %", "memory, KiB / child",
           "child's CPU, µs / packet", "rounds that count", "load average", "other processes, cores"]


class Row:
    """Rounds of one server with a number of children."""

    def __init__(self, quiet):
        self.quiet = quiet
        self.all_rounds = []

    def take(self, load, figures):
        self.all_rounds.append({**figures, "load": load})

    @property
    def rounds(self):
        undisturbed = [one for one in self.all_rounds if one["others_cores"] <= self.quiet]
        return undisturbed or self.all_rounds

    def median(self, figure):
        return statistics.median(figure(one) for one in self.rounds)

    def over(self, other):
        """The ratio of the CPU times in rounds that count for both: median, least and most."""
        pairs = [(one, of) for one, of in zip(self.all_rounds, other.all_rounds) if one in self.rounds and of in other.rounds]
        ratios = [one["cpu_us_per_packet"] / of["cpu_us_per_packet"] for one, of in pairs]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "?"

    def cells(self):
        costs = [one["cpu_us_per_packet"] for one in self.rounds]
        yield f"{statistics.median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})"
        yield f"{self.median(lambda one: one['added_ms']['p50']):.2f}"
        yield f"{self.median(lambda one: one['added_ms']['p95']):.2f}"
        yield f"{100 * self.median(lambda one: one['delivered']):.2f}"
        yield f"{self.median(lambda one: one['memory_kib_per_child']):.0f}"
        yield f"{self.median(lambda one: one['child_us_per_packet']):.1f}"
        yield f"{len(self.rounds)} of {len(self.all_rounds)}"
        yield f"{max(one['load'] for one in self.rounds):.2f}"
        yield f"{max(one['others_cores'] for one in self.rounds):.2f}"


def own_address():
    """An address of this machine that is no loopback address, since Janus uses none of those. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("198.51.100.1", 9))
        except OSError:
            sys.exit("compare.py: this machine has no address but loopback ones; name one by --address")
        return route.getsockname()[0]


def servers(arguments):
    """Other servers' names and commands."""
    janus = shlex.quote(str(HERE / "janus.py"))
    modules = shlex.quote(str(Path(arguments.modules).resolve()))
    return {
        "Janus": f"python3 {janus} --address {arguments.address}",
        "Janus, `event_loops = 2`": f"python3 {janus} --address {arguments.address} --event-loops 2",
        "mediasoup": f"env NODE_PATH={modules} node {shlex.quote(str(HERE / 'mediasoup.js'))} {arguments.address}",
    }


def bench(arguments, children, workers, others):
    """Runs one round, again while other processes disturb it."""
    command = [*shlex.split(arguments.under), arguments.plenary, "bench", "relay", "--rounds", "1", "--json", "-"]
    command += ["--children", str(children), "--workers", str(workers), "--rate", arguments.rate]
    command += ["--duration", arguments.duration, "--address", arguments.address]
    for name, server in others.items():
        command += ["--server", f"{name.replace('=', ':')}={server}"]
    for attempt in range(arguments.repeats + 1):
        load = os.getloadavg()[0]
        limit = arguments.wait + (2 + len(others)) * RELAY_MAX
        report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=limit).stdout)
        all_rounds = [report, report["bare"], *report["servers"]]
        disturbed = max(one["others_cores"] for one in all_rounds)
        if disturbed <= arguments.quiet or attempt == arguments.repeats:
            return load, report
        print(f"{children} children: other processes used {disturbed:.2f} cores; again", file=sys.stderr)


def measure(arguments, children, kept):
    """Adds rounds to those that are kept: name, number of children, load average, figures."""
    others = servers(arguments)
    for number in range(1, arguments.rounds + 1):
        print(f"{children} children: round {number} of {arguments.rounds}", file=sys.stderr)
        for workers, beside in [(1, others), (2, {})]:
            load, report = bench(arguments, children, workers, beside)
            plural = "s" * (workers > 1)
            found = [(f"plenary, {workers} worker{plural}", report), (f"bare `webrtc`, {workers} worker{plural}", report["bare"])]
            found += zip(beside, report["servers"])
            kept += [{"name": name, "children": children, "load": load, "figures": figures} for name, figures in found]


def said(command, pattern):
    """What a program says about its version."""
    found = subprocess.run(command, capture_output=True, text=True)
    found = re.search(pattern, found.stdout + found.stderr)
    return found[1] if found else "of unknown version"


def setting(arguments):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    mediasoup = json.loads((Path(arguments.modules) / "mediasoup/package.json").read_text())["version"]
    lock = (HERE / "../../../Cargo.lock").read_text()
    stack = re.search(r'name = "webrtc"\nversion = "(.*?)"', lock)
    return ", ".join([
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        f"Linux {platform.release()}",
        f"`webrtc` {stack[1]}",
        f"Janus {said(['janus', '--help'], r'version: [0-9]+ .([0-9.]+)')}",
        f"mediasoup {mediasoup}",
        f"node {said(['node', '--version'], r'v([0-9.]+)')}",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("children", nargs="*", type=int, default=[32, 128], metavar="N")
    parser.add_argument("--plenary", default="target/release/plenary")
    parser.add_argument("--modules", default="target/sfu/node_modules", help="where mediasoup is installed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", default="5s", help="that each round measures of each server")
    parser.add_argument("--address", help="of this machine, for all ends; the kernel loops packets to it back")
    parser.add_argument("--rate", default="1500kbit")
    parser.add_argument("--quiet", type=float, default=0.1, help="cores that other processes may use")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="file of rounds: the table shows all rounds in it, and new ones are added")
    parser.add_argument("--under", default="", help="command to run each round under, for example nice or flock")
    parser.add_argument("--wait", type=float, default=600, help="seconds that this command may delay a round")
    arguments = parser.parse_args()
    arguments.address = arguments.address or own_address()
    kept = []
    if arguments.keep and arguments.keep.exists():
        kept = json.loads(arguments.keep.read_text())
    for children in arguments.children:
        measure(arguments, children, kept)
        if arguments.keep:
            arguments.keep.write_text(json.dumps(kept))
    rows = {}
    for one in kept:
        rows.setdefault((one["children"], one["name"]), Row(arguments.quiet)).take(one["load"], one["figures"])
    print(setting(arguments) + "\n")
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    for (children, name), row in sorted(rows.items(), key=lambda row: row[0][0]):
        print(f"| {name} | {children} | " + " | ".join(row.cells()) + " |")
    for children in sorted({children for children, _ in rows}):
        ours = rows[children, OURS]
        beside = [f"{ours.over(row)} × {name}" for (of, name), row in rows.items() if of == children and row is not ours]
        rate = ours.median(lambda one: one["packets_per_s"])
        print(f"\n{children} children, {rate:.0f} packets a second to each; CPU of {OURS}, round by round: " + ", ".join(beside))


if __name__ == "__main__":
    main()
