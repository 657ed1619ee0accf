"""targets.py: the GPUs that kernels are compiled for, the compilers that do it, and the devices that stand for them.

What a driver would say of a device decides which tiles and algorithms are chosen, so a vendor has several."""
from collections import namedtuple

GIB = 1 << 30

# One that driver.c pretends to be: units as the vendor's driver counts them, largest group, native vector.
Device = namedtuple("Device", "platform vendor name units clock memory local group")

NVIDIA = ("NVIDIA CUDA", "NVIDIA Corporation")
AMD = ("AMD Accelerated Parallel Processing", "Advanced Micro Devices, Inc.")
INTEL = ("Intel(R) OpenCL Graphics", "Intel(R) Corporation")

DEVICES = {
    "nvidia": [
        Device(*NVIDIA, "NVIDIA H100 80GB HBM3", 132, 1980, 80 * GIB, 49152, 1024),
        Device(*NVIDIA, "Tesla T4", 40, 1590, 15 * GIB, 49152, 1024),
    ],
    "amd": [
        Device(*AMD, "gfx1100", 48, 2400, 24 * GIB, 65536, 256),
        Device(*AMD, "gfx90a:sramecc+:xnack-", 104, 1700, 64 * GIB, 65536, 256),
    ],
    "intel": [
        Device(*INTEL, "Intel(R) Arc(TM) A770 Graphics", 512, 2400, 15 * GIB, 65536, 1024),
        Device(*INTEL, "Intel(R) UHD Graphics 620", 24, 1150, 8 * GIB, 65536, 256),
    ],
}

# registers: of a unit, warps: a unit holds, shared: bytes of local memory a unit has.
Target = namedtuple("Target", "name vendor chip compiler registers warps shared local")


def nvidia(chip, warps, shared):
    return Target(chip, "nvidia", chip, "ptxas", 65536, warps, shared, 49152)


def amd(chip, compiler):
    name = chip if compiler == "clang-new" else chip + "/old"
    return Target(name, "amd", chip, compiler, 0, 0, 0, 65536)


def intel(chip):
    return Target(chip, "intel", chip, "ocloc", 0, 0, 0, 65536)


# "newest" is what ptxas has as its last; compilers.py puts the name in.
TARGETS = [
    nvidia("sm_75", 32, 65536),
    nvidia("sm_80", 64, 163840),
    nvidia("sm_90", 64, 228 << 10),
    nvidia("newest", 48, 100 << 10),
    amd("gfx906", "clang-new"),
    amd("gfx90a", "clang-new"),
    amd("gfx942", "clang-new"),
    amd("gfx1030", "clang-new"),
    amd("gfx1100", "clang-new"),
    amd("gfx1201", "clang-new"),
    amd("gfx906", "clang-old"),
    amd("gfx90a", "clang-old"),
    amd("gfx1030", "clang-old"),
    amd("gfx1100", "clang-old"),
    intel("skl"),
    intel("tgllp"),
    intel("dg2"),
    intel("pvc"),
]
