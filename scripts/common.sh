# Sourced by the other scripts: where the tree is, and how packages are installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages="gcc libc6-dev cmake make pkg-config ocl-icd-opencl-dev opencl-headers libclblast-dev zlib1g-dev libpng-dev libjpeg-dev libjansson-dev libmicrohttpd-dev"
test_packages="check oclgrind python3 groff-base zsh"
# The Python package: its tests; its wheel; what of it --long tests too.
python_packages="python3-numpy python3-pytest python3-nbclient python3-ipykernel python3-matplotlib
    dataset-fashion-mnist"
wheel_packages="python3-setuptools python3-wheel python3-venv patchelf binutils"
python_long_packages="python3-torch"
# Several machines; without them it builds and runs on one.
optional_packages="libopenmpi-dev openmpi-bin"
# For scripts/make-debs and its test.
debs_packages="dpkg-dev file gzip lintian mmdebstrap"

# The explorer in a browser, for scripts/test --long.
browser_packages="chromium chromium-driver python3-selenium"

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# install_packages NAME...: installs those that are missing; without root or sudo it names them and stops.
install_packages() {
    local missing="" p
    if ! command -v dpkg-query >/dev/null; then
        say "$(basename "$0"): this is no Debian; taking for granted that these are here: $*"
        return 0
    fi
    for p in "$@"; do
        # The name may be of another version on a newer Debian: what the compiler brings counts.
        case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) in
        *" installed") ;;
        *) missing="$missing $p" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    local as_root=""
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root="sudo -n"
        elif command -v sudo >/dev/null && [ -t 0 ]; then
            as_root=sudo
        else
            die "these packages are missing, and there is neither root nor sudo to install them:$missing"
        fi
    fi
    say "Installing:$missing"
    # The lists may be absent or old: get them, then install; the output matters only when it fails.
    local log
    log=$(mktemp)
    if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "the packages could not be installed:$missing"
    fi
    rm -f "$log"
}

# An OpenCL device is anything whose driver is registered with the loader; without one, PoCL is taken.
install_device() {
    local vendors=${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}
    if [ -n "${OCL_ICD_FILENAMES:-}" ] || [ -f "$vendors" ] || ls "$vendors"/*.icd >/dev/null 2>&1; then
        return 0
    fi
    say "No OpenCL driver is registered on this machine: taking PoCL, which runs on the processor."
    install_packages pocl-opencl-icd
}

# A Python 3 that can test the package: that of the PATH may be another than the packages' own.
find_python() {
    local p
    for p in ${CAPSCL_PYTHON:-} python3 /usr/bin/python3; do
        if "$p" -c 'import numpy, pytest' 2>/dev/null; then
            command -v "$p"
            return 0
        fi
    done
    return 1
}

# configure_and_build DIR PRESET [cmake options]
configure_and_build() {
    local dir=$1 preset=$2
    shift 2
    local log
    log=$(mktemp)
    if ! { cd "$root" && cmake --preset "$preset" -B "$dir" "$@" &&
        cmake --build "$dir" -j "$(nproc)"; } >"$log" 2>&1; then
        grep -E -A3 'error|Error' "$log" | head -n 40 >&2
        say "whole log: $log"
        return 1
    fi
    rm -f "$log"
}
