"""Labels for new samples: predicted, written as tables, and in the form that a contest wants."""
