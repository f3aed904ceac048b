"""Does the data help: models answer a benchmark, datasets stand side by side, experiments are files."""
