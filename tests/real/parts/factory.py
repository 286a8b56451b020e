"""azure-mgmt-datafactory against the simulator; its requests are the program's."""

import json
from datetime import UTC, datetime, timedelta

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.datafactory import DataFactoryManagementClient
from azure.mgmt.datafactory.models import RunFilterParameters, RunQueryFilter, RunQueryOrderBy
from world import Breaking

MUTATION = "a filter's key is misspelled, and a run's start is no time"
GROUP, FACTORY, RUN = "rg-data", "adf-prod", "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b"


class Bearer(SansIOHTTPPolicy):
    """The official policy refuses plain HTTP, which a simulator is."""

    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer token-for-https://management.azure.com"


class Credential:
    def get_token(self, *_, **__):
        return AccessToken("unused", 4_000_000_000)


def client(world, url):
    return DataFactoryManagementClient(Credential(), world.at["subscription"], base_url=url.rstrip("/"), authentication_policy=Bearer())


def conversation(world, url):
    adf = client(world, url)
    run = adf.pipeline_runs.get(GROUP, FACTORY, RUN)
    assert run.status == "Failed" and isinstance(run.run_start, datetime), run.as_dict()
    now = datetime.now(UTC)
    window = RunFilterParameters(last_updated_after=now - timedelta(days=400), last_updated_before=now + timedelta(days=1),
                                 filters=[RunQueryFilter(operand="Status", operator="Equals", values_property=["Failed"])],
                                 order_by=[RunQueryOrderBy(order_by="RunEnd", order="ASC")])
    runs = adf.pipeline_runs.query_by_factory(GROUP, FACTORY, window)
    assert RUN in [one.run_id for one in runs.value]
    activities = adf.activity_runs.query_by_pipeline_run(GROUP, FACTORY, RUN, RunFilterParameters(
        last_updated_after=now - timedelta(days=400), last_updated_before=now + timedelta(days=1),
        filters=[RunQueryFilter(operand="Status", operator="Equals", values_property=["Failed"])],
        order_by=[RunQueryOrderBy(order_by="ActivityRunEnd", order="DESC")]))
    failed = [one for one in activities.value if one.status == "Failed"]
    assert failed and failed[0].error["errorCode"] == "2200", failed
    assert adf.factories.get(GROUP, FACTORY).name == FACTORY
    assert [trigger.name for trigger in adf.triggers.list_by_factory(GROUP, FACTORY)] == ["tr_daily"]
    assert adf.pipelines.get(GROUP, FACTORY, "pl_ingest_sales").name == "pl_ingest_sales"
    started = adf.pipelines.create_run(GROUP, FACTORY, "pl_ingest_sales", reference_pipeline_run_id=RUN, is_recovery=True, start_from_failure=True)
    again = adf.pipeline_runs.get(GROUP, FACTORY, started.run_id)
    assert again.run_group_id == RUN and again.parameters == run.parameters
    try:
        adf.pipelines.create_run(GROUP, FACTORY, "pl_ingest_sales", reference_pipeline_run_id="00000000-0000-0000-0000-000000000000", is_recovery=True)
        raise AssertionError("a run of nothing was taken for a reference")
    except HttpResponseError as error:
        assert error.error.code == "ReferencedPipelineRunNotValid", error.error.code


def shape(request):
    """What decides how the service reads a request: method, path without ids, query's names, and the body's keys."""
    path = [piece.lower() for piece in request["path"].strip("/").split("/")]
    known = {"subscriptions", "resourcegroups", "providers", "microsoft.datafactory", "factories", "pipelineruns", "pipelines", "querypipelineruns",
             "queryactivityruns", "querytriggerruns", "triggers"}
    body = json.loads(request["body"]) if request["body"] else {}
    filters = sorted({key for one in body.get("filters", []) for key in one})
    orders = sorted({key for one in body.get("orderBy", []) for key in one})
    keys = sorted(key for key in body if key != "continuationToken")
    return (request["method"], tuple(piece if piece in known else "*" for piece in path), tuple(sorted(name for name, _ in request["query"])),
            tuple(keys), tuple(filters), tuple(orders))


def same(ours, theirs):
    """Ours may leave out what is optional; it may add nothing and spell nothing otherwise."""
    return all(any(one[:3] == other[:3] and all(set(a) <= set(b) for a, b in zip(one[3:], other[3:])) for other in theirs) for one in ours)


def check(world, mutant):
    ours = [request for request in world.requests("factory") if "azsdk" not in request["headers"].get("user-agent", "")]
    if mutant:
        for request in ours:
            request["body"] = request["body"].replace('"operand"', '"Operand"')
        broken = Breaking(world.at["factory"], lambda answer: {**answer, "runStart": "yesterday"} if "runStart" in answer else answer)
        try:
            conversation(world, broken.url)
        except Exception:
            pass
        else:
            return "the SDK took a start that is no time"
    else:
        conversation(world, world.at["factory"])
    theirs = {shape(request) for request in world.requests("factory") if "azsdk" in request["headers"].get("user-agent", "")}
    mine = {shape(request) for request in ours}
    # The patrol's question about triggers is in tests/fixtures/patrol/requests.jsonl.
    mine = {one for one in mine if "querytriggerruns" not in one[1]}
    assert len(mine) >= 3, mine
    for one in mine:
        assert same([one], theirs), f"no request of the SDK is like {one}: {sorted(theirs)}"
    return f"9 calls of azure-mgmt-datafactory, {len(mine)} kinds of requests as the SDK's"
