/* switch.c: a switch in user space, for kernels without netem. Linux, as root.
 *
 *     switch [--rate MBIT] [--delay MS] [--loss PERCENT] [--mtu BYTES] [--queue BYTES] [--seed N] HOST...
 *
 * HOST: the name of a network namespace (/run/netns/HOST). Each gets a device `link0`, which is down
 * and without an address: once all are there the program writes "ready". An IPv4 packet goes to the
 * host whose number, from 1, is the last byte of its destination; every other packet is dropped.
 *
 *     host | its cable up, at `rate`, `delay` | switch | the other's cable down, at `rate` | host
 *
 * rate: Mbit/s of a cable each way, counted as on Ethernet: 38 bytes around each packet of at most
 * `mtu`. A packet passes the switch as it comes: its bytes go down while they come up, unless others
 * are before it. delay: one way. loss: of the packets, each by itself. queue: bytes that wait for a
 * cable; what comes on top is dropped. 0: no such limit (queue: its default).
 *
 * Without loss the kernel hands over what TCP sends by up to 64 KiB at a time (TSO), which saves most
 * of the work, and is counted as the packets that it stands for. SIGTERM ends the program with a line
 * of JSON; the devices go with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    HOSTS_MOST = 16,
    HEADER = sizeof(struct virtio_net_hdr), /* before each packet, to and from the kernel */
    PACKET_MOST = HEADER + 65536,
    FRAME = 38, /* preamble, addresses, type, check sum and gap of Ethernet */
    TURN = 32,  /* packets of a host before another's turn */
    QUEUE = 16 << 20,
};

typedef struct packet {
    struct packet *next;
    uint64_t due; /* when its last byte is through */
    size_t bytes, wire;
    unsigned to;
    unsigned char data[];
} packet;

/* A cable, one way: packets in the order in which they leave it. */
typedef struct cable {
    packet *first, *last;
    size_t waiting; /* bytes */
    uint64_t busy;  /* until then */
} cable;

typedef struct host {
    const char *name;
    int device;
    cable up, down;
    uint64_t packets, bytes, lost, overflowed;
} host;

static struct {
    double ns_per_byte; /* 0: no limit */
    uint64_t delay_ns;
    double loss; /* 0 to 1 */
    unsigned mtu;
    size_t queue;
    uint64_t random;
    host hosts[HOSTS_MOST];
    unsigned n;
} net = {.mtu = 1500, .queue = QUEUE, .random = 1};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "switch: %s: %s\n", what, why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* splitmix64, as a number from 0 to 1. */
static double draw(void)
{
    uint64_t z = net.random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* ---- packets -------------------------------------------------------------------------------- */

static size_t be16(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* Bytes on the cable: of several packets that the kernel left in one, each has its own headers. */
static size_t wire_bytes(const unsigned char *data, size_t bytes)
{
    struct virtio_net_hdr h;
    memcpy(&h, data, sizeof h);
    const unsigned char *ip = data + HEADER;
    const size_t whole = bytes - HEADER, ip_bytes = (size_t)(ip[0] & 15) * 4;
    if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE || h.gso_size == 0 || whole < ip_bytes + 20)
        return whole + FRAME;
    const size_t headers = ip_bytes + (size_t)(ip[ip_bytes + 12] >> 4) * 4;
    const size_t payload = whole > headers ? whole - headers : 0;
    const size_t packets = payload > 0 ? (payload + h.gso_size - 1) / h.gso_size : 1;
    return payload + packets * (headers + FRAME);
}

/* Puts p behind what the cable has; the last byte has come to it at `arrives`. */
static void cable_push(cable *c, packet *p, uint64_t arrives, uint64_t after_ns)
{
    const uint64_t takes = (uint64_t)((double)p->wire * net.ns_per_byte);
    const uint64_t done = c->busy + takes;
    c->busy = done > arrives ? done : arrives;
    p->due = c->busy + after_ns;
    p->next = NULL;
    if (c->last)
        c->last->next = p;
    else
        c->first = p;
    c->last = p;
    c->waiting += p->wire;
}

static packet *cable_pop(cable *c)
{
    packet *p = c->first;
    c->first = p->next;
    if (!c->first)
        c->last = NULL;
    c->waiting -= p->wire;
    return p;
}

/* A packet that a host sends. */
static void take(host *from, const unsigned char *data, size_t bytes, uint64_t now)
{
    const unsigned char *ip = data + HEADER;
    if (bytes < HEADER + 20 || ip[0] >> 4 != 4 || be16(ip + 2) != bytes - HEADER)
        return;
    const unsigned to = ip[19];
    if (to < 1 || to > net.n)
        return;
    const size_t wire = wire_bytes(data, bytes);
    from->packets++;
    from->bytes += wire;
    if (net.loss > 0 && draw() < net.loss) {
        from->lost++;
        return;
    }
    if (from->up.waiting + wire > net.queue) {
        from->overflowed++;
        return;
    }
    packet *p = malloc(sizeof *p + bytes);
    if (!p)
        fail("packet", "out of memory");
    p->bytes = bytes;
    p->wire = wire;
    p->to = to - 1;
    memcpy(p->data, data, bytes);
    /* Its first byte may leave now: the last one does so by its own length later. */
    cable_push(&from->up, p, now + (uint64_t)((double)wire * net.ns_per_byte), net.delay_ns);
}

/* Moves what is due; returns when the next is. */
static uint64_t move(uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < net.n; i++) {
        cable *up = &net.hosts[i].up;
        while (up->first && up->first->due <= now) {
            packet *p = cable_pop(up);
            host *to = &net.hosts[p->to];
            if (to->down.waiting + p->wire > net.queue) {
                to->overflowed++;
                free(p);
            } else
                cable_push(&to->down, p, p->due, 0);
        }
        if (up->first && up->first->due < next)
            next = up->first->due;
    }
    for (unsigned i = 0; i < net.n; i++) {
        cable *down = &net.hosts[i].down;
        while (down->first && down->first->due <= now) {
            packet *p = cable_pop(down);
            if (write(net.hosts[i].device, p->data, p->bytes) < 0)
                net.hosts[i].overflowed++;
            free(p);
        }
        if (down->first && down->first->due < next)
            next = down->first->due;
    }
    return next;
}

/* ---- the program ---------------------------------------------------------------------------- */

static double number_of(const char *option, const char *text, double least, double most)
{
    char *end = NULL;
    const double value = text ? strtod(text, &end) : -1;
    if (text && *text && end && *end == '\0' && value >= least && value <= most)
        return value;
    fprintf(stderr, "switch: %s '%s': need a number from %g to %g\n", option, text ? text : "",
        least, most);
    exit(2);
}

static void read_option(const char *option, const char *text)
{
    if (strcmp(option, "--rate") == 0) {
        const double mbit = number_of(option, text, 0, 1e6);
        net.ns_per_byte = mbit > 0 ? 8e3 / mbit : 0;
    } else if (strcmp(option, "--delay") == 0)
        net.delay_ns = (uint64_t)(number_of(option, text, 0, 1e4) * 1e6);
    else if (strcmp(option, "--loss") == 0)
        net.loss = number_of(option, text, 0, 100) / 100;
    else if (strcmp(option, "--mtu") == 0)
        net.mtu = (unsigned)number_of(option, text, 576, 65535);
    else if (strcmp(option, "--queue") == 0) {
        const double bytes = number_of(option, text, 0, 1e9);
        net.queue = bytes > 0 ? (size_t)bytes : QUEUE;
    } else if (strcmp(option, "--seed") == 0)
        net.random = (uint64_t)number_of(option, text, 0, 1e15);
    else {
        fprintf(stderr, "switch: no option '%s'\n", option);
        exit(2);
    }
}

/* A device in the host's namespace; this process is in that namespace from then on. */
static void host_open(host *h, const char *name)
{
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    h->name = name;
    snprintf(path, sizeof path, "/run/netns/%s", name);
    const int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0)
        fail(path, strerror(errno));
    close(space);
    h->device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (h->device < 0)
        fail("/dev/net/tun", strerror(errno));
    memcpy(request.ifr_name, "link0", sizeof "link0");
    const unsigned long offload = net.loss > 0 ? 0 : TUN_F_CSUM | TUN_F_TSO4;
    if (ioctl(h->device, TUNSETIFF, &request) != 0 || ioctl(h->device, TUNSETOFFLOAD, offload) != 0)
        fail(name, strerror(errno));
    const int by = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_mtu = (int)net.mtu;
    if (by < 0 || ioctl(by, SIOCSIFMTU, &request) != 0)
        fail(name, strerror(errno));
    request.ifr_qlen = 10000;
    if (ioctl(by, SIOCSIFTXQLEN, &request) != 0)
        fail(name, strerror(errno));
    close(by);
}

static void run(void)
{
    static unsigned char data[PACKET_MOST];
    struct pollfd polled[HOSTS_MOST];
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* a signal comes while it waits, never just before */
    sigemptyset(&all);
    for (unsigned i = 0; i < net.n; i++)
        polled[i] = (struct pollfd){.fd = net.hosts[i].device, .events = POLLIN};
    while (!stopped) {
        uint64_t now = now_ns();
        const uint64_t next = move(now), left = next > now ? next - now : 0;
        const struct timespec wait = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        if (ppoll(polled, net.n, next == UINT64_MAX ? NULL : &wait, &all) <= 0)
            continue;
        for (unsigned i = 0; i < net.n; i++)
            for (unsigned k = 0; k < TURN && polled[i].revents & POLLIN; k++) {
                const ssize_t bytes = read(polled[i].fd, data, sizeof data);
                if (bytes <= 0)
                    break;
                take(&net.hosts[i], data, (size_t)bytes, now_ns());
            }
    }
}

int main(int argc, char **argv)
{
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
        read_option(argv[at], argv[at + 1]);
    if (argc - at < 2 || argc - at > HOSTS_MOST) {
        fprintf(stderr, "switch: need the network namespaces of 2 to %d hosts\n", HOSTS_MOST);
        return 2;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    prctl(PR_SET_TIMERSLACK, 1);
    for (; at < argc; at++)
        host_open(&net.hosts[net.n++], argv[at]);
    puts("ready");
    fflush(stdout);
    run();
    for (unsigned i = 0; i < net.n; i++) {
        const host *h = &net.hosts[i];
        printf("%s{\"host\": \"%s\", \"packets\": %llu, \"bytes\": %llu, \"lost\": %llu, "
               "\"overflowed\": %llu}%s",
            i == 0 ? "[" : " ", h->name, (unsigned long long)h->packets,
            (unsigned long long)h->bytes, (unsigned long long)h->lost,
            (unsigned long long)h->overflowed, i + 1 < net.n ? ",\n" : "]\n");
    }
    return 0;
}
