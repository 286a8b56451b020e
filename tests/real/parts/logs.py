"""azure-monitor-query against the simulator: typed columns; its request is the program's."""

import json
from datetime import datetime, timedelta

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.monitor.query import LogsQueryClient, LogsQueryStatus
from world import Breaking

MUTATION = "a time is no time, and the query is sent as kql"


class Bearer(SansIOHTTPPolicy):
    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer token-for-https://api.loganalytics.io"


class Credential:
    def get_token(self, *_, **__):
        return AccessToken("unused", 4_000_000_000)


def conversation(world, url):
    logs = LogsQueryClient(Credential(), endpoint=url.rstrip("/"), authentication_policy=Bearer())
    answer = logs.query_workspace(world.at["workspace"], "ADFActivityRun\n| where Status =~ \"Failed\"\n| project TimeGenerated, Status, ErrorCode, Start",
                                  timespan=timedelta(days=400))
    assert answer.status == LogsQueryStatus.SUCCESS
    table = answer.tables[0]
    assert table.columns_types[0] == "datetime", table.columns_types
    assert all(isinstance(row["TimeGenerated"], datetime) for row in table.rows), table.rows
    assert table.rows and all(row["Status"] == "Failed" for row in table.rows)
    try:
        logs.query_workspace(world.at["workspace"], "NoSuchTable\n| take 1", timespan=None)
        raise AssertionError("a table that is not there was read")
    except HttpResponseError as error:
        assert error.error.code == "BadArgumentError" and "SEM0100" in str(error.error.innererror or error.message), error


def check(world, mutant):
    def breaks(answer):
        for table in answer.get("tables", []):
            table["rows"] = [["yesterday", *row[1:]] for row in table["rows"]]
        return answer

    mine = [request for request in world.requests("logs") if "azsdk" not in request["headers"].get("user-agent", "")]
    if mutant:
        mine[0]["body"] = mine[0]["body"].replace('"query"', '"kql"')
        try:
            conversation(world, Breaking(world.at["logs"], breaks).url)
        except Exception:
            pass
        else:
            return "the client took a text for a time"
    else:
        conversation(world, world.at["logs"])
    [theirs] = [request for request in world.requests("logs") if "azsdk" in request["headers"].get("user-agent", "") and "ADFActivityRun" in request["body"]][:1]
    for request in mine:
        assert (request["method"], request["path"]) == (theirs["method"], theirs["path"]), request["path"]
        assert set(json.loads(request["body"])) <= set(json.loads(theirs["body"])), request["body"]
    return f"2 calls of azure-monitor-query, {len(mine)} requests as its own"
