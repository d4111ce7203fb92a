// What the environment asks for: the device's facts, faults on demand, a log of the calls.
//
//   EDGE_CUDA_FAULTS   faults, with ';' between them:
//     NAME@N=CODE        the N-th call of NAME returns CODE; NAME@N*=CODE: from the N-th on, NAME@*=CODE: every one
//     async:NAME@N=CODE  that call succeeds, and its work fails when its stream gets there
//     hang:NAME@N        the stream never gets past that work
//     off_the_bus@N      the device answers CUDA_ERROR_UNKNOWN from the N-th launch on
//   EDGE_CUDA_FAULT_FILE  looked at on each launch; when it appears, the launch takes its text: CODE (its work fails),
//     hang, off_the_bus, or rules as above, counted from then on. The file is removed, so that it strikes one process,
//     unless the text begins with "keep": then it stays, and "keep off_the_bus" also fails cuInit.
//   EDGE_CUDA_MEMORY_TAKEN  a file with the bytes of the device's memory that other processes have; may change
//   EDGE_CUDA_LOG      a line a call: name key=value ...
//
// NAME is the name without a version, such as cuMemAlloc. Launches are cuLaunchKernel, cuGraphLaunch, cuLaunchHostFunc.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "driver.h"

namespace {

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : otherwise;
}

[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "emulated CUDA driver: cannot read the fault \"%s\"\n", what.c_str());
  std::abort();
}

bool begins(const std::string& text, const std::string& with) { return text.compare(0, with.size(), with) == 0; }

CUresult code_of(const std::string& text) { return static_cast<CUresult>(std::stoi(text)); }

Rule parse_rule(std::string text) {
  const std::string whole = text;
  Rule rule{"", 1, false, {Fault::AT_CALL, CUDA_SUCCESS}};
  if (begins(text, "hang:")) rule.fault.kind = Fault::HANG;
  if (begins(text, "async:")) rule.fault.kind = Fault::AT_WORK;
  if (begins(text, "off_the_bus@")) rule.fault = {Fault::OFF_THE_BUS, CUDA_ERROR_UNKNOWN};
  text.erase(0, text.find(':') + 1);
  const auto at = text.find('@'), equals = text.find('=');
  const bool takes_code = rule.fault.kind == Fault::AT_CALL || rule.fault.kind == Fault::AT_WORK;
  if (at == std::string::npos || takes_code != (equals != std::string::npos)) refuse(whole);
  rule.name = text.substr(0, at);
  std::string count = text.substr(at + 1, equals == std::string::npos ? equals : equals - at - 1);
  rule.from_then_on = !count.empty() && count.back() == '*';
  if (rule.from_then_on) count.pop_back();
  if (count.find_first_not_of("0123456789") != std::string::npos) refuse(whole);
  if (!count.empty()) rule.first = std::stoul(count);
  if (takes_code) rule.fault.code = code_of(text.substr(equals + 1));
  return rule;
}

std::vector<Rule> parse_rules(const std::string& text) {
  std::vector<Rule> rules;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ';');)
    if (!part.empty()) rules.push_back(parse_rule(part));
  return rules;
}

}  // namespace

Facts Facts::of_environment() {
  Facts facts;
  const std::string capability = environment("EDGE_CUDA_SM", "8.9");
  const auto point = capability.find('.');
  facts.major = std::stoi(capability);
  facts.minor = point == std::string::npos ? 0 : std::stoi(capability.substr(point + 1));
  facts.devices = std::stoi(environment("EDGE_CUDA_DEVICES", "1"));
  facts.driver_version = std::stoi(environment("EDGE_CUDA_DRIVER_VERSION", "13000"));
  facts.integrated = environment("EDGE_CUDA_INTEGRATED", "0") == "1";
  facts.memory_bytes = std::stoull(environment("EDGE_CUDA_MEMORY", "8589934592"));
  facts.name = environment("EDGE_CUDA_NAME", "Emulated GPU");
  facts.kernels = environment("EDGE_CUDA_KERNELS", "");
  facts.taken_file = environment("EDGE_CUDA_MEMORY_TAKEN", "");
  return facts;
}

Faults::Faults()
    : rules_(parse_rules(environment("EDGE_CUDA_FAULTS", ""))), file_(environment("EDGE_CUDA_FAULT_FILE", "")) {}

Fault Faults::next(const std::string& name, bool launch) {
  if (launch)
    if (const std::string text = take_file(); !text.empty())
      if (const Fault fault = of_file(text); fault.kind != Fault::NONE) return fault;
  if (rules_.empty()) return {};
  const unsigned long count = ++calls_[name], launches = launch ? ++calls_["off_the_bus"] : 0;
  for (const Rule& rule : rules_) {
    const unsigned long reached = rule.name == name ? count : rule.name == "off_the_bus" ? launches : 0;
    if (reached == rule.first || (rule.from_then_on && reached > rule.first)) return rule.fault;
  }
  return {};
}

Fault Faults::at_start() {
  if (read_file() == "keep off_the_bus") return {Fault::OFF_THE_BUS, CUDA_ERROR_UNKNOWN};
  return {};
}

std::string Faults::read_file() const {  // empty: there is none
  std::string text;
  if (!file_.empty()) std::getline(std::ifstream(file_), text);
  return text;
}

std::string Faults::take_file() {  // empty: there is none, or it was taken before
  const std::string text = read_file();
  const bool keep = begins(text, "keep ");
  const bool taken_before = std::exchange(kept_file_taken_, keep);
  if (keep) return taken_before ? "" : text.substr(5);
  return !text.empty() && unlink(file_.c_str()) == 0 ? text : "";
}

Fault Faults::of_file(const std::string& text) {
  if (text == "off_the_bus") return {Fault::OFF_THE_BUS, CUDA_ERROR_UNKNOWN};
  if (text == "hang") return {Fault::HANG, CUDA_SUCCESS};
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos)
    return {Fault::AT_WORK, code_of(text)};
  rules_ = parse_rules(text);
  calls_.clear();
  return {};
}

Log::Log() {
  const std::string path = environment("EDGE_CUDA_LOG", "");
  if (path.empty()) return;
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) std::perror("emulated CUDA driver: EDGE_CUDA_LOG");
}

Log::~Log() {
  if (file_ >= 0) close(file_);
}

void Log::write(const char* name, Details details, const Fault& fault, const char* text) const {
  if (file_ < 0) return;
  std::string line = name;
  for (const Detail& one : details) line += std::string(" ") + one.key + "=" + std::to_string(one.value);
  if (text) line += std::string(" name=") + text;
  if (fault.kind != Fault::NONE) line += " fault=" + std::to_string(fault.code);
  line += "\n";
  if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    std::perror("emulated CUDA driver: EDGE_CUDA_LOG");
}
