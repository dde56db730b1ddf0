// Numbers of rows by a matrix, in the fastest way that this processor has: all give the same to the bit.
//
// Integers are exact whatever the order of sums: a row's result is its own to the bit beside any neighbours.
#pragma once

#include "amx.h"
#include "avx2.h"
#include "vnni.h"

using Multiply = decltype(&multiply_by_avx2);

struct Way {
    const char* name;
    Multiply multiply;
    bool (*runs_here)();
    bool wide;  // with registers of sixteen numbers
};

inline bool avx2_runs_here() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

// The slowest first.
constexpr Way WAYS[] = {
    {"avx2", multiply_by_avx2, avx2_runs_here, false},
#ifdef HAS_WIDE
    {"avx512-vnni", multiply_by_vnni, wide_runs_here, true},
#endif
#ifdef HAS_TILES
    {"amx-int8", multiply_by_amx, tiles_run_here, true},
#endif
};

inline const Way* fastest_way() {
    const Way* found = nullptr;
    __builtin_cpu_init();
    for (const Way& way : WAYS)
        if (way.runs_here()) found = &way;
    return found;
}

// Null where there is none. Changed by who compares, while nothing is computed.
static const Way* way_in_use = fastest_way();

// Outputs `first` to `first + count` of `linear` for all of `x`; `first` is a multiple of 16. Steps, ones and bias are
// padded to a multiple of 16. `out` is where the first of these outputs of the first row goes.
inline void multiply(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then, float* out,
                     int64_t out_stride) {
    if (x.rows) way_in_use->multiply(x, linear, first, count, then, out, out_stride);
}

inline void multiply(const Quantised& x, const Linear& linear, Then then, float* out) {
    multiply(x, linear, 0, linear.outputs, then, out, linear.outputs);
}
