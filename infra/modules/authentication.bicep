// App Service authentication (EasyAuth) for the dashboard.
//
// It checks who is signed in and strips forged X-MS-CLIENT-PRINCIPAL headers from requests, but it must let the anonymous
// ones through: Azure Monitor, Databricks, Airflow, JIRA, Slack and the playbooks bring locks of their own (function key,
// signature, one-time token, a token for another audience), and would be turned away by requireAuthentication. The
// dashboard itself refuses everybody who is not signed in and sends people to /.auth/login/aad.

param functionAppName string

@description('Application (client) id of the Entra app registration; its redirect URI is https://<app>/.auth/login/aad/callback, and it issues ID tokens, because no client secret is kept.')
param clientId string

// A bearer token is validated even where nobody has to sign in, and turned away when it is for another issuer or
// audience; so the doors that do not look at the sign-in are left alone altogether. The list is the doors' table
// (src/functions/mod.rs) without dashboard and API, as tests/it/infra.rs holds it.
var doorsWithLocksOfTheirOwn = [
  '/azure-monitor'
  '/databricks-monitor'
  '/airflow-monitor'
  '/jira-webhook'
  '/remediation-callback'
  '/slack/interactions'
  '/teams/messages'
  '/health'
]

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName
}

resource authentication 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true, runtimeVersion: '~1' }
    globalValidation: {
      requireAuthentication: false
      unauthenticatedClientAction: 'AllowAnonymous'
      excludedPaths: doorsWithLocksOfTheirOwn
    }
    httpSettings: { requireHttps: true }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: clientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: { allowedAudiences: [clientId, 'api://${clientId}'] }
      }
    }
    login: { tokenStore: { enabled: false } }
  }
}
