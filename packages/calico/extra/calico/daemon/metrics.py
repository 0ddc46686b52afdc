"""Figures for Prometheus, in its text format, and the HTTP server that shows them and a daemon's health.

Why not prometheus_client: it appends `_total` to every counter's name, and upstream's names, which dashboards ask for,
have none (`felix_int_dataplane_failures`).
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, TypeVar

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]
M = TypeVar("M", bound="Metric")


class Metric:
    """A named figure with a value for each combination of its labels' values. Threads may use it together."""

    kind: ClassVar[str]

    def __init__(self, name: str, explanation: str, labels: Iterable[str] = ()) -> None:
        self.name, self.explanation, self.labels = name, explanation, tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}
        if not self.labels:
            self._values[()] = 0.0

    def get(self, *labels: str) -> float:
        """The value; 0 for labels never seen."""
        return self._values.get(labels, 0.0)

    def forget(self, *labels: str) -> None:
        """The object these labels name is gone."""
        with self._lock:
            self._values.pop(labels, None)

    def lines(self) -> list[str]:
        """The samples as the text format has them."""
        with self._lock:
            return [f"{self.name}{self._named(labels)} {_number(value)}" for labels, value in self._sorted()]

    def _sorted(self) -> list[tuple[Labels, float]]:
        return sorted(self._values.items())

    def _named(self, values: Labels) -> str:
        if not self.labels:
            return ""
        pairs = (f'{label}="{_escaped(value)}"' for label, value in zip(self.labels, values, strict=True))
        return "{" + ",".join(pairs) + "}"


class Counter(Metric):
    """What only grows."""

    kind = "counter"

    def add(self, amount: float = 1.0, *labels: str) -> None:
        """Count `amount` more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount


class Gauge(Metric):
    """What goes up and down."""

    kind = "gauge"

    def set(self, value: float, *labels: str) -> None:
        """It is `value` now."""
        with self._lock:
            self._values[labels] = value

    def replace(self, values: Mapping[Labels, float]) -> None:
        """All its values at once; labels that are not among them are gone."""
        with self._lock:
            self._values = dict(values)


class Summary(Metric):
    """How often and how much in all: `_sum` and `_count`, without quantiles, as upstream's are configured."""

    kind = "summary"

    def __init__(self, name: str, explanation: str, labels: Iterable[str] = ()) -> None:
        super().__init__(name, explanation, labels)
        self._counts: dict[Labels, int] = dict.fromkeys(self._values, 0)

    def observe(self, amount: float, *labels: str) -> None:
        """One more event, of `amount`."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount
            self._counts[labels] = self._counts.get(labels, 0) + 1

    def lines(self) -> list[str]:
        with self._lock:
            return [
                line
                for labels, total in self._sorted()
                for line in (
                    f"{self.name}_sum{self._named(labels)} {_number(total)}",
                    f"{self.name}_count{self._named(labels)} {self._counts[labels]}",
                )
            ]


class Registry:
    """The metrics of a process. `before` runs ahead of each reading, for what is cheaper to ask then than to follow."""

    def __init__(self, before: Callable[[], None] | None = None) -> None:
        self.before = before
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, explanation: str, labels: Iterable[str] = ()) -> Counter:
        """A new counter."""
        return self._add(Counter(name, explanation, labels))

    def gauge(self, name: str, explanation: str, labels: Iterable[str] = ()) -> Gauge:
        """A new gauge."""
        return self._add(Gauge(name, explanation, labels))

    def summary(self, name: str, explanation: str, labels: Iterable[str] = ()) -> Summary:
        """A new summary."""
        return self._add(Summary(name, explanation, labels))

    def _add(self, metric: M) -> M:
        if metric.name in self._metrics:
            raise ValueError(f"two metrics named {metric.name}")
        self._metrics[metric.name] = metric
        return metric

    def render(self) -> str:
        """All of them in the text format."""
        if self.before is not None:
            self.before()
        lines = []
        for name, metric in sorted(self._metrics.items()):
            lines += [f"# HELP {name} {metric.explanation}", f"# TYPE {name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


class Endpoint:
    """An HTTP server in a thread of its own. `pages` map a path to what answers it: a status, a type and a body.

    A page that raises answers 500. Port 0 takes a free one, see `port`. Raises OSError where it cannot listen.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], tuple[int, str, str]]]) -> None:
        handler = type("Handler", (_Handler,), {"pages": dict(pages)})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name=f"http-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def metrics_page(registry: Registry) -> Callable[[], tuple[int, str, str]]:
    """The page of a registry, for `/metrics`."""
    return lambda: (200, _CONTENT_TYPE, registry.render())


def health_page(is_good: Callable[[], bool]) -> Callable[[], tuple[int, str, str]]:
    """204 while `is_good`, else 503: `/readiness` and `/liveness`, as upstream answers."""
    return lambda: (204 if is_good() else 503, "text/plain", "")


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, Callable[[], tuple[int, str, str]]]]
    timeout = 10

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        try:
            status, kind, body = page() if page else (404, "text/plain", "no such page\n")
        except Exception as error:
            status, kind, body = 500, "text/plain", f"{error}\n"
        content = body.encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads a line for each scrape."""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
