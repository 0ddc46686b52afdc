"""`node diags`: everything that helps to find out what is wrong with a node, and what looks wrong in it."""

import argparse
import socket
import time
from collections.abc import Callable
from pathlib import Path

from calico.calicoctl.session import Failure, Session
from calico.client.resources import Client
from calico.node.diagnostics import analysis, collect, datastore, host, redact, report
from calico.node.diagnostics.collect import Collected, Collector


def run(session: Session, options: argparse.Namespace) -> int:
    """Collect, judge, write; 0 where nothing urgent looks wrong, 1 where something does."""
    places = host.Places()
    collectors = _collectors(places, _opener(session, options))
    secrets = redact.known(places.secrets)
    found = collect.gather(collectors, _node(places), secrets, options.timeout)
    findings = analysis.presentable(analysis.analyse(found.facts), secrets)
    text = analysis.render(findings, found.facts, found.unread)
    try:
        _write(session, options, findings, text, found)
    except OSError as error:
        raise Failure(f"{error.filename or 'the diagnostics'}: cannot be written: {error.strerror}") from error
    return 1 if any(finding.is_urgent for finding in findings) else 0


def _write(
    session: Session,
    options: argparse.Namespace,
    findings: list[analysis.Finding],
    text: str,
    found: collect.Collection,
) -> None:
    session.stdout.write(text)
    if options.html:
        report.write_page(Path(options.html), report.render_html(findings, text, found))
        session.complain(f"page: {options.html}")
    if not options.analysis:
        name = (
            f"calico-diags-{found.facts.node or socket.gethostname()}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        )
        path = Path(options.output or f"/var/tmp/{name}.tar.gz")
        report.write_archive(path, text, found, found.facts.now)
        session.complain(f"archive: {path} ({len(found.files) + 1} files; secrets are taken out)")


def _node(places: host.Places) -> str:
    try:
        return (places.state / "nodename").read_text().strip()
    except OSError:
        return ""


def _opener(session: Session, options: argparse.Namespace) -> Callable[[], Client]:
    """A client for each collector: they run side by side, and a store is one conversation."""

    def open_client() -> Client:
        try:
            return session.client(options.config)
        except Failure as failure:
            raise RuntimeError(str(failure)) from failure

    return open_client


def _collectors(places: host.Places, open_client: Callable[[], Client]) -> list[Collector]:
    def named(name: str, call: Callable[[], Collected]) -> Collector:
        return Collector(name, call)

    return [
        named("units", host.units),
        named("logs", host.logs),
        named("network", host.network),
        named("nftables", lambda: host.tables(places)),
        named("disks", host.disks),
        named("versions", lambda: host.versions(places)),
        named("configuration", lambda: host.configuration(places)),
        named("clocks", host.clocks),
        named("etcd", lambda: host.etcd(places)),
        named("felix --check", lambda: host.felix_check(places)),
        named("resources", lambda: datastore.resources(open_client)),
        named("ipam", lambda: datastore.ipam(open_client)),
        named("felix' reports", lambda: datastore.reports(open_client)),
        named("bgp", datastore.bgp),
    ]
