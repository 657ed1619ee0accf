/* json.h: thin helpers over jansson. */
#ifndef CAPS_JSON_H
#define CAPS_JSON_H

#include <jansson.h>

#include <capscl/error.h>

/* Parses text; duplicate keys are refused. On failure the message is "where: line 3: ...". */
caps_status caps_json_parse(json_t **out, const char *text, size_t n, const char *where,
    caps_status failure, caps_error *err);

/* A real with enough digits for float32 or double; NaN and infinity become null. New reference. */
json_t *caps_json_float(float x);
json_t *caps_json_double(double x);

/* A string of any bytes as a JSON string: what is no UTF-8 becomes '?'. New reference, or NULL. */
json_t *caps_json_text(const char *text);

/* Text of a value, freed with free(). Keys in the order of insertion; `indent` 0 is compact; reals
 * have `digits` significant digits (9 give the same float32 back, 17 the same double). NULL: out of
 * memory. */
char *caps_json_format(const json_t *value, size_t indent, int digits);

#endif
