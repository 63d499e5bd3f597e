"""A schema registry on loopback: as much of Confluent's REST API as clients use, its errors included."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class RegistryDouble:
    """What a test sees of the registry: its schemas, the calls that came, and how it is to misbehave."""

    def __init__(self):
        self.schemas = {}
        self.versions = {}
        self.config = {}
        self.calls = []
        self.authorizations = []
        self.replies = {}
        """(method, path) or path → (status, body, headers): an answer of the test's own."""

    def answer(self, method, path, body):
        self.calls.append((method, path))
        for wanted in ((method, path), path):
            if wanted in self.replies:
                return self.replies[wanted]
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match (method, parts):
            case ("PUT", ["config", subject]):
                self.config[subject] = body["compatibility"]
                return 200, body, {}
            case ("POST", ["subjects", subject, "versions"]):
                return self._register(subject, body["schema"])
            case ("POST", ["subjects", subject]):
                return self._lookup(subject, body["schema"])
            case ("GET", ["schemas", "ids", schema_id]) if int(schema_id) in self.schemas:
                return 200, {"schema": self.schemas[int(schema_id)]}, {}
        return 404, {"error_code": 40403, "message": "Schema not found"}, {}

    def _register(self, subject, schema):
        known = next((each for each, text in self.schemas.items() if text == schema), len(self.schemas) + 1)
        self.schemas[known] = schema
        self.versions.setdefault(subject, [])
        if known not in self.versions[subject]:
            self.versions[subject].append(known)
        return 200, {"id": known}, {}

    def _lookup(self, subject, schema):
        for version, schema_id in enumerate(self.versions.get(subject, ()), 1):
            if self.schemas[schema_id] == schema:
                return 200, {"subject": subject, "id": schema_id, "version": version, "schema": schema}, {}
        return 404, {"error_code": 40403, "message": "Schema not found"}, {}


@contextmanager
def registry_double():
    """A running registry: the double, and its URL."""
    double = RegistryDouble()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            double.authorizations.append(self.headers.get("Authorization"))
            status, answer, headers = double.answer(self.command, self.path.split("?")[0], body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - http.server calls them so

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield double, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
