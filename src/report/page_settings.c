/* report_page.c: the report's style, and its tables of settings. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

const char caps_report_style[] =
    ":root{--ground:#faf9f6;--card:#fff;--ink:#26262a;--muted:#6d6b66;--edge:#dcd9d1;"
    "--c0:#00728f;--c1:#c8641a;--c2:#187048;--good:#187048;--bad:#c42620;--code:#f1efe9}\n"
    "@media(prefers-color-scheme:dark){:root{--ground:#17171a;--card:#1f1f23;--ink:#e8e6e1;"
    "--muted:#a09d96;--edge:#3a3a40;--c0:#4db9d6;--c1:#f09a4e;--c2:#63c795;--good:#63c795;"
    "--bad:#f0716b;--code:#28282d}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--ground);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}\n"
    "h2{font-size:1.2rem;margin:44px 0 12px;border-bottom:1px solid var(--edge);"
    "padding-bottom:6px}\n"
    "h3{font-size:1rem;margin:0 0 8px}\n"
    "p{margin:6px 0;overflow-wrap:anywhere}\n"
    ".muted{color:var(--muted)}.good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".badge{display:inline-block;border-radius:99px;padding:1px 12px;font-size:.85rem;"
    "border:1px solid currentColor}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;"
    "margin:22px 0}\n"
    ".card{background:var(--card);border:1px solid var(--edge);border-radius:10px;"
    "padding:12px 16px}\n"
    ".card b{display:block;font-size:1.5rem;line-height:1.25}\n"
    ".card span{color:var(--muted);font-size:.85rem;display:block}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));"
    "gap:16px}\n"
    "figure{margin:0}\n"
    ".chart{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:12px "
    "12px 4px}\n"
    ".chart figcaption{font-size:.92rem;margin-bottom:4px}\n"
    ".chart svg{display:block;width:100%;height:auto}\n"
    ".key{white-space:nowrap;margin-left:12px;font-size:.85rem;color:var(--muted)}\n"
    ".key:before{content:\"\";display:inline-block;width:10px;height:10px;border-radius:5px;"
    "margin-right:5px;background:currentColor}\n"
    ".note{white-space:nowrap;margin-left:12px;font-size:.85rem}\n"
    ".k0:before{color:var(--c0)}.k1:before{color:var(--c1)}.k2:before{color:var(--c2)}\n"
    "svg text{font:12px system-ui,sans-serif;fill:var(--muted)}\n"
    ".grid{stroke:var(--edge);stroke-width:1}.axis{stroke:var(--muted);stroke-width:1}\n"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}\n"
    ".thin{fill:none;stroke-width:1;opacity:.45}\n"
    "path.c0{stroke:var(--c0)}path.c1{stroke:var(--c1)}path.c2{stroke:var(--c2)}\n"
    ".dot.c0{fill:var(--c0)}.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}\n"
    ".scroll{overflow-x:auto;max-width:100%}\n"
    "table{border-collapse:collapse;font-size:.92rem}\n"
    "th,td{text-align:left;padding:5px 12px;border-bottom:1px solid var(--edge);"
    "vertical-align:middle}\n"
    "th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    ".pair td:first-child{color:var(--muted);white-space:nowrap}\n"
    ".pair td{overflow-wrap:anywhere}\n"
    ".matrix td,.matrix th{padding:4px 7px;text-align:right;border:1px solid var(--ground);"
    "font-variant-numeric:tabular-nums;min-width:50px;max-width:9em;overflow:hidden;"
    "text-overflow:ellipsis;white-space:nowrap}\n"
    ".matrix td.zero{color:var(--edge)}\n"
    ".sheet{margin:22px 0}.sheet img{display:block;max-width:100%;height:auto;border-radius:8px;"
    "border:1px solid var(--edge)}\n"
    ".mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:12px}\n"
    ".mistake{display:flex;gap:10px;align-items:center;font-size:.9rem;line-height:1.35;"
    "min-width:0;background:var(--card);border:1px solid "
    "var(--edge);border-radius:8px;padding:8px}\n"
    ".mistake div{min-width:0;overflow-wrap:anywhere}\n"
    ".small{flex:none;image-rendering:pixelated;display:block;background:#000;border-radius:3px}\n"
    "pre{background:var(--code);border-radius:8px;padding:12px 14px;overflow-x:auto;"
    "font:13.5px/1.5 ui-monospace,Consolas,monospace;margin:8px 0}\n"
    ".columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));"
    "gap:28px}\n"
    ".columns div{min-width:0}\n"
    "summary{cursor:pointer;color:var(--muted)}\n"
    "@media(max-width:700px){.sheet img{max-width:none}main{padding:20px 14px 40px}}\n";

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

static void put_value(caps_html *h, const json_t *value)
{
    if (json_is_string(value) && json_string_length(value))
        caps_html_text(h, json_string_value(value));
    else if (json_is_integer(value))
        caps_html_put(h, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        caps_html_put(h, "%.10g", json_real_value(value));
    else if (json_is_boolean(value))
        caps_html_put(h, json_is_true(value) ? "yes" : "no");
    else
        caps_html_put(h, "<span class=\"muted\">none</span>");
}

/* With as few digits as give the same float again. */
static void put_number(caps_html *h, const char *name, double value)
{
    char text[40];
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(fabsf(strtof(text, NULL) - (float)value) > 0))
            break;
    }
    caps_html_put(h, "<tr><td>%s</td><td>%s</td></tr>\n", name, text);
}

/* What the loss is made of; a run of before the profiles has the default. */
static void put_loss(caps_html *h, const caps_train_config *config)
{
    const caps_loss *loss = &config->loss;
    if (strcmp(config->spec.kind, "cnn") == 0) {
        caps_html_put(h, "<tr><td>loss</td><td>cross entropy</td></tr>\n");
        return;
    }
    put_number(h, "margin_positive", (double)loss->margin.positive);
    put_number(h, "margin_negative", (double)loss->margin.negative);
    put_number(h, "margin_down", (double)loss->margin.down);
    put_number(h, "margin_scale", loss->margin_scale);
    if (config->spec.has_decoder)
        put_number(h, "reconstruction_weight", loss->reconstruction_weight);
}

/* config: NULL, or its loss is among the rows. */
static void put_pairs(
    caps_html *h, const json_t *object, bool device, const caps_train_config *config)
{
    const char *key;
    json_t *value;
    caps_html_put(h, "<div class=\"scroll\"><table class=\"pair\">\n");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_object(value) || json_is_array(value) || is_of_device(key) != device)
            continue;
        caps_html_put(h, "<tr><td>");
        caps_html_text(h, key);
        caps_html_put(h, "</td><td>");
        put_value(h, value);
        caps_html_put(h, "</td></tr>\n");
    }
    if (config)
        put_loss(h, config);
    caps_html_put(h, "</table></div>\n");
}

static void put_details(caps_html *h, const json_t *value, const char *summary)
{
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : NULL;
    if (!text)
        return;
    caps_html_put(h, "<details><summary>%s</summary><pre>", summary);
    caps_html_text(h, text);
    caps_html_put(h, "</pre></details>\n");
    free(text);
}

void caps_report_settings(caps_html *h, const caps_run *run)
{
    char *command = caps_run_command(run);
    caps_html_put(h, "<h2>How to repeat it</h2>\n<pre>");
    caps_html_text(h, command ? command : "");
    caps_html_put(h, "</pre>\n");
    free(command);
    if (run->config.conv[0]) {
        caps_html_put(h, "<p class=\"muted\">To the same bits on the same device, also where the "
                         "choice of algorithms would now be another, with <code>--conv ");
        caps_html_text(h, run->config.conv);
        caps_html_put(h, "</code>");
        if (run->config.routing[0]) {
            caps_html_put(h, " and <code>CAPSCL_ROUTING=");
            caps_html_text(h, run->config.routing);
            caps_html_put(h, "</code>");
        }
        caps_html_put(h, ".</p>\n");
    }
    caps_html_put(h, "<div class=\"columns\">\n<div><h2>Settings</h2>\n");
    put_pairs(h, run->json, false, &run->config);
    caps_html_put(h, "</div>\n<div><h2>Device</h2>\n");
    put_pairs(h, run->json, true, NULL);
    put_details(h, json_object_get(run->json, "gemm"), "algorithms of the matrix products");
    put_details(h, json_object_get(run->json, "spec"), "the network's spec");
    caps_html_put(h, "</div>\n</div>\n");
}
