/* metrics.c: see metrics.h. */
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "json.h"

#define MOST_METRICS (SIZE_MAX / 4)

static const char *const types[] = {"step", "epoch"};

static caps_status cannot_write(caps_error *err, const char *path)
{
    return caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", path);
}

/* ---- cutting back --------------------------------------------------------------------------- */

/* A line that is no JSON is not kept; one for which there is no memory is CAPS_ERR_MEMORY. */
static caps_status metrics_keep(bool *kept, const char *line, size_t n, uint64_t step, bool ended)
{
    uint64_t at;
    json_t *object = NULL;
    const caps_status status = caps_json_parse(&object, line, n, "", CAPS_ERR_FORMAT, NULL);
    *kept = status == CAPS_OK && caps_config_get_u64(object, "step", &at) && at <= step;
    if (*kept && at == step && !ended) {
        const char *type = json_string_value(json_object_get(object, "type"));
        *kept = !type || strcmp(type, types[CAPS_METRICS_EPOCH]) != 0;
    }
    json_decref(object);
    return status == CAPS_ERR_MEMORY ? status : CAPS_OK;
}

/* Bytes of the leading lines that stay. */
static caps_status kept_bytes(off_t *bytes, const char *text, size_t n, uint64_t step, bool ended)
{
    size_t first = 0;
    bool kept = true;
    caps_status status = CAPS_OK;
    while (first < n && kept && status == CAPS_OK) {
        const char *end = memchr(text + first, '\n', n - first);
        if (!end)
            break;
        size_t length = (size_t)(end - (text + first));
        status = metrics_keep(&kept, text + first, length, step, ended);
        if (kept)
            first += length + 1;
    }
    *bytes = (off_t)first;
    return status;
}

static caps_status cut_back(caps_metrics_log *log, uint64_t step, bool ended, caps_error *err)
{
    unsigned char *text = NULL;
    size_t n = 0;
    caps_status status = caps_file_read_own(&text, &n, log->path, MOST_METRICS, err);
    if (status != CAPS_OK)
        return status;
    status = kept_bytes(&log->bytes, (const char *)text, n, step, ended);
    free(text);
    if (status != CAPS_OK)
        return caps_fail(err, status, "%s: out of memory", log->path);
    /* The length alone changes: at every instant the file holds whole lines, or those of before. */
    if ((size_t)log->bytes < n && ftruncate(log->fd, log->bytes) != 0)
        return cannot_write(err, log->path);
    return CAPS_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

caps_status caps_metrics_open(
    caps_metrics_log *log, const char *path, uint64_t step, bool ended, caps_error *err)
{
    caps_status status = CAPS_OK;
    struct stat st;
    *log = (caps_metrics_log){.fd = -1};
    log->path = strdup(path);
    if (!log->path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    CAPS_TRY(caps_file_check_own(path, CAPS_ERR_IO, err));
    /* Neither through a link, nor waiting for a pipe's reader. */
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (log->fd < 0 && errno == ELOOP)
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "%s: is a symbolic link, need a regular file", path));
    if (log->fd < 0 || fstat(log->fd, &st) != 0)
        CAPS_TRY(cannot_write(err, path));
    if (!S_ISREG(st.st_mode))
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_IO, "%s: is a pipe or a device, need a regular file", path));
    /* Two processes in one run would undo each other's work. A file system without locks gives
     * another code: there it is the user's care. */
    if (flock(log->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_IO, "%s: another process is training into this directory", path));
    CAPS_TRY(cut_back(log, step, ended, err));
done:
    if (status != CAPS_OK)
        caps_metrics_close(log);
    return status;
}

static json_t *devices_of(const caps_train_metrics *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->device_count; i++) {
        const caps_train_epoch_device *d = &m->devices[i];
        caps_json_append(
            &list, json_pack("{s:o, s:i, s:o, s:I, s:I, s:o, s:o, s:o}", "id",
                       caps_json_text(d->id), "rank", d->rank, "name", caps_json_text(d->name),
                       "share", (json_int_t)d->share, "images", (json_int_t)d->images,
                       "images_per_second", caps_json_double(d->images_per_second), "busy_seconds",
                       caps_json_double(d->busy_seconds), "waiting_seconds",
                       caps_json_double(d->waiting_seconds)));
    }
    return list;
}

static json_t *line_of(caps_metrics_type type, const caps_train_metrics *m)
{
    json_t *line = json_object();
    const struct {
        const char *key;
        json_t *value;
        bool wanted;
    } rows[] = {
        {"type", json_string(types[type]), true},
        {"epoch", caps_config_json_u64(m->epoch), true},
        {"step", caps_config_json_u64(m->step), true},
        {"images_done", caps_config_json_u64(m->images_done), true},
        {"images_total", caps_config_json_u64(m->images_total), true},
        {"test_images", caps_config_json_u64(m->test_images),
            type == CAPS_METRICS_EPOCH && !isnan(m->test_error_percent)},
        {"validation_images", caps_config_json_u64(m->validation_images),
            type == CAPS_METRICS_EPOCH && m->validation_images > 0},
        {"loss", caps_json_double(m->loss), true},
        {"margin_loss", caps_json_double(m->class_loss), true},
        {"reconstruction_sse", caps_json_double(m->reconstruction_sse), true},
        {"train_error_percent", caps_json_double(m->train_error_percent), true},
        {"test_error_percent", caps_json_double(m->test_error_percent), type == CAPS_METRICS_EPOCH},
        {"validation_error_percent", caps_json_double(m->validation_error_percent),
            type == CAPS_METRICS_EPOCH && m->validation_images > 0},
        {"test_label_error_percent", caps_json_double(m->test_label_error_percent),
            type == CAPS_METRICS_EPOCH && m->labels > 1},
        {"validation_label_error_percent", caps_json_double(m->validation_label_error_percent),
            type == CAPS_METRICS_EPOCH && m->labels > 1 && m->validation_images > 0},
        {"test_balanced_error_percent", caps_json_double(m->test_balanced_error_percent),
            type == CAPS_METRICS_EPOCH && m->classes_uneven},
        {"validation_balanced_error_percent",
            caps_json_double(m->validation_balanced_error_percent),
            type == CAPS_METRICS_EPOCH && m->classes_uneven && m->validation_images > 0},
        {"ema_test_error_percent", caps_json_double(m->ema_test_error_percent),
            type == CAPS_METRICS_EPOCH && m->averages},
        {"ema_validation_error_percent", caps_json_double(m->ema_validation_error_percent),
            type == CAPS_METRICS_EPOCH && m->averages && m->validation_images > 0},
        {"rate", caps_json_double(m->lr), true},
        {"images_per_second", caps_json_double(m->images_per_second), true},
        {"seconds", caps_json_double(m->seconds), true},
        {"total_seconds", caps_json_double(m->total_seconds), true},
        {"peak_device_bytes", caps_config_json_u64(m->peak_device_bytes),
            type == CAPS_METRICS_EPOCH},
        {"devices", devices_of(m), type == CAPS_METRICS_EPOCH && m->device_count > 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].wanted)
            caps_json_set(&line, rows[i].key, rows[i].value);
        else
            json_decref(rows[i].value);
    }
    return line;
}

static caps_status write_whole(caps_metrics_log *log, const char *text, size_t n, caps_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(log->fd, text + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put > 0) {
            done += (size_t)put;
            continue;
        }
        if (put == 0)
            errno = EIO;
        caps_status status = cannot_write(err, log->path);
        if (done > 0) {
            /* A full disk took a part of the line. Where this fails too, the next resume cuts it.
             */
            int cut = ftruncate(log->fd, log->bytes);
            (void)cut;
        }
        return status;
    }
    log->bytes += (off_t)n;
    return CAPS_OK;
}

caps_status caps_metrics_append(
    caps_metrics_log *log, caps_metrics_type type, const caps_train_metrics *m, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *text = NULL, *line = NULL;
    json_t *object = line_of(type, m);
    if (!object)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", log->path));
    CAPS_TRY(caps_config_format(&text, object, 0, err));
    line = caps_format("%s\n", text);
    if (!line)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", log->path));
    CAPS_TRY(write_whole(log, line, strlen(line), err));
done:
    json_decref(object);
    free(text);
    free(line);
    return status;
}

caps_status caps_metrics_sync(caps_metrics_log *log, caps_error *err)
{
    int result;
    do
        result = fsync(log->fd);
    while (result != 0 && errno == EINTR);
    return result == 0 ? CAPS_OK : cannot_write(err, log->path);
}

void caps_metrics_close(caps_metrics_log *log)
{
    if (log->path && log->fd >= 0)
        close(log->fd);
    free(log->path);
    *log = (caps_metrics_log){.fd = -1};
}
