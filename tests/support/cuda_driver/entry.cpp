// The table of the calls that cuGetProcAddress answers from.
#include <cstring>

#include "driver.h"

// Name, the form of it (NAME, NAME_v2, ...), the CUDA version that brought this form. Of the forms that the caller and
// the driver know, the newest counts.
#define EDGE_CALLS(X) \
  X("cuGetErrorName", cuGetErrorName, 6000) \
  X("cuGetErrorString", cuGetErrorString, 6000) \
  X("cuInit", cuInit, 2000) \
  X("cuDriverGetVersion", cuDriverGetVersion, 2020) \
  X("cuDeviceGetCount", cuDeviceGetCount, 2000) \
  X("cuDeviceGet", cuDeviceGet, 2000) \
  X("cuDeviceGetName", cuDeviceGetName, 2000) \
  X("cuDeviceGetAttribute", cuDeviceGetAttribute, 2000) \
  X("cuDeviceComputeCapability", cuDeviceComputeCapability, 2000) \
  X("cuDeviceTotalMem", cuDeviceTotalMem_v2, 3020) \
  X("cuDeviceGetUuid", cuDeviceGetUuid, 9020) \
  X("cuDeviceGetUuid", cuDeviceGetUuid_v2, 11040) \
  X("cuDeviceGetPCIBusId", cuDeviceGetPCIBusId, 4010) \
  X("cuDeviceGetByPCIBusId", cuDeviceGetByPCIBusId, 4010) \
  X("cuDeviceCanAccessPeer", cuDeviceCanAccessPeer, 4000) \
  X("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain, 7000) \
  X("cuDevicePrimaryCtxReset", cuDevicePrimaryCtxReset_v2, 11000) \
  X("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2, 11000) \
  X("cuDevicePrimaryCtxSetFlags", cuDevicePrimaryCtxSetFlags_v2, 11000) \
  X("cuDevicePrimaryCtxGetState", cuDevicePrimaryCtxGetState, 7000) \
  X("cuCtxSetCurrent", cuCtxSetCurrent, 4000) \
  X("cuCtxGetCurrent", cuCtxGetCurrent, 4000) \
  X("cuCtxPushCurrent", cuCtxPushCurrent_v2, 4000) \
  X("cuCtxPopCurrent", cuCtxPopCurrent_v2, 4000) \
  X("cuCtxGetDevice", cuCtxGetDevice, 2000) \
  X("cuCtxGetDevice", cuCtxGetDevice_v2, 13000) \
  X("cuCtxGetApiVersion", cuCtxGetApiVersion, 3020) \
  X("cuCtxGetFlags", cuCtxGetFlags, 7000) \
  X("cuCtxGetId", cuCtxGetId, 12000) \
  X("cuCtxGetStreamPriorityRange", cuCtxGetStreamPriorityRange, 5050) \
  X("cuCtxSynchronize", cuCtxSynchronize, 2000) \
  X("cuCtxSynchronize", cuCtxSynchronize_v2, 13000) \
  X("cuStreamCreate", cuStreamCreate, 2000) \
  X("cuStreamCreateWithPriority", cuStreamCreateWithPriority, 5050) \
  X("cuStreamGetPriority", cuStreamGetPriority, 5050) \
  X("cuStreamGetFlags", cuStreamGetFlags, 5050) \
  X("cuStreamGetId", cuStreamGetId, 12000) \
  X("cuStreamGetCtx", cuStreamGetCtx, 9020) \
  X("cuStreamGetCtx", cuStreamGetCtx_v2, 12050) \
  X("cuStreamDestroy", cuStreamDestroy_v2, 4000) \
  X("cuStreamSynchronize", cuStreamSynchronize, 2000) \
  X("cuStreamQuery", cuStreamQuery, 2000) \
  X("cuStreamWaitEvent", cuStreamWaitEvent, 3020) \
  X("cuLaunchHostFunc", cuLaunchHostFunc, 10000) \
  X("cuEventCreate", cuEventCreate, 2000) \
  X("cuEventDestroy", cuEventDestroy_v2, 4000) \
  X("cuEventRecord", cuEventRecord, 2000) \
  X("cuEventRecordWithFlags", cuEventRecordWithFlags, 11010) \
  X("cuEventQuery", cuEventQuery, 2000) \
  X("cuEventSynchronize", cuEventSynchronize, 2000) \
  X("cuEventElapsedTime", cuEventElapsedTime_v2, 12080) \
  X("cuEventElapsedTime", cuEventElapsedTime, 2000) \
  X("cuStreamBeginCapture", cuStreamBeginCapture_v2, 10010) \
  X("cuStreamEndCapture", cuStreamEndCapture, 10000) \
  X("cuStreamIsCapturing", cuStreamIsCapturing, 10000) \
  X("cuStreamGetCaptureInfo", cuStreamGetCaptureInfo_v2, 11030) \
  X("cuStreamGetCaptureInfo", cuStreamGetCaptureInfo_v3, 12030) \
  X("cuThreadExchangeStreamCaptureMode", cuThreadExchangeStreamCaptureMode, 10010) \
  X("cuGraphCreate", cuGraphCreate, 10000) \
  X("cuGraphDestroy", cuGraphDestroy, 10000) \
  X("cuGraphGetNodes", cuGraphGetNodes, 10000) \
  X("cuGraphDebugDotPrint", cuGraphDebugDotPrint, 11030) \
  X("cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags, 11040) \
  X("cuGraphInstantiateWithParams", cuGraphInstantiateWithParams, 12000) \
  X("cuGraphUpload", cuGraphUpload, 11010) \
  X("cuGraphLaunch", cuGraphLaunch, 10000) \
  X("cuGraphExecDestroy", cuGraphExecDestroy, 10000) \
  X("cuGraphExecUpdate", cuGraphExecUpdate_v2, 12000) \
  X("cuMemGetInfo", cuMemGetInfo_v2, 3020) \
  X("cuMemAlloc", cuMemAlloc_v2, 3020) \
  X("cuMemFree", cuMemFree_v2, 3020) \
  X("cuMemAllocAsync", cuMemAllocAsync, 11020) \
  X("cuMemFreeAsync", cuMemFreeAsync, 11020) \
  X("cuMemGetAddressRange", cuMemGetAddressRange_v2, 3020) \
  X("cuDeviceGetDefaultMemPool", cuDeviceGetDefaultMemPool, 11020) \
  X("cuDeviceGetMemPool", cuDeviceGetMemPool, 11020) \
  X("cuMemPoolSetAttribute", cuMemPoolSetAttribute, 11020) \
  X("cuMemPoolTrimTo", cuMemPoolTrimTo, 11020) \
  X("cuMemAllocHost", cuMemAllocHost_v2, 3020) \
  X("cuMemHostAlloc", cuMemHostAlloc, 2020) \
  X("cuMemFreeHost", cuMemFreeHost, 2000) \
  X("cuMemHostGetDevicePointer", cuMemHostGetDevicePointer_v2, 3020) \
  X("cuMemHostGetFlags", cuMemHostGetFlags, 2030) \
  X("cuMemHostRegister", cuMemHostRegister_v2, 6050) \
  X("cuMemHostUnregister", cuMemHostUnregister, 4000) \
  X("cuPointerGetAttribute", cuPointerGetAttribute, 4000) \
  X("cuPointerGetAttributes", cuPointerGetAttributes, 7000) \
  X("cuMemcpyHtoD", cuMemcpyHtoD_v2, 3020) \
  X("cuMemcpyDtoH", cuMemcpyDtoH_v2, 3020) \
  X("cuMemcpyDtoD", cuMemcpyDtoD_v2, 3020) \
  X("cuMemcpy", cuMemcpy, 4000) \
  X("cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2, 3020) \
  X("cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2, 3020) \
  X("cuMemcpyDtoDAsync", cuMemcpyDtoDAsync_v2, 3020) \
  X("cuMemcpyAsync", cuMemcpyAsync, 4000) \
  X("cuMemsetD8", cuMemsetD8_v2, 3020) \
  X("cuMemsetD16", cuMemsetD16_v2, 3020) \
  X("cuMemsetD32", cuMemsetD32_v2, 3020) \
  X("cuMemsetD8Async", cuMemsetD8Async, 3020) \
  X("cuMemsetD16Async", cuMemsetD16Async, 3020) \
  X("cuMemsetD32Async", cuMemsetD32Async, 3020) \
  X("cuModuleLoadData", cuModuleLoadData, 2000) \
  X("cuModuleLoadDataEx", cuModuleLoadDataEx, 2010) \
  X("cuModuleUnload", cuModuleUnload, 2000) \
  X("cuModuleGetFunction", cuModuleGetFunction, 2000) \
  X("cuModuleGetGlobal", cuModuleGetGlobal_v2, 3020) \
  X("cuModuleGetLoadingMode", cuModuleGetLoadingMode, 11070) \
  X("cuLibraryLoadData", cuLibraryLoadData, 12000) \
  X("cuLibraryUnload", cuLibraryUnload, 12000) \
  X("cuLibraryGetKernel", cuLibraryGetKernel, 12000) \
  X("cuKernelGetFunction", cuKernelGetFunction, 12000) \
  X("cuFuncGetAttribute", cuFuncGetAttribute, 2020) \
  X("cuFuncSetAttribute", cuFuncSetAttribute, 9000) \
  X("cuFuncSetCacheConfig", cuFuncSetCacheConfig, 3000) \
  X("cuOccupancyMaxActiveBlocksPerMultiprocessor", cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050) \
  X("cuLaunchKernel", cuLaunchKernel, 4000) \
  X("cuLaunchKernelEx", cuLaunchKernelEx, 11060)

#define EDGE_DECLARE(name, function, since) extern "C" void function();  // only their addresses are taken here
EDGE_CALLS(EDGE_DECLARE)
#undef EDGE_DECLARE

namespace {

struct Entry {
  const char* name;
  void (*function)();
  int since;
};

const Entry ENTRIES[] = {
#define EDGE_ENTRY(name, function, since) {name, function, since},
    EDGE_CALLS(EDGE_ENTRY)
#undef EDGE_ENTRY
};

enum Status { FOUND = 0, NOT_FOUND = 1, VERSION_NOT_SUFFICIENT = 2 };  // CUdriverProcAddressQueryResult

}  // namespace

EDGE_API CUresult cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long,
                                      int* status) {
  if (!name || !function) return CUDA_ERROR_INVALID_VALUE;
  const Entry* best = nullptr;
  bool newer = false;
  for (const Entry& entry : ENTRIES) {
    if (std::strcmp(entry.name, name) != 0) continue;
    const bool known = entry.since <= version && entry.since <= driver().facts.driver_version;
    if (known && (!best || entry.since > best->since)) best = &entry;
    newer = newer || !known;
  }
  *function = best ? reinterpret_cast<void*>(best->function) : nullptr;
  if (std::strcmp(name, "cuGetProcAddress") == 0) *function = reinterpret_cast<void*>(&cuGetProcAddress_v2);
  if (status) *status = *function ? FOUND : newer ? VERSION_NOT_SUFFICIENT : NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

EDGE_API CUresult cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

// NVRTC asks a loaded driver for a table of NVIDIA's own: there is none.
EDGE_API CUresult cuGetExportTable(const void** table, const void* id) {
  if (!table || !id) return CUDA_ERROR_INVALID_VALUE;
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}
