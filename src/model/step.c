/* step.c: see step.h; and what of a model is not finite. */
#include "step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_state.h"

#include "fail.h"
#include "launch.h"
#include "not_finite.h"
#include "trace.h"

/* ---- tensors that are checked --------------------------------------------------------------- */

static bool is_planned(const caps_model *m, const caps_layer *layer)
{
    return !layer->decodes || caps_model_reconstructs(m);
}

static void put(caps_checked_tensor *rows, size_t *n, caps_checked_tensor row)
{
    if (rows)
        rows[*n] = row;
    ++*n;
}

/* What a layer's forward leaves: of its iterations, then the outputs. */
static void list_forward(const caps_layer *layer, caps_checked_tensor *rows, size_t *n)
{
    const caps_tensor *t;
    for (size_t i = 0; layer->kind->round && (t = layer->kind->round(layer, NULL, i, NULL)); i++)
        put(rows, n, (caps_checked_tensor){t, "", layer->name, true, layer, i});
    for (size_t v = 0; v < layer->output_count; v++)
        put(rows, n,
            (caps_checked_tensor){&layer->outputs[v].y, "", layer->name, .per_image = true});
}

/* Values that the forward leaves, then gradients in the order in which they are computed, then the
 * parameters. `tensor` is where they will be. rows NULL: they are counted. */
static size_t list_checked(const caps_model *m, caps_checked_tensor *rows)
{
    const caps_network *network = &m->network;
    size_t n = 0;
    for (size_t l = 0; l < network->layer_count; l++)
        if (is_planned(m, network->layers[l]))
            list_forward(network->layers[l], rows, &n);
    for (size_t l = network->layer_count; m->options.training && l-- > 0;) {
        const caps_layer *layer = network->layers[l];
        for (size_t p = 0; p < layer->parameter_count; p++)
            if (!layer->parameters[p].statistic)
                put(rows, &n,
                    (caps_checked_tensor){&layer->parameters[p].parameter.gradient, "gradient of ",
                        layer->parameters[p].name, .per_image = false});
    }
    for (size_t p = 0; p < network->parameter_count; p++)
        put(rows, &n,
            (caps_checked_tensor){&network->parameters[p].parameter.value, "",
                network->parameters[p].name, .per_image = false});
    return n;
}

/* The record, and behind it the scores of `batch` images. */
static size_t left_count(const caps_model *m, size_t batch)
{
    return CAPS_SCORES_AT + batch * caps_model_get_info(m)->classes;
}

caps_status caps_checks_plan(caps_model *m, size_t batch, caps_error *err)
{
    const size_t left = left_count(m, batch);
    caps_status status;
    m->checked_count = list_checked(m, NULL);
    CAPS_TRY(caps_arena_add(m->arena, &m->check_table, CAPS_PURPOSE_WORKSPACE, CAPS_I32, 2,
        (size_t[]){m->checked_count, CAPS_NOT_FINITE_ROW}, err));
    CAPS_TRY(caps_arena_add(m->arena, &m->left, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, 1, &left, err));
done:
    return status;
}

/* Views of what steps leave. */
static void bind_left(caps_model *m)
{
    const cl_mem buffer = m->left.buffer;
    const size_t at = m->left.offset;
    m->record = caps_tensor_wrap(buffer, at, CAPS_I32, 1, (size_t[]){CAPS_NOT_FINITE_RECORD});
    m->totals = caps_tensor_wrap(buffer, at, CAPS_F32, 1, (size_t[]){3});
    m->flag = caps_tensor_wrap(buffer, at + 3, CAPS_I32, 1, (size_t[]){1});
    ((caps_classifier *)m->network.class_head)->scores = caps_tensor_wrap(buffer,
        at + CAPS_SCORES_AT, CAPS_F32, 2, (size_t[]){m->micro, caps_model_get_info(m)->classes});
}

static caps_not_finite_row row_of(const caps_model *m, const caps_checked_tensor *checked)
{
    caps_not_finite_row row = {.offset = checked->tensor->offset,
        .count = caps_tensor_count(checked->tensor) / (checked->per_image ? m->micro : 1),
        .images = checked->per_image};
    if (checked->layer)
        checked->layer->kind->round(checked->layer, m->rt, checked->iteration, &row);
    return row;
}

/* The table, on the device. */
static caps_status table_upload(caps_model *m, caps_error *err)
{
    int32_t(*table)[CAPS_NOT_FINITE_ROW] = calloc(m->checked_count, sizeof *table);
    m->checked = calloc(m->checked_count, sizeof *m->checked);
    m->check_buffers = calloc(m->checked_count, sizeof *m->check_buffers);
    if (!table || !m->checked || !m->check_buffers) {
        free(table);
        return caps_fail(
            err, CAPS_ERR_MEMORY, "model: out of memory for %zu names of layers", m->checked_count);
    }
    list_checked(m, m->checked);
    m->check_buffer_count = 0;
    for (size_t i = 0; i < m->checked_count; i++) {
        const caps_tensor *t = m->checked[i].tensor;
        uint32_t buffer = 0;
        while (buffer < m->check_buffer_count && m->check_buffers[buffer] != t->buffer)
            buffer++;
        if (buffer == m->check_buffer_count)
            m->check_buffers[m->check_buffer_count++] = t->buffer;
        caps_not_finite_row row = row_of(m, &m->checked[i]);
        row.buffer = buffer;
        caps_not_finite_pack(table[i], &row);
    }
    const caps_status status = caps_tensor_upload(m->rt, &m->check_table, table, err);
    free(table);
    return status;
}

caps_status caps_checks_init(caps_model *m, caps_error *err)
{
    bind_left(m);
    const size_t left = left_count(m, m->micro);
    for (size_t i = 0; i < CAPS_STEPS_AT_ONCE; i++)
        if (!(m->readings[i].words = malloc(left * sizeof(int32_t))))
            return caps_fail(err, CAPS_ERR_MEMORY, "model: out of memory for %zu scores", left);
    caps_status status = caps_tensor_zero(m->rt, &m->left, err);
    return status == CAPS_OK ? table_upload(m, err) : status;
}

caps_status caps_record_settle(caps_model *m, caps_error *err)
{
    if (!m->fresh)
        return CAPS_OK;
    m->fresh = false;
    return caps_tensor_zero(m->rt, &m->record, err);
}

/* Ranks of a micro-batch's tensors. */
static uint32_t ranks_of(const caps_model *m)
{
    return (uint32_t)m->checked_count + 1;
}

static caps_status enqueue_check(caps_model *m, bool always, caps_error *err)
{
    caps_status status = caps_record_settle(m, err);
    /* What an earlier micro-batch found stands above whatever a later one finds. */
    const uint32_t most = INT32_MAX / ranks_of(m); /* named one by one; the rest count as one */
    const uint32_t part = m->part < most ? (uint32_t)m->part : most - 1;
    const uint32_t rank = (most - part) * ranks_of(m);
    for (uint32_t b = 0; b < m->check_buffer_count && status == CAPS_OK; b++)
        status = caps_not_finite(
            m->rt, &m->record, &m->check_table, m->check_buffers[b], b, m->b, rank, always, err);
    return status;
}

caps_status caps_checks_between(caps_model *m, caps_error *err)
{
    return enqueue_check(m, false, err);
}

/* What record[4] says. */
static void name_of(const caps_model *m, int32_t found, char *name, size_t bytes)
{
    if (found <= 0) {
        snprintf(name, bytes, "nothing");
        return;
    }
    const uint32_t ranks = ranks_of(m);
    const caps_checked_tensor *row = &m->checked[(ranks - (uint32_t)found % ranks) % ranks];
    if (row->layer)
        snprintf(name, bytes, "iteration %zu of %s", row->iteration + 1, row->name);
    else
        snprintf(name, bytes, "%s%s", row->before, row->name);
}

caps_status caps_model_first_not_finite(caps_model *m, char *name, size_t bytes, caps_error *err)
{
    const caps_tensor found =
        caps_tensor_wrap(m->record.buffer, m->record.offset + 4, CAPS_I32, 1, (size_t[]){1});
    int32_t value = 0;
    caps_status status;
    snprintf(name, bytes, "nothing");
    CAPS_TRY(caps_record_settle(m, err));
    CAPS_TRY(caps_tensor_zero(m->rt, &found, err));
    CAPS_TRY(enqueue_check(m, true, err));
    CAPS_TRY(caps_tensor_download(m->rt, &found, &value, err));
    name_of(m, value, name, bytes);
done:
    return status;
}

caps_status caps_model_check_finite(caps_model *m, bool *finite, caps_error *err)
{
    int32_t flag = 0;
    caps_status status;
    CAPS_TRY(caps_record_settle(m, err));
    CAPS_TRY(caps_tensor_download(m->rt, &m->flag, &flag, err));
    *finite = flag == 0;
    if (flag)
        CAPS_TRY(caps_tensor_zero(m->rt, &m->flag, err));
done:
    return status;
}

caps_status caps_model_enqueue_batch(caps_model *m, const caps_images *images, caps_error *err)
{
    caps_trace_begin(m->rt, "put batch");
    caps_status status = caps_model_put(m, images, false, err);
    caps_trace_end(m->rt);
    return status;
}

/* ---- steps ---------------------------------------------------------------------------------- */

caps_status caps_model_read(
    caps_model *m, const caps_tensor *t, void *host, cl_event *event, caps_error *err)
{
    cl_event own = NULL, *traced = caps_trace_request(m->rt, &own);
    cl_event *wanted = event ? event : traced;
    cl_int code = clEnqueueReadBuffer(caps_runtime_queue(m->rt), t->buffer, CL_FALSE,
        t->offset * sizeof(int32_t), caps_tensor_bytes(t), host, 0, NULL, wanted);
    if (traced && code == CL_SUCCESS)
        caps_trace_book(m->rt, "download", caps_tensor_bytes(t), *wanted);
    if (own)
        clReleaseEvent(own);
    return code == CL_SUCCESS
               ? CAPS_OK
               : caps_fail_cl(err, code, "reading of %zu bytes", caps_tensor_bytes(t));
}

/* The first totals of the step write the record, where others add to it. */
void caps_step_begin(caps_model *m)
{
    m->fresh = true;
}

caps_status caps_step_end(caps_model *m, size_t slot, caps_error *err)
{
    caps_reading *reading = &m->readings[slot];
    caps_tensor left = m->left;
    caps_status status;
    reading->scored = m->forwarded ? m->b : 0;
    left.shape[0] = left_count(m, reading->scored);
    CAPS_TRY(enqueue_check(m, false, err));
    CAPS_TRY(caps_model_read(m, &left, reading->words, &reading->event, err));
    cl_int code = clFlush(caps_runtime_queue(m->rt));
    if (code != CL_SUCCESS)
        status = caps_fail_cl(err, code, "flushing the queue");
done:
    return status;
}

caps_status caps_step_wait(caps_model *m, size_t slot, caps_step_report *report, caps_error *err)
{
    caps_reading *reading = &m->readings[slot];
    float sums[3];
    caps_trace_begin(m->rt, "wait for a step");
    cl_int code = clWaitForEvents(1, &reading->event);
    caps_trace_end(m->rt);
    clReleaseEvent(reading->event);
    reading->event = NULL;
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "waiting for a training step");
    memcpy(sums, reading->words, sizeof sums);
    report->scores = (const float *)(reading->words + CAPS_SCORES_AT);
    report->scored = reading->scored;
    report->totals = (caps_model_totals){(double)sums[0], (double)sums[1], (double)sums[2]};
    report->finite = reading->words[3] == 0 && isfinite(sums[0]) && isfinite(sums[1]);
    name_of(m, reading->words[4], report->where, sizeof report->where);
    /* Every value is finite, but not their sum. */
    if (!report->finite && reading->words[4] == 0)
        snprintf(report->where, sizeof report->where, "the loss");
    return CAPS_OK;
}

void caps_readings_release(caps_model *m)
{
    for (size_t i = 0; i < CAPS_STEPS_AT_ONCE; i++) {
        cl_event event = m->readings[i].event;
        if (event) {
            /* The driver still writes into the model. */
            clWaitForEvents(1, &event);
            clReleaseEvent(event);
        }
        free(m->readings[i].words);
        m->readings[i] = (caps_reading){0};
    }
}
