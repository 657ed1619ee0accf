"""A model of a training step on several ranks: gradients leave the backward pass layer by layer, and are summed over a
link meanwhile. The scripts of this folder share it.

    ready      a piece of the gradients is whole
    out 1      of every piece, each rank sends its part to the rank that sums that part
    sum        in the order of the ranks
    out 2      the sums go to all others
    update     once all pieces are back

All ranks do the same at the same time, so one is followed. Its link sends one byte behind the other, in the order in
which they come to it; both directions are free of each other. The algorithms differ in what a piece of `bytes` costs:

    slices     2 (N-1)/N bytes out in two turns; 2 (N-1) messages; the order of the sums is fixed (ours)
    ring       2 (N-1)/N bytes in 2 (N-1) turns
    halving    2 (N-1)/N bytes in 2 log2 N turns (recursive halving and doubling)
    tree       2 bytes in 2 log2 N turns (reduce, then broadcast)
"""

import collections
import heapq
import math

PIECE = 1 << 20  # floats that are sent at once (CAPS_PIECE of src/train/reduce/exchange.h)
SEGMENT_HEADERS, FRAME = 52, 38  # TCP and IP in a packet; Ethernet around it
FIRST_WINDOW = 10  # packets that TCP sends before it has heard anything
IDLE = 0.2  # seconds of silence after which TCP begins so again

# rate: bit/s of a host's link, each way; delay: seconds one way; loss: of packets, 0 to 1; mtu: bytes; message: seconds
# that a rank's processor needs for each that it sends or receives; host: bit/s that its processor gets through; tcp:
# its congestion control
Link = collections.namedtuple("Link", "rate delay loss mtu message host tcp",
                              defaults=(0.0, 1500, 3e-6, math.inf, "cubic"))

# layers: [(name, floats)] in the order of the flat gradient, the first layer's first; ready: {name: seconds from the
# step's begin until that layer's gradients are whole}; backward: until the last is; update: the optimizer; host_copy:
# bytes/s between device and host (inf: they share memory); images: of a rank
Profile = collections.namedtuple("Profile", "name arch images layers ready backward update host_copy")

# bound: of "compute", "link", "host" (a rank's processor: messages, sums, rounding), "copies" (to and from the device)
# and "delay" what the step waits for most
Step = collections.namedtuple("Step", "seconds compute exposed sent messages busy bound")

# Floats a second of a rank's processor, one core: added to a sum; rounded to bfloat16; added and read from it. Measured
# on the machine of docs/scaling.md.
ADD, ROUND, ADD_HALF, READ_HALF = 2.2e9, 0.63e9, 3.9e9, 3.2e9


def profile_of(value):
    """From the JSON of bench/scaling/profile."""
    return Profile(value["name"], value["arch"], value["images"], [tuple(x) for x in value["layers"]], value["ready"],
                   value["backward"], value["update"], value["host_copy"] or math.inf)


def scaled(profile, images, factor=1):
    """Another number of images a rank: gradients in proportion, the optimizer as it is."""
    f = images / profile.images * factor
    return profile._replace(images=images, backward=profile.backward * f,
                            ready={k: v * f for k, v in profile.ready.items()})


def pieces_of(profile):
    """[(seconds when it is whole, floats)], in the order in which they are sent: the last part first."""
    starts, at = [], 0
    for name, floats in profile.layers:
        starts.append((at, name))
        at += floats
    count = math.ceil(at / PIECE)
    pieces = []
    for i in range(count - 1, -1, -1):
        first = i * PIECE
        holder = next(name for start, name in reversed(starts) if start <= first)
        pieces.append((profile.ready[holder], min(PIECE, at - first)))
    return pieces


def goodput(link, flows):
    """Bytes a second of TCP, over so many connections."""
    rate = link.rate * (link.mtu - SEGMENT_HEADERS) / (link.mtu + FRAME)
    if link.loss > 0 and link.delay > 0 and link.tcp != "bbr":  # Mathis et al. 1997; bbr takes no loss for a full link
        segment = 8 * (link.mtu - SEGMENT_HEADERS)
        rate = min(rate, flows * segment / (2 * link.delay) * math.sqrt(1.5 / link.loss))
    return min(rate, link.host) / 8


def start_of(link, speed, flows, volume, idle):
    """Seconds that TCP needs more at the begin of a burst, while its window grows."""
    trip = 2 * link.delay
    if idle < IDLE + trip or trip == 0:
        return 0
    first = FIRST_WINDOW * (link.mtu - SEGMENT_HEADERS) * flows
    grows_to = min(speed * trip, volume)
    return max(0, math.log2(max(1, grows_to / first))) * trip


def turns(algorithm, n):
    """[(share of a piece's bytes that leaves, messages, how often the link's delay is waited for)]: one after the
    other, each begins once the one before has arrived."""
    part = (n - 1) / n
    log = math.ceil(math.log2(n)) if n > 1 else 0
    return {
        "slices": [(part, n - 1, 1), (part, n - 1, 1)],
        "ring": [(part, n - 1, n - 1), (part, n - 1, n - 1)],
        "halving": [(part, log, log), (part, log, log)],
        "tree": [(1, log, log), (1, log, log)],
    }[algorithm]


def stages(n, link, profile, floats, algorithm, width, speed, on_device):
    """[(server, seconds of its time, seconds until the next may begin)] that a piece goes through."""
    rounds = turns(algorithm, n)
    copy = (width if on_device else 4) * floats / profile.host_copy
    half = width == 2
    adds = floats * (2 if algorithm == "tree" else 1)
    prepare = floats / ROUND if half else 0
    add = adds / ADD_HALF + floats / n / ROUND if half else adds / ADD
    finish = floats / READ_HALF if half else 0
    if on_device:
        prepare = add = finish = 0
    found = [("copies", copy, 0)]
    for (share, count, delays), before in zip(rounds, (prepare, add)):
        found.append(("host", before + 2 * count * link.message, 0))
        found.append(("link", share * floats * width / speed, delays * link.delay))
    return found + [("host", finish, 0), ("copies", copy, 0)]


def step(profile, n, link, algorithm="slices", width=4, dw_first=0.0, sharded=False,
         on_device=False):
    """What a step of n ranks takes. width: bytes of a float that is sent; dw_first: seconds by which the last large
    layer's gradients are whole earlier; sharded: each rank updates its part of the parameters, and sends these;
    on_device: gradients are rounded and summed there, which takes no time beside the rest."""
    compute = profile.backward
    if n == 1:
        return Step(compute + profile.update, compute, 0, 0, 0, {}, "compute")
    flows = n - 1 if algorithm == "slices" else 1
    speed = goodput(link, flows)
    update = profile.update / n if sharded else profile.update
    largest = max(profile.layers, key=lambda x: x[1])[0]
    pieces = [(ready - (dw_first if ready == profile.ready[largest] else 0), floats)
              for ready, floats in pieces_of(profile)]
    sent = sum(floats * width * turn[0] for _, floats in pieces for turn in turns(algorithm, n))
    messages = len(pieces) * sum(turn[1] for turn in turns(algorithm, n))
    begins = min(ready for ready, _ in pieces)
    free = collections.defaultdict(float)
    free["link"] = begins + start_of(link, speed, flows, sent, update + begins)
    busy = collections.defaultdict(float)
    queue = [(ready, i, stages(n, link, profile, floats, algorithm, width, speed, on_device))
             for i, (ready, floats) in enumerate(pieces)]
    heapq.heapify(queue)
    done = compute
    while queue:
        at, i, (now, *later) = heapq.heappop(queue)
        server, takes, after = now
        free[server] = max(free[server], at) + takes
        busy[server] += takes
        at = free[server] + after
        if later:
            heapq.heappush(queue, (at, i, later))
        else:
            done = max(done, at)
    exposed = done - compute
    most = max(busy, key=busy.get)
    bound = "compute" if exposed < 0.1 * compute else most if busy[most] > 0.4 * exposed else "delay"
    return Step(done + update, compute, exposed, sent, messages, dict(busy), bound)
