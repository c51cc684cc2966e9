#!/usr/bin/env python3
"""Mixing beside others: GStreamer's compositor and ffmpeg's xstack on the files that `plenary bench mix` mixed.

    docs/benchmarks/mix.py --plenary target/release/plenary --source FILE... [--rounds 11] [--case 9x640x360 ...]

Each round runs all contestants on each case, one after the other, so that what else the machine does falls on all; printed
are medians. CPU is user + system time of the whole process per program picture, and of plenary that of the mixer's
threads; one thread for each codec. PSNR is that of luma against the ideal picture that the bench keeps: cameras' pictures
scaled by Lanczos. All make a key frame each 2 s, as rooms need them. "x264 at our PSNR" is what ffmpeg would take at plenary's PSNR, by a line between the presets next to it.

Needs ffmpeg, and for GStreamer: gstreamer1.0-tools, -plugins-base, -plugins-good, -plugins-bad, -plugins-ugly, -libav.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = ["1x640x360", "2x640x360", "4x640x360", "9x640x360", "16x640x360", "25x640x360", "4x1280x720", "4x1920x1080"]
SIZE = (1280, 720)
RATE_KBIT = 1500
# pictures between key frames: what a room's program has
GOP = 60
PRESETS = ["ultrafast", "superfast", "veryfast"]


def spent(command, **more):
    """User and system time of a process and its children, in seconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed: {said.decode(errors='replace')[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def grid(count):
    """As plenary lays tiles out: no more rows than columns, all of the canvas's shape, everything in the middle."""
    columns = next(columns for columns in range(1, 99) if columns * columns >= count)
    rows = -(-count // columns)
    even = lambda number: number & ~1
    width, height = even(SIZE[0] // columns), even(SIZE[1] // columns)
    top = even((SIZE[1] - rows * height) // 2)
    for index in range(count):
        row, column = divmod(index, columns)
        left = even((SIZE[0] - min(columns, count - row * columns) * width) // 2)
        yield left + column * width, top + row * height, width, height


def ffmpeg(inputs, out, preset):
    count = len(inputs)
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-filter_complex_threads", "1"]
    for file in inputs:
        command += ["-threads", "1", "-i", str(file)]
    places = list(grid(count))
    graph = "".join(f"[{i}]scale={w}:{h}:flags=bilinear[t{i}];" for i, (_, _, w, h) in enumerate(places))
    tiles = "".join(f"[t{i}]" for i in range(count))
    layout = "|".join(f"{x}_{y}" for x, y, _, _ in places)
    stacked = f"xstack=inputs={count}:layout={layout}:fill=black," if count > 1 else ""
    graph += f"{tiles}{stacked}pad={SIZE[0]}:{SIZE[1]}[program]"
    command += ["-filter_complex", graph, "-map", "[program]", "-c:v", "libx264", "-preset", preset]
    command += ["-tune", "zerolatency", "-threads", "1", "-b:v", f"{RATE_KBIT}k", "-g", str(GOP), "-sc_threshold", "0"]
    return command + ["-f", "h264", str(out)]


def gstreamer(inputs, out, decoder, encoder):
    command = ["gst-launch-1.0", "-q", "compositor", "name=c", "background=black"]
    for i, (x, y, w, h) in enumerate(grid(len(inputs))):
        command += [f"sink_{i}::xpos={x}", f"sink_{i}::ypos={y}", f"sink_{i}::width={w}", f"sink_{i}::height={h}"]
    caps = f"video/x-raw,format=I420,width={SIZE[0]},height={SIZE[1]},framerate=30/1"
    command += ["!", caps, "!", *encoder, "!", "video/x-h264,stream-format=byte-stream", "!", "filesink", f"location={out}"]
    for i, file in enumerate(inputs):
        command += ["filesrc", f"location={file}", "!", "qtdemux", "!", "h264parse", "!", *decoder, "!", f"c.sink_{i}"]
    return command


OPENH264 = ["openh264enc", f"bitrate={RATE_KBIT * 1000}", "complexity=low", "rate-control=bitrate", "multi-thread=1",
            f"gop-size={GOP}", "background-detection=false", "adaptive-quantization=false"]
X264 = ["x264enc", f"bitrate={RATE_KBIT}", "speed-preset=ultrafast", "tune=zerolatency", "threads=1", f"key-int-max={GOP}"]


def psnr_db(stream, ideal):
    size = f"{SIZE[0]}x{SIZE[1]}"
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-framerate", "30", "-i", str(ideal)]
    command = ["ffmpeg", "-nostdin", "-v", "info", "-framerate", "30", "-f", "h264", "-i", str(stream), *raw]
    command += ["-lavfi", "[0]settb=1/30,setpts=N[a];[1]settb=1/30,setpts=N[b];[a][b]psnr=shortest=1", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"PSNR y:([0-9.]+)", said)[-1])


def measure(case, arguments, folder):
    count, width, height = map(int, case.split("x"))
    presets = [f"ffmpeg x264 {preset}" for preset in PRESETS]
    found = {name: [] for name in ["plenary", "bound", "gst openh264", "gst avdec + x264 ultrafast", *presets]}
    quality, kbit = {}, {}
    bench = [arguments.plenary, "bench", "mix", "--inputs", str(count), "--in", f"{width}x{height}@30", "--json", "-"]
    bench += ["--bitrate", f"{RATE_KBIT}kbit", "--frames", str(arguments.frames), "--source", *arguments.source]
    kept = folder / "kept"
    subprocess.run([*bench, "--keep", kept], check=True, stdout=subprocess.DEVNULL)
    ideal, ours = kept / "ideal.yuv", kept / "program.h264"
    frames = ideal.stat().st_size // (SIZE[0] * SIZE[1] * 3 // 2)
    inputs = []
    for stream in sorted(kept.glob("in-*.h264")):
        inputs.append(stream.with_suffix(".mp4"))
        remux = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-framerate", "30", "-i", stream, "-c", "copy", inputs[-1]]
        subprocess.run(remux, check=True)
    others = {f"ffmpeg x264 {preset}": ffmpeg(inputs, folder / f"{preset}.h264", preset) for preset in PRESETS}
    if shutil.which("gst-launch-1.0"):
        others["gst openh264"] = gstreamer(inputs, folder / "gst.h264", ["openh264dec"], OPENH264)
        others["gst avdec + x264 ultrafast"] = gstreamer(inputs, folder / "gstx.h264", ["avdec_h264", "max-threads=1"], X264)
    for number in range(arguments.rounds):
        report = json.loads(subprocess.run(bench, check=True, capture_output=True).stdout)
        found["plenary"].append(report["cpu_ms_per_frame"]["total"])
        found["bound"].append(report["bound_ms_per_frame"])
        for name, command in others.items():
            found[name].append(spent(command) * 1000 / frames)
    quality["plenary"] = psnr_db(ours, ideal)
    kbit["plenary"] = ours.stat().st_size * 8 * 30 / frames / 1000
    for name, command in others.items():
        out = Path(next(word.split("=")[1] for word in command if word.startswith("location=") and "gst" in word)
                   if name.startswith("gst") else command[-1])
        quality[name] = psnr_db(out, ideal)
        kbit[name] = out.stat().st_size * 8 * 30 / frames / 1000
    return {name: statistics.median(of) for name, of in found.items() if of}, quality, kbit


def at_our_quality(cost, quality):
    """What x264 takes at plenary's PSNR; outside its presets, what the nearest one takes."""
    points = sorted((quality[f"ffmpeg x264 {preset}"], cost[f"ffmpeg x264 {preset}"]) for preset in PRESETS)
    wanted = quality["plenary"]
    for (low, cheap), (high, dear) in zip(points, points[1:]):
        if low <= wanted <= high:
            return cheap + (dear - cheap) * (wanted - low) / max(high - low, 1e-9)
    return min(points, key=lambda point: abs(point[0] - wanted))[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plenary", default="target/release/plenary")
    parser.add_argument("--source", nargs="+", required=True)
    parser.add_argument("--case", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--frames", type=int, default=240)
    arguments = parser.parse_args()
    print("| case | contestant | CPU ms/picture | plenary's share of it | PSNR-Y, dB | kbit/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in arguments.case:
        with tempfile.TemporaryDirectory() as folder:
            cost, quality, kbit = measure(case, arguments, Path(folder))
        cost["x264 at our PSNR"] = at_our_quality(cost, quality)
        for name, ms in cost.items():
            shown = lambda figures, form: format(figures[name], form) if name in figures else "-"
            print(f"| {case} | {name} | {ms:.2f} | {cost['plenary'] / ms:.3f} | {shown(quality, '.2f')} | {shown(kbit, '.0f')} |", flush=True)


if __name__ == "__main__":
    main()
