// Every knob of infra/main.bicep. Each deployment sets them all: what is empty is switched off, so keep what you exported.
// Switched off is not removed: playbooks, roles and diagnostic settings of a factory or workspace that is emptied here
// stay until you delete them (docs/deployment.md, "What a later deployment leaves behind"). Alert rules are disabled.
// Secrets come from the environment, never from this file:
//   export CALLBACK_SIGNING_KEY=$(openssl rand -hex 32) DASHBOARD_KEY=$(openssl rand -hex 32) JIRA_API_TOKEN=… SLACK_BOT_TOKEN=…
using 'main.bicep'

// ---- names and places
param name = 'aiops-rca'                              // stands at the beginning of every resource name
// param location = 'westeurope'                      // default: the resource group's region
param storagePrefix = 'rca'                           // stands before table and queue names
param workspaceId = ''                                // a workspace to use; empty: a new one
param diagnosticSettings = true                       // false: the logs already go there, resource-specific

// ---- what is watched: leave empty what you do not have
param dataFactoryName = readEnvironmentVariable('AZURE_DATA_FACTORY_NAME', '')
// param dataFactoryResourceGroup = 'rg-data'         // default: this resource group
param runReaderRoleId = ''                            // a role that reads runs, where you may not create roles
param pipelineRunnerRoleId = ''                       // and one that starts pipelines
param databricksWorkspaceName = readEnvironmentVariable('DATABRICKS_WORKSPACE_NAME', '')
// param databricksResourceGroup = 'rg-data'
param airflowBaseUrl = readEnvironmentVariable('AIRFLOW_BASE_URL', '')
param airflowApiVersion = 'v2'                        // v1: Airflow 2, v2: Airflow 3
param airflowUsername = readEnvironmentVariable('AIRFLOW_USERNAME', '')
param airflowPassword = readEnvironmentVariable('AIRFLOW_PASSWORD', '')
param airflowToken = readEnvironmentVariable('AIRFLOW_TOKEN', '') // instead of user and password, for reading alone
param databricksToken = readEnvironmentVariable('DATABRICKS_TOKEN', '') // better empty: the managed identity

// ---- incidents: which failures share one issue and one message
param fold = 'repeat,cascade,storm,fan-out'

// ---- patrol: every minute the platforms are asked which runs ended; alerts only make it faster
param patrol = true
param expect = ''                                     // learn, or e.g. 'pl_daily_*=24h;etl=30m': overdue runs are tickets
param volume = ''                                     // e.g. 'pl_daily_*=50%': good runs that moved less are told

// ---- retention: closed tickets older than this are removed
param retentionDays = 0                               // e.g. 180; 0: never

// ---- JIRA: empty domain, no JIRA
param jiraDomain = readEnvironmentVariable('JIRA_DOMAIN', '')
param jiraUserEmail = readEnvironmentVariable('JIRA_USER_EMAIL', '')
param jiraProjectKey = readEnvironmentVariable('JIRA_PROJECT_KEY', '')
param jiraIssueType = 'Task'
param jiraApiToken = readEnvironmentVariable('JIRA_API_TOKEN', '')
param jiraWebhookSecret = readEnvironmentVariable('JIRA_WEBHOOK_SECRET', '')

// ---- Slack: empty token, no Slack
param slackAlertChannel = readEnvironmentVariable('SLACK_ALERT_CHANNEL', '')
param slackDigestChannel = readEnvironmentVariable('SLACK_DIGEST_CHANNEL', '')
param slackApprovers = readEnvironmentVariable('SLACK_APPROVERS', '')
param slackBotToken = readEnvironmentVariable('SLACK_BOT_TOKEN', '')
param slackSigningSecret = readEnvironmentVariable('SLACK_SIGNING_SECRET', '')

// ---- Microsoft Teams: empty URL, no Teams
param teamsWorkflowUrl = readEnvironmentVariable('TEAMS_WORKFLOW_URL', '')
param teamsWorkflowBody = 'message'                   // card: a hand-made flow that reads the bare card
param teamsBot = false                                // true: a bot instead of a workflow; then install the app package (infra/teams-app)
param teamsChannelId = ''
param teamsTeamId = ''
param teamsApprovers = ''                             // Entra object ids of those whose buttons count

// ---- remediation: off until you have read what it would have done
param autoRemediationEnabled = false
param callbackSigningKey = readEnvironmentVariable('CALLBACK_SIGNING_KEY')
param playbookAccess = 'entra'                        // sas: signed trigger URLs, as in the guide
param remediationDeadlineMinutes = 120                // playbooks stop watching a quarter of an hour earlier
param remediationDefault = 'safe'                     // safe, from_failure, ask, never
param remediationAssets = ''                          // e.g. 'pl_payroll*=never;pl_ingest_*=from_failure,max=2'
param nodeTypes = []                                  // e.g. [{ from: 'Standard_DS4_v2', to: ['Standard_D8ds_v5'] }]: what a cluster may be restarted with
param upstreamPipelines = {}                          // e.g. { pl_load_sales: 'pl_export_sales' }

// ---- access
param dashboardKey = readEnvironmentVariable('DASHBOARD_KEY')
param dashboardClientId = readEnvironmentVariable('DASHBOARD_CLIENT_ID', '') // Entra app for signing in; empty: the key
param secureWebhookAudience = readEnvironmentVariable('SECURE_WEBHOOK_AUDIENCE', '') // 'api://…': Azure Monitor must bring an Entra token

// ---- language model: words the root cause, decides nothing
param aiProvider = 'none'                             // azure-openai, openai-compatible
param aiEndpoint = readEnvironmentVariable('AI_ENDPOINT', '')
param aiModel = readEnvironmentVariable('AI_MODEL', '')
param aiApiKey = readEnvironmentVariable('AI_API_KEY', '')

// ---- telemetry: empty endpoint, no export
param otlpEndpoint = readEnvironmentVariable('OTEL_EXPORTER_OTLP_ENDPOINT', '')
param otlpHeaders = readEnvironmentVariable('OTEL_EXPORTER_OTLP_HEADERS', '')

// ---- who watches the watcher
param operatorEmail = readEnvironmentVariable('OPERATOR_EMAIL', '') // five rules tell this address when aiops-rca is down
param watcherAlerts = true

// ---- everything else that docs/settings.md lists: each deployment replaces all settings, so what is not here is gone
param extraSettings = {}                              // e.g. { LOG_LEVEL: 'debug', REMEDIATION_QUIET_HOURS: '…' }

// ---- size
param instanceMemoryMB = 512                          // the handler needs a few dozen
param maximumInstanceCount = 40
param zoneRedundant = false                           // over availability zones, where the region has them
param storageSku = 'Standard_ZRS'                     // Standard_LRS where the region has no availability zones
param hostLogs = false                                // true: the host's own logs too, at every level and billed
param logRetentionDays = 30
