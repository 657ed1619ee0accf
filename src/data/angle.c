/* angle.c: see angle.h. */
#include "angle.h"

#include <math.h>

/* Both series of an angle within 45 degrees, by Horner's rule; the terms that are left out are
 * below 1e-17. */
static void series(double radians, double *s, double *c)
{
    static const double sines[] = {-1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800,
        1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1};
    static const double cosines[] = {1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600,
        -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -1.0 / 2, 1};
    const double square = radians * radians;
    double a = 0, b = 0;
    for (unsigned i = 0; i < sizeof sines / sizeof sines[0]; i++)
        a = a * square + sines[i];
    for (unsigned i = 0; i < sizeof cosines / sizeof cosines[0]; i++)
        b = b * square + cosines[i];
    *s = a * radians;
    *c = b;
}

double caps_sin_degrees(double degrees)
{
    const double turn = degrees - 360 * floor(degrees / 360); /* 0..360 */
    const int quarter = (int)((turn + 45) / 90);              /* the nearest multiple of 90 */
    double s, c;
    series((turn - 90.0 * quarter) * (3.14159265358979323846 / 180), &s, &c);
    switch (quarter & 3) {
    case 0:
        return s;
    case 1:
        return c;
    case 2:
        return -s;
    default:
        return -c;
    }
}

double caps_cos_degrees(double degrees)
{
    return caps_sin_degrees(degrees + 90);
}
