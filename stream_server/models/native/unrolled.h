// Loops over constants.
#pragma once

#include <type_traits>
#include <utility>

// `act` for 0 to COUNT - 1, as constants: arrays that these index stay in registers.
template <int... INDEX, typename Act>
inline __attribute__((always_inline)) void for_each(std::integer_sequence<int, INDEX...>, Act act) {
    (act(std::integral_constant<int, INDEX>()), ...);
}

template <int COUNT, typename Act>
inline __attribute__((always_inline)) void unrolled(Act act) {
    for_each(std::make_integer_sequence<int, COUNT>(), act);
}
