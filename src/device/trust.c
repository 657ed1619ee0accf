/* trust.c: see trust.h. */
#include "trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "runtime_state.h"
#include "text.h"
#include "trust_file.h"
#include "trust_process.h"

/* ---- asking --------------------------------------------------------------------------------- */

size_t caps_runtime_verdicts(const caps_runtime *rt, const caps_verdict **list)
{
    *list = rt->trust.list;
    return rt->trust.count;
}

static const char *refusal_of(const caps_runtime *rt, const char *variant)
{
    for (size_t i = 0; i < rt->trust.count; i++)
        if (!rt->trust.list[i].passed && strcmp(rt->trust.list[i].variant, variant) == 0)
            return rt->trust.list[i].why;
    return NULL;
}

const char *caps_trust_refusal(const caps_runtime *rt, const char *chooser, const char *algorithm)
{
    char variant[CAPS_TRUST_VARIANT];
    if (!rt || rt->trust.refused == 0)
        return NULL;
    snprintf(variant, sizeof variant, "%s %s", chooser, algorithm);
    return refusal_of(rt, variant);
}

/* ---- checking ------------------------------------------------------------------------------- */

/* Set in a child process that checks, or in a thread that does. */
static _Thread_local bool suspended;

void caps_trust_suspend(void)
{
    suspended = true;
}

/* Set in a thread that forecasts. */
static _Thread_local bool postponed;

bool caps_trust_postpone(bool postpone)
{
    const bool before = postponed;
    postponed = postpone;
    return before;
}

static bool trust_append(caps_trust *t, const caps_verdict *v)
{
    if (!t->list) /* at once: reasons in it are handed out */
        t->list = calloc(CAPS_TRUST_MOST, sizeof *t->list);
    if (!t->list || t->count == CAPS_TRUST_MOST)
        return false;
    t->list[t->count++] = *v;
    t->refused += !v->passed;
    return true;
}

void caps_trust_adopt(caps_runtime *rt, const caps_verdict *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)trust_append(&rt->trust, &list[i]);
        if (list[i].group > 0 && list[i].group < rt->max_group)
            rt->max_group = list[i].group;
    }
}

static bool is_known(const caps_runtime *rt, const char *variant)
{
    for (size_t i = 0; i < rt->trust.count; i++)
        if (strcmp(rt->trust.list[i].variant, variant) == 0)
            return true;
    return false;
}

/* False where the driver failed, and not the numbers. */
static bool check_one(caps_verdict *v, caps_runtime *rt, const char *variant)
{
    caps_error err = {0};
    *v = (caps_verdict){0};
    snprintf(v->variant, sizeof v->variant, "%.*s", CAPS_TRUST_VARIANT - 1, variant);
    const caps_status status = caps_trust_check(rt, variant, &v->error, &v->tolerance, &err);
    if (status != CAPS_OK) {
        v->tolerance = 0;
        char clean[CAPS_TRUST_WHY];
        caps_text_clean(clean, sizeof clean, err.message);
        snprintf(v->why, sizeof v->why, "%s", clean);
        return false;
    }
    v->passed = !(v->error > v->tolerance);
    if (!v->passed)
        snprintf(v->why, sizeof v->why,
            "its results are wrong on this device, by %.2g, need <= %.0e", v->error, v->tolerance);
    return true;
}

static bool is_wanted(const caps_runtime *rt, const char *only, const char *variant)
{
    if (is_known(rt, variant))
        return false;
    return *only ? strcmp(only, variant) == 0 || strcmp(only, CAPS_TRUST_ALL) == 0
                 : caps_trust_is_needed(rt, variant);
}

bool caps_trust_check_rest(caps_runtime *rt, const char *only, const caps_trust_watch *watch)
{
    char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT];
    const size_t n = caps_trust_variants(rt, variants);
    size_t i = 0;
    while (i < n && (i == 0 || !refusal_of(rt, variants[0]))) {
        caps_verdict v;
        if (!is_wanted(rt, only, variants[i])) {
            i++;
            continue;
        }
        watch->begin(watch->user, variants[i]);
        const size_t group = i == 0 ? caps_registry_most_items(rt) : SIZE_MAX;
        if (group < rt->max_group)
            rt->max_group = group;
        const bool whole = check_one(&v, rt, variants[i]);
        v.group = i == 0 ? rt->max_group : 0;
        (void)trust_append(&rt->trust, &v);
        watch->end(watch->user, &v);
        if (!whole)
            return false;
        i = 0; /* where it is refused, another one is needed */
    }
    return true;
}

static void begin_nothing(void *user, const char *variant)
{
    (void)user;
    (void)variant;
}

static void end_appends(void *user, const caps_verdict *verdict)
{
    caps_trust_adopt(user, verdict, 1);
}

/* In this process, on the runtime's context. */
static caps_status check_here(caps_runtime *rt, const char *only, caps_error *err)
{
    const caps_trust_watch watch = {begin_nothing, end_appends, rt};
    const caps_runtime_options o = {CAPS_OPTIONS(caps_runtime_options),
        .kernels = caps_family_name(rt->family), .algorithms = caps_trust_algorithms(),
        .cache_dir = rt->cache_dir, .cl_path = rt->cl_path};
    const bool before = suspended;
    caps_status status = CAPS_OK;
    bool whole = false;
    suspended = true;
    /* After an OpenCL error a fresh queue and fresh kernels are for what is left. */
    for (size_t tries = 0; !whole && tries < CAPS_TRUST_MOST; tries++) {
        cl_int code = CL_SUCCESS;
        caps_runtime *own = NULL;
        cl_command_queue queue = clCreateCommandQueue(rt->context, rt->device.handle, 0, &code);
        if (code != CL_SUCCESS)
            CAPS_TRY(caps_fail_cl(err, code, "making a queue for the kernels' checks"));
        status = caps_runtime_create_from(&own, rt->context, rt->device.handle, queue, &o, err);
        clReleaseCommandQueue(queue);
        CAPS_TRY(status);
        caps_trust_adopt(own, rt->trust.list, rt->trust.count);
        whole = caps_trust_check_rest(own, only, &watch);
        caps_runtime_free(own);
    }
done:
    suspended = before;
    return status;
}

/* All choices are free: what is requested for the program says nothing about the device. */
const char *caps_trust_algorithms(void)
{
    static _Thread_local char text[256];
    size_t used = 0;
    for (size_t i = 0; caps_choosers[i] && used < sizeof text; i++)
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%s%s=auto", i ? "," : "", caps_choosers[i]->name);
    return text;
}

/* ---- announcing ----------------------------------------------------------------------------- */

static void (*announce)(const char *text);

void caps_trust_on_check(void (*tell)(const char *text))
{
    announce = tell;
}

static void announce_check(const caps_runtime *rt)
{
    char text[512];
    snprintf(text, sizeof text,
        "device %s (%.200s): its driver is new here, the %s kernels are checked once",
        rt->device.id, rt->device.name, caps_family_name(rt->family));
    if (announce)
        announce(text);
}

/* One line for all that is refused, but for the first `known` verdicts. */
static void warn_of_refused(caps_runtime *rt, size_t known)
{
    const caps_verdict *first = NULL;
    char others[80] = "";
    size_t refused = 0;
    for (size_t i = known; i < rt->trust.count; i++) {
        const caps_verdict *v = &rt->trust.list[i];
        first = first || v->passed ? first : v;
        refused += !v->passed;
    }
    if (!first)
        return;
    if (refused > 1)
        snprintf(
            others, sizeof others, ", and so are %zu others (see 'capscl selftest')", refused - 1);
    caps_runtime_warn(
        rt, "device %s: %s is set aside: %s%s", rt->device.id, first->variant, first->why, others);
}

/* ---- establishing --------------------------------------------------------------------------- */

static bool is_complete(const caps_runtime *rt)
{
    char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT];
    const size_t n = caps_trust_variants(rt, variants);
    size_t known = 0;
    while (known < n && is_known(rt, variants[known]))
        known++;
    return known == n || refusal_of(rt, variants[0]);
}

/* Has variants checked (see caps_trust_check_rest), in a child where there can be one, and keeps
 * what was found. */
static caps_status trust_make(caps_runtime *rt, const char *text, const char *only, caps_error *err)
{
    caps_status status = CAPS_OK;
    const size_t known = rt->trust.count;
    caps_trust_task task = {
        .device = caps_hash(CAPS_HASH_START, text, strlen(text)), .family = rt->family};
    caps_trust_answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for verdicts");
    if (!*only)
        announce_check(rt);
    snprintf(task.only, sizeof task.only, "%s", only);
    task.verdicts = known < CAPS_TRUST_MOST ? known : CAPS_TRUST_MOST;
    for (size_t i = 0; i < task.verdicts; i++)
        task.list[i] = rt->trust.list[i];
    snprintf(task.selector, sizeof task.selector, "%s", rt->device.id);
    const char *vendors = getenv("OCL_ICD_VENDORS");
    if (vendors && strlen(vendors) < sizeof task.vendors)
        snprintf(task.vendors, sizeof task.vendors, "%s", vendors);
    const size_t path = rt->cl_path ? strlen(rt->cl_path) : 0;
    const size_t cache = rt->cache_dir ? strlen(rt->cache_dir) : 0;
    if (path)
        snprintf(task.cl_path, sizeof task.cl_path, "%s", rt->cl_path);
    if (cache)
        snprintf(task.cache_dir, sizeof task.cache_dir, "%s", rt->cache_dir);
    if (path < sizeof task.cl_path && cache < sizeof task.cache_dir &&
        caps_trust_process_run(&task, answer) && answer->finished && answer->verdicts > known)
        caps_trust_adopt(rt, answer->list + known, answer->verdicts - known);
    else
        CAPS_TRY(check_here(rt, only, err));
    if (rt->cache_dir)
        caps_trust_save(
            rt->trust.list, rt->trust.count, is_complete(rt), rt->cache_dir, text, rt->cl_path);
    warn_of_refused(rt, known);
done:
    free(answer);
    return status;
}

static caps_status trust_get(caps_runtime *rt, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_verdict *list = NULL;
    size_t n = 0;
    char *text = caps_trust_device_text(&rt->device, rt->family);
    caps_trust_release(rt);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for verdicts");
    if (rt->cache_dir)
        CAPS_TRY(caps_trust_load(&list, &n, rt->cache_dir, text, rt->cl_path, err));
    if (n > 0)
        caps_trust_adopt(rt, list, n);
    else
        status = trust_make(rt, text, "", err);
done:
    free(list);
    free(text);
    return status;
}

/* Was its check left for now? Of no variant, and where nothing is checked, nothing is left. */
static bool is_left(const caps_runtime *rt, const char *variant)
{
    char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT];
    bool is = false;
    if (postponed || rt->trust.count == 0 || is_known(rt, variant))
        return false;
    const size_t n = caps_trust_variants(rt, variants);
    for (size_t i = 0; i < n && !is; i++)
        is = strcmp(variants[i], variant) == 0;
    return is && !caps_trust_is_off();
}

static void check_left(caps_runtime *rt, const char *only)
{
    caps_error err = {0};
    char *text = caps_trust_device_text(&rt->device, rt->family);
    if (text)
        (void)trust_make(rt, text, only, &err);
    free(text);
    if (is_known(rt, only) || strcmp(only, CAPS_TRUST_ALL) == 0)
        return;
    caps_verdict v = {.passed = false};
    snprintf(v.variant, sizeof v.variant, "%s", only);
    snprintf(v.why, sizeof v.why, "it could not be checked: %.180s",
        err.message[0] ? err.message : "out of memory");
    caps_trust_adopt(rt, &v, 1);
}

/* Verdicts are what is known of the device, and not part of the runtime's state for its user. */
const char *caps_trust_admit(const caps_runtime *rt, const char *chooser, const char *algorithm)
{
    char variant[CAPS_TRUST_VARIANT];
    if (!rt)
        return NULL;
    snprintf(variant, sizeof variant, "%s %s", chooser, algorithm);
    if (is_left(rt, variant))
        check_left((caps_runtime *)rt, variant);
    return rt->trust.refused > 0 ? refusal_of(rt, variant) : NULL;
}

caps_status caps_trust_require(const caps_runtime *rt, const char *chooser, const char *algorithm,
    const char *what, caps_error *err)
{
    const char *why = caps_trust_admit(rt, chooser, algorithm);
    return why ? caps_fail(err, CAPS_ERR_OPENCL, "%s: %s is refused: %s", what, algorithm, why)
               : CAPS_OK;
}

void caps_trust_complete(caps_runtime *rt)
{
    if (rt->trust.count > 0 && !caps_trust_is_off() && !is_complete(rt))
        check_left(rt, CAPS_TRUST_ALL);
}

/* Why the runtime's family cannot compute all that there is; false: it can. */
static bool family_reason(char why[CAPS_TRUST_WHY], const caps_runtime *rt)
{
    char variant[CAPS_TRUST_VARIANT];
    const char *reason = NULL;
    snprintf(variant, sizeof variant, "family %s", caps_family_name(rt->family));
    const char *refusal = refusal_of(rt, variant);
    const char *operation = refusal ? NULL : caps_trust_missing(rt, &reason);
    if (refusal)
        snprintf(why, CAPS_TRUST_WHY, "%s", refusal);
    else if (operation)
        snprintf(why, CAPS_TRUST_WHY, "no algorithm of %s is left: %.180s", operation, reason);
    return refusal || operation;
}

bool caps_trust_is_off(void)
{
    const char *value = getenv("CAPSCL_TRUST");
    return suspended || (value && strcmp(value, "off") == 0);
}

caps_status caps_trust_establish(caps_runtime *rt, bool requested, caps_error *err)
{
    char why[2][CAPS_TRUST_WHY];
    const caps_family first = rt->family;
    /* A simulator is there to look at kernels, whatever they compute. */
    if (caps_trust_is_off() || caps_is_simulated(rt))
        return CAPS_OK;
    for (int i = 0; i < 2; i++) {
        const caps_status status = trust_get(rt, err);
        if (status != CAPS_OK || !family_reason(why[i], rt))
            return status;
        rt->trust.hopeless = requested || i == 1;
        if (requested)
            return caps_fail(err, CAPS_ERR_OPENCL,
                "device %s (%s): the %s kernels are refused: %.200s; need other kernels "
                "(CAPSCL_KERNELS auto), or another device or driver",
                rt->device.id, rt->device.name, caps_family_name(rt->family), why[i]);
        rt->family = rt->family == CAPS_FAMILY_CPU ? CAPS_FAMILY_GPU : CAPS_FAMILY_CPU;
    }
    rt->family = first; /* exchanged twice */
    return caps_fail(err, CAPS_ERR_OPENCL,
        "device %s (%.100s) cannot be trusted: %s kernels: %.200s; %s kernels: %.200s; need "
        "another device or driver",
        rt->device.id, rt->device.name, caps_family_name(first), why[0],
        caps_family_name(first == CAPS_FAMILY_CPU ? CAPS_FAMILY_GPU : CAPS_FAMILY_CPU), why[1]);
}

void caps_trust_release(caps_runtime *rt)
{
    free(rt->trust.list);
    rt->trust = (caps_trust){0};
}
