// Graphs and their launch.
#include <algorithm>
#include <cstdio>

#include "driver.h"

namespace {

const char* const NAMES[] = {"kernel", "memcpy", "memset", "host", "graph", "empty", "wait", "record"};

// One launch of the nodes. Its events count as recorded from now on.
std::vector<Work> begin_launch(State& state, const Nodes& nodes) {
  std::vector<Work> steps;
  for (const auto& node : nodes) {
    if (node->kind == Node::EVENT_RECORD) {
      node->event->capture = nullptr;
      node->event->point = std::make_shared<Point>();
    }
    steps.push_back(node->kind == Node::EVENT_RECORD ? reach_work(state, node->event->point)
                    : node->kind == Node::EVENT_WAIT ? wait_work(state, node->event->point)
                                                     : node->work);
  }
  return steps;
}

CUresult run(State& state, const std::vector<Work>& steps) {
  for (const Work& step : steps) {
    {
      Lock lock(state.gate);
      if (state.stopped()) return CUDA_SUCCESS;
    }
    if (const CUresult code = step()) return code;
  }
  return CUDA_SUCCESS;
}

void instantiate(Call& call, void** handle, const void* graph) {
  auto executable = std::make_shared<Executable>();
  executable->nodes = call.state.graphs.of(graph)->nodes;
  *handle = call.state.executables.add(std::move(executable));
}

}  // namespace

EDGE_API CUresult cuGraphCreate(void** graph, unsigned) {
  return enter("cuGraphCreate", CONTEXT, {},
               [&](Call& call) { *graph = call.state.graphs.add(std::make_shared<Graph>()); });
}

EDGE_API CUresult cuGraphDestroy(void* graph) {
  return enter("cuGraphDestroy", CONTEXT, {}, [&](Call& call) { call.state.graphs.take(graph); });
}

EDGE_API CUresult cuGraphGetNodes(void* graph, void** nodes, std::size_t* count) {
  return enter("cuGraphGetNodes", CONTEXT, {}, [&](Call& call) {
    const auto found = call.state.graphs.of(graph);
    for (std::size_t i = 0; nodes && i < *count; ++i)
      nodes[i] = i < found->nodes.size() ? found->nodes[i].get() : nullptr;
    *count = nodes ? std::min(*count, found->nodes.size()) : found->nodes.size();
  });
}

EDGE_API CUresult cuGraphDebugDotPrint(void* graph, const char* path, unsigned) {
  return enter("cuGraphDebugDotPrint", CONTEXT, {}, [&](Call& call) {
    std::FILE* file = std::fopen(path, "w");
    if (!file) throw Failure{CUDA_ERROR_OPERATING_SYSTEM};
    std::fprintf(file, "digraph dot {\n");
    for (const auto& node : call.state.graphs.of(graph)->nodes) {
      const void* name = node.get();
      std::fprintf(file, "\"%p\" [label=\"%s\"];\n", name, NAMES[node->kind]);
      for (const void* before : node->after) std::fprintf(file, "\"%p\" -> \"%p\";\n", before, name);
    }
    std::fprintf(file, "}\n");
    std::fclose(file);
  });
}

EDGE_API CUresult cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  return enter("cuGraphInstantiate", CONTEXT, {}, [&](Call& call) { instantiate(call, executable, graph); });
}

struct InstantiateParameters {  // CUDA_GRAPH_INSTANTIATE_PARAMS
  unsigned long long flags;
  void* upload_stream;
  void* error_node;
  int result;
};

EDGE_API CUresult cuGraphInstantiateWithParams(void** executable, void* graph, InstantiateParameters* parameters) {
  return enter("cuGraphInstantiate", CONTEXT, {}, [&](Call& call) {
    instantiate(call, executable, graph);
    parameters->error_node = nullptr;
    parameters->result = 0;
  });
}

EDGE_API CUresult cuGraphUpload(void* executable, void* stream) {
  return enter("cuGraphUpload", CONTEXT, {}, [&](Call& call) {
    call.state.executables.of(executable);
    find_stream(call, stream);
  });
}

EDGE_API CUresult cuGraphLaunch(void* handle, void* stream_handle) {
  return enter("cuGraphLaunch", CONTEXT | LAUNCH, {}, [&](Call& call) {
    const auto executable = call.state.executables.of(handle);
    const auto stream = find_stream(call, stream_handle);
    State& state = call.state;
    if (stream->capture)
      return append(call, *stream, Node::CHILD_GRAPH, [&state, nodes = executable->nodes] {
        Lock lock(state.gate);
        const auto steps = begin_launch(state, nodes);
        lock.unlock();
        return run(state, steps);
      });
    const auto done = std::make_shared<Point>();
    auto steps = begin_launch(state, executable->nodes);
    steps.insert(steps.begin(), wait_work(state, executable->last_launch));  // a graph runs once at a time
    steps.push_back(reach_work(state, done));
    append(call, *stream, Node::CHILD_GRAPH, [&state, steps] { return run(state, steps); });
    executable->last_launch = done;
  });
}

EDGE_API CUresult cuGraphExecDestroy(void* executable) {
  return enter("cuGraphExecDestroy", CONTEXT, {}, [&](Call& call) { call.state.executables.take(executable); });
}

struct UpdateResult {  // CUgraphExecUpdateResultInfo
  int result;
  void *error_node, *error_from_node;
};

EDGE_API CUresult cuGraphExecUpdate_v2(void* handle, void* graph, UpdateResult* result) {
  enum { SUCCESS = 0, TOPOLOGY_CHANGED = 2, NODE_TYPE_CHANGED = 3 };
  return enter("cuGraphExecUpdate", CONTEXT, {}, [&](Call& call) {
    const auto executable = call.state.executables.of(handle);
    const Nodes& fresh = call.state.graphs.of(graph)->nodes;
    *result = {SUCCESS, nullptr, nullptr};
    if (fresh.size() != executable->nodes.size()) result->result = TOPOLOGY_CHANGED;
    for (std::size_t i = 0; result->result == SUCCESS && i < fresh.size(); ++i)
      if (fresh[i]->kind != executable->nodes[i]->kind) *result = {NODE_TYPE_CHANGED, fresh[i].get(), nullptr};
    if (result->result != SUCCESS) throw Failure{CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE};
    executable->nodes = fresh;
  });
}
