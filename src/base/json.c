/* json.c: thin helpers over jansson. */
#include "json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "textbuf.h"

void caps_json_set(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) == 0)
        return;
    json_decref(*object);
    *object = NULL;
}

void caps_json_append(json_t **list, json_t *value)
{
    if (json_array_append_new(*list, value) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

json_t *caps_json_float(float x)
{
    return caps_json_double((double)x);
}

json_t *caps_json_double(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static int put_piece(const char *piece, size_t n, void *text)
{
    caps_textbuf_append(text, piece, n);
    return 0;
}

/* Not json_dumps: it goes on where a piece of a key could not be stored (in 2.14, do_dump ignores
 * what dump_string says), and leaves the piece out. The buffer remembers. */
char *caps_json_format(const json_t *value, size_t indent, int digits)
{
    caps_textbuf text = {0};
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits);
    flags |= indent ? JSON_INDENT(indent) : (size_t)JSON_COMPACT;
    if (json_dump_callback(value, put_piece, &text, flags) != 0 || text.out_of_memory)
        caps_textbuf_release(&text);
    return text.text;
}

/* The digits after which the real comes back as it was, of 6, 15 and 17. */
static int digits_of_real(double x)
{
    static const int few[] = {6, 15};
    char text[40];
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        snprintf(text, sizeof text, "%.*g", few[i], x);
        if (!(fabs(strtod(text, NULL) - x) > 0))
            return few[i];
    }
    return 17;
}

static int digits_of(const json_t *value)
{
    int most = 6, own;
    const char *key;
    const json_t *inner;
    size_t i;
    if (json_is_real(value))
        return digits_of_real(json_real_value(value));
    json_object_foreach((json_t *)(uintptr_t)value, key, inner)
    {
        own = digits_of(inner);
        most = own > most ? own : most;
    }
    json_array_foreach(value, i, inner)
    {
        own = digits_of(inner);
        most = own > most ? own : most;
    }
    return most;
}

char *caps_json_format_exact(const json_t *value, size_t indent)
{
    return value ? caps_json_format(value, indent, digits_of(value)) : NULL;
}

json_t *caps_json_text(const char *text)
{
    if (!text)
        return NULL;
    /* A text that is no UTF-8 and one for which there is no memory give the same NULL. */
    if (caps_is_utf8(text))
        return json_string_nocheck(text);
    char *plain = strdup(text);
    for (char *c = plain; c && *c; c++)
        if ((unsigned char)*c > 126)
            *c = '?';
    json_t *value = plain ? json_string(plain) : NULL;
    free(plain);
    return value;
}
