/* choice.h: one of several algorithms for the same problem is chosen, in one way for all
 * operations.
 *
 * A chooser is a table: the names of its algorithms, why one of them cannot serve a problem, and
 * what it should cost. An algorithm is, in this order,
 *
 *     what was requested, by the caller or for the runtime: if it cannot serve, that is an error;
 *     what `capscl tune` measured to be the fastest for this problem (tuning.h), if it serves;
 *     that of least cost, of those which serve: the same answer every time.
 *
 * One that failed its check on the device (trust.h) cannot serve.
 *
 * What is chosen is recorded, once for each problem: the records are what runs are described with,
 * and what `capscl tune` measures. */
#ifndef CAPS_CHOICE_H
#define CAPS_CHOICE_H

#include "tuning.h"

typedef struct caps_algorithm {
    const char *name;
    const char *older; /* a spelling that is accepted too, or NULL */
} caps_algorithm;

/* An algorithm is given by its position in the table. */
typedef struct caps_chooser {
    const char *name;     /* "gemm": also the first word of its keys */
    const char *variable; /* the environment variable of requests: "CAPSCL_GEMM" */
    const char *unknown;  /* a format, with one %s for a name that is none of these */
    /* A request may name layers, "conv1=direct,primary=auto": who plans them takes it from
     * caps_runtime_requested, and caps_choose does not. */
    bool by_layer;
    const caps_algorithm *algorithms;
    size_t count;
    size_t general; /* the one that serves most; its reason is reported where none serves */
    size_t problem_bytes;
    void (*key)(char key[CAPS_TUNING_KEY], const void *problem);
    /* For the error of a request: "cannot take 3x4x5". */
    void (*describe)(char *text, size_t bytes, const void *problem);
    /* Why an algorithm cannot serve the problem; NULL: it can. */
    const char *(*unsupported_reason)(
        const caps_runtime *rt, size_t algorithm, const void *problem);
    /* Of one that can serve, in any unit. INFINITY: only taken where it is requested. */
    double (*cost)(const caps_runtime *rt, size_t algorithm, const void *problem);
    /* Is it worth measuring? NULL: all of them are. */
    bool (*tunable)(const caps_runtime *rt, size_t algorithm, const void *problem);
} caps_chooser;

/* Those that can be requested for a runtime, ending with NULL. Defined above this layer, which
 * knows none of them. */
extern const caps_chooser *const caps_choosers[];
enum { CAPS_CHOOSERS = 8, CAPS_ALGORITHMS = 16 }; /* at most; algorithms of one chooser */

#define CAPS_CHOICE_FREE SIZE_MAX /* nothing is requested */

/* The position of a name, or of its older spelling; CAPS_CHOICE_FREE where there is none. */
size_t caps_algorithm_find(const caps_chooser *chooser, const char *name);

/* Chooses for a problem; see above. On an error *algorithm is the one whose reason is reported. rt
 * NULL: by cost, where nothing is requested. Recorded where `record` is true and there is a
 * runtime. Errors: CAPS_ERR_ARGUMENT; CAPS_ERR_OPENCL where a check on the device is the reason. */
caps_status caps_choose(size_t *algorithm, const caps_chooser *chooser, const caps_runtime *rt,
    const void *problem, size_t requested, bool record, caps_error *err);

/* The algorithms that are worth measuring for a problem, in the order of the table; their
 * number. */
size_t caps_choice_candidates(const caps_chooser *chooser, const caps_runtime *rt,
    const void *problem, size_t algorithms[CAPS_ALGORITHMS]);

/* ---- requests ------------------------------------------------------------------------------- */

/* What was requested for this runtime, by caps_runtime_options.algorithms or the environment: a
 * name of the chooser's table or, where it chooses by layer, a text that may name layers. NULL:
 * nothing. */
const char *caps_runtime_requested(const caps_runtime *rt, const char *chooser);

/* ---- choices in force ----------------------------------------------------------------------- */

typedef struct caps_choice {
    char key[CAPS_TUNING_KEY];
    char algorithm[CAPS_TUNING_ALGORITHM];
    bool measured, requested; /* neither: by cost */
    void *problem;            /* what to measure it with: a copy of the chooser's problem */
    size_t problem_bytes;
} caps_choice;

/* Adds a record, unless there is one of this key and algorithm. `problem` may be NULL. Failing to
 * (no memory) loses the record, nothing else. */
void caps_choice_record(const caps_runtime *rt, const char *key, const char *algorithm,
    bool measured, bool requested, const void *problem, size_t problem_bytes);
/* Is there a record for this problem? */
bool caps_choice_is_recorded(
    const caps_chooser *chooser, const caps_runtime *rt, const void *problem);
/* All records, in the order in which they were made; the runtime's, valid until the next one. */
size_t caps_tuning_choices(const caps_runtime *rt, const caps_choice **list);
/* Their number, and removing all but the first `count`: a plan that is given up takes its records
 * with it. rt NULL: 0, and nothing. */
size_t caps_choices_count(const caps_runtime *rt);
void caps_choices_truncate(const caps_runtime *rt, size_t count);
/* A JSON object of key: algorithm ("direct,packed" where a key has several); freed with free(),
 * NULL: out of memory. */
char *caps_choices_format(const caps_runtime *rt);

/* ---- for runtime.c -------------------------------------------------------------------------- */

/* What a runtime holds for all this. */
typedef struct caps_choices {
    char *requested[CAPS_CHOOSERS]; /* by caps_choosers */
    caps_choice *list;
    size_t count, capacity;
} caps_choices;

/* `algorithms`: "gemm=direct,routing=stored", or NULL; for what it does not name the environment is
 * read. Errors: CAPS_ERR_ARGUMENT. */
caps_status caps_choices_init(caps_choices *choices, const char *algorithms, caps_error *err);
void caps_choices_release(caps_choices *choices);

#endif
