// The primary contexts of the devices, and which of them is current in a thread.
#include <algorithm>

#include "driver.h"

namespace {

thread_local std::vector<Context*> stack;  // of current contexts; the last one counts

bool knows(const State& state, const Context* context) {
  const auto same = [&](const auto& one) { return one.get() == context; };
  return std::any_of(state.contexts.begin(), state.contexts.end(), same);
}

void destroy_context(State& state, Context* context) {
  context->retained = 0;
  end_captures(state);
  close_streams(state, context);
  release_memory(state, context);
  const auto alive = [](const auto& one) { return one->retained > 0; };
  if (std::any_of(state.contexts.begin(), state.contexts.end(), alive)) return;  // they may have these objects
  state.events.clear();
  state.executables.clear();
  release_modules(state);
}

Context* primary_context(const State& state, CUdevice device) {
  check_device(state, device);
  return state.contexts[static_cast<std::size_t>(device)].get();
}

}  // namespace

void close_streams(State& state, const Context* context) {
  std::vector<std::shared_ptr<Stream>> closing;
  for (const auto& [_, stream] : state.streams.all())
    if (stream->context == context) closing.push_back(stream);
  for (const auto& stream : closing) state.streams.take(stream.get());
  for (auto one = state.default_streams.begin(); one != state.default_streams.end();) {
    if (one->first == context) closing.push_back(one->second);
    one = one->first == context ? state.default_streams.erase(one) : std::next(one);
  }
  for (const auto& stream : closing) {
    stream->closing = true;
    stream->wake.notify_all();
  }
}

Context* current_context(State& state) {
  if (stack.empty()) return nullptr;
  return knows(state, stack.back()) ? stack.back() : nullptr;
}

// --- primary contexts ---------------------------------------------------------------------------------------------

EDGE_API CUresult cuDevicePrimaryCtxRetain(Context** context, CUdevice device) {
  return enter("cuDevicePrimaryCtxRetain", INITIALIZED, {}, [&](Call& call) {
    if (call.state.broken) throw Failure{call.state.broken};
    *context = primary_context(call.state, device);
    (*context)->retained += 1;
  });
}

EDGE_API CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return enter("cuDevicePrimaryCtxReset", INITIALIZED, {}, [&](Call& call) {
    Context* context = primary_context(call.state, device);
    if (!call.state.broken) wait_for_all(call, context);
    destroy_context(call.state, context);
    if (call.state.broken) throw Failure{call.state.broken};
  });
}

EDGE_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return enter("cuDevicePrimaryCtxRelease", INITIALIZED, {}, [&](Call& call) {
    Context* context = primary_context(call.state, device);
    if (context->retained == 0) throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    if (--context->retained > 0) return;
    if (!call.state.broken) wait_for_all(call, context);
    destroy_context(call.state, context);
  });
}

EDGE_API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  return enter("cuDevicePrimaryCtxSetFlags", INITIALIZED, {{"flags", flags}}, [&](Call& call) {
    primary_context(call.state, device)->flags = flags;
  });
}

EDGE_API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  return enter("cuDevicePrimaryCtxGetState", INITIALIZED, {}, [&](Call& call) {
    const Context* context = primary_context(call.state, device);
    *flags = context->flags;
    *active = context->retained > 0;
  });
}

// --- the current context ------------------------------------------------------------------------------------------

EDGE_API CUresult cuCtxSetCurrent(Context* context) {
  return enter("cuCtxSetCurrent", INITIALIZED, {}, [&](Call& call) {
    if (context && !knows(call.state, context)) throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    if (!stack.empty()) stack.pop_back();
    if (context) stack.push_back(context);
  });
}

EDGE_API CUresult cuCtxGetCurrent(Context** context) {
  return enter("cuCtxGetCurrent", INITIALIZED, {}, [&](Call& call) { *context = call.context; });
}

EDGE_API CUresult cuCtxPushCurrent_v2(Context* context) {
  return enter("cuCtxPushCurrent", INITIALIZED, {}, [&](Call& call) {
    if (!context || !knows(call.state, context)) throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    stack.push_back(context);
  });
}

EDGE_API CUresult cuCtxPopCurrent_v2(Context** context) {
  return enter("cuCtxPopCurrent", INITIALIZED, {}, [&](Call&) {
    if (stack.empty()) throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    if (context) *context = stack.back();
    stack.pop_back();
  });
}

EDGE_API CUresult cuCtxGetDevice(CUdevice* device) {
  return enter("cuCtxGetDevice", CONTEXT, {}, [&](Call& call) { *device = call.context->device; });
}

EDGE_API CUresult cuCtxGetDevice_v2(CUdevice* device, Context* context) {
  return enter("cuCtxGetDevice", INITIALIZED, {}, [&](Call& call) {
    const Context* asked = context ? context : call.context;
    if (!asked || !knows(call.state, asked)) throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    *device = asked->device;
  });
}

EDGE_API CUresult cuCtxGetApiVersion(Context*, unsigned* version) {
  return enter("cuCtxGetApiVersion", INITIALIZED, {}, [&](Call&) { *version = 3020; });
}

EDGE_API CUresult cuCtxGetFlags(unsigned* flags) {
  return enter("cuCtxGetFlags", CONTEXT, {}, [&](Call& call) { *flags = call.context->flags; });
}

EDGE_API CUresult cuCtxGetId(Context* context, unsigned long long* id) {
  return enter("cuCtxGetId", CONTEXT, {}, [&](Call& call) {
    *id = static_cast<unsigned long long>((context ? context : call.context)->device) + 1;
  });
}

EDGE_API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return enter("cuCtxGetStreamPriorityRange", CONTEXT, {}, [&](Call&) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
  });
}

EDGE_API CUresult cuCtxSynchronize() {
  return enter("cuCtxSynchronize", CONTEXT | NO_CAPTURE, {}, [&](Call& call) { wait_for_all(call, call.context); });
}

EDGE_API CUresult cuCtxSynchronize_v2(Context* context) {
  return enter("cuCtxSynchronize", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    wait_for_all(call, context ? context : call.context);
  });
}
