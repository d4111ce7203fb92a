// Modules, their functions (taken from EDGE_CUDA_KERNELS, compiled for the host), and launches.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace {

// A function NAME is there as two symbols: edge_host_NAME, and edge_host_NAME_sizes: the size of each argument in
// bytes, ended by 0.
std::shared_ptr<Function> find_function(State& state, Module* module, const char* name) {
  if (state.facts.kernels.empty()) throw Failure{CUDA_ERROR_NOT_FOUND};
  void* library = dlopen(state.facts.kernels.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::fprintf(stderr, "emulated CUDA driver: EDGE_CUDA_KERNELS: %s\n", dlerror());
    throw Failure{CUDA_ERROR_SHARED_OBJECT_INIT_FAILED};
  }
  const std::string symbol = std::string("edge_host_") + name;
  void* entry = dlsym(library, symbol.c_str());
  const auto* sizes = static_cast<const unsigned char*>(dlsym(library, (symbol + "_sizes").c_str()));
  if (!entry || !sizes) throw Failure{CUDA_ERROR_NOT_FOUND};
  auto function = std::make_shared<Function>();
  function->name = name;
  function->entry = reinterpret_cast<Function::Entry>(entry);
  for (; *sizes; ++sizes) function->sizes.push_back(*sizes);
  function->module = module;
  return function;
}

void get_function(Call& call, void** handle, const void* module_handle, const char* name) {
  const auto module = call.state.modules.of(module_handle);
  Function*& known = module->functions[name];
  if (!known) {
    const auto function = find_function(call.state, module.get(), name);
    known = static_cast<Function*>(call.state.functions.add(function));
  }
  *handle = known;
}

CUresult load(const char* name, void** handle, const void* image) {
  return enter(name, CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    if (!image || std::memcmp(image, "\x7f" "ELF", 4) != 0) throw Failure{CUDA_ERROR_INVALID_IMAGE};
    *handle = call.state.modules.add(std::make_shared<Module>());
  });
}

CUresult unload(const char* name, void* handle) {
  return enter(name, CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto module = call.state.modules.of(handle);
    wait_for_all(call, call.context);
    for (const auto& [_, function] : module->functions)
      if (function) call.state.functions.take(function);
    call.state.modules.take(handle);
  });
}

using Bytes = std::vector<unsigned char>;

std::vector<Bytes> copy_pointed(const Function& function, void** arguments) {
  std::vector<Bytes> values;
  if (!arguments && !function.sizes.empty()) throw Failure{CUDA_ERROR_INVALID_VALUE};
  for (std::size_t i = 0; i < function.sizes.size(); ++i) {
    const auto* at = static_cast<const unsigned char*>(arguments[i]);
    values.emplace_back(at, at + function.sizes[i]);
  }
  return values;
}

// One buffer with all arguments, each aligned to its size, at most 8.
std::vector<Bytes> copy_packed(const Function& function, void** extra) {
  const std::uintptr_t END = 0, POINTER = 1, SIZE = 2;  // CU_LAUNCH_PARAM_*
  const unsigned char* buffer = nullptr;
  std::size_t bytes = 0, offset = 0;
  for (; reinterpret_cast<std::uintptr_t>(extra[0]) != END; extra += 2) {
    const auto key = reinterpret_cast<std::uintptr_t>(extra[0]);
    if (key == POINTER) buffer = static_cast<const unsigned char*>(extra[1]);
    if (key == SIZE) bytes = *static_cast<const std::size_t*>(extra[1]);
  }
  std::vector<Bytes> values;
  for (const std::size_t size : function.sizes) {
    const std::size_t alignment = std::min<std::size_t>(size, 8);
    offset = (offset + alignment - 1) / alignment * alignment;
    if (!buffer || offset + size > bytes) throw Failure{CUDA_ERROR_INVALID_VALUE};
    values.emplace_back(buffer + offset, buffer + offset + size);
    offset += size;
  }
  return values;
}

struct Shape {
  unsigned grid[3], block[3];
};

void check_shape(const Shape& shape) {
  unsigned long long threads = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (shape.grid[axis] == 0 || shape.block[axis] == 0) throw Failure{CUDA_ERROR_INVALID_VALUE};
    threads *= shape.block[axis];
  }
  const bool grid_fits = shape.grid[0] <= 0x7fffffff && shape.grid[1] <= 65535 && shape.grid[2] <= 65535;
  if (threads > 1024 || shape.block[2] > 64 || !grid_fits) throw Failure{CUDA_ERROR_INVALID_VALUE};
}

std::shared_ptr<Function> known_function(const void* handle) {
  return look_up([&](const State& state) {
    const auto found = state.functions.all().find(handle);
    return found == state.functions.all().end() ? nullptr : found->second;
  });
}

CUresult launch(void* handle, const Shape& shape, void* stream, void** arguments, void** extra) {
  const Details details = {{"blocks", 1ull * shape.grid[0] * shape.grid[1] * shape.grid[2]},
                           {"threads", 1ull * shape.block[0] * shape.block[1] * shape.block[2]}};
  const auto body = [&](Call& call) {
    const auto function = call.state.functions.of(handle);
    check_shape(shape);
    auto values = extra ? copy_packed(*function, extra) : copy_pointed(*function, arguments);
    State& state = call.state;
    append(call, *find_stream(call, stream), Node::KERNEL, [&state, function, shape, values]() mutable {
      std::vector<void*> pointers;
      for (Bytes& value : values) pointers.push_back(value.data());
      function->entry(shape.grid, shape.block, pointers.data());
      return check_guards(state, function->name.c_str());
    });
  };
  const auto known = known_function(handle);
  return enter("cuLaunchKernel", CONTEXT | LAUNCH, details, body, known ? known->name.c_str() : nullptr);
}

}  // namespace

void release_modules(State& state) {
  state.functions.clear();
  state.modules.clear();
}

// --- modules and libraries ----------------------------------------------------------------------------------------

EDGE_API CUresult cuModuleLoadData(void** module, const void* image) { return load("cuModuleLoadData", module, image); }

EDGE_API CUresult cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void**) {
  return load("cuModuleLoadData", module, image);
}

EDGE_API CUresult cuModuleUnload(void* module) { return unload("cuModuleUnload", module); }

EDGE_API CUresult cuModuleGetFunction(void** function, void* module, const char* name) {
  return enter("cuModuleGetFunction", CONTEXT, {}, [&](Call& call) { get_function(call, function, module, name); },
               name);
}

EDGE_API CUresult cuModuleGetGlobal_v2(CUdeviceptr*, std::size_t*, void* module, const char*) {
  return enter("cuModuleGetGlobal", CONTEXT, {}, [&](Call& call) {
    call.state.modules.of(module);
    throw Failure{CUDA_ERROR_NOT_FOUND};  // the host-compiled kernels have none
  });
}

EDGE_API CUresult cuModuleGetLoadingMode(int* mode) {
  return enter("cuModuleGetLoadingMode", INITIALIZED, {}, [&](Call&) { *mode = 1; });  // CU_MODULE_EAGER_LOADING
}

EDGE_API CUresult cuLibraryLoadData(void** library, const void* code, void*, void**, unsigned, void*, void**,
                                    unsigned) {
  return load("cuLibraryLoadData", library, code);
}

EDGE_API CUresult cuLibraryUnload(void* library) { return unload("cuLibraryUnload", library); }

EDGE_API CUresult cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  return enter("cuLibraryGetKernel", CONTEXT, {}, [&](Call& call) { get_function(call, kernel, library, name); }, name);
}

EDGE_API CUresult cuKernelGetFunction(void** function, void* kernel) {  // the same object here
  return enter("cuKernelGetFunction", CONTEXT, {},
               [&](Call& call) { *function = call.state.functions.of(kernel).get(); });
}

// --- functions ----------------------------------------------------------------------------------------------------

EDGE_API CUresult cuFuncGetAttribute(int* value, int which, void* function) {
  enum { MAX_THREADS_PER_BLOCK = 0, NUM_REGS = 4, PTX_VERSION = 5, BINARY_VERSION = 6 };
  return enter("cuFuncGetAttribute", CONTEXT, {}, [&](Call& call) {
    call.state.functions.of(function);
    const int version = call.state.facts.major * 10 + call.state.facts.minor;
    *value = which == MAX_THREADS_PER_BLOCK ? 1024
             : which == NUM_REGS            ? 32
             : which == PTX_VERSION || which == BINARY_VERSION ? version : 0;
  });
}

EDGE_API CUresult cuFuncSetAttribute(void* function, int, int) {
  return enter("cuFuncSetAttribute", CONTEXT, {}, [&](Call& call) { call.state.functions.of(function); });
}

EDGE_API CUresult cuFuncSetCacheConfig(void* function, int) {
  return enter("cuFuncSetCacheConfig", CONTEXT, {}, [&](Call& call) { call.state.functions.of(function); });
}

EDGE_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, std::size_t) {
  return enter("cuOccupancyMaxActiveBlocksPerMultiprocessor", CONTEXT, {}, [&](Call& call) {
    call.state.functions.of(function);
    if (threads <= 0) throw Failure{CUDA_ERROR_INVALID_VALUE};
    *blocks = threads > 1024 ? 0 : std::min(16, 1536 / threads);
  });
}

EDGE_API CUresult cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                 unsigned block_y, unsigned block_z, unsigned, void* stream, void** arguments,
                                 void** extra) {
  return launch(function, {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}}, stream, arguments, extra);
}

struct LaunchConfiguration {  // CUlaunchConfig
  unsigned grid[3], block[3], shared_bytes;
  void *stream, *attributes;
  unsigned attribute_count;
};

EDGE_API CUresult cuLaunchKernelEx(const LaunchConfiguration* configuration, void* function, void** arguments,
                                   void** extra) {
  Shape shape;
  std::copy_n(configuration->grid, 3, shape.grid);
  std::copy_n(configuration->block, 3, shape.block);
  return launch(function, shape, configuration->stream, arguments, extra);
}
