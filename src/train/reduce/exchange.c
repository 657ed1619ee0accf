/* exchange.c: see exchange.h. */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "step.h"

static caps_status exchange_failed(cl_int code, const char *what, caps_error *err)
{
    return caps_fail_cl(err, code, "%s the gradients", what);
}

/* Host memory for the copies. */
static caps_status exchange_make_copy(caps_exchange *x, caps_error *err)
{
    const size_t bytes = caps_tensor_bytes(&x->gradients);
    x->pinned = (caps_pinned){.rt = caps_model_get_runtime(x->model)};
    x->host = caps_pinned_take(&x->pinned, bytes);
    if (!x->host)
        x->host = x->copy = malloc(bytes);
    return x->host
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu bytes of gradients", bytes);
}

/* Elements of the first layer that has some, which the backward pass comes to last: where they fit
 * into a piece they are one, so that all others are away before. */
static size_t last_piece(const caps_model *model, size_t elements, size_t piece)
{
    const caps_parameter *p = caps_model_parameter(model, 0);
    const size_t name = strcspn(p->name, ".");
    for (size_t i = 1; i < caps_model_parameter_count(model); i++) {
        const caps_parameter *q = caps_model_parameter(model, i);
        if (!caps_model_is_statistic(model, i) &&
            (strncmp(p->name, q->name, name) != 0 || q->name[name] != '.'))
            return q->first <= piece ? q->first : piece;
    }
    return elements < piece ? elements : piece;
}

caps_status caps_exchange_init(caps_exchange *x, caps_model *model, size_t piece, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(model);
    const size_t elements = caps_model_trained_count(model);
    caps_status status = CAPS_OK;
    cl_int code = CL_SUCCESS;
    if (piece == 0)
        piece = CAPS_PIECE;
    const size_t last = last_piece(model, elements, piece);
    *x = (caps_exchange){.model = model,
        .gradients = caps_model_flat_gradients(model),
        .parameters = caps_model_flat_trained(model),
        .mapped = caps_runtime_device(rt)->shares_host_memory,
        .count = 1 + (elements - last + piece - 1) / piece};
    x->pieces = calloc(x->count, sizeof *x->pieces);
    if (!x->pieces)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the pieces of gradients"));
    if (!x->mapped)
        CAPS_TRY(exchange_make_copy(x, err));
    for (size_t i = 0; i < x->count; i++) {
        caps_piece *p = &x->pieces[i];
        const size_t end = i == 0 ? elements : x->pieces[i - 1].first;
        p->first = i + 1 == x->count ? 0 : last + (x->count - 2 - i) * piece;
        p->count = end - p->first;
        p->host = x->host ? x->host + p->first : NULL;
    }
    x->transfers =
        clCreateCommandQueue(caps_runtime_context(rt), caps_runtime_device(rt)->handle, 0, &code);
    if (code != CL_SUCCESS) {
        x->transfers = NULL;
        status = exchange_failed(code, "making a queue for", err);
    }
done:
    if (status != CAPS_OK)
        caps_exchange_release(x);
    return status;
}

static void event_release(cl_event *event)
{
    if (*event)
        clReleaseEvent(*event);
    *event = NULL;
}

static void piece_forget(const caps_exchange *x, caps_piece *p)
{
    event_release(&p->arrived);
    event_release(&p->given);
    event_release(&p->shown);
    event_release(&p->hidden);
    p->values = NULL;
    if (x->mapped)
        p->host = NULL;
}

void caps_exchange_drop(caps_exchange *x)
{
    for (size_t i = 0; i < x->taken; i++) {
        caps_piece *p = &x->pieces[i];
        if (p->arrived && !p->given) {
            clWaitForEvents(1, &p->arrived);
            if (x->mapped && p->host)
                clEnqueueUnmapMemObject(x->transfers, x->gradients.buffer, p->host, 0, NULL, NULL);
        }
        if (p->shown && !p->hidden) {
            clWaitForEvents(1, &p->shown);
            clEnqueueUnmapMemObject(x->transfers, x->parameters.buffer, p->values, 0, NULL, NULL);
        }
        piece_forget(x, p);
    }
    x->taken = 0;
    if (x->transfers)
        clFinish(x->transfers);
}

void caps_exchange_release(caps_exchange *x)
{
    if (x->pieces)
        caps_exchange_drop(x);
    if (x->transfers)
        clReleaseCommandQueue(x->transfers);
    caps_pinned_give(&x->pinned);
    free(x->copy);
    free(x->pieces);
    *x = (caps_exchange){0};
}

static caps_status piece_take(caps_exchange *x, caps_piece *p, cl_event ready, caps_error *err)
{
    const size_t at = (x->gradients.offset + p->first) * sizeof(float);
    const size_t bytes = p->count * sizeof(float);
    cl_int code = CL_SUCCESS;
    if (x->mapped)
        p->host = clEnqueueMapBuffer(x->transfers, x->gradients.buffer, CL_FALSE,
            CL_MAP_READ | CL_MAP_WRITE, at, bytes, 1, &ready, &p->arrived, &code);
    else
        code = clEnqueueReadBuffer(x->transfers, x->gradients.buffer, CL_FALSE, at, bytes, p->host,
            1, &ready, &p->arrived);
    if (code == CL_SUCCESS)
        return CAPS_OK;
    p->arrived = NULL;
    return exchange_failed(code, "reading", err);
}

caps_status caps_exchange_take(caps_exchange *x, size_t first, caps_error *err)
{
    cl_command_queue compute = caps_runtime_queue(caps_model_get_runtime(x->model));
    caps_status status = CAPS_OK;
    cl_event ready = NULL;
    if (x->taken == x->count || x->pieces[x->taken].first < first)
        return CAPS_OK;
    cl_int code = clEnqueueMarkerWithWaitList(compute, 0, NULL, &ready);
    if (code == CL_SUCCESS)
        code = clFlush(compute);
    if (code != CL_SUCCESS) {
        status = exchange_failed(code, "waiting for", err);
        goto done;
    }
    while (x->taken < x->count && x->pieces[x->taken].first >= first) {
        CAPS_TRY(piece_take(x, &x->pieces[x->taken], ready, err));
        x->taken++;
    }
    code = clFlush(x->transfers);
    if (code != CL_SUCCESS)
        status = exchange_failed(code, "reading", err);
done:
    event_release(&ready);
    return status;
}

caps_status caps_exchange_wait(caps_exchange *x, size_t i, caps_error *err)
{
    const cl_int code = clWaitForEvents(1, &x->pieces[i].arrived);
    return code == CL_SUCCESS ? CAPS_OK : exchange_failed(code, "waiting for", err);
}

caps_status caps_exchange_give(caps_exchange *x, size_t i, caps_error *err)
{
    caps_piece *p = &x->pieces[i];
    const size_t at = (x->gradients.offset + p->first) * sizeof(float);
    const cl_int code = x->mapped
                            ? clEnqueueUnmapMemObject(
                                  x->transfers, x->gradients.buffer, p->host, 0, NULL, &p->given)
                            : clEnqueueWriteBuffer(x->transfers, x->gradients.buffer, CL_FALSE, at,
                                  p->count * sizeof(float), p->host, 0, NULL, &p->given);
    if (code == CL_SUCCESS)
        return CAPS_OK;
    p->given = NULL;
    return exchange_failed(code, "writing", err);
}

/* The transfers' queue is in order: the last piece is the last to be back. */
static caps_status exchange_end(caps_exchange *x, cl_event last, caps_error *err)
{
    cl_command_queue compute = caps_runtime_queue(caps_model_get_runtime(x->model));
    cl_int code = clFlush(x->transfers);
    if (code == CL_SUCCESS)
        code = clEnqueueBarrierWithWaitList(compute, 1, &last, NULL);
    for (size_t i = 0; i < x->count; i++)
        piece_forget(x, &x->pieces[i]);
    x->taken = 0;
    return code == CL_SUCCESS ? CAPS_OK : exchange_failed(code, "waiting for", err);
}

caps_status caps_exchange_end(caps_exchange *x, caps_error *err)
{
    return exchange_end(x, x->pieces[x->count - 1].given, err);
}

/* ---- parameters ----------------------------------------------------------------------------- */

caps_status caps_exchange_join(caps_exchange *x, size_t i, caps_error *err)
{
    cl_command_queue compute = caps_runtime_queue(caps_model_get_runtime(x->model));
    cl_int code = clFlush(x->transfers);
    if (code == CL_SUCCESS)
        code = clEnqueueBarrierWithWaitList(compute, 1, &x->pieces[i].given, NULL);
    return code == CL_SUCCESS ? CAPS_OK : exchange_failed(code, "waiting for", err);
}

caps_status caps_exchange_show(caps_exchange *x, size_t i, caps_error *err)
{
    cl_command_queue compute = caps_runtime_queue(caps_model_get_runtime(x->model));
    caps_piece *p = &x->pieces[i];
    const size_t at = (x->parameters.offset + p->first) * sizeof(float);
    cl_event ready = NULL;
    cl_int code = clEnqueueMarkerWithWaitList(compute, 0, NULL, &ready);
    if (code == CL_SUCCESS)
        code = clFlush(compute);
    if (code == CL_SUCCESS)
        p->values = clEnqueueMapBuffer(x->transfers, x->parameters.buffer, CL_FALSE,
            CL_MAP_READ | CL_MAP_WRITE, at, p->count * sizeof(float), 1, &ready, &p->shown, &code);
    if (code != CL_SUCCESS)
        p->shown = NULL;
    if (code == CL_SUCCESS)
        code = clFlush(x->transfers);
    event_release(&ready);
    return code == CL_SUCCESS ? CAPS_OK : exchange_failed(code, "applying", err);
}

caps_status caps_exchange_look(caps_exchange *x, size_t i, caps_error *err)
{
    const cl_int code = clWaitForEvents(1, &x->pieces[i].shown);
    return code == CL_SUCCESS ? CAPS_OK : exchange_failed(code, "applying", err);
}

caps_status caps_exchange_hide(caps_exchange *x, caps_error *err)
{
    for (size_t i = 0; i < x->count; i++) {
        caps_piece *p = &x->pieces[i];
        const cl_int code = clEnqueueUnmapMemObject(
            x->transfers, x->parameters.buffer, p->values, 0, NULL, &p->hidden);
        if (code != CL_SUCCESS) {
            p->hidden = NULL;
            return exchange_failed(code, "applying", err);
        }
    }
    return exchange_end(x, x->pieces[x->count - 1].hidden, err);
}
