"""mkpanda: recipes to packages (workstation)."""
