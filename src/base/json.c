/* json.c: thin helpers over jansson. */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

caps_status caps_json_parse(json_t **out, const char *text, size_t n, const char *where,
    caps_status failure, caps_error *err)
{
    json_error_t problem;
    *out = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES, &problem);
    if (*out)
        return CAPS_OK;
    if (json_error_code(&problem) == json_error_out_of_memory)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory while parsing JSON", where);
    return caps_fail(err, failure, "%s: line %d: not valid JSON: %s", where,
        problem.line > 0 ? problem.line : 1, problem.text);
}

json_t *caps_json_float(float x)
{
    return caps_json_double((double)x);
}

json_t *caps_json_double(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

char *caps_json_format(const json_t *value, size_t indent, int digits)
{
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits);
    flags |= indent ? JSON_INDENT(indent) : (size_t)JSON_COMPACT;
    return json_dumps(value, flags);
}

json_t *caps_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char *plain = strdup(text);
    for (char *at = plain; at && *at; at++)
        if ((unsigned char)*at > 126)
            *at = '?';
    value = plain ? json_string(plain) : NULL;
    free(plain);
    return value;
}
