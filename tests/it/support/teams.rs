//! A bot beside the simulator of its team.

use std::sync::Arc;

use aiops_rca::http::Http;
use aiops_rca::identity::{Identity, IdentitySettings};
use aiops_rca::sinks::teams::{Bot, BotSettings, Teams};
use simulators::identity::IdentitySite;
use simulators::teams::bot::{BotOptions, BotSimulator};
use simulators::{Server, serve};

pub(crate) const HEADER: &str = "header-of-the-bots-app";

/// The identity endpoint beside the app.
pub(crate) async fn identity() -> Server {
    let site = Arc::new(IdentitySite::new(HEADER));
    serve(0, site).await.expect("an identity endpoint")
}

/// The identity of that endpoint.
pub(crate) fn signed_in(endpoint: &Server, http: &Http) -> Identity {
    let settings = IdentitySettings {
        endpoint: endpoint.url().parse().expect("a URL"),
        header: HEADER.into(),
        client_id: Some(BotOptions::default().app_id),
    };
    Identity::new(settings, http.clone())
}

/// Leads to this team's channel; John Doe may decide.
pub(crate) fn settings(team: &BotSimulator) -> BotSettings {
    let options = BotOptions::default();
    let approver = options.people.first().map(|(id, _)| id.clone());
    BotSettings {
        app_id: options.app_id,
        tenant: options.tenant,
        team: Some(options.team),
        channel: Some(options.channel),
        approvers: approver.into_iter().collect(),
        service: team.service().parse().expect("a URL"),
        graph: team.graph().parse().expect("a URL"),
        dashboard_base: None,
        issue_base: None,
    }
}

/// A fresh process of it.
pub(crate) fn sink(team: &BotSimulator, endpoint: &Server, http: Http) -> Teams {
    let identity = signed_in(endpoint, &http);
    Teams::Bot(Bot::new(settings(team), http, Some(identity)))
}
