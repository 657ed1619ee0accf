"""Made-up digits of seven segments, as a data set, as strokes to draw by hand, and as a PNG file."""

import math
import random
import struct
import zlib

SIDE = 28
POINTS = {"a": (9, 5), "b": (18, 5), "c": (9, 14), "d": (18, 14), "e": (9, 23), "f": (18, 23)}
# Each digit as strokes along the points.
STROKES = [
    "abfea",
    "bf",
    "abdcef",
    "abdcdfe",
    "acdbf",
    "bacdfe",
    "bacefdc",
    "abf",
    "abfeacd",
    "dcabfe",
]


def strokes(digit, move=lambda x, y: (x, y)):
    """The strokes of a digit: a list of lists of (x, y) in pixels."""
    return [[move(*POINTS[p]) for p in STROKES[digit]]]


def distance(x, y, a, b):
    """From a point to a piece of a line."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length2 = dx * dx + dy * dy
    t = max(0, min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / length2)) if length2 else 0
    return math.hypot(x - a[0] - t * dx, y - a[1] - t * dy)


def render(digit, move=lambda x, y: (x, y), radius=1.0):
    """A digit as 28 x 28 bytes, with ink as the page has it: full within the radius, then fading."""
    out = bytearray(SIDE * SIDE)
    for stroke in strokes(digit, move):
        for a, b in zip(stroke, stroke[1:]):
            for y in range(max(0, int(min(a[1], b[1])) - 3), min(SIDE, int(max(a[1], b[1])) + 4)):
                for x in range(
                    max(0, int(min(a[0], b[0])) - 3), min(SIDE, int(max(a[0], b[0])) + 4)
                ):
                    ink = max(0, min(1, radius + 0.5 - distance(x, y, a, b)))
                    out[y * SIDE + x] = max(out[y * SIDE + x], round(255 * ink))
    return bytes(out)


def jittered(digit, rng):
    """A digit that is moved, leaned and stretched a little."""
    dx, dy, lean, zoom = (
        rng.randint(-2, 2),
        rng.randint(-2, 2),
        rng.uniform(-0.15, 0.15),
        rng.uniform(0.8, 1.1),
    )

    def move(x, y):
        u, v = (x - 13.5) * zoom, (y - 14) * zoom
        return 13.5 + u - lean * v + dx, 14 + v + dy

    return render(digit, move, rng.uniform(0.7, 1.4))


def write_set(folder, train, test, seed=1):
    """Four IDX files, as MNIST has them."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train", train), ("t10k", test)):
        labels = [i % 10 for i in range(n)]
        rng.shuffle(labels)
        images = b"".join(jittered(d, rng) for d in labels)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 0x803, n, SIDE, SIDE) + images
        )
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x801, n) + bytes(labels)
        )


def write_png(path, digit, zoom=6):
    """A digit in black on white, as somebody would scan it."""
    image, side = render(digit), SIDE * zoom
    rows = b"".join(
        b"\0" + bytes(255 - image[y // zoom * SIDE + x // zoom] for x in range(side))
        for y in range(side)
    )

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
