/* page_settings.c: how to repeat the run, and its tables of settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "page.h"

/* What describes the machine and not the training. */
static const char *const of_device[] = {"capscl_version", "device", "device_id", "device_type",
    "device_version", "driver_version", "platform", "vendor", "kernels", NULL};

static bool is_of_device(const char *key)
{
    for (size_t i = 0; of_device[i]; i++)
        if (strcmp(of_device[i], key) == 0)
            return true;
    return false;
}

static void put_value(caps_textbuf *h, const json_t *value)
{
    if (json_is_string(value) && json_string_length(value))
        caps_html_text(h, json_string_value(value));
    else if (json_is_integer(value))
        caps_textbuf_put(h, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        caps_textbuf_put(h, "%.10g", json_real_value(value));
    else if (json_is_boolean(value))
        caps_textbuf_put(h, json_is_true(value) ? "yes" : "no");
    else
        caps_textbuf_put(h, "<span class=\"muted\">none</span>");
}

static void put_number(caps_textbuf *h, const char *name, double value)
{
    caps_textbuf_put(h, "<tr><td>%s</td><td>", name);
    caps_textbuf_put_float(h, value);
    caps_textbuf_put(h, "</td></tr>\n");
}

/* What the loss is made of; runs from before there were profiles have the default. */
static void put_loss(caps_textbuf *h, const caps_train_config *config, const caps_model_info *info)
{
    const caps_loss *loss = &config->loss;
    const char *name = caps_loss_name(config->spec, loss);
    if (info->matrix || strcmp(name, "margin loss") != 0)
        caps_textbuf_put(h, "<tr><td>loss</td><td>%s</td></tr>\n", name);
    if (strcmp(name, "spread loss") == 0)
        put_number(h, "spread_margin", (double)loss->spread_margin);
    if (strcmp(name, "margin loss") == 0) {
        put_number(h, "margin_positive", (double)loss->margin.positive);
        put_number(h, "margin_negative", (double)loss->margin.negative);
        put_number(h, "margin_down", (double)loss->margin.down);
        put_number(h, "margin_scale", loss->margin_scale);
    }
    if (info->has_decoder)
        put_number(h, "reconstruction_weight", loss->reconstruction_weight);
}

/* The settings of the device, or the others. */
static void put_rows(caps_textbuf *h, const json_t *object, bool device)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_object(value) || json_is_array(value) || is_of_device(key) != device)
            continue;
        caps_textbuf_put(h, "<tr><td>");
        caps_html_text(h, key);
        caps_textbuf_put(h, "</td><td>");
        put_value(h, value);
        caps_textbuf_put(h, "</td></tr>\n");
    }
}

static void put_details(caps_textbuf *h, const json_t *value, const char *summary)
{
    if (!value)
        return;
    char *text = caps_json_format(value, 2, 10);
    if (!text) {
        h->out_of_memory = true;
        return;
    }
    caps_textbuf_put(h, "<details><summary>%s</summary><pre>", summary);
    caps_html_text(h, text);
    caps_textbuf_put(h, "</pre></details>\n");
    free(text);
}

/* The command, and what else the same bits need. */
static void put_command(caps_textbuf *h, const caps_run_record *run)
{
    char *command = caps_repeat_command(run);
    if (!command) {
        h->out_of_memory = true;
        return;
    }
    caps_textbuf_put(h, "<h2>How to repeat it</h2>\n<pre>");
    caps_html_text(h, command);
    caps_textbuf_put(h, "</pre>\n");
    free(command);
    if (!run->config.conv[0])
        return;
    caps_textbuf_put(h, "<p class=\"muted\">To the same bits on the same device, also where the "
                        "choice of algorithms would now be another, with <code>--conv ");
    caps_html_text(h, run->config.conv);
    caps_textbuf_put(h, "</code>");
    if (run->config.routing[0]) {
        caps_textbuf_put(h, " and <code>CAPSCL_ROUTING=");
        caps_html_text(h, run->config.routing);
        caps_textbuf_put(h, "</code>");
    }
    caps_textbuf_put(h, ".</p>\n");
}

void caps_page_put_settings(
    caps_textbuf *h, const caps_run_record *run, const caps_model_info *info)
{
    static const char table[] = "<div class=\"scroll\"><table class=\"pair\">\n";
    put_command(h, run);
    caps_textbuf_put(h, "<div class=\"columns\">\n<div><h2>Settings</h2>\n%s", table);
    put_rows(h, run->json, false);
    put_loss(h, &run->config, info);
    caps_textbuf_put(h, "</table></div>\n</div>\n<div><h2>Device</h2>\n%s", table);
    put_rows(h, run->json, true);
    caps_textbuf_put(h, "</table></div>\n");
    put_details(h, json_object_get(run->json, "gemm"), "algorithms of the matrix products");
    put_details(h, json_object_get(run->json, "spec"), "the network's spec");
    caps_textbuf_put(h, "</div>\n</div>\n");
}
