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

template <int ROWS>
void attend_packed(const float* queries, int64_t apart, const float* key_panels, const float* value_panels,
                   int64_t count, int64_t depth, float* scores, float* mixed, float* out, int64_t out_apart) {
    const int64_t padded = panels_of(count) * PANEL, wide = panels_of(depth) * PANEL;
    for (int64_t k = 0; k < padded; k += PANEL)
        product<ROWS>(queries, apart, key_panels + k * depth, depth, scores + k, padded);
    for (int r = 0; r < ROWS; r++) soften(scores + r * padded, count, padded, 1.0f / __builtin_sqrtf(float(depth)));
    for (int64_t d = 0; d < wide; d += PANEL)
        product<ROWS>(scores, padded, value_panels + d * count, count, mixed + d, wide);
    for (int r = 0; r < ROWS; r++) std::memcpy(out + r * out_apart, mixed + r * wide, depth * sizeof(float));
}

// What some heads of the segment's `queries` [frames, D], `apart` from each other, attend to in each other; zero past the
// last that is there.
inline void attend_whole(const float* queries, int64_t frames, int64_t apart, KeysValues present, int64_t heads,
                         Heads some, int64_t size, float* out) {
    static thread_local std::vector<float> key_panels, value_panels, scores, mixed;
    using Block = decltype(&attend_packed<1>);
    static const Block blocks[] = {attend_packed<1>, attend_packed<2>, attend_packed<3>,
                                   attend_packed<4>, attend_packed<5>, attend_packed<6>};
    const int64_t count = present.count, depth = size / heads, parts = (count + MOST_QUERIES - 1) / MOST_QUERIES;
    scores.resize(MOST_QUERIES * panels_of(count) * PANEL);
    mixed.resize(MOST_QUERIES * panels_of(depth) * PANEL);
    for (int64_t head = some.from; head < some.to; head++) {
        const float* keys = present.rows + head * depth;
        pack(keys, keys + size, present.apart, count, depth, key_panels, value_panels);
        for (int64_t part = 0; part < parts; part++) {
            const int64_t from = part * count / parts, rows = (part + 1) * count / parts - from;
            blocks[rows - 1](queries + from * apart + head * depth, apart, key_panels.data(), value_panels.data(),
                             count, depth, scores.data(), mixed.data(), out + from * size + head * depth, size);
        }
    }
    for (int64_t row = count; row < frames; row++)
        std::fill(out + row * size + some.from * depth, out + row * size + some.to * depth, 0.0f);
}
