/* drivers.c: the OpenCL drivers that are registered, and why they offer no device; see drivers.h.
 */
#include "drivers.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/device.h>

#include "fail.h"
#include "file.h"
#include "text.h"

#define VENDORS "/etc/OpenCL/vendors"

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The variable that names the drivers in place of /etc/OpenCL/vendors; NULL: none does. */
static const char *place_variable(void)
{
    static const char *const names[] = {"OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH"};
    for (size_t i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return names[i];
    }
    return NULL;
}

/* An .icd file's one line is the library's name. */
static bool read_icd(caps_driver *driver, const char *path)
{
    const char *slash = strrchr(path, '/');
    FILE *f = fopen(path, "r");
    char line[CAPS_DRIVER_TEXT] = "";
    if (!f)
        return false;
    const bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    size_t n = strlen(line);
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        line[--n] = 0;
    caps_text_clean(driver->library, sizeof driver->library, line);
    caps_text_clean(driver->file, sizeof driver->file, slash ? slash + 1 : path);
    return read && n > 0;
}

size_t caps_drivers_list(caps_driver *list, size_t most)
{
    const char *variable = place_variable(), *place = variable ? getenv(variable) : VENDORS;
    size_t n = 0;
    struct dirent *entry;
    DIR *directory = opendir(place);
    while (directory && n < most && (entry = readdir(directory)) != NULL) {
        char *path = ends_with(entry->d_name, ".icd") ? caps_path_join(place, entry->d_name) : NULL;
        n += path && read_icd(&list[n], path);
        free(path);
    }
    if (directory) {
        closedir(directory);
    } else if (ends_with(place, ".icd")) {
        n += read_icd(&list[0], place);
    } else if (variable && strstr(place, ".so")) {
        list[0].file[0] = 0;
        caps_text_clean(list[0].library, sizeof list[0].library, place);
        n = 1;
    }
    return n;
}

char *caps_driver_path(const caps_driver *driver)
{
    const char *variable = place_variable(), *place = variable ? getenv(variable) : VENDORS;
    if (!driver->file[0])
        return NULL;
    return ends_with(place, ".icd") ? caps_format("%s", place)
                                    : caps_path_join(place, driver->file);
}

bool caps_driver_is_loaded(const caps_driver *driver)
{
    void *library = dlopen(driver->library, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (library)
        dlclose(library);
    return library != NULL;
}

bool caps_drivers_have_pocl(void)
{
    caps_driver list[CAPS_MOST_DRIVERS];
    const size_t n = caps_drivers_list(list, CAPS_MOST_DRIVERS);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found = found || strstr(list[i].library, "pocl") || strstr(list[i].file, "pocl");
    return found;
}

/* ---- why there is no device ----------------------------------------------------------------- */

static caps_status explain_none(caps_error *err)
{
    const char *variable = place_variable();
    if (variable)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "no OpenCL driver: %s is '%.200s', where there is none (*.icd); unset it, or set it to "
            "the directory that has them, usually " VENDORS,
            variable, getenv(variable));
    return caps_fail(err, CAPS_ERR_NO_DEVICE,
        "no OpenCL driver is installed (no *.icd in " VENDORS "); install one, for instance "
        "pocl-opencl-icd for the CPU");
}

/* Why PoCL, whose library can be loaded, may offer no device. */
static void explain_pocl(char *text, size_t bytes)
{
    const char *devices = getenv("POCL_DEVICES");
    char cache[200];
    if (devices && *devices)
        snprintf(text, bytes, "POCL_DEVICES is '%.100s'; unset it, or set it to basic or pthread",
            devices);
    else if (caps_driver_cache_is_bad(cache, sizeof cache))
        snprintf(text, bytes,
            "it cannot write its cache %s: set POCL_CACHE_DIR to a directory that can be written",
            cache);
    else
        snprintf(text, bytes,
            "the program poclcc -l, or POCL_DEBUG=all in the environment, may tell why");
}

static void explain_driver(const caps_driver *driver, char *text, size_t bytes)
{
    char cause[400];
    void *library = dlopen(driver->library, RTLD_LAZY | RTLD_LOCAL);
    if (!library) {
        const char *reason = dlerror();
        char clean[256];
        caps_text_clean(clean, sizeof clean, reason ? reason : "unknown");
        snprintf(text, bytes,
            "driver %.60s names the library %.100s, which cannot be loaded (%s): "
            "install the driver again, or remove that file",
            driver->file[0] ? driver->file : place_variable(), driver->library, clean);
        return;
    }
    /* It stays loaded: closing a driver's library is not always survived. */
    if (strstr(driver->library, "pocl"))
        explain_pocl(cause, sizeof cause);
    else
        snprintf(cause, sizeof cause,
            "is the hardware there, and may this user open it (groups video and render)?");
    snprintf(text, bytes, "driver %.60s (%.100s) is installed but offers no device: %s",
        driver->file[0] ? driver->file : place_variable(), driver->library, cause);
}

caps_status caps_drivers_explain(caps_error *err)
{
    caps_driver list[CAPS_MOST_DRIVERS];
    const size_t n = caps_drivers_list(list, CAPS_MOST_DRIVERS);
    char text[900] = "";
    const char *left_out = caps_drivers_left_out();
    if (n == 0 && left_out)
        return caps_fail(err, CAPS_ERR_NO_DEVICE, "no OpenCL device: %s", left_out);
    if (n == 0)
        return explain_none(err);
    size_t used = 0;
    for (size_t i = 0; i < n && used < sizeof text - 1; i++) {
        char one[900];
        explain_driver(&list[i], one, sizeof one);
        const int put = snprintf(text + used, sizeof text - used, "%s%s", i ? "; " : "", one);
        used += put > 0 ? (size_t)put : 0;
    }
    return caps_fail(err, CAPS_ERR_NO_DEVICE, "no OpenCL device: %s", text);
}
