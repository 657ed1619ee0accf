"""read.py: what compilers made of kernels: registers, spills, memory, and what their hot loops issue.

A row: kernel, registers, spill (bytes of vector registers on NVIDIA and Intel, registers on AMD), scalar_spill (AMD),
private (bytes of an item's own memory), local (bytes), waves (AMD: of a SIMD, by the compiler), width (Intel:
SIMD), and of the loop with most multiply-adds: multiply_adds, share, arrives (loops.py)."""
import re
import struct

import loops


def read(target, text_or_bytes, log):
    rows = {"ptxas": read_nvidia, "ocloc": read_intel}.get(target.compiler, read_amd)(text_or_bytes, log)
    for row in rows.values():
        row.setdefault("spill", 0)
        row.setdefault("scalar_spill", 0)
        row.setdefault("private", 0)
    return rows


def read_nvidia(sass, log):
    rows, row = {}, None
    for line in log.splitlines():
        m = re.search(r"Compiling entry function '(\w+)'", line)
        if m:
            row = rows.setdefault(m[1], {"local": 0, "registers": 0})
        m = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if m and row is not None:
            row.update(private=int(m[1]), spill=int(m[2]) + int(m[3]))
        m = re.search(r"Used (\d+) registers", line)
        if m and row is not None:
            row["registers"] = int(m[1])
            m = re.search(r"(\d+) bytes smem", line)
            row["local"] = int(m[1]) if m else 0
            row = None
    for name, loop in loops.of_nvidia(sass).items():
        if name in rows:
            rows[name].update(loop)
    return rows


def read_amd(text, log):
    del log
    rows, waves, name = {}, {}, None
    for line in text.splitlines():
        m = re.match(r"^(\w+):\s+; @\w+", line)
        if m:
            name = m[1]
        m = re.match(r"^; Occupancy: (\d+)", line)
        if m and name:
            waves[name] = int(m[1])
    hot = loops.of_amd(text)
    for block in re.split(r"\n  - \.a", text[text.rindex("amdhsa.kernels"):])[1:]:
        end = block[block.rindex(".group_segment"):]

        def get(key):
            m = re.search(r"\." + key + r":\s+'?(\w+)", end)
            return int(m[1]) if m else 0
        kernel = re.search(r"\n    \.name:\s+(\w+)", block)[1]
        rows[kernel] = {"registers": get("vgpr_count"), "spill": get("vgpr_spill_count"),
                        "scalar_spill": get("sgpr_spill_count"), "private": get("private_segment_fixed_size"),
                        "local": get("group_segment_fixed_size"), "waves": waves.get(kernel, 0),
                        **hot.get(kernel, {})}
    return rows


def section(data, wanted):
    """A section of an ELF file of 64 bits as text, or None."""
    at, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
    for h in heads:
        start = heads[names][4] + h[0]
        if data[start:data.index(b"\0", start)].decode() == wanted:
            return data[h[4]:h[4] + h[5]].decode(errors="replace").rstrip("\0")
    return None


def read_intel(data, log):
    del log
    info = section(data, ".ze_info") if data[:4] == b"\x7fELF" else None
    if info is None:
        raise ValueError("ocloc's file is no ELF file with .ze_info")
    rows = {}
    text = re.split(r"\nkernels_misc_info:", info.split("kernels:", 1)[1])[0]
    for k in re.split(r"\n  - name: +", text)[1:]:
        def get(key):
            m = re.search(r"\b" + key + r": +(\d+)", k)
            return int(m[1]) if m else 0

        def of_use(use):
            return sum(int(m) for m in re.findall(r"usage: +" + use + r"\s+size: +(\d+)", k))
        rows[k.split("\n", 1)[0].strip()] = {
            "registers": get("grf_count"), "width": get("simd_size"), "local": get("slm_size"),
            "spill": of_use("spill_fill_space"), "private": of_use("private_space")}
    return rows
