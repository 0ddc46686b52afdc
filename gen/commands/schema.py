"""`gen schema`: a JSON Schema of the configuration, for editors."""

import argparse

_EPILOG = """\
example:
  gen schema > calico.schema.json
  # and at the top of config.yaml, for editors with the YAML language server:
  # yaml-language-server: $schema=calico.schema.json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none but --help."""
    parser.epilog = _EPILOG


def run(_args: argparse.Namespace) -> int:
    """Print the schema."""
    import json

    from gen.jsonschema import schema

    print(json.dumps(schema(), indent=2))
    return 0
