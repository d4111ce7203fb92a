#include "output.cuh"

EDGE_KERNEL(output_clear, (u32* words, u32 count)) {
  if (edge_x() < count) words[edge_x()] = 0;
}

// The output as float32.
EDGE_KERNEL(output_copy, (const void* output, u32 half, u32 count, float* copy)) {
  if (edge_x() < count) copy[edge_x()] = output_at(output, half, edge_x());
}

// The channel of the highest value of each voxel, the first of equals: (channels, voxels) to (voxels).
EDGE_KERNEL(output_argmax, (const void* output, u32 half, u32 channels, u32 voxels, u8* highest)) {
  const u32 at = edge_x();
  if (at >= voxels) return;
  u32 best = 0;
  float value = output_at(output, half, at);
  for (u32 channel = 1; channel < channels; ++channel) {
    const float other = output_at(output, half, (u64)channel * voxels + at);
    if (other > value) {
      value = other;
      best = channel;
    }
  }
  highest[at] = (u8)best;
}
