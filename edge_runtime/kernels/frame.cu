// A network's input from a frame: cut, sampled, its values changed, its channels apart. Rows are axis 0, columns 1.
#include "steps.cuh"

struct FrameParameters {
  i32 element, columns, channels;  // of the frame: (rows, columns, channels), contiguous
  i32 start[2], extent[2];         // what is cut from it
  i32 before[2], box[2];           // what the network sees: a box that begins so many pixels before the cut
  float scale[2];                  // pixels of the box for one of the input
  i32 linear;                      // else nearest-exact
  float fill;                      // around the cut
  Steps steps;
};

struct FrameTaps {
  i32 low, high;
  float weight;  // of high
  bool inside;
};

EDGE_FUNCTION FrameTaps frame_taps(const FrameParameters& p, i32 axis, i32 at, i32 size) {
  FrameTaps taps;
  const i32 extent = p.extent[axis], box = p.box[axis], before = p.before[axis];
  if (p.linear) {  // exact: in units of 1 / (2 size) pixels
    const i32 unit = 2 * size, centre = (2 * at + 1) * box - before * unit;
    const i32 place = edge_min(edge_max(centre - size, 0), (extent - 1) * unit);
    taps.low = place / unit;
    taps.high = edge_min(taps.low + 1, extent - 1);
    taps.weight = (float)(place - taps.low * unit) / (float)unit;
    taps.inside = centre >= 0 && centre < extent * unit;
  } else {
    taps.low = edge_min((i32)(((float)at + 0.5f) * p.scale[axis]), box - 1) - before;
    taps.high = taps.low;
    taps.weight = 0.0f;
    taps.inside = taps.low >= 0 && taps.low < extent;
  }
  taps.low += p.start[axis];
  taps.high += p.start[axis];
  return taps;
}

EDGE_FUNCTION float frame_value(const void* pixels, const FrameParameters& p, i32 row, i32 column, i32 channel) {
  return element(pixels, p.element, ((i64)row * p.columns + column) * p.channels + channel);
}

EDGE_FUNCTION float frame_sample(const void* pixels, const FrameParameters& p, const FrameTaps& y, const FrameTaps& x,
                                 i32 channel) {
  const float a = frame_value(pixels, p, y.low, x.low, channel);
  if (!p.linear) return a;
  const float b = frame_value(pixels, p, y.low, x.high, channel);
  const float c = frame_value(pixels, p, y.high, x.low, channel);
  const float d = frame_value(pixels, p, y.high, x.high, channel);
  const float above = a + (b - a) * x.weight, below = c + (d - c) * x.weight;
  return above + (below - above) * y.weight;
}

// out: (channels, rows, columns), float32 or float16. One thread a column (x) and row (y).
EDGE_KERNEL(frame, (const void* pixels, const FrameParameters* parameters, void* out, u32 channels, u32 rows,
                    u32 columns, u32 half)) {
  const u32 row = edge_y(), column = edge_x();
  if (row >= rows || column >= columns) return;
  const FrameParameters& p = *parameters;
  const FrameTaps y = frame_taps(p, 0, (i32)row, (i32)rows), x = frame_taps(p, 1, (i32)column, (i32)columns);
  float v[3] = {p.fill, p.fill, p.fill};
  if (y.inside && x.inside)
    for (i32 channel = 0; channel < p.channels; ++channel) v[channel] = frame_sample(pixels, p, y, x, channel);
  steps_apply(p.steps, v, p.channels);
  for (u32 channel = 0; channel < channels; ++channel)
    store(out, half, ((i64)channel * rows + row) * columns + column, v[channel]);
}
