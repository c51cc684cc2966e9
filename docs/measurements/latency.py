#!/usr/bin/env python3
"""Latency from capture to hand-over, over emulated links: makes docs/measurements/latency.md.

Usage, as root: docs/measurements/latency.py [--seconds N]. Builds plenary (release) and netlab. Each peer is a process on a host
of its own (tests/netlab); a path between two hosts has the given delay one way, no loss and no limit of rate.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ROOM = ["--program", "640x360@15", "--speaker-size", "640x360@15"]
PORT = 4700


class Peer:
    """A plenary process on a host."""

    def __init__(self, folder, host, words, **pipes):
        self.host, self.report = host, folder / f"{host}.json"
        command = [os.environ["NETLAB"], "exec", host, "--", os.environ["PLENARY"], *words, "--json", str(self.report)]
        with open(folder / f"{host}.log", "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, **pipes)

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def leave(self):
        self.process.send_signal(signal.SIGINT)

    def result(self):
        self.process.wait(timeout=20)
        return json.loads(self.report.read_text())


def room(seconds, mixers, viewers, words):
    """Runs inside the lab: a room of two speakers; returns the reports by host, and the cores that each mixer took."""
    kept = tempfile.TemporaryDirectory()
    folder = pathlib.Path(kept.name)
    never = ["--mix", "never"]
    listen = f"{os.environ['NETLAB_IP_ada']}:{PORT}"
    hosting = ["host", "--speak", *never, "--listen", listen, "--mixers", str(mixers) if mixers else "auto", *ROOM, *words]
    ada = Peer(folder, "ada", hosting, stdout=subprocess.PIPE, text=True)
    invite = ada.process.stdout.readline().strip()
    mixing = [Peer(folder, f"mixer{n + 1}", ["mixer", invite]) for n in range(mixers)]
    time.sleep(12 if mixers else 1)  # codec benches, the election, and the start of mixing
    others = [Peer(folder, "ben", ["join", "--speak", "--view", *never, invite])]
    time.sleep(6)
    for n in range(viewers):
        others.append(Peer(folder, f"viewer{n + 1}", ["join", "--view", *never, invite]))
        time.sleep(2)
    before = [mixer.cpu_s() for mixer in mixing]
    time.sleep(seconds)
    cores = [round((mixer.cpu_s() - cpu_s) / seconds, 2) for mixer, cpu_s in zip(mixing, before)]
    for peer in [*reversed(others), *mixing, ada]:
        peer.leave()
    reports = {peer.host: peer.result() for peer in [*others, *mixing, ada]}
    print(json.dumps({"reports": reports, "cores": cores}))


def measured(arguments, delay_ms, mixers, viewers, words=()):
    """Runs one room in a lab of its own."""
    hosts = ["ada", "ben", *(f"mixer{n + 1}" for n in range(mixers)), *(f"viewer{n + 1}" for n in range(viewers))]
    scenario = tempfile.NamedTemporaryFile("w", suffix=".toml")
    scenario.write(f"[defaults]\ndelay = '{delay_ms / 2}ms'\n" + "".join(f"[hosts.{host}]\n" for host in hosts))
    scenario.flush()
    inside = [sys.executable, __file__, "--inside", json.dumps([arguments.seconds, mixers, viewers, list(words)])]
    plenary = TARGET / "release/plenary"
    command = [str(TARGET / "debug/netlab"), "up", scenario.name, "--", *inside]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PLENARY": str(plenary)})
    run.check_returncode()
    return json.loads(run.stdout)


def shown(spread):
    return f"{spread['p50']:.0f} / {spread['p95']:.0f}" if spread else "-"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--inside")
    arguments = parser.parse_args()
    if arguments.inside:
        return room(*json.loads(arguments.inside))
    subprocess.run(["cargo", "build", "--release", "--package", "plenary-cli"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--package", "netlab"], cwd=ROOT, check=True)
    text = (ROOT / "docs/measurements/latency.md").read_text().split("<!-- tables -->")[0] + "<!-- tables -->\n"
    text += "\n| delay of a path, ms | mixers | sound p50 / p95, ms | picture p50 / p95, ms | cores per mixer |\n| --- | --- | --- | --- | --- |\n"
    for delay_ms in (5, 30, 100):
        for mixers in range(6):
            result = measured(arguments, delay_ms, mixers, 0)
            ben = result["reports"]["ben"]
            cores = ", ".join(f"{cores:.2f}" for cores in sorted(result["cores"], reverse=True)) or "-"
            text += f"| {delay_ms} | {mixers or '0 (mesh)'} | {shown(ben['sound_latency_ms'])} | {shown(ben['latency_ms'])} | {cores} |\n"
            print(text.splitlines()[-1], flush=True)
    text += "\n| depth | picture p50 / p95, ms | sound p50 / p95, ms | A/V skew p95, ms |\n| --- | --- | --- | --- |\n"
    result = measured(arguments, 30, 1, 3, ["--k1", "1", "--k", "1"])
    viewers = [report for host, report in result["reports"].items() if host.startswith("viewer")]
    for viewer in sorted(viewers, key=lambda viewer: viewer["depth"] or 0):
        skew = viewer["av_skew_ms"]
        text += f"| {viewer['depth']} | {shown(viewer['latency_ms'])} | {shown(viewer['sound_latency_ms'])} | {skew['p95'] if skew else '-'} |\n"
        print(text.splitlines()[-1], flush=True)
    (ROOT / "docs/measurements/latency.md").write_text(text)


if __name__ == "__main__":
    main()
