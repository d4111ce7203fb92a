"""The acceptance of a site: its own configuration under its own traffic, judged by its own budgets."""
