/* loss.c: see loss.h. */
#include "loss.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"

enum { NUMBERS = 5 };

static const char *const keys[NUMBERS] = {
    "margin_positive", "margin_negative", "margin_down", "margin_scale", "reconstruction_weight"};

static void get_numbers(const caps_loss *loss, double numbers[NUMBERS])
{
    numbers[0] = (double)loss->margin.positive;
    numbers[1] = (double)loss->margin.negative;
    numbers[2] = (double)loss->margin.down;
    numbers[3] = loss->margin_scale;
    numbers[4] = loss->reconstruction_weight;
}

static const char *const class_losses[] = {"own", "margin", "spread"}; /* by caps_class_loss */

bool caps_loss_equal(const caps_loss *a, const caps_loss *b)
{
    double x[NUMBERS], y[NUMBERS];
    get_numbers(a, x);
    get_numbers(b, y);
    for (size_t i = 0; i < NUMBERS; i++)
        if (!(fabs(x[i] - y[i]) <= 0))
            return false;
    return a->class_loss == b->class_loss && (a->class_loss != CAPS_CLASS_LOSS_SPREAD ||
                                                 !(fabsf(a->spread_margin - b->spread_margin) > 0));
}

json_t *caps_loss_to_json(const caps_loss *loss)
{
    double numbers[NUMBERS];
    json_t *object = json_object();
    get_numbers(loss, numbers);
    for (size_t i = 0; i < NUMBERS; i++)
        caps_json_set(&object, keys[i], caps_json_double(numbers[i]));
    if (loss->class_loss != CAPS_CLASS_LOSS_OWN)
        caps_json_set(&object, "class_loss", json_string(class_losses[loss->class_loss]));
    if (loss->class_loss == CAPS_CLASS_LOSS_SPREAD)
        caps_json_set(&object, "spread_margin", caps_json_double((double)loss->spread_margin));
    return object;
}

/* "class_loss" and what belongs to it; neither has to be there. */
static caps_status read_class_loss(
    caps_loss *loss, const json_t *object, const char *where, caps_error *err)
{
    const json_t *name = json_object_get(object, "class_loss");
    const json_t *margin = json_object_get(object, "spread_margin");
    const char *text = json_string_value(name);
    size_t kind = 0;
    while (text && kind < 3 && strcmp(text, class_losses[kind]) != 0)
        kind++;
    if (name && (!text || kind == 3))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: capscl.loss: class_loss is unknown, need margin or spread", where);
    if (margin && (!json_is_number(margin) || !(json_number_value(margin) > 0) ||
                      json_number_value(margin) > 1))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: capscl.loss: spread_margin is no number above 0 up to 1, need one", where);
    loss->class_loss = (caps_class_loss)kind;
    if (margin)
        loss->spread_margin = (float)json_number_value(margin);
    return CAPS_OK;
}

static caps_status from_json(
    caps_loss *loss, const json_t *object, const char *where, caps_error *err)
{
    double numbers[NUMBERS];
    for (size_t i = 0; i < NUMBERS; i++) {
        const json_t *value = json_object_get(object, keys[i]);
        numbers[i] = json_number_value(value);
        if (!json_is_number(value) || !(numbers[i] >= 0 && numbers[i] <= (double)FLT_MAX))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: capscl.loss: %s is missing or no number from 0 on, need one", where, keys[i]);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool known = strcmp(key, "class_loss") == 0 || strcmp(key, "spread_margin") == 0;
        for (size_t i = 0; i < NUMBERS; i++)
            known = known || strcmp(key, keys[i]) == 0;
        if (!known)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: capscl.loss: unknown field %.64s, need only those of a loss of classes and "
                "reconstruction_weight",
                where, key);
    }
    *loss = CAPS_LOSS_DEFAULT;
    loss->margin = (caps_margin){(float)numbers[0], (float)numbers[1], (float)numbers[2]};
    loss->margin_scale = numbers[3];
    loss->reconstruction_weight = numbers[4];
    return read_class_loss(loss, object, where, err);
}

caps_status caps_loss_parse(caps_loss *loss, const char *json, const char *where, caps_error *err)
{
    json_t *object = NULL;
    caps_status status = caps_json_parse(&object, json, strlen(json), where, CAPS_ERR_FORMAT, err);
    if (status == CAPS_OK)
        status = from_json(loss, object, where, err);
    json_decref(object);
    return status;
}

char *caps_loss_format(const caps_loss *loss)
{
    static const int digits[] = {6, 15, 17};
    json_t *object = caps_loss_to_json(loss);
    char *text = NULL;
    bool same = false;
    for (size_t i = 0; object && !same && i < sizeof digits / sizeof digits[0]; i++) {
        caps_loss again = {0};
        free(text);
        text = caps_json_format(object, 0, digits[i]);
        const caps_status status = text ? caps_loss_parse(&again, text, "loss", NULL) : CAPS_OK;
        same = !text || (status == CAPS_OK && caps_loss_equal(&again, loss));
        if (status == CAPS_ERR_MEMORY) {
            free(text);
            text = NULL;
            break;
        }
    }
    json_decref(object);
    return text;
}
