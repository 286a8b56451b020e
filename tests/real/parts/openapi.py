"""schemathesis on the running app, by its own document."""

import json
import re
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from world import KEY, TOOLS

MUTATION = "the document says that tickets come as a number"
# Values that cannot be read filter nothing, and are named in `ignored`: the API takes them on purpose.
UNUSED = "negative_data_rejection,unsupported_method"


def served(text):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/openapi.json"


def check(world, mutant):
    status, body = world.api("openapi.json")
    assert status == 200 and world.api("openapi.json", key=None)[0] == 401
    document = json.loads(body)
    # Real ids among those that it invents.
    ids = [ticket["id"] for ticket in world.tickets()][:3]
    for calls in document["paths"].values():
        for call in calls.values():
            for parameter in call.get("parameters", []):
                if parameter["name"] == "id":
                    parameter["schema"]["examples"] = ids
                    parameter["examples"] = {one: {"value": one} for one in ids}
    # Whether times fit together and a text is a pattern is beyond a schema.
    silence = document["paths"]["/api/silences"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    silence["required"].append("minutes")
    silence["properties"] |= {"from": {"type": "null"}, "until": {"type": "null"}, "asset": {"type": "string", "enum": ["pl_finance_*"]}}
    silence["properties"]["minutes"]["type"] = "integer"
    if mutant:
        document["components"]["schemas"]["List"]["properties"]["tickets"] = {"type": "integer"}
    command = [TOOLS / "venv/bin/schemathesis", "run", served(json.dumps(document).encode()), "--url", world.url, "--header", f"x-dashboard-key: {KEY}",
               "--checks", "all", "--exclude-checks", UNUSED, "--max-examples", "5", "--seed", "7", "--phases", "examples,coverage,fuzzing",
               "--no-color", "--request-timeout", "20"]
    if mutant:
        command += ["--include-path", "/api/tickets", "--max-examples", "1"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240, cwd=world.folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert cases and int(cases[1].replace(",", "")) >= 50, done.stdout[-2000:]
    return f"schemathesis finds nothing in {cases[1]} cases of {len(document['paths'])} paths"
