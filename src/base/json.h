/* json.h: thin helpers over jansson. */
#ifndef CAPS_JSON_H
#define CAPS_JSON_H

#include <jansson.h>

#include <capscl/error.h>

/* Any value, and nothing behind it. Refused are duplicate keys, texts that are no UTF-8 or hold a
 * zero byte, whole numbers beyond 64 bits. On failure *out is NULL, and the message is
 * "where: line 3: not valid JSON: ...", or CAPS_ERR_MEMORY. */
caps_status caps_json_parse(json_t **out, const char *text, size_t n, const char *where,
    caps_status failure, caps_error *err);

/* Building: a container for which memory was lacking anywhere becomes NULL and stays NULL, whatever
 * is put into it, and so does what it is put into. So it is asked once, at the end, and nothing is
 * ever written that lacks a part. The value is taken; where it is NULL the container becomes NULL.
 * json_object(), json_array(), json_pack() and the functions below fit in. */
void caps_json_set(json_t **object, const char *key, json_t *value);
void caps_json_append(json_t **list, json_t *value);

/* A real with enough digits for float32 or double; NaN and infinity become null. New reference. */
json_t *caps_json_float(float x);
json_t *caps_json_double(double x);

/* A string of any bytes as a JSON string: what is no UTF-8 becomes '?'. New reference, or NULL. */
json_t *caps_json_text(const char *text);

/* Text of a value, freed with free(). Keys in the order of insertion; `indent` 0 is compact; reals
 * have `digits` significant digits (9 give the same float32 back, 17 the same double). NULL: out of
 * memory, or no value. */
char *caps_json_format(const json_t *value, size_t indent, int digits);
/* With as few digits (6, 15 or 17) as give every number back as it was. */
char *caps_json_format_exact(const json_t *value, size_t indent);

#endif
