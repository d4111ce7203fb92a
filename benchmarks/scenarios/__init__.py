"""The scenarios: what is measured, how often, against whom. A YAML file names its kind and may change the numbers."""
