"""Benchmarks: tinynet beside other engines, kernels against the machine's peak, and the size of what is installed.

    python -m benchmarks --help

README.md here says what is measured and how the comparison is kept fair.
"""
