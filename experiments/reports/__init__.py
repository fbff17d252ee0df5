"""Reports: sections made from runs, ensembles and comparisons, written as HTML, Markdown and JSON."""
