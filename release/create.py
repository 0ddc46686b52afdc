"""`release create`: a bundle that is stamped, signed, verified, stored, and then made a channel's."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gen.install import Release
from pkgpanda.errors import PandaError
from pkgpanda.keys import PublicKey, signature_name
from release import layout, repository
from release.bundle import Bundle, Report, Request, Stamp, make_bundle
from release.documents import Pins
from release.keys import Signer
from release.layout import Entry, entry
from release.metadata import Identity, describe
from release.repository import Step
from release.storage.settings import Storages


class Created(NamedTuple):
    """What a release is, and the writes that it asks for."""

    name: str
    bundle: Bundle
    steps: tuple[Step, ...]


def prepare(
    values: Mapping[str, Any],
    request: Request,
    identity: Identity,
    signers: Sequence[Signer],
    storages: Storages,
    channel: str,
    report: Report,
) -> Created:
    """Build, verify and sign the release in `request.output`; plan its way to the storages."""
    repository.check_channel(channel)
    check_signers(values, signers)
    places = storages.writable()
    if not places:
        raise PandaError.one("storage", "none can be written to", "name one of kind local or s3")
    bundle, entries = make_bundle(values, request, report, _stamp(identity))
    signed = signatures(entries, signers)
    what = repository.publication(entries, signed)
    script = next(each for each in entries if each.path == layout.INSTALL_SCRIPT)
    steps = repository.plan_publication(what, places)
    return Created(what.name, bundle, (*steps, *repository.point(channel, script.content or b"", places)))


def check_signers(values: Mapping[str, Any], signers: Sequence[Signer]) -> None:
    """Refuse a release that the nodes it is for would refuse."""
    wanted = [PublicKey.parse(text) for text in values["release_keys"]]
    if wanted and not {signer.public for signer in signers} & set(wanted):
        told = f"nodes will ask for a signature of {' or '.join(key.id for key in wanted)}"
        raise PandaError.one("release_keys", told, "give the private key of one of them with --key")


def signatures(entries: Sequence[Entry], signers: Sequence[Signer]) -> list[Entry]:
    """The signatures of SHA256SUMS, which names every other file with its digest."""
    sums = next(each.content or b"" for each in entries if each.path == layout.SUMS)
    return [entry(signature_name(layout.SUMS, signer.public), signer.sign(sums)) for signer in signers]


def _stamp(identity: Identity) -> Stamp:
    def script(pins: Pins) -> Release:
        return Release(identity.url, layout.package_info_path(pins.package_info_sha256), identity.title)

    return Stamp(script, lambda parts, entries, inputs: describe(identity, parts, entries, inputs))
