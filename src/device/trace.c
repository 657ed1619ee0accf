/* trace.c: see trace.h.
 *
 * The file is written as the run goes on, through a small buffer, and appears under its name only
 * when it is complete. A trace that cannot be written does not stop the run: recording ends, and
 * caps_trace_close reports why.
 * Times in the file are microseconds of the host's monotonic clock since the trace was opened. */
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "file.h"
#include "runtime_state.h"
#include "trace_file.h"

enum {
    PENDING_MOST = 8192, /* commands held before the oldest is waited for */
    POLL_EVERY = 32,     /* commands between two checks of the oldest */
    DEPTH_MOST = 32,     /* spans within one another */
    ANCHORS = 16,        /* markers that the clocks are compared by */
    LANE_HOST = 1,
    LANE_QUEUE = 2,
};

/* A name as it stands in the file. 64 bits are enough to distinguish some two hundred. */
typedef struct name {
    uint64_t hash;
    char *text;
    char *options; /* NULL: none */
} name;

typedef struct command {
    cl_event event;
    cl_event from; /* NULL, or the marker that a library's command begins at */
    size_t name;
    uint64_t bytes;
    uint64_t before, after; /* host time before and after it was enqueued; 0, 0: not known */
} command;

typedef struct span {
    size_t name;
    uint64_t start;
} span;

/* Device time plus `offset` is host time, give or take `error`; all in nanoseconds. */
typedef struct anchor {
    int64_t offset, first;
    uint64_t error;
    bool follows; /* the driver records when a command is enqueued: see follow_clock */
} anchor;

struct caps_trace {
    caps_trace_file out;
    long process;
    uint64_t start, recorded, most, left_out;
    bool warned;
    anchor clock;
    int64_t queue_end; /* where the queue's lane is free */

    name *names;
    size_t name_count, name_capacity;
    command ring[PENDING_MOST]; /* oldest at `first` */
    size_t first, pending, since_poll;
    uint64_t before;
    cl_event library; /* a library's command has begun at this marker */
    span spans[DEPTH_MOST];
    size_t depth; /* those deeper than the array are counted and not stored */
};

/* ---- the file ------------------------------------------------------------------------------- */

/* A name's place in the list; false: out of memory, and the trace has failed. */
static bool find_name(caps_trace *t, const char *text, size_t *at)
{
    const uint64_t hash = caps_hash(CAPS_HASH_START, text, strlen(text));
    for (size_t i = 0; i < t->name_count; i++) {
        if (t->names[i].hash == hash) {
            *at = i;
            return true;
        }
    }
    if (t->name_count == t->name_capacity) {
        const size_t capacity = t->name_capacity ? 2 * t->name_capacity : 64;
        name *grown = realloc(t->names, capacity * sizeof *grown);
        if (!grown)
            goto failed;
        t->names = grown;
        t->name_capacity = capacity;
    }
    /* "kernel -DA=1 -DB=2" of a template. */
    const char *options = strstr(text, " -D");
    char *plain = options ? strndup(text, (size_t)(options - text)) : strdup(text);
    name made = {.hash = hash, .text = plain ? caps_trace_quote(plain) : NULL};
    free(plain);
    if (options)
        made.options = caps_trace_quote(options + 1);
    if (!made.text || (options && !made.options)) {
        free(made.text);
        free(made.options);
        goto failed;
    }
    *at = t->name_count++;
    t->names[*at] = made;
    return true;
failed:
    caps_fail(&t->out.failure, CAPS_ERR_MEMORY, "%s: out of memory for a name", t->out.file.path);
    return false;
}

static bool is_recording(caps_trace *t)
{
    if (!t || t->out.failure.status != CAPS_OK)
        return false;
    return t->recorded + t->pending < t->most;
}

/* Counts an event that is beyond the limit; the first is a warning. */
static void leave_out(caps_runtime *rt)
{
    caps_trace *t = rt->trace;
    if (t->out.failure.status != CAPS_OK)
        return;
    t->left_out++;
    if (t->warned)
        return;
    t->warned = true;
    const size_t at = strlen(rt->warning);
    snprintf(rt->warning + at, sizeof rt->warning - at,
        "%sthe trace has its %" PRIu64 " events, what comes after them is not in it "
        "(--trace-events takes more)",
        at ? "; " : "", t->most);
}

/* Nanoseconds as microseconds, "123.456". */
#define TIME_FORMAT "%" PRIu64 ".%03u"
#define TIME(ns)    (uint64_t)(ns) / 1000, (unsigned)((uint64_t)(ns) % 1000)

/* All but the closing brace. Times are the host's, since the start. */
static void put_event(caps_trace *t, size_t at, int lane, int64_t start, int64_t end)
{
    caps_trace_file_text(&t->out, ",\n{\"name\":");
    caps_trace_file_text(&t->out, t->names[at].text);
    caps_trace_file_put(&t->out,
        ",\"ph\":\"X\",\"pid\":%ld,\"tid\":%d,\"ts\":" TIME_FORMAT ",\"dur\":" TIME_FORMAT,
        t->process, lane, TIME(start), TIME(end - start));
    t->recorded++;
}

/* ---- clocks --------------------------------------------------------------------------------- */

static bool read_time(cl_event event, cl_profiling_info what, int64_t *ns)
{
    cl_ulong time = 0;
    if (clGetEventProfilingInfo(event, what, sizeof time, &time, NULL) != CL_SUCCESS)
        return false;
    *ns = (int64_t)time;
    return true;
}

/* A marker is enqueued between two readings of the host's clock: that bounds how far the two clocks
 * are apart, up to the time between the readings. The closest of several is used. */
static caps_status compare_clocks(caps_runtime *rt, anchor *best, caps_error *err)
{
    best->error = UINT64_MAX;
    for (int i = 0; i < ANCHORS; i++) {
        cl_event marker = NULL;
        int64_t queued = 0, end = 0;
        const uint64_t before = caps_clock_ns();
        cl_int code = clEnqueueMarkerWithWaitList(rt->queue, 0, NULL, &marker);
        uint64_t after = caps_clock_ns();
        if (code == CL_SUCCESS)
            code = clWaitForEvents(1, &marker);
        const uint64_t finished = caps_clock_ns();
        bool known = code == CL_SUCCESS &&
                     read_time(marker, CL_PROFILING_COMMAND_QUEUED, &queued) &&
                     read_time(marker, CL_PROFILING_COMMAND_END, &end);
        if (marker)
            clReleaseEvent(marker);
        if (code != CL_SUCCESS)
            return caps_fail_cl(err, code, "trace: comparing the device's clock with the host's");
        if (!known)
            continue;
        const bool follows = queued > 0 && queued <= end;
        if (!follows) { /* a driver without such a time */
            queued = end;
            after = finished;
        }
        const uint64_t half = (after - before) / 2;
        if (half < best->error)
            *best = (anchor){
                .offset = (int64_t)(before + half) - queued, .error = half, .follows = follows};
    }
    best->first = best->offset;
    return best->error < UINT64_MAX
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_OPENCL, "trace: the device's queue gives no times");
}

/* Two clocks drift apart, by seconds in a day at worst. A command was enqueued between two readings
 * of the host's: where the offset contradicts that, it is moved by no more than it must. */
static void follow_clock(anchor *clock, const command *c, int64_t queued)
{
    if (!clock->follows || !c->before)
        return;
    const int64_t low = (int64_t)c->before - queued, high = (int64_t)c->after - queued;
    if (clock->offset < low)
        clock->offset = low;
    else if (clock->offset > high)
        clock->offset = high;
}

/* ---- the queue's lane ----------------------------------------------------------------------- */

static void release(command *c)
{
    clReleaseEvent(c->event);
    if (c->from)
        clReleaseEvent(c->from);
}

/* A command that is complete. */
static void write_command(caps_trace *t, const command *c)
{
    int64_t queued, start, end;
    if (!read_time(c->from ? c->from : c->event, CL_PROFILING_COMMAND_QUEUED, &queued) ||
        !read_time(c->from ? c->from : c->event,
            c->from ? CL_PROFILING_COMMAND_END : CL_PROFILING_COMMAND_START, &start) ||
        !read_time(c->event, CL_PROFILING_COMMAND_END, &end)) {
        t->left_out++;
        return;
    }
    const int64_t waited = start - queued;
    follow_clock(&t->clock, c, queued);
    /* The queue is in-order; a driver's clock of a coarse resolution may still show otherwise. */
    start += t->clock.offset - (int64_t)t->start;
    end += t->clock.offset - (int64_t)t->start;
    if (start < t->queue_end)
        start = t->queue_end;
    if (end < start)
        end = start;
    t->queue_end = end;
    put_event(t, c->name, LANE_QUEUE, start, end);
    caps_trace_file_put(
        &t->out, ",\"args\":{\"waited_us\":" TIME_FORMAT, TIME(waited > 0 ? waited : 0));
    if (c->bytes)
        caps_trace_file_put(&t->out, ",\"bytes\":%" PRIu64, c->bytes);
    if (t->names[c->name].options) {
        caps_trace_file_text(&t->out, ",\"options\":");
        caps_trace_file_text(&t->out, t->names[c->name].options);
    }
    caps_trace_file_text(&t->out, "}}");
}

/* Writes the commands that are complete, oldest first, up to one that is not. */
static void collect(caps_trace *t)
{
    t->since_poll = 0;
    while (t->pending > 0) {
        command *oldest = &t->ring[t->first];
        cl_int state = CL_QUEUED;
        cl_int code = clGetEventInfo(
            oldest->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        if (code == CL_SUCCESS && state > CL_COMPLETE)
            break;
        if (code == CL_SUCCESS && state == CL_COMPLETE && t->out.failure.status == CAPS_OK)
            write_command(t, oldest);
        else
            t->left_out++;
        release(oldest);
        t->first = (t->first + 1) % PENDING_MOST;
        t->pending--;
    }
}

cl_event *caps_trace_request(caps_runtime *rt, cl_event *event)
{
    if (!rt->trace)
        return NULL;
    if (is_recording(rt->trace)) {
        rt->trace->before = caps_clock_ns();
        return event;
    }
    leave_out(rt);
    return NULL;
}

/* Takes both events. */
static void trace_hold(caps_trace *t, const char *text, command c)
{
    if (!find_name(t, text, &c.name)) {
        release(&c);
        return;
    }
    if (t->pending == PENDING_MOST) {
        /* Thousands of commands wait behind the oldest: the device does not run dry. */
        clWaitForEvents(1, &t->ring[t->first].event);
        collect(t);
    }
    if (t->pending == PENDING_MOST) { /* a driver that lost an event */
        t->left_out++;
        release(&c);
        return;
    }
    t->ring[(t->first + t->pending++) % PENDING_MOST] = c;
    if (++t->since_poll >= POLL_EVERY)
        collect(t);
}

void caps_trace_book(caps_runtime *rt, const char *text, uint64_t bytes, cl_event event)
{
    if (!rt->trace || !event || clRetainEvent(event) != CL_SUCCESS)
        return;
    trace_hold(rt->trace, text,
        (command){
            .event = event, .bytes = bytes, .before = rt->trace->before, .after = caps_clock_ns()});
}

void caps_trace_take(caps_runtime *rt, const char *text, uint64_t bytes, cl_event event)
{
    caps_trace_book(rt, text, bytes, event);
    if (event)
        clReleaseEvent(event);
}

void caps_trace_library_begin(caps_runtime *rt)
{
    caps_trace *t = rt->trace;
    if (!t)
        return;
    if (t->library) /* one that failed */
        clReleaseEvent(t->library);
    t->library = NULL;
    if (caps_trace_request(rt, &t->library))
        clEnqueueMarkerWithWaitList(rt->queue, 0, NULL, &t->library);
}

void caps_trace_library_end(caps_runtime *rt, const char *text)
{
    caps_trace *t = rt->trace;
    cl_event end = NULL;
    if (!t || !t->library)
        return;
    if (clEnqueueMarkerWithWaitList(rt->queue, 0, NULL, &end) == CL_SUCCESS)
        trace_hold(t, text, (command){.event = end, .from = t->library});
    else
        clReleaseEvent(t->library);
    t->library = NULL;
}

/* ---- the host's lane ------------------------------------------------------------------------ */

void caps_trace_begin(caps_runtime *rt, const char *text)
{
    caps_trace *t = rt->trace;
    if (!t)
        return;
    span s = {0};
    const bool fits = t->depth++ < DEPTH_MOST;
    if (!fits || t->out.failure.status != CAPS_OK || !find_name(t, text, &s.name))
        return;
    s.start = caps_clock_ns();
    t->spans[t->depth - 1] = s;
}

void caps_trace_end(caps_runtime *rt)
{
    caps_trace *t = rt->trace;
    if (!t || t->depth == 0 || --t->depth >= DEPTH_MOST || t->out.failure.status != CAPS_OK)
        return;
    if (!is_recording(t)) {
        leave_out(rt);
        return;
    }
    const span *s = &t->spans[t->depth];
    put_event(t, s->name, LANE_HOST, (int64_t)(s->start - t->start),
        (int64_t)(caps_clock_ns() - t->start));
    caps_trace_file_text(&t->out, "}");
}

/* ---- from first to last --------------------------------------------------------------------- */

static void put_lane(caps_trace *t, int lane, const char *quoted)
{
    caps_trace_file_put(&t->out,
        ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%ld,\"tid\":%d,\"args\":{\"name\":",
        t->process, lane);
    caps_trace_file_text(&t->out, quoted);
    caps_trace_file_put(&t->out,
        "}},\n{\"name\":\"thread_sort_index\",\"ph\":\"M\",\"pid\":%ld,\"tid\":%d,\"args\":{"
        "\"sort_index\":%d}}",
        t->process, lane, lane);
}

static caps_status put_head(caps_trace *t, const caps_runtime *rt, caps_error *err)
{
    char *text = caps_format("OpenCL queue: %s", rt->device.name);
    char *queue = text ? caps_trace_quote(text) : NULL;
    free(text);
    if (!queue)
        return caps_fail(err, CAPS_ERR_MEMORY, "trace: out of memory");
    caps_trace_file_put(&t->out,
        "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\","
        "\"pid\":%ld,\"args\":{\"name\":\"capscl\"}}",
        t->process);
    put_lane(t, LANE_HOST, "\"host\"");
    put_lane(t, LANE_QUEUE, queue);
    free(queue);
    return CAPS_OK;
}

/* Releases what is held; a file that is not complete is removed. */
static void free_trace(caps_trace *t)
{
    for (; t->pending > 0; t->pending--) {
        release(&t->ring[t->first]);
        t->first = (t->first + 1) % PENDING_MOST;
    }
    if (t->library)
        clReleaseEvent(t->library);
    for (size_t i = 0; i < t->name_count; i++) {
        free(t->names[i].text);
        free(t->names[i].options);
    }
    free(t->names);
    caps_atomic_abort(&t->out.file);
    free(t);
}

caps_status caps_trace_open(caps_runtime *rt, const char *path, uint64_t events, caps_error *err)
{
    caps_status status;
    caps_trace *t = calloc(1, sizeof *t);
    if (!t)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for a trace", path);
    t->most = events ? events : CAPS_TRACE_EVENTS;
    t->process = (long)getpid();
    CAPS_TRY(caps_atomic_init(&t->out.file, path, err));
    CAPS_TRY(compare_clocks(rt, &t->clock, err));
    CAPS_TRY(put_head(t, rt, err));
    t->start = caps_clock_ns();
    rt->trace = t;
    t = NULL;
done:
    if (t)
        free_trace(t);
    return status;
}

caps_status caps_trace_close(caps_runtime *rt, caps_error *err)
{
    caps_trace *t = rt->trace;
    caps_status status = CAPS_OK;
    if (!t)
        return CAPS_OK;
    /* That the queue failed has been reported: what it did until then is what the file is for. */
    if (clFinish(rt->queue) == CL_SUCCESS)
        collect(t);
    while (t->depth > 0)
        caps_trace_end(rt);
    caps_trace_file_put(&t->out, "\n],\"otherData\":{\"events\":%" PRIu64 ",\"left_out\":%" PRIu64,
        t->recorded, t->left_out + t->pending);
    caps_trace_file_put(&t->out, ",\"clock_error_us\":%.3f,\"clock_drift_us\":%.3f}}\n",
        (double)t->clock.error * 1e-3, (double)(t->clock.offset - t->clock.first) * 1e-3);
    caps_trace_file_flush(&t->out);
    if (t->out.failure.status == CAPS_OK)
        status = caps_atomic_commit(&t->out.file, err);
    else if (err)
        *err = t->out.failure;
    if (t->out.failure.status != CAPS_OK)
        status = t->out.failure.status;
    rt->trace = NULL;
    free_trace(t);
    return status;
}

caps_status caps_runtime_trace_end(caps_runtime *rt, caps_error *err)
{
    return rt ? caps_trace_close(rt, err) : CAPS_OK;
}
