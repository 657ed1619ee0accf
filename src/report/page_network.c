/* page_network.c: the page's tables of the network. */
#include <string.h>

#include "page.h"

static void put_layers(caps_textbuf *h, const caps_model_spec *spec)
{
    const char *name, *text;
    caps_textbuf_put(
        h, "<div class=\"scroll\"><table class=\"pair\"><tr><th>layer</th><th></th></tr>\n");
    for (size_t i = 0; caps_model_spec_describe(spec, i, &name, &text); i++) {
        caps_textbuf_put(h, "<tr><td>");
        caps_html_text(h, name);
        caps_textbuf_put(h, "</td><td>");
        caps_html_text(h, text);
        caps_textbuf_put(h, "</td></tr>\n");
    }
    caps_textbuf_put(h, "</table></div>\n");
}

static void put_parameters(caps_textbuf *h, const caps_gallery *g)
{
    const uint64_t all = g->info->parameters, decoder = g->info->decoder_parameters;
    caps_textbuf_put(h, "<div class=\"scroll\"><table><tr><th>parameter</th><th>shape</th>"
                        "<th class=\"n\">numbers</th></tr>\n");
    for (size_t i = 0; i < caps_model_parameter_count(g->model); i++) {
        const caps_parameter *p = caps_model_parameter(g->model, i);
        caps_textbuf_put(h, "<tr><td>");
        caps_html_text(h, p->name);
        caps_textbuf_put(h, "</td><td>");
        for (int d = 0; d < p->ndim; d++)
            caps_textbuf_put(h, "%s%zu", d ? " &times; " : "", p->shape[d]);
        caps_textbuf_put(h, "</td><td class=\"n\">%zu</td></tr>\n", p->count);
    }
    caps_textbuf_put(
        h, "<tr><th>all</th><td></td><th class=\"n\">%llu</th></tr>\n", (unsigned long long)all);
    if (decoder)
        caps_textbuf_put(h,
            "<tr><td>without the decoder</td><td></td><td class=\"n\">%llu</td></tr>\n",
            (unsigned long long)(all - decoder));
    caps_textbuf_put(h, "</table></div>\n");
}

void caps_page_put_network(caps_textbuf *h, const caps_gallery *g)
{
    caps_textbuf_put(h, "<h2>Network</h2>\n");
    put_layers(h, g->spec);
    put_parameters(h, g);
}
