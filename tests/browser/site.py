"""A course site: pages and videos of a folder, at an origin of its own."""

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from devstack.child import HOST
from tests.browser.install import MODULES

PATIENCE = 60  # seconds; whoever waits longer for a held video has failed


class Site:
    """Serves a folder, and below /node_modules/ what npm has installed; a `with` block starts and stops it.

    Of a file that is asked for with `?hold=N` it sends N bytes, and the rest when `release` is set.
    """

    def __init__(self, folder: Path, gateway_url: str) -> None:
        self.release = threading.Event()
        self.pages: dict[str, str] = {}  # HTML by path, besides the files
        self._server = ThreadingHTTPServer((HOST, 0), partial(Handler, self, folder))
        self._server.daemon_threads = True  # one may be in the middle of a video that is held
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="site")
        self.url = f"http://{HOST}:{self._server.server_port}"
        self.gateway_url = gateway_url

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """GET with ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, site: Site, folder: Path, *arguments: object) -> None:
        self._site = site
        self._folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type] # passed on as they are

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        folder = MODULES.parent if address.path.startswith(f"/{MODULES.name}/") else self._folder
        file = folder / address.path.removeprefix("/")
        page = self._site.pages.get(address.path)
        if not (page or file.is_file()):
            self.send_error(404)
            return
        data = page.encode() if page else file.read_bytes()
        asked = self.headers.get("range", "")
        first = int(asked.removeprefix("bytes=").split("-")[0] or 0) if asked else 0
        last = int(asked.split("-")[1] or len(data) - 1) if asked else len(data) - 1
        self.send_response(206 if asked else 200)
        self.send_header("content-type", guess_type(file.name)[0] or "application/octet-stream")
        self.send_header("content-length", str(last + 1 - first))
        self.send_header("accept-ranges", "bytes")
        if asked:
            self.send_header("content-range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        held = int(parse_qs(address.query).get("hold", [last + 1])[0])
        try:
            self.wfile.write(data[first : min(held, last + 1)])
            if held <= last:
                self._site.release.wait(PATIENCE)
                self.wfile.write(data[max(first, held) : last + 1])
        except OSError:
            self.close_connection = True  # the browser has enough

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in the class above
        """Says nothing."""
