// Capture of streams as graphs.
#include <algorithm>

#include "driver.h"

namespace {

enum Mode { GLOBAL = 0, THREAD_LOCAL = 1, RELAXED = 2 };  // CUstreamCaptureMode
enum Status { NONE = 0, ACTIVE = 1, INVALIDATED = 2 };    // CUstreamCaptureStatus

thread_local int thread_mode = GLOBAL;

Capture& active(const Stream& stream) {
  if (stream.capture->invalidated) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
  return *stream.capture;
}

void add_tail(Stream& stream, Node* node) {
  if (std::find(stream.tails.begin(), stream.tails.end(), node) == stream.tails.end()) stream.tails.push_back(node);
}

// Whether all that was captured leads to the end of the first stream.
bool joined(const Capture& capture) {
  std::set<const Node*> reached(capture.origin->tails.begin(), capture.origin->tails.end());
  const Nodes& nodes = capture.graph->nodes;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node)  // a node comes after those that it depends on
    if (reached.count(node->get())) reached.insert((*node)->after.begin(), (*node)->after.end());
  return std::all_of(capture.streams.begin(), capture.streams.end(), [&](const Stream* stream) {
    return std::all_of(stream->tails.begin(), stream->tails.end(), [&](Node* node) { return reached.count(node) > 0; });
  });
}

void release_streams(State& state, const std::shared_ptr<Capture>& capture) {
  for (Stream* stream : std::set<Stream*>(capture->streams)) {
    stream->tails.clear();
    stream->capture = nullptr;
  }
  capture->streams.clear();
  state.captures.erase(capture);
}

struct CaptureInfo {
  int* status;
  unsigned long long* id;
  void** graph;
  Node* const** dependencies;
  const void** edges;
  std::size_t* count;
};

CUresult capture_info(const void* handle, const CaptureInfo& out) {
  return enter("cuStreamGetCaptureInfo", CONTEXT, {}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    refuse_implicit(call.state, *stream);
    const auto& capture = stream->capture;
    *out.status = !capture ? NONE : capture->invalidated ? INVALIDATED : ACTIVE;
    if (*out.status != ACTIVE) return;
    if (out.id) *out.id = capture->id;
    if (out.graph) *out.graph = capture->graph.get();
    if (out.dependencies) *out.dependencies = stream->tails.data();
    stream->edges.assign(stream->tails.size(), 0);
    if (out.edges) *out.edges = stream->edges.data();
    if (out.count) *out.count = stream->tails.size();
  });
}

}  // namespace

// --- what the other calls ask -------------------------------------------------------------------------------------

void invalidate(Capture& capture, CUresult code) {
  capture.invalidated = true;
  throw Failure{code};
}

// "Potentially unsafe" calls: see cuThreadExchangeStreamCaptureMode.
void refuse_in_capture(State& state) {
  if (thread_mode == RELAXED) return;
  for (const auto& capture : state.captures) {
    const bool own = capture->thread == std::this_thread::get_id() && capture->mode != RELAXED;
    const bool of_another = thread_mode == GLOBAL && capture->mode == GLOBAL;
    if (own || of_another) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
}

// The legacy stream waits for every blocking stream, so it cannot be used while one of those is captured.
void refuse_implicit(State& state, const Stream& stream) {
  if (stream.id != 0) return;
  for (const auto& capture : state.captures)
    for (const Stream* captured : capture->streams)
      if ((captured->flags & 1) == 0) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
}

void capture_node(Stream& stream, Node::Kind kind, Work work, std::shared_ptr<Event> event) {
  Nodes& nodes = active(stream).graph->nodes;
  nodes.push_back(std::make_shared<Node>(Node{kind, std::move(work), std::move(event), stream.tails}));
  stream.tails = {nodes.back().get()};
}

void capture_wait(Stream& stream, const Event& event) {
  if (stream.capture && (!event.capture || event.capture->ended()))
    invalidate(active(stream), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  if (stream.capture && stream.capture != event.capture) invalidate(active(stream), CUDA_ERROR_STREAM_CAPTURE_MERGE);
  if (event.capture->invalidated) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
  if (stream.id == 0) invalidate(*event.capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  if (!stream.capture) {
    stream.capture = event.capture;
    stream.capture->streams.insert(&stream);
  }
  for (Node* node : event.tails) add_tail(stream, node);
}

void end_captures(State& state) {
  while (!state.captures.empty()) {
    const auto capture = *state.captures.begin();
    capture->invalidated = true;
    release_streams(state, capture);
  }
}

// --- capture ------------------------------------------------------------------------------------------------------

EDGE_API CUresult cuStreamBeginCapture_v2(void* handle, int mode) {
  return enter("cuStreamBeginCapture", CONTEXT, {{"mode", static_cast<unsigned>(mode)}}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    if (stream->capture) throw Failure{CUDA_ERROR_ILLEGAL_STATE};
    if (stream->id == 0) throw Failure{CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED};
    if (mode < GLOBAL || mode > RELAXED) throw Failure{CUDA_ERROR_INVALID_VALUE};
    auto capture = std::make_shared<Capture>();
    capture->id = ++call.state.ids;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->origin = stream.get();
    capture->graph = std::make_shared<Graph>();
    capture->streams.insert(stream.get());
    stream->capture = capture;
    call.state.captures.insert(capture);
  });
}

EDGE_API CUresult cuStreamEndCapture(void* handle, void** graph) {
  *graph = nullptr;
  return enter("cuStreamEndCapture", CONTEXT, {}, [&](Call& call) {
    const auto stream = find_stream(call, handle);
    const auto capture = stream->capture;
    if (!capture) throw Failure{CUDA_ERROR_ILLEGAL_STATE};
    if (capture->origin != stream.get()) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (capture->mode != RELAXED && capture->thread != std::this_thread::get_id())
      throw Failure{CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD};
    const bool whole = joined(*capture);
    release_streams(call.state, capture);
    if (capture->invalidated) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
    if (!whole) throw Failure{CUDA_ERROR_STREAM_CAPTURE_UNJOINED};
    *graph = call.state.graphs.add(capture->graph);
  });
}

EDGE_API CUresult cuStreamIsCapturing(void* handle, int* status) {
  return capture_info(handle, {status, nullptr, nullptr, nullptr, nullptr, nullptr});
}

EDGE_API CUresult cuStreamGetCaptureInfo_v2(void* handle, int* status, unsigned long long* id, void** graph,
                                            Node* const** dependencies, std::size_t* count) {
  return capture_info(handle, {status, id, graph, dependencies, nullptr, count});
}

EDGE_API CUresult cuStreamGetCaptureInfo_v3(void* handle, int* status, unsigned long long* id, void** graph,
                                            Node* const** dependencies, const void** edges, std::size_t* count) {
  return capture_info(handle, {status, id, graph, dependencies, edges, count});
}

EDGE_API CUresult cuThreadExchangeStreamCaptureMode(int* mode) {
  return enter("cuThreadExchangeStreamCaptureMode", INITIALIZED, {}, [&](Call&) {
    if (*mode < GLOBAL || *mode > RELAXED) throw Failure{CUDA_ERROR_INVALID_VALUE};
    std::swap(*mode, thread_mode);
  });
}
