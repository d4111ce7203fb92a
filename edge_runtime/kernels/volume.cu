// A network's input from a volume: turned and cut, sampled axis by axis, its values changed, windows of it.
// Arrays are (slices, rows, columns), C order; one thread an element of the result.
#include "steps.cuh"

struct VolumeView {
  i64 base, stride[3];  // in elements: of the first voxel that is seen, and from one to the next on each axis
  i32 shape[3];         // of the result
  i32 extent[3];        // of what is seen
  float scale[3];       // voxels seen for one of the result
  i32 element;
};

struct VolumeWindow {
  i32 grid[3], window[3];
  float fill;  // beyond the grid
  Steps steps;
};

EDGE_FUNCTION void volume_index(u32 at, const i32 shape[3], i32 index[3]) {
  index[2] = (i32)(at % (u32)shape[2]);
  index[1] = (i32)(at / (u32)shape[2] % (u32)shape[1]);
  index[0] = (i32)(at / (u32)shape[2] / (u32)shape[1]);
}

// Turn, cut, and resize nearest-exact.
EDGE_KERNEL(volume_gather, (const void* in, const VolumeView* view, float* out, u32 count)) {
  const u32 at = edge_x();
  if (at >= count) return;
  i32 index[3];
  volume_index(at, view->shape, index);
  i64 from = view->base;
  for (i32 axis = 0; axis < 3; ++axis) {
    const i32 nearest = (i32)(((float)index[axis] + 0.5f) * view->scale[axis]);
    from += edge_min(nearest, view->extent[axis] - 1) * view->stride[axis];
  }
  out[at] = element(in, view->element, from);
}

// One axis of (before, size, after) becomes `fresh` long: each new element is a weighed sum of `width` old ones.
EDGE_KERNEL(volume_weigh, (const float* in, const i32* first, const float* weights, float* out, u32 width, u32 size,
                           u32 fresh, u32 after, u32 count)) {
  const u32 at = edge_x();
  if (at >= count) return;
  const u32 inner = at % after, place = at / after % fresh, outer = at / after / fresh;
  const float* from = in + ((u64)outer * size + (u32)first[place]) * after + inner;
  const float* weight = weights + (u64)place * width;
  float sum = 0.0f;
  for (u32 tap = 0; tap < width; ++tap) sum += weight[tap] * from[(u64)tap * after];
  out[at] = sum;
}

// Sum and sum of squares of the values after the steps, in float64: of every `threads`-th element from its own on.
EDGE_KERNEL(volume_sums, (const float* in, const VolumeWindow* parameters, double* sums, u32 count, u32 threads)) {
  const u32 thread = edge_x();
  if (thread >= threads) return;
  double sum = 0.0, squares = 0.0;
  for (u64 at = thread; at < count; at += threads) {
    float v[3] = {in[at], 0.0f, 0.0f};
    steps_apply(parameters->steps, v, 1);
    sum += v[0];
    squares += (double)v[0] * v[0];
  }
  sums[2 * thread] = sum;
  sums[2 * thread + 1] = squares;
}

// The window of the grid that begins at slice, row, column, which may lie outside; float32 or float16.
EDGE_KERNEL(volume_window, (const float* in, const VolumeWindow* parameters, void* out, i32 slice, i32 row, i32 column,
                            u32 half, u32 count)) {
  const u32 at = edge_x();
  if (at >= count) return;
  const VolumeWindow& p = *parameters;
  i32 index[3];
  volume_index(at, p.window, index);
  const i32 z = index[0] + slice, y = index[1] + row, x = index[2] + column;
  float v[3] = {p.fill, 0.0f, 0.0f};
  if (z >= 0 && z < p.grid[0] && y >= 0 && y < p.grid[1] && x >= 0 && x < p.grid[2]) {
    v[0] = in[((i64)z * p.grid[1] + y) * p.grid[2] + x];
    steps_apply(p.steps, v, 1);
  }
  store(out, half, at, v[0]);
}
