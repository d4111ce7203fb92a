// An emulated CUDA driver: the driver API (libcuda.so.1) on the host's memory and threads, for tests.
//
// It keeps the order, the bookkeeping and the failures of the CUDA driver API; it says nothing about speed.
// A stream is a thread with a queue, device memory is host memory, a kernel is a host function of EDGE_CUDA_KERNELS.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "errors.h"
#include "faults.h"

#define EDGE_API extern "C" __attribute__((visibility("default")))

using CUdeviceptr = unsigned long long;
using CUdevice = int;

struct State;
using Lock = std::unique_lock<std::mutex>;
using Work = std::function<CUresult()>;  // what a stream's thread does; a code other than 0 breaks the context

// --- the objects behind the handles -------------------------------------------------------------------------------

struct Context {  // the primary context of a device
  int device;
  unsigned flags = 0;
  int retained = 0;
};

struct Point {  // where an event was recorded
  bool reached = false;
  double seconds = 0;
};

struct Event;
struct Node {
  enum Kind { KERNEL = 0, MEMCPY = 1, MEMSET = 2, HOST = 3, CHILD_GRAPH = 4, EVENT_WAIT = 6, EVENT_RECORD = 7 };
  Kind kind;
  Work work;  // none where there is an event
  std::shared_ptr<Event> event;
  std::vector<Node*> after;
};
using Nodes = std::vector<std::shared_ptr<Node>>;  // each after those that it depends on

struct Graph {
  Nodes nodes;
};

struct Executable {  // CUgraphExec
  Nodes nodes;
  std::shared_ptr<Point> last_launch;
};

struct Stream;
struct Capture {
  unsigned long long id;
  int mode;
  std::thread::id thread;
  Stream* origin;
  std::shared_ptr<Graph> graph;
  std::set<Stream*> streams;
  bool invalidated = false;

  bool ended() const { return streams.empty(); }
};

struct Event {
  unsigned flags = 0;
  std::shared_ptr<Point> point;      // last recorded outside of a capture, or
  std::shared_ptr<Capture> capture;  // inside of this one,
  std::vector<Node*> tails;          // after these
};

struct Stream {
  unsigned long long id;
  Context* context;
  unsigned flags;
  int priority;
  std::deque<Work> queue;
  std::condition_variable wake;
  bool busy = false, closing = false;
  std::shared_ptr<Capture> capture;
  std::vector<Node*> tails;  // the next captured node comes after these
  std::vector<std::uint64_t> edges;  // the CUgraphEdgeData of those

  bool idle() const { return queue.empty() && !busy; }
};

struct Block {  // a piece of memory that the driver knows
  enum Kind { DEVICE, PINNED, REGISTERED } kind;
  std::size_t bytes;
  unsigned char* base;  // what was allocated, with guards; null of registered memory
  Context* context;
  unsigned flags;
};

struct Module {
  std::map<std::string, struct Function*> functions;
};

struct Function {
  using Entry = void (*)(const unsigned* grid, const unsigned* block, void** arguments);
  std::string name;
  Entry entry;
  std::vector<unsigned char> sizes;  // of the arguments, in bytes
  Module* module;
};

// Live objects of one kind by their handle.
template <class T> class Handles {
 public:
  void* add(std::shared_ptr<T> object) {
    T* handle = object.get();
    live_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<T> of(const void* handle) const {
    const auto found = live_.find(handle);
    if (found == live_.end()) throw Failure{CUDA_ERROR_INVALID_HANDLE};
    return found->second;
  }
  std::shared_ptr<T> take(const void* handle) {
    auto object = of(handle);
    live_.erase(handle);
    return object;
  }
  const std::map<const void*, std::shared_ptr<T>>& all() const { return live_; }
  void clear() { live_.clear(); }

 private:
  std::map<const void*, std::shared_ptr<T>> live_;
};

// --- the driver ---------------------------------------------------------------------------------------------------

struct State {  // all of one driver; `gate` guards it
  Facts facts = Facts::of_environment();
  Faults faults;
  Log log;
  std::mutex gate;
  std::condition_variable progress;  // a point was reached, a stream has no more work, or the context broke
  std::atomic<pid_t> process{0};     // that called cuInit
  CUresult broken = CUDA_SUCCESS;    // the sticky error
  bool lost = false;                 // off the bus: the device itself does not answer
  bool ending = false;               // of the process: no stream begins new work
  std::vector<std::unique_ptr<Context>> contexts;
  std::map<const Context*, std::shared_ptr<Stream>> default_streams;
  Handles<Stream> streams;
  Handles<Event> events;
  Handles<Graph> graphs;
  Handles<Executable> executables;
  Handles<Module> modules;
  Handles<Function> functions;
  std::map<CUdeviceptr, Block> blocks;
  std::size_t used_bytes = 0;
  std::set<std::shared_ptr<Capture>> captures;
  unsigned long long ids = 0;

  bool forked() const;  // a child of the process that called cuInit cannot use the driver
  bool stopped() const { return broken != CUDA_SUCCESS || ending; }
};

State& driver();

enum Needs : unsigned {
  NOTHING = 0,       // works always
  INITIALIZED = 1,   // cuInit was called, and the device answers
  CONTEXT = 2 | 1,   // a context is current and not broken
  NO_CAPTURE = 4,    // "potentially unsafe" while a graph is captured
  LAUNCH = 8,        // counts as a launch for faults
};

struct Call {  // a call that has come in
  State& state;
  Lock& lock;
  Fault fault;  // what its work shall do; NONE again when that was arranged
  Context* context;
};

// Runs one call: its fault, its line in the log, what it needs, then `body`, which may throw Failure.
CUresult enter(const char* name, unsigned needs, Details details, const std::function<void(Call&)>& body,
               const char* text = nullptr);

// What a call's line in the log needs of the driver, looked up before the call.
template <class Look> auto look_up(Look look) -> decltype(look(driver())) {
  State& state = driver();
  if (state.forked()) return {};
  Lock lock(state.gate);
  return look(state);
}

// devices.cpp
void check_device(const State& state, CUdevice device);

// context.cpp
Context* current_context(State& state);
void close_streams(State& state, const Context* context);

// streams.cpp
std::shared_ptr<Stream> find_stream(Call& call, const void* handle);
std::shared_ptr<Stream> start_stream(State& state, Context* context, unsigned flags, int priority);
void push(Stream& stream, Work work);
void append(Call& call, Stream& stream, Node::Kind kind, Work work);  // runs, or is captured
void break_context(State& state, CUresult code);
bool in_host_function();

// events.cpp
Work reach_work(State& state, std::shared_ptr<Point> point);
Work wait_work(State& state, std::shared_ptr<Point> point);  // no point: it is reached
std::shared_ptr<Point> push_marker(State& state, Stream& stream);
void wait_for(Call& call, const std::shared_ptr<Point>& point);
void wait_for_all(Call& call, const Context* context);

// capture.cpp
void refuse_in_capture(State& state);
void refuse_implicit(State& state, const Stream& stream);
void capture_node(Stream& stream, Node::Kind kind, Work work, std::shared_ptr<Event> event = nullptr);
void capture_wait(Stream& stream, const Event& event);
void end_captures(State& state);
[[noreturn]] void invalidate(Capture& capture, CUresult code);

// memory.cpp
inline unsigned char* bytes_at(CUdeviceptr address) { return reinterpret_cast<unsigned char*>(address); }
inline CUdeviceptr address_of(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }
CUdeviceptr start_of(const State& state, CUdeviceptr address);  // of the block that this address is in
const Block* block_of(const State& state, CUdeviceptr address);
void release_memory(State& state, Context* context);
CUresult check_guards(State& state, const char* after);

// modules.cpp
void release_modules(State& state);
