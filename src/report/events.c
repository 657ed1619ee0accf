/* events.c: see events.h. */
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "textbuf.h"

#define MOST_BYTES ((size_t)1 << 30)
enum {
    HEAD_BYTES = 12, /* of a record: length and checksum */
    TIME_BYTES = 9,  /* of an event: its time, which comes first */
};

struct caps_events {
    char *path, *metrics;
    int fd;
    unsigned char
        *old; /* what was there, as long as all that follows from metrics agrees with it */
    size_t old_bytes, agreed;
    size_t read;         /* bytes of metrics that are events already */
    size_t events;       /* so far */
    double last_step[2]; /* of lines within an epoch, and at its end */
    bool replace;
    caps_textbuf pending; /* records that are not written yet */
};

/* ---- checksums ------------------------------------------------------------------------------ */

uint32_t caps_crc32c(const void *data, size_t n)
{
    const unsigned char *bytes = data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

uint32_t caps_crc32c_masked(const void *data, size_t n)
{
    const uint32_t crc = caps_crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers ----------------------------------------------------------------------- */

static void put_little(caps_textbuf *t, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        const char byte = (char)(value >> 8 * i & 0xff);
        caps_textbuf_append(t, &byte, 1);
    }
}

static void put_varint(caps_textbuf *t, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_little(t, (value & 0x7f) | 0x80, 1);
    put_little(t, value, 1);
}

/* A field's number and kind: 0 a varint, 1 eight bytes, 2 bytes with their number, 5 four bytes. */
static void put_key(caps_textbuf *t, unsigned field, unsigned kind)
{
    put_varint(t, field << 3 | kind);
}

static void put_bytes(caps_textbuf *t, unsigned field, const char *bytes, size_t n)
{
    put_key(t, field, 2);
    put_varint(t, n);
    caps_textbuf_append(t, bytes, n);
}

/* Event.wall_time. */
static void put_time(caps_textbuf *event, double seconds)
{
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    put_key(event, 1, 1);
    put_little(event, bits, 8);
}

/* Summary.value: a tag and a float. */
static void put_scalar(caps_textbuf *summary, const char *tag, double value)
{
    const float single = (float)value;
    uint32_t bits;
    caps_textbuf one = {0};
    memcpy(&bits, &single, sizeof bits);
    put_bytes(&one, 1, tag, strlen(tag));
    put_key(&one, 2, 5);
    put_little(&one, bits, 4);
    if (one.text)
        put_bytes(summary, 1, one.text, one.used);
    summary->out_of_memory = summary->out_of_memory || one.out_of_memory;
    caps_textbuf_release(&one);
}

/* ---- records -------------------------------------------------------------------------------- */

static uint64_t get_little(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

/* The old file goes on with this event, at whatever time: bytes of its record, else 0. */
static size_t old_record(const caps_events *e, const caps_textbuf *event)
{
    const unsigned char *at = e->old + e->agreed;
    const size_t left = e->old_bytes - e->agreed, n = event->used;
    if (!e->old || left < HEAD_BYTES + n + 4 || get_little(at, 8) != n ||
        get_little(at + 8, 4) != caps_crc32c_masked(at, 8))
        return 0;
    at += HEAD_BYTES;
    const bool same = memcmp(at + TIME_BYTES, event->text + TIME_BYTES, n - TIME_BYTES) == 0 &&
                      get_little(at + n, 4) == caps_crc32c_masked(at, n);
    return same ? HEAD_BYTES + n + 4 : 0;
}

/* Nothing behind what has agreed stays. */
static caps_status cut_old(caps_events *e, caps_error *err)
{
    if (!e->old)
        return CAPS_OK;
    free(e->old);
    e->old = NULL;
    if (ftruncate(e->fd, (off_t)e->agreed) != 0)
        return caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", e->path);
    return CAPS_OK;
}

/* The next event of the file: there already, or pending. Takes the event's memory. */
static caps_status put_event(caps_events *e, caps_textbuf *event, caps_error *err)
{
    caps_status status = CAPS_OK;
    char head[8];
    if (event->out_of_memory)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", e->path));
    const size_t there = old_record(e, event);
    e->agreed += there;
    if (!there) {
        /* The first event is the same in all files, the second tells the run; less than a whole
         * record is what a crash left. */
        const size_t left = e->old ? e->old_bytes - e->agreed : 0;
        if (e->events <= 1 && left >= HEAD_BYTES + event->used + 4 && !e->replace)
            CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
                "%s: holds the events of another run, need another directory", e->path));
        CAPS_TRY(cut_old(e, err));
        for (int i = 0; i < 8; i++)
            head[i] = (char)((uint64_t)event->used >> 8 * i & 0xff);
        caps_textbuf_append(&e->pending, head, sizeof head);
        put_little(&e->pending, caps_crc32c_masked(head, sizeof head), 4);
        caps_textbuf_append(&e->pending, event->text, event->used);
        put_little(&e->pending, caps_crc32c_masked(event->text, event->used), 4);
    }
    e->events++;
done:
    caps_textbuf_release(event);
    return status;
}

/* Whole records, or none: a disk that is full leaves no half of one. */
static caps_status write_pending(caps_events *e, caps_error *err)
{
    const off_t before = lseek(e->fd, 0, SEEK_END);
    caps_textbuf *p = &e->pending;
    caps_status status = CAPS_OK;
    if (p->out_of_memory)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", e->path));
    for (size_t done = 0; done < p->used;) {
        const ssize_t put = write(e->fd, p->text + done, p->used - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            status = caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", e->path);
            if (before >= 0 && done > 0 && ftruncate(e->fd, before) != 0)
                goto done; /* the next opening cuts it */
            goto done;
        }
        done += (size_t)put;
    }
done:
    caps_textbuf_release(p);
    return status;
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Keys of metrics.jsonl and the names of their scalars. */
static const struct {
    const char *key, *name;
} scalars[] = {
    {"loss", "loss"},
    {"margin_loss", "class_loss"},
    {"reconstruction_sse", "reconstruction_sse"},
    {"train_error_percent", "train_error_percent"},
    {"validation_error_percent", "validation_error_percent"},
    {"test_error_percent", "test_error_percent"},
    {"validation_label_error_percent", "validation_label_error_percent"},
    {"test_label_error_percent", "test_label_error_percent"},
    {"validation_balanced_error_percent", "validation_balanced_error_percent"},
    {"test_balanced_error_percent", "test_balanced_error_percent"},
    {"ema_validation_error_percent", "averaged_weights/validation_error_percent"},
    {"ema_test_error_percent", "averaged_weights/test_error_percent"},
    {"rate", "learning_rate"},
    {"images_per_second", "images_per_second"},
    {"epoch", "number"},
};

/* since: seconds that have gone since the line. */
static caps_status put_line(caps_events *e, const json_t *line, double since, caps_error *err)
{
    const char *type = json_string_value(json_object_get(line, "type"));
    const json_t *step = json_object_get(line, "step");
    const bool epoch = type && strcmp(type, "epoch") == 0;
    caps_textbuf event = {0}, summary = {0};
    char tag[96];
    /* One event a step and kind, whatever befell the run. */
    if (!type || !json_is_integer(step) || json_number_value(step) <= e->last_step[epoch])
        return CAPS_OK;
    e->last_step[epoch] = json_number_value(step);
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        const json_t *value = json_object_get(line, scalars[i].key);
        snprintf(tag, sizeof tag, "%s/%s", epoch ? "epoch" : "step", scalars[i].name);
        if (json_is_number(value) && (epoch || strcmp(scalars[i].key, "epoch") != 0))
            put_scalar(&summary, tag, json_number_value(value));
    }
    put_time(&event, (double)time(NULL) - since);
    put_key(&event, 2, 0);
    put_varint(&event, (uint64_t)json_integer_value(step));
    if (summary.text)
        put_bytes(&event, 5, summary.text, summary.used);
    event.out_of_memory = event.out_of_memory || summary.out_of_memory;
    caps_textbuf_release(&summary);
    return put_event(e, &event, err);
}

/* The whole lines of n bytes at text; those that are no JSON are passed over. */
static caps_status put_lines(caps_events *e, const char *text, size_t n, caps_error *err)
{
    caps_status status = CAPS_OK;
    double last = NAN; /* total_seconds of the last line, which is taken for new */
    for (int pass = 0; pass < 2; pass++)
        for (size_t first = 0; first < n && status == CAPS_OK;) {
            const char *end = memchr(text + first, '\n', n - first);
            if (!end)
                break;
            const size_t length = (size_t)(end - (text + first));
            json_t *line = NULL;
            status = caps_json_parse(&line, text + first, length, e->metrics, CAPS_ERR_FORMAT, err);
            const json_t *at = json_object_get(line, "total_seconds");
            if (status == CAPS_ERR_FORMAT)
                status = CAPS_OK;
            else if (status == CAPS_OK && pass == 0)
                last = json_is_number(at) ? json_number_value(at) : last;
            else if (status == CAPS_OK)
                status = put_line(e, line,
                    json_is_number(at) && !isnan(last) ? last - json_number_value(at) : 0, err);
            json_decref(line);
            first += length + 1;
            e->read += pass == 1 ? length + 1 : 0;
        }
    return status;
}

/* What metrics.jsonl has behind what was read. */
static caps_status read_lines(caps_events *e, caps_error *err)
{
    unsigned char *text = NULL;
    struct stat st;
    caps_status status;
    int fd = -1;
    CAPS_TRY(caps_file_open(&fd, e->metrics, err));
    if (fstat(fd, &st) != 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot read", e->metrics));
    if ((size_t)st.st_size <= e->read || (size_t)st.st_size > MOST_BYTES)
        goto done;
    const size_t n = (size_t)st.st_size - e->read;
    text = malloc(n);
    if (!text)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", e->metrics));
    if (lseek(fd, (off_t)e->read, SEEK_SET) < 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot read", e->metrics));
    CAPS_TRY(caps_file_take(fd, text, n, e->metrics, err));
    CAPS_TRY(put_lines(e, (const char *)text, n, err));
done:
    free(text);
    if (fd >= 0)
        close(fd);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------- */

static caps_status put_version(caps_events *e, caps_error *err)
{
    static const char version[] = "brain.Event:2";
    caps_textbuf event = {0};
    put_time(&event, (double)time(NULL));
    put_bytes(&event, 3, version, strlen(version));
    return put_event(e, &event, err);
}

static caps_status open_file(caps_events *e, caps_error *err)
{
    caps_status status;
    struct stat st;
    CAPS_TRY(caps_file_check_own(e->path, CAPS_ERR_IO, err));
    e->fd = open(e->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (e->fd < 0 || fstat(e->fd, &st) != 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", e->path));
    if (flock(e->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "%s: another process writes events there", e->path));
    CAPS_TRY(caps_file_read_own(&e->old, &e->old_bytes, e->path, MOST_BYTES, err));
done:
    return status;
}

caps_status caps_events_open(
    caps_events **events, const char *directory, const char *metrics, bool replace, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_events *e = calloc(1, sizeof *e);
    *events = NULL;
    if (!e)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory);
    e->fd = -1;
    e->replace = replace;
    e->last_step[0] = e->last_step[1] = -1;
    e->path = caps_path_join(directory, CAPS_EVENTS_FILE);
    e->metrics = caps_format("%s", metrics);
    if (!e->path || !e->metrics)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
    CAPS_TRY(caps_directory_make(directory, err));
    CAPS_TRY(open_file(e, err));
    CAPS_TRY(put_version(e, err));
    CAPS_TRY(read_lines(e, err));
    CAPS_TRY(cut_old(e, err));
    CAPS_TRY(write_pending(e, err));
    *events = e;
    e = NULL;
done:
    caps_events_free(e);
    return status;
}

caps_status caps_events_update(caps_events *e, caps_error *err)
{
    caps_status status = read_lines(e, err);
    return status == CAPS_OK && e->pending.used > 0 ? write_pending(e, err) : status;
}

void caps_events_free(caps_events *e)
{
    if (!e)
        return;
    if (e->fd >= 0)
        close(e->fd);
    free(e->old);
    free(e->path);
    free(e->metrics);
    caps_textbuf_release(&e->pending);
    free(e);
}
