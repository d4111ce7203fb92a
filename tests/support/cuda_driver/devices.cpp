// What the devices are.
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace {

enum Attribute {  // CUdevice_attribute
  MAX_THREADS_PER_BLOCK = 1, MAX_BLOCK_DIM_X = 2, MAX_BLOCK_DIM_Y = 3, MAX_BLOCK_DIM_Z = 4, MAX_GRID_DIM_X = 5,
  MAX_GRID_DIM_Y = 6, MAX_GRID_DIM_Z = 7, MAX_SHARED_MEMORY_PER_BLOCK = 8, TOTAL_CONSTANT_MEMORY = 9, WARP_SIZE = 10,
  MAX_REGISTERS_PER_BLOCK = 12, CLOCK_RATE = 13, GPU_OVERLAP = 15, MULTIPROCESSOR_COUNT = 16, INTEGRATED = 18,
  CAN_MAP_HOST_MEMORY = 19, CONCURRENT_KERNELS = 31, PCI_BUS_ID = 33, PCI_DEVICE_ID = 34, MEMORY_CLOCK_RATE = 36,
  GLOBAL_MEMORY_BUS_WIDTH = 37, L2_CACHE_SIZE = 38, MAX_THREADS_PER_MULTIPROCESSOR = 39, ASYNC_ENGINE_COUNT = 40,
  UNIFIED_ADDRESSING = 41, PCI_DOMAIN_ID = 50, COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76,
  STREAM_PRIORITIES_SUPPORTED = 78, MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81, MAX_REGISTERS_PER_MULTIPROCESSOR = 82,
  CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM = 91, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97, HOST_REGISTER_SUPPORTED = 99,
  MAX_BLOCKS_PER_MULTIPROCESSOR = 106, MEMORY_POOLS_SUPPORTED = 115,
};

int attribute(const Facts& facts, int which, CUdevice device) {
  switch (which) {
    case MAX_THREADS_PER_BLOCK: case MAX_BLOCK_DIM_X: case MAX_BLOCK_DIM_Y: return 1024;
    case MAX_BLOCK_DIM_Z: return 64;
    case MAX_GRID_DIM_X: return 0x7fffffff;
    case MAX_GRID_DIM_Y: case MAX_GRID_DIM_Z: return 65535;
    case MAX_SHARED_MEMORY_PER_BLOCK: return 48 << 10;
    case MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: case MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 100 << 10;
    case TOTAL_CONSTANT_MEMORY: return 64 << 10;
    case WARP_SIZE: return 32;
    case MAX_REGISTERS_PER_BLOCK: case MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CLOCK_RATE: return 1000000;
    case MEMORY_CLOCK_RATE: return 1000000;
    case GLOBAL_MEMORY_BUS_WIDTH: return 128;
    case L2_CACHE_SIZE: return 4 << 20;
    case MULTIPROCESSOR_COUNT: return 2;
    case MAX_THREADS_PER_MULTIPROCESSOR: return 1536;
    case MAX_BLOCKS_PER_MULTIPROCESSOR: return 16;
    case ASYNC_ENGINE_COUNT: return 2;
    case INTEGRATED: return facts.integrated;
    case COMPUTE_CAPABILITY_MAJOR: return facts.major;
    case COMPUTE_CAPABILITY_MINOR: return facts.minor;
    case PCI_BUS_ID: return device + 1;
    case PCI_DOMAIN_ID: case PCI_DEVICE_ID: return 0;
    case GPU_OVERLAP: case CAN_MAP_HOST_MEMORY: case CONCURRENT_KERNELS: case UNIFIED_ADDRESSING:
    case STREAM_PRIORITIES_SUPPORTED: case CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: case HOST_REGISTER_SUPPORTED:
    case MEMORY_POOLS_SUPPORTED: return 1;
    default: return 0;
  }
}

}  // namespace

void check_device(const State& state, CUdevice device) {
  if (device < 0 || device >= state.facts.devices) throw Failure{CUDA_ERROR_INVALID_DEVICE};
}

EDGE_API CUresult cuDeviceGetCount(int* count) {
  return enter("cuDeviceGetCount", INITIALIZED, {}, [&](Call& call) { *count = call.state.facts.devices; });
}

EDGE_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return enter("cuDeviceGet", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, ordinal);
    *device = ordinal;
  });
}

EDGE_API CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  return enter("cuDeviceGetName", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    std::snprintf(name, static_cast<std::size_t>(length), "%s", call.state.facts.name.c_str());
  });
}

EDGE_API CUresult cuDeviceGetAttribute(int* value, int which, CUdevice device) {
  return enter("cuDeviceGetAttribute", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    *value = attribute(call.state.facts, which, device);
  });
}

EDGE_API CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
  return enter("cuDeviceComputeCapability", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    *major = call.state.facts.major;
    *minor = call.state.facts.minor;
  });
}

EDGE_API CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  return enter("cuDeviceTotalMem", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    *bytes = call.state.facts.memory_bytes;
  });
}

EDGE_API CUresult cuDeviceGetUuid(unsigned char uuid[16], CUdevice device) {
  return enter("cuDeviceGetUuid", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    std::memcpy(uuid, "emulated device", 16);
    uuid[15] = static_cast<unsigned char>(device);
  });
}

EDGE_API CUresult cuDeviceGetUuid_v2(unsigned char uuid[16], CUdevice device) { return cuDeviceGetUuid(uuid, device); }

EDGE_API CUresult cuDeviceGetPCIBusId(char* text, int length, CUdevice device) {
  return enter("cuDeviceGetPCIBusId", INITIALIZED, {}, [&](Call& call) {
    check_device(call.state, device);
    std::snprintf(text, static_cast<std::size_t>(length), "0000:%02x:00.0", device + 1);
  });
}

EDGE_API CUresult cuDeviceGetByPCIBusId(CUdevice* device, const char* text) {
  return enter("cuDeviceGetByPCIBusId", INITIALIZED, {}, [&](Call& call) {
    unsigned domain, bus, slot;
    if (std::sscanf(text, "%x:%x:%x", &domain, &bus, &slot) != 3) throw Failure{CUDA_ERROR_INVALID_VALUE};
    check_device(call.state, static_cast<int>(bus) - 1);
    *device = static_cast<int>(bus) - 1;
  });
}

EDGE_API CUresult cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) {
  return enter("cuDeviceCanAccessPeer", INITIALIZED, {}, [&](Call&) { *can = 0; });
}
