// max_pool_cpu.cl: the greatest value of every window, plane by plane.
//
//     y[b,c,oy,ox] = max over ky, kx of x[b,c, oy stride + ky, ox stride + kx]
//     dx[b,c,place[b,c,oy,ox]] += dy[b,c,oy,ox]
//
// place: where in its plane of x the value lies, row * W + column; of equal ones the first in row
// order. A value that is not a number is greater than all others.
// Shapes: x, dx [B,C,H,W]; y, dy, place (int32) [B,C,OH,OW]. Windows of k x k, no padding.
// Work-items: a plane. Determinism: windows in order.

CPU_KERNEL void max_pool_forward(__global float *y, const ulong y_at, __global int *place,
    const ulong place_at, __global const float *x, const ulong x_at, const uint height,
    const uint width, const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const ulong plane = get_global_id(0), places = (ulong)out_height * out_width;
    x += x_at + plane * height * width;
    y += y_at + plane * places;
    CAPS_LOOP for (uint oy = 0; oy < out_height; oy++)
        CAPS_LOOP for (uint ox = 0; ox < out_width; ox++)
    {
        uint best = oy * stride * width + ox * stride;
        float most = x[best];
        CAPS_LOOP for (uint ky = 0; ky < k; ky++) CAPS_LOOP for (uint kx = 0; kx < k; kx++)
        {
            const uint at = (oy * stride + ky) * width + ox * stride + kx;
            if (x[at] > most || (isnan(x[at]) && !isnan(most))) {
                most = x[at];
                best = at;
            }
        }
        y[oy * out_width + ox] = most;
        if (caps_given(place_at))
            place[place_at + plane * places + oy * out_width + ox] = (int)best;
    }
}

CPU_KERNEL void max_pool_backward(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const int *place, const ulong place_at, const uint height,
    const uint width, const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const ulong plane = get_global_id(0), places = (ulong)out_height * out_width;
    dx += dx_at + plane * height * width;
    dy += dy_at + plane * places;
    place += place_at + plane * places;
    CAPS_LOOP for (ulong i = 0; i < (ulong)height * width; i++) dx[i] = 0.0f;
    CAPS_LOOP for (ulong i = 0; i < places; i++) dx[place[i]] += dy[i];
}
