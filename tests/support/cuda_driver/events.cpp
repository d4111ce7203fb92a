// Events: points on streams.
#include <chrono>

#include "driver.h"

namespace {

enum { CU_EVENT_DISABLE_TIMING = 2 };
enum { CU_EVENT_RECORD_EXTERNAL = 1, CU_EVENT_WAIT_EXTERNAL = 1 };

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void record(Call& call, const void* handle, const void* stream_handle, unsigned flags) {
  const auto event = call.state.events.of(handle);
  const auto stream = find_stream(call, stream_handle);
  const bool external = flags & CU_EVENT_RECORD_EXTERNAL;
  if (stream->capture && !external) {
    if (stream->capture->invalidated) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
    event->capture = stream->capture;
    event->tails = stream->tails;
    event->point = nullptr;
    return;
  }
  if (stream->capture) {  // each launch of the graph records it anew
    capture_node(*stream, Node::EVENT_RECORD, nullptr, event);
    return;
  }
  if (external) throw Failure{CUDA_ERROR_INVALID_VALUE};
  refuse_implicit(call.state, *stream);
  event->capture = nullptr;
  event->tails.clear();
  event->point = push_marker(call.state, *stream);
}

void refuse_captured(const Event& event) {
  if (!event.capture) return;
  invalidate(*event.capture, CUDA_ERROR_CAPTURED_EVENT);
}

}  // namespace

Work reach_work(State& state, std::shared_ptr<Point> point) {
  return [&state, point] {
    Lock lock(state.gate);
    point->reached = true;
    point->seconds = now_seconds();
    state.progress.notify_all();
    return CUDA_SUCCESS;
  };
}

Work wait_work(State& state, std::shared_ptr<Point> point) {
  return [&state, point] {
    Lock lock(state.gate);
    state.progress.wait(lock, [&] { return !point || point->reached || state.stopped(); });
    return CUDA_SUCCESS;
  };
}

std::shared_ptr<Point> push_marker(State& state, Stream& stream) {
  auto point = std::make_shared<Point>();
  push(stream, reach_work(state, point));
  return point;
}

void wait_for(Call& call, const std::shared_ptr<Point>& point) {
  State& state = call.state;
  state.progress.wait(call.lock, [&] { return point->reached || state.broken != CUDA_SUCCESS; });
  if (state.broken != CUDA_SUCCESS) throw Failure{state.broken};
}

void wait_for_all(Call& call, const Context* context) {
  State& state = call.state;
  std::vector<std::shared_ptr<Stream>> streams;
  for (const auto& [_, stream] : state.streams.all())
    if (stream->context == context) streams.push_back(stream);
  if (const auto found = state.default_streams.find(context); found != state.default_streams.end())
    streams.push_back(found->second);
  std::vector<std::shared_ptr<Point>> points;
  for (const auto& stream : streams)
    if (!stream->idle()) points.push_back(push_marker(state, *stream));
  for (const auto& point : points) wait_for(call, point);
}

EDGE_API CUresult cuEventCreate(void** handle, unsigned flags) {
  return enter("cuEventCreate", CONTEXT, {{"flags", flags}}, [&](Call& call) {
    auto event = std::make_shared<Event>();
    event->flags = flags;
    *handle = call.state.events.add(std::move(event));
  });
}

EDGE_API CUresult cuEventDestroy_v2(void* handle) {
  return enter("cuEventDestroy", CONTEXT, {}, [&](Call& call) { call.state.events.take(handle); });
}

EDGE_API CUresult cuEventRecord(void* handle, void* stream) {
  return enter("cuEventRecord", CONTEXT, {}, [&](Call& call) {
    record(call, handle, stream, 0);
  });
}

EDGE_API CUresult cuEventRecordWithFlags(void* handle, void* stream, unsigned flags) {
  return enter("cuEventRecordWithFlags", CONTEXT, {{"flags", flags}}, [&](Call& call) {
    record(call, handle, stream, flags);
  });
}

EDGE_API CUresult cuEventQuery(void* handle) {
  return enter("cuEventQuery", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto event = call.state.events.of(handle);
    refuse_captured(*event);
    if (event->point && !event->point->reached) throw Failure{CUDA_ERROR_NOT_READY};
  });
}

EDGE_API CUresult cuEventSynchronize(void* handle) {
  return enter("cuEventSynchronize", CONTEXT | NO_CAPTURE, {}, [&](Call& call) {
    const auto event = call.state.events.of(handle);
    refuse_captured(*event);
    if (event->point) wait_for(call, event->point);
  });
}

EDGE_API CUresult cuEventElapsedTime_v2(float* milliseconds, void* start_handle, void* end_handle) {
  return enter("cuEventElapsedTime", CONTEXT, {}, [&](Call& call) {
    const auto start = call.state.events.of(start_handle), end = call.state.events.of(end_handle);
    refuse_captured(*start);
    refuse_captured(*end);
    if ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING || !start->point || !end->point)
      throw Failure{CUDA_ERROR_INVALID_HANDLE};
    if (!start->point->reached || !end->point->reached) throw Failure{CUDA_ERROR_NOT_READY};
    *milliseconds = static_cast<float>((end->point->seconds - start->point->seconds) * 1e3);
  });
}

EDGE_API CUresult cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

EDGE_API CUresult cuStreamWaitEvent(void* handle, void* event_handle, unsigned flags) {
  return enter("cuStreamWaitEvent", CONTEXT, {}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    const auto event = call.state.events.of(event_handle);
    if (stream->capture && (flags & CU_EVENT_WAIT_EXTERNAL))
      return capture_node(*stream, Node::EVENT_WAIT, nullptr, event);
    if (stream->capture || (event->capture && !event->capture->ended())) return capture_wait(*stream, *event);
    if (event->capture) throw Failure{CUDA_ERROR_CAPTURED_EVENT};
    if (!event->point || event->point->reached) return;
    refuse_implicit(call.state, *stream);
    push(*stream, wait_work(call.state, event->point));
  });
}
