// aiops-rca in one resource group: function app, storage, vault, logs, diagnostic settings, playbooks.
//
//   az deployment group create --resource-group <group> --template-file infra/main.bicep --parameters infra/main.bicepparam
//
// Then publish the package, then deploy infra/alerts.bicep: its action group needs a key that exists only
// once the function does. `azd up` does the three steps in order (azure.yaml).

targetScope = 'resourceGroup'

// ---- names and places
@description('Stands at the beginning of every resource name: lower-case letters, digits and single dashes; a letter first, no dash at the end.')
@minLength(3)
@maxLength(14)
param name string = 'aiops-rca'

@description('Region of everything new. Flex Consumption must be offered there.')
param location string = resourceGroup().location

@description('Stands before every table and queue name, so that several deployments can share an account: lower-case letters and digits, a letter first.')
@minLength(1)
@maxLength(20)
param storagePrefix string = 'rca'

@description('Resource id of a Log Analytics workspace to use, e.g. one that already has the diagnostic logs; empty: a new one.')
param workspaceId string = ''

@description('false where factory and Databricks already send their logs to that workspace, resource-specific: Azure refuses a second setting for the same logs.')
param diagnosticSettings bool = true

// ---- what is watched
@description('The data factory to watch; empty: none.')
param dataFactoryName string = ''

@description('Its resource group, in this subscription.')
param dataFactoryResourceGroup string = resourceGroup().name

@description('Id of an existing role for reading runs, where the deployer may not create roles (docs/deployment.md lists its operations); empty: one is made.')
param runReaderRoleId string = ''

@description('Id of an existing role for starting pipelines, likewise.')
param pipelineRunnerRoleId string = ''

@description('The Databricks workspace to watch (Premium: only that tier has audit logs); empty: none.')
param databricksWorkspaceName string = ''

@description('Its resource group, in this subscription.')
param databricksResourceGroup string = resourceGroup().name

@description('The Airflow web server, for task logs and retries; empty: none.')
param airflowBaseUrl string = ''

@description('v1 for Airflow 2, v2 for Airflow 3.')
@allowed(['v1', 'v2'])
param airflowApiVersion string = 'v2'

@description('The Airflow user of aiops-rca and its playbooks.')
param airflowUsername string = ''

@description('That user\'s password; kept in the vault. Without it the Airflow playbooks are not deployed.')
@secure()
param airflowPassword string = ''

@description('A token of Airflow instead of user and password, for reading alone; kept in the vault.')
@secure()
param airflowToken string = ''

@description('A Databricks token; empty (better): the managed identity, added to the workspace as a service principal.')
@secure()
param databricksToken string = ''

// ---- JIRA
@description('https://your-company.atlassian.net; empty: no JIRA.')
param jiraDomain string = ''

@description('The account that writes the issues.')
param jiraUserEmail string = ''

@description('The project\'s key.')
param jiraProjectKey string = ''

@description('The type of new issues.')
param jiraIssueType string = 'Task'

@description('The account\'s API token.')
@secure()
param jiraApiToken string = ''

@description('Secret of the JIRA webhook; without it that door stays closed.')
@secure()
param jiraWebhookSecret string = ''

// ---- Slack
@description('Channel id or name for alerts.')
param slackAlertChannel string = ''

@description('Slack channel for a weekly digest; empty: none.')
param slackDigestChannel string = ''

@description('Slack user ids, separated by commas, that may approve remediations.')
param slackApprovers string = ''

@description('The bot token (xoxb-…); empty: no Slack.')
@secure()
param slackBotToken string = ''

@description('The app\'s signing secret; without it no buttons are shown.')
@secure()
param slackSigningSecret string = ''

// ---- Microsoft Teams
@description('URL of a workflow made from "Send webhook alerts to a channel"; empty: no Teams.')
@secure()
param teamsWorkflowUrl string = ''

@description('What the workflow reads: message, as the template does, or the bare card.')
@allowed(['message', 'card'])
param teamsWorkflowBody string = 'message'

@description('true: a bot posts instead, edits its cards and takes clicks; it signs in as the app\'s identity.')
param teamsBot bool = false

@description('The channel, 19:…@thread.tacv2; empty: learned when the app is installed in a team.')
param teamsChannelId string = ''

@description('The team\'s group id; empty: learned as well.')
param teamsTeamId string = ''

@description('Entra object ids, separated by commas, of the people whose buttons in Teams count.')
param teamsApprovers string = ''

// ---- remediation
@description('true lets playbooks be called. Start with false and read what would have been done.')
param autoRemediationEnabled bool = false

@description('Signs the one-time token in callback addresses: openssl rand -hex 32.')
@minLength(32)
@secure()
param callbackSigningKey string

@description('Who may start a playbook. entra: the app alone, with a token of its identity; the URL opens nothing. sas: everybody who has the signed URL, as in the guide.')
@allowed(['entra', 'sas'])
param playbookAccess string = 'entra'

@description('An attempt that has not reported after this time is looked up at the vendor; the playbooks stop watching a quarter of an hour before.')
@minValue(30)
@maxValue(1440)
param remediationDeadlineMinutes int = 120

@description('For assets that no rule names: safe, from_failure, ask or never.')
@allowed(['safe', 'from_failure', 'ask', 'never'])
param remediationDefault string = 'safe'

@description('Rules <glob>=<mode>[,max=<n>][,cooldown=<minutes>], separated by semicolons; the first match wins.')
param remediationAssets string = ''

@description('Which failures share one issue and one message, separated by commas: repeat, cascade, storm, fan-out; none: one of each per run.')
param fold string = 'repeat,cascade,storm,fan-out'

@description('Whether the platforms are asked every minute which runs ended.')
param patrol bool = true

@description('What should run how often: learn, or <glob>=<interval>, separated by semicolons; empty: nothing is expected.')
param expect string = ''

@description('What a good run must move: <glob>=<share>%, separated by semicolons; empty: nothing is compared.')
param volume string = ''

@description('Days after which closed tickets are removed; 0: never.')
@minValue(0)
@maxValue(3650)
param retentionDays int = 0

@description('What a cluster may be restarted with when machines of its own size cannot be had: [{ from: \'Standard_DS4_v2\', to: [\'Standard_D8ds_v5\'] }], the first that matches counts, best first.')
param nodeTypes array = []

@description('Which pipeline feeds which, for the upstream playbook: { pl_load_sales: \'pl_export_sales\' }.')
param upstreamPipelines object = {}

// ---- access
@description('Key of dashboard and API: openssl rand -hex 32.')
@minLength(32)
@secure()
param dashboardKey string

@description('Application (client) id of the Entra app that people sign in to the dashboard with; empty: the key alone opens it. Who may sign in is decided there: Enterprise applications, Assignment required.')
param dashboardClientId string = ''

@description('Audience of the tokens of a secure webhook (action group); empty: a function key is the lock. Together with dashboardClientId use that application, api://<id>: the sign-in may turn away tokens for others.')
param secureWebhookAudience string = ''

// ---- language model
@description('none, azure-openai or openai-compatible.')
@allowed(['none', 'azure-openai', 'openai-compatible'])
param aiProvider string = 'none'

@description('Its endpoint.')
param aiEndpoint string = ''

@description('The model, or the deployment\'s name.')
param aiModel string = ''

@description('Its key; azure-openai works without, by managed identity.')
@secure()
param aiApiKey string = ''

// ---- telemetry
@description('Base URL of an OpenTelemetry collector (OTLP over HTTP) for traces and logs; empty: logs on stdout alone.')
param otlpEndpoint string = ''

@description('Headers for the collector, key=value,key2=value2; kept in the vault.')
@secure()
param otlpHeaders string = ''

// ---- who watches the watcher
@description('E-mail address of those who look after aiops-rca; empty: nobody is notified when it is down.')
param operatorEmail string = ''

@description('false switches the rules that watch aiops-rca off.')
param watcherAlerts bool = true

// ---- everything else
@description('Further app settings by name, all of them texts and none of them a secret: { LOG_LEVEL: \'debug\' }. What a parameter above sets wins. Each deployment replaces all app settings: what is not here is gone.')
param extraSettings object = {}

// ---- size
@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('No more instances than this (40 is the least that Flex takes).')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Spread the app over availability zones, where the region has them; costs always-ready capacity, and wants a storageSku with ZRS.')
param zoneRedundant bool = false

@description('Redundancy of the storage account. Standard_LRS where the region has no availability zones.')
@allowed(['Standard_ZRS', 'Standard_LRS', 'Standard_GZRS', 'Standard_GRS'])
param storageSku string = 'Standard_ZRS'

@description('true sends the host\'s own logs to the workspace as well. On this plan they arrive at every level, and are billed; Application Insights has what matters anyway.')
param hostLogs bool = false

@description('How long logs are kept, in days.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

var suffix = uniqueString(resourceGroup().id, name)
var functionAppName = '${name}-${suffix}'
var vaultName = take('${name}-${suffix}', 24)
var storageName = take(toLower('${replace(name, '-', '')}${suffix}'), 24)
var databricks = !empty(databricksWorkspaceName)
var airflow = !empty(airflowBaseUrl)
// The Airflow playbooks sign in with the password in the vault.
var airflowPlaybooks = airflow && !empty(airflowPassword)
var factory = !empty(dataFactoryName)
var factoryId = factory ? resourceId(dataFactoryResourceGroup, 'Microsoft.DataFactory/factories', dataFactoryName) : ''

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${name}-identity'
  location: location
}

module storage 'modules/storage.bicep' = {
  params: {
    name: storageName
    location: location
    sku: storageSku
    prefix: storagePrefix
    principalId: identity.properties.principalId
  }
}

module monitoring 'modules/monitoring.bicep' = {
  params: {
    name: name
    location: location
    workspaceId: workspaceId
    retentionDays: logRetentionDays
    principalId: identity.properties.principalId
  }
}

module vault 'modules/vault.bicep' = {
  params: {
    name: vaultName
    location: location
    principalId: identity.properties.principalId
    workspaceId: monitoring.outputs.workspaceId
    secrets: {
      CALLBACK_SIGNING_KEY: callbackSigningKey
      DASHBOARD_KEY: dashboardKey
      JIRA_API_TOKEN: jiraApiToken
      JIRA_WEBHOOK_SECRET: jiraWebhookSecret
      SLACK_BOT_TOKEN: slackBotToken
      SLACK_SIGNING_SECRET: slackSigningSecret
      TEAMS_WORKFLOW_URL: teamsWorkflowUrl
      DATABRICKS_TOKEN: databricksToken
      AIRFLOW_PASSWORD: airflowPassword
      AIRFLOW_TOKEN: airflowToken
      AI_API_KEY: aiApiKey
      OTEL_EXPORTER_OTLP_HEADERS: otlpHeaders
    }
  }
}

module functionApp 'modules/function.bicep' = {
  params: {
    name: functionAppName
    location: location
    identityId: identity.id
    storageBlobEndpoint: storage.outputs.blobEndpoint
    deploymentContainer: storage.outputs.deploymentContainer
    workspaceId: monitoring.outputs.workspaceId
    hostLogs: hostLogs
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    zoneRedundant: zoneRedundant
  }
}

module bot 'modules/bot.bicep' = if (teamsBot) {
  params: {
    name: '${functionAppName}-bot'
    identityId: identity.id
    clientId: identity.properties.clientId
    endpoint: 'https://${functionApp.outputs.hostName}/teams/messages'
  }
}

module watcher 'modules/watcher.bicep' = if (!empty(operatorEmail)) {
  params: {
    name: name
    functionAppName: functionApp.outputs.name
    workspaceId: monitoring.outputs.workspaceId
    location: monitoring.outputs.location
    email: operatorEmail
    enabled: watcherAlerts
  }
}

module authentication 'modules/authentication.bicep' = if (!empty(dashboardClientId)) {
  params: {
    functionAppName: functionApp.outputs.name
    clientId: dashboardClientId
  }
}

module factoryDiagnostics 'modules/data-factory.bicep' = if (factory) {
  scope: resourceGroup(dataFactoryResourceGroup)
  params: {
    factoryName: dataFactoryName
    workspaceId: monitoring.outputs.workspaceId
    diagnosticSettings: diagnosticSettings
    owner: functionAppName
    readerPrincipalId: identity.properties.principalId
    roleId: runReaderRoleId
  }
}

module databricksDiagnostics 'modules/databricks.bicep' = if (databricks) {
  scope: resourceGroup(databricksResourceGroup)
  params: {
    workspaceName: databricksWorkspaceName
    workspaceId: monitoring.outputs.workspaceId
    diagnosticSettings: diagnosticSettings
  }
}

var databricksHost = databricks ? 'https://${databricksDiagnostics!.outputs.workspaceHost}' : ''

module playbooks 'playbooks/playbooks.bicep' = {
  params: {
    name: name
    location: location
    owner: functionAppName
    callbackBase: 'https://${functionApp.outputs.hostName}/remediation-callback?'
    vaultName: vault.outputs.name
    workspaceId: monitoring.outputs.workspaceId
    runMinutes: remediationDeadlineMinutes - 15
    callerObjectId: playbookAccess == 'entra' ? identity.properties.principalId : ''
    audience: environment().resourceManager
    factoryId: factoryId
    databricksHost: databricksHost
    allowedNodeTypes: flatten(standInNodeTypes)
    airflowHost: airflowPlaybooks ? airflowBaseUrl : ''
    airflowApi: airflowApiVersion
    airflowUser: airflowUsername
    upstreamPipelines: upstreamPipelines
    pipelineRunnerRoleId: pipelineRunnerRoleId
  }
}

// App settings: only what is configured is set, for everything else the defaults hold. Secrets are references
// into the vault, where each lies under its setting's name with dashes.
var secret = '@Microsoft.KeyVault(VaultName=${vaultName};SecretName='

var baseSettings = {
  AzureWebJobsStorage__accountName: storage.outputs.name
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AzureWebJobsStorage__credential: 'managedidentity'
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  AZURE_CLIENT_ID: identity.properties.clientId
  STORAGE_PREFIX: storagePrefix
  PUBLIC_BASE_URL: 'https://${functionApp.outputs.hostName}'
  LOG_ANALYTICS_WORKSPACE_ID: monitoring.outputs.customerId
  AUTO_REMEDIATION_ENABLED: autoRemediationEnabled ? 'true' : 'false'
  REMEDIATION_DEFAULT: remediationDefault
  REMEDIATION_DEADLINE_MINUTES: string(remediationDeadlineMinutes)
  PLAYBOOK_AUDIENCE: environment().resourceManager
  CALLBACK_SIGNING_KEY: '${secret}CALLBACK-SIGNING-KEY)'
  DASHBOARD_AUTH: empty(dashboardClientId) ? 'key' : 'entra'
  DASHBOARD_KEY: '${secret}DASHBOARD-KEY)'
  AI_PROVIDER: aiProvider
  // The threads of the handler share two heaps: with one each, which is the C library's default, they hold more memory.
  MALLOC_ARENA_MAX: '2'
}

// Where this cloud's APIs are, as far as no function of Bicep knows it.
var logAnalyticsUrls = {
  AzureCloud: 'https://api.loganalytics.azure.com/'
  AzureUSGovernment: 'https://api.loganalytics.us/'
  AzureChinaCloud: 'https://api.loganalytics.azure.cn/'
}
var synapseDomains = {
  AzureCloud: 'dev.azuresynapse.net'
  AzureUSGovernment: 'dev.azuresynapse.usgovcloudapi.net'
  AzureChinaCloud: 'dev.azuresynapse.azure.cn'
}
var cloudSettings = {
  AZURE_MANAGEMENT_URL: environment().resourceManager
  ENTRA_AUTHORITY_URL: environment().authentication.loginEndpoint
  LOG_ANALYTICS_URL: logAnalyticsUrls[environment().name]
  AZURE_SYNAPSE_DOMAIN: synapseDomains[environment().name]
}

var assetSettings = empty(remediationAssets) ? {} : { REMEDIATION_ASSETS: remediationAssets }

var patrolSettings = { PATROL: patrol ? 'on' : 'off', FOLD: fold }
var expectSettings = empty(expect) ? {} : { EXPECT: expect }
var volumeSettings = empty(volume) ? {} : { VOLUME: volume }
var retentionSettings = retentionDays == 0 ? {} : { RETENTION_DAYS: string(retentionDays) }

var standInNodeTypes = [for rule in nodeTypes: rule.to]
var nodeTypeRules = [for rule in nodeTypes: '${rule.from}=${join(rule.to, ',')}']
var nodeTypeSettings = empty(nodeTypes) ? {} : { REMEDIATION_NODE_TYPES: join(nodeTypeRules, ';') }

var factorySettings = {
  AZURE_SUBSCRIPTION_ID: subscription().subscriptionId
  AZURE_RESOURCE_GROUP: dataFactoryResourceGroup
  AZURE_DATA_FACTORY_NAME: dataFactoryName
  PLAYBOOK_RETRY_PIPELINE: '${secret}PLAYBOOK-RETRY-PIPELINE)'
  PLAYBOOK_RERUN_UPSTREAM: '${secret}PLAYBOOK-RERUN-UPSTREAM)'
}

var databricksSettings = {
  DATABRICKS_WORKSPACE_URL: databricksHost
  PLAYBOOK_RETRY_JOB: '${secret}PLAYBOOK-RETRY-JOB)'
  PLAYBOOK_RESTART_CLUSTER: '${secret}PLAYBOOK-RESTART-CLUSTER)'
  PLAYBOOK_REINSTALL_LIBRARIES: '${secret}PLAYBOOK-REINSTALL-LIBRARIES)'
}

var databricksTokenSettings = { DATABRICKS_TOKEN: '${secret}DATABRICKS-TOKEN)' }

var airflowSettings = {
  AIRFLOW_BASE_URL: airflowBaseUrl
  AIRFLOW_API_VERSION: airflowApiVersion
}

var airflowLoginSettings = {
  AIRFLOW_USERNAME: airflowUsername
  AIRFLOW_PASSWORD: '${secret}AIRFLOW-PASSWORD)'
  PLAYBOOK_RETRY_AIRFLOW_TASK: '${secret}PLAYBOOK-RETRY-AIRFLOW-TASK)'
  PLAYBOOK_RERUN_UPSTREAM: '${secret}PLAYBOOK-RERUN-UPSTREAM)'
}

var airflowTokenSettings = { AIRFLOW_TOKEN: '${secret}AIRFLOW-TOKEN)' }

var jiraSettings = {
  ITSM_TOOL: 'jira'
  JIRA_DOMAIN: jiraDomain
  JIRA_USER_EMAIL: jiraUserEmail
  JIRA_PROJECT_KEY: jiraProjectKey
  JIRA_ISSUE_TYPE: jiraIssueType
}

var jiraTokenSettings = { JIRA_API_TOKEN: '${secret}JIRA-API-TOKEN)' }

var jiraWebhookSettings = { JIRA_WEBHOOK_SECRET: '${secret}JIRA-WEBHOOK-SECRET)' }

var slackSettings = {
  SLACK_ALERT_CHANNEL: slackAlertChannel
  SLACK_DIGEST_CHANNEL: slackDigestChannel
  SLACK_BOT_TOKEN: '${secret}SLACK-BOT-TOKEN)'
}

var slackButtonSettings = {
  SLACK_APPROVERS: slackApprovers
  SLACK_SIGNING_SECRET: '${secret}SLACK-SIGNING-SECRET)'
}

var teamsWorkflowSettings = {
  TEAMS_WORKFLOW_URL: '${secret}TEAMS-WORKFLOW-URL)'
  TEAMS_WORKFLOW_BODY: teamsWorkflowBody
}

var teamsBotSettings = {
  TEAMS_BOT_APP_ID: identity.properties.clientId
  TEAMS_TENANT_ID: tenant().tenantId
  TEAMS_CHANNEL_ID: teamsChannelId
  TEAMS_TEAM_ID: teamsTeamId
  TEAMS_APPROVERS: teamsApprovers
}

var secureWebhookSettings = {
  SECURE_WEBHOOK_TENANT_ID: tenant().tenantId
  SECURE_WEBHOOK_AUDIENCE: secureWebhookAudience
}

var modelSettings = {
  AI_ENDPOINT: aiEndpoint
  AI_MODEL: aiModel
}

var modelKeySettings = { AI_API_KEY: '${secret}AI-API-KEY)' }

// The host may mark what it passes on as not recorded, as long as it exports no traces itself: that is no sender's wish.
var telemetrySettings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint
  OTEL_TRACES_SAMPLER: 'always_on'
}

var telemetryKeySettings = { OTEL_EXPORTER_OTLP_HEADERS: '${secret}OTEL-EXPORTER-OTLP-HEADERS)' }

var azureSettings = union(
  factory ? factorySettings : {},
  databricks ? databricksSettings : {},
  empty(databricksToken) ? {} : databricksTokenSettings
)
var otherSettings = union(
  airflow ? airflowSettings : {},
  airflowPlaybooks ? airflowLoginSettings : {},
  empty(airflowToken) ? {} : airflowTokenSettings,
  assetSettings,
  patrolSettings,
  expectSettings,
  volumeSettings,
  retentionSettings,
  nodeTypeSettings
)
var ticketSettings = union(
  empty(jiraDomain) ? {} : jiraSettings,
  empty(jiraApiToken) ? {} : jiraTokenSettings,
  empty(jiraWebhookSecret) ? {} : jiraWebhookSettings
)
var chatSettings = union(
  empty(slackBotToken) ? {} : slackSettings,
  empty(slackSigningSecret) ? {} : slackButtonSettings,
  empty(teamsWorkflowUrl) ? {} : teamsWorkflowSettings,
  teamsBot ? teamsBotSettings : {}
)
var modelAllSettings = union(aiProvider == 'none' ? {} : modelSettings, empty(aiApiKey) ? {} : modelKeySettings)
var telemetryAllSettings = union(
  empty(otlpEndpoint) ? {} : telemetrySettings,
  empty(otlpHeaders) ? {} : telemetryKeySettings
)
var webhookSettings = empty(secureWebhookAudience) ? {} : secureWebhookSettings

// After the playbooks, so that every reference finds its secret; and after the sign-in, whose headers the app is set to
// trust here. (Two changes of one app's configuration at a time are refused, too.)
module settings 'modules/settings.bicep' = {
  params: {
    functionAppName: functionApp.outputs.name
    settings: union(
      extraSettings,
      baseSettings,
      cloudSettings,
      azureSettings,
      otherSettings,
      ticketSettings,
      chatSettings,
      modelAllSettings,
      telemetryAllSettings,
      webhookSettings
    )
  }
  dependsOn: [
    authentication
    playbooks
  ]
}

@description('For the package: az functionapp deployment source config-zip --name …')
output functionAppName string = functionApp.outputs.name

@description('Where the dashboard is.')
output dashboardUrl string = 'https://${functionApp.outputs.hostName}/dashboard'

// What infra/alerts.bicep is given (azure.yaml does it).
@description('Stands before the names of rules and action group, too.')
output namePrefix string = name

@description('The workspace with the logs.')
output workspaceId string = monitoring.outputs.workspaceId

@description('Its region, which is that of the rules.')
output workspaceLocation string = monitoring.outputs.location

@description('Is a data factory watched?')
output watchesPipelines bool = factory

@description('Is a Databricks workspace watched?')
output watchesClusters bool = databricks

@description('The identity to add to Databricks as a service principal, and to Azure OpenAI as Cognitive Services OpenAI User.')
output identityClientId string = identity.properties.clientId

@description('The playbooks\' identities, to add to Databricks as service principals.')
output playbookPrincipals array = playbooks.outputs.principals
