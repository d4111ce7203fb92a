// Streams (threads with a queue) and host functions.
#include <algorithm>

#include "driver.h"

namespace {

thread_local bool host_function_runs = false;

void work_on(State& state, std::shared_ptr<Stream> stream) {
  Lock lock(state.gate);
  for (;;) {
    stream->wake.wait(lock, [&] { return !stream->queue.empty() || stream->closing; });
    if (stream->queue.empty()) return;
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    CUresult code = CUDA_SUCCESS;
    if (!state.stopped()) {
      stream->busy = true;
      lock.unlock();
      code = work();
      work = nullptr;
      lock.lock();
      stream->busy = false;
    }
    if (code != CUDA_SUCCESS) break_context(state, code);
    if (stream->queue.empty()) state.progress.notify_all();
  }
}

Work hang(State& state) {  // never gets past this; the end of the context or of the process frees the thread
  return [&state] {
    Lock lock(state.gate);
    state.progress.wait(lock, [&] { return state.stopped(); });
    return CUDA_SUCCESS;
  };
}

void create(Call& call, void** handle, unsigned flags, int priority) {
  *handle = call.state.streams.add(start_stream(call.state, call.context, flags, std::clamp(priority, -5, 0)));
}

}  // namespace

bool in_host_function() { return host_function_runs; }

void break_context(State& state, CUresult code) {
  if (state.broken == CUDA_SUCCESS) state.broken = code;
  state.progress.notify_all();
}

std::shared_ptr<Stream> start_stream(State& state, Context* context, unsigned flags, int priority) {
  auto stream = std::make_shared<Stream>();
  stream->id = ++state.ids;
  stream->context = context;
  stream->flags = flags;
  stream->priority = priority;
  std::thread(work_on, std::ref(state), stream).detach();
  return stream;
}

std::shared_ptr<Stream> find_stream(Call& call, const void* handle) {
  if (reinterpret_cast<std::uintptr_t>(handle) > 2) return call.state.streams.of(handle);
  auto& found = call.state.default_streams[call.context];  // 0 and CU_STREAM_LEGACY, and also CU_STREAM_PER_THREAD
  if (!found) {
    found = start_stream(call.state, call.context, 0, 0);
    found->id = 0;
  }
  return found;
}

void push(Stream& stream, Work work) {
  stream.queue.push_back(std::move(work));
  stream.wake.notify_one();
}

void append(Call& call, Stream& stream, Node::Kind kind, Work work) {
  if (call.fault.kind == Fault::HANG) work = hang(call.state);
  if (call.fault.kind == Fault::AT_WORK) work = [code = call.fault.code] { return code; };
  call.fault = {};
  if (stream.capture) return capture_node(stream, kind, std::move(work));
  refuse_implicit(call.state, stream);
  push(stream, std::move(work));
}

// --- streams ------------------------------------------------------------------------------------------------------

EDGE_API CUresult cuStreamCreate(void** handle, unsigned flags) {
  return enter("cuStreamCreate", CONTEXT, {{"flags", flags}}, [&](Call& call) { create(call, handle, flags, 0); });
}

EDGE_API CUresult cuStreamCreateWithPriority(void** handle, unsigned flags, int priority) {
  return enter("cuStreamCreateWithPriority", CONTEXT,
               {{"flags", flags}, {"above_least", static_cast<unsigned long long>(-std::clamp(priority, -5, 0))}},
               [&](Call& call) { create(call, handle, flags, priority); });
}

EDGE_API CUresult cuStreamGetPriority(void* handle, int* priority) {
  return enter("cuStreamGetPriority", CONTEXT, {},
               [&](Call& call) { *priority = find_stream(call, handle)->priority; });
}

EDGE_API CUresult cuStreamGetFlags(void* handle, unsigned* flags) {
  return enter("cuStreamGetFlags", CONTEXT, {}, [&](Call& call) { *flags = find_stream(call, handle)->flags; });
}

EDGE_API CUresult cuStreamGetId(void* handle, unsigned long long* id) {
  return enter("cuStreamGetId", CONTEXT, {}, [&](Call& call) { *id = find_stream(call, handle)->id; });
}

EDGE_API CUresult cuStreamGetCtx(void* handle, Context** context) {
  return enter("cuStreamGetCtx", CONTEXT, {}, [&](Call& call) { *context = find_stream(call, handle)->context; });
}

EDGE_API CUresult cuStreamGetCtx_v2(void* handle, Context** context, void** green) {
  if (green) *green = nullptr;
  return cuStreamGetCtx(handle, context);
}

EDGE_API CUresult cuStreamDestroy_v2(void* handle) {  // what is in its queue is still done
  return enter("cuStreamDestroy", CONTEXT, {}, [&](Call& call) {
    const auto stream = call.state.streams.of(handle);
    if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    call.state.streams.take(handle);
    stream->closing = true;
    stream->wake.notify_all();
  });
}

EDGE_API CUresult cuStreamSynchronize(void* handle) {
  return enter("cuStreamSynchronize", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    refuse_implicit(call.state, *stream);
    if (!stream->idle()) wait_for(call, push_marker(call.state, *stream));
  });
}

EDGE_API CUresult cuStreamQuery(void* handle) {
  return enter("cuStreamQuery", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (!stream->idle()) throw Failure{CUDA_ERROR_NOT_READY};
  });
}

EDGE_API CUresult cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
  return enter("cuLaunchHostFunc", CONTEXT | LAUNCH, {}, [&](Call& call) {
    State& state = call.state;
    append(call, *find_stream(call, handle), Node::HOST, [&state, function, data] {
      host_function_runs = true;
      function(data);
      host_function_runs = false;
      return check_guards(state, "a host function");
    });
  });
}
