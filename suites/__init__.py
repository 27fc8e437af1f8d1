"""What to run: one module a suite, one a task in tasks/."""
