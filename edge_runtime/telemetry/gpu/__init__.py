"""How the GPU is: utilization, memory, power, temperature, clocks and throttling, from sysfs and NVML."""
