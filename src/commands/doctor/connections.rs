//! One reading call to everything that is configured, all at once.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use url::Url;

use super::{bad, good, of};
use crate::config::{Config, PLAYBOOKS};
use crate::http::{Http, Reply};
use crate::sinks::Check;
use crate::telemetry;

/// Seconds; signatures of Slack are refused after 300.
const CLOCK_TOLERANCE: i64 = 120;

/// Checks every connection, in the order in which people read them.
pub(super) async fn check(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let checks: [BoxFuture<'_, Vec<Check>>; 11] = [
        identity(config).boxed(),
        jira(config, now).boxed(),
        slack(config).boxed(),
        data_factory(config).boxed(),
        log_analytics(config).boxed(),
        databricks(config).boxed(),
        airflow(config).boxed(),
        model(config, now).boxed(),
        collector(config).boxed(),
        playbooks(config).boxed(),
        outside(config, now).boxed(),
    ];
    futures::future::join_all(checks).await.concat()
}

/// What is off: on purpose, or because a setting it needs is wrong or missing.
fn off(config: &Config, name: &str, settings: &str) -> Vec<Check> {
    let broken = config.problems.iter().any(|problem| problem.name.starts_with(settings));
    let why = if broken { "off until the settings above are mended".to_owned() } else { format!("off ({settings}…)") };
    vec![good(name, why)]
}

async fn identity(config: &Config) -> Vec<Check> {
    let Some(identity) = &config.identity else {
        return vec![good("Identity", "none: this process has no managed identity (outside Azure that is normal)")];
    };
    let token = identity.token("https://management.azure.com/").await.map(|_| "a token was given".to_owned());
    vec![of("Identity", token, "assign the identity to this app, and set AZURE_CLIENT_ID to its client id")]
}

async fn jira(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    match &config.jira {
        Some(jira) => jira.check(now).await,
        None => off(config, "JIRA", "JIRA_"),
    }
}

async fn slack(config: &Config) -> Vec<Check> {
    match &config.slack {
        Some(slack) => slack.check().await,
        None => off(config, "Slack", "SLACK_"),
    }
}

async fn data_factory(config: &Config) -> Vec<Check> {
    const NAME: &str = "Data Factory";
    let Some(factory) = &config.collector.data_factory else { return off(config, NAME, "AZURE_DATA_FACTORY_NAME") };
    let fix = "give the identity a role with pipelineruns/read on the factory, and check its names";
    vec![of(NAME, factory.check().await, fix)]
}

async fn log_analytics(config: &Config) -> Vec<Check> {
    const NAME: &str = "Log Analytics";
    let Some(logs) = &config.collector.log_analytics else { return off(config, NAME, "LOG_ANALYTICS_WORKSPACE_ID") };
    vec![of(NAME, logs.check().await, "give the identity Log Analytics Reader on the workspace, and check its id")]
}

async fn databricks(config: &Config) -> Vec<Check> {
    const NAME: &str = "Databricks";
    let Some(databricks) = &config.collector.databricks else { return off(config, NAME, "DATABRICKS_") };
    let fix = "check DATABRICKS_WORKSPACE_URL and the token, or add the identity to the workspace";
    vec![of(NAME, databricks.check().await, fix)]
}

async fn airflow(config: &Config) -> Vec<Check> {
    const NAME: &str = "Airflow";
    let Some(airflow) = &config.collector.airflow else { return off(config, NAME, "AIRFLOW_") };
    vec![of(NAME, airflow.check().await, "check AIRFLOW_BASE_URL and its credentials")]
}

async fn model(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    const NAME: &str = "Language model";
    let Some(model) = &config.model else { return off(config, NAME, "AI_") };
    vec![of(NAME, model.check(now).await, "check AI_ENDPOINT, AI_MODEL and the key or the identity's role")]
}

/// One empty export.
async fn collector(config: &Config) -> Vec<Check> {
    const NAME: &str = "Telemetry";
    let Some(otlp) = &config.otlp else { return off(config, NAME, "OTEL_EXPORTER_OTLP_") };
    let fix = "check OTEL_EXPORTER_OTLP_ENDPOINT (a base URL, OTLP over HTTP) and OTEL_EXPORTER_OTLP_HEADERS";
    vec![of(NAME, telemetry::check(otlp, &config.http).await, fix)]
}

/// Playbooks cannot be tried without running them: their URLs are looked at, and their hosts are reached.
async fn playbooks(config: &Config) -> Vec<Check> {
    let Some(playbooks) = &config.playbooks else { return off(config, "Playbooks", "PLAYBOOK_") };
    let enabled = config.remediation.enabled;
    let state = if enabled { "will be called" } else { "will not be called: AUTO_REMEDIATION_ENABLED is not true" };
    let known = PLAYBOOKS.into_iter().filter_map(|(action, name)| Some((action, name, playbooks.url(action)?)));
    let checks = known.map(async |(action, name, url)| {
        let Some(root) = url.root().filter(|_| url.is_signed()) else {
            let fix = "copy the whole URL of the trigger from the Logic App, from https:// to the end of sig=…";
            return bad(name, "carries no signature (sig=…), so the Logic App will refuse it", fix);
        };
        match config.http.send(&url.host(), config.http.request(reqwest::Method::GET, &root)).await {
            Ok(_) => good(name, format!("set, for \"{}\"; {} is there; {state}", action.words(), url.host())),
            Err(silent) => {
                bad(name, silent.fault.reason(), "is the URL that of the Logic App's trigger, and may this app reach it?")
            }
        }
    });
    futures::future::join_all(checks).await
}

/// Is the app reached where playbooks, JIRA and Slack will call it, and do the clocks agree?
async fn outside(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let Some(base) = &config.public_base else {
        return vec![good("Public address", "not set (PUBLIC_BASE_URL): no dashboard links, no playbooks")];
    };
    let Ok(health) = base.join("health") else { return vec![bad("Public address", "is not a base URL", "mend PUBLIC_BASE_URL")] };
    let fix = "playbooks, JIRA and Slack must reach this address: is the app running, and PUBLIC_BASE_URL right?";
    match ask(&config.http, &health).await {
        Err(why) => vec![bad("Public address", why, fix)],
        Ok(reply) => {
            let found = format!("{health} answers {}", reply.status);
            let public = if reply.is_success() { good("Public address", found) } else { bad("Public address", found, fix) };
            std::iter::once(public).chain(clock(&reply, now)).collect()
        }
    }
}

async fn ask(http: &Http, url: &Url) -> Result<Reply, String> {
    let reply = http.send("the public address", http.request(reqwest::Method::GET, url)).await;
    reply.map_err(|silent| silent.fault.reason().to_owned())
}

fn clock(reply: &Reply, now: DateTime<Utc>) -> Option<Check> {
    let date = DateTime::parse_from_rfc2822(reply.headers.get("date")?.to_str().ok()?).ok()?;
    let skew = (now - date.with_timezone(&Utc)).num_seconds().abs();
    let line = format!("{skew} s apart from the app's");
    Some(if skew <= CLOCK_TOLERANCE {
        good("Clock", line)
    } else {
        bad("Clock", line, "set this clock: signatures of Slack are refused after 5 minutes")
    })
}
