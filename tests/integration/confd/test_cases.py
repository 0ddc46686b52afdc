"""Every case of the datastore, held against a running BIRD: its peers, what it advertises, what the kernel gets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.confd.plan import Configuration, Settings, plan
from calico.confd.render import render
from tests.integration.confd.site import Site
from tests.servers.bird import Bird, wait_for
from tests.unit.confd.cases import CASES, Case

pytestmark = pytest.mark.root

_START = "router id 127.0.0.1;\nprotocol device {}\n"
_SEEN = """
ipv{v} table seen{v};
protocol pipe seen_by_peers{v} {{ table master{v}; peer table seen{v}; import none; export filter calico_export{v}; }}
protocol static probes{v} {{ ipv{v}; {routes} }}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Bird]]:
    site = Site()
    try:
        site.add_host("host", 1)
        # Foreign addresses are not reached: a session that could come up would make a case depend on time.
        site.ip("host", "link", "set", "eth0", "down")
        bird = Bird(tmp_path_factory.mktemp("cases"), site.prefix("host"))
        bird.config.write_text(_START)
        bird.start()
        yield site, bird
        bird.kill()
    finally:
        site.remove()


def probed(case: Case, configuration: Configuration) -> str:
    """Routes to every prefix the case asks about, and a table of what export to a peer lets through."""
    text = ""
    for family in configuration.families:
        own = {block.cidr for block in family.blocks}
        asked = {one for one in {*case.advertised, *case.kernel} if (":" in one) == (family.version == 6)}
        routes = " ".join(f"route {prefix} blackhole;" for prefix in sorted(asked - own))
        text += _SEEN.format(v=family.version, routes=routes)
    return text


def split(decisions: dict[str, bool], present: set[str]) -> dict[str, bool]:
    return {prefix: prefix in present for prefix in decisions}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bird_means_the_same(case: Case, host: tuple[Site, Bird], tmp_path: Path) -> None:
    site, bird = host
    configuration = plan(case.cluster, Settings(case.own, case.router_id), case.passwords).configuration
    bird.configure(render(configuration) + probed(case, configuration))

    def sessions() -> dict[str, str]:
        return {
            name: f"{one.address} {one.as_number}{' passive' if one.info == 'Passive' else ''}"
            for name, one in bird.sessions().items()
        }

    wanted = {
        name: " ".join(word for word in text.split() if word != "password") for name, text in case.sessions.items()
    }
    wanted = {name: text.partition(" client")[0] for name, text in wanted.items()}
    wait_for(lambda: sessions() == wanted, f"the sessions {wanted}", lambda: str(sessions()), 20)

    asked = {*case.advertised, *case.kernel}

    def present() -> set[str]:
        return bird.networks("table master4") | bird.networks("table master6")

    wait_for(lambda: asked <= present(), f"the routes {asked}", lambda: str(present()), 20)

    def advertised() -> set[str]:
        return bird.networks("table seen4") | bird.networks("table seen6")

    def in_kernel() -> set[str]:
        return {
            f"{to}" if "/" in to or to == "default" else f"{to}/{128 if ':' in to else 32}"
            for words in (("proto", "bird"), ("-6", "proto", "bird"))
            for to in kernel(words)
        }

    def kernel(words: tuple[str, ...]) -> list[str]:
        flags, rest = (words[:1], words[1:]) if words[0] == "-6" else ((), words)
        lines = site.ip("host", *flags, "route", "show", *rest).splitlines()
        return [line.removeprefix("blackhole ").split()[0] for line in lines]

    wait_for(
        lambda: split(dict(case.advertised), advertised()) == case.advertised,
        f"what is advertised: {case.advertised}",
        lambda: str(advertised()),
        20,
    )
    wait_for(
        lambda: split(dict(case.kernel), in_kernel()) == case.kernel,
        f"what the kernel gets: {case.kernel}",
        lambda: str(in_kernel()) + bird.log(),
        20,
    )
    blocks = {block.cidr for family in configuration.families for block in family.blocks}
    assert bird.networks("protocol static4") | bird.networks("protocol static6") == blocks
    status = " ".join(line.text for line in bird.ask("show status"))
    assert f"Router ID is {case.is_router} " in f"{status} "
