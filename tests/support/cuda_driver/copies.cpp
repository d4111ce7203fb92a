// Copies, and filling with a value.
#include <algorithm>
#include <cstring>

#include "driver.h"

namespace {

// Whether the driver knows this memory; refuses what begins in a block and does not fit in it.
const Block* fits(const State& state, CUdeviceptr address, std::size_t bytes) {
  const Block* block = block_of(state, address);
  if (block && bytes > block->bytes - (address - start_of(state, address))) throw Failure{CUDA_ERROR_INVALID_VALUE};
  return block;
}

void must_fit(const State& state, CUdeviceptr address, std::size_t bytes) {  // any memory that the device can reach
  if (!fits(state, address, bytes)) throw Failure{CUDA_ERROR_INVALID_VALUE};
}

enum Side { HOST, DEVICE, EITHER };

struct Copy {
  const char* name;
  Side from, to;
  bool waits;
};

bool pageable(const State& state, Side side, CUdeviceptr address, std::size_t bytes) {
  if (side == DEVICE) must_fit(state, address, bytes);
  return !fits(state, address, bytes);
}

// From pageable memory the bytes are taken now, and to pageable memory the call waits, as CUDA does.
void copy_on(Call& call, Stream& stream, const Copy& kind, CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  const bool from_pageable = pageable(call.state, kind.from, from, bytes);
  const bool to_pageable = pageable(call.state, kind.to, to, bytes);
  if (bytes == 0) return;
  Work work = [to, from, bytes] {
    std::memmove(bytes_at(to), bytes_at(from), bytes);
    return CUDA_SUCCESS;
  };
  if (from_pageable && !stream.capture) {
    auto staged = std::make_shared<std::vector<unsigned char>>(bytes_at(from), bytes_at(from) + bytes);
    work = [to, staged] {
      std::memcpy(bytes_at(to), staged->data(), staged->size());
      return CUDA_SUCCESS;
    };
  }
  append(call, stream, Node::MEMCPY, std::move(work));
  if (!stream.capture && (kind.waits || to_pageable)) wait_for(call, push_marker(call.state, stream));
}

CUresult copy(const Copy& kind, CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* handle = nullptr) {
  const bool pinned = look_up([&](const State& state) {
    return (kind.from != HOST || block_of(state, from)) && (kind.to != HOST || block_of(state, to));
  });
  const unsigned needs = kind.waits ? CONTEXT | NO_CAPTURE : CONTEXT;
  return enter(kind.name, needs, {{"bytes", bytes}, {"pinned", pinned}}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    if (kind.waits) refuse_implicit(call.state, *stream);
    copy_on(call, *stream, kind, to, from, bytes);
  });
}

template <class T>
CUresult fill(const char* name, CUdeviceptr to, T value, std::size_t count, void* handle, bool waits) {
  return enter(name, waits ? CONTEXT | NO_CAPTURE : CONTEXT, {{"bytes", count * sizeof(T)}}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    must_fit(call.state, to, count * sizeof(T));
    if (to % sizeof(T)) throw Failure{CUDA_ERROR_INVALID_VALUE};
    append(call, *stream, Node::MEMSET, [to, value, count] {
      std::fill_n(reinterpret_cast<T*>(to), count, value);
      return CUDA_SUCCESS;
    });
    if (waits) wait_for(call, push_marker(call.state, *stream));
  });
}

}  // namespace

EDGE_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  return copy({"cuMemcpyHtoD", HOST, DEVICE, true}, to, address_of(from), bytes);
}

EDGE_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  return copy({"cuMemcpyDtoH", DEVICE, HOST, true}, address_of(to), from, bytes);
}

EDGE_API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return copy({"cuMemcpyDtoD", DEVICE, DEVICE, true}, to, from, bytes);
}

EDGE_API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return copy({"cuMemcpy", EITHER, EITHER, true}, to, from, bytes);
}

EDGE_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, void* stream) {
  return copy({"cuMemcpyHtoDAsync", HOST, DEVICE, false}, to, address_of(from), bytes, stream);
}

EDGE_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, void* stream) {
  return copy({"cuMemcpyDtoHAsync", DEVICE, HOST, false}, address_of(to), from, bytes, stream);
}

EDGE_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* stream) {
  return copy({"cuMemcpyDtoDAsync", DEVICE, DEVICE, false}, to, from, bytes, stream);
}

EDGE_API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* stream) {
  return copy({"cuMemcpyAsync", EITHER, EITHER, false}, to, from, bytes, stream);
}

EDGE_API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, std::size_t count) {
  return fill("cuMemsetD8", to, value, count, nullptr, true);
}

EDGE_API CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, std::size_t count) {
  return fill("cuMemsetD16", to, value, count, nullptr, true);
}

EDGE_API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, std::size_t count) {
  return fill("cuMemsetD32", to, value, count, nullptr, true);
}

EDGE_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t count, void* stream) {
  return fill("cuMemsetD8Async", to, value, count, stream, false);
}

EDGE_API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, std::size_t count, void* stream) {
  return fill("cuMemsetD16Async", to, value, count, stream, false);
}

EDGE_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t count, void* stream) {
  return fill("cuMemsetD32Async", to, value, count, stream, false);
}
