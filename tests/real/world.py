"""The built program between the simulators of all vendors, on Azurite, with a collector: started, filled, asked."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOLS = ROOT / ".tools/real"
NODE = TOOLS / "node/node_modules"
VENDOR = ROOT / "tests/fixtures/vendor"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

KEY = "the-dashboard-key-of-tests-real"
SIGNING_SECRET = "simulated-signing-secret"
# The account and key that every Azurite has.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PREFIX = "real"
PATIENCE = 120


# As `BotOptions::default()` has them.
BOT = {"app": "11111111-aaaa-bbbb-cccc-222222222222", "tenant": "33333333-aaaa-bbbb-cccc-444444444444",
       "channel": "19:0123456789abcdef@thread.tacv2", "approver": "77777777-aaaa-bbbb-cccc-888888888888"}


def bot_token(claims, key_id="simulated-key-1", **options):
    """A token as the simulated Bot Framework signs it, with these claims instead of its own; None leaves one out."""
    key = serialization.load_der_private_key((ROOT / "tests/fixtures/entra/signing-key.der").read_bytes(), None)
    now = int(time.time())
    claims = {"iss": "https://api.botframework.com", "aud": BOT["app"], "nbf": now - 60, "exp": now + 3600, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, options.get("key", key),
                      algorithm=options.get("algorithm", "RS256"), headers={"kid": key_id})


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(url, method="GET", body=None, headers=None):
    """Status and body, whatever the status is."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def fixture(name):
    return json.loads((VENDOR / f"{name}.json").read_text())


def node(script, value):
    """Runs a script of this folder beside the installed packages; fails with what it says."""
    # Packages are looked up from where the script lies.
    copy = NODE.parent / Path(script).name
    shutil.copy(HERE / script, copy)
    done = subprocess.run(["node", str(copy)], input=json.dumps(value), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout.strip()


class Collector:
    """Takes OTLP over HTTP and keeps the bodies."""

    def __init__(self):
        bodies = self.bodies = {"/v1/traces": [], "/v1/logs": []}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                bodies[self.path].append((self.headers.get("content-type"), body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class Breaking:
    """A proxy that changes every JSON answer: what an official client must not take."""

    def __init__(self, behind, change):
        class Handler(BaseHTTPRequestHandler):
            def forward(self):
                length = int(self.headers.get("content-length") or 0)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "accept-encoding", "connection")}
                data = self.rfile.read(length) if length else None
                request = urllib.request.Request(behind.rstrip("/") + self.path, data=data, method=self.command, headers=headers)
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        status, kind, body = answer.status, answer.headers.get("content-type"), answer.read()
                except urllib.error.HTTPError as error:
                    status, kind, body = error.code, error.headers.get("content-type"), error.read()
                if body and "json" in (kind or ""):
                    body = json.dumps(change(json.loads(body))).encode()
                self.send_response(status)
                self.send_header("content-type", kind or "text/plain")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


class World:
    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aiops-rca-real-"))
        self.children = []
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def child(self, command, **options):
        child = subprocess.Popen([str(part) for part in command], **options)
        self.children.append(child)
        return child

    def start(self):
        serve = self.child([TARGET / "examples/serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = serve.stdout.readline()
        assert line, "the simulators did not start"
        self.at = json.loads(line)
        self.collector = Collector()
        self.storage = self.azurite()
        app = self.folder / "app"
        app.mkdir()
        # A folder of its own: no settings of this checkout are read.
        shutil.copy(ROOT / "host.json", app)
        shutil.copytree(ROOT / "functions", app / "functions")
        self.log = open(self.folder / "program.log", "w+")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.child([TARGET / "aiops-rca", "local", "--port", port, "--root", app],
                   env={"PATH": os.environ["PATH"], **self.settings()}, stdout=self.log, stderr=subprocess.STDOUT, cwd=app)
        self.until("the program answers", lambda: self.api("status")[0] == 200)

    def azurite(self):
        log = open(self.folder / "azurite.log", "w+")
        self.child(["node", ROOT / ".tools/node_modules/azurite/dist/src/azurite.js", "--silent", "--skipApiVersionCheck", "--disableTelemetry",
                    "--inMemoryPersistence", "--blobPort", "0", "--queuePort", "0", "--tablePort", "0"], stdout=log, stderr=log)
        found = {}

        def ready():
            text = (self.folder / "azurite.log").read_text()
            for service in ("Queue", "Table"):
                if match := re.search(rf"{service} service.*successfully listen(?:ing|s) (?:at|on) (http://\S+)", text):
                    found[service] = f"{match[1].rstrip('/')}/{ACCOUNT}"
            return len(found) == 2

        self.until("Azurite listens", ready)
        return (f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
                f"QueueEndpoint={found['Queue']};TableEndpoint={found['Table']}")

    def settings(self):
        at = self.at
        return {
            "AzureWebJobsStorage": self.storage, "STORAGE_PREFIX": PREFIX,
            "DASHBOARD_AUTH": "key", "DASHBOARD_KEY": KEY,
            "ITSM_TOOL": "jira", "JIRA_DOMAIN": at["jira"], "JIRA_GATEWAY_URL": at["jira"], "JIRA_USER_EMAIL": "aiops-bot@company.com",
            "JIRA_API_TOKEN": "simulated-api-token", "JIRA_PROJECT_KEY": "APAIOPS", "JIRA_WEBHOOK_SECRET": "jira-secret",
            "SLACK_BOT_TOKEN": "xoxb-simulated-token", "SLACK_ALERT_CHANNEL": "#aiops-rca-alerts", "SLACK_API_URL": at["slack"],
            "SLACK_SIGNING_SECRET": SIGNING_SECRET, "SLACK_APPROVERS": "U0JOHNDOE",
            "TEAMS_BOT_APP_ID": BOT["app"], "TEAMS_TENANT_ID": BOT["tenant"], "TEAMS_APPROVERS": BOT["approver"],
            "OWNER_ROUTES": f"nobody: mention={BOT['approver']}; *: mention={BOT['approver']}",
            "TEAMS_SERVICE_URL": f"{at['teams']}teams/", "TEAMS_GRAPH_URL": at["teams"],
            "TEAMS_OPENID_URL": f"{at['teams']}v1/.well-known/openidconfiguration",
            "IDENTITY_ENDPOINT": f"{at['identity']}msi/token", "IDENTITY_HEADER": at["identity_header"],
            "AZURE_SUBSCRIPTION_ID": at["subscription"], "AZURE_RESOURCE_GROUP": "rg-data", "AZURE_DATA_FACTORY_NAME": "adf-prod",
            "AZURE_MANAGEMENT_URL": at["factory"],
            "LOG_ANALYTICS_WORKSPACE_ID": at["workspace"], "LOG_ANALYTICS_URL": at["logs"],
            "DATABRICKS_WORKSPACE_URL": at["databricks"], "DATABRICKS_TOKEN": "dapi-simulated",
            "AIRFLOW_BASE_URL": at["airflow"], "AIRFLOW_USERNAME": "reader", "AIRFLOW_PASSWORD": "secret",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
        }

    def until(self, what, holds, patience=PATIENCE):
        end = time.time() + patience
        while time.time() < end:
            try:
                if holds():
                    return
            except (OSError, KeyError):
                pass
            if dead := [child.args[0] for child in self.children if child.poll() is not None]:
                raise AssertionError(f"{what}: {dead} ended; {self.said()}")
            time.sleep(0.3)
        raise AssertionError(f"{what}: not within {patience} s; {self.said()}")

    def said(self):
        if not hasattr(self, "log"):
            return ""
        self.log.flush()
        return (self.folder / "program.log").read_text()[-3000:]

    def api(self, path, method="GET", body=None, key=KEY):
        return call(f"{self.url}/api/{path}", method, body, {"x-dashboard-key": key} if key else {})

    def tickets(self):
        return json.loads(self.api("tickets")[1])["tickets"]

    def ticket(self, id):
        return json.loads(self.api(f"tickets/{id}")[1])

    def teams(self, activity, token=None):
        """Sends an activity of the Bot Framework to our door, with this token or a good one."""
        token = token or bot_token({"serviceurl": activity["serviceUrl"]})
        return call(f"{self.url}/teams/messages", "POST", activity, {"authorization": f"Bearer {token}"})

    def control(self, path):
        return json.loads(call(f"{self.at['control']}{path}")[1])

    def requests(self, of):
        """What the program, or a client, asked this vendor so far."""
        return self.control(f"requests?of={of}")

    def not_modelled(self):
        return self.control("not-modelled")

    def post(self, door, body):
        status, answer = call(f"{self.url}/{door}", "POST", body)
        assert status < 500, f"{door} answered {status}: {answer[:300]}"
        return status

    def shown(self):
        """Is every ticket shown everywhere?"""
        states = [self.ticket(ticket["id"]) for ticket in self.tickets()]
        return all(state.get("sinks", {}).get(sink, {}).get("state") == "up_to_date" for state in states for sink in ("jira", "slack", "teams"))

    def fill(self):
        """Every payload of the vendors that we have, hostile names, and what people do with tickets."""
        status, body = self.teams(self.control("teams"))
        assert status == 200, body
        for path in sorted(VENDOR.glob("*.json")):
            name = path.stem
            door = ("azure-monitor" if name.startswith("azmon-") and "claims" not in name and "truncated" not in name
                    else "databricks-monitor" if name.startswith("dbx-webhook") else "airflow-monitor" if "-callback-" in name and name.startswith("airflow") else None)
            if door:
                self.post(door, path.read_bytes())
        for number, hostile in enumerate(HOSTILE):
            self.post("airflow-monitor", {"dag_id": hostile, "task_id": f"t_{hostile}", "run_id": f"manual__{number}_{hostile}", "try_number": 1,
                                          "max_tries": 0, "exception": f"ValueError: {hostile} in row 7"})
        self.until("there are tickets", lambda: len(self.tickets()) >= 10)
        self.until("they are shown", self.shown)
        for ticket, action in zip(self.tickets(), ["acknowledge", "start", "acknowledge", "acknowledge"]):
            status, body = self.api(f"tickets/{ticket['id']}/{action}", "POST", {"by": "Jane Roe"})
            assert status == 200, body
        self.until("changes are shown", self.shown)
        status, body = self.api(f"tickets/{self.tickets()[0]['id']}/reopen", "POST", {"by": "Jane Roe"})
        assert status == 200, body
        self.until("the reopened one is shown", self.shown)


HOSTILE = ["dag__with_*stars*", "<!channel> & <@U0JOHNDOE>", "`code` ~x~ _y_", "Ünïcode – 日本語 🎉", "a" * 600, "{panel}|table|[link|https://example.com]", "x\u202ey\u0000z"]
