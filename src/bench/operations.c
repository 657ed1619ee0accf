/* operations.c: the table of what can be measured. */
#include "bench_problem.h"

static const caps_bench_operation operations[] = {
    {.name = "gemm", .run = caps_bench_gemm, .shaped = true},
    {.name = "conv", .run = caps_bench_conv, .shaped = true},
    {.name = "bias", .run = caps_bench_bias},
    {.name = "linear", .run = caps_bench_linear},
    {.name = "group", .run = caps_bench_group, .needs = CAPS_PROBLEM_CAPS},
    {.name = "squash", .run = caps_bench_squash, .needs = CAPS_PROBLEM_CAPS},
    {.name = "votes", .run = caps_bench_votes, .needs = CAPS_PROBLEM_CAPS},
    {.name = "routing", .run = caps_bench_routing, .needs = CAPS_PROBLEM_CAPS},
    {.name = "attention", .run = caps_bench_attention, .needs = CAPS_PROBLEM_ATTENTION},
    {.name = "em", .run = caps_bench_em, .needs = CAPS_PROBLEM_EM},
    {.name = "batch-norm", .run = caps_bench_batch_norm, .normalised = true},
    {.name = "depthwise", .run = caps_bench_depthwise, .needs = CAPS_PROBLEM_DEPTHWISE},
    {.name = "max-pool", .run = caps_bench_max_pool, .needs = CAPS_PROBLEM_POOL},
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
    if (operation->normalised)
        return network->normalised > 0;
    return operation->needs == CAPS_PROBLEM_NONE || network->of_type[operation->needs] > 0;
}
