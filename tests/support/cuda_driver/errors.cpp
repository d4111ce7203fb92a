// Names and texts of the codes.
#include "driver.h"

namespace {

struct Row {
  CUresult code;
  const char *name, *text;
};

const Row ROWS[] = {
#define EDGE_ROW(name, code, text) {name, #name, text},
    EDGE_CUDA_ERRORS(EDGE_ROW)
#undef EDGE_ROW
};

const Row* row(CUresult code) {
  for (const Row& one : ROWS)
    if (one.code == code) return &one;
  return nullptr;
}

}  // namespace

bool sticky(CUresult code) {
  switch (code) {
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_UNKNOWN:
      return true;
    default:
      return false;
  }
}

EDGE_API CUresult cuGetErrorName(CUresult code, const char** name) {
  const Row* found = row(code);
  *name = found ? found->name : nullptr;
  return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EDGE_API CUresult cuGetErrorString(CUresult code, const char** text) {
  const Row* found = row(code);
  *text = found ? found->text : nullptr;
  return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
