"""aiops-rca as built, and a real Airflow in a virtual environment, both on this machine."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
KEY = "real-airflow-dashboard-key-0123456789"
USER, PASSWORD = "rca", "real-airflow-password"
# Python versions that have wheels for all that these releases need.
PYTHONS = {"2.10": ((3, 8), (3, 12)), "2.11": ((3, 9), (3, 12)), "3.0": ((3, 9), (3, 12)), "3.1": ((3, 10), (3, 13))}
NEWEST = ((3, 10), (3, 13))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(url, headers=(), body=None, method=None):
    """Status and JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json", **dict(headers)})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, raw = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, raw = error.code, error.read()
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw.decode("utf-8", "replace")


def stop(process):
    """Ends a process that leads a session of its own, with all its children."""
    for how, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, how)
            process.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


class Rca:
    """The built binary as `local` with the embedded store."""

    def __init__(self, airflow_port, api, jira, slack):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        binaries = [ROOT / "target" / kind / "aiops-rca" for kind in ("release", "debug")]
        built = [exe for exe in binaries if exe.exists()]
        if not built:
            sys.exit("build it first: cargo build --release")
        exe = max(built, key=lambda exe: exe.stat().st_mtime)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": self.folder.name,
            "NO_COLOR": "1",
            "DASHBOARD_KEY": KEY,
            "ITSM_TOOL": "jira",
            "JIRA_DOMAIN": f"http://127.0.0.1:{jira.port}",
            "JIRA_USER_EMAIL": "bot@example.com",
            "JIRA_API_TOKEN": "a-token",
            "JIRA_PROJECT_KEY": "RCA",
            "SLACK_BOT_TOKEN": "xoxb-real-airflow",
            "SLACK_ALERT_CHANNEL": "C0REAL00001",
            "SLACK_SIGNING_SECRET": "a-signing-secret",
            "SLACK_API_URL": f"http://127.0.0.1:{slack.port}/api/",
            "AIRFLOW_BASE_URL": f"http://127.0.0.1:{airflow_port}",
            "AIRFLOW_USERNAME": USER,
            "AIRFLOW_PASSWORD": PASSWORD,
            "AIRFLOW_API_VERSION": api,
        }
        store = str(Path(self.folder.name) / "store.db")
        self.log = Path(self.folder.name) / "log"
        command = [str(exe), "local", "--port", str(self.port), "--store", store]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        for _ in range(150):
            try:
                if self.get("/health")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit("aiops-rca does not start: " + self.log.read_text()[-800:])

    def get(self, path):
        return ask(f"http://127.0.0.1:{self.port}{path}", {"x-dashboard-key": KEY})

    def tickets(self):
        """Every ticket with its details."""
        _, listed = self.get("/api/tickets?limit=1000")
        rows = listed if isinstance(listed, list) else listed.get("tickets", [])
        return [self.get(f"/api/tickets/{row['id']}")[1] for row in rows]

    def stop(self):
        stop(self.process)


class Airflow:
    """One release on SQLite: scheduler, triggerer, API, and a DAG processor where the release has one of its own."""

    def __init__(self, version, port):
        self.version, self.port = version, port
        self.two = version.startswith("2.")
        self.api = "v1" if self.two else "v2"
        self.home = ROOT / "target/real-airflow" / version
        self.processes = []

    def install(self):
        minor = ".".join(self.version.split(".")[:2])
        oldest, newest = PYTHONS.get(minor, NEWEST)
        if not oldest <= sys.version_info[:2] <= newest:
            here = ".".join(map(str, sys.version_info[:2]))
            fits = " to ".join(".".join(map(str, one)) for one in (oldest, newest))
            sys.exit(f"Airflow {self.version} does not run on Python {here}: start this script with Python {fits}, e.g. python3.{newest[1]} {sys.argv[0]} {self.version}")
        if (self.home / "venv/bin/airflow").exists():
            return
        self.home.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(self.home / "venv")], check=True)
        python = self.home / "venv/bin/python"
        pip = [str(python), "-m", "pip", "install", "--quiet", f"apache-airflow=={self.version}"]
        constraints = os.environ.get("AIRFLOW_CONSTRAINTS")
        subprocess.run(pip + (["--constraint", constraints] if constraints else []), check=True)

    def start(self, rca_port):
        work = self.home / "airflow"
        shutil.rmtree(work, ignore_errors=True)
        for folder in ("dags", "config", "flags"):
            (work / folder).mkdir(parents=True)
        # As infra/airflow/README.md says: the policy reports every task and every run, and no DAG is touched.
        for name in ("aiops_rca_callback.py", "airflow_local_settings.py"):
            shutil.copy(ROOT / "infra/airflow" / name, work / "config")
        for dag in sorted((HERE / "dags").glob("*.py")):
            if dag.name in ("airflow_local_settings.py", "listener.py", "rdags.py"):
                continue
            if dag.name == ("seed3.py" if self.two else "seed.py") or dag.name.startswith("noise_") and self.two:
                continue
            text = dag.read_text().replace("/opt/airflow/flag", str(work / "flags/flag"))
            (work / "dags" / dag.name).write_text(text)
        (work / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        base = f"http://127.0.0.1:{self.port}"
        self.env = {
            "PATH": f"{self.home / 'venv/bin'}:{os.environ['PATH']}",
            "HOME": str(work),
            "AIRFLOW_HOME": str(work),
            "PYTHONPATH": f"{work / 'config'}:{work / 'dags'}",
            "AIOPS_RCA_URL": f"http://127.0.0.1:{rca_port}/airflow-monitor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor" if self.two else "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(work / "passwords.json"),
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": base,
            "AIRFLOW__API_AUTH__JWT_SECRET": "real-airflow-jwt-secret-0123456789-0123456789-0123456789-0123456789",
            "AIRFLOW__WEBSERVER__BASE_URL": base,
            "AIRFLOW__WEBSERVER__SECRET_KEY": "real-airflow-secret-key",
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
            "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "40",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        }
        self.log = open(work / "processes.log", "w")
        self.once("db", "migrate")
        if self.two:
            self.once("users", "create", "-u", USER, "-p", PASSWORD, "-r", "Admin", "-e", "rca@example.com", "-f", "r", "-l", "ca")
        parts = [["scheduler"], ["triggerer"]]
        parts += [["webserver", "--port", str(self.port)]] if self.two else [["dag-processor"], ["api-server", "--port", str(self.port), "--workers", "1"]]
        airflow = str(self.home / "venv/bin/airflow")
        for part in parts:
            process = subprocess.Popen([airflow, *part], env=self.env, stdout=self.log, stderr=self.log, start_new_session=True)
            self.processes.append(process)

    def once(self, *args):
        airflow = str(self.home / "venv/bin/airflow")
        done = subprocess.run([airflow, *args], env=self.env, stdout=self.log, stderr=self.log)
        if done.returncode:
            sys.exit(f"airflow {' '.join(args[:2])} failed: see {self.log.name}")

    def headers(self):
        if self.two:
            return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        _, token = ask(f"http://127.0.0.1:{self.port}/auth/token", body={"username": USER, "password": PASSWORD})
        return {"Authorization": f"Bearer {token['access_token']}"}

    def call(self, path, body=None):
        return ask(f"http://127.0.0.1:{self.port}/api/{self.api}/{path}", self.headers(), body)

    def all(self, path, name):
        """Every page of a list."""
        found = []
        while True:
            status, page = self.call(f"{path}{'&' if '?' in path else '?'}limit=100&offset={len(found)}")
            if status != 200:
                sys.exit(f"Airflow answered {status} to {path}: {str(page)[:300]}")
            found += page[name]
            if not page[name] or len(found) >= page["total_entries"]:
                return found

    def dags(self, at_least=48, patience=600):
        """The DAGs, once they are parsed and no more appear."""
        end, found = time.time() + patience, []
        while time.time() < end:
            time.sleep(10)
            before = len(found)
            try:
                found = self.all("dags", "dags")
            except (OSError, KeyError, TypeError):
                continue
            if len(found) >= at_least and len(found) == before:
                return sorted(dag["dag_id"] for dag in found)
        sys.exit(f"Airflow lists {len(found)} DAGs only: see {self.log.name}")

    def trigger(self, dag):
        body = {"dag_run_id": f"manual__{dag}"} if self.two else {"dag_run_id": f"manual__{dag}", "logical_date": None}
        status, answer = self.call(f"dags/{dag}/dagRuns", body)
        if status not in (200, 201):
            sys.exit(f"Airflow answered {status} to a run of {dag}: {str(answer)[:300]}")

    def unfinished(self):
        runs = self.all("dags/~/dagRuns?state=running&state=queued", "dag_runs")
        return [run["dag_id"] for run in runs]

    def failed_units(self, dags):
        """What failed, as Airflow itself says: task instances, and runs in which none did."""
        units = {}
        for task in self.all("dags/~/dagRuns/~/taskInstances?state=failed", "task_instances"):
            if task["dag_id"] in dags and task["state"] == "failed":
                units.setdefault(task["dag_id"], set()).add((task["task_id"], task["map_index"]))
        for run in self.all("dags/~/dagRuns?state=failed", "dag_runs"):
            if run["dag_id"] in dags:
                units.setdefault(run["dag_id"], {("", -1)})
        return units

    def stop(self):
        for process in self.processes:
            stop(process)
