/* trace.h: what the queue and the host did and when, as a file in the Trace Event Format, which
 * Perfetto and chrome://tracing open.
 *
 * The file has two lanes. The queue's holds every command of the runtime in its order, from the
 * driver's own timestamps; the host's holds spans that begin and end in this program, nested. Every
 * function does nothing where the runtime has no trace. Tracing never waits for the device: a
 * command's event is held until it is found complete, at a later command or at the end. */
#ifndef CAPS_TRACE_H
#define CAPS_TRACE_H

#include "launch.h"

enum { CAPS_TRACE_EVENTS = 400000 /* recorded, unless another number is requested */ };

typedef struct caps_trace caps_trace;

/* A span of the host's lane, within those that are open. Begin and end come in pairs, whatever
 * fails between them. */
void caps_trace_begin(caps_runtime *rt, const char *name);
void caps_trace_end(caps_runtime *rt);

/* For the last argument of clEnqueue...: `event` (which holds NULL), or NULL where nothing is
 * recorded. */
cl_event *caps_trace_request(caps_runtime *rt, cl_event *event);
/* Records a command under `name`; `event` is what caps_trace_request gave, or NULL. The trace holds
 * a reference of its own. What follows a blank in the name stands apart, as options; bytes 0: it
 * moves none. */
void caps_trace_book(caps_runtime *rt, const char *name, uint64_t bytes, cl_event event);
/* The same, and releases the caller's reference. */
void caps_trace_take(caps_runtime *rt, const char *name, uint64_t bytes, cl_event event);

/* For src/device.
 * open: a queue that has run nothing and has CL_QUEUE_PROFILING_ENABLE; 0 events: the default.
 * close: waits for the queue and puts the file into its place; the runtime has no trace then. */
caps_status caps_trace_open(caps_runtime *rt, const char *path, uint64_t events, caps_error *err);
caps_status caps_trace_close(caps_runtime *rt, caps_error *err);
/* Everything between the two, in a library that enqueues kernels of its own, is one command. */
void caps_trace_library_begin(caps_runtime *rt);
void caps_trace_library_end(caps_runtime *rt, const char *name);

/* A string as JSON, quotes included, whatever bytes it has: what is no UTF-8 becomes '?'. Freed
 * with free(); NULL: out of memory. */
char *caps_trace_quote(const char *text);

#endif
