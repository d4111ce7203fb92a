// What reads a network's output: (channels or boxes ...), float32 or float16, without its batch axis.
#ifndef EDGE_OUTPUT_CUH
#define EDGE_OUTPUT_CUH

#include "edge.cuh"

enum OutputActivation { OUTPUT_NONE = 0, OUTPUT_SIGMOID = 1, OUTPUT_SOFTMAX = 2 };

// One label of the card: its channel, and the level above which its probability counts.
struct OutputLabel {
  i32 channel;
  float level;
};

EDGE_FUNCTION float output_at(const void* output, u32 half, u64 at) {
  return half ? edge_float(((const u16*)output)[at]) : ((const float*)output)[at];
}

EDGE_FUNCTION float output_sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

#endif
