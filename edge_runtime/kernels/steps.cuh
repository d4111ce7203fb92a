// What a recipe does to each value after it is sampled: the same float32 operations in the same order as NumPy does.
#ifndef EDGE_STEPS_CUH
#define EDGE_STEPS_CUH

#include "edge.cuh"

enum StepKind { STEP_DIVIDE = 0, STEP_MULTIPLY = 1, STEP_CLIP = 2, STEP_GREY = 3, STEP_REPEAT = 4 };

struct Step {
  i32 kind;
  float a[3], b[3];  // by channel
};

struct Steps {
  i32 count;
  Step step[8];
};

enum Element { ELEMENT_U8 = 0, ELEMENT_U16 = 1, ELEMENT_I16 = 2, ELEMENT_F32 = 3 };

EDGE_FUNCTION float element(const void* values, i32 kind, i64 at) {
  if (kind == ELEMENT_U8) return (float)((const u8*)values)[at];
  if (kind == ELEMENT_U16) return (float)((const u16*)values)[at];
  if (kind == ELEMENT_I16) return (float)((const i16*)values)[at];
  return ((const float*)values)[at];
}

EDGE_FUNCTION float step_value(const Step& step, i32 channel, float v) {
  if (step.kind == STEP_DIVIDE) return (v - step.a[channel]) / step.b[channel];
  if (step.kind == STEP_MULTIPLY) return v * step.a[channel] + step.b[channel];
  return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}

// `channels`: of v, 1 or 3, before the steps.
EDGE_FUNCTION void steps_apply(const Steps& steps, float v[3], i32 channels) {
  for (i32 n = 0; n < steps.count; ++n) {
    const Step& step = steps.step[n];
    if (step.kind == STEP_GREY) {
      if (channels == 3) v[0] = v[0] * 0.299f + v[1] * 0.587f + v[2] * 0.114f;  // ITU-R BT.601
      channels = 1;
    } else if (step.kind == STEP_REPEAT) {
      if (channels == 1) v[1] = v[2] = v[0];
      channels = 3;
    } else {
      for (i32 channel = 0; channel < channels; ++channel) v[channel] = step_value(step, channel, v[channel]);
    }
  }
}

EDGE_FUNCTION void store(void* out, u32 half, i64 at, float value) {
  if (half) {
    ((u16*)out)[at] = edge_half(value);
  } else {
    ((float*)out)[at] = value;
  }
}

#endif
