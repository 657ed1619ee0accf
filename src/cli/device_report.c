/* device_report.c: `devices --report`, one document that tells others all about the devices here.
 *
 * It has no name of the user or the host, and of the environment only the variables below. */
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "child.h"
#include "cli.h"
#include "device_details.h"
#include "drivers.h"
#include "json.h"
#include "device_limits.h"
#include "trust.h"

/* A driver that hangs costs this much, and the report says so. */
enum { SELFTEST_SECONDS = 300 };

static json_t *report_system(void)
{
    struct utsname name;
    if (uname(&name) != 0)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "name", caps_json_text(name.sysname), "release",
        caps_json_text(name.release), "machine", caps_json_text(name.machine));
}

/* What changes the choice of devices, kernels or drivers. */
static json_t *report_environment(void)
{
    static const char *const names[] = {"CAPSCL_DEVICE", "CAPSCL_KERNELS", "CAPSCL_GEMM",
        "CAPSCL_CONV", "CAPSCL_ROUTING", "CAPSCL_TRUST", "OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH",
        "OCL_ICD_FILENAMES", "POCL_DEVICES", "POCL_MAX_WORK_GROUP_SIZE", "RUSTICL_ENABLE",
        "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"};
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value)
            caps_json_set(&all, names[i], caps_json_text(value));
    }
    return all;
}

static json_t *report_drivers(void)
{
    caps_driver list[CAPS_MOST_DRIVERS];
    const size_t n = caps_drivers_list(list, CAPS_MOST_DRIVERS);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&all, json_pack("{s:o, s:o}", "file", caps_json_text(list[i].file),
                                   "library", caps_json_text(list[i].library)));
    return all;
}

static void put_limit(void *user, const char *name, uint64_t value)
{
    json_t **limits = user;
    caps_json_set(limits, name, json_integer((json_int_t)value));
}

static json_t *report_verdicts(const caps_device_info *d, caps_family family)
{
    caps_verdict *list = NULL;
    size_t n = 0;
    json_t *all = json_array();
    if (caps_verdicts_read(&list, &n, d, family, NULL) != CAPS_OK)
        n = 0;
    for (size_t i = 0; i < n; i++)
        caps_json_append(
            &all, json_pack("{s:s, s:b, s:o, s:o, s:o}", "variant", list[i].variant, "passed",
                      list[i].passed, "error", caps_json_double(list[i].error), "tolerance",
                      caps_json_double(list[i].tolerance), "why", caps_json_text(list[i].why)));
    free(list);
    return all;
}

/* ---- the selftest --------------------------------------------------------------------------- */

/* The rows of a selftest that failed; *passed counts the others. */
static json_t *failed_rows(const json_t *rows, json_int_t *passed)
{
    json_t *failed = json_array();
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (json_is_true(json_object_get(row, "passed")))
            ++*passed;
        else
            caps_json_append(&failed, json_incref(row));
    }
    return failed;
}

static const char *end_of(const caps_child *child)
{
    return child->timed_out ? "no end" : child->signal ? "a signal" : "exit";
}

static json_t *report_selftest(const caps_device_info *d, caps_family family)
{
    const char *const arguments[] = {
        "selftest", "--small", "--json", "--verbose", "--device", d->id, NULL};
    char variable[64];
    caps_child child;
    json_int_t passed = 0;
    snprintf(variable, sizeof variable, "CAPSCL_KERNELS=%s", caps_family_name(family));
    caps_cli_log("%s %s: selftest, kernels %s ...", d->id, d->name, caps_family_name(family));
    if (!caps_child_run(&child, arguments, variable, SELFTEST_SECONDS))
        return json_null();
    json_t *rows = child.out.text ? json_loads(child.out.text, 0, NULL) : NULL;
    json_t *failed = failed_rows(rows, &passed);
    json_t *result = json_pack("{s:s, s:i, s:i, s:I, s:I, s:o, s:o}", "end", end_of(&child),
        "exit_code", child.exit_code, "signal", child.signal, "passed", passed, "cases",
        (json_int_t)json_array_size(rows), "failed", failed, "log",
        caps_json_text(child.err.text ? child.err.text : ""));
    json_decref(rows);
    caps_child_release(&child);
    return result;
}

/* ---- the document --------------------------------------------------------------------------- */

static json_t *report_family(const caps_device_info *d, caps_family family)
{
    /* First: it has the verdicts made that are read behind it. */
    json_t *selftest = d->available ? report_selftest(d, family) : json_null();
    json_t *all = json_object();
    caps_json_set(&all, "selftest", selftest);
    caps_json_set(&all, "variants", report_verdicts(d, family));
    caps_json_set(&all, "tuned", caps_device_tuned(d, family));
    return all;
}

static json_t *report_device(const caps_device_info *d, bool selected)
{
    caps_device_limits numbers;
    json_t *row = caps_device_row(d, selected), *limits = json_object(), *families = json_object();
    char *extensions = caps_device_extensions(d);
    caps_device_limits_ask(&numbers, d);
    caps_device_limits_each(&numbers, put_limit, &limits);
    caps_json_set(&row, "limits", limits);
    caps_json_set(&row, "extensions", extensions ? caps_json_text(extensions) : NULL);
    free(extensions);
    caps_json_set(&families, "cpu", report_family(d, CAPS_FAMILY_CPU));
    caps_json_set(&families, "gpu", report_family(d, CAPS_FAMILY_GPU));
    caps_json_set(&row, "kernels", families);
    return row;
}

json_t *caps_device_report(const caps_device_info *list, size_t n, size_t selected)
{
    json_t *devices = json_array(), *all = json_object();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&devices, report_device(&list[i], i == selected));
    caps_json_set(&all, "capscl_report", json_integer(1));
    caps_json_set(&all, "version", json_string(caps_version()));
    caps_json_set(&all, "system", report_system());
    caps_json_set(&all, "environment", report_environment());
    caps_json_set(&all, "drivers", report_drivers());
    caps_json_set(&all, "devices", devices);
    return all;
}
