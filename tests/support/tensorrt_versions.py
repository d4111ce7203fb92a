"""What releases of TensorRT have not, for `support.fake_tensorrt.fake`."""

_RTX = ("IRuntimeConfig.cuda_graph_strategy", "IRuntimeConfig.create_runtime_cache", "CudaGraphStrategy",
        "IRuntimeCache", "DynamicShapesKernelSpecializationStrategy", "ComputeCapability",
        "IExecutionContext.is_stream_capturable", "Runtime.get_engine_validity")  # fmt: skip

V10_3 = (
    "ICudaEngine.create_runtime_config", "IRuntimeConfig", "ICudaEngine.get_engine_stat", "ComputeCapability",
    "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability",
    "BuilderFlag.EDITABLE_TIMING_CACHE", "Runtime.get_engine_validity", "IExecutionContext.set_device_memory",
    "IExecutionContext.is_stream_capturable", "CudaGraphStrategy", "IRuntimeCache",
    "DynamicShapesKernelSpecializationStrategy",
)  # fmt: skip
"""The oldest that is taken; its Python has no list of names here, so it is taken to have the fewest."""
V10_13 = (*_RTX, "ICudaEngine.get_engine_stat")
V11_4 = (*_RTX, "Builder.num_DLA_cores", "IBuilderConfig.DLA_core")
