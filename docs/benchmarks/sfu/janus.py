#!/usr/bin/env python3
"""Janus as a server of `plenary bench relay --server` (sfu.md describes the lines on standard input and output).

    janus.py --address IP [--event-loops N]

Runs Janus with its video room, and its other plugins and transports off, in a folder that is removed at the end.
"""

import argparse
import ctypes
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOM = 1
FEED = 1
# seconds for Janus to start, and to answer; guesses
START_MAX = 10
ANSWER_MAX = 10
PR_SET_PDEATHSIG = 1

FILES = {
    "janus.jcfg": """general: {{
  configs_folder = "{folder}"
  plugins_folder = "{modules}/plugins"
  transports_folder = "{modules}/transports"
  events_folder = "{modules}/events"
  loggers_folder = "{modules}/loggers"
  debug_level = 2
  session_timeout = 0
  {loops}
}}
nat: {{ ice_enforce_list = "{address}" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
""",
    "janus.transport.pfunix.jcfg": """general: {{ enabled = true, json = "compact", path = "{folder}/socket", type = "SOCK_SEQPACKET" }}
admin: {{ admin_enabled = false }}
""",
    "janus.plugin.videoroom.jcfg": """general: {{ }}
room-{room}: {{ description = "bench", publishers = 1, bitrate = 0, videocodec = "h264", h264_profile = "42e01f" }}
""",
}


def others(folder, kept):
    """Names of the modules to switch off."""
    return ",".join(module.name for module in sorted(folder.glob("*.so")) if kept not in module.name)


class Janus:
    def __init__(self, folder, address, event_loops):
        modules = next(pathlib.Path("/usr/lib").glob("*/janus"))
        places = {
            "folder": folder,
            "address": address,
            "modules": modules,
            "room": ROOM,
            "plugins": others(modules / "plugins", "videoroom"),
            "transports": others(modules / "transports", "pfunix"),
            "loops": f"event_loops = {event_loops}" if event_loops else "",
        }
        for name, text in FILES.items():
            (folder / name).write_text(text.format(**places))
        self.session = self.offered = None
        self.transactions = 0
        deadline = time.monotonic() + START_MAX
        self.start(folder)
        while self.session is None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.settimeout(ANSWER_MAX)
            try:
                self.socket.connect(str(folder / "socket"))
                self.session = self.ask({"janus": "create"})["data"]["id"]
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    sys.exit("janus.py: Janus does not start: " + (folder / "log").read_text()[-1000:])
                time.sleep(0.05)
                # 1.1.2 ends at once where the thread of its socket starts before the rest of its transport does
                if self.process.poll() is not None:
                    self.start(folder)

    def start(self, folder):
        command = ["janus", "--configs-folder", folder, "--config", folder / "janus.jcfg"]
        # Janus ends when this process does, however that ends
        dies_too = lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        with (folder / "log").open("w") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, preexec_fn=dies_too, **streams)

    def ask(self, request, until="success"):
        """Sends a request, and waits for the answer that is a success or, of plugins, an event."""
        self.transactions += 1
        transaction = str(self.transactions)
        request = {**request, "transaction": transaction}
        if self.session is not None:
            request["session_id"] = self.session
        self.socket.send(json.dumps(request).encode())
        while True:
            answer = self.socket.recv(1 << 20)
            if not answer:
                raise ConnectionError("Janus has closed its socket")
            answer = json.loads(answer)
            if answer.get("transaction") != transaction:
                continue
            error = answer.get("error") or answer.get("plugindata", {}).get("data", {}).get("error")
            if error:
                raise RuntimeError(f"Janus: {error}")
            if answer["janus"] == until:
                return answer

    def attach(self):
        return self.ask({"janus": "attach", "plugin": "janus.plugin.videoroom"})["data"]["id"]

    def tell(self, handle, body, **jsep):
        answer = self.ask({"janus": "message", "handle_id": handle, "body": body, **jsep}, until="event")
        return answer.get("jsep", {}).get("sdp")

    def publish(self, offer):
        handle = self.attach()
        self.tell(handle, {"request": "join", "ptype": "publisher", "room": ROOM, "id": FEED})
        jsep = {"type": "offer", "sdp": offer, "trickle": False}
        return {"description": self.tell(handle, {"request": "publish", "videocodec": "h264"}, jsep=jsep)}

    def subscribe(self):
        self.offered = self.attach()
        body = {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{"feed": FEED}]}
        deadline = time.monotonic() + START_MAX
        while True:
            try:
                return {"description": self.tell(self.offered, body)}
            except RuntimeError as error:
                # until Janus has noticed that the source is connected
                if "No such feed" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def accept(self, answer):
        self.tell(self.offered, {"request": "start"}, jsep={"type": "answer", "sdp": answer, "trickle": False})
        return "accepted"

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="not a loopback address, which Janus does not use")
    parser.add_argument("--event-loops", type=int)
    arguments = parser.parse_args()
    say = lambda line: print(json.dumps(line), flush=True)
    with tempfile.TemporaryDirectory(prefix="sfu-bench-") as folder:
        janus = Janus(pathlib.Path(folder), arguments.address, arguments.event_loops)
        try:
            say({"process": janus.process.pid})
            for line in sys.stdin:
                request = json.loads(line)
                name, *sdp = [request] if isinstance(request, str) else next(iter(request.items()))
                try:
                    say({"publish": janus.publish, "subscribe": janus.subscribe, "accept": janus.accept}[name](*sdp))
                except (RuntimeError, OSError) as error:
                    say({"failed": str(error)})
        finally:
            janus.end()


if __name__ == "__main__":
    # as at the end of standard input
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    main()
