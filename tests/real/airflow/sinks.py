"""JIRA and Slack as far as aiops-rca talks to them: stateful, small, standard library only."""

import json
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """Serves `answer(method, path, body)`, which gives a status and a JSON value."""

    def __init__(self):
        self.lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def any(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urllib.parse.urlsplit(self.path)
                try:
                    body = json.loads(raw) if raw else dict(urllib.parse.parse_qsl(url.query))
                except ValueError:
                    body = dict(urllib.parse.parse_qsl(raw.decode()))
                with site.lock:
                    status, value = site.answer(self.command, url.path, body)
                out = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Jira(Site):
    def __init__(self):
        self.issues = {}
        super().__init__()

    def answer(self, method, path, body):
        parts = path.strip("/").split("/")[3:]
        if parts == ["myself"]:
            return 200, {"accountId": "bot", "displayName": "Bot"}
        if parts == ["search", "jql"]:
            labels = set(re.findall(r'"(rca-[^"]+)"', body.get("jql", "")))
            found = [issue for issue in self.issues.values() if labels & set(issue["fields"].get("labels", []))]
            return 200, {"issues": found, "isLast": True}
        if parts == ["issue"]:
            key = f"RCA-{len(self.issues) + 1}"
            status = {"name": "To Do", "statusCategory": {"key": "new"}}
            self.issues[key] = {"id": str(10_000 + len(self.issues)), "key": key, "fields": {**body["fields"], "status": status}}
            return 201, {"id": self.issues[key]["id"], "key": key}
        if parts[:1] == ["issue"] and len(parts) > 1 and parts[1] in self.issues:
            issue = self.issues[parts[1]]
            if parts[2:] == ["comment"]:
                return (201, {"id": "1"}) if method == "POST" else (200, {"comments": [], "total": 0})
            if parts[2:] == ["transitions"]:
                return 200, {"transitions": []}
            if method == "PUT":
                issue["fields"].update(body.get("fields") or {})
                return 204, None
            return 200, {**issue, "changelog": {"histories": []}}
        return 404, {"errorMessages": ["no such path"]}


class Slack(Site):
    def __init__(self):
        self.messages = []
        super().__init__()

    def heads(self):
        return [message for message in self.messages if not message.get("thread_ts")]

    def answer(self, method, path, body):
        name = path.rsplit("/", 1)[-1]
        ok = {"ok": True, "channel": "C0REAL00001"}
        if name == "auth.test":
            return 200, {"ok": True, "user_id": "U0BOT", "team": "real", "url": "https://real.slack.com/"}
        if name == "conversations.history":
            return 200, {"ok": True, "messages": self.heads()[::-1], "has_more": False}
        if name == "conversations.replies":
            thread = [m for m in self.messages if body.get("ts") in (m["ts"], m.get("thread_ts"))]
            return 200, {"ok": True, "messages": thread, "has_more": False}
        if name == "chat.getPermalink":
            return 200, {**ok, "permalink": "https://real.slack.com/archives/C0REAL00001/p1"}
        if name == "chat.postMessage":
            known = next((m for m in self.messages if body.get("client_msg_id") and m.get("client_msg_id") == body["client_msg_id"]), None)
            if known is None:
                known = {**body, "ts": f"{int(time.time())}.{len(self.messages):06d}"}
                self.messages.append(known)
            return 200, {**ok, "ts": known["ts"]}
        if name == "chat.update":
            return 200, {**ok, "ts": body.get("ts")}
        return 200, {"ok": False, "error": "unknown_method"}
