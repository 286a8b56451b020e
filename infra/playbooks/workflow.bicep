// One playbook: the workflow, its identity, its trigger URL as a secret of the vault.

param name string
param location string
param definition object

@description('Values of the definition\'s parameters, as { name: { value: … } }.')
param values object
param callbackBase string
param vaultName string

@description('The setting that holds the trigger URL; the secret is named like it with dashes.')
param setting string
param workspaceId string

@description('Nothing is watched longer than this after the request, in minutes.')
param runMinutes int

@description('Object id of the one identity that may start it, with an Entra token; empty: everybody who has the signed URL.')
param callerObjectId string

@description('Audience of that token.')
param audience string

var entraOnly = !empty(callerObjectId)
// The switch for signatures is documented (Secure access and data in workflows) and not in the types, hence any() below.
var tokenPolicy = {
  triggers: {
    sasAuthenticationPolicy: { state: 'Disabled' }
    openAuthenticationPolicies: {
      policies: {
        app: {
          type: 'AAD'
          claims: [
            { name: 'iss', value: 'https://sts.windows.net/${tenant().tenantId}/' }
            { name: 'aud', value: audience }
            { name: 'oid', value: callerObjectId }
          ]
        }
      }
    }
  }
}

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: name
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    state: 'Enabled'
    definition: definition
    parameters: union(values, { callbackBase: { value: callbackBase }, runMinutes: { value: runMinutes } })
    accessControl: entraOnly ? any(tokenPolicy) : {}
  }
}

var tokenUrl = '${workflow.properties.accessEndpoint}/triggers/manual/paths/invoke?api-version=2016-10-01'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

// A signed URL is a secret as a whole: its signature is the permission to act. Without one the app brings a token.
resource url 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: replace(setting, '_', '-')
  properties: {
    value: entraOnly ? tokenUrl : listCallbackUrl('${workflow.id}/triggers/manual', '2019-05-01').value
    contentType: 'text/plain'
    attributes: { enabled: true }
  }
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: workflow
  name: 'runs'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'WorkflowRuntime', enabled: true }]
  }
}

output principalId string = workflow.identity.principalId
