"""One module a task: its recipe, its source, its numbers."""
