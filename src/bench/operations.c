/* operations.c: the table of what can be measured. */
#include "bench_problem.h"

static const caps_bench_operation operations[] = {
    {.name = "gemm", .run = caps_bench_gemm, .shaped = true},
    {.name = "conv", .run = caps_bench_conv, .shaped = true},
    {.name = "bias", .run = caps_bench_bias},
    {.name = "linear", .run = caps_bench_linear},
    {.name = "group", .run = caps_bench_group, .capsules = true},
    {.name = "squash", .run = caps_bench_squash, .capsules = true},
    {.name = "votes", .run = caps_bench_votes, .capsules = true},
    {.name = "routing", .run = caps_bench_routing, .capsules = true},
    {.name = "losses", .run = caps_bench_losses},
    {.name = "adam", .run = caps_bench_adam, .batchless = true},
    {.name = "sgd", .run = caps_bench_sgd, .batchless = true},
    {.name = "forward", .run = caps_bench_forward, .whole = true},
    {.name = "step", .run = caps_bench_step, .whole = true},
};

const caps_bench_operation *caps_bench_operation_at(size_t i)
{
    return i < sizeof operations / sizeof *operations ? &operations[i] : NULL;
}

bool caps_bench_operation_applies(
    const caps_bench_operation *operation, const caps_bench_network *network)
{
    return !operation->capsules || network->of_type[CAPS_PROBLEM_CAPS] > 0;
}
