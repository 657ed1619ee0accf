"""What the scripts of this folder share: the program, its networks, what else they need, and PyTorch."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = pathlib.Path(sys.argv[0]).name
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "capscl-bench"
BUILD = ROOT / "build"
CORES = len(os.sched_getaffinity(0))


def say(message):
    print(message, file=sys.stderr, flush=True)


def stop(message, code=1):
    """One line, and the exit codes of capscl: 2 usage, 3 input, 4 device, 1 all others."""
    say(f"{NAME}: {message}")
    sys.exit(code)


# ---- arguments and files -------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Wrong arguments get one line, not the usage as well."""

    def __init__(self, text):
        super().__init__(prog=NAME, description=text, formatter_class=argparse.RawTextHelpFormatter)

    def error(self, message):
        stop(f"{message} (see --help)", 2)


def whole(least, most):
    """Of an argument: a whole number in a range."""

    def check(text):
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"'{text}': need a whole number from {least} to {most}")
        return number

    return check


def seconds(text):
    """Of an argument: how long to measure."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= 60:
        raise argparse.ArgumentTypeError(f"'{text}': need seconds, above 0 and at most 60")
    return number


def run_main(main):
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        stop("stopped", 130)
    except BrokenPipeError:  # whoever read the output has enough of it; the interpreter must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def read_json(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        stop(f"{path}: {error.strerror}", 3)
    except ValueError as error:
        stop(f"{path}: not JSON: {error}", 3)


def write_json(path, value):
    """A new file is whole or not there."""
    path = pathlib.Path(path)
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(json.dumps(value, indent=1) + "\n")
        new.replace(path)
    except OSError as error:
        stop(f"{path}: {error.strerror}")


def check_writable(path):
    """Before the measurements, not after them."""
    folder = pathlib.Path(path).absolute().parent
    if pathlib.Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        stop(f"{path}: cannot be written: need a file in a folder that is there and lets you write")


# ---- what else is needed -------------------------------------------------------------------------


def install(packages):
    """Debian packages, as scripts/build does it; where that cannot be, its line says which are missing."""
    script = 'source "$1"; shift; install_packages "$@"'
    command = ["bash", "-c", script, NAME, str(ROOT / "scripts" / "common.sh"), *packages]
    code = subprocess.run(command, stdout=sys.stderr).returncode
    if code:
        sys.exit(code)


def ensure_build(wanted):
    """A file of the build that a fresh clone makes, brought up to date: old code is not to be measured."""
    path = BUILD / wanted
    code = subprocess.run([ROOT / "scripts" / "build"], stdout=sys.stderr).returncode
    if code or not path.exists():
        stop(f"scripts/build left no {path}", code if code > 0 else 1)
    return path


def ensure_venv(path, modules, requirements, index=None):
    """Python of a virtual environment that has `modules`; made and filled where it has not."""
    python = pathlib.Path(path).absolute() / "bin" / "python"
    probe = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"

    def complete():
        return python.exists() and subprocess.run([python, "-c", probe, *modules]).returncode == 0

    if complete():
        return python
    say(f"Installing {' and '.join(modules)} into {path} ...")
    try:
        if not python.exists():
            if subprocess.run([sys.executable, "-c", "import ensurepip"], stderr=subprocess.DEVNULL).returncode:
                install(["python3-venv"])
            venv.create(path, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        stop(f"no virtual environment can be made in {path}: {error}")
    command = [python, "-m", "pip", "install", "--quiet", *requirements]
    if index and reachable(index):
        command += ["--extra-index-url", index]
    if subprocess.run(command, stdout=sys.stderr).returncode or not complete():
        stop(f"pip could not install {' '.join(requirements)} into {path}")
    return python


def reachable(url):
    try:
        with urllib.request.urlopen(url + "/", timeout=5):
            return True
    except (OSError, ValueError):
        return False


# ---- networks ------------------------------------------------------------------------------------


def matrix_capsules(a, b, c, d):
    """As smallNORB has them: two cameras, five classes."""
    em = {"kind": "em", "iterations": 3}
    return {"input": [2, 32, 32], "classes": 5, "layers": [
        {"kind": "conv", "name": "conv1", "channels": a, "kernel": 5, "stride": 2},
        {"kind": "matrix_primary", "name": "primary", "types": b},
        {"kind": "matrix_conv", "name": "caps1", "types": c, "kernel": 3, "stride": 2, "routing": em},
        {"kind": "matrix_conv", "name": "caps2", "types": d, "kernel": 3, "stride": 1, "routing": em},
        {"kind": "matrix_caps", "name": "class_caps", "capsules": 5, "routing": em}]}


def efficient_capsnet():
    layers = [{"kind": "conv", "name": f"conv{n}", "channels": c, "kernel": k, "stride": s, "norm": "batch"}
              for n, (c, k, s) in enumerate([(32, 5, 1), (64, 3, 1), (64, 3, 1), (128, 3, 2)], 1)]
    return {"input": [1, 28, 28], "classes": 10, "layers": [
        *layers,
        {"kind": "primary_caps", "name": "primary", "dim": 8, "kernel": 9, "stride": 1, "depthwise": True,
         "squash": "exp"},
        {"kind": "caps", "name": "class_caps", "capsules": 10, "dim": 16, "squash": "exp",
         "routing": {"kind": "attention"}}], "decoder": {"hidden": [512, 1024]}}


# Networks as lists of layers, which compare_torch alone takes.
LISTS = {"matrix-small": lambda: matrix_capsules(64, 8, 16, 16), "matrix": lambda: matrix_capsules(32, 32, 32, 32),
         "efficient": efficient_capsnet}


def load_list(arch):
    """A network as a list of layers, by name or in a file; None: it is none."""
    if arch in LISTS:
        return LISTS[arch]()
    spec = read_json(arch) if os.path.exists(arch) else None
    return spec if isinstance(spec, dict) and isinstance(spec.get("layers"), list) else None


def load_spec(arch):
    """A built-in network, or the spec in a file."""
    builtin = {
        "mnist": (256, 32, [512, 1024]),
        "small": (48, 8, [128, 256]),
    }
    if arch not in builtin:
        spec = read_json(arch)
        try:  # what all scripts read; everything else is for capscl to judge
            (spec["input"][2], spec["classes"], spec["conv1"]["channels"], spec["conv1"]["kernel"],
             spec["conv1"]["stride"], spec["primary"]["types"], spec["primary"]["dim"],
             spec["primary"]["kernel"], spec["primary"]["stride"], spec["class_caps"]["dim"],
             spec["class_caps"]["iterations"])
        except (KeyError, TypeError, IndexError) as error:
            stop(f"{arch}: not the spec of a network: {type(error).__name__}: {error}", 3)
        return spec
    channels, types, hidden = builtin[arch]
    return {
        "input": [1, 28, 28],
        "classes": 10,
        "conv1": {"channels": channels, "kernel": 9, "stride": 1},
        "primary": {"types": types, "dim": 8, "kernel": 9, "stride": 2},
        "class_caps": {"dim": 16, "iterations": 3},
        "decoder": {"hidden": hidden},
    }


# ---- capscl --------------------------------------------------------------------------------------


def add_program(parser):
    parser.add_argument("--program", metavar="FILE", help="the capscl to run (default: build/capscl, built first)")
    parser.add_argument("--device", default="cpu", help="of capscl (default: cpu)")


def ensure_program(options):
    if not options.program:
        options.program = ensure_build("capscl")
    if not os.access(options.program, os.X_OK) or pathlib.Path(options.program).is_dir():
        stop(f"--program {options.program}: no program is there", 2)


def run_capscl(options, arguments):
    """Its JSON, and its greatest memory in bytes. When it fails its own line is out already; so is its code."""
    command = [str(options.program), *map(str, arguments), "--device", options.device, "--json", "--quiet"]
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(command, stdout=output)
        except OSError as error:
            stop(f"{options.program}: {error.strerror}", 2)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            stop(f"'{' '.join(command)}' ended with {process.returncode}", max(process.returncode, 1))
        output.seek(0)
        return json.load(output), usage.ru_maxrss * 1024


def bench(options, arch, names, batch, time=1):
    """Rows of `capscl bench`, forward and step."""
    rows, _ = run_capscl(options, ["bench", *names, "--arch", arch, "--batch", batch, "--time", time])
    return rows


# ---- PyTorch -------------------------------------------------------------------------------------

TORCH = "torch==2.9.*"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # without the libraries of GPUs: a tenth of the size
MODES = ("eager", "compile", "bf16")


def add_matplotlib(parser):
    parser.add_argument("--plot-venv", metavar="DIR", default=str(CACHE / "plot"),
                        help="where matplotlib is, or is installed to, when this Python has none\n(default: %(default)s)")


def enter_matplotlib(options, script):
    """Goes on in the environment's Python where this one has no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        python = ensure_venv(options.plot_venv, ["matplotlib"], ["matplotlib>=3.5"])
        if pathlib.Path(sys.executable).absolute() == python:
            stop(f"matplotlib in {options.plot_venv} cannot be loaded: remove that folder")
        os.execv(python, [str(python), str(pathlib.Path(script).resolve()), *sys.argv[1:]])


def add_torch(parser):
    parser.add_argument("--venv", metavar="DIR", default=str(CACHE / "torch"),
                        help="where PyTorch is, or is installed to (default: %(default)s)")


def ensure_torch(path, modes):
    """Python with PyTorch; what torch.compile needs beside it is installed, too."""
    if any(mode != "eager" for mode in modes):
        if not shutil.which(os.environ.get("CXX", "g++")):
            install(["g++"])
        if not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
            install(["python3-dev"])
    return ensure_venv(path, ["torch", "numpy"], [TORCH, "numpy"], TORCH_INDEX)


class Torch:
    """A process with a network of PyTorch in one mode; it measures on request, and rests meanwhile."""

    def __init__(self, python, spec, mode, threads=CORES):
        command = [python, ROOT / "bench" / "torch_worker.py", mode, str(threads), json.dumps(spec)]
        self.mode = mode
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            stop(f"PyTorch ({self.mode}) ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says how it ended
        return self.answer()

    def seconds(self, what, batch):
        """Median time of a "step" or "forward"; warm: what is new to it is run before, untimed."""
        return statistics.median(self.ask(what=what, batch=batch)["seconds"])

    def memory(self):
        return self.ask(what="memory")["ru_maxrss"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
