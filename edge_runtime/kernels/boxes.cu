// Boxes in the layouts of YOLOv5 and YOLOv8: the best above each label's level, and non-maximum suppression.
//
// Everything is decided as NumPy does on the host: scores in float32, boxes in float64, and of equal scores the box that
// stands first goes first. Threads hand in candidates in any order; what comes out does not depend on it.
#include "output.cuh"

enum { BOX_CANDIDATES = 1000, BOX_WORDS = (BOX_CANDIDATES + 31) / 32 };
enum BoxFlags { BOX_NOT_FINITE = 1, BOX_NO_PROBABILITY = 2, BOX_NO_OBJECTNESS = 4 };

// Followed by the labels.
struct BoxLayout {
  double overlap;   // share of the union above which the worse of two boxes falls
  double limit[3];  // extent of the grid on each axis
  i32 labels, axes, boxes;
  i32 rows;         // numbers of one box
  i32 by_box;       // YOLOv5: (boxes, rows), with an objectness; otherwise YOLOv8: (rows, boxes)
  i32 sigmoid;
  i32 maximum;      // boxes that the answer has room for
};

// Of one label, while boxes are collected.
struct BoxCount {
  u32 flags, above, highest;  // `highest`: bits of a float32
};

EDGE_FUNCTION const OutputLabel* box_labels(const BoxLayout* layout) { return (const OutputLabel*)(layout + 1); }

EDGE_FUNCTION float box_value(const void* output, u32 half, const BoxLayout* of, u32 box, u32 row) {
  return output_at(output, half, of->by_box ? (u64)box * of->rows + row : (u64)row * of->boxes + box);
}

// A probability, cut to 0..1; `flag` is set where it is none.
EDGE_FUNCTION float box_score(float value, i32 sigmoid, u32* flags, u32 flag) {
  if (sigmoid) return output_sigmoid(value);
  if (!(value >= -1e-5f && value <= (float)(1 + 1e-5))) edge_atomic_or(flags, flag);
  return value > 0.0f ? edge_min(value, 1.0f) : 0.0f;
}

// One thread a box. A key is the bits of the score above those of the box's number counted down: the best is the largest.
EDGE_KERNEL(box_collect, (const void* output, u32 half, const BoxLayout* of, BoxCount* counts, u64* keys)) {
  const u32 box = edge_x();
  if (box >= (u32)of->boxes) return;
  for (u32 row = 0; row < (u32)of->rows; ++row)
    if (!edge_finite(box_value(output, half, of, box, row))) edge_atomic_or(&counts[0].flags, (u32)BOX_NOT_FINITE);
  const u32 first = 2 * of->axes + (of->by_box ? 1 : 0);
  for (u32 k = 0; k < (u32)of->labels; ++k) {
    const OutputLabel label = box_labels(of)[k];
    BoxCount* count = counts + k;
    float score = box_score(box_value(output, half, of, box, first + label.channel), of->sigmoid, &count->flags,
                            BOX_NO_PROBABILITY);
    if (of->by_box)
      score *= box_score(box_value(output, half, of, box, first - 1), of->sigmoid, &count->flags, BOX_NO_OBJECTNESS);
    const u32 bits = edge_bits(score);
    if (bits > count->highest) edge_atomic_max(&count->highest, bits);
    if (score > label.level)
      keys[(u64)k * of->boxes + edge_atomic_add(&count->above, 1u)] = (u64)bits << 32 | (0xffffffffu - box);
  }
}

// One thread a key: its place among all is how many are better. A row is start, stop and score; -1 of an empty box.
EDGE_KERNEL(box_rank, (const void* output, u32 half, const BoxLayout* of, const BoxCount* counts, const u64* keys,
                       double* candidates)) {
  const u32 mine = edge_x(), label = edge_y();
  if (label >= (u32)of->labels || mine >= counts[label].above) return;
  const u32 above = counts[label].above;
  const u64* of_label = keys + (u64)label * of->boxes;
  const u64 key = of_label[mine];
  u32 better = 0;
  for (u32 other = 0; other < above; ++other) better += of_label[other] > key;
  if (better >= BOX_CANDIDATES) return;
  const u32 box = 0xffffffffu - (u32)key, axes = of->axes;
  double* row = candidates + ((u64)label * BOX_CANDIDATES + better) * (2 * axes + 1);
  bool empty = false;
  for (u32 axis = 0; axis < axes; ++axis) {
    const u32 from = axes == 2 ? 1 - axis : axis;  // boxes of frames are x, y; the axes are row, column
    const double centre = box_value(output, half, of, box, from);
    const double reach = (double)box_value(output, half, of, box, axes + from) / 2;
    const double low = centre - reach, high = centre + reach, limit = of->limit[axis];
    row[axis] = low > 0 ? edge_min(low, limit) : 0.0;
    row[axes + axis] = high > 0 ? edge_min(high, limit) : 0.0;
    empty = empty || !(row[axes + axis] > row[axis]);
  }
  row[2 * axes] = empty ? -1.0 : (double)edge_of_bits((u32)(key >> 32));
}

EDGE_FUNCTION bool box_falls(const double* best, const double* other, u32 axes, double overlap) {
  double shared = 1, of_best = 1, of_other = 1;
  for (u32 axis = 0; axis < axes; ++axis) {
    const double low = edge_max(best[axis], other[axis]), high = edge_min(best[axes + axis], other[axes + axis]);
    shared *= edge_max(high - low, 0.0);
    of_best *= best[axes + axis] - best[axis];
    of_other *= other[axes + axis] - other[axis];
  }
  return shared > overlap * (of_other + of_best - shared);
}

// Bit j of word w of candidate i: 32 w + j falls where i is kept. Words before that of i are not written.
EDGE_KERNEL(box_overlap, (const BoxLayout* of, const BoxCount* counts, const double* candidates, u32* falls)) {
  const u32 word = edge_x(), i = edge_y(), label = edge_z();
  if (label >= (u32)of->labels) return;
  const u32 count = edge_min(counts[label].above, (u32)BOX_CANDIDATES), width = 2 * of->axes + 1;
  if (i >= count || word < i / 32 || word * 32 >= count) return;
  const double* rows = candidates + (u64)label * BOX_CANDIDATES * width;
  u32 bits = 0;
  for (u32 j = edge_max(word * 32, i + 1); j < edge_min(word * 32 + 32, count); ++j)
    if (box_falls(rows + i * width, rows + j * width, of->axes, of->overlap)) bits |= 1u << j % 32;
  falls[((u64)label * BOX_CANDIDATES + i) * BOX_WORDS + word] = bits;
}

// One thread a label. The first row of its answer: flags, how many are kept, the highest score; then what is kept.
EDGE_KERNEL(box_keep, (const BoxLayout* of, const BoxCount* counts, const double* candidates, const u32* falls,
                       double* answers)) {
  const u32 label = edge_x();
  if (label >= (u32)of->labels) return;
  const u32 count = edge_min(counts[label].above, (u32)BOX_CANDIDATES), width = 2 * of->axes + 1;
  const double* rows = candidates + (u64)label * BOX_CANDIDATES * width;
  double* answer = answers + (u64)label * (1 + of->maximum) * width;
  u32 fallen[BOX_WORDS] = {0}, kept = 0;
  for (u32 i = 0; i < count; ++i) {
    if (fallen[i / 32] >> i % 32 & 1 || rows[i * width + width - 1] < 0) continue;
    if (++kept <= (u32)of->maximum)
      for (u32 at = 0; at < width; ++at) answer[kept * width + at] = rows[i * width + at];
    const u32* of_row = falls + ((u64)label * BOX_CANDIDATES + i) * BOX_WORDS;
    for (u32 word = i / 32; word * 32 < count; ++word) fallen[word] |= of_row[word];
  }
  answer[0] = counts[label].flags;
  answer[1] = kept;
  answer[2] = edge_of_bits(counts[label].highest);
}
