"""The application: command line, recipes, the demo, benchmarks and committed results."""
