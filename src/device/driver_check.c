/* driver_check.c: drivers are asked for their devices in a child process first; see
 * trust_process.h.
 *
 * What was found is kept in the cache as "drivers-HASH.json",
 *
 *     {"capscl_drivers": 1, "of": "...", "refused": [{"file": "a.icd", "why": "..."}],
 *      "devices": [{"cpu": "HASH", "gpu": "HASH", "family": "cpu"}, ...]}
 *
 * by a hash of the drivers' registration and of the kernels. Where it is there, and for every
 * device of it verdicts too, a start needs no child. A driver that is refused is left out by
 * OCL_ICD_VENDORS, which then names a directory in the cache with the other drivers' files. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "runtime_state.h"
#include "sources.h"
#include "text.h"
#include "trust_file.h"
#include "trust_process.h"

enum { FORMAT = 1, FILE_LIMIT = 1 << 20 };

typedef struct check {
    caps_driver drivers[CAPS_MOST_DRIVERS];
    char why[CAPS_MOST_DRIVERS][CAPS_TRUST_WHY]; /* it is refused; "": it is not */
    size_t n;
    char *directory, *text; /* of the cache; what the drivers are */
    uint64_t hash;
} check;

/* ---- which drivers -------------------------------------------------------------------------- */

static long long changed(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long long)st.st_mtime : 0;
}

/* An update of a driver writes its library or its registration anew. */
static bool check_init(check *c)
{
    char kernels[17];
    *c = (check){0};
    c->n = caps_drivers_list(c->drivers, CAPS_MOST_DRIVERS);
    if (caps_cache_directory(&c->directory, NULL, NULL) != CAPS_OK || !c->directory ||
        caps_cache_refuse(c->directory))
        return false;
    caps_sources_hash(kernels, caps_sources_place());
    c->text = caps_format("kernels %s", kernels);
    for (size_t i = 0; i < c->n && c->text; i++) {
        char *path = caps_driver_path(&c->drivers[i]);
        char *more = caps_format("%s | %s %s %lld %lld", c->text, c->drivers[i].file,
            c->drivers[i].library, path ? changed(path) : 0, changed(c->drivers[i].library));
        free(path);
        free(c->text);
        c->text = more;
    }
    c->hash = c->text ? caps_hash(CAPS_HASH_START, c->text, strlen(c->text)) : 0;
    return c->text != NULL;
}

static void check_release(check *c)
{
    free(c->directory);
    free(c->text);
}

/* ---- what is kept --------------------------------------------------------------------------- */

static char *check_path(const check *c, const char *end)
{
    char *name = caps_format("drivers-%016llx%s", (unsigned long long)c->hash, end);
    char *path = name ? caps_path_join(c->directory, name) : NULL;
    free(name);
    return path;
}

/* Does a device's file of verdicts exist, of the family that it would run? */
static bool is_checked(const check *c, const json_t *device)
{
    const char *forced = getenv("CAPSCL_KERNELS");
    const bool named = forced && (strcmp(forced, "cpu") == 0 || strcmp(forced, "gpu") == 0);
    const char *family = named ? forced : json_string_value(json_object_get(device, "family"));
    const char *hash = family ? json_string_value(json_object_get(device, family)) : NULL;
    return hash && caps_trust_is_kept(c->directory, strtoull(hash, NULL, 16), caps_sources_place());
}

/* False: nothing is kept. *checked: nor will anything have to be checked. */
static bool check_load(check *c, bool *checked)
{
    unsigned char *text = NULL;
    size_t bytes = 0;
    json_t *root = NULL;
    bool loaded = false;
    char *path = check_path(c, ".json");
    *checked = false;
    if (path)
        text = caps_cache_read(&bytes, path, FILE_LIMIT);
    if (!text ||
        caps_json_parse(&root, (const char *)text, bytes, "it", CAPS_ERR_FORMAT, NULL) != CAPS_OK)
        goto done;
    const char *of = json_string_value(json_object_get(root, "of"));
    const json_t *refused = json_object_get(root, "refused");
    const json_t *devices = json_object_get(root, "devices"), *row;
    size_t i;
    loaded = json_integer_value(json_object_get(root, "capscl_drivers")) == FORMAT && of &&
             strcmp(of, c->text) == 0 && json_array_size(refused) == c->n;
    *checked = loaded && json_array_size(devices) > 0;
    if (loaded) {
        json_array_foreach(refused, i, row)
        {
            const char *why = json_string_value(row);
            snprintf(c->why[i], sizeof c->why[i], "%s", why ? why : "");
        }
    }
    json_array_foreach(devices, i, row)
    {
        *checked = *checked && is_checked(c, row);
    }
done:
    json_decref(root);
    free(text);
    free(path);
    return loaded;
}

static void check_save(const check *c, const caps_trust_answer *a)
{
    json_t *refused = json_array(), *devices = json_array();
    for (size_t i = 0; i < c->n; i++)
        caps_json_append(&refused, caps_json_text(c->why[i]));
    for (size_t i = 0; i < a->devices; i++) {
        char hash[2][17];
        for (int family = 0; family < 2; family++)
            snprintf(hash[family], 17, "%016llx", (unsigned long long)a->device[i].hash[family]);
        caps_json_append(
            &devices, json_pack("{s:s, s:s, s:s}", "cpu", hash[CAPS_FAMILY_CPU], "gpu",
                          hash[CAPS_FAMILY_GPU], "family", caps_family_name(a->device[i].family)));
    }
    json_t *root = refused && devices
                       ? json_pack("{s:i, s:o, s:o, s:o}", "capscl_drivers", FORMAT, "of",
                             caps_json_text(c->text), "refused", refused, "devices", devices)
                       : NULL;
    char *text = root ? caps_json_format(root, 2, 6) : NULL, *path = check_path(c, ".json");
    if (text && path)
        (void)caps_cache_write(c->directory, path, text, strlen(text), NULL);
    json_decref(root);
    free(text);
    free(path);
}

/* ---- asking them ---------------------------------------------------------------------------- */

/* True: they listed their devices. */
static bool ask(const char *vendors, caps_trust_answer *a)
{
    caps_trust_task task = {.lists = true};
    *a = (caps_trust_answer){0};
    if (vendors && strlen(vendors) >= sizeof task.vendors)
        return false;
    snprintf(task.vendors, sizeof task.vendors, "%s", vendors ? vendors : "");
    return caps_trust_process_run(&task, a) && a->finished;
}

/* A directory with the files of all drivers that `takes` says; NULL: it could not be made. */
static char *make_directory(const check *c, const char *end, const bool *takes)
{
    char *directory = check_path(c, end);
    bool whole = directory && caps_directory_make(directory, NULL) == CAPS_OK;
    for (size_t i = 0; i < c->n && whole; i++) {
        char *name = caps_format("%zu.icd", i);
        char *path = name ? caps_path_join(directory, name) : NULL;
        char *line = caps_format("%s\n", c->drivers[i].library);
        whole = path && line;
        if (whole && !takes[i])
            remove(path);
        else if (whole)
            whole = caps_cache_write(directory, path, line, strlen(line), NULL) == CAPS_OK;
        free(name);
        free(path);
        free(line);
    }
    if (whole)
        return directory;
    free(directory);
    return NULL;
}

/* Each by itself, where together they failed; then those that did not. */
static void ask_each(check *c, caps_trust_answer *a)
{
    bool good[CAPS_MOST_DRIVERS];
    for (size_t i = 0; i < c->n; i++) {
        bool takes[CAPS_MOST_DRIVERS] = {false};
        takes[i] = true;
        char *directory = make_directory(c, "-one", takes);
        if (directory && !ask(directory, a) && a->why[0])
            memcpy(c->why[i], a->why, sizeof c->why[i]);
        good[i] = !c->why[i][0];
        free(directory);
    }
    char *directory = make_directory(c, "-good", good);
    if (directory)
        (void)ask(directory, a);
    free(directory);
}

/* ---- leaving them out ----------------------------------------------------------------------- */

static char note[800], left_out[800]; /* the one is shown once */

static void leave_out(const check *c)
{
    bool takes[CAPS_MOST_DRIVERS];
    size_t used = 0, refused = 0;
    for (size_t i = 0; i < c->n; i++) {
        takes[i] = !c->why[i][0];
        if (takes[i])
            continue;
        refused++;
        if (used < sizeof note)
            used += (size_t)snprintf(note + used, sizeof note - used,
                "%sdriver %.60s (%.100s) is passed over: %s", used ? "; " : "", c->drivers[i].file,
                c->drivers[i].library, c->why[i]);
    }
    if (refused == 0)
        return;
    memcpy(left_out, note, sizeof left_out);
    char *directory = make_directory(c, "-good", takes);
    if (directory)
        setenv("OCL_ICD_VENDORS", directory, 1);
    free(directory);
}

const char *caps_drivers_left_out(void)
{
    return left_out[0] ? left_out : NULL;
}

const char *caps_drivers_take_note(void)
{
    static char taken[sizeof note];
    memcpy(taken, note, sizeof taken);
    note[0] = 0;
    return taken[0] ? taken : NULL;
}

/* ---- together ------------------------------------------------------------------------------- */

static void drivers_check(void)
{
    check c;
    caps_trust_answer *a = calloc(1, sizeof *a);
    bool checked = false;
    const bool keeps = check_init(&c), known = keeps && check_load(&c, &checked);
    if (a && !checked && c.n > 0 && caps_trust_process_begin() && keeps && !known) {
        if (!ask(NULL, a) && a->why[0])
            ask_each(&c, a);
        check_save(&c, a);
    }
    if (keeps)
        leave_out(&c);
    check_release(&c);
    free(a);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

void caps_drivers_check(void)
{
    if (!caps_trust_is_off())
        pthread_once(&once, drivers_check);
}
