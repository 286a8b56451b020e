// Who watches the watcher: rules on aiops-rca itself, told by e-mail. They do not pass through aiops-rca: what is down
// cannot report itself.

@description('Stands before every name.')
param name string

@description('The function app: only its telemetry counts.')
param functionAppName string

@description('The workspace that Application Insights writes to.')
param workspaceId string

@description('Its region.')
param location string

@description('Who is notified.')
param email string

@description('false: the rules are there and do not run.')
param enabled bool

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-watch'
  location: 'global'
  properties: {
    enabled: true
    groupShortName: take('w${replace(name, '-', '')}', 12)
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

var rules = [
  {
    name: 'watch-sweep'
    about: 'No sweep of aiops-rca for ten minutes: nothing is retried, escalated or watched. Look at the app\'s log stream.'
    severity: 1
    query: loadTextContent('../queries/watch-sweep.kql')
  }
  {
    name: 'watch-host'
    about: 'The host of aiops-rca is stopped or cannot start its handler. Is the app running, is its last package good?'
    severity: 1
    query: loadTextContent('../queries/watch-host.kql')
  }
  {
    name: 'watch-waiting'
    about: 'A message of aiops-rca has waited for more than ten minutes.'
    severity: 2
    query: loadTextContent('../queries/watch-waiting.kql')
  }
  {
    name: 'watch-dead-letters'
    about: 'aiops-rca gave a message up after repeated crashes: see the dashboard, then aiops-rca replay.'
    severity: 2
    query: loadTextContent('../queries/watch-dead-letters.kql')
  }
  {
    name: 'watch-sinks'
    about: 'JIRA, Slack or a playbook refuses aiops-rca: the dashboard shows which ticket and why; aiops-rca doctor says what to do.'
    severity: 2
    query: loadTextContent('../queries/watch-sinks.kql')
  }
]

resource rule 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for entry in rules: {
    name: '${name}-${entry.name}'
    location: location
    kind: 'LogAlert'
    properties: {
      displayName: '${name}-${entry.name}'
      description: entry.about
      enabled: enabled
      severity: entry.severity
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT1H'
      // One e-mail when it begins, none while it lasts.
      autoMitigate: true
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: replace(entry.query, '{app}', functionAppName)
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [operators.id] }
    }
  }
]
