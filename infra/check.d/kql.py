"""Runs the queries of the alert rules over sample rows, missing tables included.

    python infra/check.d/kql.py

The engine is duckdb-kql, which knows `datatable` and `union isfuzzy`. What it lacks is `ingestion_time()`: every sample
table has a column for it, and the function's name is put for the column's. The self-test below holds the engine to what
the queries rely on. Ends with 1 at the first difference.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import sys
import unittest

import duckdb_kql

from tree import trees

HERE = pathlib.Path(__file__).parent.parent
templates = {f"infra/{pathlib.Path(path).relative_to(HERE)}": tree for path, tree in trees([HERE]).items()}
INGESTED = "_IngestedAt"
NOW = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)

# learn.microsoft.com/azure/azure-monitor/reference/tables/<table>, the columns that matter here among them.
TABLES = {
    "ADFPipelineRun": "Status RunId PipelineName ErrorCode ErrorMessage FailureType OperationName Start End CorrelationId",
    "ADFActivityRun": "Status PipelineRunId PipelineName ActivityName ActivityType ErrorCode ErrorMessage FailureType Error Input Output",
    "DatabricksClusters": "ActionName RequestParams Response ServiceName Identity",
    "DatabricksJobs": "ActionName RequestParams Response ServiceName Identity",
    "AppRequests": "Name OperationName Success AppRoleName ResultCode",
    "AppTraces": "Message SeverityLevel AppRoleName OperationName",
}


def ago(minutes: int) -> datetime.datetime:
    return NOW - datetime.timedelta(minutes=minutes)


class Workspace:
    """Tables with rows; a table without a call of `put` does not exist."""

    def __init__(self):
        self.connection = duckdb_kql.connect()

    def put(self, table: str, *rows: dict, late: int = 0):
        """Rows, each `minutes` old; `late` is by how much less the ingestion is old."""
        columns = TABLES[table].split()
        typed = ", ".join(f'"{column}" VARCHAR' for column in columns if column != "Success")
        success = ', "Success" BOOLEAN' if "Success" in columns else ""
        self.connection.execute(
            f'CREATE TABLE IF NOT EXISTS {table} ("TimeGenerated" TIMESTAMP, "{INGESTED}" TIMESTAMP, '
            f'"_ResourceId" VARCHAR, {typed}{success})'
        )
        for row in rows:
            row = dict(row)
            minutes = row.pop("minutes", 1)
            row = {"TimeGenerated": ago(minutes), INGESTED: ago(minutes - late), "_ResourceId": "/factory", **row}
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" for _ in row)
            self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))

    def ask(self, query: str) -> list[dict]:
        found = duckdb_kql.query(self.connection, query.replace("ingestion_time()", INGESTED))
        return [dict(zip(found.columns, row)) for row in found.fetchall()]

    def columns(self, query: str) -> list[str]:
        return list(duckdb_kql.query(self.connection, query.replace("ingestion_time()", INGESTED)).columns)


def rules() -> dict[str, tuple[str, list[str]]]:
    """Query file → its text and what its rule is split by, as infra/alerts.bicep says."""
    variables = templates["infra/alerts.bicep"]["variables"]
    found = {}
    for rule in variables["rules"]["value"]:
        file = pathlib.PurePath(rule["query"]["with"][0])
        split = variables[rule["dimensions"]["$"]]["value"]["in"]
        found[file.stem] = ((HERE / file).read_text(), split)
    return found


def watchers() -> dict[str, str]:
    """The rules on aiops-rca itself, for the app `rca-app`."""
    rules = templates["infra/modules/watcher.bicep"]["variables"]["rules"]["value"]
    files = [pathlib.PurePath(rule["query"]["with"][0]) for rule in rules]
    return {file.stem: (HERE / "modules" / file).read_text().replace("{app}", "rca-app") for file in files}


def request(minutes: float, name: str = "Sweep", success: bool = True, app: str = "RCA-app") -> dict:
    return {"minutes": minutes, "Name": name, "Success": success, "AppRoleName": app}


def trace(minutes: float, message: str, app: str = "rca-app") -> dict:
    return {"minutes": minutes, "Message": json.dumps({"message": message}), "AppRoleName": app}


def failed(run: str, **more) -> dict:
    return {"Status": "Failed", "RunId": run, "PipelineName": "pl_sales", "ErrorCode": "2200", "ErrorMessage": "it failed", **more}


def activity(run: str, name: str, kind: str = "Copy", **more) -> dict:
    return {"Status": "Failed", "PipelineRunId": run, "PipelineName": "pl_sales", "ActivityName": name, "ActivityType": kind,
            "ErrorCode": "2100", "ErrorMessage": "no blob", "FailureType": "UserError", **more}


def params(**values) -> str:
    return json.dumps(values)


class Engine(unittest.TestCase):
    """What the queries rely on: were it not so, the tests below would prove nothing."""

    def test_the_shim_takes_rows_by_their_ingestion(self):
        workspace = Workspace()
        workspace.put("ADFPipelineRun", failed("late", minutes=300), late=299)
        workspace.put("ADFPipelineRun", failed("old", minutes=300))
        found = workspace.ask("ADFPipelineRun | where ingestion_time() > ago(40m)")
        self.assertEqual([row["RunId"] for row in found], ["late"])

    def test_a_missing_table_is_an_error_and_fuzzy_unions_leave_it_out(self):
        with self.assertRaises(Exception):
            Workspace().ask("ADFPipelineRun | where Status == 'Failed'")
        found = Workspace().ask("union isfuzzy=true (datatable(Status: string) []), (ADFPipelineRun | where ingestion_time() > ago(1h))")
        self.assertEqual(found, [])

    def test_a_missing_column_is_an_error(self):
        # The guide's own query: ADFPipelineRun has no PipelineRunId.
        workspace = Workspace()
        workspace.put("ADFPipelineRun", failed("r1"))
        workspace.put("ADFActivityRun", activity("r1", "Copy_Sales"))
        guide = """ADFPipelineRun
            | where Status == 'Failed'
            | join kind=inner (ADFActivityRun | where Status == 'Failed') on PipelineRunId
            | project TimeGenerated, PipelineName, RunId=PipelineRunId, ActivityName, ErrorCode, ErrorMessage"""
        with self.assertRaises(Exception):
            workspace.ask(guide)


class Rules(unittest.TestCase):
    def setUp(self):
        self.workspace = Workspace()
        self.rules = rules()
        self.assertEqual(len(self.rules), 4)

    def ask(self, name: str) -> list[dict]:
        query, split = self.rules[name]
        found = self.workspace.ask(query)
        for row in found:
            for column in split:
                self.assertIsNotNone(row[column], f"{name}: {column}: null and empty would be two groups")
        groups = [tuple(row[column] for column in split) for row in found]
        self.assertEqual(len(groups), len(set(groups)), f"{name}: two rows of one group hide one another")
        return found

    def test_no_table_and_an_empty_table_are_answered_without_rows(self):
        for name in self.rules:
            self.assertEqual(self.ask(name), [], name)
        for table in TABLES:
            self.workspace.put(table)
        for name in self.rules:
            self.assertEqual(self.ask(name), [], name)

    def test_every_query_ends_with_what_its_rule_is_split_by(self):
        for name, (query, split) in self.rules.items():
            ends_with = self.workspace.columns(query)
            self.assertTrue({*split, "TimeGenerated", "_ResourceId"} <= {*ends_with}, f"{name}: {ends_with}")

    def test_a_failed_run_is_found_with_its_last_failed_activity(self):
        self.workspace.put("ADFPipelineRun", failed("r1", minutes=2), failed("r1", minutes=9, ErrorCode="old"))
        self.workspace.put("ADFPipelineRun", {**failed("r2"), "Status": "Succeeded"}, failed(""))
        self.workspace.put(
            "ADFActivityRun",
            activity("r1", "First", minutes=5),
            activity("r1", "Last", minutes=3, ErrorCode="2108"),
            activity("r1", "Each", "ForEach", minutes=1),
            activity("r9", "Other"),
        )
        [row] = self.ask("adf-pipelines")
        told = {name: row[name] for name in ("RunId", "PipelineName", "ActivityName", "ErrorCode", "ErrorMessage", "FailureType")}
        self.assertEqual(told, {"RunId": "r1", "PipelineName": "pl_sales", "ActivityName": "Last", "ErrorCode": "2108",
                                "ErrorMessage": "no blob", "FailureType": "UserError"})
        self.assertEqual(row["_ResourceId"], "/factory")

    def test_a_run_without_activities_or_without_their_table_keeps_its_own_error(self):
        self.workspace.put("ADFPipelineRun", failed("r1"), failed("r2"))
        for _ in range(2):
            found = sorted(self.ask("adf-pipelines"), key=lambda row: row["RunId"])
            self.assertEqual([(row["RunId"], row["ActivityName"], row["ErrorCode"]) for row in found], [("r1", "", "2200"), ("r2", "", "2200")])
            self.workspace.put("ADFActivityRun")

    def test_rows_are_taken_by_when_they_came_in(self):
        self.workspace.put("ADFPipelineRun", failed("late", minutes=100), late=99)
        self.workspace.put("ADFPipelineRun", failed("seen-before", minutes=36))
        self.workspace.put("ADFPipelineRun", failed("old", minutes=100))
        self.assertEqual({row["RunId"] for row in self.ask("adf-pipelines")}, {"late", "seen-before"})

    def test_failed_activities_are_found_one_a_run(self):
        self.workspace.put("ADFActivityRun", activity("r1", "A", minutes=2), activity("r1", "A", minutes=4), activity("r1", "B"),
                           activity("r2", "A"), activity("r1", "If", "IfCondition"), {**activity("r3", "A"), "Status": "Succeeded"})
        found = {(row["RunId"], row["ActivityName"]) for row in self.ask("adf-activities")}
        self.assertEqual(found, {("r1", "A"), ("r1", "B"), ("r2", "A")})

    def test_clusters_that_nobody_stopped_are_found(self):
        def ended(cluster, state, code, **more):
            return {"RequestParams": params(clusterId=cluster, clusterName="etl", clusterState=state, clusterTerminationReasonCode=code), **more}

        self.workspace.put("DatabricksClusters", ended("c1", "Terminated", "DRIVER_UNREACHABLE"), ended("c1", "terminated", "DRIVER_UNREACHABLE"),
                           ended("c2", "Terminated", "inactivity"), ended("c3", "Running", "X"), ended("", "Error", "X"),
                           {"RequestParams": "not JSON"}, {"RequestParams": params(clusterId="c4", clusterState="Error", clusterTerminationReasonCode="Y")})
        found = {(row["clusterId"], row["clusterName"], row["termination"]) for row in self.ask("databricks-clusters")}
        self.assertEqual(found, {("c1", "etl", "DRIVER_UNREACHABLE"), ("c4", "", "Y")})

    def test_failed_job_runs_are_found(self):
        def run(action, **values):
            return {"ActionName": action, "RequestParams": params(**values)}

        self.workspace.put("DatabricksJobs", run("runFailed", runId=998877665544332, jobId=5, jobTerminalState="Failed"), run("runSucceeded", runId=1),
                           run("runFailed", jobId=5), run("runFailed", runId="7"))
        found = {(row["runId"], row["jobId"], row["jobTerminalState"]) for row in self.ask("databricks-jobs")}
        self.assertEqual(found, {("998877665544332", "5", "Failed"), ("7", "", "")})


class Watchers(unittest.TestCase):
    def setUp(self):
        self.workspace = Workspace()
        self.rules = watchers()
        self.assertEqual(len(self.rules), 5)

    def fired(self) -> set[str]:
        return {name for name, query in self.rules.items() if self.workspace.ask(query)}

    def test_a_quiet_life(self):
        self.workspace.put("AppRequests", *(request(minute) for minute in range(30)))
        self.workspace.put("AppTraces", trace(1, "swept"))
        self.assertEqual(self.fired(), set())

    def test_without_tables_or_rows_the_app_is_down(self):
        self.assertEqual(self.fired(), {"watch-sweep", "watch-host"})
        self.workspace.put("AppRequests")
        self.workspace.put("AppTraces")
        self.assertEqual(self.fired(), {"watch-sweep", "watch-host"})

    def test_a_sweep_that_fails_or_is_another_apps_is_none(self):
        self.workspace.put("AppRequests", request(1, success=False), request(2, app="other"), request(1, "Health"), request(16))
        self.workspace.put("AppTraces", trace(1, "x"))
        self.assertEqual(self.fired(), {"watch-sweep"})

    def test_a_host_that_gave_up(self):
        self.workspace.put("AppRequests", request(1))
        self.workspace.put("AppTraces", trace(3, "Exceeded http worker restart retry count"))
        self.assertEqual(self.fired(), {"watch-host"})

    def test_what_the_program_reports(self):
        self.workspace.put("AppRequests", request(1))
        self.workspace.put("AppTraces", *(trace(minute, "a message waits for long") for minute in (1, 2)), trace(20, "a message waits for long"))
        self.assertEqual(self.fired(), set())
        self.workspace.put("AppTraces", trace(3, "a message waits for long"))
        self.assertEqual(self.fired(), {"watch-waiting"})
        self.workspace.put("AppTraces", trace(3, "a message was given up: see the dashboard"), trace(2, "delivery is blocked", app="other"))
        self.assertEqual(self.fired(), {"watch-waiting", "watch-dead-letters"})
        self.workspace.put("AppTraces", trace(3, "delivery is blocked"))
        self.assertEqual(self.fired(), {"watch-waiting", "watch-dead-letters", "watch-sinks"})

    def test_the_lines_that_are_looked_for_are_the_programs(self):
        sources = "".join(path.read_text() for path in (HERE.parent / "src/flow").rglob("*.rs"))
        for name in ("watch-waiting", "watch-dead-letters", "watch-sinks"):
            [line] = re.findall(r"Message contains '([^']+)'", self.rules[name])
            self.assertIn(f'"{line}', sources, name)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "--quiet"])
