// What the environment asks for; see faults.cpp.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "errors.h"

struct Facts {  // EDGE_CUDA_*
  int major, minor, devices, driver_version;
  bool integrated;
  std::size_t memory_bytes;
  std::string name, kernels, taken_file;
  static Facts of_environment();
};

struct Fault {
  enum Kind { NONE, AT_CALL, AT_WORK, HANG, OFF_THE_BUS } kind = NONE;
  CUresult code = CUDA_SUCCESS;
};

struct Rule {  // EDGE_CUDA_FAULTS: "cuMemAlloc@2=2", from then on "cuMemAlloc@2*=2"
  std::string name;
  unsigned long first;
  bool from_then_on;
  Fault fault;
};

class Faults {
 public:
  Faults();
  Fault next(const std::string& name, bool launch);  // of this call; counts it
  Fault at_start();                                  // of cuInit: a fault that is kept outlives the process

 private:
  std::string read_file() const;
  std::string take_file();
  Fault of_file(const std::string& text);
  std::vector<Rule> rules_;
  std::map<std::string, unsigned long> calls_;
  std::string file_;
  bool kept_file_taken_ = false;
};

struct Detail {
  const char* key;
  unsigned long long value;
};
using Details = std::initializer_list<Detail>;

class Log {  // EDGE_CUDA_LOG
 public:
  Log();
  ~Log();
  void write(const char* name, Details details, const Fault& fault, const char* text) const;

 private:
  int file_ = -1;
};
