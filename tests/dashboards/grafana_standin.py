"""Grafana's HTTP API, as far as `dashboards push` uses it, over real HTTP.

Shapes, statuses and messages as Grafana documents them
(https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/, pages folder, data_source,
dashboard): unknown uids are 404, a bad token 401, a right that is missing 403, a dashboard that is provisioned 400, a
version conflict without `overwrite` 412; a dashboard is given an id, and a version that rises with each write.
"""

from __future__ import annotations

import copy
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Document = dict[str, Any]
TOKEN = "glsa_standin"
READ, EDIT, ADMIN = 1, 2, 3


class Grafana:
    """What it holds. `role`: of the token. `requests`: method and path of all that was asked."""

    def __init__(self, version: str = "12.1.0", role: int = ADMIN) -> None:
        self.version, self.role = version, role
        self.folders: dict[str, Document] = {}
        self.datasources: dict[str, Document] = {}
        self.dashboards: dict[str, Document] = {}
        self.provisioned: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "frontend", "settings"):
                return 200, {"buildInfo": {"version": self.version, "commit": "abc", "env": "production"}}
            case ("GET", "folders", uid):
                return self._found(self.folders, uid, {"message": "folder not found", "status": "not-found"})
            case ("POST", "folders"):
                return self._create_folder(body)
            case ("GET", "datasources", "uid", uid):
                if self.role < ADMIN:
                    return _forbidden("datasources:read")
                return self._found(self.datasources, uid, {"message": "Data source not found"})
            case ("POST", "datasources"):
                return self._create_datasource(body)
            case ("PUT", "datasources", "uid", uid):
                return self._update_datasource(uid, body)
            case ("GET", "dashboards", "uid", uid):
                return self._found(self.dashboards, uid, {"message": "Dashboard not found"})
            case ("POST", "dashboards", "db"):
                return self._save(body)
        return 404, {"message": "Not found"}

    @staticmethod
    def _found(held: dict[str, Document], uid: str, missing: Document) -> tuple[int, Document]:
        return (200, held[uid]) if uid in held else (404, missing)

    def _create_folder(self, body: Document) -> tuple[int, Document]:
        if self.role < EDIT:
            return _forbidden("folders:create")
        if body["uid"] in self.folders:
            return 409, {"message": "a folder with the same uid already exists"}
        self.folders[body["uid"]] = {"id": len(self.folders) + 1, "version": 1, **body}
        return 200, self.folders[body["uid"]]

    def _create_datasource(self, body: Document) -> tuple[int, Document]:
        if self.role < ADMIN:
            return _forbidden("datasources:create")
        if any(held["name"] == body["name"] for held in self.datasources.values()):
            return 409, {"message": "data source with the same name already exists"}
        made = {
            "id": len(self.datasources) + 1,
            "orgId": 1,
            "basicAuth": False,
            "isDefault": False,
            "readOnly": False,
            "version": 1,
            **body,
        }
        self.datasources[body["uid"]] = made
        return 200, {"datasource": made, "id": made["id"], "message": "Datasource added", "name": made["name"]}

    def _update_datasource(self, uid: str, body: Document) -> tuple[int, Document]:
        if self.role < ADMIN:
            return _forbidden("datasources:write")
        held = self.datasources[uid]
        if held["readOnly"]:
            return 403, {"message": "Cannot update read-only data source"}
        if body.get("version", held["version"]) != held["version"]:
            return 409, {"message": "Datasource has already been updated by someone else. Please reload and try again"}
        self.datasources[uid] = {**held, **body, "version": held["version"] + 1}
        return 200, {"datasource": self.datasources[uid], "message": "Datasource updated"}

    def _save(self, body: Document) -> tuple[int, Document]:
        if self.role < EDIT:
            return _forbidden("dashboards:write")
        dashboard = copy.deepcopy(body["dashboard"])
        uid, folder = dashboard["uid"], body.get("folderUid", "")
        if not dashboard.get("title"):
            return 400, {"message": "Dashboard title cannot be empty"}
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found", "status": "not-found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        held = self.dashboards.get(uid)
        if held and not body.get("overwrite") and dashboard.get("version") != held["dashboard"]["version"]:
            return 412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
        version = held["dashboard"]["version"] + 1 if held else 1
        number = held["dashboard"]["id"] if held else len(self.dashboards) + 1
        # Grafana keeps what it is sent, and adds to it.
        kept = {**dashboard, "id": number, "version": version}
        kept.setdefault("style", "dark")
        self.dashboards[uid] = {
            "dashboard": kept,
            "meta": {"folderUid": folder, "version": version, "provisioned": False},
        }
        return 200, {"id": number, "uid": uid, "status": "success", "version": version, "url": f"/d/{uid}"}


@contextmanager
def serving(grafana: Grafana, path: str = "") -> Iterator[Grafana]:
    """Below `path` of a free port; nothing else is there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            prefix = f"{path}/api"
            if not self.path.startswith(f"{prefix}/"):
                status, answer = 404, {"message": "Not found"}
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, answer = 401, {"message": "Invalid API key", "messageId": "api-key.invalid"}
            else:
                asked = self.path.removeprefix(prefix)
                grafana.requests.append((self.command, asked))
                status, answer = grafana.answer(self.command, asked, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def do_PUT(self) -> None:
            self._do()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _forbidden(right: str) -> tuple[int, Document]:
    return 403, {
        "accessErrorId": "ACE1234567",
        "message": f"You'll need additional permissions to perform this action. Permissions needed: {right}",
        "title": "Access denied",
    }
