"""pycompose: multi-container stacks from one YAML file, on an embedded container runtime."""

__version__ = "0.1.0"
