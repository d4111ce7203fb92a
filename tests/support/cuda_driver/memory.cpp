// Memory of the device, and pinned memory.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "driver.h"

namespace {

const std::size_t GUARD = 256;  // bytes before and after what is allocated; also the alignment
const unsigned char GUARD_BYTE = 0x5A, FRESH_BYTE = 0xA5;
const std::size_t FILLED = 64 << 20;  // of a larger allocation only so much is filled, so that it stays virtual

bool counts(const State& state, const Block& block) {
  return block.kind == Block::DEVICE || (block.kind == Block::PINNED && state.facts.integrated);
}

std::size_t free_bytes(const State& state) {
  std::size_t used = state.used_bytes, taken = 0;
  if (!state.facts.taken_file.empty() && std::ifstream(state.facts.taken_file) >> taken) used += taken;
  return used < state.facts.memory_bytes ? state.facts.memory_bytes - used : 0;
}

CUdeviceptr allocate(Call& call, Block::Kind kind, std::size_t bytes, unsigned flags) {
  State& state = call.state;
  if (bytes == 0) throw Failure{CUDA_ERROR_INVALID_VALUE};
  Block block{kind, bytes, nullptr, call.context, flags};
  if (counts(state, block) && bytes > free_bytes(state)) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
  if (bytes > PTRDIFF_MAX - 3 * GUARD) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
  const std::size_t whole = (bytes + GUARD - 1) / GUARD * GUARD + 2 * GUARD;
  block.base = static_cast<unsigned char*>(std::aligned_alloc(GUARD, whole));
  if (!block.base) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
  unsigned char* start = block.base + GUARD;
  std::memset(block.base, GUARD_BYTE, GUARD);
  std::memset(start, FRESH_BYTE, std::min(bytes, FILLED));
  std::memset(start + bytes, GUARD_BYTE, GUARD);
  if (counts(state, block)) state.used_bytes += bytes;
  state.blocks[address_of(start)] = block;
  return address_of(start);
}

void release(State& state, CUdeviceptr address) {
  const Block& block = state.blocks.at(address);
  if (counts(state, block)) state.used_bytes -= block.bytes;
  std::free(block.base);
  state.blocks.erase(address);
}

const Block& known(const State& state, CUdeviceptr address, Block::Kind kind) {
  const auto found = state.blocks.find(address);
  if (found == state.blocks.end() || found->second.kind != kind) throw Failure{CUDA_ERROR_INVALID_VALUE};
  return found->second;
}

CUresult free_block(const char* name, CUdeviceptr address, Block::Kind kind) {
  return enter(name, CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    if (kind == Block::DEVICE && address == 0) return;
    known(call.state, address, kind);
    wait_for_all(call, call.context);  // as CUDA does
    known(call.state, address, kind);
    release(call.state, address);
  });
}

int the_pool;  // the only memory pool, the default one
void* const POOL = &the_pool;

}  // namespace

CUdeviceptr start_of(const State& state, CUdeviceptr address) {
  return std::prev(state.blocks.upper_bound(address))->first;
}

const Block* block_of(const State& state, CUdeviceptr address) {
  auto after = state.blocks.upper_bound(address);
  if (after == state.blocks.begin()) return nullptr;
  const auto& [start, block] = *--after;
  return address < start + block.bytes ? &block : nullptr;
}

void release_memory(State& state, Context* context) {
  std::vector<CUdeviceptr> of_it;
  for (const auto& [address, block] : state.blocks)
    if (block.context == context) of_it.push_back(address);
  for (const CUdeviceptr address : of_it)
    if (state.broken == CUDA_SUCCESS) release(state, address);  // else a stream may still be at work on it
}

CUresult check_guards(State& state, const char* after) {
  static const std::vector<unsigned char> whole(GUARD, GUARD_BYTE);
  Lock lock(state.gate);
  for (const auto& [address, block] : state.blocks) {
    if (!block.base) continue;
    const bool front = std::memcmp(block.base, whole.data(), GUARD) == 0;
    if (front && std::memcmp(bytes_at(address) + block.bytes, whole.data(), GUARD) == 0) continue;
    std::fprintf(stderr, "emulated CUDA driver: %s wrote %s an allocation of %zu bytes\n", after,
                 front ? "behind" : "before", block.bytes);
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  }
  return CUDA_SUCCESS;
}

// --- memory of the device -----------------------------------------------------------------------------------------

EDGE_API CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return enter("cuMemGetInfo", CONTEXT, {}, [&](Call& call) {
    *total = call.state.facts.memory_bytes;
    *free = free_bytes(call.state);
  });
}

EDGE_API CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  return enter("cuMemAlloc", CONTEXT | NO_CAPTURE, {{"bytes", bytes}},
               [&](Call& call) { *address = allocate(call, Block::DEVICE, bytes, 0); });
}

EDGE_API CUresult cuMemFree_v2(CUdeviceptr address) { return free_block("cuMemFree", address, Block::DEVICE); }

EDGE_API CUresult cuMemAllocAsync(CUdeviceptr* address, std::size_t bytes, void* handle) {
  return enter("cuMemAllocAsync", CONTEXT, {{"bytes", bytes}}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_NOT_SUPPORTED);  // no nodes that allocate here
    *address = allocate(call, Block::DEVICE, bytes, 0);
  });
}

EDGE_API CUresult cuMemFreeAsync(CUdeviceptr address, void* handle) {
  return enter("cuMemFreeAsync", CONTEXT, {}, [&](Call& call) {
    State& state = call.state;
    const auto stream = find_stream(call, handle);
    if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_NOT_SUPPORTED);
    known(state, address, Block::DEVICE);
    append(call, *stream, Node::MEMSET, [&state, address] {
      Lock lock(state.gate);
      if (!state.blocks.count(address)) return CUDA_ERROR_ILLEGAL_ADDRESS;  // freed twice
      release(state, address);
      return CUDA_SUCCESS;
    });
  });
}

EDGE_API CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
  return enter("cuMemGetAddressRange", CONTEXT, {}, [&](Call& call) {
    const Block* block = block_of(call.state, address);
    if (!block) throw Failure{CUDA_ERROR_NOT_FOUND};
    if (base) *base = start_of(call.state, address);
    if (bytes) *bytes = block->bytes;
  });
}

EDGE_API CUresult cuDeviceGetDefaultMemPool(void** pool, CUdevice) {
  return enter("cuDeviceGetDefaultMemPool", INITIALIZED, {}, [&](Call&) { *pool = POOL; });
}

EDGE_API CUresult cuDeviceGetMemPool(void** pool, CUdevice device) { return cuDeviceGetDefaultMemPool(pool, device); }

EDGE_API CUresult cuMemPoolSetAttribute(void* pool, int, void*) {  // it keeps nothing back in any case
  return enter("cuMemPoolSetAttribute", INITIALIZED, {}, [&](Call&) {
    if (pool != POOL) throw Failure{CUDA_ERROR_INVALID_VALUE};
  });
}

EDGE_API CUresult cuMemPoolTrimTo(void* pool, std::size_t) {
  return enter("cuMemPoolTrimTo", INITIALIZED, {}, [&](Call&) {
    if (pool != POOL) throw Failure{CUDA_ERROR_INVALID_VALUE};
  });
}

// --- pinned memory ------------------------------------------------------------------------------------------------

EDGE_API CUresult cuMemAllocHost_v2(void** pointer, std::size_t bytes) {
  return enter("cuMemAllocHost", CONTEXT | NO_CAPTURE, {{"bytes", bytes}},
               [&](Call& call) { *pointer = bytes_at(allocate(call, Block::PINNED, bytes, 0)); });
}

EDGE_API CUresult cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  return enter("cuMemHostAlloc", CONTEXT | NO_CAPTURE, {{"bytes", bytes}, {"flags", flags}},
               [&](Call& call) { *pointer = bytes_at(allocate(call, Block::PINNED, bytes, flags)); });
}

EDGE_API CUresult cuMemFreeHost(void* pointer) {
  return free_block("cuMemFreeHost", address_of(pointer), Block::PINNED);
}

EDGE_API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* pointer, unsigned) {
  return enter("cuMemHostGetDevicePointer", CONTEXT, {}, [&](Call& call) {
    const Block* block = block_of(call.state, address_of(pointer));
    if (!block || block->kind == Block::DEVICE) throw Failure{CUDA_ERROR_INVALID_VALUE};
    *address = address_of(pointer);
  });
}

EDGE_API CUresult cuMemHostGetFlags(unsigned* flags, void* pointer) {
  return enter("cuMemHostGetFlags", CONTEXT, {},
               [&](Call& call) { *flags = known(call.state, address_of(pointer), Block::PINNED).flags; });
}

EDGE_API CUresult cuMemHostRegister_v2(void* pointer, std::size_t bytes, unsigned flags) {
  return enter("cuMemHostRegister", CONTEXT | NO_CAPTURE, {{"bytes", bytes}}, [&](Call& call) {
    if (!pointer || bytes == 0) throw Failure{CUDA_ERROR_INVALID_VALUE};
    if (block_of(call.state, address_of(pointer)) || block_of(call.state, address_of(pointer) + bytes - 1))
      throw Failure{CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED};
    call.state.blocks[address_of(pointer)] = Block{Block::REGISTERED, bytes, nullptr, call.context, flags};
  });
}

EDGE_API CUresult cuMemHostUnregister(void* pointer) {
  return enter("cuMemHostUnregister", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto found = call.state.blocks.find(address_of(pointer));
    if (found == call.state.blocks.end() || found->second.kind != Block::REGISTERED)
      throw Failure{CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED};
    wait_for_all(call, call.context);
    call.state.blocks.erase(address_of(pointer));
  });
}

// --- what a pointer is --------------------------------------------------------------------------------------------

static bool pointer_attribute(Call& call, void* out, int which, CUdeviceptr address) {
  enum { CONTEXT_OF = 1, MEMORY_TYPE = 2, DEVICE_POINTER = 3, HOST_POINTER = 4, IS_MANAGED = 8, DEVICE_ORDINAL = 9,
         RANGE_START = 11, RANGE_SIZE = 12, MAPPED = 13 };
  const Block* block = block_of(call.state, address);
  if (!block) return false;
  const bool device = block->kind == Block::DEVICE;
  switch (which) {
    case CONTEXT_OF: *static_cast<Context**>(out) = block->context; return true;
    case MEMORY_TYPE: *static_cast<unsigned*>(out) = device ? 2 : 1; return true;
    case DEVICE_POINTER: *static_cast<CUdeviceptr*>(out) = address; return true;
    case HOST_POINTER:
      if (device) return false;
      *static_cast<void**>(out) = bytes_at(address);
      return true;
    case IS_MANAGED: *static_cast<unsigned char*>(out) = 0; return true;
    case DEVICE_ORDINAL: *static_cast<int*>(out) = block->context->device; return true;
    case RANGE_START: *static_cast<CUdeviceptr*>(out) = start_of(call.state, address); return true;
    case RANGE_SIZE: *static_cast<std::size_t*>(out) = block->bytes; return true;
    case MAPPED: *static_cast<unsigned char*>(out) = 1; return true;
    default: throw Failure{CUDA_ERROR_NOT_SUPPORTED};
  }
}

EDGE_API CUresult cuPointerGetAttribute(void* out, int which, CUdeviceptr address) {
  return enter("cuPointerGetAttribute", CONTEXT, {}, [&](Call& call) {
    if (!pointer_attribute(call, out, which, address)) throw Failure{CUDA_ERROR_INVALID_VALUE};
  });
}

EDGE_API CUresult cuPointerGetAttributes(unsigned count, int* which, void** out, CUdeviceptr address) {
  return enter("cuPointerGetAttributes", CONTEXT, {}, [&](Call& call) {
    for (unsigned i = 0; i < count; ++i)
      if (!pointer_attribute(call, out[i], which[i], address)) std::memset(out[i], 0, which[i] == 8 ? 1 : 4);
  });
}
