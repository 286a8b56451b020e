// App Service authentication (EasyAuth) for the dashboard.
//
// App Service authentication checks who is signed in and strips forged X-MS-CLIENT-PRINCIPAL headers from
// every request, but it must let the anonymous ones through: Azure Monitor, Databricks, Airflow, JIRA, Slack
// and the playbooks bring locks of their own (function key, signature, one-time token), and would be turned
// away by requireAuthentication. The dashboard itself refuses whoever is not signed in and sends people to
// /.auth/login/aad. (excludedPaths would be the other way round: every new door would be forgotten once.)

param functionAppName string

@description('Application (client) id of the Entra app registration; its redirect URI is https://<app>/.auth/login/aad/callback, and it issues ID tokens, because no client secret is kept.')
param clientId string

resource app 'Microsoft.Web/sites@2024-04-01' existing = {
  name: functionAppName
}

resource authentication 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true, runtimeVersion: '~1' }
    globalValidation: {
      requireAuthentication: false
      unauthenticatedClientAction: 'AllowAnonymous'
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
