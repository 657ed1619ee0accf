"""record.py: which programs a device would build, found by running capscl on a driver that stands for it (driver.c)."""
import gzip
import json
import os
import shutil
import struct
import subprocess


def environment(device, build, folder, launches=False):
    """What a process needs so that the only OpenCL device is this one, and what it builds is written to folder."""
    vendors = os.path.join(folder, "vendors")
    os.makedirs(vendors, exist_ok=True)
    with open(os.path.join(vendors, "offline.icd"), "w") as f:
        f.write(os.path.join(build, "tests", "offline", "driver.so") + "\n")
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("CAPSCL_", "OCL_ICD_", "OFFLINE_", "OPENCL_"))}
    if os.environ.get("OFFLINE_SOURCES"):
        clean["CAPSCL_CL_PATH"] = os.environ["OFFLINE_SOURCES"]
    return dict(clean, OCL_ICD_VENDORS=vendors, CAPSCL_CACHE=os.path.join(folder, "cache"),
                CAPSCL_KERNELS="gpu", CAPSCL_TRUST="off", OFFLINE_RECORD=folder, OFFLINE_LAUNCHES=str(int(launches)),
                OFFLINE_PLATFORM=device.platform, OFFLINE_VENDOR=device.vendor,
                OFFLINE_NAME=device.name, OFFLINE_UNITS=str(device.units),
                OFFLINE_CLOCK=str(device.clock), OFFLINE_MEMORY=str(device.memory),
                OFFLINE_LOCAL=str(device.local), OFFLINE_GROUP=str(device.group))


def read_lines(folder, name):
    """The lines of a record, each once, in their order."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(x) for x in dict.fromkeys(f)]


def write_data(folder, count=100):
    """A data set of small images: no kernel sees them."""
    os.makedirs(folder, exist_ok=True)
    for name in ("train", "t10k"):
        with gzip.open(os.path.join(folder, name + "-images-idx3-ubyte.gz"), "wb", 1) as f:
            f.write(struct.pack(">IIII", 0x803, count, 28, 28) + bytes(i % 251 for i in range(count * 784)))
        with gzip.open(os.path.join(folder, name + "-labels-idx1-ubyte.gz"), "wb", 1) as f:
            f.write(struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count)))


# Convolutions that no built-in network has: kernels, strides and images that have other programs.
CONVOLUTIONS = ["100x16x28x28x32x3x1", "100x32x16x16x64x3x1x1", "100x32x14x14x64x5x1",
                "100x32x20x20x64x5x2", "100x3x64x64x64x7x2", "20x64x56x56x64x3x2", "100x64x8x8x128x1x1",
                "20x32x40x40x64x11x4"]


def commands(build, folder, everything):
    """What is run, each with whether it may fail: nothing is computed, so a check of numbers fails."""
    capscl, sweep = os.path.join(build, "capscl"), os.path.join(build, "tests", "offline", "sweep")
    archs = subprocess.run([sweep, "--archs"], check=True, capture_output=True, text=True).stdout.split()
    quick = ["--time", "0.001", "--quiet"]
    yield [sweep] + (["--all"] if everything else []), False
    yield [capscl, "selftest"], True
    for arch in archs:
        yield [capscl, "bench", "forward", "--arch", arch, "--batch", "1", *quick], False
        yield [capscl, "bench", "step", "--arch", arch, *quick], False
    for shape in CONVOLUTIONS:
        yield [capscl, "bench", "conv", "--shape", shape, *quick], False
    data = os.path.join(folder, "data")
    write_data(data)
    run = os.path.join(folder, "run")
    for more in ([], ["--batch", "32"], ["--optimizer", "sgd"]):
        yield [capscl, "train", "--arch", "small", "--data", data, "--out", run, "--overwrite",
               "--max-steps", "2", "--quiet", *more], False


class Refused(Exception):
    pass


def programs(devices, build, folder, everything=False, say=lambda text: None):
    """{hash: {"source": path, "options", "kernels", "settings": {kernel: {(items, local bytes)}}}} of all devices."""
    found = {}
    for number, device in enumerate(devices):
        at = os.path.join(folder, str(number))
        shutil.rmtree(at, ignore_errors=True)
        os.makedirs(at)
        say(f"which programs a {device.name} would build")
        env = environment(device, build, at)
        for command, may_fail in commands(build, at, everything):
            done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=at)
            if done.returncode != 0 and not (may_fail and done.returncode == 1):
                raise Refused(f"on a {device.name} `{' '.join(command)}` ends with {done.returncode}: "
                              f"{done.stderr.strip()[-600:]}")
        for p in read_lines(at, "programs.jsonl"):
            if "-DCAPS_FAMILY_GPU=1" in p["options"].split():  # not those of CLBlast
                found.setdefault(p["program"], {"source": os.path.join(at, p["source"]), "options": p["options"],
                                                "kernels": p["kernels"], "settings": {}})
        for s in read_lines(at, "settings.jsonl"):
            if s["program"] in found:
                found[s["program"]]["settings"].setdefault(s["kernel"], set()).add((s["items"], s["local"]))
    return found
