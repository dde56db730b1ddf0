// Products of bytes by AVX2.
//
// The processor multiplies bytes in pairs and adds them up in 16 bits, and cuts what does not fit. Weights are such
// that four products always fit (quantised.py), so that two such pairs are added before they are widened to 32 bits.
#pragma once

#include "rows.h"
#include "unrolled.h"

constexpr int64_t MOST_ROWS = 5;  // at once: ten sums in registers, the others hold products and an input
constexpr int64_t TURN = 8;       // inputs in a turn: two by four

// Left to itself, GCC computes all products of a turn first, for which there are not enough registers.
inline void accumulate(__m256i& sum, __m256i products) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products)); }
inline void accumulate_narrow(__m256i& sum, __m256i products) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(products)); }

inline __m256i four_of(const uint8_t* numbers) {
    int32_t four;
    __builtin_memcpy(&four, numbers, sizeof four);
    return _mm256_set1_epi32(four);
}

// Sums of `ROWS` rows by a panel, put where `then` says, for the panel's first `columns` outputs. Meanwhile weights from
// `ahead` on are fetched, `pace` bytes a turn.
template <int ROWS>
void multiply_block(const uint8_t* rows, const Scale* scales, int64_t inputs, const Panel& panel, const int8_t* ahead,
                    int64_t pace, int64_t columns, Then then, float* out, int64_t out_stride) {
    __m256i low_sums[ROWS], high_sums[ROWS];
    const __m256i widen = _mm256_set1_epi16(1);
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) { low_sums[r] = high_sums[r] = _mm256_setzero_si256(); });
    const __m256i* weights = reinterpret_cast<const __m256i*>(panel.weights);
    for (int64_t k = 0; k < inputs; k += TURN, weights += 4, ahead += pace) {
        _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(ahead + LINE), _MM_HINT_T0);
        unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
            const __m256i x = four_of(rows + r * inputs + k), y = four_of(rows + r * inputs + k + TURN / 2);
            __m256i low = _mm256_maddubs_epi16(x, weights[0]), high = _mm256_maddubs_epi16(x, weights[1]);
            accumulate_narrow(low, _mm256_maddubs_epi16(y, weights[2]));
            accumulate_narrow(high, _mm256_maddubs_epi16(y, weights[3]));
            accumulate(low_sums[r], _mm256_madd_epi16(low, widen));
            accumulate(high_sums[r], _mm256_madd_epi16(high, widen));
        });
    }
    const __m256 low_steps = _mm256_loadu_ps(panel.steps), high_steps = _mm256_loadu_ps(panel.steps + 8);
    const __m256 low_ones = _mm256_loadu_ps(panel.ones), high_ones = _mm256_loadu_ps(panel.ones + 8);
    const __m256 low_bias = panel.bias ? _mm256_loadu_ps(panel.bias) : _mm256_setzero_ps();
    const __m256 high_bias = panel.bias ? _mm256_loadu_ps(panel.bias + 8) : _mm256_setzero_ps();
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
        const __m256 step = _mm256_set1_ps(scales[r].step), least = _mm256_set1_ps(scales[r].least);
        __m256 low = _mm256_fmadd_ps(least, low_ones, low_bias), high = _mm256_fmadd_ps(least, high_ones, high_bias);
        low = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low_sums[r]), _mm256_mul_ps(step, low_steps), low);
        high = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high_sums[r]), _mm256_mul_ps(step, high_steps), high);
        if (then == Then::put_relu) {
            // In this order the second is given where one is no number.
            low = _mm256_max_ps(_mm256_setzero_ps(), low);
            high = _mm256_max_ps(_mm256_setzero_ps(), high);
        }
        float* place = out + r * out_stride;
        if (columns == COLUMNS) {
            if (then == Then::add) {
                low = _mm256_add_ps(_mm256_loadu_ps(place), low);
                high = _mm256_add_ps(_mm256_loadu_ps(place + 8), high);
            }
            _mm256_storeu_ps(place, low);
            _mm256_storeu_ps(place + 8, high);
            return;
        }
        float some[COLUMNS];
        _mm256_storeu_ps(some, low);
        _mm256_storeu_ps(some + 8, high);
        for (int64_t c = 0; c < columns; c++) place[c] = then == Then::add ? place[c] + some[c] : some[c];
    });
}

// See `multiply`.
inline void multiply_by_avx2(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then,
                             float* out, int64_t out_stride) {
    using Block = decltype(&multiply_block<1>);
    static const Block blocks[] = {multiply_block<1>, multiply_block<2>, multiply_block<3>, multiply_block<4>,
                                   multiply_block<5>};
    const int64_t parts = (x.rows + MOST_ROWS - 1) / MOST_ROWS, bytes = COLUMNS * linear.inputs;
    // All parts take the same panel, and each fetches its share of the next: fetched by the first alone, weights would
    // come slower than it multiplies.
    const int64_t lines = bytes / LINE, pace = (TURN * COLUMNS + parts - 1) / parts;
    for (int64_t c = 0; c < count; c += COLUMNS) {
        const Panel panel = panel_of(linear, first + c);
        const int8_t* next = panel.weights + bytes;
        for (int64_t part = 0; part < parts; part++) {
            // In parts as equal as can be: of six rows two blocks of three take less than one of five and one of one.
            const int64_t from = part * x.rows / parts, rows = (part + 1) * x.rows / parts - from;
            blocks[rows - 1](x.numbers.data() + from * x.width, x.scales.data() + from, linear.inputs, panel,
                             next + part * lines / parts * LINE, pace, std::min(COLUMNS, count - c), then,
                             out + from * out_stride + c, out_stride);
        }
    }
}
