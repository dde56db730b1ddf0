// Attention of all frames of a segment to each other, in fp32, for as many that keys and values are worth packing first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "attention.h"

constexpr int64_t PANEL = 16;       // columns at once: two registers
constexpr int64_t MOST_QUERIES = 6;  // at once: twelve sums in registers, the others hold keys and a query
constexpr int64_t WHOLE_FROM = 32;  // frames from which packing pays

// `out` [ROWS, 16], `out_apart` from each other: `rows` [ROWS, depth], `apart`, by a panel [depth, 16].
template <int ROWS>
void product(const float* rows, int64_t apart, const float* panel, int64_t depth, float* out, int64_t out_apart) {
    __m256 low[ROWS], high[ROWS];
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) { low[r] = high[r] = _mm256_setzero_ps(); });
    for (int64_t d = 0; d < depth; d++, panel += PANEL) {
        const __m256 x = _mm256_loadu_ps(panel), y = _mm256_loadu_ps(panel + 8);
        unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
            const __m256 number = _mm256_broadcast_ss(rows + r * apart + d);
            low[r] = _mm256_fmadd_ps(number, x, low[r]);
            high[r] = _mm256_fmadd_ps(number, y, high[r]);
        });
    }
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
        _mm256_storeu_ps(out + r * out_apart, low[r]);
        _mm256_storeu_ps(out + r * out_apart + 8, high[r]);
    });
}

#ifdef HAS_WIDE
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")

// The same by two panels, or one: each sum in the same order, so the same to the bit.
template <int ROWS, int PANELS>
inline __attribute__((always_inline)) void product_wide(const float* rows, int64_t apart, const float* panels,
                                                        int64_t depth, float* out, int64_t out_apart) {
    __m512 sums[ROWS][PANELS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_setzero_ps();
    for (int64_t d = 0; d < depth; d++) {
        __m512 some[PANELS];
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) some[p] = _mm512_loadu_ps(panels + (p * depth + d) * PANEL);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            const __m512 number = _mm512_set1_ps(rows[r * apart + d]);
#pragma GCC unroll 2
            for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_fmadd_ps(number, some[p], sums[r][p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int p = 0; p < PANELS; p++) _mm512_storeu_ps(out + r * out_apart + p * PANEL, sums[r][p]);
}

template <int ROWS>
void multiply_panels_wide(const float* rows, int64_t apart, const float* panels, int64_t depth, int64_t width,
                          float* out, int64_t out_apart) {
    int64_t c = 0;
    for (; c + PANEL < width; c += 2 * PANEL)
        product_wide<ROWS, 2>(rows, apart, panels + c * depth, depth, out + c, out_apart);
    if (c < width) product_wide<ROWS, 1>(rows, apart, panels + c * depth, depth, out + c, out_apart);
}

#pragma GCC pop_options
#endif

inline int64_t panels_of(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

// One head's keys [count, depth], `apart`, as panels [keys / 16, depth, 16], and its values as [depth / 16, count, 16];
// zeros where there is no key, and no number.
inline void pack(const float* keys, const float* values, int64_t apart, int64_t count, int64_t depth,
                 std::vector<float>& key_panels, std::vector<float>& value_panels) {
    key_panels.resize(panels_of(count) * depth * PANEL);
    value_panels.resize(panels_of(depth) * count * PANEL);
    if (count % PANEL) std::fill(key_panels.end() - depth * PANEL, key_panels.end(), 0.0f);
    for (int64_t k = 0; k < count; k++) {
        float* column = key_panels.data() + k / PANEL * depth * PANEL + k % PANEL;
        for (int64_t d = 0; d < depth; d++) column[d * PANEL] = keys[k * apart + d];
        for (int64_t d = 0; d < depth; d += PANEL) {
            float* row = value_panels.data() + (d / PANEL * count + k) * PANEL;
            const int64_t there = std::min(PANEL, depth - d);
            std::memcpy(row, values + k * apart + d, there * sizeof(float));
            std::fill(row + there, row + PANEL, 0.0f);
        }
    }
}

// `product` for all columns [width] of a matrix in panels.
using Products = void (*)(const float* rows, int64_t apart, const float* panels, int64_t depth, int64_t width,
                          float* out, int64_t out_apart);

template <int ROWS>
void multiply_panels(const float* rows, int64_t apart, const float* panels, int64_t depth, int64_t width, float* out,
                     int64_t out_apart) {
    for (int64_t c = 0; c < width; c += PANEL)
        product<ROWS>(rows, apart, panels + c * depth, depth, out + c, out_apart);
}

template <int... ROWS>
Products products_of(int64_t rows, std::integer_sequence<int, ROWS...>) {
    static const Products products[] = {multiply_panels<ROWS + 1>...};
    return products[rows - 1];
}

#ifdef HAS_WIDE
template <int... ROWS>
Products wide_products_of(int64_t rows, std::integer_sequence<int, ROWS...>) {
    static const Products products[] = {multiply_panels_wide<ROWS + 1>...};
    return products[rows - 1];
}
#endif

inline Products products_of(int64_t rows) {
    using Rows = std::make_integer_sequence<int, MOST_QUERIES>;
#ifdef HAS_WIDE
    if (way_in_use->wide) return wide_products_of(rows, Rows());
#endif
    return products_of(rows, Rows());
}

// What some heads of the segment's `queries` [frames, D], `apart` from each other, attend to in each other; zero past the
// last that is there.
inline void attend_whole(const float* queries, int64_t frames, int64_t apart, KeysValues present, int64_t heads,
                         Heads some, int64_t size, float* out) {
    static thread_local std::vector<float> key_panels, value_panels, scores, mixed;
    const int64_t count = present.count, depth = size / heads, parts = (count + MOST_QUERIES - 1) / MOST_QUERIES;
    const int64_t padded = panels_of(count) * PANEL, wide = panels_of(depth) * PANEL;
    const float scale = 1.0f / __builtin_sqrtf(float(depth));
    scores.resize(MOST_QUERIES * padded);
    mixed.resize(MOST_QUERIES * wide);
    for (int64_t head = some.from; head < some.to; head++) {
        const float* keys = present.rows + head * depth;
        pack(keys, keys + size, present.apart, count, depth, key_panels, value_panels);
        for (int64_t part = 0; part < parts; part++) {
            const int64_t from = part * count / parts, rows = (part + 1) * count / parts - from;
            const Products multiply = products_of(rows);
            multiply(queries + from * apart + head * depth, apart, key_panels.data(), depth, padded, scores.data(),
                     padded);
            for (int64_t r = 0; r < rows; r++) soften(scores.data() + r * padded, count, padded, scale);
            multiply(scores.data(), padded, value_panels.data(), count, wide, mixed.data(), wide);
            for (int64_t r = 0; r < rows; r++)
                std::memcpy(out + (from + r) * size + head * depth, mixed.data() + r * wide, depth * sizeof(float));
        }
    }
    for (int64_t row = count; row < frames; row++)
        std::fill(out + row * size + some.from * depth, out + row * size + some.to * depth, 0.0f);
}
