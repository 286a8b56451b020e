//! From values to parts: the clients, the sinks and the doors of a [`Config`].
//!
//! Nothing is read here, and nothing is asked yet.

use super::{Config, Configured, Pipelines, Workspace};
use crate::evidence::airflow::AirflowSettings;
use crate::evidence::{Airflow, Collector, DataFactory, Databricks, Key, LogAnalytics};
use crate::fault::Fault;
use crate::flow::{Flow, PAUSE};
use crate::functions::Doors;
use crate::functions::bot_token::BotToken;
use crate::functions::secure_webhook::SecureWebhook;
use crate::http::Http;
use crate::identity::Identity;
use crate::model::Model;
use crate::sinks::Sinks;
use crate::sinks::jira::Jira;
use crate::sinks::lanes::Lanes;
use crate::sinks::playbook::Playbooks;
use crate::sinks::slack::Slack;
use crate::sinks::teams::Teams;
use crate::storage::Storage;
use crate::ticket::store::TicketStore;
use chrono::Utc;
use std::sync::Arc;

/// What a configuration is wired to.
#[derive(Debug)]
pub struct Parts {
    /// The shared client.
    pub http: Http,
    /// The managed identity, where there is one.
    pub identity: Option<Identity>,
    /// The vendors' APIs.
    pub collector: Collector,
    /// The language model.
    pub model: Option<Model>,
    /// The sinks that are on.
    pub sinks: Sinks,
}

impl Config {
    /// Makes the parts.
    ///
    /// # Errors
    /// The HTTP client cannot be built on this machine.
    pub fn wire(&self) -> Result<Parts, Fault> {
        let http = Http::new(self.extra_roots.as_deref())?;
        let identity = self.identity.clone();
        let identity = identity.map(|settings| Identity::new(settings, http.clone()));
        let collector = self.collector(&http, identity.as_ref());
        let model = (self.model.clone())
            .map(|settings| Model::new(settings, http.clone(), identity.clone()));
        let routes = Arc::new(self.routes.clone());
        let jira = |settings| Jira::new(settings, http.clone()).routed(Arc::clone(&routes));
        let slack = |settings| Slack::new(settings, http.clone()).routed(Arc::clone(&routes));
        let sinks = Sinks {
            jira: self.jira.clone().map(jira),
            slack: self.slack.clone().map(slack),
            teams: (self.teams.clone()).map(|settings| {
                let bot = self.bot_identity.clone();
                let bot = bot.map(|settings| Identity::new(settings, http.clone()));
                Teams::new(settings, http.clone(), bot).routed(Arc::clone(&routes))
            }),
            playbook: self.playbooks.clone().map(|settings| {
                Playbooks::new(settings, http.clone())
                    .called_as(identity.clone(), self.playbook_audience.clone())
            }),
            lanes: Lanes::default(),
        };
        Ok(Parts {
            http,
            identity,
            collector,
            model,
            sinks,
        })
    }

    fn collector(&self, http: &Http, identity: Option<&Identity>) -> Collector {
        let managed = || identity.cloned().map(Key::Identity);
        let factory = |Configured { settings, scope }: Configured<Pipelines>| {
            let (http, key) = (http.clone(), managed()?);
            let client = match settings {
                Pipelines::Factory(settings) => DataFactory::new(settings, http, key),
                Pipelines::Synapse(settings) => DataFactory::synapse(settings, http, key),
            };
            Some(client.served(scope.served))
        };
        let workspace = |Configured { settings, scope }: Configured<Workspace>| {
            let key = settings.token.map(Key::Token).or_else(managed)?;
            let client = Databricks::new(settings.workspace, http.clone(), key);
            Some(client.served(scope.served))
        };
        let deployment = |Configured { settings, scope }: Configured<AirflowSettings>| {
            let client = Airflow::new(settings, http.clone());
            client.named(&scope.name).served(scope.served)
        };
        let logs = |settings| Some(LogAnalytics::new(settings, http.clone(), managed()?));
        let vendors = self.vendors.clone();
        Collector {
            data_factory: vendors
                .data_factory
                .into_iter()
                .filter_map(factory)
                .collect(),
            log_analytics: vendors.log_analytics.and_then(logs),
            databricks: vendors
                .databricks
                .into_iter()
                .filter_map(workspace)
                .collect(),
            airflow: vendors.airflow.into_iter().map(deployment).collect(),
            ..Collector::default()
        }
    }

    /// The doors with everything behind them.
    pub fn into_doors(self, parts: Parts) -> Doors {
        let storage = self
            .storage
            .and_then(|settings| Storage::open(&settings, &parts.http));
        let secure_webhook = self.secure_webhook;
        // As of the start: no process lives for days.
        let expiring = self
            .jira
            .as_ref()
            .and_then(|jira| jira.token_trouble(Utc::now()));
        let expiring = expiring.map(|trouble| format!("JIRA_API_TOKEN: {trouble}"));
        Doors {
            secure_webhook: secure_webhook
                .map(|settings| SecureWebhook::new(settings, parts.http.clone())),
            flow: storage.map(|storage| Flow {
                store: TicketStore::new(storage),
                collector: parts.collector,
                model: parts.model,
                sinks: parts.sinks,
                remediation: self.remediation,
                patrol: self.patrol,
                fold: self.fold,
                ownership: self.ownership,
                retention_days: self.retention_days,
                longest_pause: PAUSE,
            }),
            bot_token: (self.bot_token).map(|settings| BotToken::new(settings, parts.http.clone())),
            dashboard: self.dashboard,
            problems: (self.problems.iter().map(ToString::to_string))
                .chain(expiring)
                .collect(),
            idle: self.idle,
        }
    }
}
