"""`gen explain`: what a parameter is."""

import argparse
import sys

_EPILOG = """\
example:
  gen explain calico_vxlan_mtu
  gen explain --format yaml > config.yaml     a configuration to start from
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("name", metavar="NAME", nargs="*", help="the parameters to explain (default: list all)")
    parser.add_argument(
        "--format",
        choices=("text", "json", "markdown", "yaml"),
        default="text",
        help="markdown is the reference page and yaml the shipped configuration; both are of all parameters",
    )


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; 1 where a name is no parameter."""
    from gen import explain
    from gen.parameters import TABLE

    if unknown := [name for name in args.name if name not in TABLE]:
        for name in unknown:
            print(_not_known(name), file=sys.stderr)
        return 1
    chosen = [TABLE[name] for name in args.name or TABLE]
    if args.format == "json":
        import json

        print(json.dumps([explain.describe(parameter) for parameter in chosen], indent=2))
    elif args.format == "markdown":
        print(explain.markdown(), end="")
    elif args.format == "yaml":
        print(explain.configuration(), end="")
    else:
        print("\n\n".join(map(explain.text, chosen)) if args.name else explain.listing())
    return 0


def _not_known(name: str) -> str:
    from difflib import get_close_matches

    from gen.parameters import TABLE
    from gen.validate import known_keys

    if name in known_keys():
        return f"gen explain: {name}: DC/OS knows this key; this bundle does not use it and passes it over"
    near = get_close_matches(name, TABLE, 1)
    return f"gen explain: {name}: no such parameter" + (f" (did you mean {near[0]}?)" if near else "")
