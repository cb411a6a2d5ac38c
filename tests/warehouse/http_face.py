"""ClickHouse's HTTP interface over the one in this process: `python -m tests.warehouse.http_face PORT FOLDER`.

As much of it as the official client asks for: there is no server binary among Python's packages.
"""

import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

TURN = threading.Lock()


class Face(BaseHTTPRequestHandler):
    """Answers queries, in the format that they name, and takes inserts."""

    protocol_version = "HTTP/1.1"
    session: Any

    def do_GET(self) -> None:
        self._answer(b"Ok.\n") if self.path == "/ping" else self.do_POST()

    def do_POST(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            body = b"".join(self._chunks())
        query, data = given.get("query", ""), body
        if not query:
            first, _, rest = body.partition(b"\n")
            query, data = (first.decode(), rest) if first.startswith(b"INSERT") else (body.decode(), b"")
        try:
            with TURN:
                self._answer(self._run(query, given, data))
        except RuntimeError as error:
            self._answer(str(error).encode(), status=500)

    def _run(self, query: str, given: dict[str, str], data: bytes) -> bytes:
        for name, value in given.items():
            if name.startswith("param_"):
                escaped = value.replace("\\", "\\\\").replace("'", "\\'")
                self.session.query(f"SET {name} = '{escaped}'")
        if data:
            target, _, form = query.rpartition(" FORMAT ")
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                query = f"{target} SELECT * FROM file('{file.name}', '{form.split()[0]}')"  # noqa: S608 - a test's own
                return bytes(self.session.query(query).bytes() or b"")
        form = "TabSeparated"
        if " FORMAT " in query:
            query, _, form = query.rpartition(" FORMAT ")
        elif "default_format" in given:
            form = given["default_format"]
        return bytes(self.session.query(query, form.strip()).bytes() or b"")

    def _chunks(self) -> Any:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-clickhouse-timezone", "UTC")
        if status != 200:
            self.send_header("x-clickhouse-exception-code", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Serves until it is killed."""
    Face.session = Session(str(Path(sys.argv[2])))  # type: ignore[no-untyped-call] # it has no types
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Face).serve_forever()


if __name__ == "__main__":
    main()
