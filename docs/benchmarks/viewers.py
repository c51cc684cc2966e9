#!/usr/bin/env python3
"""Rooms of many viewers in one process, beside the bare stack and bare codecs at the same work: tables in Markdown.

    docs/benchmarks/viewers.py [--plenary target/release/plenary] [--duration 60] [--joining 8] [VIEWERS...]

Each room: 2 speakers, 2 candidates, program 640x360 at 30 pictures a second and 300 kbit/s. The bound is the bare `webrtc` stack
with two connections for each viewer, one of which carries as many packets as a viewer gets (`plenary bench crowd`), and
bare codecs: two encoders at the speakers, the mixer's two decoders and its encoder (`plenary bench mix`).
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

FPS = 30


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def room(plenary, viewers, duration, joining):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        size = ["--program", f"640x360@{FPS}", "--bitrate", "300kbit"]
        people = ["--speakers", "2", "--candidates", "2", "--viewers", str(viewers), "--joining", str(joining)]
        run(plenary, "demo", *people, *size, "--duration", f"{duration}s", "--out", folder, "--json", str(report))
        return json.loads(report.read_text())


def figures(report):
    viewers = report["viewers"]
    shares = [viewer["frames_received"] / max(1, viewer["frames_expected"]) for viewer in viewers]
    first = [viewer["first_frame_ms"] for viewer in viewers if viewer["first_frame_ms"] is not None]
    late = [viewer["latency_ms"]["p95"] for viewer in viewers if viewer["latency_ms"]]
    return {
        "cores": report["process"]["cpu_s"] / report["duration_s"],
        "mib": report["process"]["rss_mib"],
        "worst": 100 * min(shares),
        "median": 100 * percentile(shares, 0.5),
        "depth": report["tree"]["depth"],
        "changed": sum(viewer["reparented"] for viewer in viewers),
        "first": percentile(first, 0.95),
        "late": percentile(late, 0.5),
        "links": report["tree"]["links_per_viewer"],
        "unfed": sum(viewer["parent"] is None for viewer in viewers),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plenary", default="target/release/plenary")
    parser.add_argument("--duration", type=int, default=60)
    parser.add_argument("--joining", type=int, default=8)
    parser.add_argument("viewers", nargs="*", type=int, default=[100, 200, 300, 400])
    arguments = parser.parse_args()
    mix = json.loads(run(arguments.plenary, "bench", "mix", "--inputs", "2", "--in", f"640x360@{FPS}", "--out",
                         f"640x360@{FPS}", "--bitrate", "300kbit", "--frames", "480", "--json", "-"))
    # the speakers' encoders do as much as the mixer's
    codecs = FPS * (mix["bound_ms_per_frame"] + 2 * mix["cpu_ms_per_frame"]["encode"]) / 1000
    print(f"Bare codecs: {codecs:.2f} cores.\n")
    print("| viewers | CPU, cores | bound | ratio | memory, MiB | bound | ratio | worst / median viewer, % | depth "
          "| parents changed | latency p95, median viewer, ms | first frame p95, ms | links per viewer | unfed |")
    print("|" + " --- |" * 14)
    for viewers in arguments.viewers:
        bare = json.loads(run(arguments.plenary, "bench", "crowd", "--viewers", str(viewers), "--json", "-"))
        own = figures(room(arguments.plenary, viewers, arguments.duration, arguments.joining))
        bound = bare["cpu_cores"] + codecs
        cells = [viewers, f"{own['cores']:.2f}", f"{bound:.2f}", f"{own['cores'] / bound:.2f}",
                 f"{own['mib']:.0f}", f"{bare['rss_mib']:.0f}", f"{own['mib'] / bare['rss_mib']:.2f}",
                 f"{own['worst']:.1f} / {own['median']:.1f}", own["depth"], own["changed"], f"{own['late']:.0f}",
                 f"{own['first']:.0f}", f"{own['links']:.2f}", own["unfed"]]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
