//! How fast the diagnosis engine is: rules and classifier together at least 8,000 messages of 1 KB per second on one core and at
//! least 40 % of the rules alone, a 64 KB trace in under 1.5 ms, the catalog compiled in under 20 ms.

use std::hint::black_box;

use aiops_rca::diagnosis::{Case, Catalog, by_rules, diagnose};
use aiops_rca::failure::Source;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn case(source: Source, message: &str) -> Case {
    Case::new(source, None, message)
}

/// An ordinary ADF message, filled up to 1 KB.
fn kilobyte() -> Case {
    let mut message = String::from(
        "Operation on target Copy orders failed: Failure happened on 'Sink' side. ErrorCode=SqlOperationFailed,'Type=\
         Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=A database operation failed with the following error: \
         'Cannot insert duplicate key row in object 'dbo.Orders' with unique index 'IX_Orders'. The duplicate key value is (4711).',\
         Source=,''Type=Microsoft.Data.SqlClient.SqlException,Message=Cannot insert duplicate key row in object 'dbo.Orders' with \
         unique index 'IX_Orders'.,Source=Framework Microsoft SqlClient Data Provider,SqlErrorNumber=2601,Class=14,State=1,'",
    );
    while message.len() < 1024 {
        message.push_str(" at Microsoft.DataTransfer.Runtime.CopyTask.Execute()");
    }
    case(Source::Adf, &message)
}

/// A Java stack trace of 64 KB with three causes.
fn trace() -> Case {
    let mut message =
        String::from("org.apache.spark.SparkException: Job aborted due to stage failure\n");
    for cause in [
        "java.util.concurrent.ExecutionException: wrapped",
        "java.io.IOException: lost",
        "java.net.ConnectException: Connection refused",
    ] {
        while message.len() % (22 * 1024) < 21 * 1024 {
            message.push_str(
                "\tat org.apache.spark.sql.execution.datasources.FileFormatWriter$.write(FileFormatWriter.scala:231)\n",
            );
        }
        message.push_str("Caused by: ");
        message.push_str(cause);
        message.push('\n');
        message.push_str(&"\tat java.lang.Thread.run(Thread.java:750) in a frame\n".repeat(20));
    }
    message.truncate(64 * 1024);
    case(Source::Databricks, &message)
}

fn benches(c: &mut Criterion) {
    let _ = Catalog::get();
    for (name, case) in [("1 KB message", kilobyte()), ("64 KB trace", trace())] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(case.message.len() as u64));
        group.bench_function("rules alone", |b| b.iter(|| by_rules(black_box(&case))));
        group.bench_function("rules and classifier", |b| {
            b.iter(|| diagnose(black_box(&case)));
        });
        group.finish();
    }
    c.bench_function("compile the catalog", |b| b.iter(Catalog::compile));
}

criterion_group!(diagnosis, benches);
criterion_main!(diagnosis);
