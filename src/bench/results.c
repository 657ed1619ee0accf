/* results.c: results of a device as a file of their own. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capscl/version.h>

#include "bench.h"

#include "fail.h"
#include "file.h"
#include "json.h"

enum { NAME_BYTES = 200 };

/* Appends "-text" in small letters; what is neither letter nor digit becomes one dash. */
static void results_append(char *name, const char *text)
{
    size_t n = strlen(name);
    bool dash = n > 0;
    for (; *text && n + 2 < NAME_BYTES; text++) {
        if (!isalnum((unsigned char)*text)) {
            dash = n > 0;
            continue;
        }
        if (dash)
            name[n++] = '-';
        dash = false;
        name[n++] = (char)tolower((unsigned char)*text);
    }
    name[n] = 0;
}

caps_status caps_bench_results_path(char **path, const char *directory, const caps_runtime *rt,
    const char *arch, const char *what, caps_error *err)
{
    char name[NAME_BYTES + 8] = "";
    caps_status status;
    results_append(name, caps_runtime_device(rt)->name);
    results_append(name, caps_family_name(caps_runtime_family(rt)));
    if (strcmp(arch, "mnist") != 0) {
        const char *base = strrchr(arch, '/') ? strrchr(arch, '/') + 1 : arch;
        char stem[NAME_BYTES];
        snprintf(stem, sizeof stem, "%.*s", (int)strcspn(base, "."), base);
        results_append(name, stem);
    }
    results_append(name, what);
    strcat(name, ".json");
    *path = NULL;
    CAPS_TRY(caps_directory_make(directory, err));
    *path = caps_path_join(directory, name);
    if (!*path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
    CAPS_TRY(caps_file_check_output(*path, err));
done:
    return status;
}

static json_t *results_device(const caps_device_info *d)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:I}", "name", caps_json_text(d->name),
        "platform", caps_json_text(d->platform), "vendor", caps_json_text(d->vendor), "version",
        caps_json_text(d->version), "driver", caps_json_text(d->driver), "type",
        caps_device_type_name(d->type), "compute_units", (json_int_t)d->compute_units,
        "global_mem_bytes", (json_int_t)d->global_mem_bytes);
}

static json_t *results_peak(const caps_bench_peak *peak)
{
    json_t *memory = json_array();
    uint64_t bytes = CAPS_BENCH_LEAST_BYTES;
    for (size_t i = 0; i < peak->sizes; i++, bytes *= CAPS_BENCH_MEMORY_FACTOR)
        caps_json_append(&memory, json_pack("{s:I, s:o}", "bytes", (json_int_t)bytes,
                                      "gbytes_per_s", caps_json_double(peak->gbytes_per_s[i])));
    return json_pack("{s:o, s:o}", "gflops", caps_json_double(peak->gflops), "memory", memory);
}

caps_status caps_bench_results_write(const char *path, const caps_runtime *rt, const char *arch,
    const caps_bench_peak *peak, json_t *rows, caps_error *err)
{
    char date[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *all = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:O}", "capscl", caps_version(), "date",
        date, "device", results_device(caps_runtime_device(rt)), "kernels",
        caps_family_name(caps_runtime_family(rt)), "arch", caps_json_text(arch), "peak",
        results_peak(peak), "rows", rows);
    char *text = all ? caps_json_format(all, 1, 6) : NULL;
    json_decref(all);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    caps_status status = caps_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}
