"""Marathon's HTTP API, as much of it as a migration needs.

Routes: `GET /v2/apps`, `GET /v2/pods`, `PUT /v2/apps/<id>` (partial: what is given is changed), `PUT /v2/pods/<id>`
(the whole pod), `GET /v2/deployments`. With DC/OS' Admin Router before it, a token goes with every request; a Marathon
of one's own may want a user and a password.
"""

import base64
import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

_TIMEOUT = 30


class ApiError(Exception):
    """A request that failed; what Marathon said, on one line of characters that can be seen."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(each if each.isprintable() else " " for each in text))


class Access(NamedTuple):
    """Who asks: a token of DC/OS, or a user with a password; and whom a server's certificate must come from."""

    token: str = ""
    user: str = ""
    password: str = ""
    ca_file: str = ""


class Target(NamedTuple):
    """Where Marathon is, and which one thing is meant; all of them where there is no `id`."""

    base: str
    kind: str = ""
    id: str = ""


def target(url: str) -> Target:
    """Split a URL: Marathon's own, or one of an application (`/v2/apps//id`) or a pod (`/v2/pods//id`).

    ApiError for one that nobody can be asked at.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        has_user, _ = "@" in parts.netloc, parts.port
    except ValueError as error:
        raise ApiError(f"{url}: is no address: {error}") from error
    if has_user:
        raise ApiError(f"{parts.hostname}: its address holds a user: give the user with --user and --password-file")
    for kind in ("apps", "pods"):
        base, found, rest = url.partition(f"/v2/{kind}")
        if found:
            name = urllib.parse.unquote(rest.strip("/"))
            return Target(base, kind, f"/{name}" if name else "")
    return Target(url.removesuffix("/v2").rstrip("/"))


class Marathon:
    """One Marathon."""

    def __init__(self, base: str, access: Access) -> None:
        self.base = base
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if access.token:
            self._headers["Authorization"] = f"token={access.token}"
        elif access.user:
            pair = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        try:
            context = ssl.create_default_context(cafile=access.ca_file or None)
        except OSError as error:
            raise ApiError(f"{access.ca_file}: is no file of certificates: {error.strerror or error}") from error
        # A redirect would carry the token to another place.
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())

    def items(self, wanted: Target) -> list[tuple[str, dict[str, Any]]]:
        """(kind, definition) of what is meant, by id."""
        kinds = [wanted.kind] if wanted.kind else ["apps", "pods"]
        if wanted.id:
            return [(kind, self.get(kind, wanted.id)) for kind in kinds]
        found = [(kind, each) for kind in kinds for each in self._list(kind)]
        return sorted(found, key=lambda item: str(item[1]["id"]))

    def get(self, kind: str, identifier: str) -> dict[str, Any]:
        """A definition as it is now."""
        path = self._path(kind, identifier)
        answer = self._ask("GET", path)
        return self._definitions(path, [answer.get("app", answer) if isinstance(answer, dict) else answer])[0]

    def _list(self, kind: str) -> list[dict[str, Any]]:
        path = f"/v2/{kind}"
        answer = self._ask("GET", path)
        return self._definitions(path, answer.get("apps") if isinstance(answer, dict) else answer)

    def _definitions(self, path: str, listed: Any) -> list[dict[str, Any]]:
        if not isinstance(listed, list) or not all(isinstance(each, dict) and "id" in each for each in listed):
            raise ApiError(f"GET {self.base}{path}: the answer holds no definitions: is it Marathon's address?")
        return listed

    def put(self, kind: str, identifier: str, body: dict[str, Any], force: bool) -> str:
        """Change a definition; the deployment's id, which is empty where Marathon names none."""
        query = {"force": "true"} if force else {}
        if kind == "apps":
            query["partialUpdate"] = "true"
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        answer = self._ask("PUT", self._path(kind, identifier) + suffix, body)
        return str(answer.get("deploymentId", "")) if isinstance(answer, dict) else ""

    def wait(self, deployment: str, seconds: float) -> bool:
        """Until a deployment is over; False where it is not in that time."""
        end = time.monotonic() + seconds
        while any(each.get("id") == deployment for each in self._ask("GET", "/v2/deployments")):
            if time.monotonic() > end:
                return False
            time.sleep(min(1.0, max(0.05, seconds / 100)))
        return True

    def _path(self, kind: str, identifier: str) -> str:
        return f"/v2/{kind}/{urllib.parse.quote(identifier.lstrip('/'))}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.base}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, self._headers, method=method)
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise ApiError(f"{method} {url}: {_reason(error)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            hint = " (--ca-file names its authority)" if isinstance(reason, ssl.SSLCertVerificationError) else ""
            raise ApiError(f"{method} {url}: {getattr(reason, 'strerror', None) or reason}{hint}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Refuse: the answer is then an error that says where it leads."""


def _reason(error: urllib.error.HTTPError) -> str:
    """The status, and what Marathon says about it."""
    with error:
        text = error.read(4096).decode(errors="replace")
    hints = {
        401: "give a token or a password that is valid",
        403: "this user may not do that",
        409: "a deployment is under way: wait for it, or use --force, which ends it",
    }
    try:
        document = json.loads(text)
        said = document.get("message") or document.get("title") or ""
        details = [str(each) for detail in document.get("details", []) for each in detail.get("errors", [])]
        said = "; ".join([said, *details]) if details else said
    except (ValueError, AttributeError):
        said = " ".join(text.split())[:200]
    place = f" (redirected to {error.headers['Location']})" if error.headers.get("Location") else ""
    told = f"{error.code} {error.reason}{place}" + (f": {said}" if said else "")
    return told + (f" ({hints[error.code]})" if error.code in hints else "")
