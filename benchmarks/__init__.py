"""What armlet measures about itself; ``python -m benchmarks`` compares it with its peers."""
