"""databricks-sdk against the simulator; its requests are the program's; its lists of events and codes are known."""

import json
import re

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service import compute, jobs
from world import ROOT, Breaking

MUTATION = "run_id is asked for as runId, and tasks come as a number"
JOB_RUN, TASK_RUN, CLUSTER = 998877665544332, 222, "0727-091233-ab12cd34"
# Events after which work goes on, or that a person made.
HARMLESS = {"AUTOMATIC_CLUSTER_UPDATE", "AUTOSCALING_STATS_REPORT", "CREATING", "DECOMMISSION_ENDED", "DEFERRED_POLICY_ENFORCEMENT_FAILED",
            "DEFERRED_POLICY_ENFORCEMENT_SCHEDULED", "DRIVER_HEALTHY", "EDITED", "EXPANDED_DISK", "INIT_SCRIPTS_FINISHED", "INIT_SCRIPTS_STARTED",
            "PINNED", "RESIZING", "RUNNING", "STARTING", "UNPINNED", "UPSIZE_COMPLETED"}


def client(url):
    return WorkspaceClient(config=Config(host=url.rstrip("/"), token="dapi-simulated", auth_type="pat", http_timeout_seconds=20, retry_timeout_seconds=1))


def conversation(url):
    workspace = client(url)
    assert workspace.current_user.me().user_name
    run = workspace.jobs.get_run(JOB_RUN)
    assert run.state.result_state == jobs.RunResultState.FAILED and len(run.tasks) >= 2, run
    assert "DELTA_FAILED_TO_MERGE_FIELDS" in workspace.jobs.get_run_output(TASK_RUN).error
    assert JOB_RUN in [one.run_id for one in workspace.jobs.list_runs(completed_only=True, start_time_from=0)]
    cluster = workspace.clusters.get(CLUSTER)
    assert cluster.termination_reason.code == compute.TerminationReasonCode.DRIVER_UNRESPONSIVE, cluster
    kinds = [event.type for event in workspace.clusters.events(CLUSTER)]
    assert compute.EventType.DRIVER_NOT_RESPONDING in kinds, kinds
    failed = [one for one in workspace.libraries.cluster_status(CLUSTER) if one.status == compute.LibraryInstallStatus.FAILED]
    assert failed and failed[0].library.pypi.package == "pandas==99.0"
    try:
        workspace.jobs.get_run(1)
        raise AssertionError("a run that is not there was given")
    except DatabricksError as error:
        assert error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"), error
    assert CLUSTER in [one.cluster_id for one in workspace.clusters.list()]
    assert workspace.jobs.get(516892700102118).settings.name == "nightly ETL"
    repaired = workspace.jobs.repair_run(JOB_RUN, rerun_all_failed_tasks=True)
    assert repaired.response.repair_id


def shape(request):
    path = re.sub(r"/2\.[0-9]/", "/2.x/", request["path"])
    path = re.sub(r"^/api/2\.x/pipelines/[^/]+", "/api/2.x/pipelines/*", path)
    body = json.loads(request["body"]) if request["body"] else {}
    return request["method"], path, frozenset(name for name, _ in request["query"]) | frozenset(body)


def is_sdk(request):
    return "databricks-sdk-py" in request["headers"].get("user-agent", "")


def check(world, mutant):
    ours = [request for request in world.requests("databricks") if not is_sdk(request)]
    if mutant:
        for request in ours:
            request["query"] = [["runId" if name == "run_id" else name, value] for name, value in request["query"]]
        try:
            conversation(Breaking(world.at["databricks"], lambda answer: {**answer, "tasks": 7} if "tasks" in answer else answer).url)
        except Exception:
            pass
        else:
            return "the SDK took a number for tasks"
    else:
        conversation(world.at["databricks"])
    theirs = {shape(request) for request in world.requests("databricks") if is_sdk(request)}
    mine = {shape(request) for request in ours}
    # Delta Live Tables are asked by the patrol: tests/fixtures/patrol/requests.jsonl has those.
    mine = {one for one in mine if "/pipelines" not in one[1]}
    assert len(mine) >= 4, mine
    known = {"expand_tasks", "include_history", "include_resolved_values", "limit", "offset", "page_token", "page_size", "order", "event_types", "start_time",
             "end_time", "start_time_from", "start_time_to", "completed_only", "active_only", "job_id", "run_type"}
    for method, path, names in mine:
        like = [other for other in theirs if other[:2] == (method, path)]
        assert like, f"the SDK has no {method} {path}: {sorted(one[1] for one in theirs)}"
        assert any(names <= (other[2] | known) for other in like), f"{method} {path}: {sorted(names)}, the SDK sends {[sorted(one[2]) for one in like]}"
    text = (ROOT / "src/evidence/databricks/state.rs").read_text()
    telling = set(re.findall(r'"([A-Z_]+)"', re.search(r"const TELLING: .*?\];", text, re.S)[0]))
    unknown = {event.value for event in compute.EventType} - telling - HARMLESS
    assert not unknown, f"events that nobody sorted: {sorted(unknown)}"
    return f"11 calls of databricks-sdk, {len(mine)} kinds of requests as the SDK's, {len(compute.EventType)} events sorted"
