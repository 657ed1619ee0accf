/* config_table.h: every setting of a run as one row: where it is kept, its key in JSON, what it may
 * be. JSON, checks and comparisons all go by this table. */
#ifndef CAPS_CONFIG_TABLE_H
#define CAPS_CONFIG_TABLE_H

#include <capscl/train.h>

typedef enum caps_setting_type {
    CAPS_SETTING_TEXT,   /* char[bytes] */
    CAPS_SETTING_COUNT,  /* uint64_t */
    CAPS_SETTING_SIZE,   /* size_t */
    CAPS_SETTING_REAL,   /* double */
    CAPS_SETTING_SWITCH, /* bool */
    CAPS_SETTING_CHOICE, /* an enum whose values have names */
    CAPS_SETTING_SPEC,
    CAPS_SETTING_NAMES, /* of the spec's classes; left out where there are none */
    CAPS_SETTING_LOSS,
} caps_setting_type;

typedef struct caps_setting {
    const char *key; /* in JSON: that of the first version, runs of before stay readable */
    caps_setting_type type;
    size_t offset, bytes;
    bool optional;    /* runs from before there was such a setting have none */
    bool decides;     /* the trained parameters depend on it: a run is not resumed with another */
    const char *name; /* in messages; REAL and CHOICE */
    /* CHOICE: the name of a value, NULL past the last. TEXT: NULL, or the names that it may be
     * besides "". */
    const char *(*value)(int i);
    bool positive; /* REAL: 0 is not allowed */
    double most;   /* REAL */
    bool open;     /* REAL: `most` itself is not allowed */
} caps_setting;

extern const caps_setting caps_settings[];
extern const size_t caps_setting_count;

/* The member. */
static inline const void *caps_setting_at(const caps_setting *s, const caps_train_config *config)
{
    return (const char *)config + s->offset;
}

/* A choice's value. */
int caps_setting_choice(const caps_setting *s, const caps_train_config *config);

#endif
