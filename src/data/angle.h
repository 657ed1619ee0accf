/* angle.h: sine and cosine of degrees, the same bits on every machine: no libm, only +, - and * in
 * double, in a fixed order. Error below 1e-15 for angles up to a few turns. */
#ifndef CAPS_ANGLE_H
#define CAPS_ANGLE_H

double caps_sin_degrees(double degrees);
double caps_cos_degrees(double degrees);

#endif
