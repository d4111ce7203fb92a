// What the kernels share, for two compilers: NVRTC for a device (without any header), and a host's C++17 compiler with
// -DEDGE_HOST, where a launch is a loop over the grid.
//
//   EDGE_KERNEL(name, (const float* in, float* out, int count)) { ... edge_x() ... }
//
// A kernel uses no shared memory and no barrier: its threads may run in any order, also one after the other.
#ifndef EDGE_CUH
#define EDGE_CUH

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;  // also the bits of a float16
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#ifdef EDGE_HOST

#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#define EDGE_FUNCTION inline

struct EdgeIndex {
  u32 x, y, z;
};
static thread_local EdgeIndex edge_index;

inline u32 edge_x() { return edge_index.x; }
inline u32 edge_y() { return edge_index.y; }
inline u32 edge_z() { return edge_index.z; }

inline u32 edge_bits(float value) {
  u32 bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float edge_of_bits(u32 bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// IEEE 754 binary16, to the nearest, ties to even.
inline u16 edge_half(float value) {
  const u32 bits = edge_bits(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return 0x7fff;
  if (size >= 0x477ff000u) return (u16)(sign | 0x7c00u);
  if (size < 0x38800000u)  // below the smallest normal number: let an addition round at the last place
    return (u16)(sign | (edge_bits(edge_of_bits(size) + 0.5f) - 0x3f000000u));
  return (u16)(sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13));
}

inline float edge_float(u16 half) {
  const u32 sign = (u32)(half & 0x8000u) << 16, size = half & 0x7fffu;
  if (size >= 0x7c00u) return edge_of_bits(sign | 0x7f800000u | (size & 0x3ffu) << 13);
  return edge_of_bits(sign | edge_bits(edge_of_bits(size << 13) * 5192296858534827628530496329220096.0f));  // 2^112
}

template <class T> T edge_atomic_add(T* at, T value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }
template <class T> T edge_atomic_or(T* at, T value) { return __atomic_fetch_or(at, value, __ATOMIC_RELAXED); }
template <class T> T edge_atomic_cas(T* at, T expected, T value) {
  __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <class T> T edge_atomic_max(T* at, T value) {
  T found = *at;
  while (found < value) {
    const T before = edge_atomic_cas(at, found, value);
    if (before == found) break;
    found = before;
  }
  return found;
}
template <class T> T edge_atomic_min(T* at, T value) {
  T found = *at;
  while (value < found) {
    const T before = edge_atomic_cas(at, found, value);
    if (before == found) break;
    found = before;
  }
  return found;
}

template <class... P, std::size_t... I>
void edge_launch(const u32 grid[3], const u32 block[3], void** arguments, void (*kernel)(P...),
                 std::index_sequence<I...>) {
  const std::tuple<P...> values(*static_cast<P*>(arguments[I])...);
  for (u32 z = 0; z < grid[2] * block[2]; ++z)
    for (u32 y = 0; y < grid[1] * block[1]; ++y)
      for (u32 x = 0; x < grid[0] * block[0]; ++x) {
        edge_index = EdgeIndex{x, y, z};
        kernel(std::get<I>(values)...);
      }
}

template <class... P> void edge_launch(const u32 grid[3], const u32 block[3], void** arguments, void (*kernel)(P...)) {
  edge_launch(grid, block, arguments, kernel, std::index_sequence_for<P...>{});
}

template <u32 N> struct EdgeSizes {
  u8 bytes[N];
};
template <class... P> constexpr EdgeSizes<sizeof...(P) + 1> edge_sizes(void (*)(P...)) {
  return {{(u8)sizeof(P)..., 0}};
}

#define EDGE_KERNEL(name, parameters)                                                              \
  static void name parameters;                                                                     \
  extern "C" {                                                                                     \
  void edge_host_##name(const unsigned grid[3], const unsigned block[3], void** arguments) {       \
    edge_launch(grid, block, arguments, name);                                                     \
  }                                                                                                \
  EdgeSizes<sizeof(edge_sizes(name))> edge_host_##name##_sizes = edge_sizes(name);                 \
  }                                                                                                \
  static void name parameters

#else

#define EDGE_FUNCTION __device__ __forceinline__
#define EDGE_KERNEL(name, parameters) extern "C" __global__ void name parameters

// Index of this thread in the whole grid.
EDGE_FUNCTION u32 edge_x() { return blockIdx.x * blockDim.x + threadIdx.x; }
EDGE_FUNCTION u32 edge_y() { return blockIdx.y * blockDim.y + threadIdx.y; }
EDGE_FUNCTION u32 edge_z() { return blockIdx.z * blockDim.z + threadIdx.z; }

EDGE_FUNCTION u32 edge_bits(float value) { return __float_as_uint(value); }
EDGE_FUNCTION float edge_of_bits(u32 bits) { return __uint_as_float(bits); }

EDGE_FUNCTION u16 edge_half(float value) {
  u16 half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

EDGE_FUNCTION float edge_float(u16 half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}

// Each returns what was there before. T: i32 or u32 (of add and cas, u64 too).
template <class T> EDGE_FUNCTION T edge_atomic_add(T* at, T value) { return atomicAdd(at, value); }
template <class T> EDGE_FUNCTION T edge_atomic_or(T* at, T value) { return atomicOr(at, value); }
template <class T> EDGE_FUNCTION T edge_atomic_cas(T* at, T expected, T value) { return atomicCAS(at, expected, value); }
template <class T> EDGE_FUNCTION T edge_atomic_max(T* at, T value) { return atomicMax(at, value); }
template <class T> EDGE_FUNCTION T edge_atomic_min(T* at, T value) { return atomicMin(at, value); }

#endif

template <class T> EDGE_FUNCTION T edge_min(T a, T b) { return b < a ? b : a; }
template <class T> EDGE_FUNCTION T edge_max(T a, T b) { return a < b ? b : a; }
EDGE_FUNCTION bool edge_finite(float value) { return (edge_bits(value) & 0x7f800000u) != 0x7f800000u; }

#endif
