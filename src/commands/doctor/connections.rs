//! One reading call to everything that is configured, all at once.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::of;
use crate::config::{Config, PLAYBOOKS, Parts};
use crate::evidence::LogAnalytics;
use crate::failure::Scope;
use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::identity::Identity;
use crate::sinks::jira::Jira;
use crate::sinks::playbook::Playbooks;
use crate::sinks::slack::Slack;
use crate::sinks::teams::Teams;
use crate::sinks::{self, Check, Sinks, bad, good};
use crate::telemetry;

/// Seconds; signatures of Slack are refused after 300.
const CLOCK_TOLERANCE: i64 = 120;

const ADF_FIX: &str = "give the identity every operation of the run reader role (infra/modules/data-factory.bicep; Reader is not enough), and check the factory's names";
const LOGS_FIX: &str = "give the identity Log Analytics Reader on the workspace, and check its id";
const DATABRICKS_FIX: &str =
    "check DATABRICKS_WORKSPACE_URL and the token, or add the identity to the workspace";
const MODEL_FIX: &str = "check AI_ENDPOINT, AI_MODEL and the key or the identity's role";
const OTLP_FIX: &str =
    "check OTEL_EXPORTER_OTLP_ENDPOINT (a base URL, OTLP over HTTP) and OTEL_EXPORTER_OTLP_HEADERS";

/// Checks every connection, in the order in which people read them.
pub(super) async fn check(config: &Config, parts: &Parts, now: DateTime<Utc>) -> Vec<Check> {
    let Parts {
        http,
        identity: signed_in,
        collector,
        model,
        sinks,
    } = parts;
    // Named one by one: a new sink that is not checked does not compile.
    let Sinks {
        jira: jira_sink,
        slack: slack_sink,
        teams: teams_sink,
        playbook,
        lanes: _,
    } = sinks;
    let logs = collector.log_analytics.as_ref().map(LogAnalytics::check);
    let factories = (collector.data_factory.iter()).map(|one| (one.scope(), one.check(now)));
    let workspaces = (collector.databricks.iter()).map(|one| (one.scope(), one.check(now)));
    let deployments = (collector.airflow.iter()).map(|one| (one.scope(), one.check()));
    let model = model.as_ref().map(|model| model.check(now));
    let otlp = config
        .otlp
        .as_ref()
        .map(|otlp| telemetry::check(otlp, http));
    let checks: [BoxFuture<'_, Vec<Check>>; 12] = [
        identity(config, signed_in.as_ref()).boxed(),
        jira(config, jira_sink.as_ref(), now).boxed(),
        slack(config, slack_sink.as_ref()).boxed(),
        teams(config, teams_sink.as_ref(), now).boxed(),
        each(
            config,
            "Data Factory",
            "AZURE_DATA_",
            factories.collect(),
            ADF_FIX,
        )
        .boxed(),
        one(
            config,
            "Log Analytics",
            "LOG_ANALYTICS_WORKSPACE_ID",
            logs,
            LOGS_FIX,
        )
        .boxed(),
        each(
            config,
            "Databricks",
            "DATABRICKS_",
            workspaces.collect(),
            DATABRICKS_FIX,
        )
        .boxed(),
        each(
            config,
            "Airflow",
            "AIRFLOW_",
            deployments.collect(),
            "check AIRFLOW_BASE_URL and its credentials",
        )
        .boxed(),
        one(config, "Language model", "AI_", model, MODEL_FIX).boxed(),
        one(config, "Telemetry", "OTEL_EXPORTER_OTLP_", otlp, OTLP_FIX).boxed(),
        playbooks(config, http, playbook.as_ref()).boxed(),
        outside(config, http, now).boxed(),
    ];
    futures::future::join_all(checks).await.concat()
}

/// One connection: what it answers, or that it is off.
async fn one(
    config: &Config,
    name: &str,
    settings: &str,
    asked: Option<impl Future<Output = Result<String, Fault>>>,
    fix: &str,
) -> Vec<Check> {
    match asked {
        Some(asked) => vec![of(name, asked.await, fix)],
        None => off(config, name, settings),
    }
}

/// The scopes of one platform, each by its short name where there are several.
async fn each(
    config: &Config,
    name: &str,
    settings: &str,
    asked: Vec<(&Scope, impl Future<Output = Result<String, Fault>>)>,
    fix: &str,
) -> Vec<Check> {
    if asked.is_empty() {
        return off(config, name, settings);
    }
    let several = asked.len() > 1;
    let checks = asked.into_iter().map(|(scope, asked)| async move {
        let name = if several {
            format!("{name} {}", scope.name)
        } else {
            name.to_owned()
        };
        of(&name, asked.await, fix)
    });
    futures::future::join_all(checks).await
}

/// What is off: on purpose, or because a setting it needs is wrong or missing.
fn off(config: &Config, name: &str, settings: &str) -> Vec<Check> {
    let broken = config
        .problems
        .iter()
        .any(|problem| problem.name.starts_with(settings));
    let why = if broken {
        "off until the settings above are fixed".to_owned()
    } else {
        format!("off ({settings}…)")
    };
    vec![sinks::off(name, why)]
}

async fn identity(config: &Config, identity: Option<&Identity>) -> Vec<Check> {
    let Some(identity) = identity else {
        return vec![sinks::off(
            "Identity",
            "none: this process has no managed identity (outside Azure that is normal)",
        )];
    };
    let token = identity
        .token(&config.management)
        .await
        .map(|_| "a token was given".to_owned());
    vec![of(
        "Identity",
        token,
        "assign the identity to this app, and set AZURE_CLIENT_ID to its client id",
    )]
}

async fn jira(config: &Config, sink: Option<&Jira>, now: DateTime<Utc>) -> Vec<Check> {
    match sink {
        Some(jira) => jira.check(now).await,
        None => off(config, "JIRA", "JIRA_"),
    }
}

async fn slack(config: &Config, sink: Option<&Slack>) -> Vec<Check> {
    match sink {
        Some(slack) => slack.check().await,
        None => off(config, "Slack", "SLACK_"),
    }
}

async fn teams(config: &Config, sink: Option<&Teams>, now: DateTime<Utc>) -> Vec<Check> {
    match sink {
        Some(teams) => teams.check(now).await,
        None => off(config, "Microsoft Teams", "TEAMS_"),
    }
}

/// Playbooks cannot be tried without running them: their URLs are looked at, and their hosts are reached.
async fn playbooks(config: &Config, http: &Http, sink: Option<&Playbooks>) -> Vec<Check> {
    let Some(playbooks) = sink else {
        return off(config, "Playbooks", "PLAYBOOK_");
    };
    let enabled = config.remediation.enabled;
    let state = if enabled {
        "will be called"
    } else {
        "will not be called: AUTO_REMEDIATION_ENABLED is not true"
    };
    let known = PLAYBOOKS
        .into_iter()
        .filter_map(|(action, name)| Some((action, name, playbooks.url(action)?)));
    let checks = known.map(async |(action, name, url)| {
        let token = match playbooks.token(url).await {
            Ok(token) => token,
            Err(fault) => return bad(name, fault.reason(), "assign the identity to this app, and check PLAYBOOK_AUDIENCE"),
        };
        let Some(root) = url.root().filter(|_| url.is_signed() || token.is_some()) else {
            let fix = "copy the whole URL of the trigger from the Logic App, from https:// to the end of sig=…; without sig=… the app needs an \
                       identity that the trigger's policy names";
            return bad(name, "carries no signature (sig=…), so the Logic App will refuse it", fix);
        };
        let state = if token.is_some() { format!("as the app's identity; {state}") } else { state.to_owned() };
        match http.send(&url.host(), http.request(reqwest::Method::GET, &root)).await {
            Ok(_) => good(name, format!("set, for \"{}\"; {} is there; {state}", action.words(), url.host())),
            Err(silent) => {
                bad(name, silent.fault.reason(), "is the URL that of the Logic App's trigger, and may this app reach it?")
            }
        }
    });
    futures::future::join_all(checks).await
}

/// Is the app reached where playbooks, JIRA and Slack will call it, and do the clocks agree?
async fn outside(config: &Config, http: &Http, now: DateTime<Utc>) -> Vec<Check> {
    let Some(base) = &config.public_base else {
        return vec![sinks::off(
            "Public address",
            "not set (PUBLIC_BASE_URL): no dashboard links, no playbooks",
        )];
    };
    let Ok(health) = base.join("health") else {
        return vec![bad(
            "Public address",
            "is not a base URL",
            "fix PUBLIC_BASE_URL",
        )];
    };
    let fix = "playbooks, JIRA and Slack must reach this address: is the app running, and PUBLIC_BASE_URL right?";
    match http
        .send(
            "the public address",
            http.request(reqwest::Method::GET, &health),
        )
        .await
    {
        Err(silent) => vec![bad("Public address", silent.fault.reason(), fix)],
        Ok(reply) => {
            let found = format!("{health} answers {}", reply.status);
            let public = if reply.is_success() {
                good("Public address", found)
            } else {
                bad("Public address", found, fix)
            };
            std::iter::once(public).chain(clock(&reply, now)).collect()
        }
    }
}

fn clock(reply: &Reply, now: DateTime<Utc>) -> Option<Check> {
    let date = DateTime::parse_from_rfc2822(reply.headers.get("date")?.to_str().ok()?).ok()?;
    let skew = (now - date.with_timezone(&Utc)).num_seconds().abs();
    let line = format!("{skew} s apart from the app's");
    Some(if skew <= CLOCK_TOLERANCE {
        good("Clock", line)
    } else {
        bad(
            "Clock",
            line,
            "set this clock: signatures of Slack are refused after 5 minutes",
        )
    })
}
