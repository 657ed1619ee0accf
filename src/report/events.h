/* events.h: a run's metrics as scalars for TensorBoard: DIRECTORY/events.out.tfevents.capscl.
 *
 * The file holds what metrics.jsonl says, nothing else: one event a line, with the tags step/loss,
 * step/train_error_percent, ... of lines within an epoch and epoch/... of those that end one; the
 * step of both is the run's. A run that is resumed cuts metrics.jsonl back; opening the log does the
 * same here, so that no step is there twice, and leaves what agrees as it is, so that a TensorBoard
 * that is watching goes on.
 *
 * Format: TFRecord, which is length (8 bytes, little-endian), its checksum (4), data, its checksum
 * (4); checksums are CRC-32C, masked. The data is a protocol buffer "Event" of TensorFlow. */
#ifndef CAPS_EVENTS_H
#define CAPS_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

#define CAPS_EVENTS_FILE "events.out.tfevents.capscl"

typedef struct caps_events caps_events;

/* Opens DIRECTORY's file, made where it is not there, and brings it up to metrics.jsonl. replace:
 * what is there of another run goes; else that is CAPS_ERR_EXISTS. CAPS_ERR_IO (also: another
 * process writes there), CAPS_ERR_MEMORY. */
caps_status caps_events_open(caps_events **events, const char *directory, const char *metrics,
    bool replace, caps_error *err);
/* Appends the lines that metrics.jsonl has had since. CAPS_ERR_IO, CAPS_ERR_MEMORY. */
caps_status caps_events_update(caps_events *e, caps_error *err);
void caps_events_free(caps_events *e); /* NULL is allowed */

/* CRC-32C (Castagnoli) of n bytes, and as TFRecord has it. */
uint32_t caps_crc32c(const void *data, size_t n);
uint32_t caps_crc32c_masked(const void *data, size_t n);

#endif
