"""What the tests of `capscl serve` share: data and models that are quickly made, a server, requests."""
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess

SKIPPED = 77

TINY = {"input": [1, 12, 12], "classes": 4}
CONV = {"kind": "conv", "channels": 8, "kernel": 3}
PRIMARY = {"kind": "primary_caps", "name": "primary", "types": 4, "dim": 4, "kernel": 3, "stride": 2}


def class_caps(routing, **more):
    return dict({"kind": "caps", "name": "class_caps", "capsules": 4, "dim": 6, "routing": routing}, **more)


def capsules(routing, decoder=True, between=()):
    layers = [CONV, PRIMARY, *between, class_caps(routing)]
    return dict(TINY, layers=layers, decoder={"hidden": [16]} if decoder else None)


# Every kind of network that the library has, small.
NETWORKS = {
    "dynamic": dict(TINY, conv1={"channels": 8, "kernel": 3, "stride": 1},
                    primary={"types": 4, "dim": 4, "kernel": 3, "stride": 2},
                    class_caps={"dim": 6, "iterations": 2}, decoder={"hidden": [16]}),
    "stacked": capsules({"kind": "dynamic", "iterations": 3}, between=[
        {"kind": "caps", "name": "middle", "capsules": 6, "dim": 5,
         "routing": {"kind": "dynamic", "iterations": 1}}]),
    "max_min": capsules({"kind": "max_min", "iterations": 2}),
    "attention": capsules({"kind": "attention"}),
    "self": capsules({"kind": "self"}, decoder=False),
    "matrix": dict(TINY, layers=[
        {"kind": "conv", "channels": 5, "kernel": 3, "stride": 2},
        {"kind": "matrix_primary", "name": "primary", "types": 2},
        {"kind": "matrix_conv", "name": "caps1", "types": 3, "kernel": 3, "stride": 1,
         "routing": {"kind": "em", "iterations": 2}},
        {"kind": "matrix_caps", "name": "class_caps", "capsules": 4,
         "routing": {"kind": "em", "iterations": 3}}], decoder={"hidden": [9]}),
    "cnn": dict(TINY, kind="cnn", conv=[{"channels": 4, "kernel": 5, "stride": 1, "padding": 2}],
                hidden=[8], dropout=0.5),
}
PAIRS = {"input": [1, 20, 20], "classes": 4, "labels": 2,
         "conv1": {"channels": 6, "kernel": 5, "stride": 2},
         "primary": {"types": 3, "dim": 4, "kernel": 3, "stride": 2},
         "class_caps": {"dim": 6, "iterations": 2}, "decoder": {"hidden": [16]}}


def environment(build):
    return dict(os.environ, CAPSCL_CACHE=os.environ.get("CAPSCL_CACHE", f"{build}/test-cache"))


def capscl(build, *arguments):
    result = subprocess.run([f"{build}/capscl", *map(str, arguments)], env=environment(build),
                            capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"{arguments}: {result.returncode}: {result.stderr}")
    return result.stdout


def version(build):
    return json.loads(capscl(build, "version", "--json"))


def is_there(build):
    return version(build)["http"] != ""


def write_split(folder, split, n, side, classes, seed):
    """Images whose bright quarter says the class."""
    draw = random.Random(seed)
    pixels = bytearray()
    labels = bytes(i * 7 % classes for i in range(n))
    for label in labels:
        for y in range(side):
            for x in range(side):
                bright = 2 * (2 * y // side) + 2 * x // side == label
                pixels.append(draw.randrange(60) + 180 * bright)
    (folder / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, n, side, side) + pixels)
    (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + labels)


def make_data(folder):
    folder = pathlib.Path(folder) / "data"
    folder.mkdir()
    write_split(folder, "train", 90, 12, 4, 1)
    write_split(folder, "t10k", 42, 12, 4, 2)
    return folder


def make_model(build, folder, name, spec, data, steps=12):
    arch = pathlib.Path(folder) / f"{name}.json"
    arch.write_text(json.dumps(spec))
    run = pathlib.Path(folder) / name
    capscl(build, "train", "--data", data, "--arch", arch, "--out", run, "--batch", 20, "--max-steps", steps,
           "--lr", 0.01, "--quiet")
    return run


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """A server on a free port."""

    def __init__(self, build, *arguments):
        command = [f"{build}/capscl", "serve", "--port", "0", "--quiet", *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment(build), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        if not self.line:
            raise AssertionError(f"it did not start: {self.process.stderr.read()}")
        self.url = self.line.split()[-1]
        host, _, port = self.url[len("http://"):-1].rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)

    def request(self, method, path, body=None, headers=None, connection=None):
        own = connection or http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            own.request(method, path, data, headers or {})
            return Answer(own.getresponse())
        finally:
            if not connection:
                own.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body):
        return self.request("POST", path, body)

    def good(self, path, body=None):
        answer = self.post(path, body) if body is not None else self.get(path)
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer.status} {answer.body[:300]}")
        return answer.json

    def raw(self, data, timeout=60):
        """What comes back for these bytes, up to the connection's end."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as s:
            s.sendall(data)
            pieces = []
            try:
                while piece := s.recv(65536):
                    pieces.append(piece)
            except ConnectionResetError:
                pass
            return b"".join(pieces)

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self, number=signal.SIGTERM):
        """Its exit code, once it has got a signal; what it said is in `said`."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, self.said = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode
