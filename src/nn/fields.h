/* fields.h: the fields of a layer in JSON, by table.
 *
 * A kind of layer lists its fields once: name, type, where in its struct the value is kept,
 * default, bounds. Reading, writing, the list of what is known and the messages follow from the
 * table. */
#ifndef CAPS_FIELDS_H
#define CAPS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <capscl/error.h>

#define CAPS_FIELD_MOST_SIZE ((size_t)INT32_MAX)

typedef enum caps_field_type {
    CAPS_FIELD_SIZE,   /* size_t, least..most */
    CAPS_FIELD_FLAG,   /* bool */
    CAPS_FIELD_CHOICE, /* int: position in `choices` */
    CAPS_FIELD_REAL,   /* double, least..most, `most` itself excluded where `open` */
    CAPS_FIELD_OBJECT, /* int: position in `variants`, chosen by the object's "kind"; the variant's
                          fields are members of the same struct */
} caps_field_type;

typedef struct caps_field caps_field;

typedef struct caps_field_variant {
    const char *kind; /* NULL ends the list */
    const caps_field *fields;
} caps_field_variant;

struct caps_field {
    const char *name; /* NULL ends the table */
    caps_field_type type;
    size_t offset; /* of the member */
    bool required;
    double fallback; /* the default of what is not required: a number, 0 or 1, a position */
    double least, most;
    bool open;
    const char *const *choices; /* NULL-terminated */
    const caps_field_variant *variants;
};

/* Rows of a table; `owner` is the struct that begins with caps_layer. */
#define CAPS_ROW_REQUIRED_SIZE(field, owner, member)                                               \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_SIZE, .offset = offsetof(owner, member),               \
        .required = true, .least = 1, .most = (double)CAPS_FIELD_MOST_SIZE                         \
    }
#define CAPS_ROW_SIZE(field, owner, member, standard, smallest, greatest)                          \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_SIZE, .offset = offsetof(owner, member),               \
        .fallback = (standard), .least = (smallest), .most = (double)(greatest)                    \
    }
#define CAPS_ROW_FLAG(field, owner, member)                                                        \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_FLAG, .offset = offsetof(owner, member)                \
    }
/* A flag that is set where it is not written. */
#define CAPS_ROW_FLAG_ON(field, owner, member)                                                     \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_FLAG, .offset = offsetof(owner, member), .fallback = 1 \
    }
#define CAPS_ROW_NUMBER(field, owner, member, standard, smallest, greatest)                        \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_REAL, .offset = offsetof(owner, member),               \
        .fallback = (standard), .least = (smallest), .most = (greatest)                            \
    }
#define CAPS_ROW_CHOICE_OF(field, owner, member, names)                                            \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_CHOICE, .offset = offsetof(owner, member),             \
        .choices = (names)                                                                         \
    }
#define CAPS_ROW_OBJECT(field, owner, member, kinds)                                               \
    {                                                                                              \
        .name = (field), .type = CAPS_FIELD_OBJECT, .offset = offsetof(owner, member),             \
        .required = true, .variants = (kinds)                                                      \
    }

/* An object of a spec, and how messages name it. */
typedef struct caps_section {
    const json_t *object;
    const char *where; /* "net.json" */
    const char *path;  /* "primary", or "" at the top */
} caps_section;

/* "net.json: primary.types is missing, need ...": CAPS_ERR_SPEC. */
caps_status caps_section_refuse(const caps_section *s, const char *field, const char *problem,
    const char *need, caps_error *err);
/* Every key of the object is in one of the lists (the second one may be NULL). */
caps_status caps_section_check_keys(
    const caps_section *s, const char *const *known, const caps_field *fields, caps_error *err);
/* A whole number from least to most. */
caps_status caps_section_size(size_t *out, const json_t *value, const caps_section *s,
    const char *field, size_t least, size_t most, caps_error *err);
/* A list of `count` whole numbers from 1 on; or of at most `most`, *count of them. */
caps_status caps_section_sizes(size_t *out, size_t *count, const caps_section *s, const char *field,
    size_t most, caps_error *err);

/* Reads all fields of the table into the struct. The caller has checked the keys. */
caps_status caps_fields_read(
    void *to, const caps_field *fields, const caps_section *s, caps_error *err);
/* Writes them into the object, as caps_json_set does: all, or those that have not their default. */
void caps_fields_write(json_t **to, const caps_field *fields, const void *from, bool all);
/* Has a layer with this object the field "routing.iterations"? */
bool caps_fields_know(const caps_field *fields, const json_t *object, const char *path);

#endif
