"""loops.py: what the loop with the most multiply-adds of a kernel issues, from SASS and from AMD's assembly.

share: multiply-adds among all instructions of the loop (NVIDIA: what a scheduler issues, one a cycle), among vector
instructions (AMD: scalar ones and those of local memory are issued beside them, from other waves). arrives: the least
part of the loop's multiply-adds that stand between a load from memory and what first reads it, or waits for it."""
import re

LEAST = 32  # multiply-adds of a loop that is looked at


def parse(body, comment):
    """[(operation, operands)], {label: place}"""
    code, labels = [], {}
    for line in body.splitlines():
        m = re.match(r"(\.L\w+):", line)
        if m:
            labels[m[1]] = len(code)
            continue
        m = re.match(comment, line)
        if m and not m[1].startswith("p2align"):
            code.append((m[1], m[2]))
    return code, labels


def hot_loop(code, labels, branch, count):
    """The shortest of the loops that have the most multiply-adds, or None."""
    best = None
    for i, (op, rest) in enumerate(code):
        m = re.search(r"(\.L\w+)", rest) if re.match(branch, op) else None
        if not m or labels.get(m[1], 1 << 30) > i:
            continue
        part = code[labels[m[1]]:i + 1]
        n = sum(count(*x) for x in part)
        if n >= LEAST and (best is None or (n, -len(part)) > best[:2]):
            best = n, -len(part), part
    return best and (best[0], best[2])


def arrival(loop, n, count, load, registers_of, reads):
    """Goes on from each load, round the loop, to what needs it. None: the loop loads nothing."""
    least = None
    for i, (op, rest) in enumerate(loop):
        if not re.match(load, op):
            continue
        wanted, passed = registers_of(op, rest), 0
        for step in range(1, len(loop) + 1):
            other = loop[(i + step) % len(loop)]
            if reads(*other, wanted):
                break
            passed += count(*other)
        part = passed / n
        least = part if least is None else min(least, part)
    return least


# ---- NVIDIA

def fma_nvidia(op, rest):
    del rest
    return int(op.startswith("FFMA"))


def loaded_nvidia(op, rest):
    first = int((re.match(r"R(\d+)", rest) or [0, 255])[1])
    return set(range(first, first + (4 if ".128" in op else 2 if ".64" in op else 1)))


def reads_nvidia(op, rest, wanted):
    """Registers behind the first operand are read; a store reads all of its own."""
    parts = rest.split(",")
    wide = 4 if ".128" in op else 2 if ".64" in op else 1
    store = op.startswith(("ST", "RED"))
    for i, part in enumerate(parts):
        if i == 0 and not store:
            continue
        for m in re.finditer(r"\bR(\d+)\b", part):
            first = int(m[1])
            if wanted & set(range(first, first + (wide if store and i == len(parts) - 1 else 1))):
                return True
    return False


def of_nvidia(sass):
    found = {}
    parts = re.split(r"\n\.text\.(\w+):", sass)
    for name, body in zip(parts[1::2], parts[2::2]):
        code, labels = parse(body, r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*)")
        best = hot_loop(code, labels, r"BRA", fma_nvidia)
        if best:
            n, loop = best
            found[name] = {"multiply_adds": n, "share": n / len(loop), "issued": len(loop),
                           "arrives": arrival(loop, n, fma_nvidia, r"LDG", loaded_nvidia, reads_nvidia)}
    return found


# ---- AMD

def fma_amd(op, rest):
    """Multiply-adds of an instruction: dual issue has one or two, a packed one two."""
    if op.startswith("v_dual"):
        return len(re.findall(r"v_dual_fmac?\w*", op + " " + rest))
    return (2 if "v_pk_" in op else 1) if re.match(r"v_(pk_)?fm(a|ac|aak|amk)_", op) else 0


def registers_amd(text):
    found = set()
    for m in re.finditer(r"\bv\[(\d+):(\d+)\]|\bv(\d+)\b", text):
        found |= set(range(int(m[1]), int(m[2]) + 1)) if m[1] else {int(m[3])}
    return found


def loaded_amd(op, rest):
    del op
    return registers_amd(rest.split(",")[0])


def reads_amd(op, rest, wanted):
    if op.startswith("s_waitcnt"):
        return bool(re.search(r"vmcnt\(0\)", rest))
    if op.startswith("s_wait_loadcnt"):
        return rest.strip() in ("0", "0x0")
    store = re.match(r"(ds_(write|store)|global_store|buffer_store|flat_store)", op)
    parts = rest if store else " ".join(rest.split(",")[1:])
    return op.startswith(("v_", "ds_", "global_", "buffer_", "flat_")) and bool(registers_amd(parts) & wanted)


def of_amd(text):
    found = {}
    for m in re.finditer(r"\n(\w+):\s+; @\1\n(.*?)\n\.Lfunc_end", text, re.S):
        if m[1].startswith("__clang_ocl"):  # clang keeps a second copy
            continue
        code, labels = parse(m[2], r"\t([a-z]\w+)\s*(.*)")
        best = hot_loop(code, labels, r"s_cbranch|s_branch", fma_amd)
        if best:
            n, loop = best
            vector = sum(op.startswith("v_") for op, _ in loop)
            issued = sum(fma_amd(*x) > 0 for x in loop)
            found[m[1]] = {"multiply_adds": n, "share": issued / vector, "issued": vector,
                           "arrives": arrival(loop, n, fma_amd, r"global_load|buffer_load|flat_load", loaded_amd,
                                              reads_amd)}
    return found
