//! Every setting, once: name, group, default, what it is. docs/settings.md and `local.settings.json.example` are tested against it.

/// One setting (an app setting in Azure, an environment variable everywhere else).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub group: &'static str,
    /// Never shown.
    pub secret: bool,
    /// Used when it is absent; empty: none.
    pub default: &'static str,
    /// What it is, one line.
    pub about: &'static str,
}

const fn setting(
    group: &'static str,
    name: &'static str,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        group,
        secret: false,
        default,
        about,
    }
}

const fn secret(group: &'static str, name: &'static str, about: &'static str) -> Setting {
    Setting {
        name,
        group,
        secret: true,
        default: "",
        about,
    }
}

const STORAGE: &str = "Storage";
const JIRA: &str = "JIRA";
const SLACK: &str = "Slack";
const TEAMS: &str = "Microsoft Teams";
const AZURE: &str = "Azure";
const DATABRICKS: &str = "Databricks";
const AIRFLOW: &str = "Airflow";
const PATROL: &str = "Patrol";
const INCIDENTS: &str = "Incidents";
const REMEDIATION: &str = "Remediation";
const ACCESS: &str = "Access";
const MODEL: &str = "Language model";
const OPERATION: &str = "Operation";

/// All of them, in the order of docs/settings.md.
pub const SETTINGS: &[Setting] = &[
    secret(
        STORAGE,
        "AzureWebJobsStorage",
        "Connection string of the storage account; `UseDevelopmentStorage=true` for Azurite. Without it, `local` uses its embedded store",
    ),
    setting(
        STORAGE,
        "AzureWebJobsStorage__accountName",
        "",
        "Instead of a connection string: the account's name, opened with the managed identity",
    ),
    setting(
        STORAGE,
        "AzureWebJobsStorage__tableServiceUri",
        "",
        "Instead of the account's name, with the next one: the table service",
    ),
    setting(
        STORAGE,
        "AzureWebJobsStorage__queueServiceUri",
        "",
        "The queue service",
    ),
    setting(
        STORAGE,
        "AzureWebJobsStorage__clientId",
        "",
        "Client id of a user-assigned identity for the storage",
    ),
    setting(
        STORAGE,
        "STORAGE_PREFIX",
        "rca",
        "Stands before every table and queue name: several deployments can share an account. In Azure it must be set, because the Functions host names the queues by it",
    ),
    setting(
        STORAGE,
        "RETENTION_DAYS",
        "",
        "After so many days (7 to 3650) closed tickets and dead letters are removed, with everything that leads to them; empty: never. `export` writes them to a file first",
    ),
    #[cfg(feature = "local")]
    setting(
        STORAGE,
        "AIOPS_RCA_STORE",
        "",
        "Path of the embedded store's file (set by `local`)",
    ),
    setting(JIRA, "ITSM_TOOL", "none", "`jira` or `none`"),
    setting(
        JIRA,
        "JIRA_DOMAIN",
        "",
        "Your site, e.g. `https://your-company.atlassian.net`",
    ),
    setting(
        JIRA,
        "JIRA_USER_EMAIL",
        "",
        "The account that writes the issues",
    ),
    secret(
        JIRA,
        "JIRA_API_TOKEN",
        "Its API token, with or without scopes",
    ),
    setting(
        JIRA,
        "JIRA_API_TOKEN_EXPIRES",
        "",
        "The token's last day, e.g. `2027-03-31` (they live a year at most): `doctor` shows it, the dashboard warns 30 days before",
    ),
    setting(
        JIRA,
        "JIRA_GATEWAY_URL",
        "https://api.atlassian.com/",
        "Where tokens with scopes are taken (Atlassian's other clouds, tests)",
    ),
    setting(JIRA, "JIRA_PROJECT_KEY", "", "The project, e.g. `APAIOPS`"),
    setting(JIRA, "JIRA_ISSUE_TYPE", "Task", "The type of new issues"),
    secret(
        JIRA,
        "JIRA_WEBHOOK_SECRET",
        "Secret of the JIRA webhook; without it `/jira-webhook` is closed",
    ),
    secret(
        SLACK,
        "SLACK_BOT_TOKEN",
        "Bot token (`xoxb-…`); without it Slack is off",
    ),
    setting(SLACK, "SLACK_ALERT_CHANNEL", "", "Channel id, or its name"),
    setting(
        SLACK,
        "SLACK_DIGEST_CHANNEL",
        "",
        "Channel for a digest of the week, every Monday after 06:00 UTC; empty: none",
    ),
    secret(
        SLACK,
        "SLACK_SIGNING_SECRET",
        "Signing secret of the app; without it `/slack/interactions` is closed and no buttons are shown",
    ),
    setting(
        SLACK,
        "SLACK_APPROVERS",
        "",
        "Slack user ids (`U…`, separated by commas) that may approve remediations",
    ),
    setting(
        SLACK,
        "SLACK_API_URL",
        "https://slack.com/api/",
        "Another Web API, for tests",
    ),
    secret(
        TEAMS,
        "TEAMS_WORKFLOW_URL",
        "URL of a workflow made from the template \"Send webhook alerts to a channel\": cards are posted, never edited; without it Teams is off",
    ),
    setting(
        TEAMS,
        "TEAMS_WORKFLOW_BODY",
        "message",
        "`message`, which the template reads, or `card`, which some hand-made flows read",
    ),
    setting(
        TEAMS,
        "TEAMS_BOT_APP_ID",
        "",
        "The bot's app: the client id of a user-assigned identity of this app. One card per ticket, edited in place; without it `/teams/messages` is closed",
    ),
    setting(TEAMS, "TEAMS_TENANT_ID", "", "The bot's tenant"),
    setting(
        TEAMS,
        "TEAMS_CHANNEL_ID",
        "",
        "The channel, `19:…@thread.tacv2`; learned when the app is installed in a team",
    ),
    setting(
        TEAMS,
        "TEAMS_TEAM_ID",
        "",
        "The team's group id (a GUID), to look up cards whose answer was lost; learned as well",
    ),
    setting(
        TEAMS,
        "TEAMS_APPROVERS",
        "",
        "Entra object ids, separated by commas, of the people whose buttons count; without any there are no buttons",
    ),
    setting(
        TEAMS,
        "TEAMS_SERVICE_URL",
        "https://smba.trafficmanager.net/teams/",
        "The Bot Connector, until another address of it is learned (other clouds, tests)",
    ),
    setting(
        TEAMS,
        "TEAMS_OPENID_URL",
        "https://login.botframework.com/v1/.well-known/openidconfiguration",
        "The document that names the Bot Framework's signing keys (other clouds, tests)",
    ),
    setting(
        TEAMS,
        "TEAMS_GRAPH_URL",
        "https://graph.microsoft.com/",
        "Microsoft Graph (other clouds, tests)",
    ),
    setting(
        AZURE,
        "AZURE_SUBSCRIPTION_ID",
        "",
        "Subscription of the data factory",
    ),
    setting(
        AZURE,
        "AZURE_RESOURCE_GROUP",
        "",
        "Resource group of the data factory",
    ),
    setting(
        AZURE,
        "AZURE_DATA_FACTORY_NAME",
        "",
        "The data factory whose runs are looked up",
    ),
    setting(
        AZURE,
        "AZURE_DATA_FACTORIES",
        "",
        "Further data factories and Synapse workspaces: resource ids, separated by commas",
    ),
    setting(
        AZURE,
        "AZURE_SYNAPSE_DOMAIN",
        "dev.azuresynapse.net",
        "Where Synapse workspaces answer: `https://<workspace>.<domain>` (other clouds)",
    ),
    setting(
        AZURE,
        "AZURE_MANAGEMENT_URL",
        "https://management.azure.com/",
        "Azure Resource Manager (other clouds, tests)",
    ),
    setting(
        AZURE,
        "LOG_ANALYTICS_WORKSPACE_ID",
        "",
        "Workspace id (a GUID) that holds the diagnostic logs",
    ),
    setting(
        AZURE,
        "LOG_ANALYTICS_URL",
        "https://api.loganalytics.azure.com/",
        "Log Analytics query API (other clouds, tests)",
    ),
    setting(
        AZURE,
        "AZURE_CLIENT_ID",
        "",
        "Client id of a user-assigned identity for these APIs",
    ),
    setting(
        AZURE,
        "IDENTITY_ENDPOINT",
        "",
        "Set by Azure: where the managed identity's tokens are",
    ),
    secret(
        AZURE,
        "IDENTITY_HEADER",
        "Set by Azure: proof for that endpoint",
    ),
    setting(
        DATABRICKS,
        "DATABRICKS_WORKSPACE_URL",
        "",
        "The workspace, e.g. `https://adb-….azuredatabricks.net` (alias `DATABRICKS_HOST`)",
    ),
    setting(
        DATABRICKS,
        "DATABRICKS_HOST",
        "",
        "Alias of `DATABRICKS_WORKSPACE_URL`",
    ),
    secret(
        DATABRICKS,
        "DATABRICKS_TOKEN",
        "Access token; without it the managed identity is used",
    ),
    setting(
        DATABRICKS,
        "DATABRICKS_WORKSPACES",
        "",
        "Further workspaces: URLs, separated by commas. The token of `https://adb-12.3.azuredatabricks.net` is `DATABRICKS_TOKEN_ADB_12`; without it the managed identity is used",
    ),
    setting(
        AIRFLOW,
        "AIRFLOW_BASE_URL",
        "",
        "The Airflow web server, for task logs",
    ),
    setting(
        AIRFLOW,
        "AIRFLOW_USERNAME",
        "",
        "User for basic authentication (v1) or for `/auth/token` (v2)",
    ),
    secret(AIRFLOW, "AIRFLOW_PASSWORD", "That user's password"),
    secret(
        AIRFLOW,
        "AIRFLOW_TOKEN",
        "Instead of user and password: a bearer token",
    ),
    setting(
        AIRFLOW,
        "AIRFLOW_API_VERSION",
        "auto",
        "`v1` (Airflow 2), `v2` (Airflow 3) or `auto`",
    ),
    setting(
        AIRFLOW,
        "AIRFLOW_DEPLOYMENTS",
        "",
        "Further deployments `<name>=<URL>`, separated by commas. The credentials of `prod-eu` are `AIRFLOW_TOKEN_PROD_EU`, or `AIRFLOW_USERNAME_PROD_EU` and `AIRFLOW_PASSWORD_PROD_EU`",
    ),
    setting(
        PATROL,
        "PATROL",
        "on",
        "Every minute the configured platforms are asked which runs ended: failed ones become tickets without any alert, good ones close tickets. `off` waits for reports only",
    ),
    setting(
        PATROL,
        "PATROL_RESUME_HOURS",
        "24",
        "After a pause (an outage, a deployment) runs that ended up to this many hours ago are still looked for",
    ),
    setting(
        PATROL,
        "PATROL_SILENCE_MINUTES",
        "15",
        "A platform that cannot be asked for longer than this is a ticket of its own",
    ),
    setting(
        PATROL,
        "EXPECT",
        "",
        "What should run how often, separated by semicolons: `learn` (from the runs seen so far), `pl_daily_*=24h`, `etl=30m`. A run that is overdue by more than its own spread is a ticket; what is paused is not overdue",
    ),
    setting(
        PATROL,
        "VOLUME",
        "",
        "Green but empty: `pl_daily_*=50%`, separated by semicolons. A good run that moves nothing, or less than this share of the median of the last good ones, is reported on the ticket and closes nothing",
    ),
    setting(
        INCIDENTS,
        "FOLD",
        "repeat,cascade,storm,fan-out",
        "Which failures share one issue and one message: the same asset failing of the same cause again, linked runs, one cause and one named thing on three assets within a quarter of an hour, mapped tasks of one run. `none` gives one of each per run",
    ),
    setting(
        INCIDENTS,
        "FOLD_REOPEN_HOURS",
        "24",
        "A repeat within this time after the close opens the incident again, unless a person closed it as will-not-fix; a later one begins another",
    ),
    setting(
        INCIDENTS,
        "OWNERS",
        "",
        "Who owns what: `pl_finance_*=team-finance tag:pii=team-privacy`; the first rule that matches counts, without one the owner, tags, folder or job user that the platform names",
    ),
    setting(
        INCIDENTS,
        "OWNER_ROUTES",
        "",
        "Where owners read of their failures: `team-finance: slack=#finance, teams=19:…@thread.tacv2, mention=S0AB jane@example.com, component=Finance, labels=finance, assignee=5b10…; nobody: slack=#unowned`",
    ),
    setting(
        INCIDENTS,
        "CRITICALITY",
        "",
        "How much assets matter: `pl_payroll*=critical; dev_*=low` sets severity, SLA and mention whatever the error; what is critical is never healed without approval",
    ),
    setting(
        REMEDIATION,
        "AUTO_REMEDIATION_ENABLED",
        "false",
        "`true` lets playbooks be called; nothing is ever called without it",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_RETRY_PIPELINE",
        "Logic App URL: retry an ADF pipeline",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_RETRY_JOB",
        "Logic App URL: retry a Databricks job",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_RESTART_CLUSTER",
        "Logic App URL: restart a Databricks cluster",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_REINSTALL_LIBRARIES",
        "Logic App URL: reinstall a cluster's libraries",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_RETRY_AIRFLOW_TASK",
        "Logic App URL: retry an Airflow task",
    ),
    secret(
        REMEDIATION,
        "PLAYBOOK_RERUN_UPSTREAM",
        "Logic App URL: rerun what should have produced the data (always asks a person)",
    ),
    setting(
        REMEDIATION,
        "PLAYBOOK_AUDIENCE",
        "",
        "Audience of the identity's token for a playbook whose URL carries no signature (`sig=…`): an Entra-only trigger. Empty: the address of `AZURE_MANAGEMENT_URL`",
    ),
    setting(
        REMEDIATION,
        "PLAYBOOK_SCOPES",
        "",
        "Short names of further scopes (factory, `adb-…`, deployment) that the playbooks serve, separated by commas; `*`: all. Without it: the single settings', or the only one",
    ),
    secret(
        REMEDIATION,
        "CALLBACK_SIGNING_KEY",
        "Signs the one-time token in callback URLs; needed with any `PLAYBOOK_…`",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_DEFAULT",
        "safe",
        "For assets no rule names: `safe`, `from_failure`, `ask` or `never`",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_ASSETS",
        "",
        "Rules `[<scope>/]<glob>=<mode>[,max=<n>][,cooldown=<minutes>]`, separated by `;`, first match wins",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_DELAYS",
        "",
        "Seconds before the first, second, third attempt, e.g. `30,60,120`; without it by risk: Low 30, 60, 120, Medium 60, 180, High 180",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_NODE_TYPES",
        "",
        "Node types a cluster may be restarted with when its own cannot be had: rules `<glob>=<node type>[,<node type>…]`, \
         separated by `;`, first match wins, best type first, e.g. `Standard_DS4_v2=Standard_D8ds_v5,Standard_D8as_v5`",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_QUIET_HOURS",
        "",
        "UTC hours in which a person is asked, e.g. `22:00-06:00`",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_MAX_RUNNING",
        "10",
        "Maximum number of attempts at once",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_COOLDOWN_MINUTES",
        "120",
        "No new attempt on an asset for so long after all attempts failed",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_FLAPPING_LIMIT",
        "3",
        "Healed so often in a week and failed again: a person is asked",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_APPROVAL_MINUTES",
        "240",
        "How long a question to a person stands",
    ),
    setting(
        REMEDIATION,
        "REMEDIATION_DEADLINE_MINUTES",
        "120",
        "How long a playbook may stay silent before the vendor is asked",
    ),
    setting(
        ACCESS,
        "PUBLIC_BASE_URL",
        "",
        "Where this app is reached from outside, e.g. `https://<app>.azurewebsites.net`",
    ),
    setting(
        ACCESS,
        "DASHBOARD_AUTH",
        "",
        "`entra` (App Service authentication) or `key`; `open` works in `local` only",
    ),
    secret(
        ACCESS,
        "DASHBOARD_KEY",
        "Key of dashboard and API, at least 16 characters",
    ),
    setting(
        ACCESS,
        "WEBSITE_AUTH_ENABLED",
        "",
        "Set by App Service: its authentication is on; `entra` stays closed without it",
    ),
    setting(
        ACCESS,
        "SECURE_WEBHOOK_TENANT_ID",
        "",
        "With the next one: Azure Monitor must bring an Entra token of this tenant",
    ),
    setting(
        ACCESS,
        "SECURE_WEBHOOK_AUDIENCE",
        "",
        "The application (id or `api://` URI) the token is for",
    ),
    setting(
        ACCESS,
        "ENTRA_AUTHORITY_URL",
        "https://login.microsoftonline.com/",
        "Entra (other clouds, tests)",
    ),
    setting(
        MODEL,
        "AI_PROVIDER",
        "none",
        "`none`, `azure-openai` or `openai-compatible`",
    ),
    setting(
        MODEL,
        "AI_ENDPOINT",
        "",
        "E.g. `https://<resource>.openai.azure.com/`, `https://api.openai.com/v1/`, `http://localhost:11434/v1/`",
    ),
    setting(MODEL, "AI_MODEL", "", "Model, or the deployment's name"),
    secret(
        MODEL,
        "AI_API_KEY",
        "Key; without it `azure-openai` uses the managed identity",
    ),
    setting(
        MODEL,
        "AI_DAILY_BUDGET",
        "500",
        "Maximum number of calls per day",
    ),
    setting(
        OPERATION,
        "LOG_LEVEL",
        "info",
        "`error`, `warn`, `info`, `debug`, or a filter such as `info,aiops_rca::flow=debug`",
    ),
    setting(
        OPERATION,
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Base URL of a collector that takes OTLP over HTTP, e.g. `https://otel.example.com:4318`; without it nothing is exported",
    ),
    secret(
        OPERATION,
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers for the collector: `key=value,key2=value2`, values percent-encoded",
    ),
    setting(
        OPERATION,
        "OTEL_SERVICE_NAME",
        "aiops-rca",
        "What the collector calls this app",
    ),
    setting(
        OPERATION,
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "`parentbased_always_on`: a sender's mark *not recorded* is respected; `always_on`: every trace is recorded",
    ),
    setting(
        OPERATION,
        "EXTRA_CA_FILE",
        "",
        "PEM file with further trusted roots, e.g. of a company's proxy",
    ),
    setting(
        OPERATION,
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "",
        "Set by the Functions host: where the handler listens",
    ),
    #[cfg(feature = "local")]
    setting(
        OPERATION,
        "AIOPS_RCA_LOCAL",
        "",
        "Set by `local`: the dashboard may be open",
    ),
];
