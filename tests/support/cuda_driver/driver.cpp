// The driver itself: its one state, and what every call goes through.
#include <unistd.h>

#include <cstdlib>

#include "driver.h"

namespace {

// Never destroyed: streams' threads may outlive main().
std::atomic<State*> the_driver{nullptr};
std::mutex the_driver_gate;

// What stands against this call; CUDA_SUCCESS: nothing.
CUresult obstacle(const State& state, unsigned needs, const Context* context) {
  if (in_host_function()) return CUDA_ERROR_NOT_PERMITTED;
  if ((needs & INITIALIZED) && !state.process) return CUDA_ERROR_NOT_INITIALIZED;
  if ((needs & INITIALIZED) && state.lost) return state.broken;
  if ((needs & CONTEXT) != CONTEXT) return CUDA_SUCCESS;
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (state.broken != CUDA_SUCCESS) return state.broken;
  return context->retained ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

}  // namespace

State& driver() {
  if (State* found = the_driver) return *found;
  std::lock_guard<std::mutex> hold(the_driver_gate);
  if (!the_driver) the_driver = new State;
  return *the_driver;
}

bool State::forked() const {
  const pid_t started = process;
  return started && started != getpid();
}

// For tests: forget everything and read the environment again. What the old driver had stays allocated.
EDGE_API void edge_cuda_reset() {
  static std::vector<State*>& retired = *new std::vector<State*>;
  std::lock_guard<std::mutex> hold(the_driver_gate);
  State* fresh = new State;
  if (State* old = the_driver.exchange(fresh)) {
    Lock lock(old->gate);
    break_context(*old, CUDA_ERROR_DEINITIALIZED);
    for (const auto& context : old->contexts) close_streams(*old, context.get());
    retired.push_back(old);
  }
}

CUresult enter(const char* name, unsigned needs, Details details, const std::function<void(Call&)>& body,
               const char* text) {
  State& state = driver();
  if (state.forked()) return CUDA_ERROR_NOT_INITIALIZED;  // before the lock: another thread may have had it
  Lock lock(state.gate);
  const Fault fault = state.faults.next(name, needs & LAUNCH);
  state.log.write(name, details, fault, text);
  Context* context = current_context(state);
  if (const CUresult code = obstacle(state, needs, context)) return code;
  if (fault.kind == Fault::AT_CALL || fault.kind == Fault::OFF_THE_BUS) {
    state.lost = state.lost || fault.kind == Fault::OFF_THE_BUS;
    if (sticky(fault.code)) break_context(state, fault.code);
    return fault.code;
  }
  try {
    if (needs & NO_CAPTURE) refuse_in_capture(state);
    Call call{state, lock, fault, context};
    body(call);
    if (call.fault.kind == Fault::AT_WORK) break_context(state, call.fault.code);
    if (call.fault.kind == Fault::HANG) {  // it had no work that could hang
      state.progress.wait(lock, [&] { return state.stopped(); });
      return state.broken;
    }
    return CUDA_SUCCESS;
  } catch (const Failure& failure) {
    return failure.code;
  }
}

EDGE_API CUresult cuInit(unsigned flags) {
  return enter("cuInit", NOTHING, {}, [&](Call& call) {
    State& state = call.state;
    if (flags) throw Failure{CUDA_ERROR_INVALID_VALUE};
    if (state.process) return;
    if (state.facts.devices == 0) throw Failure{CUDA_ERROR_NO_DEVICE};
    if (const Fault fault = state.faults.at_start(); fault.kind != Fault::NONE) throw Failure{fault.code};
    state.process = getpid();
    for (int device = 0; device < state.facts.devices; ++device)
      state.contexts.push_back(std::make_unique<Context>(Context{device}));
    static const int at_exit = std::atexit([] {
      State& last = driver();
      Lock hold(last.gate);
      last.ending = true;
    });
    (void)at_exit;
  });
}

EDGE_API CUresult cuDriverGetVersion(int* version) {
  return enter("cuDriverGetVersion", NOTHING, {}, [&](Call& call) { *version = call.state.facts.driver_version; });
}
