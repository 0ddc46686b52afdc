"""`release sign`: sign a bundle that is there already, or a release, with one key more."""

import argparse
import json
from pathlib import Path

from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError, Problem
from pkgpanda.keys import signature_name
from release import layout, repository
from release.commands.options import add_format, add_key, add_storage, storages
from release.fetch import fetched
from release.keys import Signer, load
from release.layout import entry
from release.verify import verify

_EPILOG = """What is signed is verified first; a release is fetched whole for that. Signatures by several keys stand
beside one another.
exit status: 0 done, 1 there is nothing fit to be signed, 3 a storage failed

example:
  release sign dist --key ~/release-key.pem
  release sign stable --key ~/next-key.pem
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", metavar="DIR|CHANNEL|RELEASE", help="a directory with a / in its name or that exists")
    add_key(parser, "a private key; may be repeated")
    add_storage(parser)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Sign, and say with which keys."""
    signers = [load(path) for path in args.key]
    if not signers:
        raise PandaError.one("--key", "is missing", "name the private key's file", 2)
    if Path(args.what).is_dir():
        _sign_directory(Path(args.what), signers)
    else:
        _sign_release(args, signers)
    ids = [signer.public.id for signer in signers]
    print(
        json.dumps({"signed": args.what, "keys": ids})
        if args.format == "json"
        else f"{args.what}: signed by {', '.join(ids)}"
    )
    return 0


def _sign_directory(directory: Path, signers: list[Signer]) -> None:
    if problems := verify(directory).problems:
        raise PandaError(problems)
    sums = (directory / layout.SUMS).read_bytes()
    for signer in signers:
        path = directory / signature_name(layout.SUMS, signer.public)
        path.write_bytes(signer.sign(sums))
        path.chmod(0o644)


def _sign_release(args: argparse.Namespace, signers: list[Signer]) -> None:
    known = storages(args)
    release = repository.resolve(known.preferred, args.what)
    printer = Printer(args.format)
    try:
        with fetched(known.preferred, release, (), printer) as (target, verdict):
            if verdict.problems:
                raise PandaError(verdict.problems)
            sums = (target / layout.SUMS).read_bytes()
    finally:
        printer.clear()
    path = repository.document_path(release, layout.SUMS)
    if others := [each.name for each in known.writable() if each.read(path) != sums]:
        told = f"is not there, or not the one that {known.preferred.name} has"
        raise PandaError(Problem(f"{name}:{path}", told, "release verify --in says more") for name in others)
    for storage in known.writable():
        for signer in signers:
            name = signature_name(layout.SUMS, signer.public)
            storage.put(entry(repository.document_path(release, name), signer.sign(sums)))
