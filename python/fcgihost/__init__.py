"""fcgihost: what the host offers to the Python code that it runs."""

__version__ = "0.1.0"
