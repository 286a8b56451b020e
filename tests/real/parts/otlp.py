"""What is exported, decoded by OpenTelemetry's own messages (opentelemetry-proto)."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MUTATION = "a log record with the name of an event, and a batch that is cut"


def check(world, mutant):
    world.until("telemetry is exported", lambda: all(world.collector.bodies.values()), 30)
    spans, records = [], []
    for kind, body in list(world.collector.bodies["/v1/traces"]):
        assert kind == "application/x-protobuf", kind
        batch = ExportTraceServiceRequest.FromString(body[:-3] if mutant and not spans else body)
        for resource in batch.resource_spans:
            names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            assert names.get("service.name") and names.get("service.version"), names
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    for kind, body in list(world.collector.bodies["/v1/logs"]):
        assert kind == "application/x-protobuf", kind
        batch = ExportLogsServiceRequest.FromString(body)
        for resource in batch.resource_logs:
            records += [record for scope in resource.scope_logs for record in scope.log_records]
    if mutant:
        records[0].event_name = "event src/flow/analyse.rs:123"
    for span in spans:
        assert len(span.trace_id) == 16 and len(span.span_id) == 8 and len(span.parent_span_id) in (0, 8), span
        assert span.name and span.start_time_unix_nano <= span.end_time_unix_nano, span
        assert len({pair.key for pair in span.attributes}) == len(span.attributes), span
    traces = {span.trace_id for span in spans}
    for record in records:
        assert not record.event_name, f"a log line is filed as the event {record.event_name}"
        assert record.severity_number and record.body.string_value, record
        assert record.time_unix_nano or record.observed_time_unix_nano, record
        assert len({pair.key for pair in record.attributes}) == len(record.attributes), record
    told = [record for record in records if record.trace_id in traces]
    assert len(spans) >= 50 and len(records) >= 20 and told, (len(spans), len(records), len(told))
    return f"{len(spans)} spans and {len(records)} log records decoded, {len(told)} records in a trace that was exported"
