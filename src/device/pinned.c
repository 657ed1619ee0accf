/* pinned.c: see pinned.h. */
#include "pinned.h"

bool caps_pinned_helps(const caps_runtime *rt)
{
    return caps_runtime_device(rt)->type == CAPS_DEVICE_GPU;
}

void *caps_pinned_take(void *user, size_t bytes)
{
    caps_pinned *p = user;
    cl_int code = CL_SUCCESS;
    p->buffer = clCreateBuffer(
        caps_runtime_context(p->rt), CL_MEM_READ_ONLY | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &code);
    if (code != CL_SUCCESS)
        p->buffer = NULL;
    else
        p->host = clEnqueueMapBuffer(caps_runtime_queue(p->rt), p->buffer, CL_TRUE,
            CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        p->host = NULL;
    if (!p->host)
        caps_pinned_give(p);
    return p->host;
}

void caps_pinned_give(void *user)
{
    caps_pinned *p = user;
    if (p->host) {
        clEnqueueUnmapMemObject(caps_runtime_queue(p->rt), p->buffer, p->host, 0, NULL, NULL);
        clFinish(caps_runtime_queue(p->rt));
    }
    if (p->buffer)
        clReleaseMemObject(p->buffer);
    p->buffer = NULL;
    p->host = NULL;
}
