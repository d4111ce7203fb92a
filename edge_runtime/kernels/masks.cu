// Masks of one window: cut at each label's level on the network's grid, then brought to the source's grid.
#include "output.cuh"

// One axis of the source: voxel i is number `first + step * i` of the cut, which is `extent` voxels long; the network's
// output has `size` voxels there, `stride` apart, and `scale` of them lie in one voxel of the cut.
struct MaskAxis {
  i32 first, step, extent, size, stride;
  float scale;
};

// Followed by the labels.
struct MaskPlace {
  MaskAxis axes[3];
};

// Index in the output of the voxel that holds the centre of voxel `i` of the source, without the stride; -1 outside the cut.
EDGE_FUNCTION i32 mask_nearest(const MaskAxis& axis, u32 i) {
  const i32 at = axis.first + axis.step * (i32)i;
  if (at < 0 || at >= axis.extent) return -1;
  return edge_min((i32)(((float)at + 0.5f) * axis.scale), axis.size - 1);
}

// (channels, voxels) to (labels, voxels), 1 above the level; `failed` is set where a value is not finite.
EDGE_KERNEL(mask_cut, (const void* output, u32 half, u32 channels, u32 voxels, u32 activation, const MaskPlace* place,
                       u32 labels, u8* mask, u32* failed)) {
  const u32 at = edge_x();
  if (at >= voxels) return;
  float highest = output_at(output, half, at);
  bool finite = true;
  for (u32 channel = 0; channel < channels; ++channel) {
    const float value = output_at(output, half, (u64)channel * voxels + at);
    finite = finite && edge_finite(value);
    highest = edge_max(highest, value);
  }
  if (!finite) edge_atomic_or(failed, 1u);
  float sum = 0.0f;
  if (activation == OUTPUT_SOFTMAX)
    for (u32 channel = 0; channel < channels; ++channel)
      sum += expf(output_at(output, half, (u64)channel * voxels + at) - highest);
  const OutputLabel* label = (const OutputLabel*)(place + 1);
  for (u32 k = 0; k < labels; ++k) {
    float value = output_at(output, half, (u64)label[k].channel * voxels + at);
    if (activation == OUTPUT_SIGMOID) value = output_sigmoid(value);
    if (activation == OUTPUT_SOFTMAX) value = expf(value - highest) / sum;
    mask[(u64)k * voxels + at] = value > label[k].level;
  }
}

// (labels, voxels) of the network to (labels, planes, rows, columns) of the source, nearest-exact; 0 outside the cut.
EDGE_KERNEL(mask_place, (const u8* mask, u32 voxels, const MaskPlace* place, u32 labels, u32 planes, u32 rows,
                         u32 columns, u8* placed)) {
  const u32 column = edge_x(), row = edge_y(), plane = edge_z();
  if (column >= columns || row >= rows || plane >= planes) return;
  const MaskAxis* axes = place->axes;
  const i32 a = mask_nearest(axes[0], plane), b = mask_nearest(axes[1], row), c = mask_nearest(axes[2], column);
  const bool inside = a >= 0 && b >= 0 && c >= 0;
  const u64 from = inside ? (u64)(a * axes[0].stride + b * axes[1].stride + c * axes[2].stride) : 0;
  const u64 at = ((u64)plane * rows + row) * columns + column, size = (u64)planes * rows * columns;
  for (u32 k = 0; k < labels; ++k) placed[k * size + at] = inside ? mask[(u64)k * voxels + from] : (u8)0;
}
