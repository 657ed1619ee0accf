"""What the scripts of this folder share."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = pathlib.Path(sys.argv[0]).name


def stop(message, code=1):
    """One line, and the exit codes of capscl: 2 usage, 3 input, 4 device, 1 all others."""
    print(f"{NAME}: {message}", file=sys.stderr)
    sys.exit(code)


def one_line_errors(parser):
    """Wrong arguments get one line, not the usage as well."""
    parser.error = lambda message: stop(f"{message} (see --help)", 2)


def read_json(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        stop(f"{path}: {error.strerror}", 3)
    except ValueError as error:
        stop(f"{path}: not JSON: {error}", 3)


def write_text(path, text):
    """A new file is whole or not there."""
    path = pathlib.Path(path)
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(text)
        new.replace(path)
    except OSError as error:
        stop(f"{path}: {error.strerror}")


def make_directory(path):
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{path}: {error.strerror}")


def load_spec(arch):
    """A built-in network, or the spec in a file."""
    builtin = {
        "mnist": (256, 32, [512, 1024]),
        "small": (48, 8, [128, 256]),
    }
    if arch not in builtin:
        return read_json(arch)
    channels, types, hidden = builtin[arch]
    return {
        "input": [1, 28, 28],
        "classes": 10,
        "conv1": {"channels": channels, "kernel": 9, "stride": 1},
        "primary": {"types": types, "dim": 8, "kernel": 9, "stride": 2},
        "class_caps": {"dim": 16, "iterations": 3},
        "decoder": {"hidden": hidden},
    }


def add_program(parser):
    parser.add_argument("--program", default=str(ROOT / "build" / "capscl"),
                        help="the capscl to run (default: build/capscl of this tree)")


def check_program(options):
    if not os.access(options.program, os.X_OK) or pathlib.Path(options.program).is_dir():
        stop(f"{options.program} is not built: run scripts/build first, or name one with --program", 2)


def run_json(command):
    """Runs capscl; its JSON. When it fails, its one line is out already; so is its exit code."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        stop(f"'{' '.join(map(str, command))}' ended with {done.returncode}",
             done.returncode if done.returncode > 0 else 1)
    return json.loads(done.stdout)
