"""How `calicoctl get` shows resources: tables, YAML, JSON, custom columns, Go templates."""
