// Products of bytes by AVX512-VNNI, which adds four of them up in 32 bits at once.
#pragma once

#include "rows.h"

#if defined(__GNUC__) && __GNUC__ >= 9 && !defined(__clang__)
#define HAS_WIDE

// Outside of what is compiled for such processors: it finds out whether this is one.
inline bool wide_runs_here() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")

constexpr int64_t MOST_WIDE_ROWS = 6;  // at once, by two panels: twelve sums in registers, and weights and an input
constexpr int64_t FOUR = 4;            // inputs that are added up at once

// Sums of a row by a panel to its outputs, those of `there`: in the same order of operations as AVX2's, to the bit.
inline __attribute__((always_inline)) void put_wide(__m512i sums, Scale scale, const Panel& panel, __mmask16 there,
                                                    Then then, float* place) {
    const __m512 bias = panel.bias ? _mm512_loadu_ps(panel.bias) : _mm512_setzero_ps();
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(scale.least), _mm512_loadu_ps(panel.ones), bias);
    const __m512 step = _mm512_mul_ps(_mm512_set1_ps(scale.step), _mm512_loadu_ps(panel.steps));
    y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), step, y);
    // In this order the second is given where one is no number.
    if (then == Then::put_relu) y = _mm512_max_ps(_mm512_setzero_ps(), y);
    if (then == Then::add) y = _mm512_add_ps(_mm512_maskz_loadu_ps(there, place), y);
    _mm512_mask_storeu_ps(place, there, y);
}

inline __mmask16 mask_of(int64_t columns) { return columns >= COLUMNS ? 0xffff : (1u << columns) - 1; }

// Sums of `ROWS` rows by `PANELS` panels, that begin at `column`. Meanwhile weights from `ahead` on are fetched, `pace`
// bytes for each four inputs.
template <int ROWS, int PANELS>
void multiply_wide_block(const uint8_t* rows, const Scale* scales, const Linear& linear, int64_t column,
                         const int8_t* ahead, int64_t pace, int64_t columns, Then then, float* out,
                         int64_t out_stride) {
    const int64_t inputs = linear.inputs, apart = COLUMNS * inputs;
    const int8_t* weights = linear.panels + column * inputs;
    __m512i sums[ROWS][PANELS];
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_setzero_si512();
    for (int64_t k = 0; k < inputs; k += FOUR, weights += LINE, ahead += pace) {
        __m512i some[PANELS];
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) {
            _mm_prefetch(reinterpret_cast<const char*>(ahead + p * LINE), _MM_HINT_T0);
            some[p] = _mm512_loadu_si512(weights + p * apart);
        }
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            int32_t four;
            __builtin_memcpy(&four, rows + r * inputs + k, sizeof four);
            const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
            for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], x, some[p]);
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < PANELS; p++) {
        const Panel panel = panel_of(linear, column + p * COLUMNS);
        const __mmask16 there = mask_of(columns - p * COLUMNS);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
            put_wide(sums[r][p], scales[r], panel, there, then, out + r * out_stride + p * COLUMNS);
    }
}

template <int PANELS, int... ROWS>
auto wide_block(int64_t rows, std::integer_sequence<int, ROWS...>) {
    using Block = decltype(&multiply_wide_block<1, 1>);
    static const Block blocks[] = {multiply_wide_block<ROWS + 1, PANELS>...};
    return blocks[rows - 1];
}

inline auto wide_block(int64_t panels, int64_t rows) {
    using Rows = std::make_integer_sequence<int, MOST_WIDE_ROWS>;
    return panels == 2 ? wide_block<2>(rows, Rows()) : wide_block<1>(rows, Rows());
}

// See `multiply`.
inline void multiply_by_vnni(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then,
                             float* out, int64_t out_stride) {
    const int64_t parts = (x.rows + MOST_WIDE_ROWS - 1) / MOST_WIDE_ROWS;
    for (int64_t c = 0; c < count; c += 2 * COLUMNS) {
        const int64_t panels = count - c > COLUMNS ? 2 : 1, bytes = panels * COLUMNS * linear.inputs;
        const int8_t* next = linear.panels + (first + c) * linear.inputs + bytes;
        for (int64_t part = 0; part < parts; part++) {
            const int64_t from = part * x.rows / parts, rows = (part + 1) * x.rows / parts - from;
            wide_block(panels, rows)(x.numbers.data() + from * x.width, x.scales.data() + from, linear, first + c,
                                     next + part * (bytes / LINE) / parts * LINE,
                                     (panels * LINE + parts - 1) / parts, count - c, then,
                                     out + from * out_stride + c, out_stride);
        }
    }
}

#pragma GCC pop_options
#endif
