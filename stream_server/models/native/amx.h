// Products of bytes by AMX: a tile of 16 rows by 64 inputs, by one of 64 inputs by 16 outputs, at once.
#pragma once

#include "vnni.h"

#if defined(HAS_WIDE) && defined(__linux__) && defined(__x86_64__) && __GNUC__ >= 11
#define HAS_TILES
#include <sys/syscall.h>
#include <unistd.h>

// A process has to ask for the registers; what runs in it afterwards keeps them.
inline bool tiles_run_here() {
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return wide_runs_here() && __builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("amx-tile") &&
           !syscall(SYS_arch_prctl, REQUEST, TILE_DATA);
}

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni,amx-tile,amx-int8")

constexpr int64_t TILE_ROWS = 16;
constexpr int64_t TILE_INPUTS = 64;
constexpr int64_t TILE_NUMBERS = TILE_ROWS * COLUMNS;  // of sums; in bytes four times as many, as of weights
constexpr int64_t PLACES = 4;  // from which weights are fetched in turns: from one alone they come a third slower

// What LDTILECFG reads.
struct Tiles {
    uint8_t palette = 1, start = 0, zeros[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};
static_assert(sizeof(Tiles) == 64);

// Tiles 0 to 3 are sums of the first part of rows by two panels, and of the second; 4 and 5 numbers of both parts; 6 and
// 7 weights of both panels. Parts have so many `rows`.
inline void shape_tiles(int64_t rows) {
    Tiles tiles;
    for (int tile = 0; tile < 8; tile++) {
        tiles.bytes[tile] = LINE;
        tiles.rows[tile] = tile < 6 ? rows : TILE_INPUTS / 4;
    }
    // The intrinsic tells the compiler that eight bytes of them are read.
    asm volatile("ldtilecfg %0" : : "m"(tiles));
}

// The intrinsics do not tell the compiler what memory they read: what was written must be there before they do.
inline void settle_memory() { asm volatile("" ::: "memory"); }

// A turn: 64 inputs of `A` parts of rows, `apart` from each other, by those of `P` panels.
template <int A, int P>
inline __attribute__((always_inline)) void multiply_tiles(const uint8_t* rows, int64_t width, int64_t apart,
                                                          const int8_t* weights, int64_t panels_apart) {
    _tile_loadd(6, weights, LINE);
    if (P == 2) _tile_loadd(7, weights + panels_apart, LINE);
    _tile_loadd(4, rows, width);
    _tile_dpbusd(0, 4, 6);
    if (P == 2) _tile_dpbusd(1, 4, 7);
    if (A == 1) return;
    _tile_loadd(5, rows + apart, width);
    _tile_dpbusd(2, 5, 6);
    if (P == 2) _tile_dpbusd(3, 5, 7);
}

// Sums [A, P, 16, 16] of `A` parts of rows by `P` panels that lie behind each other. Meanwhile weights from `ahead` on
// are fetched, in PLACES `ahead_apart` from each other, `lines` for each turn, from the one numbered `line` on.
template <int A, int P>
void sum_tiles(const uint8_t* rows, int64_t width, int64_t apart, const int8_t* weights, const int8_t* ahead,
               int64_t ahead_apart, int64_t line, int64_t lines, int32_t* sums) {
    const int64_t panels_apart = COLUMNS * width, whole = width / TILE_INPUTS * TILE_INPUTS, left = width - whole;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    settle_memory();
    for (int64_t k = 0; k < whole; k += TILE_INPUTS) {
        for (const int64_t end = line + lines; line < end; line++)
            _mm_prefetch(reinterpret_cast<const char*>(ahead + line % PLACES * ahead_apart + line / PLACES * LINE),
                         _MM_HINT_T0);
        multiply_tiles<A, P>(rows + k, width, apart, weights + k * COLUMNS, panels_apart);
    }
    if (left) {
        // Weights of zero for inputs that are the next row's.
        alignas(64) int8_t last[P * TILE_INPUTS * COLUMNS] = {};
        for (int p = 0; p < P; p++)
            __builtin_memcpy(last + p * TILE_INPUTS * COLUMNS, weights + p * panels_apart + whole * COLUMNS,
                             left * COLUMNS);
        settle_memory();
        multiply_tiles<A, P>(rows + whole, width, apart, last, TILE_INPUTS * COLUMNS);
    }
    _tile_stored(0, sums, LINE);
    if (P == 2) _tile_stored(1, sums + TILE_NUMBERS, LINE);
    if (A == 1) return;
    _tile_stored(2, sums + P * TILE_NUMBERS, LINE);
    if (P == 2) _tile_stored(3, sums + (P + 1) * TILE_NUMBERS, LINE);
}

// See `multiply`.
inline void multiply_by_amx(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then,
                            float* out, int64_t out_stride) {
    const int64_t parts = (x.rows + TILE_ROWS - 1) / TILE_ROWS, rows = (x.rows + parts - 1) / parts;
    const int64_t pairs = (parts + 1) / 2, turns = std::max<int64_t>(1, x.width / TILE_INPUTS);
    alignas(64) int32_t sums[4 * TILE_NUMBERS];
    shape_tiles(rows);
    for (int64_t c = 0; c < count; c += 2 * COLUMNS) {
        const int panels = count - c > COLUMNS ? 2 : 1;
        const int64_t column = first + c, bytes = panels * COLUMNS * x.width;
        const int8_t* weights = linear.panels + column * x.width;
        const int64_t lines = (bytes / LINE + pairs * turns - 1) / (pairs * turns);
        for (int64_t pair = 0; pair < pairs; pair++) {
            const int64_t from = 2 * pair * rows, there = std::min(2 * rows, x.rows - from);
            const auto sum = there > rows ? (panels == 2 ? sum_tiles<2, 2> : sum_tiles<2, 1>)
                                          : (panels == 2 ? sum_tiles<1, 2> : sum_tiles<1, 1>);
            sum(x.numbers.data() + from * x.width, x.width, rows * x.width, weights,
                weights + bytes, bytes / PLACES, pair * lines * turns, lines, sums);
            for (int p = 0; p < panels; p++) {
                const Panel panel = panel_of(linear, column + p * COLUMNS);
                const __mmask16 some = mask_of(count - c - p * COLUMNS);
                for (int64_t r = 0; r < there; r++) {
                    const int64_t place = ((r / rows * panels + p) * TILE_ROWS + r % rows) * COLUMNS;
                    put_wide(_mm512_load_si512(sums + place), x.scales[from + r], panel, some, then,
                             out + (from + r) * out_stride + c + p * COLUMNS);
                }
            }
        }
    }
    _tile_release();
}

#pragma GCC pop_options
#endif
