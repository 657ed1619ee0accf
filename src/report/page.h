/* page.h: the page about a run, RUN/report.html: one file with all it needs. */
#ifndef CAPS_PAGE_H
#define CAPS_PAGE_H

#include "gallery.h"
#include "html.h"
#include "run_record.h"
#include "words.h"

/* The whole page. The gallery has the run's checkpoint and images, and is evaluated.
 * CAPS_ERR_MEMORY, and the errors of the figures. */
caps_status caps_page_put(
    caps_textbuf *h, const caps_run_record *run, caps_gallery *g, caps_error *err);

/* ---- its parts ------------------------------------------------------------------------------ */

extern const char caps_page_style[];

/* Figures with inline SVG: loss, error, reconstruction or learning rate, throughput. */
void caps_page_put_curves(caps_textbuf *h, const caps_run_record *run, bool decoder);
/* Of several devices: what each did by epoch, as a figure and a table; of one nothing. */
void caps_page_put_devices(caps_textbuf *h, const caps_run_record *run);
/* Errors: of the evaluation, and as logged. */
void caps_page_put_results(caps_textbuf *h, const caps_run_record *run, const caps_gallery *g);
/* The confusion matrix as a table. */
void caps_page_put_matrix(caps_textbuf *h, const caps_gallery *g);
/* The worst mistakes as small images. */
caps_status caps_page_put_mistakes(caps_textbuf *h, const caps_gallery *g, caps_error *err);
/* Tables: layers and parameters of the network. */
void caps_page_put_network(caps_textbuf *h, const caps_gallery *g);
/* The command that repeats the run; tables of settings and of the device. */
void caps_page_put_settings(
    caps_textbuf *h, const caps_run_record *run, const caps_model_info *info);

#endif
