//! The doors: a closed set. Each has its row of the table, its trigger and its lock; who adds one is led by the compiler
//! to everything that it needs.

/// How a function is triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// HTTP at this route (ASP.NET syntax), with these methods.
    Http {
        /// The route.
        route: &'static str,
        /// The methods, lower case.
        methods: &'static [&'static str],
    },
    /// A queue, by bare name.
    Queue(&'static str),
    /// A timer, with its six-field schedule.
    Timer(&'static str),
}

/// One folder of `functions/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Door {
    /// Alerts of Azure Monitor.
    AzureMonitor,
    /// Notifications of Databricks.
    DatabricksMonitor,
    /// Callbacks of Airflow.
    AirflowMonitor,
    /// JIRA's webhook.
    JiraWebhook,
    /// Callbacks of playbooks.
    RemediationCallback,
    /// Buttons in Slack.
    SlackInteractions,
    /// Buttons in Microsoft Teams, and where its app is installed.
    TeamsMessages,
    /// Pages for people.
    Dashboard,
    /// JSON for machines.
    Api,
    /// Liveness.
    Health,
    /// The queue of failures.
    AnalyseFailure,
    /// The queue of deliveries.
    DeliverTicket,
    /// Failures that were given up.
    RecordPoisonFailure,
    /// Deliveries that were given up.
    RecordPoisonDelivery,
    /// Every minute.
    Sweep,
    /// Every minute: the platforms are asked what ended.
    Patrol,
}

impl Door {
    /// Every door, in the order of the table in docs/security.md.
    pub const ALL: [Self; 16] = [
        Self::AzureMonitor,
        Self::DatabricksMonitor,
        Self::AirflowMonitor,
        Self::JiraWebhook,
        Self::RemediationCallback,
        Self::SlackInteractions,
        Self::TeamsMessages,
        Self::Dashboard,
        Self::Api,
        Self::Health,
        Self::AnalyseFailure,
        Self::DeliverTicket,
        Self::RecordPoisonFailure,
        Self::RecordPoisonDelivery,
        Self::Sweep,
        Self::Patrol,
    ];

    /// The function's name: its folder in `functions/`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What triggers it.
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::AzureMonitor => http("azure-monitor", &["post"]),
            Self::DatabricksMonitor => http("databricks-monitor", &["post"]),
            Self::AirflowMonitor => http("airflow-monitor", &["post"]),
            Self::JiraWebhook => http("jira-webhook", &["post"]),
            Self::RemediationCallback => http("remediation-callback", &["post"]),
            Self::SlackInteractions => http("slack/interactions", &["post"]),
            Self::TeamsMessages => http("teams/messages", &["post"]),
            Self::Dashboard => http("dashboard/{*path}", &["get", "post"]),
            Self::Api => http("api/{*path}", &["get", "post"]),
            Self::Health => http("health", &["get"]),
            Self::AnalyseFailure => Trigger::Queue("failures"),
            Self::DeliverTicket => Trigger::Queue("deliveries"),
            Self::RecordPoisonFailure => Trigger::Queue("failures-poison"),
            Self::RecordPoisonDelivery => Trigger::Queue("deliveries-poison"),
            Self::Sweep => Trigger::Timer("0 * * * * *"),
            Self::Patrol => Trigger::Timer("20 * * * * *"),
        }
    }

    /// The door of a path: HTTP routes as callers see them, other functions by their name.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        Self::ALL.into_iter().find(|door| match door.trigger() {
            Trigger::Http { route, .. } => match route.strip_suffix("/{*path}") {
                Some(prefix) => {
                    path == prefix
                        || path
                            .strip_prefix(prefix)
                            .is_some_and(|rest| rest.starts_with('/'))
                }
                None => path.eq_ignore_ascii_case(route),
            },
            Trigger::Queue(_) | Trigger::Timer(_) => path == door.name(),
        })
    }

    /// Its route; none for functions of queues and timers.
    pub const fn route(self) -> Option<&'static str> {
        match self.trigger() {
            Trigger::Http { route, .. } => Some(route),
            Trigger::Queue(_) | Trigger::Timer(_) => None,
        }
    }

    /// Its queue, by bare name.
    pub const fn queue(self) -> Option<&'static str> {
        match self.trigger() {
            Trigger::Queue(queue) => Some(queue),
            Trigger::Http { .. } | Trigger::Timer(_) => None,
        }
    }

    /// Is this method served here? The host calls functions of queues and timers by POST.
    pub fn takes(self, method: &str) -> bool {
        match self.trigger() {
            Trigger::Http { methods, .. } => methods
                .iter()
                .any(|allowed| method.eq_ignore_ascii_case(allowed)),
            Trigger::Queue(_) | Trigger::Timer(_) => method.eq_ignore_ascii_case("post"),
        }
    }
}

const fn http(route: &'static str, methods: &'static [&'static str]) -> Trigger {
    Trigger::Http { route, methods }
}
