"""Every shipped and built query by @kusto/language-service-next, and the built ones over sample rows."""

import json
import re

import duckdb_kql
from world import ROOT, fixture, node

MUTATION = "a column that the table does not have"

# learn.microsoft.com/azure/azure-monitor/reference/tables/<table>, read 2026-11: every column, with its type.
STANDARD = {"TimeGenerated": "datetime", "TenantId": "string", "Type": "string", "SourceSystem": "string", "_ResourceId": "string",
            "_SubscriptionId": "string", "_BilledSize": "real", "_IsBillable": "string"}


def columns(texts, **typed):
    return {**STANDARD, **{name: "string" for name in texts.split()}, **typed}


ADF = ("Annotations Category CorrelationId ErrorCode ErrorMessage EventMessage FailureType Input Level Location OperationName Output PipelineName "
       "ResourceId Status Tags UserProperties")
AUDIT = ("ActionName Category Identity LogId OperationName OperationVersion RequestId RequestParams Response ServiceName SessionId SourceIPAddress "
         "UserAgent")
TABLES = {
    "ADFPipelineRun": columns(ADF + " Parameters Predecessors RunId SystemParameters", Start="datetime", End="datetime"),
    "ADFActivityRun": columns(ADF + " ActivityName ActivityRunId ActivityType EffectiveIntegrationRuntime Error LinkedServiceName PipelineRunId",
                              ActivityIterationCount="int", Start="datetime", End="datetime"),
    "DatabricksClusters": columns(AUDIT),
    "DatabricksJobs": columns(AUDIT),
    # Columns with suffixes are there once something was written to them: queries ask by column_ifexists.
    "AzureDiagnostics": columns("Category OperationName Resource ResourceGroup ResourceId ResourceProvider ResourceType SubscriptionId Level CorrelationId"),
    "AppRequests": columns("AppRoleInstance AppRoleName AppVersion ClientIP Id Name OperationId OperationName ResultCode Url", Success="bool",
                           DurationMs="real", ItemCount="int", Properties="dynamic"),
    "AppTraces": columns("AppRoleInstance AppRoleName AppVersion Message OperationId OperationName ParentId", SeverityLevel="int", ItemCount="int",
                         Properties="dynamic"),
}
SHIPPED = sorted((ROOT / "infra/queries").glob("*.kql"))


def built(world):
    """What the program asked: once for each kind, literals do not count; and all of it."""
    kinds, queries = {}, []
    for request in world.requests("logs"):
        query = json.loads(request["body"])["query"]
        kinds.setdefault(re.sub(r'"(?:[^"\\]|\\.)*"|datetime\([^)]*\)', "…", query), query)
        queries.append(query)
    return list(kinds.values()), sorted(set(queries))


def over_rows(queries):
    """Answered by an engine, with the columns that the reader of the rows expects."""
    database = duckdb_kql.connect()
    for table, rows in [("ADFActivityRun", "loganalytics-adf-rows"), ("ADFPipelineRun", "loganalytics-adf-pipelinerun-rows"),
                        ("DatabricksClusters", "loganalytics-databricksclusters-rows")]:
        sample = fixture(rows)["tables"][0]
        types = {"datetime": "TIMESTAMP", "bool": "BOOLEAN", "int": "INTEGER", "real": "DOUBLE"}
        made = ", ".join(f'"{name}" {types.get(kind, "VARCHAR")}' for name, kind in TABLES[table].items())
        database.execute(f"CREATE TABLE {table} ({made})")
        for row in sample["rows"]:
            cells = {column["name"]: cell for column, cell in zip(sample["columns"], row) if column["name"] in TABLES[table]}
            names, marks = ", ".join(f'"{name}"' for name in cells), ", ".join("?" for _ in cells)
            database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(cells.values()))
    ran, with_rows = 0, 0
    for query in queries:
        # The engine has no `column_ifexists`: nor has its database the table with suffixes.
        if query.split("\n", 1)[0] not in ("ADFActivityRun", "ADFPipelineRun", "DatabricksClusters"):
            continue
        found = duckdb_kql.query(database, query)
        assert {"TimeGenerated", "_ResourceId"} <= set(found.columns), found.columns
        with_rows += bool(found.fetchall())
        ran += 1
    assert ran >= 3 and with_rows >= 2, f"{ran} queries ran, {with_rows} found rows"
    return ran


def check(world, mutant):
    queries = [{"name": path.name, "query": path.read_text().replace("{app}", "rca-app")} for path in SHIPPED]
    asked, every = built(world)
    tables = {query.split("\n", 1)[0] for query in asked}
    assert {"ADFPipelineRun", "ADFActivityRun", "AzureDiagnostics", "DatabricksClusters", "DatabricksJobs"} <= tables, f"the program asked {tables} only"
    queries += [{"name": f"built {number}", "query": query} for number, query in enumerate(asked)]
    if mutant:
        queries[-1]["query"] += "\n| project PipelineRunID"
    said = node("parts/kusto.cjs", {"tables": TABLES, "queries": queries})
    return f"{said} by the language service ({len(SHIPPED)} shipped), {over_rows(every)} over sample rows"
