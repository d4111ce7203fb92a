// An emulated libnvidia-ml.so.1: it answers what a text file says, so that the real nvidia-ml-py runs without a GPU.
// The file named by EDGE_NVML_STATE holds lines KEY=NUMBER or KEY=TEXT and is read anew at each call. Keys are
// `init`, `count`, `driver` and `<gpu>.<reading>`. A reading that is not there answers NVML_ERROR_NOT_SUPPORTED; one
// that is `error:N` answers N; `<gpu>.lost=1` makes every call for that GPU answer NVML_ERROR_GPU_IS_LOST, and
// `<gpu>.hang=1` makes it wait until the line is gone. The signatures are those of nvml.h.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

namespace {

enum Result { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, TIMEOUT = 10, GPU_IS_LOST = 15 };

struct Device { unsigned index; };
struct Pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
struct Utilization { unsigned gpu, memory; };
struct Memory { unsigned long long total, free, used; };
struct Event { Device* device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

Device devices[16] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12}, {13}, {14}, {15}};
unsigned long long told_xids[16];

std::string look(const std::string& key) {
    const char* path = std::getenv("EDGE_NVML_STATE");
    std::ifstream file(path ? path : "");
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, key.size() + 1, key + "=") == 0) return line.substr(key.size() + 1);
    return "";
}

unsigned long long number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 0); }

int text_of(const std::string& key, std::string& value) {
    value = look(key);
    if (value.empty()) return NOT_SUPPORTED;
    return value.compare(0, 6, "error:") == 0 ? static_cast<int>(number(value.substr(6))) : SUCCESS;
}

int of_device(const Device* device, const char* reading, std::string& value) {
    const std::string prefix = std::to_string(device->index) + ".";
    while (look(prefix + "hang") == "1") usleep(10000);
    if (look(prefix + "lost") == "1") return GPU_IS_LOST;
    return text_of(prefix + reading, value);
}

template <typename Number>
int answer(const Device* device, const char* reading, Number* into) {
    std::string value;
    const int result = of_device(device, reading, value);
    if (result == SUCCESS) *into = static_cast<Number>(number(value));
    return result;
}

int copy(int result, const std::string& value, char* into, unsigned length) {
    if (result == SUCCESS) std::strncpy(into, value.c_str(), length);
    return result;
}

}  // namespace

extern "C" {

int nvmlInitWithFlags(unsigned) { return static_cast<int>(number(look("init"))); }
int nvmlShutdown() { return SUCCESS; }

const char* nvmlErrorString(int result) { return result == 18 ? "Driver/library version mismatch" : "an error"; }

int nvmlSystemGetDriverVersion(char* version, unsigned length) {
    std::string value;
    return copy(text_of("driver", value), value, version, length);
}

int nvmlDeviceGetCount_v2(unsigned* count) {
    *count = static_cast<unsigned>(number(look("count")));
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device** device) {
    if (index >= number(look("count"))) return INVALID_ARGUMENT;
    if (look(std::to_string(index) + ".lost") == "1") return GPU_IS_LOST;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetName(Device* device, char* name, unsigned length) {
    std::string value;
    return copy(of_device(device, "name", value), value, name, length);
}

int nvmlDeviceGetPciInfo_v3(Device* device, Pci* pci) {
    std::string value;
    std::memset(pci, 0, sizeof *pci);
    return copy(of_device(device, "bus", value), value, pci->bus_id, sizeof pci->bus_id);
}

int nvmlDeviceGetUtilizationRates(Device* device, Utilization* rates) {
    rates->memory = 0;
    return answer(device, "utilization", &rates->gpu);
}

int nvmlDeviceGetMemoryInfo(Device* device, Memory* memory) {
    const int result = answer(device, "memory_total", &memory->total);
    if (result != SUCCESS) return result;
    const int used = answer(device, "memory_used", &memory->used);
    memory->free = memory->total - memory->used;
    return used;
}

int nvmlDeviceGetPowerUsage(Device* device, unsigned* milliwatts) { return answer(device, "power", milliwatts); }
int nvmlDeviceGetEnforcedPowerLimit(Device* device, unsigned* limit) { return answer(device, "power_limit", limit); }
int nvmlDeviceGetTemperature(Device* device, unsigned, unsigned* celsius) { return answer(device, "celsius", celsius); }
int nvmlDeviceGetFanSpeed(Device* device, unsigned* percent) { return answer(device, "fan", percent); }

int nvmlDeviceGetClockInfo(Device* device, unsigned type, unsigned* megahertz) {
    return answer(device, type == 2 ? "clock_memory" : "clock_graphics", megahertz);
}

int nvmlDeviceGetMaxClockInfo(Device* device, unsigned type, unsigned* megahertz) {
    return answer(device, type == 2 ? "most_memory" : "most_graphics", megahertz);
}

int nvmlDeviceGetCurrentClocksEventReasons(Device* device, unsigned long long* reasons) {
    return answer(device, "reasons", reasons);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device* device, unsigned long long* reasons) {
    return answer(device, "old_reasons", reasons);
}

int nvmlDeviceGetTotalEccErrors(Device* device, unsigned type, unsigned, unsigned long long* errors) {
    return answer(device, type == 0 ? "ecc_corrected" : "ecc_uncorrected", errors);
}

int nvmlEventSetCreate(void** set) {
    static int only;
    *set = &only;
    return look("events") == "0" ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceRegisterEvents(Device* device, unsigned long long, void*) {
    std::string value;
    return of_device(device, "xids", value);
}

// `<gpu>.xids=N`: N events are told, one a call; their number is `<gpu>.xid`.
int nvmlEventSetWait_v2(void*, Event* event, unsigned) {
    for (Device& device : devices) {
        const std::string prefix = std::to_string(device.index) + ".";
        unsigned long long& told = told_xids[device.index];
        const unsigned long long xids = number(look(prefix + "xids"));
        if (told > xids) told = xids;
        if (told < xids) {
            ++told;
            *event = {&device, 8, number(look(prefix + "xid")), 0, 0};
            return SUCCESS;
        }
    }
    return TIMEOUT;
}
}
