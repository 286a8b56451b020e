//! A week that was: closed failures of the days before, so that numbers, charts and "this again?" have something to show.
//!
//! They are put into the store before the app starts. The sinks of the demo know nothing of them.

use chrono::{DateTime, TimeDelta, Utc};

use crate::diagnosis::{Case, diagnose};
use crate::failure::{AssetKind, Failure, RunKey, Source};
use crate::fault::Fault;
use crate::patrol::Recovery;
use crate::ticket::machine::{self, Event, Opening};
use crate::ticket::store::TicketStore;
use crate::ticket::{Actor, Channel, Outcome, RemediationState, Sink, Status, TicketId};

/// How a failure of the week ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Healed,
    Recovered,
    Closed(&'static str),
}

/// One asset of the week: what it runs on, its name, what it says when it fails, at what time of the day, and how that ends.
struct Asset {
    source: Source,
    kind: AssetKind,
    name: &'static str,
    code: Option<&'static str>,
    message: &'static str,
    /// Days ago.
    days: &'static [i64],
    hour: i64,
    minutes: i64,
    end: End,
}

const WEEK: &[Asset] = &[
    Asset {
        source: Source::Adf,
        kind: AssetKind::Pipeline,
        name: "pl_refresh_finance",
        code: Some("2108"),
        message: "The gateway did not receive a response from 'ledger.contoso.com' within the specified time period.",
        days: &[1, 2, 4, 5, 7],
        hour: 3,
        minutes: 11,
        end: End::Healed,
    },
    Asset {
        source: Source::Adf,
        kind: AssetKind::Pipeline,
        name: "pl_ingest_sales",
        code: Some("2200"),
        message: "ErrorCode=UserErrorSourceBlobNotExist,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=The required Blob is missing. ContainerName: https://stprod.blob.core.windows.net/in, path: sales/extract.csv.'",
        days: &[2, 6],
        hour: 6,
        minutes: 95,
        end: End::Closed("Jane Roe"),
    },
    Asset {
        source: Source::Adf,
        kind: AssetKind::Pipeline,
        name: "pl_nightly_orders",
        code: Some("SqlFailedToConnect"),
        message: "Cannot connect to SQL Database: 'sql-orders.database.windows.net', Database: 'orders'. Please contact SQL server team for further support.",
        days: &[1, 3, 4],
        hour: 2,
        minutes: 58,
        end: End::Recovered,
    },
    Asset {
        source: Source::Databricks,
        kind: AssetKind::Job,
        name: "hourly_inventory",
        code: Some("CLOUD_PROVIDER_RESOURCE_STOCKOUT"),
        message: "The VM size you are specifying is not available. Azure error code: SkuNotAvailable, Standard_DS3_v2 in westeurope.",
        days: &[1, 3, 5, 6],
        hour: 14,
        minutes: 60,
        end: End::Recovered,
    },
    Asset {
        source: Source::Databricks,
        kind: AssetKind::Job,
        name: "nightly ETL",
        code: None,
        message: "ERROR: Could not find a version that satisfies the requirement pandas==99.0; No matching distribution found for pandas==99.0",
        days: &[2],
        hour: 1,
        minutes: 410,
        end: End::Closed("John Doe"),
    },
    Asset {
        source: Source::Airflow,
        kind: AssetKind::Task,
        name: "sales_etl.load_orders",
        code: None,
        message: "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded: Connection refused",
        days: &[1, 4, 6, 7],
        hour: 5,
        minutes: 22,
        end: End::Healed,
    },
    Asset {
        source: Source::Airflow,
        kind: AssetKind::Task,
        name: "marketing.score_leads",
        code: None,
        message: "KeyError: 'customer_segment'",
        days: &[3, 5],
        hour: 8,
        minutes: 130,
        end: End::Closed("Jane Roe"),
    },
];

/// Puts the week before `now` into the store.
///
/// # Errors
/// The store's.
pub async fn seed(store: &TicketStore, now: DateTime<Utc>) -> Result<(), Fault> {
    let mut number = 0;
    for asset in WEEK {
        for days in asset.days {
            number += 1;
            let midnight = now - TimeDelta::days(*days) - (now - midnight_of(now));
            let at = midnight
                + TimeDelta::hours(asset.hour)
                + TimeDelta::minutes(i64::from(number) * 7 % 40);
            failed(store, asset, number, at).await?;
        }
    }
    Ok(())
}

fn midnight_of(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

async fn failed(
    store: &TicketStore,
    asset: &Asset,
    number: u32,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    let run = format!("history-{number}");
    let failure = Failure {
        source: asset.source,
        key: RunKey::new(asset.source, "", &run, "", ""),
        kind: asset.kind,
        asset: asset.name.to_owned(),
        run_id: Some(run),
        run_url: None,
        error_code: asset.code.map(str::to_owned),
        message: asset.message.to_owned(),
        context: std::collections::BTreeMap::new(),
        occurred_at: Some(at),
        source_severity: None,
        alert: None,
    };
    let off = "of the week before the demo";
    let id = TicketId::new(asset.source, at, number);
    let diagnosis = diagnose(&Case::of(&failure, &[]));
    let opening = Opening {
        sinks_off: Sink::ALL
            .into_iter()
            .map(|sink| (sink.name().to_owned(), off.to_owned()))
            .collect(),
        ..Opening::of(id, failure, diagnosis, at)
    };
    let closed_at = at + TimeDelta::minutes(asset.minutes);
    let closed = |channel, name: &str| Event::StatusChanged {
        to: Status::Acknowledged,
        by: Actor {
            channel,
            name: name.to_owned(),
        },
        at: closed_at,
        jira_status: None,
    };
    let event = match asset.end {
        End::Healed => closed(Channel::Playbook, "auto-remediation"),
        End::Closed(name) => closed(Channel::Jira, name),
        End::Recovered => Event::Recovered(Box::new(Recovery {
            run_id: format!("history-{number}-next"),
            began: Some(closed_at - TimeDelta::minutes(9)),
            ended: Some(closed_at),
            started_by: "its schedule".to_owned(),
            window: None,
            empty: None,
            seen_at: closed_at,
        })),
    };
    let opened = machine::opened(opening, at);
    let mut change = machine::apply(&opened.ticket, &event, closed_at)
        .map_err(|refusal| Fault::permanent(refusal.to_string()))?;
    if let End::Healed = asset.end {
        change.ticket.remediation.state = RemediationState::Succeeded;
    }
    store.open(&mut change, &[]).await?;
    let outcome = Outcome::of(&change.ticket, None);
    store.record_outcome(&change.ticket, &outcome).await
}
