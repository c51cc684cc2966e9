#!/usr/bin/env python3
"""What a mixer spends on each program picture, for the rooms that `plenary bench mix` is asked about: a table in Markdown.

    docs/benchmarks/cost.py --plenary target/release/plenary --source FILE... [--frames 480]

Each row is one run; its figures are medians over the run's 12 pairs of mixer and bare codecs, which take turns on the same
frames. "Frozen" speakers stand still and send a picture each second.
"""

import argparse
import json
import subprocess

# speakers, what each sends, how many stand still
ROOMS = [(count, "640x360", 0) for count in (1, 2, 4, 9, 16, 25)]
ROOMS += [(4, "1280x720", 0), (4, "1920x1080", 0), (16, "320x180", 0)]
ROOMS += [(4, "640x360", 3), (9, "640x360", 8), (16, "640x360", 15)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plenary", default="target/release/plenary")
    parser.add_argument("--source", nargs="+", required=True)
    parser.add_argument("--frames", default="480")
    arguments = parser.parse_args()
    print("| speakers | frozen | decode | scale | encode | rest | total, ms CPU | bound (least to most) | work / bound | total / bound | PSNR-Y, dB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for count, size, frozen in ROOMS:
        bench = [arguments.plenary, "bench", "mix", "--inputs", str(count), "--in", f"{size}@30", "--frozen", str(frozen)]
        bench += ["--frames", arguments.frames, "--json", "-", "--source", *arguments.source]
        report = json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)
        cpu, spread = report["cpu_ms_per_frame"], report["bound"]["spread"]
        shares = " | ".join(f"{cpu[part]:.2f}" for part in ("decode", "scale", "encode", "rest", "total"))
        bound = f"{report['bound_ms_per_frame']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"
        over = " | ".join(f"{report[name]['median']:.3f}" for name in ("work_over_bound", "total_over_bound"))
        print(f"| {count} × {size} | {frozen or '-'} | {shares} | {bound} | {over} | {report['psnr_db']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
