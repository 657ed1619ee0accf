// depthwise_cpu.cl: convolution of every channel by a kernel of its own.
//
//     y[b,c,oy,ox]  = bias[c] + sum_ky,kx w[c,0,ky,kx] x[b,c, oy stride + ky, ox stride + kx]
//     dx[b,c,y,x]   = sum of w[c,0,ky,kx] dy[b,c,oy,ox] where oy stride + ky = y, ox stride + kx = x
//     dw[c,0,ky,kx] = sum_b,oy,ox dy[b,c,oy,ox] x[b,c, oy stride + ky, ox stride + kx]
//     dbias[c]      = sum_b,oy,ox dy[b,c,oy,ox]
//
// Shapes: x, dx [B,C,H,W]; y, dy [B,C,OH,OW]; w, dw [C,1,k,k]; bias, dbias [C].
// Work-items: DEPTHWISE_RUN channels of an image; of dw and dbias a channel.
// Numerics: dw and dbias are sums of an image, then of images.
// Determinism: fixed order, one work-item per sum.

#ifndef DEPTHWISE_RUN
#define DEPTHWISE_RUN 16 // channels, so that an item takes longer than it takes to begin
#endif

CPU_KERNEL void depthwise_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint channels, const uint height, const uint width,
    const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const uint first = (uint)get_global_id(0) * DEPTHWISE_RUN;
    const uint end = first + min((uint)DEPTHWISE_RUN, channels - first);
    const ulong plane = get_global_id(1) * channels + first;
    x += x_at + plane * height * width;
    y += y_at + plane * out_height * out_width;
    w += w_at + (ulong)first * k * k;
    CAPS_LOOP for (uint c = first; c < end; c++)
    {
        CAPS_LOOP for (uint o = 0; o < out_height * out_width; o++)
        {
            const uint oy = o / out_width, ox = o % out_width;
            __global const float *corner = x + (ulong)oy * stride * width + ox * stride;
            float sum = bias[bias_at + c];
            CAPS_LOOP for (uint ky = 0; ky < k; ky++) sum +=
                caps_dot(corner + (ulong)ky * width, w + ky * k, k);
            y[o] = sum;
        }
        x += (ulong)height * width;
        y += (ulong)out_height * out_width;
        w += k * k;
    }
}

CPU_KERNEL void depthwise_dx(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *w, const ulong w_at, const uint channels,
    const uint height, const uint width, const uint out_height, const uint out_width, const uint k,
    const uint stride)
{
    const uint first = (uint)get_global_id(0) * DEPTHWISE_RUN;
    const uint end = first + min((uint)DEPTHWISE_RUN, channels - first);
    const ulong plane = get_global_id(1) * channels + first;
    dx += dx_at + plane * height * width;
    dy += dy_at + plane * out_height * out_width;
    w += w_at + (ulong)first * k * k;
    CAPS_LOOP for (uint c = first; c < end; c++)
    {
        // A kernel of the channel's size covers it once.
        const uint once = out_height * out_width == 1 && height == k && width == k;
        CAPS_LOOP for (uint e = 0; once && e < k * k; e += 16) caps_store16(
            fma((float16)(dy[0]), caps_load16(w + e, k * k - e, 0.0f), (float16)(0.0f)), dx + e,
            k * k - e);
        CAPS_LOOP for (ulong i = 0; !once && i < (ulong)height * width; i++) dx[i] = 0.0f;
        CAPS_LOOP for (uint o = 0; !once && o < out_height * out_width; o++)
        {
            const uint oy = o / out_width, ox = o % out_width;
            __global float *corner = dx + (ulong)oy * stride * width + ox * stride;
            CAPS_LOOP for (uint ky = 0; ky < k; ky++) CAPS_LOOP for (uint kx = 0; kx < k; kx++)
            {
                __global float *to = corner + (ulong)ky * width + kx;
                *to = fma(dy[o], w[ky * k + kx], *to);
            }
        }
        dx += (ulong)height * width;
        dy += (ulong)out_height * out_width;
        w += k * k;
    }
}

// The sum over one image's places of dy x for one tap.
static float depthwise_tap(__global const float *dy, __global const float *x, const uint width,
    const uint out_height, const uint out_width, const uint stride)
{
    float sum = 0.0f;
    CAPS_LOOP for (uint oy = 0; oy < out_height; oy++)
    {
        float row = 0.0f;
        CAPS_LOOP for (uint ox = 0; ox < out_width; ox++) row = fma(dy[ox], x[ox * stride], row);
        sum += row;
        dy += out_width;
        x += (ulong)stride * width;
    }
    return sum;
}

CPU_KERNEL void depthwise_dw(__global float *dw, const ulong dw_at, __global float *dbias,
    const ulong dbias_at, __global const float *dy, const ulong dy_at, __global const float *x,
    const ulong x_at, const uint count, const uint channels, const uint height, const uint width,
    const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const ulong c = get_global_id(0), places = (ulong)out_height * out_width;
    float all = 0.0f;
    dw += dw_at + c * k * k;
    CAPS_LOOP for (uint n = 0; n < count; n++)
    {
        __global const float *g = dy + dy_at + (n * (ulong)channels + c) * places;
        __global const float *from = x + x_at + (n * (ulong)channels + c) * height * width;
        float sum = 0.0f;
        CAPS_LOOP for (ulong i = 0; i < places; i++) sum += g[i];
        all += sum;
        if (places == 1) { // a kernel of the channel's size: rows of products, no sums
            const uint rows = width == k ? 1 : k, wide = width == k ? k * k : k;
            CAPS_LOOP for (uint ky = 0; ky < rows; ky++)
                CAPS_LOOP for (uint e = 0; e < wide; e += 16)
            {
                __global float *to = dw + ky * k + e;
                const float16 old = n ? caps_load16(to, wide - e, 0.0f) : (float16)(0.0f);
                const float16 v = caps_load16(from + (ulong)ky * width + e, wide - e, 0.0f);
                caps_store16(fma(v, (float16)(sum), old), to, wide - e);
            }
            continue;
        }
        CAPS_LOOP for (uint ky = 0; ky < k; ky++) CAPS_LOOP for (uint kx = 0; kx < k; kx++)
        {
            const float old = n ? dw[ky * k + kx] : 0.0f;
            dw[ky * k + kx] = old + depthwise_tap(g, from + (ulong)ky * width + kx, width,
                                        out_height, out_width, stride);
        }
    }
    dbias[dbias_at + c] = all;
}
