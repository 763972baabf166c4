"""The end-to-end benchmark. `__main__` is the order of events; docs/benchmarks/README.md says what is measured and why."""
