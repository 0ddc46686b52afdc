"""The config generator: `config.yaml` in, problems or rendered files out."""
