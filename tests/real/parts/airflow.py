"""apache-airflow-client (3.3) against the simulator of API v2: every field that it requires; its requests are the program's."""

import json
import re

import airflow_client.client as airflow
from airflow_client.client.exceptions import ApiException
from world import Breaking, call

MUTATION = "a task instance without its pool"
DAG, RUN, TASK = "sales_etl", "scheduled__2026-07-27T00:00:00+00:00", "load_orders"


def token(world):
    status, body = call(f"{world.at['airflow']}auth/token", "POST", {"username": "reader", "password": "secret"})
    assert status == 201, body
    return json.loads(body)["access_token"]


def conversation(world, url):
    configuration = airflow.Configuration(host=url.rstrip("/"), access_token=token(world))
    with airflow.ApiClient(configuration) as client:
        assert airflow.VersionApi(client).get_version().version.startswith("3.")
        dags, runs, tasks = airflow.DAGApi(client), airflow.DagRunApi(client), airflow.TaskInstanceApi(client)
        assert DAG in [dag.dag_id for dag in dags.get_dags().dags]
        assert dags.get_dag(DAG).is_paused is False
        run = runs.get_dag_run(DAG, RUN)
        assert run.state.value == "failed" and run.run_type.value == "scheduled"
        assert RUN in [one.dag_run_id for one in runs.get_dag_runs("~", state=["failed"], end_date_gte="2026-01-01T00:00:00Z", order_by=["end_date"]).dag_runs]
        task = tasks.get_task_instance(DAG, RUN, TASK)
        assert task.state.value == "failed" and task.try_number == 3
        assert TASK in [one.task_id for one in tasks.get_task_instances(DAG, RUN, state=["failed"]).task_instances]
        assert TASK in [one.task_id for one in tasks.get_task_instances("~", "~", state=["failed"]).task_instances]
        assert airflow.TaskApi(client).get_task(DAG, TASK).task_id == TASK
        log = tasks.get_log(DAG, RUN, TASK, 3, full_content=True, accept="application/json")
        assert "Task failed with exception" in str(log.content.actual_instance), log.content
        body = airflow.ClearTaskInstancesBody(dry_run=True, task_ids=[airflow.ClearTaskInstancesBodyTaskIdsInner(TASK)], dag_run_id=RUN, only_failed=True,
                                              note="looked at", prevent_running_task=True, run_on_latest_version=True)
        cleared = tasks.post_clear_task_instances(DAG, body)
        assert cleared.total_entries == 1
        made = runs.trigger_dag_run(DAG, airflow.TriggerDAGRunPostBody(dag_run_id=f"manual__{id(client)}", logical_date=None))
        assert made.state.value == "queued"
        try:
            tasks.get_task_instance(DAG, RUN, "nothing")
            raise AssertionError("a task that is not there was given")
        except ApiException as error:
            assert error.status == 404, error


def without_pool(answer):
    for task in [answer, *(answer.get("task_instances") or [])]:
        task.pop("pool", None)
    return answer


def shape(request):
    path = request["path"].replace("%7E", "~")
    for piece in ("dags", "dagRuns", "taskInstances", "logs"):
        path = re.sub(f"/{piece}/(?!~(?:/|$))[^/]+", f"/{piece}/*", path)
    return request["method"], path


def check(world, mutant):
    conversation(world, Breaking(world.at["airflow"], without_pool).url if mutant else world.at["airflow"])
    asked = world.requests("airflow")
    is_sdk = lambda request: "OpenAPI-Generator" in request["headers"].get("user-agent", "")  # noqa: E731
    theirs = {shape(request) for request in asked if is_sdk(request)}
    ours = {shape(request) for request in asked if not is_sdk(request)}
    own = {one for one in ours if "/dags/" in one[1]}
    unknown = own - theirs
    assert own and not unknown, f"no request of the client is like {sorted(unknown)}"
    return f"13 calls of apache-airflow-client, {len(own)} kinds of requests as the client's"
