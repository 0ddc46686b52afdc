"""Resources as YAML and JSON text, spelt as upstream's programs spell them."""

import json
from typing import Any, ClassVar


def to_json(data: Any) -> str:
    """Indented by two, members in the order given."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def to_yaml(data: Any) -> str:
    """Members sorted, lists not indented; text is quoted only where it would read as something else."""
    import yaml

    dumper = _dumper()
    output = yaml.dump(data, Dumper=dumper, default_flow_style=False, width=2**31 - 1, allow_unicode=True)
    return str(output).removesuffix("...\n")


def _dumper() -> Any:
    """PyYAML's dumper, without timestamps as a type (Go has none here), and with double quotes where a plain text
    would be taken for a number, a truth value or nothing.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    timestamp = "tag:yaml.org,2002:timestamp"

    class Dumper(base):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar = {
            first: [pair for pair in pairs if pair[0] != timestamp]
            for first, pairs in base.yaml_implicit_resolvers.items()
        }

        def ignore_aliases(self, data: Any) -> bool:
            return True

    resolver: Any = yaml.resolver.Resolver()
    resolver.yaml_implicit_resolvers = Dumper.yaml_implicit_resolvers

    def represent_text(dumper: Any, value: str) -> Any:
        tag = resolver.resolve(yaml.ScalarNode, value, (True, False))
        ambiguous = tag != "tag:yaml.org,2002:str" or value in ("y", "Y", "n", "N")
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if ambiguous else None)

    Dumper.add_representer(str, represent_text)
    return Dumper
